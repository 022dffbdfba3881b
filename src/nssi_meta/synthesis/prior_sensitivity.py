"""How much pools and the joint model lean on their priors."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nssi_meta.inference.counts_checks import table_power_scaling
from nssi_meta.inference.exact import has_omega
from nssi_meta.inference.sensitivity_prior import power_scaling, power_scaling_of_draws
from nssi_meta.synthesis.counts_cell import CountsCell
from nssi_meta.synthesis.kinds import AnyPools
from nssi_meta.synthesis.leave_one_out import Key, cell_of
from nssi_meta.synthesis.posterior_file import posterior_tree
from nssi_meta.synthesis.profiles import Profiles

#: What the joint model reports of itself.
PARAMETERS = ("mu", "tau", "sigma", "R", "omega")


def pool_sensitivity(pools: AnyPools, key: Key | None = None) -> pd.DataFrame:
    """Power-scaling sensitivity of a pool by the exact engine, without simulation error.

    `key` names the cell, as in `leave_one_out`. Columns quantity, prior, likelihood, diagnosis
    (`inference.sensitivity_prior.power_scaling`). Raises ValueError for a pool sampled by NUTS.
    """
    chosen = cell_of(pools, key)
    if pools.options.engine != "exact":
        raise ValueError("pool_sensitivity reads quadrature nodes; pool with engine='exact'")
    mu, tau, omega = chosen.priors
    if isinstance(chosen, CountsCell):
        return table_power_scaling(
            chosen.data,
            chosen.posterior,
            mu_prior=mu,
            tau_prior=tau,
            baseline=chosen.baseline,
        )
    nested = has_omega(chosen.rows["study_id"].to_numpy())
    return power_scaling(
        chosen.layout,
        chosen.posterior,
        mu_prior=mu,
        tau_prior=tau,
        omega_prior=omega if nested else None,
    )


def joint_sensitivity(profiles: Profiles) -> pd.DataFrame:
    """The same for the joint model's parameters, by ArviZ from its draws."""
    with np.errstate(all="ignore"):
        return power_scaling_of_draws(posterior_tree(profiles), PARAMETERS)
