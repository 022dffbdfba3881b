"""The exact engine for two-by-two counts: binomial likelihoods, every study's effects integrated.

Each study's likelihood of its log odds ratio, L_i(theta), is computed once on panels of its own.
For every node of (mu, tau) the study's part is the integral of L_i(theta) N(theta; mu, tau^2): over
the panels' nodes where tau is wide against L_i, by Gauss-Hermite quadrature of the interpolated
log L_i where it is narrow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import legendre
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import log_ndtr

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.axes import heavy_mu_axis, heavy_sd_axis, mu_axis, sd_axis, tau_scale
from nssi_meta.inference.bayes_factors import BayesFactors
from nssi_meta.inference.conditions import tails
from nssi_meta.inference.exact import ExactPosterior, assemble
from nssi_meta.inference.panels import to_coefficients
from nssi_meta.models.blocks import Layout, independent
from nssi_meta.models.priors import TAU_DEFAULT, Prior, PriorError, check_propriety
from nssi_meta.models.two_by_two import Counts, log_likelihood

Floats = NDArray[np.float64]

#: Nodes of a panel, panel width in curvature radii of log L, its cap, and that of the radius.
_N, _WIDTH, _CAP, _SHOULDER = 16, 6.0, 3.0, 1.25
#: Below this ratio of tau to the curvature radius, Gauss-Hermite quadrature takes over.
_NARROW, _HERMITE, _MODE_STEPS = 0.8, 24, 4
#: How far below its peak (in logs) a likelihood is followed on fine panels.
_DEPTH = 45.0


@dataclass(frozen=True)
class _Curve:
    """log L of one study: `width` its curvature radius, values at Legendre nodes of panels."""

    width: float
    edges: Floats
    theta: Floats
    log_weight: Floats
    values: Floats
    coef: Floats
    ends: tuple[float, float]

    def at(self, theta: Floats, derivative: int = 0) -> Floats:
        """log L, or a derivative of it, at any theta; level beyond the last panels."""
        t = np.clip(theta, self.edges[0], self.edges[-1])
        panel = np.clip(np.searchsorted(self.edges, t, side="right") - 1, 0, len(self.edges) - 2)
        low, high = self.edges[panel], self.edges[panel + 1]
        coef = legendre.legder(self.coef, derivative, axis=1)[panel]
        u = (2 * t - low - high) / (high - low)
        value: Floats = np.asarray(legendre.legval(u, np.moveaxis(coef, -1, 0), tensor=False))
        if not derivative:
            return value
        return np.asarray(np.where(t == theta, value * (2 / (high - low)) ** derivative, 0.0))

    def narrow(self, mu: Floats, tau: Floats) -> Floats:
        """log of the integral of L(theta) N(theta; mu, tau^2) where tau is small: (M, T).

        Gauss-Hermite quadrature about the mode of the product, which a few Newton steps find
        because log L is concave and, within tau, nearly straight.
        """
        node, weight = hermegauss(_HERMITE)
        mode = np.repeat(mu[:, None], len(tau), axis=1)
        for _ in range(_MODE_STEPS):
            bend = 1.0 - tau**2 * np.minimum(self.at(mode, 2), 0.0)
            mode -= (mode - mu[:, None] - tau**2 * self.at(mode, 1)) / bend
        bend = 1.0 - tau**2 * np.minimum(self.at(mode, 2), 0.0)
        away, spread = tau * self.at(mode, 1), 1.0 / np.sqrt(bend)
        z = away[..., None] + spread[..., None] * node  # (theta - mu) / tau
        value = self.at(mu[:, None, None] + tau[:, None] * z) - 0.5 * z**2 + 0.5 * node**2
        value += np.log(weight / weight.sum())
        top = value.max(axis=-1)
        return np.asarray(top + np.log(np.exp(value - top[..., None]).sum(axis=-1) * spread))


def fit_counts(
    data: Counts, *, mu_prior: Prior, tau_prior: Prior, baseline_prior: Prior
) -> ExactPosterior:
    """Posterior of the mean log odds ratio mu and of tau, by quadrature.

    `baseline_prior` is the normal prior of every study's control log odds; the tau prior `zero` is
    the fixed-effect model. Raises `PriorError` for another baseline, for a tau prior that follows
    sampling variances (counts have none) and for an improper posterior, FloatingPointError when
    quadrature does not resolve it.
    """
    if baseline_prior.name != "normal":
        raise PriorError(
            f"the prior of the baseline log odds must be normal, not {baseline_prior}: "
            "use normal(0,10) for next to no information"
        )
    if tau_prior.family.from_data:
        raise PriorError(
            f"the prior {tau_prior} follows sampling variances, and counts have none: use "
            f"{TAU_DEFAULT} or another prior with a scale of its own"
        )
    y, v = data.log_odds_ratio()
    # A table with an empty cell limits the odds ratio on one side at most.
    full = (data.a > 0) & (data.a < data.n1) & (data.c > 0) & (data.c < data.n2)
    check_propriety(mu_prior, tau_prior, int(full.sum()), int(full.sum()))
    layout = independent(y, v)
    scale = tau_scale(layout)
    mean, sd = baseline_prior.params
    curves = _curves(data, y, np.sqrt(v), mean, sd)

    fixed = tau_prior.name == "zero"

    def on_grid(mu: Floats, *sds: Floats) -> Floats:
        if fixed:
            return np.asarray(mu_prior.logpdf(mu) + _log_marginal(curves, mu, np.zeros(1))[:, 0])
        prior = mu_prior.logpdf(mu)[:, None] + tau_prior.logpdf(sds[0])
        return prior + _log_marginal(curves, mu, sds[0])

    fall = tails(limits(data), mu_prior, tau_prior)
    others = [] if fixed else [tau_prior]
    axes = [heavy_mu_axis(limits(data), mu_prior, others, scale, fall)]
    if not fixed:
        axes.append(heavy_sd_axis(tau_prior, layout, scale, fall.tau, int(full.sum()) - 1))
    grid = integrate(on_grid, [a for a, _ in axes], [e for _, e in axes], tol=1e-6)
    zero = np.zeros(1)
    mu, tau = (grid.x[0], zero) if fixed else (grid.x[0][:, None], grid.x[1])
    proper = mu_prior.proper and tau_prior.proper
    free = (not fixed, False)
    return assemble(grid, mu, zero, tau, zero, free, proper, fall, grid.marginal(0))


def counts_bayes_factors(
    data: Counts, *, mu_prior: Prior, tau_prior: Prior, baseline_prior: Prior, mu: float = 0.0
) -> BayesFactors:
    """Bayes factors of a pool of counts against a mean of `mu` and against tau = 0.

    The other parameters keep their priors under the null. Raises `PriorError` for improper priors,
    under which there is none.
    """
    for prior in (mu_prior, tau_prior):
        if not prior.proper:
            raise PriorError(f"no marginal likelihood exists under the improper prior {prior}")
    full = fit_counts(
        data, mu_prior=mu_prior, tau_prior=tau_prior, baseline_prior=baseline_prior
    ).log_evidence
    y, v = data.log_odds_ratio()
    layout, (mean, sd) = independent(y, v), baseline_prior.params
    curves, scale = _curves(data, y, np.sqrt(v), mean, sd), tau_scale(layout)

    def of_tau(tau: Floats) -> Floats:
        return tau_prior.logpdf(tau) + _log_marginal(curves, np.array([mu]), tau)[0]

    def of_mu(at: Floats) -> Floats:
        return mu_prior.logpdf(at) + np.sum([curve.at(at) for curve in curves], axis=0)

    total = float("nan") if full is None else full
    if tau_prior.name == "zero":
        at_null = sum(float(curve.at(np.array([mu]))[0]) for curve in curves)
        return BayesFactors(total, total - at_null, None, mu)
    null = []
    for density, (axis, first) in (
        (of_tau, sd_axis(tau_prior, layout, scale)),
        (of_mu, mu_axis(layout, mu_prior, scale)),
    ):
        null.append(integrate(density, [axis], [first], tol=1e-9).log_integral)
    return BayesFactors(total, total - null[0], total - null[1], mu)


def limits(data: Counts) -> Layout:
    """What the tables say of tails: an effect, or a bound where the likelihood stays up.

    Without any event among the treated the log odds ratio may be as low as it likes, and without
    any but events as high. A control group of either kind does not do that: the baseline, whose
    prior is normal, would have to go as far the other way.
    """
    y, v = data.log_odds_ratio()
    none, every = data.a == 0, data.a == data.n1
    open_end = none | every
    rows = np.arange(len(y))
    return replace(
        independent(y, v),
        y=np.where(open_end, np.nan, y),
        lower=np.where(every, y, np.where(none, -np.inf, np.nan)),
        upper=np.where(none, y, np.where(every, np.inf, np.nan)),
        single_exact=rows[~open_end],
        single_beyond=rows[open_end],
    )


def _curves(data: Counts, y: Floats, s: Floats, mean: float, sd: float) -> list[_Curve]:
    """The studies' likelihoods on a common range, narrow ones first."""
    scans = []
    for i in range(len(y)):
        one = data.one(i)
        theta = y[i] + s[i] * np.linspace(-60, 60, 361)
        value = log_likelihood(one, theta, mean, sd)
        step = theta[1] - theta[0]
        bend = -np.diff(value, 2).min() / step**2
        core = value > value.max() - _DEPTH
        level = []
        for end, next_to in ((0, 1), (-1, -2)):
            # Empty cells: a likelihood that stays up on a side is constant from some point on.
            near = np.abs(value - value[end]) < 1e-13 * max(1.0, abs(value[end]))
            level.append(bool(core[end] and near[next_to]))
            core &= ~near
        inside = theta[core] if core.any() else theta[[180]]
        # The shoulder of a flat likelihood is a logistic curve, whatever its curvature.
        width = 1 / np.sqrt(max(bend, _SHOULDER**-2))
        scans.append((one, width, (inside.min(), inside.max()), level))
    low = min(s[2][0] for s in scans) - 1.0
    high = max(s[2][1] for s in scans) + 1.0
    curves = []
    for one, width, (first, last), (left, right) in scans:
        ends = first if left else low, last if right else high
        curves.append(_curve(one, width, (first, last), ends, mean, sd))
    return sorted(curves, key=lambda c: c.width)


