"""Checks of pools say what to pass when they are given something else."""

from __future__ import annotations

import pandas as pd
import pytest

from nssi_meta.synthesis.counts import pool_counts
from nssi_meta.synthesis.diagnose import diagnose
from nssi_meta.synthesis.influence import cumulative, fragility, prior_posterior, subsets
from nssi_meta.synthesis.leave_one_out import leave_one_out
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.predictive import predictive
from nssi_meta.synthesis.prior_sensitivity import pool_sensitivity
from nssi_meta.synthesis.rho_sweep import sweep_rho

CHECKS = [leave_one_out, predictive, pool_sensitivity, sweep_rho, diagnose, subsets, fragility]


@pytest.fixture(scope="module")
def counts():
    return pool_counts([2, 1, 3], [40, 30, 50], [9, 6, 8], [41, 33, 47])


@pytest.mark.parametrize("check", CHECKS)
def test_a_frame_is_told_to_be_pooled_first(check):
    with pytest.raises(ValueError, match="fitted pools, not DataFrame: pool first, as in pools ="):
        check(pd.DataFrame({"yi": [1.0]}))
    with pytest.raises(ValueError, match=r"fitted pools, not float: nm.pool\(...\) for effects"):
        check(0.5)


@pytest.mark.parametrize(
    ("check", "why"),
    [(sweep_rho, "no rho"), (cumulative, "no year"), (fragility, "standard error")],
)
def test_what_counts_cannot_have_names_what_they_can(counts, check, why):
    with pytest.raises(ValueError, match=f"{why}.*A pool of counts has leave_one_out"):
        check(counts)


def test_subsets_and_priors_of_counts(counts):
    every = subsets(counts)
    assert len(every) == 7
    assert every["median"].iloc[-1] == counts.table["mu_median"].iloc[0]
    assert set(prior_posterior(counts)["quantity"]) == {"mu", "tau"}


def test_unknown_options_name_those_there_are():
    with pytest.raises(TypeError, match="no option 'mu_priors', perhaps mu_prior; allowed: mu_pr"):
        pool(pd.DataFrame(), mu_priors="flat")
    with pytest.raises(TypeError, match="no option 'foo'; allowed: mu_prior, tau_prior, omega_pri"):
        pool(pd.DataFrame(), foo=1)
