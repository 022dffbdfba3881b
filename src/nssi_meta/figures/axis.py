"""Range and ticks of an effect axis that one wild study cannot flatten."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from matplotlib.ticker import MaxNLocator

from .style import Style
from .text import text_width

OVERHANG = 1.8  # mm by which a tick label may stand out beyond its panel
SMALLEST = 1e-6  # an axis shorter than this says nothing


def robust_range(
    points: Iterable[float], ends: Iterable[tuple[float, float]], *, null: float = 0.0
) -> tuple[float, float]:
    """Choose the limits of an effect axis.

    The axis reaches as far as the intervals do, but no further than one spread beyond the central
    four fifths of the points, where spread is the larger of that central range and the median
    width of the intervals. What lies outside is drawn with an arrowhead by the marks.

    Parameters
    ----------
    points
        Estimates, bounds and limits of pooled intervals; those not finite are ignored.
    ends
        (low, high) of every interval to be drawn.
    null
        Value of no effect, always inside.
    """
    centre = np.array([p for p in points if math.isfinite(p)], dtype=float)
    spans = [(lo, hi) for lo, hi in ends if math.isfinite(lo) and math.isfinite(hi)]
    if centre.size == 0:
        centre = np.array([v for span in spans for v in span] or [null - 1.0, null + 1.0])
    # "higher" and "lower" stay inside the data: interpolation would run towards an outlier
    q_low = float(np.percentile(centre, 10, method="higher"))
    q_high = float(np.percentile(centre, 90, method="lower"))
    q_low, q_high = min(q_low, q_high), max(q_low, q_high)
    widths = [hi - lo for lo, hi in spans]
    spread = max(q_high - q_low, float(np.median(widths)) if widths else 0.0)
    if spread < SMALLEST:
        spread = max(abs(q_high - null), 1.0)
    low = max(min([*centre, *(lo for lo, _ in spans)]), q_low - spread)
    high = min(max([*centre, *(hi for _, hi in spans)]), q_high + spread)
    low, high = min(low, null), max(high, null)
    if high - low < SMALLEST:
        low, high = low - 0.5 * spread, high + 0.5 * spread
    pad = 0.04 * (high - low)
    # room on the other side of the null, so that the reference line is not the frame
    floor = 0.12 * (high - low)
    return float(min(low - pad, null - floor)), float(max(high + pad, null + floor))


def axis_ticks(low: float, high: float, room: float, style: Style) -> tuple[list[float], list[str]]:
    """Return ticks and labels for a panel `room` mm wide: as many as fit without touching."""
    for bins in range(8, 0, -1):
        places = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        ticks = [float(t) for t in places if low <= t <= high]
        labels = tick_labels(ticks)
        ticks = _inside(ticks, labels, low, high, room, style)
        labels = tick_labels(ticks)
        widths = [text_width(label, style, size=style.small) for label in labels]
        pitch = room * (ticks[1] - ticks[0]) / (high - low) if len(ticks) > 1 else room
        if max(widths, default=0.0) + 1.5 <= pitch:
            return ticks, labels
    ticks = [min(ticks, key=abs)] if ticks else [0.5 * (low + high)]
    return ticks, tick_labels(ticks)


def _inside(
    ticks: list[float], labels: list[str], low: float, high: float, room: float, style: Style
) -> list[float]:
    """Ticks whose labels do not reach further beyond the panel than `OVERHANG`."""
    kept = []
    for tick, label in zip(ticks, labels, strict=True):
        at = room * (tick - low) / (high - low)
        half = text_width(label, style, size=style.small) / 2
        if half - OVERHANG <= at <= room - half + OVERHANG:
            kept.append(tick)
    return kept


def ratio_ticks(
    low: float, high: float, room: float, style: Style
) -> tuple[list[float], list[str]]:
    """Return ticks at round ratios, placed at their logarithms, labelled as ratios."""
    least, most = math.floor(low / math.log(10)), math.ceil(high / math.log(10))
    if most - least > 12:  # wider than any ratio that is read as one
        return axis_ticks(low, high, room, style)
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ratios = [s * 10.0**e for e in range(least, most + 1) for s in steps]
        ticks = [math.log(r) for r in ratios if low <= math.log(r) <= high]
        ticks = _inside(ticks, [f"{math.exp(t):.4g}" for t in ticks], low, high, room, style)
        labels = [f"{math.exp(t):.4g}" for t in ticks]
        edges = [
            (room * (t - low) / (high - low), text_width(label, style, size=style.small) / 2)
            for t, label in zip(ticks, labels, strict=True)
        ]
        pairs = pairwise(edges)
        if len(ticks) > 1 and all(b - a > wa + wb + 1.5 for (a, wa), (b, wb) in pairs):
            return ticks, labels
    return [0.0], ["1"]


def tick_labels(ticks: list[float]) -> list[str]:
    """Print ticks with one common number of decimals; large ones as `5e5`."""
    if max((abs(t) for t in ticks), default=0.0) >= 1e4:
        return [_power(t) for t in ticks]
    digits = 0
    while digits < 4 and any(abs(t - round(t, digits)) > 1e-9 for t in ticks):
        digits += 1
    return [f"{t + 0.0:.{digits}f}".replace("-", "−") for t in ticks]


def _power(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}".replace("-", "−")
