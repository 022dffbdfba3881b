"""Densities from the quantiles that a table carries."""

from __future__ import annotations

import math
import re

import numpy as np

from .records import Record, as_float


def quantiles(record: Record, prefix: str) -> list[tuple[float, float]]:
    """(probability, value) from columns such as `mu_q05` or `mu_q97.5`, in order.

    The number in the name is the probability in percent.
    """
    found = []
    for name, value in record.items():
        match = re.fullmatch(rf"{prefix}_q(\d+(?:\.\d+)?)", str(name))
        if match and math.isfinite(as_float(value)):
            found.append((float(match.group(1)) / 100, as_float(value)))
    return sorted(found)


def density_from_quantiles(
    p: np.ndarray, x: np.ndarray, points: int = 80
) -> tuple[np.ndarray, np.ndarray]:
    """Return (values, density) of a distribution known at quantiles, shapes (points,).

    The distribution function is interpolated by a monotone cubic with the slopes of Fritsch and
    Butland (1984), whose derivative is the density; it is drawn between the outer quantiles.
    """
    gaps = np.diff(x)
    keep = np.concatenate([[True], gaps > 0.0])  # equal quantiles are one point of the curve
    p, x = p[keep], x[keep]
    if len(x) < 3:
        raise ValueError("a density needs quantiles at three different values at least")
    h, secant = np.diff(x), np.diff(p) / np.diff(x)
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    inner = (w1 + w2) / (w1 / secant[:-1] + w2 / secant[1:])
    slope = np.concatenate([[secant[0] / 2], inner, [secant[-1] / 2]])
    grid = np.linspace(x[0], x[-1], points)
    i = np.clip(np.searchsorted(x, grid, side="right") - 1, 0, len(h) - 1)
    t = (grid - x[i]) / h[i]
    # derivative of the cubic Hermite polynomial
    rise = 6 * t * (1 - t) * secant[i]
    ends = (1 - 4 * t + 3 * t**2) * slope[i] + (3 * t**2 - 2 * t) * slope[i + 1]
    return grid, np.maximum(rise + ends, 0.0)
