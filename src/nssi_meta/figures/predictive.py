"""The observed review beside reviews drawn from the model: a panel a statistic."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from .axis import axis_ticks
from .legend import Entry, draw_key, key_height
from .page import new_page, panel, set_ticks, write
from .prior_posterior import PRIOR, key_posterior, key_prior
from .records import as_float, as_text, records, require_columns
from .style import DOUBLE, INK, POOLED, QUIET, Style
from .text import number, probability, shorten, wrap

#: One row a source ("prior", "posterior") and statistic: the observed value, and the share `p` of
#: drawn reviews whose statistic is at least that.
CHECK_COLUMNS = ("source", "statistic", "label", "observed", "p")
#: Long table of the statistic in each drawn review.
DRAWN_COLUMNS = ("source", "statistic", "value")
NOTE = (
    "p: share of drawn reviews whose statistic is at least the observed one. Under the posterior "
    "the data are used twice, so that p lies nearer to 0.5 than a uniform p-value: near 0 or 1 it "
    "tells of a misfit, in the middle it proves nothing."
)
TALL, BINS, FEW = 24.0, 30, 20
Floats = NDArray[np.float64]


def predictive(
    checks: pd.DataFrame,
    drawn: pd.DataFrame,
    *,
    title: str = "Drawn reviews beside the observed one",
    style: Style = DOUBLE,
) -> Figure:
    """Draw a panel a statistic: drawn reviews by share, the observed value as a line.

    Parameters
    ----------
    checks, drawn
        `CHECK_COLUMNS` and `DRAWN_COLUMNS`. Drawn values beyond the central 99% (and the observed
        value) are counted in the outermost bars.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a statistic without drawn values or without a number.
    """
    require_columns(checks, CHECK_COLUMNS, "predictive")
    require_columns(drawn, DRAWN_COLUMNS, "predictive")
    if checks.empty:
        raise ValueError("nothing to draw: no statistic was checked")
    names = list(dict.fromkeys(checks["statistic"]))
    across = min(2 if style.narrow else 3, len(names))
    down = -(-len(names) // across)
    pitch = (style.width - 2 * style.margin) / across
    entries = _entries(set(checks["source"]))
    notes = wrap(NOTE, style.width - 2 * style.margin, style, size=style.small)
    top = style.margin + 1.8 * style.row
    tall = TALL + 6.0 + 2.6 * style.row
    bottom = top + tall * down
    foot = bottom + key_height(entries, style)
    page = new_page(foot + 0.8 * style.row * len(notes) + style.margin, style)
    words = shorten(title, style.width - 2 * style.margin, style, size=style.size + 2, bold=True)
    write(page, style.margin, style.margin + 0.6 * style.row, words, size=style.size + 2, bold=True)
    draw_key(page, entries, bottom)
    for i, line in enumerate(notes):
        at = foot + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, line, size=style.small, color=QUIET)
    for i, name in enumerate(names):
        x0 = style.margin + pitch * (i % across) + 1.0
        y0 = top + tall * (i // across) + 2.0 * style.row
        part = checks[checks["statistic"] == name]
        observed = as_float(part["observed"].iloc[0])
        values = _values(drawn[drawn["statistic"] == name], part, name)
        edges = bin_edges(np.concatenate(list(values.values())), observed)
        shares = {s: shares_of(v, edges) for s, v in values.items()}
        label = shorten(as_text(part["label"].iloc[0]), pitch - 4.0, style, bold=True)
        write(page, x0, y0 - 1.4 * style.row, label, bold=True)
        read = {r["source"]: probability(as_float(r["p"])) for r in records(part)}
        read_words = ", ".join(f"p {p} ({source})" for source, p in read.items())
        said = shorten(f"observed {number(observed)}; {read_words}", pitch - 4.0, style,
                       size=style.small)  # fmt: skip
        write(page, x0, y0 - 0.5 * style.row, said, size=style.small, color=QUIET)
        ax = panel(page, x0, x0 + pitch - 5.0, y0, y0 + TALL, float(edges[0]), float(edges[-1]))
        high = 1.06 * max(float(s.max()) for s in shares.values())
        ax.set_ylim(0.0, high)
        for source, share in shares.items():
            _outline(ax, edges, share, source, f"{source}:{name}")
        seen = Line2D([observed, observed], [0.0, high], color=INK, linewidth=1.0)
        seen.set_gid(f"observed:{name}")
        ax.add_line(seen)
        set_ticks(page, ax, *axis_ticks(float(edges[0]), float(edges[-1]), pitch - 5.0, style))
    return page.fig


def _values(part: pd.DataFrame, checks: pd.DataFrame, name: str) -> dict[str, Floats]:
    out = {}
    for source in checks["source"]:
        values = part.loc[part["source"] == source, "value"].to_numpy(dtype=float)
        if not values.size or not np.isfinite(values).all():
            raise ValueError(f"drawn values of {name} under the {source} are missing")
        out[str(source)] = values
    if not np.isfinite(checks["observed"].to_numpy(dtype=float)).all():
        raise ValueError(f"the observed value of {name} is missing")
    return out


def bin_edges(values: Floats, observed: float) -> Floats:
    """Edges of the bars: one bar a value where there are few, else over the central 99%."""
    few = np.unique(np.append(values, observed))
    if 1 < few.size <= FEW:
        inner = (few[1:] + few[:-1]) / 2
        return np.concatenate([[2 * few[0] - inner[0]], inner, [2 * few[-1] - inner[-1]]])
    low, high = np.quantile(values, [0.005, 0.995])
    low, high = min(low, observed), max(high, observed)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    pad = (high - low) / BINS
    least = 0.0 if min(values.min(), observed) >= 0 else -np.inf  # no bar below what can be
    return np.linspace(max(low - pad, least), high + pad, BINS + 1)


def shares_of(values: Floats, edges: Floats) -> Floats:
    """Share of `values` in each bar; what lies outside counts in the outermost."""
    inside = np.clip(values, edges[0], edges[-1])
    counts, _ = np.histogram(inside, bins=edges)
    return np.asarray(counts / values.size, dtype=float)


def _outline(ax: Axes, edges: Floats, share: Floats, source: str, gid: str) -> None:
    x, y = np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(share, 2), [0.0]])
    if source == "prior":
        corners = list(zip(x, y, strict=True))
        area = Polygon(corners, closed=True, facecolor=PRIOR, edgecolor="#9a9a9a", linewidth=0.5)
        area.set_gid(gid)
        ax.add_patch(area)
    else:
        ax.add_line(Line2D(x, y, color=POOLED, linewidth=1.1, gid=gid))


def _entries(sources: set[str]) -> list[Entry]:
    both = [
        ("prior", Entry("reviews drawn from the prior", key_prior)),
        ("posterior", Entry("reviews drawn from the posterior", key_posterior)),
    ]
    return [e for source, e in both if source in sources] + [Entry("observed", _key_observed)]


def _key_observed(ax: Axes, x: float, y: float) -> None:
    ax.add_line(Line2D([x + 3.5, x + 3.5], [y - 1.4, y + 1.4], color=INK, linewidth=1.0))


def alt_predictive(checks: pd.DataFrame) -> str:
    """Describe the figure: each statistic, observed, and where it lies among the drawn ones."""
    require_columns(checks, CHECK_COLUMNS, "predictive")
    parts = ["Statistics of the observed review beside those of drawn ones."]
    for _, part in checks.groupby("statistic", sort=False):
        tail = ", ".join(
            f"p {probability(as_float(r['p']))} under the {r['source']}" for r in records(part)
        )
        label, seen = as_text(part["label"].iloc[0]), number(as_float(part["observed"].iloc[0]))
        parts.append(f"{label}: {seen}, {tail}.")
    return " ".join(parts)
