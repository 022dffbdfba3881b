"""The key of the model figure."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .legend import SYMBOL, Draw, Entry
from .model_nodes import CELL, dot, fill, median, square
from .style import POOLED, QUIET

SHADES = (0.0, 0.5, 1.0)
WIDTH = SYMBOL - 1.5  # mm of a symbol


def model_key(index_label: str, delta: float | None, level: float) -> list[Entry]:
    """Entries for every mark that the figure may hold."""
    beyond = "" if delta is None else f" (|effect| > {delta:g} in both)"
    return [
        Entry(f"mean effect in {index_label}, median and {100 * level:g}% interval", _interval()),
        Entry("only bounds were reported", _interval(hollow=True)),
        Entry("another scale", _interval(other_scale=True)),
        Entry(f"probability 0, 0.5, 1 that the mechanism is shared{beyond}", _shades),
        Entry("opposite directions more probable than not", _square(0.0, 1.0)),
        Entry("uninformative", _square(0.5, 0.0, small=True)),
        Entry("studied in only one of the two", _square(math.nan, 0.0)),
        Entry("in neither", _dash),
    ]


def _interval(*, hollow: bool = False, other_scale: bool = False) -> Draw:
    def draw(ax: Axes, x: float, y: float) -> None:
        ax.add_line(Line2D([x, x + WIDTH], [y, y], color=POOLED, linewidth=1.0))
        ax.add_line(median(x + WIDTH / 2, y, hollow=hollow, other_scale=other_scale))

    return draw


def _square(p_shared: float, p_opposite: float, *, small: bool = False) -> Draw:
    def draw(ax: Axes, x: float, y: float) -> None:
        box = square(x + (WIDTH - CELL) / 2, y, small=small)
        if math.isnan(p_shared):
            dot(box)
        else:
            fill(box, p_shared, p_opposite)
        ax.add_patch(box)

    return draw


def _shades(ax: Axes, x: float, y: float) -> None:
    for i, p in enumerate(SHADES):
        box = square(x + (WIDTH - CELL) / 2 + (i - 1) * (CELL - 0.5), y)
        fill(box, p, 0.0)
        ax.add_patch(box)


def _dash(ax: Axes, x: float, y: float) -> None:
    middle = x + WIDTH / 2
    ax.add_line(Line2D([middle - 0.6, middle + 0.6], [y, y], color=QUIET, linewidth=0.5))
