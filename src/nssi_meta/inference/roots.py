"""Roots of one-dimensional functions. scipy.optimize takes longer to import than a pool takes.

Both are textbook methods: Newton with bisection as its safeguard (Press et al. 2007, Numerical
Recipes, section 9.4) and Chandrupatla's (1997, Advances in Engineering Software 28:145), which
needs no derivative.
"""

from __future__ import annotations

from collections.abc import Callable

_MAX_STEPS = 200
#: Closer than this, relative to x, no two floats need to be told apart.
_ROUNDING = 4e-16


def rising_root(
    value_and_slope: Callable[[float], tuple[float, float]],
    low: float,
    high: float,
    start: float,
    xtol: float,
) -> float:
    """Root of an increasing function in [low, high], to `xtol` in x.

    An end is returned where the function does not change its sign before it.
    """
    x = min(max(start, low), high)
    last = high - low
    for _ in range(_MAX_STEPS):
        value, slope = value_and_slope(x)
        if value > 0:
            high = x
        elif value < 0:
            low = x
        elif value == 0:
            return x
        else:
            break
        step = value / slope if slope > 0 else last
        # Bisect where Newton leaves the bracket or no longer halves its step.
        if not low < x - step < high or abs(step) > 0.5 * abs(last):
            step = x - 0.5 * (low + high)
        last = step
        x -= step
        tolerance = xtol + _ROUNDING * abs(x)
        if abs(step) <= tolerance or high - low <= tolerance:
            return x
    raise FloatingPointError(f"no root found between {low:g} and {high:g}, at {x:g}")


def bracketed_root(
    function: Callable[[float], float], low: float, high: float, xtol: float
) -> float:
    """Root between `low` and `high`, at which the function has opposite signs."""
    a, b = high, low
    fa, fb = function(a), function(b)
    if fa * fb > 0:
        raise ValueError(f"no change of sign between {low:g} and {high:g}")
    t = 0.5
    for _ in range(_MAX_STEPS):
        x = a + t * (b - a)
        fx = function(x)
        if fx != fx:
            break
        if (fx > 0) == (fa > 0):
            c, fc = a, fa
        else:
            c, fc = b, fb
            b, fb = a, fa
        a, fa = x, fx
        best = a if abs(fa) < abs(fb) else b
        width = abs(b - c) if b == a else abs(b - a)
        if fa == 0 or fb == 0 or width <= 2 * (xtol + _ROUNDING * abs(best)):
            return best
        # Inverse quadratic interpolation where it is safe, bisection otherwise.
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        t = 0.5
        if phi**2 < xi and (1 - phi) ** 2 < 1 - xi:
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (
                fc - fb
            )
        edge = (xtol + _ROUNDING * abs(best)) / abs(b - a)
        t = min(max(t, edge), 1 - edge)
    raise FloatingPointError(f"no root found between {low:g} and {high:g}")
