"""The key and the notes under a forest plot: only what occurs in it is explained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from . import marks
from .forest_plan import PanelPlan
from .page import Page, unname_marks, write
from .printed import ASSUMED_MARK
from .records import Block, Study, as_text
from .style import INK, POOLED, QUIET, Style
from .text import percent, text_width

SYMBOL = 8.5  # mm for the symbol of a key entry
BETWEEN = 4.0  # mm between entries


@dataclass(frozen=True)
class Entry:
    """One entry of the key: words, and the mark drawn on the page from x to x + SYMBOL - 1.5."""

    words: str
    draw: Callable[[Axes, float, float], None]


def forest_key(
    blocks: list[Block], plans: list[PanelPlan], has_shrunken: bool, level: float
) -> list[Entry]:
    """List the entries that a forest plot needs."""
    studies = [study for block in blocks for study in block.studies]
    bounds = [s for s in studies if s.kind == "interval"]
    opened = [s for s in bounds if math.isinf(s.lower) != math.isinf(s.upper)]
    closed = [s for s in bounds if math.isfinite(s.lower) and math.isfinite(s.upper)]
    cells = [block.cell for block in blocks if block.cell is not None and block.cell.mu.known]
    hollow = [c for c in cells if c.only_bounds or c.k == 0]
    p = percent(level)
    wanted = [
        (any(s.kind == "exact" for s in studies), f"estimate, {p} CI", _exact),
        (any(s.kind == "unsigned" for s in studies), "size known, sign not", _unsigned),
        (has_shrunken, f"shrunken estimate, {p} CrI", _shrunken),
        (any(not s.assumed for s in opened), "“p < α”: beyond the bracket", _open(False)),
        (any(s.assumed for s in opened), "“p < α”, α assumed", _open(True)),
        (any(not s.assumed for s in closed), "“not significant”: between", _closed(False)),
        (any(s.assumed for s in closed), "“not significant”, α assumed", _closed(True)),
        (len(cells) > len(hollow), f"pooled effect, {p} CrI", _diamond(False)),
        (bool(hollow), "pooled effect without any reported estimate", _diamond(True)),
        (any(c.pred.known for c in cells), f"{p} prediction interval", _prediction),
        (bool(cells and studies), "pooled median", _reference),
        (_leaves(blocks, plans, has_shrunken), "continues beyond the axis", _beyond),
    ]
    return [Entry(words, draw) for needed, words, draw in wanted if needed]


def _leaves(blocks: list[Block], plans: list[PanelPlan], has_shrunken: bool) -> bool:
    limits = {plan.scale: plan.limits for plan in plans}
    return any(
        value < limits[block.scale][0] or value > limits[block.scale][1]
        for block in blocks
        for value in _extent(block, has_shrunken)
        if math.isfinite(value)
    )


def _extent(block: Block, has_shrunken: bool) -> Iterable[float]:
    for study in block.studies:
        yield from _reach(study)
        if has_shrunken:
            yield from (study.shrunk.low, study.shrunk.high)
    if block.cell is not None:
        yield from (block.cell.mu.low, block.cell.mu.high)
        yield from (block.cell.pred.low, block.cell.pred.high)


def _reach(study: Study) -> tuple[float, ...]:
    low, high = study.observed.low, study.observed.high
    if study.kind == "interval":
        return study.lower, study.upper
    return (low, high, -low, -high) if study.kind == "unsigned" else (low, high)


def _exact(ax: Axes, x: float, y: float) -> None:
    marks.observed(ax, "key", x + 3.5, x, x + 7, y)


def _unsigned(ax: Axes, x: float, y: float) -> None:
    for at in (x + 1.5, x + 5.5):
        marks.point(ax, at, y, gid="key", marker="s", size=3.4, color=INK, hollow=True)


def _shrunken(ax: Axes, x: float, y: float) -> None:
    marks.shrunken(ax, "key", x + 3.5, x + 0.5, x + 6.5, y)


def _open(assumed: bool) -> Callable[[Axes, float, float], None]:
    def draw(ax: Axes, x: float, y: float) -> None:
        upper = math.inf
        marks.bound(ax, "key", x, upper, y, assumed=assumed, unit=6.5 / marks.ARROW)

    return draw


def _closed(assumed: bool) -> Callable[[Axes, float, float], None]:
    def draw(ax: Axes, x: float, y: float) -> None:
        marks.bound(ax, "key", x, x + 6.5, y, assumed=assumed, unit=1.0)

    return draw


def _diamond(hollow: bool) -> Callable[[Axes, float, float], None]:
    def draw(ax: Axes, x: float, y: float) -> None:
        marks.diamond(ax, "key", x + 3.5, x + 0.5, x + 6.5, y, hollow=hollow)

    return draw


def _prediction(ax: Axes, x: float, y: float) -> None:
    marks.prediction(ax, "key", x, x + 7, y)


def _reference(ax: Axes, x: float, y: float) -> None:
    marks.upright(ax, x + 3.5, y - 1.5, y + 1.5, gid="key", color=POOLED, dash=True)


def _beyond(ax: Axes, x: float, y: float) -> None:
    marks.point(ax, x + 3.5, y, gid="key", marker=">", size=3.0, color=INK)


def _flow(entries: list[Entry], style: Style) -> list[list[tuple[float, Entry]]]:
    """Break the entries into lines: (x in mm, entry)."""
    lines: list[list[tuple[float, Entry]]] = [[]]
    x = style.margin
    for entry in entries:
        width = SYMBOL + text_width(entry.words, style, size=style.small)
        if lines[-1] and x + width > style.width - style.margin:
            lines.append([])
            x = style.margin
        lines[-1].append((x, entry))
        x += width + BETWEEN
    return lines if lines[0] else []


def key_height(entries: list[Entry], style: Style) -> float:
    """Height of the key in mm."""
    return style.row * len(_flow(entries, style)) + 0.4 * style.row


def draw_key(page: Page, entries: list[Entry], top: float) -> None:
    """Draw the key from `top` mm down."""
    for i, line in enumerate(_flow(entries, page.style)):
        y = top + page.style.row * (i + 0.5)
        for x, entry in line:
            entry.draw(page.ax, x, y)
            write(page, x + SYMBOL, y, entry.words, size=page.style.small, color=QUIET)
    unname_marks(page)


def forest_notes(
    blocks: list[Block], pools: pd.DataFrame, level: float, positive_means: str
) -> list[str]:
    """Say in words what the marks cannot: sign, intervals, bounds, priors."""
    notes = [f"Positive: {positive_means.rstrip('.')}."] if positive_means else []
    kinds = sorted({as_text(x) for x in pools["interval"]} - {""}) if "interval" in pools else []
    shape = f" ({', '.join(kinds)})" if kinds else ""
    notes.append(
        f"CI: {percent(level)} confidence interval of the estimate as reported; CrI: "
        f"{percent(level)} credible interval{shape}; pooled and shrunken values are posterior "
        "medians. n: cases/comparison group, or all participants. All squares have one size: "
        "they do not show weight."
    )
    studies = [study for block in blocks for study in block.studies]
    if any(s.kind == "interval" and s.assumed for s in studies):
        notes.append(f"{ASSUMED_MARK} the source prints no α; the bound assumes one.")
    if any(s.kind == "unsigned" for s in studies):
        notes.append("| |: the interval is printed for the positive sign; the plot shows both.")
    for column, symbol in (("mu_prior", "μ"), ("tau_prior", "τ")):
        values = sorted({as_text(x) for x in pools[column]} - {""}) if column in pools else []
        if len(values) == 1:
            notes.append(f"Prior of {symbol}: {values[0]}.")
    return [" ".join(notes)]
