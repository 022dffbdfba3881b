"""Calibration: how far the empirical distribution of ranks departs from the uniform one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from .axis import axis_ticks
from .legend import Entry, draw_key, key_height
from .page import new_page, panel, set_ticks, write
from .records import as_text, require_columns
from .sheet import TICK_ROOM, set_value_ticks, value_ticks
from .style import DOUBLE, POOLED, PREDICTION, QUIET, Style
from .text import count, percent, shorten, text_width, widest, wrap

#: Long table: at each z in [0, 1], increasing, the share of ranks (or probability integral
#: transforms) up to z, and the simultaneous band in which it lies if the model is calibrated.
CALIBRATION_COLUMNS = ("quantity", "label", "z", "ecdf", "low", "high")
TALL = 26.0  # mm, height of a panel


def calibration(
    table: pd.DataFrame,
    *,
    level: float = 0.95,
    title: str = "Calibration",
    style: Style = DOUBLE,
) -> Figure:
    """Draw ecdf(z) - z of each quantity over its band (Säilynoja, Bürkner, Vehtari 2022).

    A line inside the band is what a calibrated model gives.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, z outside [0, 1] or not increasing.
    """
    require_columns(table, CALIBRATION_COLUMNS, "calibration")
    if table.empty:
        raise ValueError("nothing to draw: the table holds no quantity")
    parts = {str(k): part for k, part in table.groupby("quantity", sort=False)}
    for name, part in parts.items():
        z = part["z"].to_numpy(dtype=float)
        if len(z) < 2 or not (np.diff(z) > 0).all() or z[0] < 0.0 or z[-1] > 1.0:
            raise ValueError(f"z of {name} must increase within 0 and 1, over two points or more")
    z_all = table["z"].to_numpy(dtype=float)
    reach = 1.15 * max(
        float(np.abs(table[c].to_numpy(dtype=float) - z_all).max()) for c in ("ecdf", "low", "high")
    )
    reach = max(reach, 1e-3)
    across = min(2 if style.narrow else 4, len(parts))
    down = -(-len(parts) // across)
    pitch = (style.width - 2 * style.margin) / across
    ticks = value_ticks((-reach, reach), TALL)
    beside = widest(ticks[1], style, size=style.small) + TICK_ROOM
    entries = [
        Entry("ranks found", _key_line),
        Entry(f"{percent(level)} band of a calibrated model", _key_band),
    ]
    note = (
        "Vertical: share of ranks up to z, minus z. Above zero: more small ranks than there "
        "should be."
    )
    notes = wrap(note, style.width - 2 * style.margin, style, size=style.small)
    top = style.margin + 1.8 * style.row
    tall = TALL + 6.0 + 2.0 * style.row
    bottom = top + tall * down
    key_top = bottom + key_height(entries, style)
    page = new_page(key_top + 0.8 * style.row * len(notes) + style.margin, style)
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    draw_key(page, entries, bottom)
    for i, line in enumerate(notes):
        at = key_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, line, size=style.small, color=QUIET)
    for i, (name, part) in enumerate(parts.items()):
        x0 = style.margin + pitch * (i % across)
        y0 = top + tall * (i // across) + 1.4 * style.row
        out = outside(part)
        state = f"{out} outside" if out else ""
        room = pitch - 6.0 - text_width(state, style, size=style.small)
        words = shorten(as_text(part["label"].iloc[0]), room, style, bold=True)
        write(page, x0, y0 - 0.8 * style.row, words, bold=True)
        end = x0 + pitch - 4.0
        write(page, end, y0 - 0.8 * style.row, state, size=style.small, align="right")
        ax = panel(page, x0 + beside, end, y0, y0 + TALL, 0.0, 1.0)
        ax.set_ylim(-reach, reach)
        z, ecdf, low, high = (part[c].to_numpy(dtype=float) for c in CALIBRATION_COLUMNS[2:])
        corners = [*zip(z, low - z, strict=True), *zip(z[::-1], (high - z)[::-1], strict=True)]
        band = Polygon(corners, closed=True, facecolor=PREDICTION, edgecolor="none")
        band.set_gid(f"band:{name}")
        ax.add_patch(band)
        ax.axhline(0.0, color=QUIET, linewidth=0.5)
        ax.add_line(Line2D(z, ecdf - z, color=POOLED, linewidth=1.0, gid=f"ecdf:{name}"))
        set_ticks(page, ax, *axis_ticks(0.0, 1.0, end - x0 - beside, style))
        set_value_ticks(page, ax, *ticks)
    return page.fig


def outside(part: pd.DataFrame) -> int:
    """Number of points of one quantity that leave the band."""
    return int(((part["ecdf"] < part["low"]) | (part["ecdf"] > part["high"])).sum())


def _key_line(ax: Axes, x: float, y: float) -> None:
    ax.add_line(Line2D([x, x + 7.0], [y, y], color=POOLED, linewidth=1.0))


def _key_band(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Rectangle((x, y - 1.2), 7.0, 2.4, facecolor=PREDICTION, linewidth=0))


def alt_calibration(table: pd.DataFrame) -> str:
    """Describe calibration: which quantities leave their band, and how often."""
    require_columns(table, CALIBRATION_COLUMNS, "calibration")
    parts = [
        (as_text(p["label"].iloc[0]), outside(p)) for _, p in table.groupby("quantity", sort=False)
    ]
    left = [f"{name} at {count(n, 'point')}" for name, n in parts if n]
    inside = len(parts) - len(left)
    many = count(len(parts), "quantity", "quantities")
    text = f"Calibration of {many}: {inside} stay inside the band."
    return text + (f" Outside: {'; '.join(left)}." if left else "")
