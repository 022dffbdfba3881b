"""A page measured in millimetres from its upper left corner, with data panels on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import INK, MM_PER_INCH, MM_PER_POINT, QUIET, RULE, Style
from .text import DPI
from .words import Words, font_of

LONG = 150.0  # mm of panel from which an axis is repeated at its top
MAX_HEIGHT = 5000.0  # mm; PDF readers stop at 200 inches


@dataclass(frozen=True)
class Page:
    """A figure with one invisible axes over all of it, whose units are mm, y downwards."""

    fig: Figure
    ax: Axes
    height: float
    style: Style


def new_page(height: float, style: Style) -> Page:
    """Make an empty white page of `style.width` by `height` mm.

    Raises
    ------
    ValueError
        The page would be too tall for a PDF.
    """
    if height > MAX_HEIGHT:
        raise ValueError(
            f"the figure would be {height:.0f} mm tall (at most {MAX_HEIGHT:.0f}); "
            "select fewer rows"
        )
    fig = Figure(figsize=(style.width / MM_PER_INCH, height / MM_PER_INCH), dpi=DPI)
    FigureCanvasAgg(fig)
    fig.patch.set_facecolor("white")
    ax = fig.add_axes((0.0, 0.0, 1.0, 1.0), label="page")
    ax.set_axis_off()
    ax.set_zorder(1)  # words lie over the panels
    ax.set_xlim(0.0, style.width)
    ax.set_ylim(height, 0.0)
    return Page(fig, ax, height, style)


def write(
    page: Page,
    x: float,
    y: float,
    text: str,
    *,
    align: Literal["left", "center", "right"] = "left",
    size: float | None = None,
    bold: bool = False,
    color: str = INK,
    gid: str | None = None,
) -> None:
    """Write one line of text whose middle of lower-case height is at `y` mm."""
    if not text:
        return
    points = size or page.style.size
    words = Words(
        x,
        y + 0.36 * points * MM_PER_POINT,  # baselines shared along a line, whatever its letters
        text,
        horizontalalignment=align,
        fontproperties=font_of(page.style.families, points, bold).copy(),  # a reader may change it
        color=color,
        parse_math=False,  # a "$" in a label is a dollar
    )
    words.set_gid(gid)
    words.set_clip_on(False)
    page.ax.add_artist(words)


def rule(page: Page, y: float, x0: float, x1: float, *, color: str = RULE) -> None:
    """Draw a horizontal hairline at `y` mm."""
    page.ax.add_line(Line2D([x0, x1], [y, y], color=color, linewidth=0.5))


def unname_marks(page: Page) -> None:
    """Take the names off the marks of a key: only what stands for data has an id in the svg."""
    for artist in [*page.ax.lines, *page.ax.patches]:
        artist.set_gid(None)


def panel(page: Page, x0: float, x1: float, y0: float, y1: float, low: float, high: float) -> Axes:
    """Lay a data panel over the page: x in data units from `low` to `high`, y still in page mm."""
    width, height = page.style.width, page.height
    box = (x0 / width, 1 - y1 / height, (x1 - x0) / width, (y1 - y0) / height)
    ax = page.fig.add_axes(box, label=f"panel-{len(page.fig.axes)}")
    ax.patch.set_visible(False)
    ax.set_xlim(low, high)
    ax.set_ylim(y1, y0)
    ax.set_yticks([])
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(QUIET)
    ax.spines["bottom"].set_linewidth(0.6)
    return ax


def set_ticks(page: Page, ax: Axes, ticks: list[float], labels: list[str]) -> None:
    """Put ticks with these labels under a panel, and over it if it is long to look up."""
    ax.set_xticks(ticks, labels=labels)
    low, high = ax.get_ylim()
    if low - high > LONG:
        ax.tick_params(axis="x", top=True, labeltop=True)
        ax.spines["top"].set_visible(True)
        ax.spines["top"].set_color(QUIET)
        ax.spines["top"].set_linewidth(0.6)
    ax.tick_params(axis="x", length=2.0, width=0.6, pad=1.5, color=QUIET, labelcolor=INK)
    for label in [t for tick in ax.xaxis.get_major_ticks() for t in (tick.label1, tick.label2)]:
        label.set_fontsize(page.style.small)
        label.set_fontfamily(list(page.style.families))
        label.set_parse_math(False)
