"""All pooled effects: mechanisms by condition, grouped by system."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from .axis import axis_ticks
from .overview_draw import (
    HEAD,
    PITCH,
    by_system,
    draw_background,
    draw_cell,
    draw_key,
    draw_labels,
    flow_key,
    height_of,
    limits_of,
    plot_range,
    stack,
)
from .page import new_page, panel, set_ticks, write
from .paging import PAGE_HEIGHT, split_pages
from .records import ESTIMANDS, SCALES, Cell, condition_order, read_cells
from .style import DOUBLE, QUIET, Style, condition_marks
from .text import count, percent, wrap

AXIS_ROOM = 10.3  # mm under the last row for the axis and its name


def overview(
    pools: pd.DataFrame,
    *,
    delta: float = 0.2,
    estimand: str | None = None,
    predicted: bool = False,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw every pooled effect with its credible interval, one line a mechanism, on one page.

    However tall that is: `overview_pages` cuts it.

    Conditions differ in colour and marker and stand below each other; cells whose rows are all
    bounds are hollow; the number of rows stands at the right.

    Parameters
    ----------
    pools
        One row a pooled cell (columns in `records.POOL_COLUMNS`); order is kept.
    delta
        Half width of the grey band of effects too small to matter, on the scale of the effects.
    estimand
        Which estimand to show, since they share no axis; the first of `pools` by default. The
        note under the figure counts what is left out.
    predicted
        Show cells without any row (predicted from other cells) as well, hollow.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a cell twice, a negative `delta`.
    """
    return overview_pages(
        pools, delta=delta, estimand=estimand, predicted=predicted, page_height=math.inf,
        title=title, style=style,
    )[0]  # fmt: skip


def overview_pages(
    pools: pd.DataFrame,
    *,
    delta: float = 0.2,
    estimand: str | None = None,
    predicted: bool = False,
    page_height: float = PAGE_HEIGHT,
    title: str | None = None,
    style: Style = DOUBLE,
) -> list[Figure]:
    """`overview` on pages of at most `page_height` mm, which `save_pages` writes.

    All have the same key and axis; a system stays on one page where it fits on one.
    `overview_parts` tells what each shows. Raises ValueError as `overview`.
    """
    plan = _plan(pools, delta, estimand, predicted, page_height, style)
    title = "Pooled effects by mechanism and condition" if title is None else title
    n = len(plan.parts)
    heads = [f"{title}, {i} of {n}" if n > 1 else title for i in range(1, n + 1)]
    return [_draw(plan, *page, delta, style) for page in zip(plan.parts, heads, strict=True)]


def overview_parts(
    pools: pd.DataFrame,
    *,
    delta: float = 0.2,
    estimand: str | None = None,
    predicted: bool = False,
    page_height: float = PAGE_HEIGHT,
    style: Style = DOUBLE,
) -> list[pd.DataFrame]:
    """The rows of `pools` that each of the `overview_pages` with these options shows.

    Raises ValueError as `overview`.
    """
    plan = _plan(pools, delta, estimand, predicted, page_height, style)
    shown = pools[pools["estimand"] == plan.parts[0][0].estimand]
    names = [{cell.mechanism for cell in part} for part in plan.parts]
    return [shown[shown["mechanism"].isin(part)] for part in names]


@dataclass(frozen=True)
class _Plan:
    """What every page has around its cells, and the cells of each; lengths in mm."""

    parts: list[list[Cell]]
    conditions: list[str]
    looks: dict[str, tuple[str, str]]
    key: list[list[tuple[float, str, str, str]]]
    notes: list[str]
    plot: tuple[float, float]
    limits: tuple[float, float]
    top: float
    below: float


def _plan(
    pools: pd.DataFrame,
    delta: float,
    estimand: str | None,
    predicted: bool,
    page_height: float,
    style: Style,
) -> _Plan:
    if not delta >= 0.0:
        raise ValueError(f"delta is an effect size of 0 or more; got {delta!r}")
    cells, notes = choose_cells(read_cells(pools), estimand, predicted)
    conditions = condition_order((cell.mechanism, cell.condition) for cell in cells)
    labels = {cell.condition: cell.condition_label for cell in cells}
    looks = condition_marks(conditions)
    levels = sorted(set(pools["level"].dropna())) if "level" in pools.columns else []
    limits = limits_of(cells, delta)
    words = " ".join([_explain(levels, delta, cells, predicted, limits), *notes])
    lines = wrap(words, style.width - 2 * style.margin, style, size=style.small)
    key = flow_key([(*looks[c], labels[c]) for c in conditions], style)
    top = style.margin + (3.2 + len(key)) * style.row
    below = AXIS_ROOM + 0.8 * style.row * len(lines)
    plot = plot_range(stack(cells, top), len(conditions), style)
    parts = _parts(cells, page_height - top - below - style.margin)
    return _Plan(parts, conditions, looks, key, lines, plot, limits, top, below)


