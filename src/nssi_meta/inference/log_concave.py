"""Draws from log-concave densities by rejection, many densities at a time.

A density f that is log-concave, with c = f(m) at its mode m, nowhere exceeds
c min(1, exp(1 - c |x - m|)), whose integral is 4: every fourth proposal is taken (Devroye 1986,
Non-Uniform Random Variate Generation, VII.2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: A density that is what it is said to be has accepted long before: 0.75^500 is 1e-62.
_TURNS = 500


def log_concave_draws(
    log_density: Callable[[Floats, Ints], Floats], mode: Floats, rng: np.random.Generator
) -> Floats:
    """One draw (n,) from each of n normalised densities with the modes `mode` (n,).

    `log_density` is called with places (m,) and the numbers (m,) of the densities they belong to.
    Raises FloatingPointError for densities that are not log-concave and normalised.
    """
    everyone = np.arange(len(mode))
    top = log_density(mode, everyone)
    length = np.exp(-top)
    out, left = np.empty(len(mode)), everyone
    for _ in range(_TURNS):
        away = rng.random(left.size)
        # Half of the envelope's area is flat, half in its two tails.
        tail = rng.random(left.size) < 0.5
        away = np.where(tail, 1.0 + rng.exponential(size=left.size), away)
        x = mode[left] + length[left] * np.where(rng.random(left.size) < 0.5, -away, away)
        bound = top[left] + np.minimum(0.0, 1.0 - away)
        taken = np.log(rng.random(left.size)) + bound <= log_density(x, left)
        out[left[taken]] = x[taken]
        left = left[~taken]
        if not left.size:
            return out
    raise FloatingPointError("draws by rejection did not end: a density is not log-concave")


def log_concave_modes(slope: Callable[[Floats, Ints], Floats], low: Floats, high: Floats) -> Floats:
    """Where each of n falling functions is 0 between `low` and `high` (n,), by bisection.

    `slope` is called as the density of `log_concave_draws`.
    """
    everyone = np.arange(len(low))
    low, high = low.copy(), high.copy()
    for _ in range(60):
        middle = (low + high) / 2
        up = slope(middle, everyone) > 0
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.asarray((low + high) / 2)
