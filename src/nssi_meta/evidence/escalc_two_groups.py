"""Two independent groups measured on a quantitative scale (metafor 5.0's escalc, section 1a, 2d).

Formulas: Hedges (1981, 1982, 1983), Borenstein (2009, chapter 12), Bonett (2008, 2009),
Hedges et al. (1999), Lajeunesse (2011), Nakagawa et al. (2015, 2023), Senior et al. (2020),
Tate (1954), Soper (1914), Jacobs & Viechtbauer (2017).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from nssi_meta.evidence.escalc_common import (
    Args,
    Array,
    Options,
    bias_factor,
    coalesce,
    fisher,
    measure,
    t_from_p,
    unbiased_factor,
)

MEANS = "m1i m2i sd1i sd2i n1i n2i"
STANDARDISED = MEANS + " | di n1i n2i | ti n1i n2i | pi n1i n2i"


def pooled_variance(a: Args) -> Array:
    """Pooled variance of two groups."""
    n1, n2 = a["n1i"], a["n2i"]
    return np.asarray(((n1 - 1) * a["sd1i"] ** 2 + (n2 - 1) * a["sd2i"] ** 2) / (n1 + n2 - 2))


def cohen_d(a: Args) -> Array:
    """Cohen's d, row by row from means, a given d, a t or a signed p, whichever is there."""
    n1, n2 = a["n1i"], a["n2i"]
    t_to_d = np.sqrt(1 / n1 + 1 / n2)
    return coalesce(
        (a["m1i"] - a["m2i"]) / np.sqrt(pooled_variance(a)) if "m1i" in a else None,
        a.get("di"),
        a["ti"] * t_to_d if "ti" in a else None,
        t_from_p(a["pi"], n1 + n2 - 2) * t_to_d if "pi" in a else None,
    )


def weighted_mean(x: Array, n: Array) -> Array:
    """Sample-size weighted mean of all rows, repeated for each row."""
    return np.full_like(x, np.sum(n * x) / np.sum(n)) if x.size else x


def standardised(d: Array, m: Array, base: Array, n: Array, o: Options) -> tuple[Array, Array]:
    """g = J(m) d with its variance, `base` being the part that does not depend on g.

    LS: base + g^2/(2n); LS2: J^2 (base + d^2/(2n)); UB: unbiased; AV: LS at the average g.
    """
    j = bias_factor(m, o)
    g = j * d
    vi = o.variance(
        LS=base + g**2 / (2 * n),
        LS2=j**2 * (base + d**2 / (2 * n)),
        UB=base + unbiased_factor(m, j) * g**2,
        AV=base + weighted_mean(g, n) ** 2 / (2 * n),
    )
    return g, vi


@measure("MD", MEANS, vtypes="LS HO")
def md(a: Args, o: Options) -> tuple[Array, Array]:
    """Mean difference."""
    n1, n2 = a["n1i"], a["n2i"]
    vi = o.variance(
        LS=a["sd1i"] ** 2 / n1 + a["sd2i"] ** 2 / n2,
        HO=pooled_variance(a) * (1 / n1 + 1 / n2),
    )
    return a["m1i"] - a["m2i"], vi


