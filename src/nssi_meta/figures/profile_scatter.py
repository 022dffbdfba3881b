"""Mechanisms of two conditions against each other, each with the ellipse of its posterior."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.transforms import Bbox

from . import marks
from .axis import robust_range
from .legend import Draw, Entry
from .page import write
from .records import Record, as_float, as_text, records, require_columns
from .sheet import TICK_ROOM, Sheet, new_sheet, value_ticks
from .style import BAND, DOUBLE, INK, POOLED, QUIET, SHRUNKEN, Style
from .text import count, percent, text_width, widest

#: One row a mechanism: posterior mean and sd of its effect in both conditions, their correlation.
SCATTER_COLUMNS = ("mechanism", "label", "x_mean", "x_sd", "y_mean", "y_sd", "correlation")


def profile_scatter(
    table: pd.DataFrame,
    *,
    x_label: str = "NSSI",
    y_label: str = "the other condition",
    delta: float = 0.2,
    mass: float = 0.5,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw each mechanism at its effect in two conditions, with an ellipse of `mass` posterior.

    The ellipse is that of the normal distribution with the posterior's means, deviations and
    correlation. Names are written where they touch nothing; the data table has all.

    Parameters
    ----------
    table
        One row a mechanism (`SCATTER_COLUMNS`).
    delta
        Half width of the grey bands of effects too small to matter.
    mass
        Posterior probability inside an ellipse.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a correlation outside -1 to 1, `mass` not in (0, 1).
    """
    require_columns(table, SCATTER_COLUMNS, "profile_scatter")
    if table.empty:
        raise ValueError("nothing to draw: the table holds no mechanism")
    if not 0.0 < mass < 1.0:
        raise ValueError(f"mass is a probability between 0 and 1, e.g. 0.5; got {mass!r}")
    bad = table.loc[~table["correlation"].abs().le(1.0), "mechanism"].astype(str).tolist()
    if bad:
        raise ValueError(f"correlation must lie between -1 and 1: {', '.join(bad[:5])}")
    found = records(table)
    curves = [ellipse(r, mass) for r in found]
    low, high = robust_range(
        [as_float(r[c]) for r in found for c in ("x_mean", "y_mean")],
        [(float(c.min()), float(c.max())) for c in curves],
    )
    room = style.width - 2 * style.margin
    side = min(room - 10.0, 110.0)
    ticks = value_ticks((low, high), side)
    beside = widest(ticks[1], style, size=style.small) + TICK_ROOM
    sheet = new_sheet(
        title=f"{x_label} and {y_label}, mechanism by mechanism" if title is None else title,
        x=(low, high),
        y=(low, high),
        height=side,
        style=style,
        right=room - side - beside,
        yticks=ticks,
        xlabel=f"effect in {x_label}",
        ylabel=f"effect in {y_label}",
        entries=[
            Entry(f"mean and {percent(mass)} ellipse, clear of zero in one or both", _key(POOLED)),
            Entry("clear of zero in neither", _key(SHRUNKEN)),
        ],
        notes=f"Grey bands: effects within ±{delta:g}. On the dashed line both effects are equal.",
    )
    ax = sheet.ax
    for box in ((-delta, low, 2 * delta, high - low), (low, -delta, high - low, 2 * delta)):
        ax.add_patch(Rectangle(box[:2], *box[2:], color=BAND, linewidth=0, zorder=0))
    ax.axline((0, 0), slope=1, color=QUIET, linewidth=0.5, linestyle=marks.DASH, zorder=0.5)
    ax.axvline(0.0, color=QUIET, linewidth=0.5, zorder=0.5)
    ax.axhline(0.0, color=QUIET, linewidth=0.5, zorder=0.5)
    for r, curve in zip(found, curves, strict=True):
        _draw(ax, r, curve)
    _name_points(sheet, found)
    return sheet.fig


