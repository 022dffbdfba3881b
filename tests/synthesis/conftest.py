"""A joint posterior of chosen draws on the made-up review: what synthesis does, without NUTS."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.inference.nuts import Fit
from nssi_meta.synthesis.overlap_figures import lkj
from nssi_meta.synthesis.profiles import Profiles, joint_data

S = 2000
#: True means of reflex, grip, tremor, appetite in alpha, beta, gamma (as in tests/conftest.py).
MEANS = np.array([[0.8, 0.7, -0.6], [-0.7, -0.6, 0.5], [0.6, 0.7, 0.0], [0.0, 0.1, 0.8]])
STAGES = {"reflex": "start", "grip": "start", "tremor": "end", "appetite": "none"}


def profiles_of(evidence, mu, *, tau=0.1, omega=0.05, seed=5) -> Profiles:
    """Profiles whose means have these draws (S, M, C); scales are fixed but for sigma and R."""
    data, index = joint_data(evidence)
    rng = np.random.default_rng(seed)
    n, m, c = mu.shape
    posterior = {
        "mu": mu[None],
        "tau": np.full((1, n, m), tau),
        "omega": np.full((1, n), omega),
        "tau_0": np.full((1, n), tau),
        "sigma": np.full((1, n, c), 0.6),
        "R": lkj(c, 2.0, n, rng)[None],
    }
    fit = Fit({"posterior": posterior}, pd.DataFrame(), {})
    staged = evidence.mechanisms.assign(stage=evidence.mechanisms["mechanism"].map(STAGES))
    return Profiles(data, fit, index, staged, evidence.conditions)


@pytest.fixture(scope="session")
def evidence(review):
    return read_effects(review)


@pytest.fixture(scope="session")
def quick(evidence):
    """Profiles close to the truth of the made-up review: posterior SD 0.1."""
    rng = np.random.default_rng(3)
    return profiles_of(evidence, MEANS + 0.1 * rng.standard_normal((S, 4, 3)))
