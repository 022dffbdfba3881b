"""One data panel on a page, with title, axes, key and notes: the ground of most figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .axis import axis_ticks, tick_labels
from .legend import Entry, draw_key, key_height
from .page import Page, new_page, panel, set_ticks, write
from .style import INK, QUIET, Style
from .text import widest, wrap

TICK_ROOM = 2.6  # mm between the labels of a vertical axis and the axis
FOOT = 9.5  # mm for ticks and the name of the axis


@dataclass(frozen=True)
class Sheet:
    """A page with one panel; `plot` are its edges in mm: left, right, top, bottom."""

    page: Page
    ax: Axes
    plot: tuple[float, float, float, float]

    @property
    def fig(self) -> Figure:
        """The figure."""
        return self.page.fig

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Page mm of a point of the panel."""
        left, right, top, bottom = self.plot
        (x0, x1), (y0, y1) = self.ax.get_xlim(), self.ax.get_ylim()
        return (
            left + (right - left) * (x - x0) / (x1 - x0),
            bottom - (bottom - top) * (y - y0) / (y1 - y0),
        )


def new_sheet(
    *,
    title: str,
    x: tuple[float, float],
    height: float,
    style: Style,
    y: tuple[float, float] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    left: float = 0.0,
    right: float = 0.0,
    head: float = 0.0,
    under: float = 0.0,
    entries: Sequence[Entry] = (),
    notes: str = "",
    xticks: tuple[list[float], list[str]] | None = None,
    yticks: tuple[list[float], list[str]] | None = None,
) -> Sheet:
    """Lay a panel on a new page.

    Parameters
    ----------
    x, y
        Limits of the axes in data units; without `y` the panel's y is page mm, downwards. A `y`
        whose first limit is the larger runs downwards.
    height
        Of the panel, mm.
    left, right, head, under
        Further room in mm beside, above and below the panel, for what the caller draws.
    ylabel
        Written level, above the axis.
    """
    room = style.width - 2 * style.margin
    heads = wrap(title, room, style, size=style.size + 2, bold=True)
    lines = wrap(notes, room, style, size=style.small)
    ticks = yticks or (value_ticks(y, height) if y is not None else ([], []))
    beside = widest(ticks[1], style, size=style.small) + TICK_ROOM if ticks[1] else 0.0
    top = style.margin + 1.2 * style.row * len(heads) + head + (style.row if ylabel else 0.0) + 1.0
    bottom = top + height
    key_top = bottom + under + FOOT
    notes_top = key_top + (key_height(entries, style) if entries else 0.0)
    page = new_page(notes_top + 0.8 * style.row * len(lines) + style.margin, style)
    for i, words in enumerate(heads):
        at = style.margin + 1.2 * style.row * (i + 0.5)
        write(page, style.margin, at, words, size=style.size + 2, bold=True)
    x0, x1 = style.margin + left + beside, style.width - style.margin - right
    ax = panel(page, x0, x1, top, bottom, *x)
    set_ticks(page, ax, *(xticks or axis_ticks(*x, x1 - x0, style)))
    if y is not None:
        ax.set_ylim(*y)
        set_value_ticks(page, ax, *ticks)
        write(page, style.margin + left, top - 0.5 * style.row, ylabel, size=style.small)
    for i, words in enumerate(wrap(xlabel, x1 - x0, style)[:1]):
        write(page, (x0 + x1) / 2, bottom + under + 6.4 + i * style.row, words, align="center")
    draw_key(page, entries, key_top)
    for i, words in enumerate(lines):
        at = notes_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, words, size=style.small, color=QUIET)
    return Sheet(page, ax, (x0, x1, top, bottom))


def value_ticks(limits: tuple[float, float], height: float) -> tuple[list[float], list[str]]:
    """Ticks of a vertical axis, one for every 9 mm at most."""
    low, high = min(limits), max(limits)
    places = MaxNLocator(max(2, int(height / 9)), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = [float(t) for t in places if low - 1e-12 <= t <= high + 1e-12]
    return ticks, tick_labels(ticks)


def set_value_ticks(page: Page, ax: Axes, ticks: list[float], labels: list[str]) -> None:
    """Put ticks with these labels at the left of a panel."""
    ax.set_yticks(ticks, labels=labels)
    ax.spines["left"].set_visible(True)
    ax.spines["left"].set_color(QUIET)
    ax.spines["left"].set_linewidth(0.6)
    ax.tick_params(axis="y", length=2.0, width=0.6, pad=1.5, color=QUIET, labelcolor=INK)
    for label in ax.get_yticklabels():
        label.set_fontsize(page.style.small)
        label.set_fontfamily(list(page.style.families))
        label.set_parse_math(False)
