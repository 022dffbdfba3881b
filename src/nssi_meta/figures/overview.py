"""All pooled effects on one page: mechanisms by condition, grouped by system."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from . import marks
from .axis import axis_ticks, robust_range
from .page import Page, new_page, panel, rule, set_ticks, unname_marks, write
from .records import ESTIMANDS, SCALES, Cell, condition_order, read_cells
from .style import BAND, DOUBLE, QUIET, Style, condition_marks
from .text import count, heading, percent, shorten, text_width, widest, wrap

PITCH = 2.1  # mm between two conditions of one mechanism


@dataclass(frozen=True)
class Entry:
    """A system header (`cells` empty) or a mechanism with its cells; `y` is the middle in mm."""

    text: str
    y: float
    height: float
    cells: tuple[Cell, ...] = ()


def overview(
    pools: pd.DataFrame,
    *,
    delta: float = 0.2,
    estimand: str | None = None,
    predicted: bool = False,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw every pooled effect with its credible interval, one line a mechanism.

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
    if not delta >= 0.0:
        raise ValueError(f"delta is an effect size of 0 or more; got {delta!r}")
    cells, notes = choose_cells(read_cells(pools), estimand, predicted)
    conditions = condition_order((cell.mechanism, cell.condition) for cell in cells)
    labels = {cell.condition: cell.condition_label for cell in cells}
    looks = condition_marks(conditions)
    key = [(*looks[c], labels[c]) for c in conditions]
    levels = sorted(set(pools["level"].dropna())) if "level" in pools.columns else []
    notes = [_explain(levels, delta, cells, predicted), *notes]
    if title is None:
        title = "Pooled effects by mechanism and condition"

    room = style.width - 2 * style.margin
    key_lines = flow_key(key, style)
    key_top = style.margin + 1.6 * style.row
    top = key_top + style.row * len(key_lines) + 1.6 * style.row
    entries = stack(cells, top)
    bottom = entries[-1].y + entries[-1].height / 2 + 0.8
    note_lines = wrap(" ".join(notes), room, style, size=style.small)
    notes_top = bottom + 9.5
    page = new_page(notes_top + 0.8 * style.row * len(note_lines) + style.margin, style)

    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    draw_key(page, key_lines, key_top)
    plot = plot_range(entries, len(conditions), style)
    limits = _limits(cells, delta)
    draw_labels(page, entries, conditions, looks, plot, top)
    ax = panel(page, *plot, top, bottom, *limits)
    draw_background(ax, top, bottom, delta)
    for entry in entries:
        for i, cell in enumerate(entry.cells):
            y = entry.y + (i - (len(entry.cells) - 1) / 2) * PITCH
            draw_cell(ax, cell, y, *looks[cell.condition])
    set_ticks(page, ax, *axis_ticks(*limits, plot[1] - plot[0], style))
    scale = SCALES.get(cells[0].scale, (cells[0].scale,) * 2)[1]
    write(page, sum(plot) / 2, bottom + 6.4, scale, align="center")
    for i, line in enumerate(note_lines):
        y = notes_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, line, size=style.small, color=QUIET)
    return page.fig


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


def _explain(levels: list[float], delta: float, cells: list[Cell], predicted: bool) -> str:
    level = f"{percent(levels[0])} " if len(levels) == 1 else ""
    text = (
        f"Posterior median and {level}credible interval; grey band: effects within ±{delta:g}; "
        "numbers at the right: rows of evidence."
    )
    if any(c.only_bounds for c in cells):
        text += " Hollow: every row is a bound, no estimate was reported."
    if predicted and any(c.k == 0 for c in cells):
        text += " Hollow with 0 rows: predicted from other cells."
    return text + " Arrowheads: the interval continues beyond the axis."


def stack(cells: list[Cell], top: float) -> list[Entry]:
    """Put systems and mechanisms below each other, in the order of their first cell."""
    systems: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        systems.setdefault(cell.system, {}).setdefault(cell.mechanism, []).append(cell)
    entries: list[Entry] = []
    y = top
    for system, mechanisms in systems.items():
        entries.append(Entry(system, y + 2.9, 5.0))
        y += 5.0
        for members in mechanisms.values():
            height = max(PITCH * len(members) + 1.5, 3.8)
            entries.append(Entry(members[0].label, y + height / 2, height, tuple(members)))
            y += height
    return entries


def k_column(style: Style) -> float:
    """Width in mm for the number of rows of one condition."""
    return 4.6 if style.narrow else 6.5


def plot_range(entries: list[Entry], n_conditions: int, style: Style) -> tuple[float, float]:
    """Left and right edge of the plot in mm: what labels and counts leave."""
    labels = widest([e.text for e in entries], style) + 2.0
    label = min(labels, (0.33 if style.narrow else 0.36) * style.width)
    right = style.width - style.margin - k_column(style) * n_conditions
    return style.margin + label + 2.0, right - 1.0


def draw_labels(
    page: Page,
    entries: list[Entry],
    conditions: list[str],
    looks: dict[str, tuple[str, str]],
    plot: tuple[float, float],
    top: float,
) -> None:
    """Write systems, mechanisms and the counts of rows, with a marker above each column."""
    style = page.style
    columns = {c: plot[1] + 1.0 + k_column(style) * (i + 0.6) for i, c in enumerate(conditions)}
    for condition, x in columns.items():
        color, marker = looks[condition]
        _marker(page.ax, x, top - 1.8, color, marker, hollow=False)
    unname_marks(page)
    for entry in entries:
        if not entry.cells:
            write(page, style.margin, entry.y, heading(entry.text), bold=True)
            rule(page, entry.y + 2.0, style.margin, style.width - style.margin)
            continue
        room = plot[0] - style.margin - 4.0
        rule(page, entry.y + entry.height / 2, style.margin, style.width - style.margin, color=BAND)
        write(page, style.margin + 2.0, entry.y, shorten(entry.text, room, style))
        for cell in entry.cells:
            x = columns[cell.condition]
            write(
                page,
                x,
                entry.y,
                str(cell.k),
                align="center",
                size=style.small,
                gid=f"k:{cell.key}",
            )


def draw_background(ax: Axes, top: float, bottom: float, delta: float) -> None:
    """Draw the band of negligible effects and the null."""
    if delta > 0.0:
        band = Rectangle((-delta, top), 2 * delta, bottom - top, color=BAND, linewidth=0)
        band.set_zorder(0)
        band.set_gid("band")
        ax.add_patch(band)
    marks.upright(ax, 0.0, top, bottom, gid="null", color=QUIET)


def draw_cell(ax: Axes, cell: Cell, y: float, color: str, marker: str) -> None:
    """Draw one pooled effect: credible interval and marker."""
    low, high = cell.mu.low, cell.mu.high
    line = Line2D([low, high], [y, y], color=color, linewidth=0.9, gid=f"ci:{cell.key}")
    ax.add_line(line)
    hollow = cell.only_bounds or cell.k == 0
    size = 3.6 if marker in "s" else 4.0
    name = f"mu:{cell.key}"
    marks.point(
        ax, cell.mu.value, y, gid=name, marker=marker, size=size, color=color, hollow=hollow
    )
    marks.off_axis(ax, low, high, y, gid=f"ci:{cell.key}", color=color)


def flow_key(
    key: list[tuple[str, str, str]], style: Style
) -> list[list[tuple[float, str, str, str]]]:
    """Break the key into lines: (x in mm, colour, marker, words)."""
    lines: list[list[tuple[float, str, str, str]]] = [[]]
    x = style.margin
    for color, marker, words in key:
        words = shorten(words, style.width - 2 * style.margin - 4.0, style)
        width = 4.0 + text_width(words, style)
        if lines[-1] and x + width > style.width - style.margin:
            lines.append([])
            x = style.margin
        lines[-1].append((x, color, marker, words))
        x += width + 5.0
    return lines


def draw_key(page: Page, lines: list[list[tuple[float, str, str, str]]], top: float) -> None:
    """Draw the key of conditions from `top` mm down."""
    for i, line in enumerate(lines):
        y = top + page.style.row * (i + 0.5)
        for x, color, marker, words in line:
            _marker(page.ax, x + 1.2, y, color, marker, hollow=False)
            write(page, x + 4.0, y, words)
    unname_marks(page)


def _marker(ax: Axes, x: float, y: float, color: str, marker: str, *, hollow: bool) -> None:
    marks.point(ax, x, y, gid="key", marker=marker, size=4.0, color=color, hollow=hollow)


def _limits(cells: list[Cell], delta: float) -> tuple[float, float]:
    points = [v for c in cells for v in (c.mu.value, c.mu.low, c.mu.high)]
    low, high = robust_range(points, [(c.mu.low, c.mu.high) for c in cells])
    return (min(low, -1.1 * delta), max(high, 1.1 * delta)) if math.isfinite(delta) else (low, high)
