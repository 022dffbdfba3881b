"""The figures of one pool's robustness, each with its table beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nssi_meta import figures
from nssi_meta.figures.records import SCALES
from nssi_meta.synthesis.influence import cumulative, prior_posterior, subsets
from nssi_meta.synthesis.leave_one_out import leave_one_out, whole
from nssi_meta.synthesis.pooled import Pools
from nssi_meta.synthesis.ranges import PREFIX, counted
from nssi_meta.synthesis.sensitivity import Sensitivity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
Drawn = tuple[pd.DataFrame, "Figure", str]


def curve_table(found: Sensitivity) -> pd.DataFrame:
    """The analyses that count, with the choices in which they differ."""
    table = counted(found.analyses)
    choices = [c for c in table if str(c).startswith(PREFIX)]
    fixed = [c for c in choices if len(set(table[c])) == 1]
    return table.drop(columns=fixed if len(fixed) < len(choices) else fixed[1:])


def draw_curve(
    found: Sensitivity, stem: Path, formats: Sequence[str] = FORMATS, *, name: str = ""
) -> list[Path]:
    """The specification curve of a single pool, written as `stem.pdf`, ... and `stem.csv`.

    `name`: what a reader calls the pool; it heads the figure.
    Raises ValueError where there is not exactly one pool.
    """
    if len(found.table) != 1:
        raise ValueError(f"the curve needs a single pool, there are {len(found.table)}")
    table = curve_table(found)
    base = str(table["spec_id"].iloc[0])
    head = f"{name}: the pooled effect under every choice".removeprefix(": ")
    head = head[:1].upper() + head[1:]
    figure = figures.specification_curve(table, base=base, scale=_scale(table), title=head)
    text = figures.alt_specification(table, base=base)
    title = "Specification curve"
    return figures.save(figure, stem, formats, title=title, alt_text=text, table=table)


def draw_all(
    found: Sensitivity,
    pools: Pools,
    folder: Path,
    *,
    formats: Sequence[str] = FORMATS,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Path], list[str]]:
    """Specification curve, funnel, prior and posterior, leave-one-out, cumulative, subsets.

    Returns the files, and in words which figures could not be drawn, and why. Raises ValueError
    where there is not exactly one pool.
    """
    folder.mkdir(parents=True, exist_ok=True)
    untold = []
    level = pools.options.level
    row = pools.table.iloc[0]
    scale = SCALES[str(row["scale"])][1]
    mu = float(row["mu_median"])
    name = f"{row['label']}, {row['condition_label']}"
    written = draw_curve(found, folder / "specification_curve", formats, name=name)

    def funnel() -> Drawn:
        table = pools.cells[0].rows[list(FUNNEL)]
        figure = figures.funnel(table, mu=mu, scale=scale, title=f"{name}: funnel")
        return table, figure, figures.alt_funnel(table, mu=mu)

    def densities() -> Drawn:
        table = prior_posterior(pools)
        figure = figures.prior_posterior(table, title=f"{name}: prior and posterior")
        return table, figure, figures.alt_prior_posterior(table)

    def left_out() -> Drawn:
        table = leave_one_out(pools)
        title = f"{name}: without each study in turn"
        figure = figures.leave_one_out(table, whole(pools), scale=scale, level=level, title=title)
        return table, figure, figures.alt_steps(table, what="left out")

    def by_year() -> Drawn:
        table = cumulative(pools)
        title = f"{name}: as the evidence came in (descriptive)"
        figure = figures.cumulative(table, scale=scale, level=level, title=title)
        return table, figure, figures.alt_steps(table)

    def gosh() -> Drawn:
        table = subsets(pools, progress=progress)
        title = f"{name}: {'a sample of' if table['sampled'].any() else 'all'} subsets of studies"
        figure = figures.subset_plot(table, scale=scale, title=title)
        return table, figure, figures.alt_subset_plot(table)

    makers = {
        "funnel": funnel, "prior_posterior": densities, "leave_one_out": left_out,
        "cumulative": by_year, "subsets": gosh,
    }  # fmt: skip
    for stem, make in makers.items():
        try:
            table, figure, text = make()
        except ValueError as error:
            untold.append(f"No {stem.replace('_', ' ')}: {error}")
            continue
        title = stem.replace("_", " ").capitalize()
        written += figures.save(
            figure, folder / stem, formats, title=title, alt_text=text, table=table
        )
    return written, untold


FUNNEL = ("effect_id", "label", "kind", "yi", "sei", "lower", "upper")


def _scale(table: pd.DataFrame) -> str:
    return SCALES[str(table["scale"].iloc[0])][1]
