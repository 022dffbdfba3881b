"""The parts of the overview: rows, counts, marks, the key of its conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from . import marks
from .axis import robust_range
from .page import Page, rule, unname_marks, write
from .records import Cell
from .style import BAND, QUIET, Style
from .text import heading, shorten, text_width, widest

PITCH = 2.1  # mm between two conditions of one mechanism
HEAD = 5.0  # mm of the heading of a system


@dataclass(frozen=True)
class Entry:
    """A system header (`cells` empty) or a mechanism with its cells; `y` is the middle in mm."""

    text: str
    y: float
    height: float
    cells: tuple[Cell, ...] = ()


def by_system(cells: list[Cell]) -> dict[str, dict[str, list[Cell]]]:
    """Cells by system and mechanism, in the order of their first cell."""
    systems: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        systems.setdefault(cell.system, {}).setdefault(cell.mechanism, []).append(cell)
    return systems


def height_of(members: list[Cell]) -> float:
    """Height in mm of a mechanism with these cells."""
    return max(PITCH * len(members) + 1.5, 3.8)


def stack(cells: list[Cell], top: float) -> list[Entry]:
    """Put systems and mechanisms below each other, in the order of their first cell."""
    entries: list[Entry] = []
    y = top
    for system, mechanisms in by_system(cells).items():
        entries.append(Entry(system, y + 2.9, HEAD))
        y += HEAD
        for members in mechanisms.values():
            height = height_of(members)
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


def limits_of(cells: list[Cell], delta: float) -> tuple[float, float]:
    """Limits of the axis: all intervals that are not wild, and the band of `delta`."""
    points = [v for c in cells for v in (c.mu.value, c.mu.low, c.mu.high)]
    low, high = robust_range(points, [(c.mu.low, c.mu.high) for c in cells])
    return (min(low, -1.1 * delta), max(high, 1.1 * delta)) if math.isfinite(delta) else (low, high)
