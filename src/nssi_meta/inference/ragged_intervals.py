"""Credible intervals of many densities at once, as `densities.interval` for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.densities import IntervalKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NEWTON_STEPS, _ROOT_STEPS = 12, 100


class Densities(Protocol):
    """What the densities of P pools answer: arrays (P,), probabilities and places one per pool."""

    def __len__(self) -> int: ...
    def pdf(self, x: Floats) -> Floats: ...
    def quantile(self, p: Floats) -> Floats: ...
    def around(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Distribution function, density and the density's slope at x."""

    def take(self, pools: Ints) -> Densities:
        """The densities of some pools."""


def intervals(
    density: Densities, level: float, kind: IntervalKind, low: float = -np.inf
) -> tuple[Floats, Floats]:
    """First and last points (P,) of credible intervals of P unimodal densities."""
    half = np.full(len(density), (1.0 - level) / 2)
    first, last = density.quantile(half), density.quantile(1 - half)
    if kind == "central":
        return first, last
    first, last, found = _balanced(density, level, first, last)
    if np.isfinite(low):  # a density that only falls
        at_level = density.quantile(np.full(len(density), level))
        falling = density.pdf(np.full(len(density), low)) >= density.pdf(at_level)
        first, last = np.where(falling, low, first), np.where(falling, at_level, last)
        found |= falling
    if (todo := np.flatnonzero(~found)).size:
        first[todo], last[todo] = _by_bisection(density.take(todo), level)
    return first, last


def _balanced(
    density: Densities, level: float, a: Floats, b: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Newton steps towards F(b) - F(a) = level, log f(a) = log f(b); and where they got there."""
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            below, f_a, d_a = density.around(a)
            above, f_b, d_b = density.around(b)
            mass, tilt = above - below - level, np.log(f_b) - np.log(f_a)
            slope_a, slope_b = d_a / f_a, d_b / f_b
            det = f_b * slope_a - f_a * slope_b
            step_a = (f_b * tilt - slope_b * mass) / det
            step_b = (f_a * tilt - slope_a * mass) / det
            width = b - a
            size = np.maximum(np.abs(step_a), np.abs(step_b)) / width
            # At a shortest interval the density rises on the left and falls on the right.
            found = (size <= 1e-7) & (slope_a > 0) & (slope_b < 0)
            shrink = np.minimum(1.0, 0.4 / size)
            a, b = a + shrink * step_a, b + shrink * step_b
            if (found | ~np.isfinite(size)).all():
                break
    return a, b, found


def _by_bisection(density: Densities, level: float) -> tuple[Floats, Floats]:
    """Shortest intervals by the probability left of them: slower, and never lost."""
    tail, n = 1.0 - level, len(density)

    def balance(p: Floats) -> Floats:
        return density.pdf(density.quantile(p)) - density.pdf(density.quantile(p + level))

    p = _root(balance, np.full(n, tail * 1e-9), np.full(n, tail * (1 - 1e-9)))
    return density.quantile(p), density.quantile(p + level)


def _root(f: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Roots of n increasing functions at once: regula falsi with Illinois weights.

    Where a function has no root between `low` and `high`, the end at which it is nearer to zero.
    """
    f_low, f_high = f(low), f(high)
    none_below, none_above = f_low >= 0, f_high <= 0
    width = high - low
    a, b, side = low.copy(), high.copy(), np.zeros(len(low))
    x = (a + b) / 2
    for i in range(_ROOT_STEPS):
        if i:
            with np.errstate(divide="ignore", invalid="ignore"):
                x = (a * f_high - b * f_low) / (f_high - f_low)
            x = np.where((x > a) & (x < b), x, (a + b) / 2)
        value = f(x)
        above = value > 0
        f_low = np.where(above, np.where(side > 0, f_low / 2, f_low), value)
        f_high = np.where(above, value, np.where(side < 0, f_high / 2, f_high))
        gain = np.where(above, b - x, x - a)
        a, b = np.where(above, a, x), np.where(above, x, b)
        side = np.where(above, 1.0, -1.0)
        if (((b - a) <= 1e-13) | (gain <= 1e-12 * width) | none_below | none_above).all():
            break
    x = np.where(none_above, high, x)
    return np.where(none_below, low, x)
