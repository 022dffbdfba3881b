"""One pool as a PyMC model: the same likelihood as the exact engine, for NUTS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.priors import Prior, PriorError

if TYPE_CHECKING:
    import pymc as pm


def prior_variable(name: str, prior: Prior, params: Any = None) -> Any:
    """A PyMC random variable for a named prior; `params` is a data node in place of its numbers."""
    import pymc as pm

    p = prior.params if params is None else params
    if prior.role == "mu":
        if prior.name == "normal":
            return pm.Normal(name, p[0], p[1])
        if prior.name == "student_t":
            return pm.StudentT(name, nu=p[0], mu=p[1], sigma=p[2])
        return pm.Flat(name)
    if prior.name == "halfnormal":
        return pm.HalfNormal(name, p[0])
    if prior.name == "halfcauchy":
        return pm.HalfCauchy(name, p[0])
    if prior.name == "halft":
        return pm.HalfStudentT(name, nu=p[0], sigma=p[1])
    if prior.name == "exponential":
        return pm.Exponential(name, scale=p[0])
    if prior.name == "lognormal":
        return pm.LogNormal(name, p[0], p[1])
    if prior.name == "lognormal2":
        return pm.LogNormal(name, p[0] / 2, p[1] / 2)
    if prior.name == "logt2":
        log_tau2 = pm.StudentT(f"log_{name}_squared", nu=p[0], mu=p[1], sigma=p[2])
        return pm.Deterministic(name, pm.math.exp(log_tau2 / 2))
    if prior.name == "invgamma":
        return pm.InverseGamma(name, alpha=p[0], beta=p[1])
    if prior.name == "uniform" and prior.proper:
        return pm.Uniform(name, p[0], p[1])
    if prior.name in ("flat", "uniform"):
        return pm.HalfFlat(name)
    raise PriorError(f"prior {prior} is for the exact engine alone: leave out engine nuts")


def pool_model(
    data: Layout,
    kind: NDArray[np.object_],
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None = None,
) -> pm.Model:
    """PyMC model of one pool: mu, tau and, where given a prior, omega; study effects integrated.

    `kind` (k,) is the rows' kind (exact, interval, unsigned) in the layout's order.
    """
    import pymc as pm
    import pytensor.tensor as pt

    with pm.Model() as model:
        mu = prior_variable("mu", mu_prior)
        tau = prior_variable("tau", tau_prior)
        omega = None if omega_prior is None else prior_variable("omega", omega_prior)
        ones = np.ones(data.k)
        add_evidence(data, kind, pt.as_tensor(mu) * ones, pt.as_tensor(tau) * ones, omega)
    return model
