"""Calibration in small: passes as things are, and tells every fault that is planted.

Seeds are fixed, so the outcome is too. A calibrated model fails a p-value of 0.001 over the 5
quantities once in 200; every planted fault is far beyond it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference import exact
from nssi_meta.inference.calibration import Scenario, holm, simulate, summary
from nssi_meta.models.prior_families import MU_FAMILIES
from nssi_meta.models.priors import TAU_FAMILIES
from nssi_meta.synthesis import scenarios
from nssi_meta.synthesis.scenarios import Priors, design, exact_scenarios, pool_trial

SMALL = [{"vi": v} for v in (0.01, 0.02, 0.04, 0.08, 0.15, 0.3)]
BOUNDS = [{**r, "kind": "interval"} for r in SMALL[::2]] + SMALL[1::2]
NESTED = [{"study_id": f"s{i // 3}", "sample_id": f"p{i}", "vi": 0.03} for i in range(9)]
#: Where the data say little, the prior shows.
FEW = SMALL[3:]
N = 80


def _least(rows, n=N, **priors) -> float:
    """Smallest p-value over the quantities, adjusted for their number."""
    trial = partial(pool_trial, design(rows), Priors(**priors))
    table = summary(pd.DataFrame(simulate(Scenario("small", "small", n, trial), 0, n)))
    return float(holm(table["p"].tolist()).min())


def _wrong_scale(monkeypatch, families, name, factor):
    """The density of a prior family as if its scale were `factor` times what it says."""
    right = families[name]

    def wrong(x, *params):
        return right.logpdf(x, *params[:-1], params[-1] * factor)

    monkeypatch.setitem(families, name, replace(right, logpdf=wrong))


@pytest.mark.parametrize("rows", [SMALL, BOUNDS], ids=["exact", "bounds"])
def test_a_right_model_is_calibrated(rows):
    assert _least(rows) > 0.01


def test_a_right_model_of_several_rows_a_study_is_calibrated():
    assert _least(NESTED, 50, omega="halfnormal(0.5)") > 0.01


@pytest.mark.parametrize(
    ("rows", "factor"), [(FEW, 0.5), (FEW, 2.0), (BOUNDS[::2], 2.0)],
    ids=["too narrow", "too wide", "bounds, too wide"],
)  # fmt: skip
def test_a_wrong_scale_of_tau_s_prior_is_told(rows, factor, monkeypatch):
    _wrong_scale(monkeypatch, TAU_FAMILIES, "halfnormal", factor)
    assert _least(rows) < 0.001


def test_a_wrong_scale_of_mu_s_prior_is_told(monkeypatch):
    # Of Student's t, since a normal prior of mu enters in closed form, not by its density.
    few = [{"vi": 20.0}, {"vi": 40.0}]
    assert _least(few, mu="student_t(5,0,0.5)") > 0.01
    _wrong_scale(monkeypatch, MU_FAMILIES, "student_t", 3.0)
    assert _least(few, mu="student_t(5,0,0.5)") < 0.001


def test_standard_errors_in_place_of_variances_are_told(monkeypatch):
    right = scenarios.layout
    monkeypatch.setattr(
        scenarios, "layout", lambda *a: (lambda d: replace(d, v=np.sqrt(d.v)))(right(*a))
    )
    # With a small tau the sampling errors are what makes mu uncertain.
    assert _least(SMALL, tau="halfnormal(0.1)") < 0.001


def test_swapped_variance_components_are_told(monkeypatch):
    right = exact.gauss_terms
    monkeypatch.setattr(
        exact, "gauss_terms", lambda data, tau, omega, *more: right(data, omega, tau, *more)
    )
    assert _least(NESTED, 50, omega="halfnormal(0.5)") < 0.001


def test_a_posterior_that_forgets_the_data_is_told_by_the_likelihood(monkeypatch):
    # The prior is a calibrated posterior of mu and tau; the data's likelihood tells it.
    right = scenarios.fit_exact

    def forgetful(data, **priors):
        return right(replace(data, v=np.full(data.k, 1e8)), **priors)

    monkeypatch.setattr(scenarios, "fit_exact", forgetful)
    trial = partial(pool_trial, design(SMALL), Priors())
    table = summary(pd.DataFrame(simulate(Scenario("small", "small", N, trial), 0, N)))
    p = table.set_index("quantity")["p"]
    assert p["mu"] > 0.001
    assert p["log likelihood"] < 1e-6


def test_every_scenario_runs_and_gives_places():
    for scenario in exact_scenarios():
        (found,) = simulate(scenario, 0, 1)
        assert {"mu", "tau", "prediction", "log likelihood"} <= set(found), scenario.name
        assert all(0 <= v <= 1 for v in found.values()), scenario.name
