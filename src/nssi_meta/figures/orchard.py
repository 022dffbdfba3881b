"""Orchard: all effects of each group as dots behind its pooled effect and prediction interval."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import marks
from .axis import robust_range
from .legend import Entry
from .page import write
from .records import Record, as_float, as_text, interval, records, require_columns
from .sheet import new_sheet
from .style import BOUND, DOUBLE, POOLED, QUIET, SHRUNKEN, Style
from .text import count, percent, shorten, widest

#: One row a row of evidence; bounds have `lower`, `upper` and no `yi`.
EFFECT_COLUMNS = ("group", "effect_id", "yi", "sei", "lower", "upper")
#: One row a group, in the order drawn.
GROUP_COLUMNS = (
    "group",
    "label",
    "mu_median",
    "mu_low",
    "mu_high",
    "pred_low",
    "pred_high",
)
LANE = 11.0  # mm a group


def orchard(
    effects: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    scale: str = "Hedges’ g",
    level: float = 0.95,
    title: str = "Effects and pools",
    style: Style = DOUBLE,
) -> Figure:
    """Draw an orchard plot (Nakagawa et al. 2021): dots as large as they are precise.

    Bounds are triangles at the bound, pointing to where the effect lies; a bound of both sides is
    two triangles that point at each other.

    Parameters
    ----------
    effects
        One row a row of evidence (`EFFECT_COLUMNS`).
    groups
        One row a group (`GROUP_COLUMNS`).

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or effects of a group that `groups` lacks.
    """
    require_columns(effects, EFFECT_COLUMNS, "effects")
    require_columns(groups, GROUP_COLUMNS, "groups")
    if groups.empty:
        raise ValueError("nothing to draw: the table `groups` holds no row")
    lost = sorted(set(map(str, effects["group"])) - set(map(str, groups["group"])))
    if lost:
        raise ValueError(f"effects of groups that `groups` lacks: {', '.join(lost)}")
    pools = records(groups)
    rows = {str(k): records(part) for k, part in effects.groupby("group", sort=False)}
    names = [as_text(r["label"]) for r in pools]
    left = min(widest(names, style), 0.3 * style.width) + 2.0
    spans = [(as_float(r["pred_low"]), as_float(r["pred_high"])) for r in pools]
    points = [as_float(r[c]) for r in pools for c in ("mu_median", "mu_low", "mu_high")]
    points += [as_float(v) for c in ("yi", "lower", "upper") for v in effects[c]]
    sheet = new_sheet(
        title=title,
        x=robust_range(points, spans),
        height=LANE * len(pools),
        style=style,
        xlabel=scale,
        left=left,
        entries=_key(level),
        notes="Dots: estimates, larger when more precise. Triangles: bounds, pointing inwards.",
    )
    page, ax, (_, _, top, bottom) = sheet.page, sheet.ax, sheet.plot
    marks.upright(ax, 0.0, top, bottom, gid="null", color=QUIET)
    sei = effects["sei"].to_numpy(dtype=float)
    finest = float(np.nanmin(sei)) if np.isfinite(sei).any() else 1.0
    for i, r in enumerate(pools):
        y = top + LANE * (i + 0.5)
        key = as_text(r["group"])
        members = rows.get(key, [])
        write(page, style.margin, y - 1.2, shorten(names[i], left - 2.0, style), bold=True)
        write(page, style.margin, y + 2.0, f"k = {len(members)}", size=style.small, color=QUIET)
        _draw_effects(ax, members, y, finest)
        mu = interval(r, "mu_median", "mu_low", "mu_high")
        low, high = as_float(r["pred_low"]), as_float(r["pred_high"])
        if math.isfinite(low) and math.isfinite(high):
            marks.span(ax, low, high, y, gid=f"pi:{key}", color=POOLED, width=0.8)
            marks.off_axis(ax, low, high, y, gid=f"pi:{key}", color=POOLED)
        if mu.known:
            marks.span(ax, mu.low, mu.high, y, gid=f"ci:{key}", color=POOLED, width=2.6)
            marks.point(
                ax, mu.value, y, gid=f"mu:{key}", marker="o", size=5.0, color=POOLED, hollow=True
            )
    return sheet.fig


def _draw_effects(ax: Axes, members: list[Record], y: float, finest: float) -> None:
    """Dots and triangles, spread over the lane in a fixed order so that few lie on each other."""
    for i, r in enumerate(members):
        at = y + 3.6 * (((i * 0.618033988749895) % 1.0) - 0.5) * 2
        key, yi = as_text(r["effect_id"]), as_float(r["yi"])
        if math.isfinite(yi):
            size = 1.6 + 3.0 * finest / max(as_float(r["sei"]), finest)
            marks.point(ax, yi, at, gid=f"obs:{key}", marker="o", size=size, color=SHRUNKEN)
            marks.off_axis(ax, yi, yi, at, gid=key, color=SHRUNKEN)
            continue
        for side, x, marker in (("low", r["lower"], ">"), ("high", r["upper"], "<")):
            if math.isfinite(as_float(x)):
                name = f"bound-{side}:{key}"
                marks.point(
                    ax, as_float(x), at, gid=name, marker=marker, size=2.6, color=BOUND, hollow=True
                )


def _key(level: float) -> list[Entry]:
    def pooled(ax: Axes, x: float, y: float) -> None:
        marks.span(ax, x, x + 7.0, y, gid="key", color=POOLED, width=2.6)
        marks.point(ax, x + 3.5, y, gid="key", marker="o", size=5.0, color=POOLED, hollow=True)

    def new(ax: Axes, x: float, y: float) -> None:
        marks.span(ax, x, x + 7.0, y, gid="key", color=POOLED, width=0.8)

    p = percent(level)
    return [Entry(f"pooled effect, {p} CrI", pooled), Entry(f"{p} prediction interval", new)]


def alt_orchard(effects: pd.DataFrame, groups: pd.DataFrame) -> str:
    """Describe an orchard: per group its rows and its pool."""
    from .printed import print_interval

    parts = [f"Orchard of {count(len(groups), 'group')}, {count(len(effects), 'row')}."]
    for r in records(groups):
        k = int((effects["group"].astype(str) == as_text(r["group"])).sum())
        mu = print_interval(interval(r, "mu_median", "mu_low", "mu_high"))
        parts.append(f"{as_text(r['label'])}: {count(k, 'row')}, pooled {mu}.")
    return " ".join(parts)
