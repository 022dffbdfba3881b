"""Forest plot of one mechanism: what each study reported, what was pooled, what is predicted."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import marks
from .axis import axis_ticks
from .forest_plan import (
    AXIS_ROOM,
    GAP,
    INDENT,
    Columns,
    Line,
    PanelPlan,
    column_title,
    group_by_scale,
    plan_columns,
    plan_panel,
)
from .key import draw_key, forest_key, forest_notes, key_height
from .page import Page, new_page, panel, rule, set_ticks, write
from .records import ESTIMANDS, SCALES, Sort, Study, read_blocks
from .style import DOUBLE, POOLED, QUIET, Style
from .text import shorten, wrap


def forest(
    rows: pd.DataFrame,
    pools: pd.DataFrame,
    *,
    title: str | None = None,
    sort: Sort = "year",
    shrunken: bool = True,
    level: float = 0.95,
    positive_means: str = "",
    style: Style = DOUBLE,
) -> Figure:
    """Draw the forest plot of one mechanism, one block a condition and estimand.

    Estimates are drawn on the scale of their estimand; different scales get different axes, never
    one. Rows that report only a bound are drawn as the interval that they name.

    Parameters
    ----------
    rows
        One row a study row (columns in `records.ROW_COLUMNS`).
    pools
        One row a pooled cell (`records.POOL_COLUMNS`); its order is the order of blocks.
    title
        Head line; the label of the mechanism if None, none if empty.
    sort
        Order of the studies in a block: by year, effect or name.
    shrunken
        Draw the posterior of each row's true effect under its estimate.
    level
        Level of all intervals in both tables, printed with the figure.
    positive_means
        What a positive effect says, e.g. "larger volume in cases".
    style
        Width and font sizes.

    Returns
    -------
    Figure
        A figure as tall as its content; `save` writes it.

    Raises
    ------
    ValueError
        Nothing to draw, several mechanisms, columns missing, or `level` differs from
        the level recorded in `pools`.
    """
    _check_level(pools, level)
    blocks = read_blocks(rows, pools, sort)
    has_shrunken = shrunken and any(s.shrunk.known for b in blocks for s in b.studies)
    if title is None:
        title = str(pools["label"].iloc[0]) if len(pools) else str(rows["mechanism"].iloc[0])
    room = style.width - 2 * style.margin
    heads = wrap(title, room, style, size=style.size + 2, bold=True)
    top = style.margin + 1.2 * style.row * len(heads)

    columns = plan_columns(blocks, style, level)
    plans: list[PanelPlan] = []
    for group in group_by_scale(blocks).values():
        plan = plan_panel(group, columns, style, top + 1.4 * style.row, has_shrunken=has_shrunken)
        plans.append(plan)
        top = plan.bottom + AXIS_ROOM
    entries = forest_key(blocks, plans, has_shrunken, level)
    notes = [
        line
        for note in forest_notes(blocks, pools, level, positive_means)
        for line in wrap(note, room, style, size=style.small)
    ]
    key_top = top + 0.4 * style.row
    notes_top = key_top + key_height(entries, style)
    page = new_page(notes_top + 0.8 * style.row * len(notes) + style.margin, style)

    for i, head in enumerate(heads):
        y = style.margin + 1.2 * style.row * (i + 0.5)
        write(page, style.margin, y, head, size=style.size + 2, bold=True)
    for plan in plans:
        draw_panel(page, plan, columns, level, has_shrunken)
    draw_key(page, entries, key_top)
    for i, note in enumerate(notes):
        y = notes_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, note, size=style.small, color=QUIET)
    return page.fig


def _check_level(pools: pd.DataFrame, level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is a probability between 0 and 1, e.g. 0.95; got {level!r}")
    if "level" in pools.columns:
        levels = {float(x) for x in pools["level"].dropna()}
        if any(not math.isclose(x, level) for x in levels):
            found = ", ".join(f"{x:g}" for x in sorted(levels))
            raise ValueError(f"the pools were computed at level {found}, not at {level:g}")


def draw_panel(
    page: Page, plan: PanelPlan, columns: Columns, level: float, has_shrunken: bool
) -> None:
    """Draw one axis with its header, blocks and ticks."""
    ax = panel(page, *columns.plot, plan.top, plan.bottom, *plan.limits)
    draw_header(page, plan, columns, level)
    unit = (plan.limits[1] - plan.limits[0]) / (columns.plot[1] - columns.plot[0])
    for line in plan.lines:
        draw_text(page, line, columns)
        if line.study is not None:
            draw_study(ax, line.study, line.y, unit, has_shrunken)
        elif line.kind in ("pooled", "prediction"):
            draw_summary(ax, line)
    for block in dict.fromkeys(line.block.key for line in plan.lines):
        draw_references(ax, [line for line in plan.lines if line.block.key == block])
    draw_axis(page, ax, plan, columns)


def draw_header(page: Page, plan: PanelPlan, columns: Columns, level: float) -> None:
    """Name the columns above a panel."""
    y = plan.top - 0.7 * page.style.row
    write(page, columns.label, y, "Study", bold=True)
    if columns.measure_room:
        write(page, columns.measure, y, "Measure", bold=True)
    if not page.style.narrow:
        write(page, columns.size, y, "n", bold=True, align="right")
    title = column_title(plan.scale, level)
    write(page, columns.high, y, title, bold=True, align="right")
    rule(page, plan.top, columns.label, columns.high)


def draw_text(page: Page, line: Line, columns: Columns) -> None:
    """Write the text columns of one line."""
    small, y = page.style.small, line.y
    strong = line.kind in ("header", "pooled")
    indent = 0.0 if line.kind == "header" else INDENT
    quiet = line.kind == "state"
    write(
        page,
        columns.label + indent,
        y,
        line.left,
        size=small if quiet else None,
        bold=strong,
        color=QUIET if quiet else POOLED if line.kind == "pooled" else "#1c1c1c",
    )
    write(page, columns.measure, y, line.measure, size=small, color=QUIET)
    write(page, columns.size, y, line.size, align="right")
    key = line.study.key if line.study else f"{line.kind}:{line.block.key}"
    printed = line.printed
    write(page, columns.value, y, printed.value, align="right", gid=f"print:{key}")
    write(page, columns.low, y, printed.low, align="right", gid=f"print-low:{key}")
    write(page, columns.high, y, printed.high, align="right", gid=f"print-high:{key}")
    write(page, columns.value + 0.3, y, printed.mark, gid=f"mark:{key}")


def draw_study(ax: Axes, study: Study, y: float, unit: float, has_shrunken: bool) -> None:
    """Draw what a study reported and, just below, its shrunken estimate."""
    lift = 0.7 if has_shrunken and study.shrunk.known else 0.0
    seen = study.observed
    if study.kind == "exact":
        marks.observed(ax, study.key, seen.value, seen.low, seen.high, y - lift)
    elif study.kind == "unsigned":
        marks.unsigned(ax, study.key, seen.value, seen.low, seen.high, y - lift)
    elif not (math.isinf(study.lower) and math.isinf(study.upper)):
        marks.bound(
            ax, study.key, study.lower, study.upper, y - lift, assumed=study.assumed, unit=unit
        )
    if lift:
        shrunk = study.shrunk
        marks.shrunken(ax, study.key, shrunk.value, shrunk.low, shrunk.high, y + 1.1)


def draw_summary(ax: Axes, line: Line) -> None:
    """Draw the diamond of the pooled effect or the box of the prediction interval."""
    cell = line.block.cell
    if cell is None:
        return
    if line.kind == "pooled":
        hollow = cell.only_bounds or cell.k == 0
        mu = cell.mu
        marks.diamond(ax, line.block.key, mu.value, mu.low, mu.high, line.y, hollow=hollow)
    else:
        marks.prediction(ax, line.block.key, cell.pred.low, cell.pred.high, line.y)


def draw_references(ax: Axes, lines: list[Line]) -> None:
    """Draw the null through one block, and its pooled median through its studies.

    Lines of words run over the whole width, so the null stops before them.
    """
    cell, key = lines[0].block.cell, lines[0].block.key
    drawn = [line.y for line in lines if line.kind in ("study", "pooled", "prediction")]
    if drawn:
        marks.upright(ax, 0.0, drawn[0] - 2.0, drawn[-1] + 1.8, gid=f"null:{key}", color=QUIET)
    studies = [line for line in lines if line.kind == "study"]
    pooled = [line for line in lines if line.kind == "pooled"]
    if cell is None or not studies or not pooled:
        return
    gid = f"reference:{key}"
    marks.upright(
        ax, cell.mu.value, studies[0].y - 1.5, pooled[0].y, gid=gid, color=POOLED, dash=True
    )


def draw_axis(page: Page, ax: Axes, plan: PanelPlan, columns: Columns) -> None:
    """Draw ticks and name the scale and estimand of a panel."""
    room = columns.plot[1] - columns.plot[0]
    set_ticks(page, ax, *axis_ticks(*plan.limits, room, page.style))
    name = SCALES.get(plan.scale, (plan.scale, plan.scale))[1]
    estimands = dict.fromkeys(line.block.estimand for line in plan.lines)
    kinds = "; ".join(ESTIMANDS.get(e, e) for e in estimands)
    middle = sum(columns.plot) / 2
    wide = 2 * min(middle - columns.label, columns.high - middle) - GAP
    text = shorten(f"{name} ({kinds})", wide, page.style)
    write(page, middle, plan.bottom + 6.2, text, align="center")
