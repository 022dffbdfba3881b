"""Coordinates that quadrature runs over, and the rules on their panels.

A panel is a stretch of an axis with n nodes. Gauss-Legendre nodes resolve what is smooth on it. A
density that falls as a power of its parameter is not smooth in the coordinate at the end which
stands for infinity, where it behaves as a power of the distance to that end: the last panel then
has the Gauss-Jacobi nodes of that power, for which what is left is smooth (Golub and Welsch 1969,
Math Comp 23:221).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import roots_jacobi

Floats = NDArray[np.float64]

#: Tails that fall faster than x to minus this power leave the moments to the bulk.
LIGHT_FALL = 9.0


@dataclass(frozen=True)
class Axis:
    """A coordinate u on a finite interval standing for a parameter x(u), with x'(u) > 0.

    `open_low`: x(low) is a stand-in for 0, where the density is taken as 0. `powers` are those of
    the distance to the low and the high end that the density, times the highest moment that
    exists, is a multiple of near that end; `moment` is that moment where it must be resolved too,
    about x at the middle (0 on a half line). `wide`: it lies in a tail that a wide prior cuts off.
    """

    low: float
    high: float
    to_x: Callable[[Floats], Floats]
    to_u: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    open_low: bool = False
    powers: tuple[float, float] = (0.0, 0.0)
    moment: int = 0
    wide: bool = False

    def towards(self, x: Floats) -> Floats:
        """What a node counts in the moment: |x - middle|^moment, in any unit."""
        middle = 0.0 if self.low == 0.0 or self.open_low else float(self.to_x(np.zeros(1))[0])
        return np.asarray(np.abs(x - middle) ** self.moment)


def half_line(scale: Floats | float) -> Axis:
    """[0, inf) as x = scale * u / (1 - u), u in [0, 1); `scale` may be an array of axes."""
    return Axis(
        0.0,
        1.0,
        lambda u: scale * u / (1 - u),
        lambda x: x / (x + scale),
        lambda u: scale / (1 - u) ** 2,
    )


def log_line(scale: float, top: float = 345.0) -> Axis:
    """(0, inf) as log(x / scale) = 4 v / (1 - v^2): for densities that are smooth in log x.

    u runs over the part of (-1, 1) where x and its square are numbers, up to log x = `top`.
    """
    line = real_line(float(np.log(scale)), 4.0)
    low, high = (float(line.to_u(np.asarray(z))) for z in (-690.0, top))

    def to_u(x: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return np.clip(line.to_u(np.clip(np.log(x), -1e3, 1e3)), low, high)

    return Axis(
        low,
        high,
        lambda u: np.exp(line.to_x(u)),
        to_u,
        lambda u: np.exp(line.to_x(u)) * line.slope(u),
        open_low=True,
    )


def real_line(centre: float, scale: float) -> Axis:
    """The real line as x = centre + scale * u / (1 - u^2), u in (-1, 1)."""

    def to_u(x: Floats) -> Floats:
        z = (np.asarray(x, dtype=float) - centre) / scale
        # The root of z u^2 + u - z = 0 in (-1, 1), written without cancellation at z = 0.
        return 2 * z / (1 + np.sqrt(1 + 4 * z**2))

    return Axis(
        -1.0,
        1.0,
        lambda u: centre + scale * u / (1 - u**2),
        to_u,
        lambda u: scale * (1 + u**2) / (1 - u**2) ** 2,
    )


@cache
def gauss_legendre(n: int) -> tuple[Floats, Floats]:
    """Nodes and weights (n,) on [-1, 1]; computed once, as quadrature asks again and again."""
    x, w = legendre.leggauss(n)
    return x, w


_COEFFICIENTS: dict[int, Floats] = {}


def to_coefficients(n: int) -> Floats:
    """Matrix (n, n) from values at n Gauss-Legendre nodes to Legendre coefficients."""
    if n not in _COEFFICIENTS:
        x, w = gauss_legendre(n)
        vander = legendre.legvander(x, n - 1)
        _COEFFICIENTS[n] = (vander * w[:, None]).T * (np.arange(n)[:, None] + 0.5)
    return _COEFFICIENTS[n]


@cache
def _jacobi(n: int, power: float) -> tuple[Floats, Floats, Floats]:
    """Nodes and weights (n,) for (1 - t)^power on [-1, 1]; the matrix (n, n) to coefficients."""
    t, w = roots_jacobi(n, power, 0.0)
    return t, w, np.asarray(np.linalg.inv(legendre.legvander(t, n - 1)), dtype=float)


def _at_ends(axis: Axis) -> list[tuple[int, int, float]]:
    """Panels with a rule of their own: position, +1 or -1 for the end it stands at, its power."""
    ends = ((0, -1, axis.powers[0]), (-1, 1, axis.powers[1]))
    return [(panel, side, power) for panel, side, power in ends if power]


def panel_nodes(axis: Axis, edges: Floats, n: int) -> tuple[Floats, Floats]:
    """Nodes u and weights (P, n) of the panels between `edges`, for integrals over u."""
    x, w = gauss_legendre(n)
    mid, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    u, weight = mid[:, None] + half[:, None] * x, half[:, None] * w
    for panel, side, power in _at_ends(axis):
        t, of_t, _ = _jacobi(n, power)
        u[panel] = mid[panel] + side * half[panel] * t
        # The distance of the rounded node: what falls as a power of it is right all the same.
        away = np.abs((axis.high if side > 0 else axis.low) - u[panel])
        weight[panel] = of_t * half[panel] ** (1 + power) / away**power
        if side < 0:
            u[panel], weight[panel] = u[panel, ::-1], weight[panel, ::-1]
    return u, weight


def panel_coefficients(axis: Axis, values: Floats) -> Floats:
    """Legendre coefficients (P, n, ...) of the polynomials through `values` at panels' nodes."""
    n = values.shape[1]
    out = np.einsum("kn,pn...->pk...", to_coefficients(n), values)
    for panel, side, power in _at_ends(axis):
        at = _jacobi(n, power)[2]
        if side < 0:  # mirrored: odd polynomials change their sign
            at = (at * (-1.0) ** np.arange(n)[:, None])[:, ::-1]
        out[panel] = np.tensordot(at, values[panel], 1)
    return np.asarray(out)


