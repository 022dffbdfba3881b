"""Draw the planned lines of a forest plot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from . import marks
from .axis import axis_ticks, ratio_ticks
from .columns import GAP, INDENT, Columns, column_title, size_of
from .forest_plan import Line, PanelPlan
from .layouts import Layout
from .page import Page, panel, rule, set_ticks, write
from .printed import scale_words
from .quantiles import density_from_quantiles, quantiles
from .records import ESTIMANDS, Record, Study
from .style import INK, QUIET, Palette
from .text import shorten


@dataclass(frozen=True)
class Look:
    """What is drawn and how: the layout, the level and the named options of `forest`."""

    layout: Layout
    level: float
    has_shrunken: bool
    delta: float
    densities: bool
    favours: tuple[str, str] | None


def draw_panel(page: Page, plan: PanelPlan, columns: Columns, look: Look) -> None:
    """Draw one axis with its header, blocks and ticks."""
    ax = panel(page, *columns.plot, plan.top, plan.bottom, *plan.limits)
    palette = look.layout.colours(plan.scale)
    draw_header(page, plan, columns, look)
    unit = (plan.limits[1] - plan.limits[0]) / (columns.plot[1] - columns.plot[0])
    for line in plan.lines:
        draw_text(page, line, columns, palette)
        if line.study is not None:
            draw_study(ax, line.study, line.y, unit, palette, look)
        elif line.contrast is not None:
            d, key = line.contrast.difference, line.contrast.key
            marks.contrast(ax, key, d.value, d.low, d.high, line.y, look=palette)
        elif line.kind in ("pooled", "prediction"):
            draw_summary(ax, line, palette, look)
    for block in dict.fromkeys(line.block.key for line in plan.lines):
        members = [line for line in plan.lines if line.block.key == block]
        draw_references(ax, members, palette, look.delta)
    draw_axis(page, ax, plan, columns, look)


def draw_header(page: Page, plan: PanelPlan, columns: Columns, look: Look) -> None:
    """Name the columns above a panel."""
    style, layout = page.style, look.layout
    y = plan.top - 0.7 * style.row
    for column in columns.texts:
        title = column.title
        if column.align == "left":
            title = shorten(title, column.room, style, bold=True)
        write(page, column.x, y, title, bold=True, align=column.align)
    title = column_title(plan.scale, look.level, layout)
    write(page, columns.high, y, title, bold=True, align="right")
    if layout.rules:
        rule(page, plan.top, columns.left, columns.right, color=layout.rule)
    if layout.rules > 1:
        rule(page, plan.top - 1.35 * style.row, columns.left, columns.right, color=layout.rule)


def draw_text(page: Page, line: Line, columns: Columns, palette: Palette) -> None:
    """Write the text columns of one line."""
    style, y = page.style, line.y
    for column, text in zip(columns.texts, line.cells, strict=False):
        if column.name == "certainty" and text:
            ink = marks.certainty(page.ax, column.x, y, text)
            write(page, column.x, y, text, size=5.0, align="center", color=ink)
            continue
        first = column.name == "study"
        write(
            page,
            column.x + (INDENT if first else 0.0),
            y,
            text,
            size=size_of(column.name, style),
            align=column.align,
            color=INK if first or column.align == "right" else QUIET,
        )
    if line.left:
        quiet = line.kind == "state"
        write(
            page,
            columns.left if line.kind == "header" else columns.label.x + INDENT,
            y,
            line.left,
            size=style.small if quiet else None,
            bold=line.kind in ("header", "pooled"),
            color=QUIET if quiet else palette.pooled if line.kind == "pooled" else INK,
        )
    owner = line.study.key if line.study else f"{line.kind}:{line.block.key}"
    key = f"contrast:{line.contrast.key}" if line.contrast else owner
    printed = line.printed
    write(page, columns.value, y, printed.value, align="right", gid=f"print:{key}")
    write(page, columns.low, y, printed.low, align="right", gid=f"print-low:{key}")
    write(page, columns.high, y, printed.high, align="right", gid=f"print-high:{key}")
    mark = f"mark:{key}"
    if printed.low:  # before the bracket of an interval, which has no value there
        write(page, columns.value - 0.3, y, printed.mark, align="right", gid=mark)
    else:
        write(page, columns.value + 0.3, y, printed.mark, gid=mark)


def draw_study(ax: Axes, study: Study, y: float, unit: float, palette: Palette, look: Look) -> None:
    """Draw what a study reported and, just below, its shrunken estimate."""
    lift = 0.7 if look.has_shrunken and study.shrunk.known else 0.0
    seen = study.observed
    if look.densities:
        draw_density(ax, study.source, "shrunk", study.key, y + 1.3, palette.shrunken)
    if study.kind == "exact":
        marks.observed(ax, study.key, seen.value, seen.low, seen.high, y - lift, look=palette)
    elif study.kind == "unsigned":
        marks.unsigned(ax, study.key, seen.value, seen.low, seen.high, y - lift, look=palette)
    elif not (math.isinf(study.lower) and math.isinf(study.upper)):
        marks.bound(
            ax,
            study.key,
            study.lower,
            study.upper,
            y - lift,
            assumed=study.assumed,
            unit=unit,
            look=palette,
        )
    if lift:
        shrunk = study.shrunk
        marks.shrunken(ax, study.key, shrunk.value, shrunk.low, shrunk.high, y + 1.1, look=palette)


def draw_density(ax: Axes, source: Record, prefix: str, key: str, y: float, color: str) -> None:
    """Draw the half-eye of a posterior whose quantiles the table carries."""
    found = quantiles(source, prefix)
    if len(found) >= 5:
        p, values = np.array(found).T
        x, height = density_from_quantiles(p, values)
        marks.density(ax, key, x, 2.6 * height / height.max(), y, color=color)


def draw_summary(ax: Axes, line: Line, palette: Palette, look: Look) -> None:
    """Draw the diamond of the pooled effect or the box of the prediction interval."""
    cell = line.block.cell
    if cell is None:
        return
    if line.kind == "pooled":
        hollow = cell.only_bounds or cell.k == 0
        mu = cell.mu
        if look.densities:
            draw_density(ax, cell.source, "mu", line.block.key, line.y - 1.3, palette.pooled)
        marks.diamond(
            ax, line.block.key, mu.value, mu.low, mu.high, line.y, hollow=hollow, look=palette
        )
    else:
        low, high = cell.pred.low, cell.pred.high
        marks.prediction(ax, line.block.key, low, high, line.y, look=palette)


def draw_references(ax: Axes, lines: list[Line], palette: Palette, delta: float) -> None:
    """Draw null and threshold band through one block, and its pooled median through its studies.

    Lines of words run over the whole width, so null and band stop before them.
    """
    cell, key = lines[0].block.cell, lines[0].block.key
    drawn = [line.y for line in lines if line.kind not in ("header", "state")]
    if drawn:
        marks.upright(ax, 0.0, drawn[0] - 2.0, drawn[-1] + 1.8, gid=f"null:{key}", color=QUIET)
        if delta > 0.0:
            marks.band(ax, delta, drawn[0] - 2.0, drawn[-1] + 1.8, gid=f"band:{key}")
    studies = [line.y for line in lines if line.kind == "study"]
    if cell is None or not studies or not cell.mu.known:
        return
    pooled = [line.y for line in lines if line.kind == "pooled"] or [studies[-1] + 1.5]
    gid = f"reference:{key}"
    marks.upright(
        ax, cell.mu.value, studies[0] - 1.5, pooled[0], gid=gid, color=palette.pooled, dash=True
    )


def draw_axis(page: Page, ax: Axes, plan: PanelPlan, columns: Columns, look: Look) -> None:
    """Draw ticks and name the scale and estimand of a panel."""
    room = columns.plot[1] - columns.plot[0]
    ratio = look.layout.ratios and plan.scale == "log_or"
    ticks = ratio_ticks if ratio else axis_ticks
    set_ticks(page, ax, *ticks(*plan.limits, room, page.style))
    name = scale_words(plan.scale, ratio=ratio)[1]
    estimands = dict.fromkeys(line.block.estimand for line in plan.lines)
    kinds = "; ".join(ESTIMANDS.get(e, e) for e in estimands)
    middle = sum(columns.plot) / 2
    wide = 2 * min(middle - columns.left, columns.right - middle) - GAP
    y = plan.bottom + 6.2
    if look.favours is not None:
        null = columns.plot[0] + room * (0.0 - plan.limits[0]) / (plan.limits[1] - plan.limits[0])
        left, right = look.favours
        size = page.style.small
        words = shorten(f"← {left}", null - columns.left - 1.0, page.style, size=size)
        write(page, null - 1.0, y, words, size=size, align="right")
        words = shorten(f"{right} →", columns.right - null - 1.0, page.style, size=size)
        write(page, null + 1.0, y, words, size=size)
        y += 3.4
    write(page, middle, y, shorten(f"{name} ({kinds})", wide, page.style), align="center")