def _draw(plan: _Plan, cells: list[Cell], title: str, delta: float, style: Style) -> Figure:
    """Draw one page."""
    entries = stack(cells, plan.top)
    end = entries[-1].y + entries[-1].height / 2
    bottom = end + 0.8
    page = new_page(end + plan.below + style.margin, style)
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    draw_key(page, plan.key, style.margin + 1.6 * style.row)
    draw_labels(page, entries, plan.conditions, plan.looks, plan.plot, plan.top)
    ax = panel(page, *plan.plot, plan.top, bottom, *plan.limits)
    draw_background(ax, plan.top, bottom, delta)
    for entry in entries:
        for i, cell in enumerate(entry.cells):
            y = entry.y + (i - (len(entry.cells) - 1) / 2) * PITCH
            draw_cell(ax, cell, y, *plan.looks[cell.condition])
    set_ticks(page, ax, *axis_ticks(*plan.limits, plan.plot[1] - plan.plot[0], style))
    scale = SCALES.get(cells[0].scale, (cells[0].scale,) * 2)[1]
    write(page, sum(plan.plot) / 2, bottom + 6.4, scale, align="center")
    for i, line in enumerate(plan.notes):
        y = bottom + 9.5 + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, line, size=style.small, color=QUIET)
    return page.fig


def _parts(cells: list[Cell], room: float) -> list[list[Cell]]:
    """Cells by page, in the order of their systems."""
    systems = by_system(cells)
    heights = {s: [(m, height_of(c)) for m, c in rows.items()] for s, rows in systems.items()}
    pages = split_pages(heights, room, HEAD)
    return [[c for rows in systems.values() for m in rows if m in page for c in rows[m]]
            for page in map(set, pages)]  # fmt: skip


def choose_cells(
    cells: list[Cell], estimand: str | None, predicted: bool
) -> tuple[list[Cell], list[str]]:
    """Return the cells that share an axis, and sentences about those left out.

    Raises
    ------
    ValueError
        No cell is left.
    """
    if estimand is None and cells:
        estimand = cells[0].estimand
    same = [c for c in cells if c.estimand == estimand]
    shown = [c for c in same if c.mu.known and (predicted or c.k > 0)]
    if not shown:
        raise ValueError(
            f"nothing to draw: no pooled cell with an estimate for estimand {estimand!r}"
        )
    scales = {c.scale for c in shown}
    if len(scales) > 1:
        raise ValueError(f"the cells of {estimand!r} are on several scales: {sorted(scales)}")
    notes = []
    if len(cells) > len(same):
        left_out = count(len(cells) - len(same), "cell")
        kind = ESTIMANDS.get(str(estimand), str(estimand))
        notes.append(f"Shown: {kind}; {left_out} of other estimands not shown.")
    if len(same) > len(shown):
        hidden = count(len(same) - len(shown), "cell")
        notes.append(f"{hidden} without rows (predicted) or without estimate not shown.")
    return shown, notes


def _explain(
    levels: list[float],
    delta: float,
    cells: list[Cell],
    predicted: bool,
    limits: tuple[float, float],
) -> str:
    level = f"{percent(levels[0])} " if len(levels) == 1 else ""
    text = (
        f"Posterior median and {level}credible interval; grey band: effects within ±{delta:g}; "
        "numbers at the right: rows in the pool."
    )
    if any(c.only_bounds for c in cells):
        text += " Hollow: every row is a bound, no estimate was reported."
    if predicted and any(c.k == 0 for c in cells):
        text += " Hollow with 0 rows: predicted from other cells."
    if any(c.mu.low < limits[0] or c.mu.high > limits[1] for c in cells):
        text += " Arrowheads: the interval continues beyond the axis."
    return text
