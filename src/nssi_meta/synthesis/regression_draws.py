"""The posterior of an exact meta-regression as draws, under the names of the sampled one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.conditions import bound_priors
from nssi_meta.inference.effect_draws import effect_draws
from nssi_meta.inference.loo import by_study
from nssi_meta.inference.node_draws import drawn_nodes, within_cells
from nssi_meta.models.design import combinations
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.marginal import in_chunks
from nssi_meta.models.regression import combined
from nssi_meta.models.structure import coef_prior
from nssi_meta.synthesis.draws import CHAINS, DRAWS, MOST_ROWS

if TYPE_CHECKING:
    import xarray as xr

    from nssi_meta.inference.regression import Regression
    from nssi_meta.synthesis.regression import MetaRegression

Floats = NDArray[np.float64]


def regression_tree(found: MetaRegression) -> xr.DataTree:
    """Joint draws of a meta-regression as a DataTree, in 4 chains of 1,000 independent draws.

    Groups: `posterior` with coef (`coef_label`), tau, omega (where it is in the model), mean and
    prediction at each level of the categories (`overall` where there is none), contrast (of their
    levels) and theta (the true effect of each row, `effect_id` or its number); `log_likelihood`
    with one value a study; `log_prior` of coef, tau and omega (up to a constant where a prior is
    improper). Above `MOST_ROWS` rows theta and the log likelihood are left out.
    """
    import xarray as xr

    n = CHAINS * DRAWS
    coef, tau, omega = draws(found.fit, n, found.seed)
    rng = np.random.default_rng([found.seed, 2])
    new = np.hypot(tau, omega) * rng.standard_normal(n)
    chosen = combinations(found.design)
    values = {"coef": coef, "tau": tau, **combined({"coef": coef}, chosen, new)}
    if found.fit.omega_density is not None:
        values["omega"] = omega
    means = list(chosen.means)
    labels = {
        "coef": list(found.fit.names), "mean": means, "prediction": means,
        "contrast": list(chosen.contrasts),
    }  # fmt: skip
    names = {name: (f"{name}_label", labels[name]) for name in values if name in labels}
    likelihood = {}
    if found.k <= MOST_ROWS:
        row_means = coef @ found.X.T
        errors = partial(vcalc, rho=found.rho)
        values["theta"] = effect_draws(
            found.rows, found.layout, row_means, tau, omega, errors, found.rho, found.seed
        )
        names["theta"] = ("effect_id", found.effects)
        scores, studies = _by_study(found, row_means, tau, omega)
        of_study = dataset({"study": scores}, {"study": ("study_id", studies)})
        likelihood["/log_likelihood"] = of_study
    prior = dataset(_log_prior(found, coef, tau, omega), {})
    groups = {"/posterior": dataset(values, names), **likelihood, "/log_prior": prior}
    return xr.DataTree.from_dict(groups)


def draws(fit: Regression, n: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """n joint draws of the coefficients (n, p), tau and omega (n,).

    A node is drawn, within its cell tau and omega by their own distribution functions; the
    coefficients come from the normal distribution that they have at the node.
    """
    rng = np.random.default_rng(seed)
    index = drawn_nodes(fit.weight, n, rng)
    z = rng.standard_normal((n, len(fit.names), 1))
    tau, omega = (
        within_cells(values, fit.weight, density, index, rng)
        for values, density in ((fit.tau, fit.tau_density), (fit.omega, fit.omega_density))
    )
    used, of_draw = np.unique(index, return_inverse=True)
    cov = fit.node_covariance[used]
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    # Of correlations, and by eigenvalues: coefficients may differ by orders of magnitude.
    value, vector = np.linalg.eigh(cov / (sd[:, :, None] * sd[:, None, :]))
    root = sd[:, :, None] * vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]
    return fit.node_mean[index] + (root[of_draw] @ z)[..., 0], tau, omega


def dataset(values: dict[str, Floats], names: dict[str, tuple[str, list[str]]]) -> xr.Dataset:
    """Draws (S,) or (S, m) by name; `names` has the dimension of length m and its labels."""
    import xarray as xr

    coords = {"chain": np.arange(CHAINS), "draw": np.arange(DRAWS)}
    variables = {}
    for name, value in values.items():
        dims = ["chain", "draw"]
        if name in names:
            own, labels = names[name]
            dims.append(own)
            coords[own] = np.array(labels, dtype=object)
        variables[name] = (dims, value.reshape(CHAINS, DRAWS, *value.shape[1:]))
    return xr.Dataset(variables, coords)


def _by_study(
    found: MetaRegression, mean: Floats, tau: Floats, omega: Floats
) -> tuple[Floats, list[str]]:
    """Log likelihood (S, J) of the rows of each study, and the studies' names."""

    def part(s: slice) -> Floats:
        sd = np.repeat(tau[s][:, None], found.k, axis=1)
        return np.asarray(log_likelihood(found.layout, mean[s], sd, omega[s][:, None]))

    of_block = in_chunks(part, len(tau), 4 * found.k)
    study = found.rows["study_id"].astype(str).to_numpy()
    return by_study(of_block, [study[rows].tolist() for rows in found.layout.block_rows])


def _log_prior(
    found: MetaRegression, coef: Floats, tau: Floats, omega: Floats
) -> dict[str, Floats]:
    """Log prior density (S,) of the coefficients together and of each SD that is not fixed."""
    of_tau, of_omega = bound_priors(found.layout, found.tau_prior, found.omega_prior)
    out = {"coef": coef_prior(found.coef_priors).log_density(coef)}
    if of_tau is not None:
        out["tau"] = of_tau.logpdf(tau)
    if of_omega is not None:
        out["omega"] = of_omega.logpdf(omega)
    return out
