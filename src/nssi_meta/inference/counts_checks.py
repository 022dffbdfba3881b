"""Checks of a pool of two-by-two tables: drawn tables beside the observed, and power-scaling.

Drawn reviews have new study effects, theta ~ N(mu, tau^2), in the groups that were observed: the
baseline of a table is design, as sampling variances are elsewhere. Under the posterior it is drawn
from what the whole table says of it, under the prior from what its control group says.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from nssi_meta.inference.counts_effects import table_effect_draws
from nssi_meta.inference.curves import log_marginal, study_curves
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.log_concave import log_concave_draws
from nssi_meta.inference.predictive import beside
from nssi_meta.inference.replicate import ALPHA
from nssi_meta.inference.sensitivity_prior import power_scaling_of_nodes
from nssi_meta.models.priors import Prior
from nssi_meta.models.two_by_two import Counts, baseline

Floats = NDArray[np.float64]

LABELS = {
    "spread": "SD of the log odds ratios",
    "significant": "share of significant tables",
    "largest_z": "largest |log odds ratio| / standard error",
    "empty": "share of tables with an empty cell",
}


def table_checks(
    data: Counts, prior: Prior, draws: Mapping[str, tuple[Floats, Floats]], seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of `predictive.predictive_checks`, of drawn tables.

    Parameters
    ----------
    data
        The observed tables (k,).
    prior
        Normal prior of the baselines.
    draws
        mu and tau (S,) by source, "prior" and "posterior".
    seed
        Of the drawn reviews.

    Log odds ratios and their errors are taken with 1/2 added to every cell, in drawn tables and in
    observed ones. A spread is left out where there is one table.
    """
    known = {name: float(value[0]) for name, value in _statistics(_row(data)).items()}
    rng = np.random.default_rng([seed, 2])
    drawn = {
        source: _statistics(_replicate(data, prior, *pair, source == "posterior", rng))
        for source, pair in draws.items()
    }
    return beside(known, drawn, LABELS)


def table_power_scaling(
    data: Counts, posterior: ExactPosterior, *, mu_prior: Prior, tau_prior: Prior, baseline: Prior
) -> pd.DataFrame:
    """`power_scaling` of a pool of tables: exact, on the posterior's own nodes.

    The prior of the baselines belongs to the likelihood and is not scaled by itself.
    """
    mu, i = np.unique(posterior.mu_mean, return_inverse=True)
    tau, j = np.unique(posterior.tau, return_inverse=True)
    value = log_marginal(study_curves(data, *baseline.params), mu, tau)
    at_nodes = np.where(posterior.weight > 0, value[i, j], 0.0)
    return power_scaling_of_nodes(posterior, at_nodes, mu_prior=mu_prior, tau_prior=tau_prior)


def _row(data: Counts) -> Counts:
    """The observed tables as one review (1, k)."""
    return Counts(*(x[None, :] for x in data))


def _replicate(
    data: Counts, prior: Prior, mu: Floats, tau: Floats, whole: bool, rng: np.random.Generator
) -> Counts:
    """Drawn tables (S, k); `whole` tells whether baselines follow both groups of a table."""
    k = len(data.a)
    theta = table_effect_draws(data, prior, mu, tau, rng) if whole else np.zeros((len(mu), k))
    new = mu[:, None] + tau[:, None] * rng.standard_normal((len(mu), k))
    a, c = np.empty_like(new), np.empty_like(new)
    for i in range(k):
        one = data.one(i)
        if not whole:
            one = one._replace(a=np.zeros(1), n1=np.zeros(1))
        base = _baselines(one, theta[:, i], prior, rng)
        a[:, i] = rng.binomial(int(data.n1[i]), expit(base + new[:, i]))
        c[:, i] = rng.binomial(int(data.n2[i]), expit(base))
    return Counts(a, np.broadcast_to(data.n1, a.shape), c, np.broadcast_to(data.n2, c.shape))


def _baselines(one: Counts, theta: Floats, prior: Prior, rng: np.random.Generator) -> Floats:
    """A control log odds (S,) at each `theta` (S,), from what the table says of it."""
    said = baseline(one, theta, *prior.params)

    def log_density(x: Floats, i: NDArray[np.intp]) -> Floats:
        return said.log_density(x, theta[i]) - said.log_total[i]

    return log_concave_draws(log_density, said.mode, rng)


def _statistics(data: Counts) -> dict[str, Floats]:
    """Each statistic (S,) of tables (S, k)."""
    y, v = data.log_odds_ratio()
    z = np.abs(y) / np.sqrt(v)
    out = {
        "significant": (z > ndtri(1 - ALPHA / 2)).mean(axis=1),
        "largest_z": z.max(axis=1),
        "empty": data.has_empty_cell().mean(axis=1),
    }
    return {"spread": y.std(axis=1, ddof=1), **out} if y.shape[1] > 1 else out
