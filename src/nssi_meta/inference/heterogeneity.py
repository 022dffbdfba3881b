"""The variance of true effects: estimators of tau^2, its intervals, Q, I^2 and H^2.

Formulas: Viechtbauer (2005, J Educ Behav Stat 30:261), Viechtbauer, Lopez-Lopez, Sanchez-Meca and
Marin-Martinez (2015, Psychol Methods 20:360), DerSimonian and Kacker (2007, Contemp Clin Trials
28:105). Iterative estimators are roots found to the last digits, not iterations stopped early, and
of several maxima of a likelihood the highest is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from nssi_meta.inference.checked import Floats
from nssi_meta.inference.weighted import Design, trace_p, trace_pp, weighted_fit

Method = Literal[
    "REML", "DL", "PM", "MP", "ML", "HE", "SJ", "EB", "HS", "HSk", "PMM", "EE", "FE", "CE"
]
METHODS: tuple[str, ...] = get_args(Method)
COMMON = ("EE", "FE", "CE")
"""Names of the model without heterogeneity."""

_NODES = 32
_MANY = 20_000
"""From here on nodes are taken one by one, to hold memory linear in the studies."""


def tau2_estimate(d: Design, method: str) -> tuple[float, float]:
    """tau^2, not below 0, and its standard error, by one of `METHODS` (k > p is needed).

    The standard error is that of metafor: from the expected information for ML and REML, from the
    variance of the quadratic form for the others.
    """
    k, p = d.k, d.p
    df = k - p
    if method in ("ML", "REML"):
        tau2 = _likelihood_mode(d, method)
        fit = weighted_fit(d, 1.0 / (d.vi + tau2))
        info = float((fit.w**2).sum()) if method == "ML" else trace_pp(d, fit)
        return tau2, math.sqrt(2.0 / info)
    if method in ("PM", "MP", "EB", "PMM"):
        from scipy.special import chdtri

        target = float(chdtri(df, 0.5)) if method == "PMM" else float(df)
        tau2 = generalised_q_root(d, target)
        return tau2, math.sqrt(2.0 * k**2 / df) / float((1.0 / (d.vi + tau2)).sum())
    if method == "HE":
        fit = weighted_fit(d, np.ones(k))
        leverage = np.einsum("ki,ij,kj->k", d.Q, fit.A, d.Q)
        trace = float((d.vi * (1 - leverage)).sum())
        tau2 = max(0.0, (float(fit.rss) - trace) / df)
        square = trace_pp(d, fit, d.vi, d.vi)
        return tau2, math.sqrt(2 * square + 4 * tau2 * trace + 2 * tau2**2 * df) / df
    if method == "SJ":
        return _sidik_jonkman(d)
    fit = weighted_fit(d, 1.0 / d.vi)
    trace, square = float(trace_p(fit)), trace_pp(d, fit)
    if method == "DL":
        tau2, scale = max(0.0, (float(fit.rss) - df) / trace), 1 / trace
    else:
        factor = k / df if method == "HSk" else 1.0
        total = float(fit.w.sum())
        tau2, scale = max(0.0, (factor * float(fit.rss) - k) / total), factor / total
    return tau2, scale * math.sqrt(2 * df + 4 * tau2 * trace + 2 * tau2**2 * square)


def _sidik_jonkman(d: Design) -> tuple[float, float]:
    """Sidik and Jonkman (2005), started from the variance of the effects."""
    df = d.k - d.p
    start = float(np.var(d.yi))
    if start == 0:
        # The estimator is a multiple of its start: effects all equal give 0 without error.
        return 0.0, 0.0
    fit = weighted_fit(d, 1.0 / (d.vi + start))
    tau2 = start * float(fit.rss) / df
    square, mixed, both = (
        trace_pp(d, fit),
        trace_pp(d, fit, d.vi),
        trace_pp(d, fit, d.vi, d.vi),
    )
    return tau2, start / df * math.sqrt(2 * both + 4 * tau2 * mixed + 2 * tau2**2 * square)


def log_likelihood(d: Design, tau2: Floats | float, restricted: bool) -> Floats:
    """(Restricted) log-likelihood at tau^2 (...), all constants included, as metafor prints it."""
    t = np.asarray(tau2, dtype=float)
    total = d.vi + t[..., None]
    fit = weighted_fit(d, 1.0 / total)
    n = d.k - d.p if restricted else d.k
    value = -0.5 * (n * math.log(2 * math.pi) + np.log(total).sum(axis=-1) + fit.rss)
    # log det(X'X)/2 of metafor's REML cancels against the orthogonalisation.
    return np.asarray(value - 0.5 * fit.log_det if restricted else value)


def _score(d: Design, tau2: Floats, restricted: bool) -> Floats:
    """Derivative of twice the log-likelihood by tau^2, shape of `tau2`."""
    fit = weighted_fit(d, 1.0 / (d.vi + tau2[..., None]))
    trace = trace_p(fit) if restricted else fit.w.sum(axis=-1)
    return np.asarray((fit.w**2 * fit.resid**2).sum(axis=-1) - trace)


def _likelihood_mode(d: Design, method: str) -> float:
    restricted = method == "REML"

    def score(t: float) -> float:
        return float(_score(d, np.asarray(t), restricted))

    top = max(float(weighted_fit(d, np.ones(d.k)).rss), float(d.vi.min()))
    while score(top) >= 0:
        top *= 4
    low = min(float(d.vi.min()), top) * 1e-3
    nodes = np.concatenate([[0.0], np.geomspace(low, top, _NODES)])
    if d.k > _MANY:
        signs = np.array([score(t) for t in nodes])
    else:
        signs = _score(d, nodes, restricted)
    rising = (signs[:-1] > 0) & (signs[1:] <= 0)
    modes = [_root(score, nodes[i], nodes[i + 1]) for i in np.flatnonzero(rising)]
    if signs[0] <= 0:
        modes.insert(0, 0.0)
    if len(modes) == 1:
        return modes[0]
    heights = log_likelihood(d, np.asarray(modes), restricted)
    return modes[int(np.argmax(heights))]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    if function(high) == 0:
        return high
    return float(brentq(function, low, high, xtol=1e-300, rtol=4 * np.finfo(float).eps))


def generalised_q(d: Design, tau2: float) -> float:
    """Q at tau^2: the weighted residual sum of squares, which falls as tau^2 grows."""
    return float(weighted_fit(d, 1.0 / (d.vi + tau2)).rss)


def generalised_q_root(d: Design, target: float) -> float:
    """The tau^2 at which Q equals `target`, 0 where Q is smaller from the start."""
    if generalised_q(d, 0.0) <= target:
        return 0.0
    # Weights are below 1/tau^2, so Q(t) is below the unweighted sum of squares over t.
    top = float(weighted_fit(d, np.ones(d.k)).rss) / target * (1 + 1e-9)
    return _root(lambda t: generalised_q(d, t) - target, 0.0, top)


def q_profile(d: Design, level: float) -> tuple[float, float]:
    """Interval of tau^2 that inverts Q, exact under the model (Viechtbauer 2007, Stat Med 26:37).

    Where even the upper limit would be below 0, both are 0: the effects differ less than their
    errors explain.
    """
    from scipy.special import chdtri

    df, tail = d.k - d.p, (1 - level) / 2
    return (
        generalised_q_root(d, float(chdtri(df, tail))),
        generalised_q_root(d, float(chdtri(df, 1 - tail))),
    )


def profile_likelihood(d: Design, tau2: float, method: str, level: float) -> tuple[float, float]:
    """Interval of tau^2 from the (restricted) likelihood, `tau2` being its maximum."""
    from scipy.special import chdtri

    restricted = method == "REML"
    top = float(log_likelihood(d, tau2, restricted))
    drop = float(chdtri(1, 1 - level)) / 2

    def gap(t: float) -> float:
        return float(log_likelihood(d, t, restricted)) - top + drop

    low = 0.0 if gap(0.0) >= 0 else _root(gap, 0.0, tau2)
    high = 2 * tau2 + float(d.vi.max())
    while gap(high) > 0:
        high *= 2
    return low, _root(lambda t: -gap(t), tau2, high)


def typical_variance(d: Design) -> float:
    """Typical sampling variance, (k - p)/tr(P) (Higgins and Thompson 2002, Stat Med 21:1539)."""
    trace = float(trace_p(weighted_fit(d, 1.0 / d.vi)))
    return (d.k - d.p) / trace
