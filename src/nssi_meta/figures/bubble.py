"""Bubble plot of a moderator: effects against it, with the fitted line and its bands."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from . import marks
from .axis import robust_range
from .legend import Entry
from .records import as_float, as_text, records, require_columns
from .sheet import new_sheet
from .style import BOUND, DOUBLE, INK, POOLED, PREDICTION, QUIET, Style
from .text import count, number, percent

#: One row a row of evidence; `x` is the moderator. Bounds have `lower`, `upper` and no `yi`.
BUBBLE_COLUMNS = ("effect_id", "x", "yi", "sei", "lower", "upper")
#: The fitted mean over a grid of the moderator, x increasing; prediction limits may be missing.
CURVE_COLUMNS = ("x", "median", "low", "high", "pred_low", "pred_high")


def bubble(
    effects: pd.DataFrame,
    curve: pd.DataFrame,
    *,
    moderator: str = "moderator",
    scale: str = "Hedges’ g",
    level: float = 0.95,
    title: str = "Effects by a moderator",
    style: Style = DOUBLE,
) -> Figure:
    """Draw effects as discs with an area in proportion to their precision, and the regression.

    Bounds are vertical bars over where the effect may lie, cut at the frame.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or a curve whose x does not increase.
    """
    require_columns(effects, BUBBLE_COLUMNS, "effects")
    require_columns(curve, CURVE_COLUMNS, "curve")
    found = [r for r in records(effects) if math.isfinite(as_float(r["x"]))]
    if not found:
        raise ValueError("nothing to draw: no row has a value of the moderator")
    grid = curve["x"].to_numpy(dtype=float)
    if len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise ValueError("x of `curve` must increase, over two points or more")
    xs = [as_float(r["x"]) for r in found]
    span = max(max(*xs, grid[-1]) - min(*xs, grid[0]), 1e-9)
    points = [as_float(r[c]) for r in found for c in ("yi", "lower", "upper")]
    ends = [(float(a), float(b)) for a, b in zip(curve["low"], curve["high"], strict=True)]
    n_lost, n_bounds = (
        len(effects) - len(found),
        sum(not math.isfinite(as_float(r["yi"])) for r in found),
    )
    sheet = new_sheet(
        title=title,
        x=(min(*xs, grid[0]) - 0.04 * span, max(*xs, grid[-1]) + 0.04 * span),
        y=robust_range(points, ends),
        height=0.42 * style.width if not style.narrow else 0.75 * style.width,
        style=style,
        xlabel=moderator,
        ylabel=scale,
        entries=_key(level, n_bounds > 0, bool(curve["pred_low"].notna().any())),
        notes=f"Without a value of the moderator, not shown: {n_lost}." if n_lost else "",
    )
    ax = sheet.ax
    if all(x == round(x) for x in xs):  # years
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = ax.get_ylim()
    ax.axhline(0.0, color=QUIET, linewidth=0.6, zorder=0.5)
    if curve["pred_low"].notna().all():
        _band(ax, grid, curve, "pred_low", "pred_high", "prediction", "#eef3f8")
    _band(ax, grid, curve, "low", "high", "mean", PREDICTION)
    line = Line2D(grid, curve["median"].to_numpy(dtype=float), color=POOLED, linewidth=1.1)
    line.set_gid("median")
    ax.add_line(line)
    finest = min((as_float(r["sei"]) for r in found if math.isfinite(as_float(r["yi"]))), default=1)
    for r in found:
        key, x, yi = as_text(r["effect_id"]), as_float(r["x"]), as_float(r["yi"])
        if math.isfinite(yi):
            size = max(6.0 * finest / as_float(r["sei"]), 1.4)
            marks.point(ax, x, yi, gid=f"obs:{key}", marker="o", size=size, color=INK, hollow=True)
            continue
        start, stop = max(as_float(r["lower"]), low), min(as_float(r["upper"]), high)
        bar = Line2D(
            [x, x], [start, stop], color=BOUND, linewidth=1.0, alpha=0.6, gid=f"bound:{key}"
        )
        ax.add_line(bar)
    return sheet.fig


def _band(
    ax: Axes, x: np.ndarray, curve: pd.DataFrame, low: str, high: str, name: str, color: str
) -> None:
    below, above = (curve[c].to_numpy(dtype=float) for c in (low, high))
    corners = [*zip(x, below, strict=True), *zip(x[::-1], above[::-1], strict=True)]
    area = Polygon(corners, closed=True, facecolor=color, edgecolor=POOLED, linewidth=0.3)
    area.set(gid=f"band:{name}", zorder=0.2)
    ax.add_patch(area)


def _key(level: float, bounds: bool, predicted: bool) -> list[Entry]:
    def disc(ax: Axes, x: float, y: float) -> None:
        marks.point(ax, x + 3.5, y, gid="key", marker="o", size=5.0, color=INK, hollow=True)

    def bound(ax: Axes, x: float, y: float) -> None:
        ax.add_line(Line2D([x + 3.5] * 2, [y - 1.5, y + 1.5], color=BOUND, alpha=0.6))

    def mean(ax: Axes, x: float, y: float) -> None:
        ax.add_patch(Rectangle((x, y - 1.2), 7.0, 2.4, facecolor=PREDICTION, linewidth=0))
        ax.add_line(Line2D([x, x + 7.0], [y, y], color=POOLED, linewidth=1.1))

    def new(ax: Axes, x: float, y: float) -> None:
        box = Rectangle((x, y - 1.2), 7.0, 2.4, facecolor="#eef3f8", edgecolor=POOLED)
        box.set_linewidth(0.3)
        ax.add_patch(box)

    p = percent(level)
    entries = [Entry("estimate, larger when more precise", disc)]
    entries += [Entry("bound: the effect lies on the bar", bound)] if bounds else []
    entries.append(Entry(f"mean effect, {p} CrI", mean))
    return entries + ([Entry(f"{p} prediction interval", new)] if predicted else [])


def alt_bubble(effects: pd.DataFrame, curve: pd.DataFrame, *, moderator: str = "moderator") -> str:
    """Describe a bubble plot: rows, range of the moderator, mean effect at both of its ends."""
    first, last = curve.iloc[0], curve.iloc[-1]
    shown = effects[effects["x"].notna()]
    return (
        f"{count(len(shown), 'row')} by {moderator} from {number(first['x'])} to "
        f"{number(last['x'])}; mean effect {number(first['median'])} [{number(first['low'])}, "
        f"{number(first['high'])}] at the lower end and {number(last['median'])} "
        f"[{number(last['low'])}, {number(last['high'])}] at the upper."
    )
