"""Contour funnel: every row by effect and standard error, bounds as bands."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from . import marks
from .axis import robust_range
from .legend import Draw, Entry
from .records import as_float, as_text, records, require_columns
from .sheet import new_sheet
from .style import BOUND, DOUBLE, INK, POOLED, QUIET, Style
from .text import count, number

#: `kind`: exact or interval; `yi`, `sei`: estimate and standard error; `lower`, `upper`: the bound
#: of an interval row (infinite where open). `sei` of a bound is that of its sample sizes.
FUNNEL_COLUMNS = ("effect_id", "kind", "yi", "sei", "lower", "upper")
CONTOURS = (  # two-sided p, normal quantile, grey of the area inside
    (0.01, 2.5758293035489004, "#c9c9c9"),
    (0.05, 1.959963984540054, "#dedede"),
    (0.10, 1.6448536269514722, "#f1f1f1"),
)


def funnel(
    table: pd.DataFrame,
    *,
    mu: float = math.nan,
    scale: str = "Hedges’ g",
    title: str = "Funnel",
    style: Style = DOUBLE,
) -> Figure:
    """Draw a contour-enhanced funnel (Peters et al. 2008) that shows bounds as bands.

    Inside the shaded areas an estimate has p > .10, > .05, > .01 against no effect: gaps in the
    area of p > .10 alone are no sign that results were withheld for their p value.

    Parameters
    ----------
    table
        One row a row of evidence (`FUNNEL_COLUMNS`).
    mu
        Pooled effect, drawn as a dotted line.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or a standard error that is not positive.
    """
    require_columns(table, FUNNEL_COLUMNS, "funnel")
    found = [r for r in records(table) if r["kind"] in ("exact", "interval")]
    if not found:
        raise ValueError("nothing to draw: no row is an estimate or a bound")
    bad = [as_text(r["effect_id"]) for r in found if not 0.0 < as_float(r["sei"]) < math.inf]
    if bad:
        raise ValueError(f"the standard error must be positive and finite: {', '.join(bad[:5])}")
    deepest = 1.08 * max(as_float(r["sei"]) for r in found)
    points = [as_float(r["yi"]) for r in found if r["kind"] == "exact"]
    edges = [as_float(r[c]) for r in found if r["kind"] == "interval" for c in ("lower", "upper")]
    reach = 1.2 * CONTOURS[1][1] * deepest
    low, high = robust_range([*points, *edges, mu], [(-reach, reach)])
    n_bounds = sum(r["kind"] == "interval" for r in found)
    sheet = new_sheet(
        title=title,
        x=(low, high),
        y=(deepest, 0.0),
        height=0.45 * style.width if not style.narrow else 0.8 * style.width,
        style=style,
        xlabel=scale,
        ylabel="standard error (large studies on top)",
        entries=[*_key(n_bounds, math.isfinite(mu))],
        notes=f"{count(len(found) - n_bounds, 'estimate')}, {count(n_bounds, 'bound')}.",
    )
    ax = sheet.ax
    for p, z, grey in CONTOURS:  # the widest first
        area = Polygon([(0, 0), (-z * deepest, deepest), (z * deepest, deepest)], closed=True)
        area.set(facecolor=grey, edgecolor="none", zorder=0, gid=f"contour:{p:g}")
        ax.add_patch(area)
    marks.upright(ax, 0.0, 0.0, deepest, gid="null", color=QUIET)
    if math.isfinite(mu):
        marks.upright(ax, mu, 0.0, deepest, gid="mu", color=POOLED, dash=True)
    for r in found:
        _draw_row(
            ax, as_text(r["effect_id"]), r["kind"], *(as_float(r[c]) for c in FUNNEL_COLUMNS[2:])
        )
    return sheet.fig


def _draw_row(
    ax: Axes, key: str, kind: object, yi: float, sei: float, lower: float, upper: float
) -> None:
    if kind == "exact":
        marks.point(ax, yi, sei, gid=f"obs:{key}", marker="o", size=3.6, color=INK)
        marks.off_axis(ax, yi, yi, sei, gid=key, color=INK)
        return
    left, right = ax.get_xlim()
    start, stop = max(lower, left), min(upper, right)
    thick = 0.012 * abs(np.diff(ax.get_ylim())[0])
    box = Rectangle((start, sei - thick / 2), stop - start, thick, color=BOUND, linewidth=0)
    box.set(alpha=0.35, gid=f"bound:{key}", zorder=1)
    ax.add_patch(box)
    for side, x in (("low", lower), ("high", upper)):
        if left <= x <= right:
            marks.point(ax, x, sei, gid=f"end-{side}:{key}", marker="|", size=4.0, color=BOUND)


def _key(n_bounds: int, has_mu: bool) -> list[Entry]:
    def dot(ax: Axes, x: float, y: float) -> None:
        marks.point(ax, x + 3.5, y, gid="key", marker="o", size=3.6, color=INK)

    def bound(ax: Axes, x: float, y: float) -> None:
        ax.add_patch(Rectangle((x, y - 0.6), 7.0, 1.2, color=BOUND, alpha=0.35, linewidth=0))
        marks.point(ax, x, y, gid="key", marker="|", size=4.0, color=BOUND)

    def pooled(ax: Axes, x: float, y: float) -> None:
        marks.upright(ax, x + 3.5, y - 1.5, y + 1.5, gid="key", color=POOLED, dash=True)

    def area(grey: str) -> Draw:
        def draw(ax: Axes, x: float, y: float) -> None:
            box = Rectangle((x + 0.5, y - 1.3), 6.0, 2.6, facecolor=grey, edgecolor="#8a8a8a")
            box.set_linewidth(0.3)
            ax.add_patch(box)

        return draw

    entries = [Entry("estimate", dot)]
    if n_bounds:
        entries.append(Entry("bound: the estimate lies in the band", bound))
    if has_mu:
        entries.append(Entry("pooled median", pooled))
    return entries + [Entry(f"p > {p:.2f}", area(g)) for p, _, g in CONTOURS]


def alt_funnel(table: pd.DataFrame, *, mu: float = math.nan) -> str:
    """Describe a funnel: how many rows, how they lie about the pooled effect."""
    require_columns(table, FUNNEL_COLUMNS, "funnel")
    exact = table[table["kind"] == "exact"]
    bounds = int((table["kind"] == "interval").sum())
    text = f"Funnel of {count(len(exact), 'estimate')} and {count(bounds, 'bound')}."
    if len(exact):
        inside = int((exact["yi"].abs() < CONTOURS[1][1] * exact["sei"]).sum())
        has = "has" if inside == 1 else "have"
        text += f" {inside} of {count(len(exact), 'estimate')} {has} p above .05."
        text += (
            f" Standard errors from {number(exact['sei'].min())} to {number(exact['sei'].max())}."
        )
    if math.isfinite(mu) and len(exact):
        above = int((exact["yi"] > mu).sum())
        text += f" Pooled median {number(mu)}; {above} of {len(exact)} estimates lie above it."
    return text
