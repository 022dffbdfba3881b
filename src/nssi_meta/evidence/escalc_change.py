"""Change within one group, or matched pairs, on a quantitative scale (metafor's escalc).

Formulas: Becker (1988), Gibbons et al. (1993), Bonett (2008), Cousineau (2020), Lajeunesse (2011),
Nakagawa et al. (2015), Senior et al. (2020).
"""

from __future__ import annotations

import numpy as np

from nssi_meta.evidence.escalc_common import (
    Args,
    Array,
    Options,
    bias_factor,
    coalesce,
    measure,
    t_from_p,
    unbiased_factor,
)
from nssi_meta.evidence.escalc_other import unbiased_r
from nssi_meta.evidence.escalc_two_groups import standardised

CHANGE = "m1i m2i sd1i sd2i ri ni"


def _change_variance(a: Args) -> Array:
    s1, s2 = a["sd1i"], a["sd2i"]
    return np.asarray(s1**2 + s2**2 - 2 * a["ri"] * s1 * s2)


@measure("MC", CHANGE)
def mc(a: Args, o: Options) -> tuple[Array, Array]:
    """Mean change."""
    return a["m1i"] - a["m2i"], _change_variance(a) / a["ni"]


@measure("SMCC", CHANGE + " | di ni | ti ni | pi ni", vtypes="LS LS2 UB AV")
def smcc(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean change, SD of the change scores."""
    n = a["ni"]
    d = coalesce(
        (a["m1i"] - a["m2i"]) / np.sqrt(_change_variance(a)) if "m1i" in a else None,
        a.get("di"),
        a["ti"] / np.sqrt(n) if "ti" in a else None,
        t_from_p(a["pi"], n - 1) / np.sqrt(n) if "pi" in a else None,
    )
    return standardised(d, n - 1, 1 / n, n, o)


@measure("SMCR", "m1i m2i sd1i ri ni", vtypes="LS LS2 UB AV")
def smcr(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean change, SD of the first measurement."""
    n, r = a["ni"], a["ri"]
    d = (a["m1i"] - a["m2i"]) / a["sd1i"]
    g, vi = standardised(d, n - 1, 2 * (1 - r) / n, n, o)
    # The unbiased variance also asks for the unbiased correlation.
    shift = 2 * (r - unbiased_r(r, n)) / n
    return g, vi + np.where(o.vtype == "UB", shift, 0.0)


@measure("SMCRH", CHANGE, vtypes="LS LS2 LS3")
def smcrh(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean change, SD of the first measurement, unequal variances."""
    n = a["ni"]
    g = bias_factor(n - 1, o) * (a["m1i"] - a["m2i"]) / a["sd1i"]
    ratio, quadratic = _change_variance(a) / a["sd1i"] ** 2, g**2 / 2
    vi = o.variance(
        LS=(ratio + quadratic) / (n - 1),
        LS2=(ratio + quadratic) / n,
        LS3=ratio / n + quadratic / (n - 1),
    )
    return g, vi


def _average_change(a: Args, o: Options) -> tuple[Array, Array, Array, Array]:
    """g of the change over the root of the average variance; J, degrees of freedom, variance."""
    v = (a["sd1i"] ** 2 + a["sd2i"] ** 2) / 2
    m = 2 * (a["ni"] - 1) / (1 + a["ri"] ** 2)
    j = bias_factor(m, o)
    return j * (a["m1i"] - a["m2i"]) / np.sqrt(v), j, m, v


@measure("SMCRP", CHANGE, vtypes="LS LS2 UB")
def smcrp(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean change, root of the average variance."""
    n, r = a["ni"], a["ri"]
    g, j, m, _ = _average_change(a, o)
    base, share = 2 * (1 - r) / n, (1 + r**2) / (4 * n)
    vi = o.variance(
        LS=base + share * g**2,
        LS2=j**2 * base + share * g**2,
        UB=base + unbiased_factor(m, j) * g**2,
    )
    return g, vi


@measure("SMCRPH", CHANGE, vtypes="LS LS2 LS3")
def smcrph(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean change, root of the average variance, unequal variances."""
    n, v1, v2 = a["ni"], a["sd1i"] ** 2, a["sd2i"] ** 2
    g, _, _, v = _average_change(a, o)
    fourth = g**2 * (v1**2 + v2**2 + 2 * a["ri"] ** 2 * v1 * v2) / (8 * v**2)
    second = _change_variance(a) / v
    vi = o.variance(
        LS=(fourth + second) / (n - 1),
        LS2=(fourth + second) / n,
        LS3=fourth / (n - 1) + second / n,
    )
    return g, vi


@measure("ROMC", CHANGE)
def romc(a: Args, o: Options) -> tuple[Array, Array]:
    """Log ratio of means of two dependent measurements."""
    n = a["ni"]
    c1, c2 = a["sd1i"] / a["m1i"], a["sd2i"] / a["m2i"]
    yi = np.log(a["m1i"] / a["m2i"])
    if o.correct:
        yi = yi + 0.5 * (c1**2 - c2**2) / n
    return yi, (c1**2 + c2**2 - 2 * a["ri"] * c1 * c2) / n


@measure("VRC", "sd1i sd2i ri ni")
def vrc(a: Args, o: Options) -> tuple[Array, Array]:
    """Log ratio of standard deviations of two dependent measurements."""
    return np.log(a["sd1i"] / a["sd2i"]), (1 - a["ri"] ** 2) / (a["ni"] - 1)


@measure("CVRC", CHANGE)
def cvrc(a: Args, o: Options) -> tuple[Array, Array]:
    """Log ratio of coefficients of variation of two dependent measurements."""
    n, r = a["ni"], a["ri"]
    c1, c2 = a["sd1i"] / a["m1i"], a["sd2i"] / a["m2i"]
    yi = np.log(c1) - np.log(c2)
    if o.correct:
        yi = yi + 0.5 * (c2**2 - c1**2) / n
    return yi, (1 - r**2) / (n - 1) + (c1**2 + c2**2 - 2 * r * c1 * c2) / n
