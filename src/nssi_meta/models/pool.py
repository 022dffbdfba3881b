"""One pool as a PyMC model: the same likelihood as the exact engine, for NUTS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import layout_key, layout_nodes, layout_values
from nssi_meta.models.priors import Prior, PriorError
from nssi_meta.models.structure import (
    FIXED,
    Draws,
    Floats,
    Recipe,
    Values,
    data_nodes,
    prior_key,
    prior_values,
)

if TYPE_CHECKING:
    import pymc as pm


#: Priors that are a symmetric density folded at 0. The models know tau^2 and omega^2 only, so that
#: with a sign they are smooth through 0, where a logarithm would have a long tail to the left. (But
#: for a kink at tau = 0, given g, where a study's bounds are of different people: their common part
#: is tau alone.)
_FOLDED, _FOLD = ("halfnormal", "halfcauchy", "halft"), "_folded"


def prior_variable(name: str, prior: Prior, params: Any = None, *, folded: bool = True) -> Any:
    """A PyMC random variable for a named prior; `params` is a data node in place of its numbers.

    An SD is sampled with a sign where its prior allows and `folded` is asked for: not beside
    Student-t effects, under which an outlier's density falls steeply on both sides of tau = 0.

    Raises `PriorError` for priors of the exact engine alone (`zero`, those made from the data).
    """
    import pymc as pm

    p = prior.params if params is None else params
    if prior.role == "mu":
        if prior.name == "normal":
            return pm.Normal(name, p[0], p[1])
        if prior.name == "student_t":
            return pm.StudentT(name, nu=p[0], mu=p[1], sigma=p[2])
        return pm.Flat(name)
    if prior.name in _FOLDED and folded:
        signed = f"{name}{_FOLD}"
        if prior.name == "halfnormal":
            variable = pm.Normal(signed)
        elif prior.name == "halfcauchy":
            variable = pm.Cauchy(signed, 0.0, 1.0)
        else:
            variable = pm.StudentT(signed, nu=p[0])
        return pm.Deterministic(name, abs(variable) * p[len(prior.params) - 1])
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


def implied_sds(draws: Draws, fixed: Mapping[str, Floats]) -> dict[str, Floats]:
    """tau and omega (S,) where what is sampled is something else, from the values of their priors:
    with a sign (`_FOLDED`), or under a log-t prior the logarithm of the square.
    """
    ends = "log_", "_squared"
    logs = {n: x for n, x in draws.items() if n.startswith(ends[0]) and n.endswith(ends[1])}
    out = {n.removeprefix(ends[0]).removesuffix(ends[1]): np.exp(x / 2) for n, x in logs.items()}
    folded = {n.removesuffix(_FOLD): x for n, x in draws.items() if n.endswith(_FOLD)}
    return out | {n: np.abs(x) * fixed[f"{n}_prior"][-1] for n, x in folded.items()}


def pool_model(
    data: Layout,
    kind: NDArray[np.object_],
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None = None,
) -> Recipe:
    """PyMC model of one pool: mu, tau and, where given a prior, omega; study effects integrated.

    `kind` (k,) is the rows' kind (exact, interval, unsigned) in the layout's order.
    """
    priors = {"mu": mu_prior, "tau": tau_prior}
    if omega_prior is not None:
        priors["omega"] = omega_prior
    values = layout_values(data, kind, {"one": np.ones(data.k)})
    numbers = {k: v for name, prior in priors.items() for k, v in prior_values(name, prior).items()}
    return Recipe(
        key=("pool", *(prior_key(prior) for prior in priors.values()), layout_key(values)),
        values={**values, FIXED: numbers},
        build=partial(_pool, priors=priors),
        traced=tuple(priors),
    )


def _pool(values: Values, *, priors: Mapping[str, Prior]) -> pm.Model:
    import pymc as pm

    with pm.Model() as model:
        nodes = data_nodes(values)
        rvs = {n: prior_variable(n, prior, nodes[f"{n}_prior"]) for n, prior in priors.items()}
        one = nodes["one"]
        omega2 = rvs["omega"] ** 2 if "omega" in rvs else 0.0
        add_evidence(layout_nodes(nodes, values), rvs["mu"] * one, rvs["tau"] ** 2 * one, omega2)
    return model
