"""The exact engine for two-by-two counts: binomial likelihoods, every study's effects integrated.

The studies' parts in (mu, tau) are those of `curves`; quadrature runs over mu and tau.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.axes import heavy_mu_axis, heavy_sd_axis, mu_axis, sd_axis, tau_scale
from nssi_meta.inference.bayes_factors import BayesFactors
from nssi_meta.inference.conditions import tails
from nssi_meta.inference.curves import log_marginal, study_curves
from nssi_meta.inference.exact import ExactPosterior, assemble
from nssi_meta.models.blocks import Layout, independent
from nssi_meta.models.priors import Prior, PriorError, check_propriety
from nssi_meta.models.two_by_two import Counts, log_likelihood

Floats = NDArray[np.float64]

#: Priors of log odds ratios: |mu| < 4 and tau < 2 with probability 0.95.
MU, TAU = "normal(0,2)", "halfnormal(1)"


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
            f"{TAU} or another prior with a scale of its own"
        )
    y, v = data.log_odds_ratio()
    _check_tables(data, mu_prior, tau_prior)
    layout = independent(y, v)
    scale = tau_scale(layout)
    mean, sd = baseline_prior.params
    curves = study_curves(data, mean, sd)

    fixed = tau_prior.name == "zero"

    def on_grid(mu: Floats, *sds: Floats) -> Floats:
        if fixed:
            return np.asarray(mu_prior.logpdf(mu) + _common(data, mu, mean, sd))
        prior = mu_prior.logpdf(mu)[:, None] + tau_prior.logpdf(sds[0])
        return prior + log_marginal(curves, mu, sds[0])

    fall = tails(limits(data), mu_prior, tau_prior)
    others = [] if fixed else [tau_prior]
    axes = [heavy_mu_axis(limits(data), mu_prior, others, scale, fall)]
    if not fixed:
        full = int((~data.has_empty_cell()).sum())
        axes.append(heavy_sd_axis(tau_prior, layout, scale, fall.tau, full - 1))
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
    curves, scale = study_curves(data, mean, sd), tau_scale(layout)

    def of_tau(tau: Floats) -> Floats:
        return tau_prior.logpdf(tau) + log_marginal(curves, np.array([mu]), tau)[0]

    def of_mu(at: Floats) -> Floats:
        return mu_prior.logpdf(at) + _common(data, at, mean, sd)

    total = float("nan") if full is None else full
    if tau_prior.name == "zero":
        at_null = float(_common(data, np.array([mu]), mean, sd)[0])
        return BayesFactors(total, total - at_null, None, mu)
    null = []
    for density, (axis, first) in (
        (of_tau, sd_axis(tau_prior, layout, scale)),
        (of_mu, mu_axis(layout, mu_prior, scale)),
    ):
        null.append(integrate(density, [axis], [first], tol=1e-9).log_integral)
    return BayesFactors(total, total - null[0], total - null[1], mu)


def _common(data: Counts, mu: Floats, mean: float, sd: float) -> Floats:
    """Log likelihood (n,) of all tables where each has the log odds ratio mu (n,).

    Not from `curves`, which are straight lines far from a table's own effect.
    """
    tables = range(len(data.a))
    return np.asarray(sum(log_likelihood(data.one(i), mu, mean, sd) for i in tables))


def _check_tables(data: Counts, mu: Prior, tau: Prior) -> None:
    """Refuse improper priors for which there are too few tables, in the words of counts."""
    # A table with an empty cell limits the odds ratio on one side at most.
    full = int((~data.has_empty_cell()).sum())

    def enough(n: int) -> bool:
        try:
            check_propriety(mu, tau, n, n)
        except PriorError:
            return False
        return True

    if enough(full):
        return
    need = next(n for n in range(full + 1, full + 10) if enough(n))
    what, instead = "a flat prior on mu", MU
    if not tau.proper:
        what, instead = f"an improper prior on tau ({tau}) with {mu} on mu", TAU
    raise PriorError(
        f"{what} needs at least {need} {'study' if need == 1 else 'studies'} without an empty "
        f"cell, here {full} of {len(data.a)}: a table with an empty cell limits the odds ratio on "
        f"one side at most; use a proper prior such as {instead}"
    )


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
