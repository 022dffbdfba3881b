"""Transformations of proportions, rates, coefficient alpha and R squared, with their inverses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from nssi_meta.evidence.escalc_common import Array


def _f(*values: ArrayLike) -> list[Array]:
    return list(np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values)))


def logit(p: ArrayLike) -> Array:
    """Log odds of a proportion."""
    p = np.asarray(p, dtype=float)
    return np.asarray(np.log(p) - np.log1p(-p))


def inverse_logit(x: ArrayLike) -> Array:
    """Proportion of log odds."""
    return np.asarray(expit(np.asarray(x, dtype=float)))


def arcsine(p: ArrayLike) -> Array:
    """Arcsine square root of a proportion."""
    return np.asarray(np.arcsin(np.sqrt(np.asarray(p, dtype=float))))


def inverse_arcsine(x: ArrayLike) -> Array:
    """Proportion of its arcsine square root."""
    return np.asarray(np.sin(np.clip(np.asarray(x, dtype=float), 0, np.pi / 2)) ** 2)


def freeman_tukey(p: ArrayLike, n: ArrayLike) -> Array:
    """Double arcsine of the proportion p of n."""
    p, n = _f(p, n)
    x = p * n
    first, second = np.sqrt(x / (n + 1)), np.sqrt((x + 1) / (n + 1))
    return np.asarray(0.5 * (np.arcsin(first) + np.arcsin(second)))


def inverse_freeman_tukey(y: ArrayLike, n: ArrayLike) -> Array:
    """Proportion of a double arcsine (Miller, 1978); 0 or 1 beyond the attainable range."""
    y, n = _f(y, n)
    s = np.sin(2 * y)
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = 1 - (s + (s - 1 / s) / n) ** 2
        p = 0.5 * (1 - np.sign(np.cos(2 * y)) * np.sqrt(np.maximum(inner, 0)))
    p = np.where(y <= freeman_tukey(0.0, n), 0.0, p)
    return np.asarray(np.where(y >= freeman_tukey(1.0, n), 1.0, p))


def rate_freeman_tukey(rate: ArrayLike, t: ArrayLike) -> Array:
    """Freeman-Tukey transformation of an incidence rate over person-time t."""
    rate, t = _f(rate, t)
    return np.asarray(0.5 * (np.sqrt(rate) + np.sqrt(rate + 1 / t)))


def inverse_rate_freeman_tukey(y: ArrayLike, t: ArrayLike) -> Array:
    """Incidence rate of its Freeman-Tukey transformation; 0 below the attainable range."""
    y, t = _f(y, t)
    y = np.maximum(y, 0.5 / np.sqrt(t))
    return np.asarray((y - 1 / (4 * t * y)) ** 2)


def alpha_to_ahw(alpha: ArrayLike) -> Array:
    """Coefficient alpha, 1 - (1-alpha)^(1/3)."""
    return np.asarray(1 - np.cbrt(1 - np.asarray(alpha, dtype=float)))


def ahw_to_alpha(x: ArrayLike) -> Array:
    """Inverse of :func:`alpha_to_ahw`."""
    return np.asarray(1 - (1 - np.asarray(x, dtype=float)) ** 3)


def alpha_to_abt(alpha: ArrayLike) -> Array:
    """Coefficient alpha, -log(1-alpha)."""
    return np.asarray(-np.log1p(-np.asarray(alpha, dtype=float)))


def abt_to_alpha(x: ArrayLike) -> Array:
    """Inverse of :func:`alpha_to_abt`."""
    return np.asarray(-np.expm1(-np.asarray(x, dtype=float)))


def r2_to_z(r2: ArrayLike) -> Array:
    """Variance-stabilised coefficient of determination."""
    return np.asarray(np.arctanh(np.sqrt(np.asarray(r2, dtype=float))))


def z_to_r2(z: ArrayLike) -> Array:
    """Inverse of :func:`r2_to_z`."""
    return np.asarray(np.tanh(np.asarray(z, dtype=float)) ** 2)
