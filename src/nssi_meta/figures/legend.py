"""A key under a figure: each mark with its words, in as many lines as they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from .page import Page, unname_marks, write
from .style import QUIET, Style
from .text import shorten, text_width

Draw = Callable[[Axes, float, float], None]
SYMBOL = 8.5  # mm for the symbol of a key entry
BETWEEN = 4.0  # mm between entries


@dataclass(frozen=True)
class Entry:
    """One entry of the key: words, and the mark drawn on the page from x to x + SYMBOL - 1.5."""

    words: str
    draw: Draw


def _flow(entries: Sequence[Entry], style: Style) -> list[list[tuple[float, Entry]]]:
    """Break the entries into lines: (x in mm, entry)."""
    lines: list[list[tuple[float, Entry]]] = [[]]
    x = style.margin
    for entry in entries:
        room = style.width - 2 * style.margin - SYMBOL
        entry = Entry(shorten(entry.words, room, style, size=style.small), entry.draw)
        width = SYMBOL + text_width(entry.words, style, size=style.small)
        if lines[-1] and x + width > style.width - style.margin:
            lines.append([])
            x = style.margin
        lines[-1].append((x, entry))
        x += width + BETWEEN
    return lines if lines[0] else []


def key_height(entries: Sequence[Entry], style: Style) -> float:
    """Height of the key in mm."""
    return style.row * len(_flow(entries, style)) + 0.4 * style.row


def draw_key(page: Page, entries: Sequence[Entry], top: float) -> None:
    """Draw the key from `top` mm down."""
    for i, line in enumerate(_flow(entries, page.style)):
        y = top + page.style.row * (i + 0.5)
        for x, entry in line:
            entry.draw(page.ax, x, y)
            write(page, x + SYMBOL, y, entry.words, size=page.style.small, color=QUIET)
    unname_marks(page)
