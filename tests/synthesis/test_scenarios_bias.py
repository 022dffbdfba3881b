"""Calibration of the models of bias, in small: passes as things are, tells planted faults.

Seeds are fixed, so the outcome is too.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from nssi_meta.inference import ensemble
from nssi_meta.inference.biased import fit_biased
from nssi_meta.inference.calibration import Scenario, holm, p_value, simulate, summary
from nssi_meta.inference.ensemble import Averaged
from nssi_meta.inference.point_mass import PointMass
from nssi_meta.models.reporting import reports
from nssi_meta.models.selection import Steps
from nssi_meta.synthesis import scenarios_bias as bias

ONE = Steps((0.025, 0.05), "one")


def _least(trial, n) -> float:
    """Smallest p-value over the quantities, adjusted for their number."""
    table = summary(pd.DataFrame(simulate(Scenario("small", "small", n, trial), 0, n)))
    return float(holm(table["p"].tolist()).min())


@pytest.mark.parametrize("scenario", bias.bias_scenarios(), ids=lambda s: s.name)
def test_every_scenario_runs_and_gives_places(scenario):
    (found,) = simulate(scenario, 0, 1)
    assert {"mu", "tau"} <= set(found)
    assert all(0 <= v <= 1 for v in found.values())


@pytest.mark.parametrize("model", [ONE, bias.PET], ids=["selection", "PET"])
def test_a_right_model_of_bias_is_calibrated(model):
    assert _least(partial(bias.member_trial, model), 50) > 0.01


@pytest.mark.parametrize("wrong", [None, bias.PEESE], ids=["no bias", "PEESE"])
def test_a_model_that_does_not_know_of_the_selection_is_told(wrong, monkeypatch):
    monkeypatch.setattr(bias, "fit_biased", lambda *a: fit_biased(*a[:3], wrong))
    assert _least(partial(bias.member_trial, ONE), 300) < 0.001


def test_models_are_drawn_with_the_ensemble_s_probabilities(monkeypatch):
    """4000 draws: the standard error of a share of 0.125 is 0.005, of one of 0.01 it is 0.0016."""
    rng = np.random.default_rng(1)
    n = 4000
    drawn = Counter(bias.draw_model(rng) for _ in range(n))
    monkeypatch.setattr(ensemble, "fit_biased", lambda *_: None)  # the prior needs no fit
    s = np.array([0.2, 0.3])
    members = ensemble.psma(bias.Studies(np.array([0.1, 0.2]), s, bias.normal_critical(s)))
    prior = {(m.mu is not None, m.tau is not None, m.bias): m.prior for m in members}
    assert set(drawn) <= set(prior)
    for model, p in prior.items():
        assert drawn[model] / n == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / n))


def test_results_are_published_as_often_as_the_weight_says(monkeypatch):
    """Without effect and spread, omega uniform: the share of silent results is the mean over omega
    of 0.95 omega / (0.95 omega + 0.05). 400 sets of 8 that share omega: standard error below 0.01.
    """
    rng = np.random.default_rng(2)
    steps, mean = Steps((0.05,), "two"), np.zeros(len(bias.SE))
    y = np.array([bias.published(mean, 0.0, steps, rng) for _ in range(400)])
    silent = (np.abs(y) < 1.959964 * bias.SE).mean()
    want = quad(lambda w: 0.95 * w / (0.95 * w + 0.05), 0, 1)[0]
    assert silent == pytest.approx(want, abs=0.03)


def test_the_most_significant_results_always_pass():
    """Their weight is 1: with a large effect nothing is thrown away, and y has its own mean.

    1600 results of SD up to 0.5: standard error 0.007.
    """
    rng = np.random.default_rng(3)
    four = Steps((0.025, 0.05, 0.5), "one")
    y = [bias.published(np.full(len(bias.SE), 3.0), 0.0, four, rng) for _ in range(200)]
    assert np.mean(y) == pytest.approx(3.0, abs=0.03)


def test_ties_are_spread_evenly():
    """A truth at a point mass, a model among others of the same value: places are uniform."""
    rng = np.random.default_rng(4)
    half = Averaged(0.5, ((0.5, PointMass(1.0)),))
    p = np.array([0.2, 0.3, 0.5])
    values = np.array([0.0, 1.0, 1.0])
    mass = np.array([bias.within(half, 0.0, rng) for _ in range(200)])
    assert (mass < 0.5).all()
    assert p_value(2 * mass) > 0.01
    placed = [bias.among(values, p, int(rng.choice(3, p=p)), rng) for _ in range(300)]
    assert p_value(np.array(placed)) > 0.01


def test_the_adjusted_review_has_one_of_everything():
    rows = bias.cell_rows(1)
    found = reports(rows.assign(lower=-0.3, upper=0.3))
    assert set(rows["kind"]) == {"exact", "interval"}
    assert set(found.group.tolist()) == {0, 1}
    assert sorted(len(b) for b in found.null.block_rows) == [1, 1, 1, 1, 2]
    # Two cells share no people.
    ids = [set(bias.cell_rows(c)["sample_id"]) for c in range(2)]
    assert not ids[0] & ids[1]
