"""Draws of true effects at given mu, tau and omega: closed forms and sums."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.effect_draws import effect_draws
from nssi_meta.models.blocks import layout

INF = np.inf
N = 40_000
MU, TAU, OMEGA = 0.1, 0.3, 0.2


def drawn(rows):
    default = {
        "sample_id": "", "control_id": "", "mechanism": "m", "condition": "ill",
        "comparator": "well", "kind": "exact", "scale": "g", "yi": np.nan, "vi": 0.04,
        "lower": np.nan, "upper": np.nan, "n_case": 50.0, "n_control": 50.0,
    }  # fmt: skip
    frame = pd.DataFrame([{**default, "study_id": f"s{i}", **r} for i, r in enumerate(rows)])
    errors = partial(vcalc, rho=0.6)
    at = (np.full(N, x) for x in (MU, TAU, OMEGA))
    return effect_draws(frame, layout(frame, errors), *at, errors)


@pytest.mark.parametrize(
    ("second", "shared"),
    [
        ({}, 1.0),  # one contrast twice: the same study effect
        ({"comparator": "depressed"}, 0.5),  # one arm in common: half of tau squared
        ({"condition": "well", "comparator": "ill"}, -1.0),
        ({"condition": "worse", "comparator": "depressed"}, 0.0),
    ],
)
def test_two_rows_of_a_study_share_as_much_of_tau_as_their_contrasts(second, shared):
    """theta given y is normal in closed form: mean, SD and correlation within Monte Carlo error.

    Errors of N independent draws: SD / sqrt(N), SD / sqrt(2 N), (1 - r^2) / sqrt(N); four of each.
    """
    theta = drawn([{"study_id": "S", "yi": 0.9}, {"study_id": "S", "yi": 0.1, **second}])
    T = TAU**2 * np.array([[1.0, shared], [shared, 1.0]]) + OMEGA**2 * np.eye(2)
    gain = T @ np.linalg.inv(T + 0.04 * np.eye(2))
    mean, cov = MU + gain @ (np.array([0.9, 0.1]) - MU), T - gain @ T
    sd = np.sqrt(np.diag(cov))
    r = cov[0, 1] / sd.prod()
    np.testing.assert_allclose(theta.mean(axis=0), mean, atol=4 * sd.max() / np.sqrt(N))
    np.testing.assert_allclose(theta.std(axis=0), sd, rtol=4 / np.sqrt(2 * N))
    assert np.corrcoef(theta.T)[0, 1] == pytest.approx(r, abs=4 * (1 - r**2) / np.sqrt(N))


@pytest.mark.parametrize(("lower", "upper"), [(0.4, INF), (-0.4, 0.4)])
def test_the_effect_of_a_bound_has_its_density(lower, upper):
    """p(theta | bound) = N(theta; mu, tau^2 + omega^2) P(bound | theta), summed on a grid.

    1.95 / sqrt(N) is the 0.1% point of the Kolmogorov distance.
    """
    theta = np.sort(drawn([{"kind": "interval", "lower": lower, "upper": upper}])[:, 0])
    x = np.linspace(-3, 3, 6001)
    inside = stats.norm.cdf((upper - x) / 0.2) - stats.norm.cdf((lower - x) / 0.2)
    density = stats.norm.pdf(x, MU, np.hypot(TAU, OMEGA)) * inside
    cdf = np.cumsum(density) / density.sum()
    assert np.abs(np.interp(theta, x, cdf) - (np.arange(N) + 0.5) / N).max() < 1.95 / np.sqrt(N)


def test_a_seed_gives_its_draws():
    rows = [{"yi": 0.3}, {"kind": "unsigned", "yi": 0.5}]
    np.testing.assert_array_equal(drawn(rows), drawn(rows))
