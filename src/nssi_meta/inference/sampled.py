"""A pool sampled by NUTS, answering the same questions as the exact posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nssi_meta.inference.compiled import SHORT, refit, sample
from nssi_meta.inference.densities import NormalMixture
from nssi_meta.inference.nuts import Fit
from nssi_meta.models.blocks import Layout
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.exact_studies import exact_studies, rows_of_studies
from nssi_meta.models.pool import pool_model
from nssi_meta.models.priors import OMEGA_DEFAULT, Prior, check_propriety
from nssi_meta.models.structure import Structure
from nssi_meta.models.three_level import one_mean

Floats = NDArray[np.float64]
#: A pool has no option for draws, and needs none.
REMEDY = 'the exact engine, which needs no draws (leave out `--engine nuts`, engine="nuts")'


#: Few rows with bounds seldom tell tau: its tail, in which mu is wide, needs smaller steps. At 0.9
#: a tenth of a review's small pools were sampled twice, which takes longer.
SMALL_STEPS = replace(SHORT, target_accept=0.95)


@dataclass(frozen=True)
class Empirical:
    """A posterior known by its draws (n,)."""

    draws: Floats

    @cached_property
    def _sorted(self) -> Floats:
        return np.sort(self.draws)

    @cached_property
    def mean(self) -> float:
        return float(self.draws.mean())

    @cached_property
    def sd(self) -> float:
        return float(self.draws.std(ddof=1))

    @cached_property
    def _bandwidth(self) -> float:
        return 1.06 * self.sd * len(self.draws) ** -0.2

    def pdf(self, x: Floats | float) -> Floats:
        """Gaussian kernel estimate (used to balance shortest intervals)."""
        z = (np.asarray(x, dtype=float)[..., None] - self.draws) / self._bandwidth
        return np.exp(-0.5 * z**2).mean(axis=-1) / (self._bandwidth * np.sqrt(2 * np.pi))

    def cdf(self, x: Floats | float) -> Floats:
        return np.asarray(np.searchsorted(self._sorted, x, side="right") / len(self.draws))

    def quantile(self, p: float) -> float:
        return float(np.quantile(self._sorted, p))


@dataclass(frozen=True)
class SampledPosterior:
    """The draws of one pool under the names of `ExactPosterior`."""

    mu_draws: Floats
    tau_draws: Floats
    omega_draws: Floats | None

    @cached_property
    def mu(self) -> Empirical:
        return Empirical(self.mu_draws)

    @cached_property
    def tau_density(self) -> Empirical:
        return Empirical(self.tau_draws)

    @cached_property
    def omega_density(self) -> Empirical | None:
        return None if self.omega_draws is None else Empirical(self.omega_draws)

    @cached_property
    def prediction(self) -> NormalMixture:
        total = np.hypot(self.tau_draws, self.omega)
        floor = 1e-6 * max(self.mu.sd, 1e-12)
        return NormalMixture.build(self.mu_draws, np.maximum(total, floor), np.ones(len(total)))

    @property
    def omega(self) -> Floats:
        return np.zeros_like(self.tau_draws) if self.omega_draws is None else self.omega_draws

    @property
    def tau(self) -> Floats:
        return self.tau_draws

    @property
    def mu_mean(self) -> Floats:
        return self.mu_draws

    @property
    def mu_sd(self) -> Floats:
        return np.zeros_like(self.mu_draws)

    @property
    def weight(self) -> Floats:
        return np.ones_like(self.mu_draws) / len(self.mu_draws)

    def draws(self, n: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
        """n of the joint draws, with replacement only when more are asked for than there are."""
        index = self.drawn_nodes(n, np.random.default_rng(seed))
        return self.mu_draws[index], self.tau_draws[index], self.omega[index]

    def drawn_nodes(self, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Numbers (n,) of draws."""
        return rng.choice(len(self.mu_draws), n, replace=n > len(self.mu_draws))


def fit_pool_nuts(
    data: Layout,
    kind: NDArray[np.object_],
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None,
    *,
    seed: int,
) -> tuple[Fit, SampledPosterior]:
    """Sample one pool; look at `Fit.converged` before using the posterior.

    Pools of exact effects share one compiled model, others one for each form of their rows and
    priors. Raises ValueError for rows that are no evidence, `PriorError` for an improper posterior
    or a prior of the exact engine alone.
    """
    check_rows(data)
    sizes = np.isfinite(data.y)
    n_studies = len(set(data.block_of_row[sizes].tolist()))
    check_propriety(mu_prior, tau_prior, int(sizes.sum()), n_studies)
    names = ["mu", "tau"] + (["omega"] if omega_prior is not None else [])

    def reported(posterior: Any) -> dict[str, Floats]:
        out = {name: np.asarray(posterior[name]) for name in names}
        spread = np.hypot(out["tau"], out.get("omega", np.zeros_like(out["tau"])))
        # A quantity of the prediction: the chance that a new setting's effect is positive.
        out["prediction"] = ndtr(out["mu"] / np.maximum(spread, 1e-12))
        return out

    structure = _structure(data, mu_prior, tau_prior, omega_prior)
    if structure is not None:
        fit = _named(refit(structure, seed=seed, remedy=REMEDY))
    else:
        recipe = pool_model(data, kind, mu_prior, tau_prior, omega_prior)
        fit = sample(recipe, reported, seed=seed, settings=SMALL_STEPS, remedy=REMEDY)
    posterior = fit.posterior_data["posterior"]
    flat = {name: np.asarray(posterior[name]).ravel() for name in names}
    return fit, SampledPosterior(flat["mu"], flat["tau"], flat.get("omega"))


def _named(fit: Fit) -> Fit:
    """A fit of the regression with one mean alone, under the names of a pool."""
    tree = fit.posterior_data.copy()
    data = tree["posterior"].dataset
    data = data.assign(mu=data["mean"].isel(mean_label=0, drop=True))
    data["prediction"] = data["prediction"].isel(prediction_label=0, drop=True)
    tree["posterior"].dataset = data.drop_vars(["coef", "mean", "coef_label", "mean_label"])
    names = {"mean[mu]": "mu", "prediction[mu]": "prediction"}
    table = fit.diagnostics[fit.diagnostics["quantity"] != "coef[mu]"]
    table = table.assign(quantity=table["quantity"].replace(names)).reset_index(drop=True)
    return replace(fit, posterior_data=tree, diagnostics=table)


def _structure(
    data: Layout, mu_prior: Prior, tau_prior: Prior, omega_prior: Prior | None
) -> Structure | None:
    """The compiled-once structure of a pool of exact effects, each block one contrast of a study.

    None where bounds, unknown signs, several contrasts in a block or the prior of mu need the
    general model.
    """
    usual = mu_prior.name in ("normal", "flat") and (omega_prior is None or omega_prior.proper)
    exact = exact_studies(data)
    if not (data.gaussian and usual and exact.all()) or (data.exact_blocks is None) != (
        omega_prior is None
    ):
        return None
    omega = OMEGA_DEFAULT if omega_prior is None else omega_prior
    rows = rows_of_studies(data, np.ones((data.k, 1)), exact)
    return one_mean(rows, mu_prior, tau_prior, omega)
