"""Prior families: parameters, log densities, what a change of unit does to them, and their tails.

Densities of heterogeneity are densities of tau, whatever the parameters refer to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]
Params = tuple[float, ...]

#: A tail that falls faster than any power.
LIGHT = math.inf
#: 1 / (x log^m x): integrable, but no moment exists. The excess over 1 stands for the logarithm.
LOG_TAIL = 1.0 + 1e-9


@dataclass(frozen=True)
class Family:
    """A prior family.

    `logpdf` takes x and the parameters; where `from_data`, x and the studies' variances.
    `tail` is the power p of the density's tail x^-p; `unit` gives the parameters after the unit
    of the outcome changed by a factor s (a value x becomes s x). `log_axis` says that the
    density is smooth in log x rather than in x.
    """

    params: tuple[str, ...]
    positive: tuple[str, ...]
    logpdf: Callable[..., Array]
    source: str
    proper: bool = True
    tail: Callable[..., float] = lambda *_: LIGHT
    unit: Callable[..., Params] = lambda s, *p: tuple(s * x for x in p)
    log_axis: bool = False
    from_data: bool = False


def normal(x: Array, mean: float, sd: float) -> Array:
    """Log density of the normal."""
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


def student_t(x: Array, df: float, mean: float, scale: float) -> Array:
    """Log density of Student's t with a location and a scale."""
    const = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * math.log(df * math.pi)
    return const - math.log(scale) - (df + 1) / 2 * np.log1p(((x - mean) / scale) ** 2 / df)


def _half(logpdf: Callable[..., Array]) -> Callable[..., Array]:
    def half(x: Array, *params: float) -> Array:
        return np.where(x >= 0, math.log(2) + logpdf(x, *params), -np.inf)

    return half


def _exponential(x: Array, mean: float) -> Array:
    return np.where(x >= 0, -x / mean - math.log(mean), -np.inf)


def _of_log(logpdf: Callable[..., Array]) -> Callable[..., Array]:
    """Log density of x > 0 from that of log x."""

    def positive(x: Array, *params: float) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.log(x)
            return np.where(x > 0, logpdf(log_x, *params) - log_x, -np.inf)

    return positive


def _lognormal2(z: Array, meanlog: float, sdlog: float) -> Array:
    return normal(z, meanlog / 2, sdlog / 2)


def _logt2(z: Array, df: float, meanlog: float, scale: float) -> Array:
    return student_t(z, df, meanlog / 2, scale / 2)


def _invgamma(z: Array, shape: float, scale: float) -> Array:
    """Log density of z = log x; its Jacobian is in the power of x."""
    with np.errstate(over="ignore"):
        return shape * (math.log(scale) - z) - scale * np.exp(-z) - gammaln(shape)


def _uniform(x: Array, low: float, high: float) -> Array:
    width = math.log(high - low) if math.isfinite(high) else 0.0
    return np.where((x >= low) & (x <= high), -width, -np.inf)


def _flat(x: Array) -> Array:
    return np.zeros_like(x)


def _zero(x: Array) -> Array:
    return np.where(x == 0.0, 0.0, -np.inf)


MU_FAMILIES: dict[str, Family] = {
    "normal": Family(("mean", "sd"), ("sd",), normal, "normal with SD, not variance"),
    "student_t": Family(
        ("df", "mean", "scale"),
        ("df", "scale"),
        student_t,
        "location-scale Student t; df 1 is Cauchy",
        tail=lambda df, *_: df + 1,
        unit=lambda s, df, mean, scale: (df, s * mean, s * scale),
    ),
    "flat": Family((), (), _flat, "improper uniform on the real line", False, lambda: 0.0),
}
TAU_FAMILIES: dict[str, Family] = {
    "halfnormal": Family(
        ("scale",), ("scale",), _half(lambda x, s: normal(x, 0.0, s)), "Röver et al. 2021"
    ),
    "halfcauchy": Family(
        ("scale",),
        ("scale",),
        _half(lambda x, s: student_t(x, 1.0, 0.0, s)),
        "Gelman 2006",
        tail=lambda _: 2.0,
    ),
    "halft": Family(
        ("df", "scale"),
        ("df", "scale"),
        _half(lambda x, df, s: student_t(x, df, 0.0, s)),
        "Gelman 2006",
        tail=lambda df, _: df + 1,
        unit=lambda s, df, scale: (df, s * scale),
    ),
    "exponential": Family(("mean",), ("mean",), _exponential, "exponential with this mean"),
    "lognormal": Family(
        ("meanlog", "sdlog"),
        ("sdlog",),
        _of_log(normal),
        "log-normal on tau",
        unit=lambda s, meanlog, sdlog: (meanlog + math.log(s), sdlog),
        log_axis=True,
    ),
    "lognormal2": Family(
        ("meanlog", "sdlog"),
        ("sdlog",),
        _of_log(_lognormal2),
        "log-normal on tau squared: Turner et al. 2015",
        unit=lambda s, meanlog, sdlog: (meanlog + 2 * math.log(s), sdlog),
        log_axis=True,
    ),
    "logt2": Family(
        ("df", "meanlog", "scale"),
        ("df", "scale"),
        _of_log(_logt2),
        "log-Student-t on tau squared: Rhodes et al. 2015",
        tail=lambda *_: LOG_TAIL,
        unit=lambda s, df, meanlog, scale: (df, meanlog + 2 * math.log(s), scale),
        log_axis=True,
    ),
    "invgamma": Family(
        ("shape", "scale"),
        ("shape", "scale"),
        _of_log(_invgamma),
        "inverse gamma on tau: Gronau et al. 2017",
        tail=lambda shape, _: shape + 1,
        unit=lambda s, shape, scale: (shape, s * scale),
        log_axis=True,
    ),
    "uniform": Family(
        ("low", "high"),
        (),
        _uniform,
        "uniform; uniform(0,inf) is improper",
        tail=lambda _, high: LIGHT if math.isfinite(high) else 0.0,
    ),
    "flat": Family((), (), _flat, "improper uniform on the half line", False, lambda: 0.0),
    "zero": Family((), (), _zero, "tau = 0: the fixed-effect (common-effect) model"),
}
