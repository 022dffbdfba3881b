"""Bayes factors of one pool: evidence for a mean other than a given value, and for heterogeneity.

Each is the ratio of two marginal likelihoods by quadrature, good to about ten digits. Above 1 it
speaks for the alternative. It depends on the width of the prior of the tested parameter even
where the posterior hardly does (Lindley 1957).
"""

from __future__ import annotations

from dataclasses import dataclass

from nssi_meta.inference.exact import log_evidence
from nssi_meta.models.blocks import Layout
from nssi_meta.models.priors import Prior


@dataclass(frozen=True)
class BayesFactors:
    """Natural logs: marginal likelihood of the model, BF10 of mu = `mu`, BF10 of tau = 0.

    `log_tau` is None in the fixed-effect model, where tau is 0 anyway.
    """

    log_evidence: float
    log_mu: float
    log_tau: float | None
    mu: float = 0.0


def bayes_factors(
    layout: Layout,
    *,
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None = None,
    mu: float = 0.0,
) -> BayesFactors:
    """Bayes factors of one pool against mu = `mu` and against tau = 0.

    The other parameters keep their priors under the null. Raises `PriorError` when a prior is
    improper: its unknown constant would be a factor of the answer.
    """

    def log_p(mu_free: bool, tau_free: bool) -> float:
        return log_evidence(
            layout,
            mu_prior=mu_prior if mu_free else None,
            tau_prior=tau_prior if tau_free else None,
            omega_prior=omega_prior,
            mu=mu,
        )

    full = log_p(True, True)
    null = full - log_p(False, True)
    fixed = tau_prior.name == "zero"
    return BayesFactors(full, null, None if fixed else full - log_p(True, False), mu)
