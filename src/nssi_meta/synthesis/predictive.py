"""Prior and posterior predictive checks of a fitted pool."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.counts_checks import table_checks
from nssi_meta.inference.exact import has_omega
from nssi_meta.inference.predictive import Draws, predictive_checks
from nssi_meta.inference.replicate import prior_draws
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.synthesis.cells import Cell
from nssi_meta.synthesis.counts_cell import CountsCell
from nssi_meta.synthesis.kinds import AnyPools
from nssi_meta.synthesis.leave_one_out import Key, cell_of

N_REVIEWS = 2000


def predictive(
    pools: AnyPools, key: Key | None = None, n: int = N_REVIEWS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Whether the pool, and its priors alone, give reviews like the observed one.

    `key` names the cell, as in `leave_one_out`. Returns the two tables of
    `inference.predictive.predictive_checks`, from `n` drawn reviews of each source. An improper
    prior draws no reviews: then there is no source "prior". `CAVEAT` of that module belongs beside
    every p-value. Of two-by-two tables whole tables are drawn: new study effects in the groups
    that were observed (`inference.counts_checks`).
    """
    chosen = cell_of(pools, key)
    seed = pools.options.seed
    draws: dict[str, Draws] = {}
    if all(p.proper and not p.family.from_data for p in chosen.priors):
        draws["prior"] = _prior(chosen, n, np.random.default_rng([seed, 3]))
    draws["posterior"] = chosen.posterior.draws(n, seed)
    if isinstance(chosen, CountsCell):
        pairs = {source: (mu, tau) for source, (mu, tau, _) in draws.items()}
        return table_checks(chosen.data, chosen.baseline, pairs, seed)
    errors = partial(
        sampling_covariance, vcalc=partial(vcalc, rho=pools.options.rho), rho=pools.options.rho
    )
    return predictive_checks(chosen.rows, chosen.layout, errors, draws, seed)


def _prior(cell: Cell, n: int, rng: np.random.Generator) -> Draws:
    mu, tau, omega = (prior_draws(p, n, rng) for p in cell.priors)
    nested = has_omega(cell.rows["study_id"].to_numpy())
    return mu, tau, omega if nested else np.zeros(n)