def highest_coefficients(axis: Axis, mass: Floats, n: int) -> Floats:
    """The two highest Legendre coefficients (P, 2, ...) of what `mass` (P n, ...) integrates.

    At an end with a power that is the factor beside it.
    """
    _, w = gauss_legendre(n)
    values = mass.reshape(-1, n, *mass.shape[1:])
    shape = (n, *[1] * (mass.ndim - 1))
    out = np.einsum("kn,pn...->pk...", to_coefficients(n)[-2:], values / w.reshape(shape))
    for panel, side, power in _at_ends(axis):
        _, of_t, matrix = _jacobi(n, power)
        ordered = values[panel] if side > 0 else values[panel, ::-1]
        out[panel] = np.tensordot(matrix[-2:], ordered / of_t.reshape(shape), 1)
    return np.asarray(out)


def tail_rule(fall: float) -> tuple[float, int]:
    """Power of an axis' end and moments that exist for a density that falls as x^-`fall`.

    Seen from the end of the axis the density is its distance to the power `fall` - 2. Where that
    times x^2 (x, 1) is a whole power, there is nothing to do.
    """
    moments = int(fall > 2) + int(fall > 3)
    if not math.isfinite(fall) or fall > LIGHT_FALL:
        return 0.0, moments
    part = fall - math.floor(fall)
    if part < 1e-6:  # a whole power, or one with a logarithm beside it
        return 0.0, moments
    return (part - 1.0 if fall < 4 else part), moments


def with_tails(
    axis: Axis, low: float, high: float, log: bool = False, slow: float = math.inf
) -> Axis:
    """The axis of a density whose tails fall as |x|^-`low` and x^-`high`.

    `log` for an axis in log x, where powers of x are smooth; `slow` is the power before a wide
    prior ends. What no tail can spoil stays as it is.
    """
    fall = min(low, high)
    if not fall <= LIGHT_FALL:
        return axis if not slow <= LIGHT_FALL else replace(axis, moment=2, wide=True)
    powers = (0.0, 0.0) if log else (tail_rule(low)[0], tail_rule(high)[0])
    return replace(axis, powers=powers, moment=tail_rule(fall)[1])
