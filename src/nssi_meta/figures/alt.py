"""Alternative texts: what a reader who cannot see a figure must know, from the same tables."""

from __future__ import annotations

import math

import pandas as pd

from .blocks import read_blocks
from .overlap import MECHANISM_COLUMNS
from .overlap_summary import FIGURES, SUMMARY_COLUMNS, coverage, print_figure
from .overview import choose_cells
from .printed import caution, print_interval, print_range
from .records import (
    SCALES,
    Block,
    as_float,
    as_text,
    interval,
    read_cells,
    require_columns,
)
from .text import count, percent, probability

CLASS_NAMES = {
    "p_shared": "shared in the same direction",
    "p_index_only": "altered in {index} only",
    "p_other_only": "altered in the other only",
    "p_opposite": "opposite in direction",
    "p_neither": "altered in neither",
}


def alt_forest(
    rows: pd.DataFrame, pools: pd.DataFrame, *, level: float = 0.95, by: str = "condition"
) -> str:
    """Describe a forest plot: per block the evidence, the pool and what a new study finds."""
    blocks = read_blocks(rows, pools, "year", by)
    title = as_text(pools["label"].iloc[0]) if len(pools) else as_text(rows["mechanism"].iloc[0])
    head = f"Forest plot of {title}, {count(len(rows), 'row')} in {count(len(blocks), 'block')}."
    return " ".join([head, *(_block_sentence(block, level) for block in blocks)])


def _block_sentence(block: Block, level: float) -> str:
    name = SCALES.get(block.scale, (block.scale,) * 2)[1]
    bounds = sum(study.kind == "interval" for study in block.studies)
    parts = [f"{block.title} ({name}): {count(len(block.studies), 'row')}"]
    if bounds:
        parts.append(f"{bounds} of them only a bound")
    cell = block.cell
    if cell is None:
        return ", ".join([*parts, "not pooled."])
    if cell.mu.known:
        parts.append(f"pooled effect {print_interval(cell.mu)}, {percent(level)} credible interval")
        where = "includes" if cell.mu.low <= 0.0 <= cell.mu.high else "excludes"
        parts.append(f"which {where} zero")
    if cell.pred.known:
        parts.append(f"prediction interval {print_range(cell.pred)}")
    if math.isfinite(cell.p_positive):
        parts.append(f"probability of a positive mean {probability(cell.p_positive)}")
    return ", ".join(parts + caution(cell)) + "."


def alt_overview(
    pools: pd.DataFrame, *, estimand: str | None = None, predicted: bool = False
) -> str:
    """Describe the overview: how many pooled effects lie above or below zero, and which."""
    cells, notes = choose_cells(read_cells(pools), estimand, predicted)
    mechanisms = len({c.mechanism for c in cells})
    head = (
        f"Pooled effects of {count(mechanisms, 'mechanism')} in "
        f"{count(len({c.condition for c in cells}), 'condition')}, {count(len(cells), 'cell')}."
    )
    parts = [head]
    for words, chosen in (
        ("above zero", [c for c in cells if c.mu.low > 0.0]),
        ("below zero", [c for c in cells if c.mu.high < 0.0]),
    ):
        names = "; ".join(
            f"{c.label} in {c.condition_label} {print_interval(c.mu)}" for c in chosen
        )
        parts.append(f"Interval {words}: {len(chosen)}{f' ({names})' if names else ''}.")
    hollow = sum(c.only_bounds for c in cells)
    if hollow:
        parts.append(f"{count(hollow, 'cell')} with nothing but bounds.")
    return " ".join(parts + notes)


def alt_overlap_mechanisms(table: pd.DataFrame, *, index_label: str = "NSSI") -> str:
    """Describe the class probabilities: per condition the most probable class of each mechanism."""
    require_columns(table, MECHANISM_COLUMNS, "overlap_mechanisms")
    shown = table[(table["k_index"] > 0) & (table["k_other"] > 0)]
    parts = [f"Stacked bars: overlap of each condition with {index_label}, by mechanism."]
    for other, group in shown.groupby("other", sort=False):
        name = as_text(group["other_label"].iloc[0]) or as_text(other)
        words = []
        for r in group.to_dict("records"):
            best = max(CLASS_NAMES, key=lambda column: as_float(r[column]))
            kind = CLASS_NAMES[best].format(index=index_label)
            p = probability(as_float(r[best]))
            words.append(f"{as_text(r['label'])} {kind} ({p}; {as_text(r['verdict'])})")
        parts.append(f"{name}, {count(len(group), 'mechanism')}: {'; '.join(words)}.")
    return " ".join(parts)


def alt_overlap_summary(table: pd.DataFrame, *, index_label: str = "NSSI") -> str:
    """Describe the overall overlap figures: each posterior beside its prior, with coverage."""
    require_columns(table, SUMMARY_COLUMNS, "overlap_summary")
    parts = [f"Overlap with {index_label}: posterior intervals beside their priors."]
    for other, group in table.groupby("other", sort=False):
        records = group.to_dict("records")
        words = []
        for r in records:
            name = FIGURES.get(as_text(r["figure"]), (as_text(r["figure"]),))[0].lower()
            seen = print_figure(interval(r, "median", "low", "high"), as_text(r["figure"]))
            prior = print_figure(
                interval(r, "prior_median", "prior_low", "prior_high"), as_text(r["figure"])
            )
            words.append(f"{name} {seen} (prior {prior}; {as_text(r['verdict'])})")
        label = as_text(group["other_label"].iloc[0]) or as_text(other)
        parts.append(f"{label} ({coverage(records[0])}): {'; '.join(words)}.")
    return " ".join(parts)
