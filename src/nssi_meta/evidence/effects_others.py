"""Associations, odds, change within people, ready-made effects: from reports to effect sizes.

Sources: Fisher (1921), Gibbons et al. (1993) and Becker (1988) for change, Chinn (2000) for the
logistic scale.
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

# ------------------------------------------------------------------ associations


def _z_of_t(x: Reported, t: Array, source: str, sign: Array | None = None) -> Found:
    """Fisher z of the correlation behind t with n-2 degrees of freedom; variance 1/(n-3)."""
    n = x["n_total"]
    unsigned = np.zeros(t.shape, dtype=bool)
    if sign is not None:
        unsigned = sign == 0
        t = np.abs(t) * np.where(unsigned, 1.0, sign)
    return exact(
        np.arcsinh(t / np.sqrt(n - 2)),  # = atanh(t / sqrt(t^2 + n - 2))
        1 / (n - 3),
        f"Fisher z from {source}, 1/(n-3)",
        unsigned,
    )


@route("r", "association")
def correlation(x: Reported) -> Found:
    """Correlation."""
    return exact(np.arctanh(x["r"]), 1 / (x["n_total"] - 3), "Fisher z from r, 1/(n-3)")


@route("beta_se", "association")
def standardised_beta(x: Reported) -> Found:
    """Standardised slope, read like a correlation (they are equal with one predictor).

    z = atanh(beta); its SE by the delta method, se / (1 - beta^2).
    """
    beta = x["beta"]
    return exact(
        np.arctanh(beta),
        (x["se"] / (1 - beta**2)) ** 2,
        "Fisher z of the standardised beta read as r, SE by delta method",
    )


@route("z", "association")
def z_association(x: Reported) -> Found:
    """z statistic, carried to the t of the same p."""
    return _z_of_t(x, same_p(x["z"], x["n_total"] - 2), "z (t of the same p)")


@route("p_exact", "association")
def p_association(x: Reported) -> Found:
    """Exact two-sided p and a direction."""
    return _z_of_t(x, t_from_p(x["p"], x["n_total"] - 2), "exact p", x.sign)


@route("p_threshold", "association")
def p_below_association(x: Reported) -> Found:
    """p below a threshold and a direction."""
    c, vi = bounds.critical_z(x["p_bound"], x["n_total"])
    return interval(needs_sign(x.sign), c, vi, "Fisher z beyond the critical r, 1/(n-3)")


@route("ns", "association")
def ns_association(x: Reported) -> Found:
    """Not significant."""
    c, vi = bounds.critical_z(x["p_bound"], x["n_total"])
    return interval(no_sign(x.sign), c, vi, "Fisher z within the critical r, 1/(n-3)")


# ------------------------------------------------------------------ odds


@route("or_ci", "odds")
def odds_ratio(x: Reported) -> Found:
    """Odds ratio with its confidence interval, Wald on the log scale."""
    width = np.log(x["ci_high"]) - np.log(x["ci_low"])
    se = width / (2 * ndtri(0.5 + x["ci_level"] / 2))
    return exact(np.log(x["odds_ratio"]), se**2, "log OR, SE from the CI on the log scale")


@route("counts", "odds")
def counts(x: Reported) -> Found:
    """2x2 counts; 1/2 is added to all four cells of a table in which one of them is zero."""
    cells = np.stack(
        [
            x["events_case"],
            x["total_case"] - x["events_case"],
            x["events_control"],
            x["total_control"] - x["events_control"],
        ]
    )
    cells = np.where((cells < 0).any(axis=0), np.nan, cells)
    zero = (cells == 0).any(axis=0)
    cells = cells + np.where(zero, 0.5, 0.0)
    a, b, c, d = cells
    formula = np.where(
        zero, "log OR from counts (1/2 added to each cell)", "log OR from counts"
    ).astype(object)
    return exact(np.log(a) - np.log(b) - np.log(c) + np.log(d), (1 / cells).sum(axis=0), formula)


_APPROXIMATE = "approximate SE (pi/sqrt 3) sqrt(1/n1+1/n2) from group sizes"


@route("p_exact", "odds")
def p_odds(x: Reported) -> Found:
    """Exact p with group sizes only: |log OR| = z SE with an approximate SE."""
    se = np.sqrt(bounds.critical_log_or(x["p"], x["n_case"], x["n_control"])[1])
    sign, size = x.sign, -ndtri(x["p"] / 2) * se
    unsigned = sign == 0
    yi = size * np.where(unsigned, 1.0, sign)
    return exact(yi, se**2, f"log OR from exact p, {_APPROXIMATE}", unsigned)


@route("p_threshold", "odds")
def p_below_odds(x: Reported) -> Found:
    """p below a threshold and a direction, group sizes only."""
    c, vi = bounds.critical_log_or(x["p_bound"], x["n_case"], x["n_control"])
    return interval(needs_sign(x.sign), c, vi, f"log OR beyond z SE, {_APPROXIMATE}")


@route("ns", "odds")
def ns_odds(x: Reported) -> Found:
    """Not significant, group sizes only."""
    c, vi = bounds.critical_log_or(x["p_bound"], x["n_case"], x["n_control"])
    return interval(no_sign(x.sign), c, vi, f"log OR within z SE, {_APPROXIMATE}")


# ------------------------------------------------------------------ within people


@route("t_paired", "within_person")
def t_paired(x: Reported) -> Found:
    """Paired t: change over the SD of change, J(n-1) t / sqrt(n); metafor's SMCC, vtype LS."""
    n = x["n_total"]
    yi = hedges_j(n - 1) * x["t"] / np.sqrt(n)
    return exact(yi, 1 / n + yi**2 / (2 * n), "mean change over SD of change from t (SMCC)")


@route("prepost", "within_person")
def prepost(x: Reported) -> Found:
    """Mean before and after: change over the SD before, metafor's SMCR, vtype LS."""
    n = x["n_total"]
    yi = hedges_j(n - 1) * (x["mean_case"] - x["mean_control"]) / x["sd_control"]
    vi = 2 * (1 - x["r_within"]) / n + yi**2 / (2 * n)
    return exact(yi, vi, "mean change over SD before (SMCR)")


@route("p_threshold", "within_person")
def p_below_within(x: Reported) -> Found:
    """p below a threshold and a direction."""
    c, vi = bounds.critical_d_within(x["p_bound"], x["n_total"])
    return interval(needs_sign(x.sign), c, vi, "mean change beyond the critical paired t (SMCC)")


@route("ns", "within_person")
def ns_within(x: Reported) -> Found:
    """Not significant."""
    c, vi = bounds.critical_d_within(x["p_bound"], x["n_total"])
    return interval(no_sign(x.sign), c, vi, "mean change within the critical paired t (SMCC)")


# ------------------------------------------------------------------ ready-made


@route("yi_vi", "case_control", "association", "odds", "within_person")
def given_variance(x: Reported) -> Found:
    """Effect and variance on the estimand's scale."""
    return exact(x["yi"], x["vi"], "effect and variance as given")


@route("yi_sei", "case_control", "association", "odds", "within_person")
def given_error(x: Reported) -> Found:
    """Effect and standard error on the estimand's scale."""
    sei = x["sei"]
    return exact(x["yi"], np.where(sei > 0, sei, np.nan) ** 2, "effect and SE as given")
