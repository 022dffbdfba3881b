"""Tetrachoric correlation of 2x2 tables: the bivariate normal that reproduces the table."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, roots_legendre

from nssi_meta.evidence.escalc_common import Array

_NODES, _WEIGHTS = roots_legendre(96)


def bivariate_density(h: Array, k: Array, r: Array) -> Array:
    """Density of the standard bivariate normal at (h, k) with correlation r."""
    s2 = 1 - r**2
    return np.asarray(np.exp(-(h**2 - 2 * r * h * k + k**2) / (2 * s2)) / (2 * np.pi * np.sqrt(s2)))


def bivariate_cdf(h: Array, k: Array, r: Array) -> Array:
    """Pr(X < h, Y < k) of the standard bivariate normal (Plackett's integral over the angle)."""
    top = np.arcsin(r)
    angle = top[..., None] * (_NODES + 1) / 2
    sine, cos2 = np.sin(angle), np.cos(angle) ** 2
    hh, kk = h[..., None], k[..., None]
    integrand = np.exp(-(hh**2 - 2 * hh * kk * sine + kk**2) / (2 * cos2))
    return np.asarray(ndtr(h) * ndtr(k) + top / (4 * np.pi) * (integrand @ _WEIGHTS))


def tetrachoric(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    """Tetrachoric correlation and its large-sample variance (Pearson, 1900).

    The correlation solves Pr(X < h, Y < k) = a/n with the thresholds h, k set by the margins
    (a 2x2 table is saturated, so this is the maximum likelihood estimate). Bisection: the
    probability grows with the correlation. Variance: delta method, multinomial cells.
    """
    n = a + b + c + d
    target = a / n
    h, k = ndtri((a + b) / n), ndtri((a + c) / n)
    low, high = np.full_like(n, -1.0), np.full_like(n, 1.0)
    for _ in range(60):
        r = (low + high) / 2
        above = bivariate_cdf(h, k, r) > target
        low, high = np.where(above, low, r), np.where(above, r, high)
    r = (low + high) / 2
    density, s = bivariate_density(h, k, r), np.sqrt(1 - r**2)
    # dr = (dp11 - ux dp1. - uy dp.1) / density
    ux, uy = ndtr((k - r * h) / s), ndtr((h - r * k) / s)
    scores = np.stack([1 - ux - uy, -ux, -uy, np.zeros_like(ux)])
    shares = np.stack([a, b, c, d]) / n
    mean = np.sum(shares * scores, axis=0)
    variance = np.sum(shares * (scores - mean) ** 2, axis=0) / (n * density**2)
    return r, variance
