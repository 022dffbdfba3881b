"""The verb `forest`: the forest plot of one mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nssi_meta.cli.counts import CELLS, check_count_words, count_options, count_pools
from nssi_meta.cli.options import (
    doubtful_option,
    omega_option,
    one_mechanism,
    plain_errors,
    pool_options,
    select,
    which_pools,
)

if TYPE_CHECKING:
    from nssi_meta.synthesis.kinds import AnyPools


@click.command()
@which_pools
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False),
    help="File to write (.pdf, .svg or .png). Default: forest_MECHANISM.pdf, or with --counts "
    "forest_TABLE.pdf.",
)
@click.option(
    "--layout",
    type=click.Choice(["default", "jama", "bmj", "revman", "minimal"]),
    default="default",
    show_default=True,
    help="The look of a journal.",
)
@click.option(
    "--sort",
    type=click.Choice(["year", "effect", "study", "precision", "system"]),
    default="year",
    show_default=True,
    help="Order of the rows in a block.",
)
@click.option(
    "--columns",
    help="Text columns at the left, e.g. study,sample,n,certainty.  [default: the layout's]",
)
@click.option(
    "--delta",
    type=click.FloatRange(0),
    default=0.0,
    help="Shade the band of differences too small to matter.",
)
@click.option(
    "--ratios/--no-ratios",
    default=None,
    help="Odds ratios on a log axis, or their logarithms.  [default: the layout's]",
)
@click.option("--favours", nargs=2, help="Words for the two sides of the axis.")
@click.option(
    "--page-height",
    type=click.FloatRange(80),
    help="Height of a page in mm: longer plots go on over several pages.",
)
@click.option("--density", is_flag=True, help="Half-eyes of the posteriors above the marks.")
@doubtful_option
@count_options
@click.option("--study", help="Column of studies (with --counts).")
@click.option("--no-shrunken", is_flag=True, help="Observed estimates only.")
@omega_option
@pool_options
@plain_errors
def forest(data: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
           estimand: tuple[str, ...], out: str | None, sort: str, layout: str,
           columns: str | None, delta: float, ratios: bool | None,
           favours: tuple[str, str] | None, page_height: float | None, density: bool,
           doubtful: bool, no_shrunken: bool, counts: bool, study: str | None,
           **options: Any) -> None:  # fmt: skip
    """Forest plot of one mechanism, a block per condition.

    \b
    nssi-meta forest pain_threshold --layout jama --sort effect -o pain.pdf
    nssi-meta forest pain_threshold -c nssi --columns study,n,measure,certainty
    nssi-meta forest trials.csv --counts --study trial --layout revman
    """  # noqa: D301 - click wants the backspace character
    cells = {name: options.pop(name) for name in CELLS}
    check_count_words(counts, cells)
    if study is not None and not counts:
        raise click.UsageError("--study needs --counts: two-by-two tables")
    name = Path(data).stem if counts else one_mechanism(mechanism)
    path = Path(out or f"forest_{name}.pdf")
    if path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise click.UsageError(f"--out {path}: the ending must be .pdf, .svg or .png")
    pools: AnyPools
    if counts:
        (pools,) = count_pools(data, cells, study, None, **options)
        title, positive = "Odds ratios by binomial likelihoods", ""
    else:
        chosen = {"mechanism": (name,), "condition": condition, "estimand": estimand}
        evidence = select(data, chosen, None, doubtful)
        from nssi_meta.synthesis.pooled import pool as pool_all

        pools = pool_all(evidence, **options)
        known = evidence.mechanisms.set_index("mechanism").loc[name]
        title, positive = str(known["label"]), str(known["positive_means"])
    pools.forest(
        path,
        page_height=page_height,
        layout=layout,
        sort=sort,
        columns=[c.strip() for c in columns.split(",")] if columns else None,
        delta=delta,
        ratios=ratios,
        favours=favours or None,
        densities=density,
        shrunken=False if no_shrunken else None,
        title=title,
        positive_means=positive,
    )
    click.echo(f"Written: {path} and, as a table, {path.with_name(path.stem + '_data.csv')}")
