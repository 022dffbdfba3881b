"""Correlations, single groups, reliability, regression coefficients (metafor's escalc).

Formulas: Olkin & Pratt (1958), Hedges (1989), Fisher (1921), Aloe & Becker (2012), Bonett (2002),
Nakagawa et al. (2015), Hakstian & Whalen (1976), Olkin & Finn (1995).
"""

from __future__ import annotations

import numpy as np
from scipy.special import hyp2f1

from nssi_meta.evidence.escalc_common import (
    ALPHA,
    ITEMS,
    SIZE,
    Args,
    Array,
    Options,
    coalesce,
    fisher,
    measure,
    t_from_p,
)
from nssi_meta.evidence.escalc_two_groups import standardised, weighted_mean

CORRELATED = "ri ni | ti ni | pi ni"
PARTIAL = "ti ni mi | ri ni mi | pi ni mi"
SEMIPARTIAL = "ti ni mi r2i | ri ni mi r2i | pi ni mi r2i"
PREDICTORS = {"mi": SIZE}
RELIABILITY = {"ai": ALPHA, "mi": ITEMS}


def _r(a: Args) -> Array:
    """Correlation, row by row from r, t or signed p."""
    df = a["ni"] - 2
    t = t_or_p(a, df)
    return coalesce(a.get("ri"), t / np.sqrt(t**2 + df))


def unbiased_r(r: Array, n: Array) -> Array:
    """Olkin and Pratt's unbiased correlation, exact (equation 2.3)."""
    return np.asarray(r * hyp2f1(0.5, 0.5, (n - 2) / 2, 1 - r**2))


def _unbiased_r_variance(r: Array, g: Array, n: Array) -> Array:
    """Unbiased variance: g^2 minus the unbiased estimate of rho^2 (Hedges 1989, exact form)."""
    return np.asarray(
        g**2 - (1 - (n - 3) / (n - 2) * (1 - r**2) * hyp2f1(1.0, 1.0, n / 2, 1 - r**2))
    )


def _r_variance(r: Array, g: Array, n: Array, o: Options) -> Array:
    average = weighted_mean(g, n)
    return o.variance(
        LS=(1 - g**2) ** 2 / (n - 1),
        UB=_unbiased_r_variance(r, g, n),
        H0=(1 - g**2) / (n - 2),
        AV=(1 - average**2) ** 2 / (n - 1),
    )


@measure("COR", CORRELATED, vtypes="LS UB H0 AV")
def cor(a: Args, o: Options) -> tuple[Array, Array]:
    """Correlation."""
    r = _r(a)
    return r, _r_variance(r, r, a["ni"], o)


@measure("UCOR", CORRELATED, vtypes="LS UB H0 AV")
def ucor(a: Args, o: Options) -> tuple[Array, Array]:
    """Correlation corrected for bias (Olkin & Pratt, exact)."""
    r, n = _r(a), a["ni"]
    g = unbiased_r(r, n)
    return g, _r_variance(r, g, n, o)


