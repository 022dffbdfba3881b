"""The marks of effect figures. Each takes a panel, so the same mark serves plot and key.

Every artist carries a gid (`ci:<effect_id>`, `diamond:<cell>`, ...) and holds the table's own
numbers as its coordinates; the panel clips it and an arrowhead says so.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from .style import BAND, INK, PALETTE, Palette

DASH = (0, (2.2, 1.4))
BRACKET = 1.0  # half height of a bracket, mm
CERTAINTY = {  # fill of the disc and colour of the letter in it
    "H": ("#1f4e79", "#ffffff"),
    "M": ("#c9dcec", INK),
    "L": ("#ffffff", INK),
}
ARROW = 8.0  # length in mm of an arrow that stands for "anywhere beyond"


def span(
    ax: Axes,
    low: float,
    high: float,
    y: float,
    *,
    gid: str,
    color: str,
    width: float,
    dash: bool = False,
) -> None:
    """Draw a level line from `low` to `high`."""
    line = Line2D([low, high], [y, y], color=color, linewidth=width, gid=gid)
    line.set_linestyle(DASH if dash else "-")
    line.set_solid_capstyle("butt")
    ax.add_line(line)


def point(
    ax: Axes,
    x: float,
    y: float,
    *,
    gid: str,
    marker: str,
    size: float,
    color: str,
    hollow: bool = False,
) -> None:
    """Draw one marker; hollow markers have a white face."""
    low, high = ax.get_xlim()
    dot = Line2D([x], [y], marker=marker, markersize=size, linestyle="none", gid=gid)
    dot.set_markeredgecolor(color)
    dot.set_markerfacecolor("white" if hollow else color)
    dot.set_markeredgewidth(0.7)
    dot.set_zorder(3)
    ax.add_line(dot)
    dot.set_clip_on(not low <= x <= high)  # a marker at the edge of the range stays whole


def off_axis(ax: Axes, low: float, high: float, y: float, *, gid: str, color: str) -> None:
    """Put an arrowhead at each edge beyond which the interval continues."""
    left, right = ax.get_xlim()
    inset = 0.008 * (right - left)
    for beyond, x, marker, side in (
        (low < left, left + inset, "<", "low"),
        (high > right, right - inset, ">", "high"),
    ):
        if beyond:
            name = f"off-{side}:{gid}"
            point(ax, x, y, gid=name, marker=marker, size=3.0, color=color)


def observed(
    ax: Axes,
    key: str,
    value: float,
    low: float,
    high: float,
    y: float,
    *,
    width: float = 0.9,
    look: Palette = PALETTE,
) -> None:
    """Draw an observed estimate: square on its confidence interval."""
    if math.isfinite(low) and math.isfinite(high):
        span(ax, low, high, y, gid=f"ci:{key}", color=look.observed, width=width)
    else:
        low = high = value
    point(ax, value, y, gid=f"obs:{key}", marker="s", size=3.4, color=look.observed)
    off_axis(ax, low, high, y, gid=key, color=look.observed)


def unsigned(
    ax: Axes,
    key: str,
    value: float,
    low: float,
    high: float,
    y: float,
    *,
    look: Palette = PALETTE,
) -> None:
    """Draw an estimate of known size and unknown sign: two hollow squares, mirrored."""
    for sign, name in ((1.0, key), (-1.0, f"{key}:mirror")):
        a, b = sorted((sign * low, sign * high))
        if math.isfinite(a) and math.isfinite(b):
            span(ax, a, b, y, gid=f"ci:{name}", color=look.observed, width=0.5, dash=True)
            off_axis(ax, a, b, y, gid=name, color=look.observed)
        point(
            ax,
            sign * value,
            y,
            gid=f"obs:{name}",
            marker="s",
            size=3.4,
            color=look.observed,
            hollow=True,
        )


def shrunken(
    ax: Axes,
    key: str,
    value: float,
    low: float,
    high: float,
    y: float,
    *,
    look: Palette = PALETTE,
) -> None:
    """Draw a shrunken estimate: small light dot on a thin light line."""
    span(ax, low, high, y, gid=f"shrunk:{key}", color=look.shrunken, width=0.7)
    point(ax, value, y, gid=f"shrunk-at:{key}", marker="o", size=1.9, color=look.shrunken)
    off_axis(ax, low, high, y, gid=f"shrunk:{key}", color=look.shrunken)


def bound(
    ax: Axes,
    key: str,
    lower: float,
    upper: float,
    y: float,
    *,
    assumed: bool,
    unit: float,
    look: Palette = PALETTE,
) -> None:
    """Draw a row that only says in which interval its estimate fell.

    An open side is an arrow of fixed length from the bracket at the bound; a closed interval runs
    from bracket to bracket. There is no point, because none was reported. Assumed bounds are
    dashed with hollow arrowheads. `unit` is the number of data units in a mm.
    """
    left, right = ax.get_xlim()
    color = look.bound
    low = lower if math.isfinite(lower) else max(upper - ARROW * unit, min(left, upper))
    high = upper if math.isfinite(upper) else min(lower + ARROW * unit, max(right, lower))
    span(ax, low, high, y, gid=f"bound:{key}", color=color, width=0.9, dash=assumed)
    for x, inward, side in ((lower, 1.0, "low"), (upper, -1.0, "high")):
        if math.isfinite(x):
            _bracket(ax, x, y, inward * 0.7 * unit, gid=f"bracket-{side}:{key}", color=color)
    for open_side, x, marker, side in (
        (math.isinf(lower), low, "<", "low"),
        (math.isinf(upper), high, ">", "high"),
    ):
        if open_side and left <= x <= right:
            name = f"arrow-{side}:{key}"
            point(ax, x, y, gid=name, marker=marker, size=3.0, color=color, hollow=assumed)
    off_axis(ax, low, high, y, gid=key, color=color)


def _bracket(ax: Axes, x: float, y: float, serif: float, *, gid: str, color: str) -> None:
    xs = [x + serif, x, x, x + serif]
    ys = [y - BRACKET, y - BRACKET, y + BRACKET, y + BRACKET]
    ax.add_line(Line2D(xs, ys, color=color, linewidth=0.9, gid=gid, solid_joinstyle="miter"))


def diamond(
    ax: Axes,
    key: str,
    value: float,
    low: float,
    high: float,
    y: float,
    *,
    hollow: bool = False,
    look: Palette = PALETTE,
) -> None:
    """Draw a pooled effect: diamond from `low` over the median `value` to `high`."""
    half = 1.25
    corners = [(low, y), (value, y - half), (high, y), (value, y + half)]
    shape = Polygon(corners, closed=True, gid=f"diamond:{key}", zorder=3)
    shape.set_edgecolor(look.pooled)
    shape.set_facecolor("white" if hollow else look.diamond)
    shape.set_linewidth(0.8)
    ax.add_patch(shape)
    off_axis(ax, low, high, y, gid=f"diamond:{key}", color=look.pooled)


def prediction(
    ax: Axes, key: str, low: float, high: float, y: float, *, look: Palette = PALETTE
) -> None:
    """Draw a prediction interval: flat pale box with a dashed edge."""
    half = 0.75
    corners = [(low, y - half), (high, y - half), (high, y + half), (low, y + half)]
    shape = Polygon(corners, closed=True, gid=f"pi:{key}", zorder=2)
    shape.set_edgecolor(look.pooled)
    shape.set_facecolor(look.prediction)
    shape.set_linewidth(0.6)
    shape.set_linestyle(DASH)
    ax.add_patch(shape)
    off_axis(ax, low, high, y, gid=f"pi:{key}", color=look.pooled)


def density(ax: Axes, key: str, x: np.ndarray, height: np.ndarray, y: float, *, color: str) -> None:
    """Draw a half-eye: the area of a density above `y`; `height` in mm."""
    xs = [*x, x[-1], x[0]]
    ys = [*(y - height), y, y]
    shape = Polygon(list(zip(xs, ys, strict=True)), closed=True, gid=f"density:{key}", zorder=1)
    shape.set_edgecolor("none")
    shape.set_facecolor(color)
    shape.set_alpha(0.35)
    ax.add_patch(shape)


def contrast(
    ax: Axes, key: str, value: float, low: float, high: float, y: float, *, look: Palette = PALETTE
) -> None:
    """Draw a difference between two pools: ring on its credible interval."""
    span(ax, low, high, y, gid=f"contrast:{key}", color=look.pooled, width=0.9)
    name = f"contrast-at:{key}"
    point(ax, value, y, gid=name, marker="o", size=3.4, color=look.pooled, hollow=True)
    off_axis(ax, low, high, y, gid=f"contrast:{key}", color=look.pooled)


def band(ax: Axes, half: float, y0: float, y1: float, *, gid: str) -> None:
    """Shade the effects too small to matter, from -half to half, behind everything."""
    box = Rectangle((-half, y0), 2 * half, y1 - y0, color=BAND, linewidth=0, zorder=0, gid=gid)
    ax.add_patch(box)


def certainty(ax: Axes, x: float, y: float, letter: str) -> str:
    """Draw the disc of a letter of certainty; return the colour in which the letter shows."""
    fill, ink = CERTAINTY.get(letter, CERTAINTY["L"])
    dot = Line2D([x], [y], marker="o", markersize=6.4, linestyle="none", color=fill)
    dot.set_markeredgecolor(INK)
    dot.set_markeredgewidth(0.5)
    ax.add_line(dot)
    return ink


def upright(
    ax: Axes, x: float, y0: float, y1: float, *, gid: str, color: str, dash: bool = False
) -> None:
    """Draw a vertical reference line behind the marks."""
    line = Line2D([x, x], [y0, y1], color=color, linewidth=0.6, zorder=0.5, gid=gid)
    line.set_linestyle((0, (1, 1.6)) if dash else "-")
    ax.add_line(line)