def ellipse(record: Record, mass: float, points: int = 72) -> np.ndarray:
    """Points (points, 2) of the ellipse that holds `mass` of a bivariate normal distribution.

    Its radius in deviations is sqrt(-2 log(1 - mass)), the quantile of a chi distribution with
    two degrees of freedom.
    """
    angle = np.linspace(0.0, 2 * np.pi, points, endpoint=False)
    radius = math.sqrt(-2.0 * math.log1p(-mass))
    rho = as_float(record["correlation"])
    a, b = radius * np.cos(angle), radius * np.sin(angle)
    x = as_float(record["x_mean"]) + as_float(record["x_sd"]) * a
    y = as_float(record["y_mean"]) + as_float(record["y_sd"]) * (
        rho * a + math.sqrt(1.0 - rho**2) * b
    )
    return np.column_stack([x, y])


def _clear(curve: np.ndarray) -> bool:
    """Whether an ellipse leaves out zero on one axis at least."""
    return bool((curve.min(axis=0) > 0.0).any() or (curve.max(axis=0) < 0.0).any())


def _draw(ax: Axes, r: Record, curve: np.ndarray) -> None:
    key = as_text(r["mechanism"])
    color = POOLED if _clear(curve) else SHRUNKEN
    shape = Polygon(curve, closed=True, fill=False, edgecolor=color, linewidth=0.6)
    shape.set_gid(f"ellipse:{key}")
    ax.add_patch(shape)
    x, y = as_float(r["x_mean"]), as_float(r["y_mean"])
    marks.point(ax, x, y, gid=f"mean:{key}", marker="o", size=2.6, color=color)


def _name_points(sheet: Sheet, found: list[Record]) -> None:
    """Write names beside their points, the clearest first, where nothing is in the way."""
    page, style = sheet.page, sheet.page.style
    left, right, top, bottom = sheet.plot
    at = [sheet.place(as_float(r["x_mean"]), as_float(r["y_mean"])) for r in found]
    taken = [Bbox([[x - 0.7, y - 0.7], [x + 0.7, y + 0.7]]) for x, y in at]

    def strength(i: int) -> float:
        r = found[i]
        return -max(abs(as_float(r[f"{c}_mean"])) / as_float(r[f"{c}_sd"]) for c in "xy")

    for i in sorted(range(len(found)), key=strength):
        name = as_text(found[i]["label"])
        width, (x, y) = text_width(name, style, size=style.small), at[i]
        for dx, dy in ((1.2, 0.0), (-1.2 - width, 0.0), (-width / 2, -2.0), (-width / 2, 2.0)):
            box = Bbox([[x + dx, y + dy - 1.2], [x + dx + width, y + dy + 1.2]])
            fits = left < box.x0 and box.x1 < right and top < box.y0 and box.y1 < bottom
            others = [b for j, b in enumerate(taken) if j != i]
            if fits and not box.count_overlaps(others):
                write(page, box.x0, y + dy, name, size=style.small, color=INK)
                ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.2}
                page.ax.texts[-1].set_bbox(ground)
                taken.append(box)
                break


def _key(color: str) -> Draw:
    def draw(ax: Axes, x: float, y: float) -> None:
        angle = np.linspace(0.0, 2 * np.pi, 40)
        curve = np.column_stack([x + 3.5 + 3.0 * np.cos(angle), y + 1.1 * np.sin(angle)])
        ax.add_patch(Polygon(curve, closed=True, fill=False, edgecolor=color, linewidth=0.6))
        marks.point(ax, x + 3.5, y, gid="key", marker="o", size=2.6, color=color)

    return draw


def alt_profile_scatter(table: pd.DataFrame, *, x_label: str = "NSSI", y_label: str) -> str:
    """Describe a profile scatter: how many effects agree in sign, and the strongest in both."""
    require_columns(table, SCATTER_COLUMNS, "profile_scatter")
    same = int((table["x_mean"] * table["y_mean"] > 0).sum())
    parts = [
        f"Effects in {x_label} against {y_label} for {count(len(table), 'mechanism')}.",
        f"{same} have posterior means of the same sign.",
    ]
    both = table[(table["x_mean"].abs() > table["x_sd"]) & (table["y_mean"].abs() > table["y_sd"])]
    names = ", ".join(map(str, both["label"]))
    parts.append(f"More than one posterior deviation from zero in both: {names or 'none'}.")
    return " ".join(parts)