@measure("ZCOR", CORRELATED)
def zcor(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of a correlation."""
    return np.arctanh(_r(a)), 1 / (a["ni"] - 3)


def t_or_p(a: Args, df: Array) -> Array:
    """t, row by row as given or from a signed p; NaN where neither is there."""
    missing = np.full_like(df, np.nan)
    from_p = t_from_p(a["pi"], df) if "pi" in a else missing
    return coalesce(a.get("ti", missing), from_p)


def _partial(a: Args) -> Array:
    df = a["ni"] - a["mi"] - 1
    t = t_or_p(a, df)
    return coalesce(t / np.sqrt(t**2 + df), a.get("ri"))


@measure("PCOR", PARTIAL, rules=PREDICTORS)
def pcor(a: Args, o: Options) -> tuple[Array, Array]:
    """Partial correlation."""
    r = _partial(a)
    return r, (1 - r**2) ** 2 / (a["ni"] - a["mi"])


@measure("ZPCOR", PARTIAL, rules=PREDICTORS)
def zpcor(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of a partial correlation."""
    return np.arctanh(_partial(a)), 1 / (a["ni"] - a["mi"] - 2)


@measure("SPCOR", SEMIPARTIAL, rules=PREDICTORS)
def spcor(a: Args, o: Options) -> tuple[Array, Array]:
    """Semi-partial correlation."""
    full, df = a["r2i"], a["ni"] - a["mi"] - 1
    t = t_or_p(a, df)
    r = coalesce(t * np.sqrt((1 - full) / df), a.get("ri"))
    reduced = full - r**2
    return r, (full**2 - 2 * full + reduced + 1 - reduced**2) / a["ni"]


@measure("ZSPCOR", SEMIPARTIAL, rules=PREDICTORS)
def zspcor(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of a semi-partial correlation."""
    return fisher(*spcor(a, o))


@measure("R2", "r2i ni mi", rules=PREDICTORS, vtypes="LS LS2")
def r_squared(a: Args, o: Options) -> tuple[Array, Array]:
    """Coefficient of determination."""
    r2, n, m = a["r2i"], a["ni"], a["mi"]
    large = 4 * r2 * (1 - r2) ** 2 / n
    finite = 4 * r2 * (1 - r2) ** 2 * (n - m - 1) ** 2 / ((n**2 - 1) * (n + 3))
    return r2, o.variance(LS=large, LS2=finite)


@measure("ZR2", "r2i ni mi", rules=PREDICTORS)
def z_r_squared(a: Args, o: Options) -> tuple[Array, Array]:
    """Variance-stabilised coefficient of determination."""
    return np.arctanh(np.sqrt(a["r2i"])), 1 / a["ni"]


@measure("MN", "mi sdi ni")
def mn(a: Args, o: Options) -> tuple[Array, Array]:
    """Mean."""
    return a["mi"], a["sdi"] ** 2 / a["ni"]


@measure("SMN", "mi sdi ni", vtypes="LS LS2 UB AV")
def smn(a: Args, o: Options) -> tuple[Array, Array]:
    """Standardised mean of one group."""
    n = a["ni"]
    return standardised(a["mi"] / a["sdi"], n - 1, 1 / n, n, o)


@measure("MNLN", "mi sdi ni")
def mnln(a: Args, o: Options) -> tuple[Array, Array]:
    """Log mean."""
    return np.log(a["mi"]), (a["sdi"] / a["mi"]) ** 2 / a["ni"]


@measure("SDLN", "sdi ni")
def sdln(a: Args, o: Options) -> tuple[Array, Array]:
    """Log standard deviation."""
    half = 0.5 / (a["ni"] - 1)
    return np.log(a["sdi"]) + (half if o.correct else 0), half


@measure("CVLN", "mi sdi ni")
def cvln(a: Args, o: Options) -> tuple[Array, Array]:
    """Log coefficient of variation."""
    cv, n = a["sdi"] / a["mi"], a["ni"]
    correction = 0.5 / (n - 1) - 0.5 * cv**2 / n if o.correct else 0
    return np.log(cv) + correction, 0.5 / (n - 1) + cv**2 / n


@measure("ARAW", "ai mi ni", rules=RELIABILITY)
def araw(a: Args, o: Options) -> tuple[Array, Array]:
    """Coefficient alpha."""
    alpha, m, n = a["ai"], a["mi"], a["ni"]
    return alpha, 2 * m * (1 - alpha) ** 2 / ((m - 1) * (n - 2))


@measure("AHW", "ai mi ni", rules=RELIABILITY)
def ahw(a: Args, o: Options) -> tuple[Array, Array]:
    """Coefficient alpha, Hakstian and Whalen's transformation."""
    rest, m, n = 1 - a["ai"], a["mi"], a["ni"]
    vi = 18 * m * (n - 1) * rest ** (2 / 3) / ((m - 1) * (9 * n - 11) ** 2)
    return 1 - np.cbrt(rest), vi


@measure("ABT", "ai mi ni", rules=RELIABILITY)
def abt(a: Args, o: Options) -> tuple[Array, Array]:
    """Coefficient alpha, Bonett's transformation."""
    m, n = a["mi"], a["ni"]
    return -np.log(1 - a["ai"]), 2 * m / ((m - 1) * (n - 2))