def _curve(
    one: Counts,
    width: float,
    core: tuple[float, float],
    ends: tuple[float, float],
    mean: float,
    sd: float,
) -> _Curve:
    """Panels of equal width over the core, doubling from there to the ends of the range.

    Beyond its core a likelihood matters only where tau is narrow, and log L is smooth; one that
    stays up there is level, and its integral is closed by the normal distribution function.
    """
    size = min(_WIDTH * width, _CAP)
    n = max(1, int(np.ceil((core[1] - core[0]) / size)))
    middle = np.linspace(core[0], max(core[1], core[0] + size), n + 1)
    left, right = [middle[0]], [middle[-1]]
    for side, edge, end in ((left, -1.0, ends[0]), (right, 1.0, ends[1])):
        step = size
        while edge * (end - side[-1]) > 0:
            side.append(edge * min(edge * side[-1] + step, edge * end))
            step *= 2
    edges = np.array([*left[:0:-1], *middle, *right[1:]])
    x, w = legendre.leggauss(_N)
    half, mid = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    theta = (mid + half * x).ravel()
    values = log_likelihood(one, theta, mean, sd)
    coef = values.reshape(-1, _N) @ to_coefficients(_N).T
    at_ends = log_likelihood(one, np.array([edges[0], edges[-1]]), mean, sd)
    log_weight = np.log(half * w).ravel()
    return _Curve(width, edges, theta, log_weight, values, coef, tuple(at_ends.tolist()))