@measure("SMD", STANDARDISED, vtypes="LS LS2 UB AV")
def smd(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean difference, pooled SD (Hedges' g)."""
    n1, n2 = a["n1i"], a["n2i"]
    return standardised(cohen_d(a), n1 + n2 - 2, 1 / n1 + 1 / n2, n1 + n2, o)


@measure("SMDH", MEANS, vtypes="LS LS2 LS3")
def smdh(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean difference, root of the average variance (unequal variances)."""
    n1, n2, v1, v2 = a["n1i"], a["n2i"], a["sd1i"] ** 2, a["sd2i"] ** 2
    v = (v1 + v2) / 2
    g = bias_factor(n1 + n2 - 2, o) * (a["m1i"] - a["m2i"]) / np.sqrt(v)

    def fourth(k1: Array, k2: Array) -> Array:
        return g**2 * (v1**2 / k1 + v2**2 / k2) / (8 * v**2)

    def second(k1: Array, k2: Array) -> Array:
        return (v1 / k1 + v2 / k2) / v

    vi = o.variance(
        LS=fourth(n1 - 1, n2 - 1) + second(n1 - 1, n2 - 1),
        LS2=fourth(n1, n2) + second(n1, n2),
        LS3=fourth(n1 - 1, n2 - 1) + second(n1, n2),
    )
    return g, vi


@measure("SMD1", "m1i m2i sd2i n1i n2i", vtypes="LS LS2 UB AV")
def smd1(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean difference, SD of the second group."""
    n1, n2 = a["n1i"], a["n2i"]
    d = (a["m1i"] - a["m2i"]) / a["sd2i"]
    return standardised(d, n2 - 1, 1 / n1 + 1 / n2, n2, o)


@measure("SMD1H", MEANS, vtypes="LS LS2 LS3")
def smd1h(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean difference, SD of the second group, unequal variances."""
    n1, n2 = a["n1i"], a["n2i"]
    ratio = (a["sd1i"] / a["sd2i"]) ** 2
    g = bias_factor(n2 - 1, o) * (a["m1i"] - a["m2i"]) / a["sd2i"]
    vi = o.variance(
        LS=ratio / (n1 - 1) + 1 / (n2 - 1) + g**2 / (2 * (n2 - 1)),
        LS2=ratio / n1 + 1 / n2 + g**2 / (2 * n2),
        LS3=ratio / n1 + 1 / n2 + g**2 / (2 * (n2 - 1)),
    )
    return g, vi


@measure("ROM", MEANS, vtypes="LS HO AV AVHO")
def rom(a: Args, o: Options) -> tuple[Array, Array]:
    """Log ratio of means."""
    n1, n2 = a["n1i"], a["n2i"]
    c1, c2 = (a["sd1i"] / a["m1i"]) ** 2, (a["sd2i"] / a["m2i"]) ** 2
    yi = np.log(a["m1i"] / a["m2i"])
    if o.correct:  # second-order correction, the default since metafor 5.0
        yi = yi + 0.5 * (c1 / n1 - c2 / n2)
    sp2 = pooled_variance(a)
    a1, a2 = weighted_mean(c1, n1), weighted_mean(c2, n2)
    # Nakagawa et al. (2023): one squared coefficient of variation for all rows and both groups.
    both = (n1 * a1 + n2 * a2) / (n1 + n2)
    vi = o.variance(
        LS=c1 / n1 + c2 / n2,
        HO=sp2 / (n1 * a["m1i"] ** 2) + sp2 / (n2 * a["m2i"] ** 2),
        AV=a1 / n1 + a2 / n2,
        AVHO=weighted_mean(both, n1 + n2) * (1 / n1 + 1 / n2),
    )
    return yi, vi


@measure("VR", "sd1i sd2i n1i n2i")
def vr(a: Args, o: Options) -> tuple[Array, Array]:
    """Log ratio of standard deviations."""
    m1, m2 = a["n1i"] - 1, a["n2i"] - 1
    yi = np.log(a["sd1i"] / a["sd2i"])
    if o.correct:
        yi = yi + 0.5 / m1 - 0.5 / m2
    return yi, 0.5 / m1 + 0.5 / m2


@measure("CVR", MEANS)
def cvr(a: Args, o: Options) -> tuple[Array, Array]:
    """Log ratio of coefficients of variation."""
    n1, n2 = a["n1i"], a["n2i"]
    c1, c2 = a["sd1i"] / a["m1i"], a["sd2i"] / a["m2i"]
    yi = np.log(c1) - np.log(c2)
    if o.correct:  # Senior et al. (2020): correction of both the SD and the mean
        yi = yi + 0.5 * (1 / (n1 - 1) - 1 / (n2 - 1)) + 0.5 * (c2**2 / n2 - c1**2 / n1)
    vi = 0.5 / (n1 - 1) + c1**2 / n1 + 0.5 / (n2 - 1) + c2**2 / n2
    return yi, vi


def _d_to_log_or(a: Args, factor: float) -> tuple[Array, Array]:
    """Log odds ratio as a multiple of Cohen's d (no small-sample correction, as in metafor)."""
    n1, n2, d = a["n1i"], a["n2i"], cohen_d(a)
    return factor * d, factor**2 * (1 / n1 + 1 / n2 + d**2 / (2 * (n1 + n2)))


@measure("D2ORN", STANDARDISED)
def d2orn(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean difference as a log odds ratio (normal distributions)."""
    return _d_to_log_or(a, 1.65)


@measure("D2ORL", STANDARDISED)
def d2orl(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean difference as a log odds ratio (logistic distributions)."""
    return _d_to_log_or(a, np.pi / np.sqrt(3))


def _point_biserial(a: Args) -> tuple[Array, Array, Array]:
    n1, n2, d = a["n1i"], a["n2i"], cohen_d(a)
    h = (n1 + n2 - 2) * (1 / n1 + 1 / n2)
    return d / np.sqrt(d**2 + h), d, h


@measure("RPB", STANDARDISED, vtypes="LS ST CS")
def rpb(a: Args, o: Options) -> tuple[Array, Array]:
    """Point-biserial correlation."""
    n1, n2 = a["n1i"], a["n2i"]
    n = n1 + n2
    r, d, h = _point_biserial(a)
    stratified = h**2 / (h + d**2) ** 3 * (1 / n1 + 1 / n2 + d**2 / (2 * n))
    pq = n1 * n2 / n**2
    cross = (1 - r**2) ** 2 * (1 - 1.5 * r**2 + r**2 / (4 * pq)) / n
    return r, o.variance(LS=stratified, ST=stratified, CS=cross)


@measure("ZPB", STANDARDISED, vtypes="LS ST CS")
def zpb(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of the point-biserial correlation."""
    return fisher(*rpb(a, o))


@measure("RBIS", STANDARDISED)
def rbis(a: Args, o: Options) -> tuple[Array, Array]:
    """Biserial correlation (Soper's variance)."""
    n = a["n1i"] + a["n2i"]
    p = a["n1i"] / n
    z = -ndtri(p)
    f = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    r = np.sqrt(p * (1 - p)) / f * _point_biserial(a)[0]
    # An estimate beyond 1 can occur; its variance is taken at the border of the parameter space.
    inside = np.clip(r, -1, 1)
    quadratic = 1.5 + (1 - p * z / f) * (1 + (1 - p) * z / f)
    vi = (p * (1 - p) / f**2 - quadratic * inside**2 + inside**4) / (n - 1)
    return r, vi


@measure("ZBIS", STANDARDISED)
def zbis(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of the biserial correlation."""
    return fisher(*rbis(a, o))
