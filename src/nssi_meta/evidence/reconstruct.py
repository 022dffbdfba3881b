"""Means, variances and tables rebuilt from what a paper prints instead (metafor's conv.*).

Sources: Luo et al. (2016), Wan et al. (2014), Shi et al. (2020a, 2020b) for five-number summaries;
Bonett (2007) for tables from odds ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from nssi_meta.evidence.escalc_common import Array


@dataclass(frozen=True)
class _Case:
    """One set of reported quantiles, on the scale on which the data are normal."""

    mean: Array
    spread: Array  # estimate of the SD, unbiased for the SD
    second: Array  # divisor that makes spread^2 unbiased for the variance
    fourth: Array  # divisor that makes spread^4 unbiased for the squared variance
    c: float  # n Var(mean) / (2 variance)
    k: float  # n Var(variance) / (8 variance^2)


def _range_scale(n: Array) -> Array:
    return np.asarray(2 * ndtri((n - 0.375) / (n + 0.25)))


def _quartile_scale(n: Array) -> Array:
    return np.asarray(2 * ndtri((0.75 * n - 0.125) / (n + 0.25)))


def _case(
    n: Array, low: Array | None, q1: Array | None, mid: Array, q3: Array | None, high: Array | None
) -> _Case:
    log2 = np.log(n) ** 2
    if low is not None and high is not None and q1 is not None and q3 is not None:
        w1, w2 = 2.2 / (2.2 + n**0.75), 0.7 - 0.72 / n**0.55
        mean = w1 * (low + high) / 2 + w2 * (q1 + q3) / 2 + (1 - w1 - w2) * mid
        w = 1 / (1 + 0.07 * n**0.6)
        spread = w * (high - low) / _range_scale(n) + (1 - w) * (q3 - q1) / _quartile_scale(n)
        return _Case(mean, spread, 1 + 0.28 / log2, 1 + 3.93 / n, 0.405, 0.315)
    if low is not None and high is not None:
        w = 4 / (4 + n**0.75)
        mean, spread = w * (low + high) / 2 + (1 - w) * mid, (high - low) / _range_scale(n)
        return _Case(mean, spread, 1.01 + 0.25 / log2, 1 + 2.23 / log2, 0.565, 0.37)
    if q1 is not None and q3 is not None:
        w = 0.7 + 0.39 / n
        mean, spread = w * (q1 + q3) / 2 + (1 - w) * mid, (q3 - q1) / _quartile_scale(n)
        return _Case(mean, spread, 1 + 1.58 / n, 1 + 19.2 / n**1.2, 0.57, 0.75)
    raise ValueError("five-number summary: give min and max, or q1 and q3, or all four")


def five_number(
    n: ArrayLike,
    median: ArrayLike,
    *,
    min: ArrayLike | None = None,
    q1: ArrayLike | None = None,
    q3: ArrayLike | None = None,
    max: ArrayLike | None = None,
    dist: str = "norm",
) -> tuple[Array, Array]:
    """Mean and SD from a median with minimum and maximum, quartiles, or all of them.

    `dist` is the shape of the data, "norm" or "lnorm" (log-normal; values must be above 0; the
    answer is on the raw scale, bias-corrected as in Shi et al., 2020b). No test of skewness is
    made. Raises ValueError for unordered or too few values, or n < 5.
    """
    reported = {"min": min, "q1": q1, "median": median, "q3": q3, "max": max}
    values = {name: np.asarray(v, dtype=float) for name, v in reported.items() if v is not None}
    size = np.asarray(n, dtype=float)
    if not np.all(size >= 5):
        raise ValueError("five-number summary: n must be 5 or more")
    ordered = list(values.values())
    if not all(np.all(a <= b) for a, b in pairwise(ordered)):
        raise ValueError(f"five-number summary: {' <= '.join(values)} does not hold")
    if dist not in ("norm", "lnorm"):
        raise ValueError(f"dist={dist!r} is unknown; allowed: norm, lnorm")
    if dist == "lnorm":
        if not all(np.all(v > 0) for v in ordered):
            raise ValueError("five-number summary: log-normal values must be above 0")
        values = {name: np.asarray(np.log(v)) for name, v in values.items()}
    case = _case(
        size,
        values.get("min"),
        values.get("q1"),
        values["median"],
        values.get("q3"),
        values.get("max"),
    )
    if dist == "norm":
        return np.asarray(case.mean), np.asarray(case.spread)
    s2, s4 = case.spread**2 / case.second, case.spread**4 / case.fourth

    def bias(scale: float) -> Array:
        return np.asarray(1 + case.c * scale * s2 / size)

    mean = np.exp(case.mean + s2 / 2) / (bias(1) + case.k * s4 / size)
    square = np.exp(2 * case.mean + 2 * s2) / (bias(4) + 16 * case.k * s4 / size)
    variance = square - np.exp(2 * case.mean + s2) / (bias(4) + 4 * case.k * s4 / size)
    return np.asarray(mean), np.asarray(np.sqrt(variance))


def wald(
    out: ArrayLike,
    *,
    ci_low: ArrayLike | None = None,
    ci_high: ArrayLike | None = None,
    zval: ArrayLike | None = None,
    pval: ArrayLike | None = None,
    level: ArrayLike = 0.95,
    transform: Callable[[Array], Array] | None = None,
) -> tuple[Array, Array]:
    """Estimate and sampling variance from a Wald interval, else a z, else a two-sided p.

    `transform` (e.g. numpy.log) is applied to the estimate and the limits; `level` is a share
    (0.95, not 95). Raises ValueError when neither interval, z nor p is given.
    """
    change = transform if transform is not None else (lambda x: x)
    yi = np.asarray(change(np.asarray(out, dtype=float)))
    if ci_low is not None and ci_high is not None:
        low, high = (np.asarray(change(np.asarray(x, dtype=float))) for x in (ci_low, ci_high))
        z = ndtri(0.5 + np.asarray(level, dtype=float) / 2)
        return yi, np.asarray(((high - low) / (2 * z)) ** 2)
    if zval is None and pval is None:
        raise ValueError("wald needs ci_low and ci_high, or zval, or pval")
    z = np.asarray(zval, dtype=float) if zval is not None else -ndtri(np.asarray(pval) / 2)
    return yi, np.asarray((yi / z) ** 2)


def two_by_two(
    n: ArrayLike,
    n1: ArrayLike,
    n2: ArrayLike,
    *,
    phi: ArrayLike | None = None,
    odds_ratio: ArrayLike | None = None,
    chi2: ArrayLike | None = None,
    correct: bool = True,
) -> tuple[Array, Array, Array, Array]:
    """Cells a, b, c, d (whole numbers) of a 2x2 table from its margins and one statistic.

    `n1` counts the first row (a+b), `n2` the first column (a+c), as in metafor's conv.2x2.
    `chi2` carries the sign of the association; `correct`: it was Yates-corrected.
    Raises ValueError where the margins cannot give the statistic.
    """
    n, n1, n2 = (np.asarray(x, dtype=float) for x in (n, n1, n2))
    root = np.sqrt(n1 * (n - n1) * n2 * (n - n2))
    if odds_ratio is not None:
        odds = np.asarray(odds_ratio, dtype=float)
        b = odds * (n1 + n2) + n - n1 - n2
        inner = np.sqrt(b**2 - 4 * (odds - 1) * odds * n1 * n2)
        a = 2 * odds * n1 * n2 / (b + inner)  # the root free of cancellation, also at OR = 1
    else:
        if chi2 is not None:
            signed = np.asarray(chi2, dtype=float)
            excess = np.sqrt(np.abs(signed) / n) * root + (n / 2 if correct else 0.0)
            phi = np.sign(signed) * excess / root
        if phi is None:
            raise ValueError("two_by_two needs phi, odds_ratio or chi2")
        a = (n1 * n2 + np.asarray(phi, dtype=float) * root) / n
    a = np.round(a)
    cells = (a, n1 - a, n2 - a, n - n1 - n2 + a)
    if any(np.any(cell < 0) for cell in cells):
        raise ValueError("two_by_two: these margins cannot give that statistic (a negative cell)")
    return cells
