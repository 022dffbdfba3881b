"""Case and control groups: from what is reported to Hedges g.

Sources: Hedges (1981) for J, Hedges (1982) for the variance of g.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from nssi_meta.evidence import bounds
from nssi_meta.evidence.effects_common import (
    Found,
    Reported,
    exact,
    interval,
    needs_sign,
    no_sign,
    route,
    same_p,
)
from nssi_meta.evidence.escalc_common import Array, hedges_j, t_from_p


def _g(d: Array, n1: Array, n2: Array, df: Array) -> tuple[Array, Array]:
    """Hedges g and its large-sample variance 1/n1 + 1/n2 + g^2/(2(n1+n2)), metafor's default."""
    g = hedges_j(df) * d
    return g, 1 / n1 + 1 / n2 + g**2 / (2 * (n1 + n2))


def _sizes(x: Reported) -> tuple[Array, Array, Array]:
    n1, n2 = x["n_case"], x["n_control"]
    return n1, n2, n1 + n2 - 2


def _df(x: Reported) -> Array:
    """Error degrees of freedom as reported (covariates, further groups), else n1 + n2 - 2."""
    df = x["df"]
    return np.where(np.isfinite(df), df, _sizes(x)[2])


def _from_t(x: Reported, t: Array, df: Array, source: str, sign: Array | None = None) -> Found:
    """G of a two-group t; `sign` where the statistic itself has none (0: sign unknown)."""
    n1, n2, _ = _sizes(x)
    unsigned = np.zeros(t.shape, dtype=bool)
    if sign is not None:
        unsigned = sign == 0
        t = np.abs(t) * np.where(unsigned, 1.0, sign)
    yi, vi = _g(t * np.sqrt(1 / n1 + 1 / n2), n1, n2, df)
    return exact(yi, vi, f"Hedges g from {source} (J exact), LS variance", unsigned)


def _from_means(x: Reported, sd1: Array, sd2: Array, source: str) -> Found:
    n1, n2, df = _sizes(x)
    pooled = np.sqrt(((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / df)
    yi, vi = _g((x["mean_case"] - x["mean_control"]) / pooled, n1, n2, df)
    return exact(yi, vi, f"Hedges g from {source} (pooled SD, J exact), LS variance")


@route("means_sd", "case_control")
def means_sd(x: Reported) -> Found:
    """Means and standard deviations."""
    return _from_means(x, x["sd_case"], x["sd_control"], "means and SDs")


@route("means_se", "case_control")
def means_se(x: Reported) -> Found:
    """Means and standard errors; SD = SE sqrt(n)."""
    n1, n2, _ = _sizes(x)
    return _from_means(
        x, x["se_case"] * np.sqrt(n1), x["se_control"] * np.sqrt(n2), "means and SEs"
    )


@route("t", "case_control")
def t_two_groups(x: Reported) -> Found:
    """Independent-samples t, with its sign."""
    return _from_t(x, x["t"], _df(x), "t")


@route("t_abs", "case_control")
def t_absolute(x: Reported) -> Found:
    """|t| without a direction."""
    return _from_t(x, x["t"], _df(x), "|t|, sign unknown", no_sign(x.sign))


@route("F", "case_control")
def f_two_groups(x: Reported) -> Found:
    """F with one degree of freedom in the numerator: t = sqrt(F)."""
    return _from_t(x, np.sqrt(x["f"]), _df(x), "F (t = root of F)", x.sign)


@route("eta2", "case_control")
def eta_squared(x: Reported) -> Found:
    """(Partial) eta squared of a two-group contrast: t^2 = df eta2 / (1 - eta2)."""
    df = _df(x)
    return _from_t(x, np.sqrt(df * x["eta2"] / (1 - x["eta2"])), df, "eta squared", x.sign)


@route("z", "case_control")
def z_two_groups(x: Reported) -> Found:
    """z, carried to the t of the same p."""
    df = _sizes(x)[2]
    return _from_t(x, same_p(x["z"], df), df, "z (t of the same p)")


@route("p_exact", "case_control")
def p_two_groups(x: Reported) -> Found:
    """Exact two-sided p and a direction."""
    df = _sizes(x)[2]
    return _from_t(x, t_from_p(x["p"], df), df, "exact p", x.sign)


def _reported_se(x: Reported) -> tuple[Array, np.ndarray]:
    """Standard error as printed, else from the confidence interval, and which of the two."""
    level = x["ci_level"]
    level = np.where(np.isfinite(level), level, 0.95)
    from_ci = (x["ci_high"] - x["ci_low"]) / (2 * ndtri(0.5 + level / 2))
    given = np.isfinite(x["se"])
    by_ci = ~given & np.isfinite(from_ci)
    share = [f"SE from the {100 * v:g}% CI" for v in level]
    source = np.where(given, "reported SE", np.where(by_ci, share, "LS variance"))
    return np.where(given, x["se"], from_ci), source.astype(object)


def _standardised(x: Reported, value: Array, j: Array, name: str) -> Found:
    """g = J d. A printed SE or CI belongs to the model fitted (covariates, sites); it comes first.

    Without group sizes J is unknown and taken as 1.
    """
    n1, n2, _ = _sizes(x)
    unknown = np.isnan(j)
    j = np.where(unknown, 1.0, j)
    se, source = _reported_se(x)
    g = j * value
    large = 1 / n1 + 1 / n2 + g**2 / (2 * (n1 + n2))
    vi = np.where(np.isfinite(se), (j * se) ** 2, large)
    scaled = np.where(unknown, " (sizes unknown, J = 1)", name)
    formula = np.array([f"Hedges g{a}, {b}" for a, b in zip(scaled, source, strict=True)], object)
    return exact(g, vi, formula)


@route("d", "case_control")
def cohen_d(x: Reported) -> Found:
    """Cohen's d; SE from the paper (se, else CI, scaled by J like d), else from the group sizes."""
    return _standardised(x, x["d"], hedges_j(_sizes(x)[2]), " from d (J exact)")


@route("g", "case_control")
def hedges_g(x: Reported) -> Found:
    """Hedges g as printed; SE as for d but not scaled."""
    return _standardised(x, x["g"], np.ones_like(x["g"]), " as reported")


@route("p_threshold", "case_control")
def p_below_two_groups(x: Reported) -> Found:
    """p below a threshold and a direction: g beyond its critical value."""
    n1, n2, _ = _sizes(x)
    c, vi = bounds.critical_g(x["p_bound"], n1, n2)
    return interval(
        needs_sign(x.sign), c, vi, "g beyond the critical value of t, LS variance there"
    )


@route("ns", "case_control")
def ns_two_groups(x: Reported) -> Found:
    """Not significant: g between the critical values."""
    n1, n2, _ = _sizes(x)
    c, vi = bounds.critical_g(x["p_bound"], n1, n2)
    return interval(no_sign(x.sign), c, vi, "g within the critical values of t, LS variance there")
