"""What the data taught: prior and posterior density of each quantity."""

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
from .style import DOUBLE, POOLED, Style
from .text import count, number, shorten

#: Long table: at each point x of a quantity the prior and the posterior density, x increasing.
PRIOR_COLUMNS = ("quantity", "label", "x", "prior", "posterior")
PRIOR = "#d9d9d9"
TALL = 24.0  # mm, height of a panel


def prior_posterior(
    table: pd.DataFrame, *, title: str = "Prior and posterior", style: Style = DOUBLE
) -> Figure:
    """Draw a panel a quantity: prior as a grey area, posterior as a line.

    Parameters
    ----------
    table
        Densities on a grid (`PRIOR_COLUMNS`).

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, x that does not increase, a negative density.
    """
    require_columns(table, PRIOR_COLUMNS, "prior_posterior")
    if table.empty:
        raise ValueError("nothing to draw: the table holds no quantity")
    parts = {str(k): part for k, part in table.groupby("quantity", sort=False)}
    for name, part in parts.items():
        values = part[["prior", "posterior"]].to_numpy(dtype=float)
        if len(part) < 3 or not (np.diff(part["x"].to_numpy(dtype=float)) > 0).all():
            raise ValueError(f"x of {name} must increase, over three points or more")
        if not (values >= 0).all():
            raise ValueError(f"densities of {name} must be numbers of 0 or more")
    across = 2 if style.narrow else 4
    across = min(across, len(parts))
    down = -(-len(parts) // across)
    pitch = (style.width - 2 * style.margin) / across
    entries = [Entry("prior", key_prior), Entry("posterior", key_posterior)]
    top = style.margin + 1.8 * style.row
    tall = TALL + 6.0 + 1.6 * style.row
    bottom = top + tall * down
    page = new_page(bottom + key_height(entries, style) + style.margin, style)
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    draw_key(page, entries, bottom)
    for i, (name, part) in enumerate(parts.items()):
        x0 = style.margin + pitch * (i % across) + 1.0
        y0 = top + tall * (i // across) + style.row
        words = shorten(as_text(part["label"].iloc[0]), pitch - 4.0, style, bold=True)
        write(page, x0, y0 - 0.4 * style.row, words, bold=True)
        x = part["x"].to_numpy(dtype=float)
        prior, posterior = (part[c].to_numpy(dtype=float) for c in ("prior", "posterior"))
        ax = panel(page, x0, x0 + pitch - 5.0, y0, y0 + TALL, float(x[0]), float(x[-1]))
        ax.set_ylim(0.0, 1.06 * max(float(prior.max()), float(posterior.max()), 1e-300))
        corners = [(x[0], 0.0), *zip(x, prior, strict=True), (x[-1], 0.0)]
        area = Polygon(corners, closed=True, facecolor=PRIOR, edgecolor="#9a9a9a", linewidth=0.5)
        area.set_gid(f"prior:{name}")
        ax.add_patch(area)
        line = Line2D(x, posterior, color=POOLED, linewidth=1.1, gid=f"posterior:{name}")
        ax.add_line(line)
        set_ticks(page, ax, *axis_ticks(float(x[0]), float(x[-1]), pitch - 5.0, style))
    return page.fig


def key_prior(ax: Axes, x: float, y: float) -> None:
    """The sign of a prior in the key, its left end at (x, y)."""
    box = Rectangle((x, y - 1.2), 7.0, 2.4, facecolor=PRIOR, edgecolor="#9a9a9a", linewidth=0.5)
    ax.add_patch(box)


def key_posterior(ax: Axes, x: float, y: float) -> None:
    """The sign of a posterior in the key, its left end at (x, y)."""
    ax.add_line(Line2D([x, x + 7.0], [y, y], color=POOLED, linewidth=1.1))


def alt_prior_posterior(table: pd.DataFrame) -> str:
    """Describe prior and posterior: mode and spread of each, and by how much it narrowed."""
    require_columns(table, PRIOR_COLUMNS, "prior_posterior")
    parts = [
        f"Prior and posterior of {count(table['quantity'].nunique(), 'quantity', 'quantities')}."
    ]
    for _, part in table.groupby("quantity", sort=False):
        x = part["x"].to_numpy(dtype=float)
        sds = []
        for column in ("prior", "posterior"):
            weight = part[column].to_numpy(dtype=float) * np.gradient(x)
            mean = float((x * weight).sum() / weight.sum())
            sds.append((mean, float(np.sqrt(((x - mean) ** 2 * weight).sum() / weight.sum()))))
        (m0, s0), (m1, s1) = sds
        parts.append(
            f"{as_text(part['label'].iloc[0])}: mean {number(m0)} and deviation {number(s0)} "
            f"before the data, {number(m1)} and {number(s1)} after."
        )
    return " ".join(parts)