def _log_marginal(curves: list[_Curve], mu: Floats, tau: Floats) -> Floats:
    """Sum over studies of log of the integral of L_i(theta) N(theta; mu, tau^2): (M, T)."""
    out = np.zeros((len(mu), len(tau)))
    starts = np.cumsum([0, *(len(c.theta) for c in curves)])
    theta = np.concatenate([c.theta for c in curves])
    tops = np.array([c.values.max() for c in curves])
    weight = np.concatenate(
        [np.exp(c.values - top + c.log_weight) for c, top in zip(curves, tops, strict=True)]
    )
    limit = _NARROW * np.array([c.width for c in curves])
    wide = np.searchsorted(limit, tau, side="right")
    for j in np.flatnonzero(wide > 0).tolist():
        m = int(wide[j])
        part = slice(0, starts[m])
        z = (theta[part] - mu[:, None]) / tau[j]
        z *= -0.5 * z
        kernel = np.exp(z)
        kernel *= weight[part]
        sums = np.add.reduceat(kernel, starts[:m], axis=1) / (tau[j] * np.sqrt(2 * np.pi))
        for i, curve in enumerate(curves[:m]):
            below, above = (np.exp(e - tops[i]) for e in curve.ends)
            sums[:, i] += below * np.exp(log_ndtr((curve.edges[0] - mu) / tau[j]))
            sums[:, i] += above * np.exp(log_ndtr((mu - curve.edges[-1]) / tau[j]))
        with np.errstate(divide="ignore"):
            out[:, j] += (np.log(sums) + tops[:m]).sum(axis=1)
    for i, curve in enumerate(curves):
        narrow = np.flatnonzero(wide <= i)
        if narrow.size:
            out[:, narrow] += curve.narrow(mu, tau[narrow])
    return out
