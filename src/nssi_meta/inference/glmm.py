"""Binomial-normal models of counts by maximum likelihood, as metafor's `rma.glmm`.

Study effects theta_i ~ N(mu, tau^2) are integrated by Gauss-Hermite quadrature about each mode
(Stijnen, Hamza and Ozdemir 2010, Stat Med 29:3046). No zero cell needs a correction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nssi_meta.inference.checked import Floats, check_level, column, refuse
from nssi_meta.inference.components_fit import hessian, minimum
from nssi_meta.inference.mantel_haenszel import read_tables
from nssi_meta.inference.tests_and_limits import critical, two_sided
from nssi_meta.models.two_by_two import log_choose

Model = Literal["UM.FS", "CM.EL", "CM.AL"]
MODELS: tuple[str, ...] = get_args(Model)

# Log-likelihood of theta (k, q) and alpha (k), its first two derivatives by theta, one by alpha.
Terms = tuple[Floats, Floats, Floats, Floats]
Study = Callable[[Floats, Floats], Terms]

_NODES = 40
_LEAST_TAU = 1e-7


@dataclass(frozen=True)
class Glmm:
    """Mean log odds ratio (or log odds) `beta`, heterogeneity, and the likelihood-ratio test of it.

    `QE` is twice the log-likelihood gained by one effect a study over one effect for all, `k` the
    studies with information. `logLik` has the binomial constants and, under ML, integrates over the
    studies' effects.
    """

    model: str
    method: str
    k: int
    beta: float
    se: float
    zval: float
    pval: float
    ci_lb: float
    ci_ub: float
    tau2: float
    logLik: float
    QE: float
    QEp: float


def rma_glmm(
    ai: ArrayLike,
    bi: ArrayLike,
    ci: ArrayLike,
    di: ArrayLike,
    model: Model = "UM.FS",
    method: Literal["ML", "EE"] = "ML",
    level: float = 0.95,
) -> Glmm:
    """Mean log odds ratio of tables (cases with and without the event, controls the same).

    Parameters
    ----------
    model
        UM.FS: binomial arms, one parameter for each study's overall risk. CM.EL: given the total
        of events, exactly (noncentral hypergeometric). CM.AL: the same, approximated for rare
        events by a binomial.
    method
        ML, or EE: tau^2 = 0.

    Raises
    ------
    ValueError
        Bad counts, no table with events and non-events, or no finite estimate.
    """
    problems: list[str] = []
    check_level(level, problems)
    _check(model, MODELS, "model", problems)
    _check(method, ("ML", "EE"), "method", problems)
    a, b, c, d = read_tables(ai, bi, ci, di, problems)
    told = (a + c > 0) & (b + d > 0)
    if not told.any():
        refuse(["no table has both events and non-events: nothing to compare"])
    a, b, c, d = a[told], b[told], c[told], d[told]
    if (a == 0).all() or (c == 0).all() or (b == 0).all() or (d == 0).all():
        refuse(["one group has no events, or nothing but events, in every table: no finite odds"])
    n1, n2, none = a + b, c + d, np.zeros(0)
    if model == "CM.EL":
        study = _exact(a, b, c, d)
        edge = (a == np.maximum(0, a + c - n2)) | (a == np.minimum(n1, a + c))
        return _fit(study, _own_effects(study, edge), none, len(a), model, method, level)
    if model == "CM.AL":
        study = _binomial(a, a + c, np.log(n1 / n2))
        return _fit(study, _own_risks(a, a + c), none, len(a), model, method, level)
    start = (np.log((a + 0.5) / (b + 0.5)) + np.log((c + 0.5) / (d + 0.5))) / 2
    highest = _own_risks(a, n1) + _own_risks(c, n2)
    return _fit(_arms(a, b, c, d), highest, start, len(a), model, method, level)


def rma_logit(
    xi: ArrayLike, ni: ArrayLike, method: Literal["ML", "EE"] = "ML", level: float = 0.95
) -> Glmm:
    """Mean log odds of events `xi` (k) among `ni` (k), as ``rma.glmm(measure="PLO")``.

    Raises
    ------
    ValueError
        Bad counts, or events in nobody or in everybody.
    """
    problems: list[str] = []
    check_level(level, problems)
    _check(method, ("ML", "EE"), "method", problems)
    x, n = column(xi, "xi", problems), column(ni, "ni", problems, positive=True)
    if len(x) != len(n):
        problems.append(f"xi has {len(x)} values and ni {len(n)}; remedy: one of each per study")
    elif not len(x):
        problems.append("there is no study; remedy: give at least one")
    else:
        for i in np.flatnonzero((x < 0) | (x > n))[:5]:
            problems.append(f"xi[{i}] = {x[i]:g} is not between 0 and ni[{i}] = {n[i]:g}; remedy: "
                            "check both")  # fmt: skip
    refuse(problems)
    if x.sum() in (0, n.sum()):
        refuse(["events in nobody or in everybody: no finite odds; remedy: a Bayesian model"])
    study = _binomial(x, n, np.zeros(len(x)))
    return _fit(study, _own_risks(x, n), np.zeros(0), len(x), "PLO", method, level)


def _check(value: str, allowed: tuple[str, ...], name: str, problems: list[str]) -> None:
    if value not in allowed:
        problems.append(f"{name} = {value!r} is not known; allowed: {', '.join(allowed)}")


def _binomial(x: Floats, n: Floats, offset: Floats) -> Study:
    """x ~ Bin(n, p), logit p = offset + theta."""
    from scipy.special import expit

    constant = log_choose(n, x)[:, None]

    def terms(theta: Floats, alpha: Floats) -> Terms:
        eta = theta + offset[:, None]
        p = expit(eta)
        value = constant + x[:, None] * eta - n[:, None] * np.logaddexp(0, eta)
        slope = x[:, None] - n[:, None] * p
        return value, slope, -n[:, None] * p * (1 - p), np.zeros_like(eta)

    return terms


def _arms(a: Floats, b: Floats, c: Floats, d: Floats) -> Study:
    """Two binomial arms with logits alpha + theta/2 and alpha - theta/2."""
    case = _binomial(a, a + b, np.zeros(len(a)))
    control = _binomial(c, c + d, np.zeros(len(a)))

    def terms(theta: Floats, alpha: Floats) -> Terms:
        f1, g1, h1, _ = case(alpha[:, None] + theta / 2, alpha)
        f2, g2, h2, _ = control(alpha[:, None] - theta / 2, alpha)
        return f1 + f2, (g1 - g2) / 2, (h1 + h2) / 4, g1 + g2

    return terms


def _exact(a: Floats, b: Floats, c: Floats, d: Floats) -> Study:
    """a given all margins: noncentral hypergeometric with log odds ratio theta."""
    from scipy.special import logsumexp

    n1, n2, t = a + b, c + d, a + c
    low, high = np.maximum(0, t - n2), np.minimum(n1, t)
    steps = np.arange(int((high - low).max()) + 1)
    x = np.minimum(low[:, None] + steps, high[:, None])
    inside = low[:, None] + steps <= high[:, None]
    weight = log_choose(n1[:, None], x) + log_choose(n2[:, None], t[:, None] - x)
    weight = np.where(inside, weight, -np.inf)
    own = log_choose(n1, a) + log_choose(n2, c)

    def terms(theta: Floats, alpha: Floats) -> Terms:
        total, mean, square = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
        for j in range(theta.shape[1]):  # one node at a time: memory stays (k, support)
            logs = weight + x * theta[:, j : j + 1]
            total[:, j] = logsumexp(logs, axis=1)
            p = np.exp(logs - total[:, j : j + 1])
            mean[:, j] = (p * x).sum(axis=1)
            square[:, j] = (p * (x - mean[:, j : j + 1]) ** 2).sum(axis=1)
        value = own[:, None] + a[:, None] * theta - total
        return value, a[:, None] - mean, -square, np.zeros_like(theta)

    return terms


def _fit(
    study: Study, highest: float, alpha: Floats, k: int, model: str, method: str, level: float
) -> Glmm:
    """Maximise over alpha, mu and tau; errors from the observed information of all of them.

    `highest` is the log-likelihood with one effect a study.
    """
    from scipy.special import chdtrc

    none = np.zeros(k)
    n = len(alpha)

    def common(x: Floats) -> tuple[float, Floats]:
        effects = x[:n] if n else none
        f, g, _, by_alpha = study(np.full((k, 1), x[n]), effects)
        head = by_alpha[:, 0] if n else np.zeros(0)
        return -float(f.sum()), -np.concatenate([head, [g.sum()]])

    def mixed(x: Floats) -> tuple[float, Floats]:
        return _integrated(study, x[:n] if n else none, float(x[n]), float(x[n + 1]), n > 0)

    best, height = minimum(common, [np.append(alpha, 0.0)])
    x, tau2 = best, 0.0
    objective = common
    if method == "ML" and k > 1:
        mu = best[n]
        found, lower = minimum(mixed, [np.append(best, s) for s in (0.3, 1.0)])
        if abs(found[n + 1]) > 1e-4 and lower < height:
            x, height, tau2, objective = found, lower, float(found[n + 1] ** 2), mixed
        elif abs(mu) > 1e3:
            refuse(["the likelihood has no finite maximum; remedy: a Bayesian model"])
    elif method == "ML":
        refuse(["tau2 cannot be estimated from one informative table; remedy: method='EE'"])
    information = hessian(objective, x)
    se = float(np.sqrt(np.linalg.inv(information)[n, n]))
    QE = 2 * (highest + common(best)[0])
    beta, half = float(x[n]), critical(level, None) * se
    p = float(two_sided(np.asarray(beta / se), None))
    QEp = float(chdtrc(k - 1, max(0.0, QE))) if k > 1 else 1.0
    return Glmm(
        model=model, method=method, k=k, beta=beta, se=se, zval=beta / se, pval=p,
        ci_lb=beta - half, ci_ub=beta + half, tau2=tau2, logLik=-height, QE=max(0.0, QE), QEp=QEp,
    )  # fmt: skip


def _own_risks(x: Floats, n: Floats) -> float:
    """Log-likelihood of x among n, each with a risk of its own, x / n."""
    from scipy.special import xlogy

    return float((log_choose(n, x) + xlogy(x, x / n) + xlogy(n - x, 1 - x / n)).sum())


def _own_effects(study: Study, edge: NDArray[np.bool_]) -> float:
    """The same of tables given their margins, each with an odds ratio of its own.

    Where a is as small or as large as the margins allow (`edge`) an infinite one makes it certain.
    """
    theta, none = np.zeros((len(edge), 1)), np.zeros(len(edge))
    for _ in range(200):
        _, g, h, _ = study(theta, none)
        step = np.where(edge[:, None], 0.0, np.clip(-g / np.minimum(h, -1e-12), -1, 1))
        theta = theta + step
        if np.abs(step).max() < 1e-10:
            break
    return float(study(theta, none)[0][~edge].sum())


def _integrated(
    study: Study, alpha: Floats, mu: float, s: float, with_alpha: bool
) -> tuple[float, Floats]:
    """Minus the integrated log-likelihood and its gradient by alpha (if any), mu and tau = |s|."""
    tau = max(abs(s), _LEAST_TAU)
    k = len(alpha)
    mode = np.full((k, 1), mu)
    for _ in range(50):
        _, g, h, _ = study(mode, alpha)
        step = (g - (mode - mu) / tau**2) / (1 / tau**2 - h)
        mode = mode + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10 * max(1.0, tau):
            break
    spread = 1 / np.sqrt(1 / tau**2 - study(mode, alpha)[2])
    z, w = np.polynomial.hermite_e.hermegauss(_NODES)
    theta = mode + spread * z
    f, _, _, by_alpha = study(theta, alpha)
    away = (theta - mu) / tau
    logs = f - away**2 / 2 - np.log(tau) + np.log(spread) + z**2 / 2 + np.log(w)
    top = logs.max(axis=1, keepdims=True)
    share = np.exp(logs - top)
    total = share.sum(axis=1, keepdims=True)
    share /= total
    value = float((np.log(total) + top).sum()) - k * math.log(2 * math.pi) / 2
    by_mu = float((share * away).sum()) / tau
    by_tau = float((share * (away**2 - 1)).sum()) / tau * (1.0 if s >= 0 else -1.0)
    head = (share * by_alpha).sum(axis=1) if with_alpha else np.zeros(0)
    return -value, -np.concatenate([head, [by_mu, by_tau]])
