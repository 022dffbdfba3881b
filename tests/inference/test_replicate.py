"""Drawn reviews against what the likelihood says about them: moments, and every prior's own cdf."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.axes import sd_axis
from nssi_meta.inference.calibration import p_value
from nssi_meta.inference.densities import real_line
from nssi_meta.inference.replicate import as_reported, prior_draws, replicate, thresholds
from nssi_meta.models.blocks import layout
from nssi_meta.models.priors import PriorError, parse_prior

TAU = [
    "halfnormal(0.5)", "halfcauchy(0.3)", "halft(4,0.5)", "exponential(0.4)", "lognormal(-1,0.5)",
    "lognormal2(-2,1)", "logt2(5,-2,1)", "invgamma(2,0.3)", "uniform(0,2)",
]  # fmt: skip
ROWS = [
    {"study_id": "A", "condition": "ill", "comparator": "well", "vi": 0.04},
    {"study_id": "A", "condition": "ill", "comparator": "well", "vi": 0.09},
    {"study_id": "B", "condition": "ill", "comparator": "well", "vi": 0.05},
    {"study_id": "B", "condition": "worse", "comparator": "well", "vi": 0.06},
    {"study_id": "C", "condition": "ill", "comparator": "well", "vi": 0.03},
]


@pytest.mark.parametrize("text", [*TAU, "normal(0.2,1.5)", "student_t(4,0.1,0.5)"])
def test_draws_have_the_distribution_of_the_prior_s_density(text, layout_of):
    role = "mu" if text.startswith(("normal", "student")) else "tau"
    prior = parse_prior(text, role)
    axis, start = (
        (real_line(0.0, 1.0), np.linspace(-1, 1, 9))
        if role == "mu"
        else sd_axis(prior, layout_of([{"yi": 0.1}, {"yi": 0.4}]), 0.3)
    )
    density = integrate(lambda x: prior.logpdf(x), [axis], [start]).marginal(0)
    x = prior_draws(prior, 2000, np.random.default_rng(1))
    assert p_value(density.cdf(x)) > 0.001


@pytest.mark.parametrize("text", ["flat", "uniform(0,inf)", "jeffreys"])
def test_priors_that_cannot_be_drawn_from_are_named(text):
    with pytest.raises(PriorError, match="cannot be drawn from; allowed here: exponential"):
        prior_draws(parse_prior(text, "tau"), 3, np.random.default_rng(1))


def _frame() -> pd.DataFrame:
    default = {
        "sample_id": "", "control_id": "", "mechanism": "m", "kind": "exact", "yi": 0.1,
        "lower": np.nan, "upper": np.nan, "n_case": 50.0, "n_control": 50.0, "scale": "g",
    }  # fmt: skip
    return pd.DataFrame([{**default, **row} for row in ROWS])


def test_estimates_have_mean_and_covariance_of_the_model():
    frame = _frame()

    def errors(part: pd.DataFrame) -> np.ndarray:
        s = np.sqrt(part["vi"].to_numpy())
        return np.where(np.eye(len(part)) > 0, 1.0, 0.4) * np.outer(s, s)

    blocks = layout(frame, errors).block_rows
    n, tau, omega = 200_000, 0.5, 0.3
    mean = np.broadcast_to([0.3, -0.2, 0.1, 0.5, 0.0], (n, 5))
    y = replicate(
        frame, blocks, mean, np.full((n, 5), tau), np.full(n, omega), errors,
        np.random.default_rng(4),
    )  # fmt: skip
    s = np.sqrt(frame["vi"].to_numpy())
    expected = np.diag(tau**2 + omega**2 + s**2)
    # One study, one contrast: all of tau squared in common; one arm in common: half of it.
    expected[0, 1] = expected[1, 0] = tau**2 + 0.4 * s[0] * s[1]
    expected[2, 3] = expected[3, 2] = tau**2 / 2 + 0.4 * s[2] * s[3]
    # Standard errors of 200,000 draws: below 0.0015 for means and 0.0015 for covariances.
    np.testing.assert_allclose(y.mean(axis=0), mean[0], atol=0.006)
    np.testing.assert_allclose(np.cov(y.T), expected, atol=0.006)


def test_rows_are_reported_as_their_kind_says():
    frame = _frame().assign(kind=["exact", "unsigned", "interval", "interval", "interval"])
    y = np.array([-0.3, -0.3, -0.9, 0.9, 0.1])
    out = as_reported(frame, y, np.full(5, 0.5))
    np.testing.assert_array_equal(out["yi"], [-0.3, 0.3, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(out["lower"], [np.nan, np.nan, -np.inf, 0.5, -0.5])
    np.testing.assert_array_equal(out["upper"], [np.nan, np.nan, -0.5, np.inf, 0.5])


def test_a_bound_s_own_threshold_is_used_else_the_usual_one():
    frame = _frame().iloc[:3].assign(
        kind=["exact", "interval", "interval"],
        lower=[np.nan, 0.7, 0.0],
        upper=[np.nan, np.inf, np.inf],
    )  # fmt: skip
    usual = 1.959963984540054 * np.sqrt(frame["vi"].to_numpy())
    np.testing.assert_allclose(thresholds(frame), [usual[0], 0.7, usual[2]], rtol=1e-12)
