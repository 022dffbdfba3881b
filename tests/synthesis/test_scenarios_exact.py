"""Calibration of what quadrature computes, in small: passes as things are, tells planted faults.

Seeds are fixed, so the outcome is too. A calibrated model fails a p-value of 0.01, adjusted for its
quantities, once in 100; every planted fault is beyond 0.001.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference import curves
from nssi_meta.inference.calibration import Scenario, holm, simulate, summary
from nssi_meta.models.two_by_two import Counts
from nssi_meta.synthesis import regression, slopes
from nssi_meta.synthesis import scenarios_exact as exact
from nssi_meta.synthesis.cells import Options
from nssi_meta.synthesis.scenarios import SINGLE, Priors, design

#: Where the data say little, the prior shows.
VAGUE = [{"vi": v} for v in (0.5, 1.0, 2.0)]
#: Every scenario with several rows a study, its rows fewer.
QUICK = {
    "regress_nested": partial(
        exact.regression_trial, exact.regression_rows(np.array([1, 2, 1, 2])),
        "halfnormal(0.5)", "halfnormal(0.5)",
    ),
    "heavy_tails_nested": partial(
        exact.heavy_trial,
        design([{"study_id": f"s{i // 2}", "sample_id": f"p{i}", "vi": 0.05} for i in range(4)]),
        Priors(omega="halfnormal(0.5)"),
    ),
}  # fmt: skip


def _least(trial, n) -> float:
    """Smallest p-value over the quantities, adjusted for their number."""
    table = summary(pd.DataFrame(simulate(Scenario("small", "small", n, trial), 0, n)))
    return float(holm(table["p"].tolist()).min())


@pytest.mark.parametrize("scenario", exact.quadrature_scenarios(), ids=lambda s: s.name)
def test_every_scenario_runs_and_gives_places(scenario):
    quick = replace(scenario, trial=QUICK.get(scenario.name, scenario.trial))
    (found,) = simulate(quick, 0, 1)
    assert {"mu", "coef intercept", "slope"} & set(found)
    assert all(0 <= v <= 1 for v in found.values())
    # Only the pools of heavy tails give mu alone.
    assert ("log likelihood" in found) == (not scenario.name.startswith("heavy"))


REGRESSION = partial(
    exact.regression_trial, exact.regression_rows(np.ones(6, dtype=int)), "halfnormal(0.5)", ""
)


def test_a_right_regression_is_calibrated():
    assert _least(REGRESSION, 40) > 0.01


def test_standard_errors_in_place_of_variances_are_told_by_a_regression(monkeypatch):
    right = regression.layout
    monkeypatch.setattr(
        regression, "layout", lambda *a: (lambda d: replace(d, v=np.sqrt(d.v)))(right(*a))
    )
    assert _least(REGRESSION, 40) < 0.001


def test_a_wrong_scale_of_the_coefficients_prior_is_told(monkeypatch):
    right = regression.fit_regression

    def wrong(laid, X, *, beta_prior, **more):
        return right(laid, X, beta_prior=[p.scaled(0.4) for p in beta_prior], **more)

    monkeypatch.setattr(regression, "fit_regression", wrong)
    assert _least(REGRESSION, 40) < 0.001


def _slopes(rows):
    return partial(exact.slope_trial, design(rows), Priors())


def test_a_wrong_scale_of_a_slope_s_prior_is_told(monkeypatch):
    assert _least(_slopes(VAGUE), 24) > 0.01
    monkeypatch.setattr(slopes, "BETA_SD", 0.2)
    assert _least(_slopes(VAGUE), 24) < 0.001


def test_tables_of_more_people_than_there_were_are_told(monkeypatch):
    # What they say of mu and tau is then too sure.
    for name in ("TREATED", "CONTROLS"):
        monkeypatch.setattr(exact, name, getattr(exact, name)[1:5])
    trial = partial(exact.counts_trial, "halfnormal(0.7)")
    right = curves.log_likelihood

    def wrong(data, theta, mean, sd):
        return right(Counts(*(10 * x for x in data)), theta, mean, sd)

    monkeypatch.setattr(curves, "log_likelihood", wrong)
    assert _least(trial, 12) < 0.001


def test_standard_errors_in_place_of_variances_are_told_by_heavy_tails(monkeypatch):
    trial = partial(exact.heavy_trial, design(SINGLE[:3]), Priors(tau="halfnormal(0.1)"))
    right = exact.StudyTables
    monkeypatch.setattr(
        exact, "StudyTables", lambda data, study: right(replace(data, v=np.sqrt(data.v)), study)
    )
    assert _least(trial, 80) < 0.001


def test_the_likelihood_of_tables_is_that_of_the_engine():
    """Gauss-Hermite over study effects against the engine's panels; 1e-6 where tau is moderate."""
    data = Counts(*(np.array(x, float) for x in ([2, 0, 7], [20, 30, 25], [1, 3, 0], [20, 28, 30])))
    mu, tau = np.array([0.0, 0.5, -0.7]), np.array([0.2, 0.4, 0.6])
    engine = np.diag(curves.log_marginal(curves.study_curves(data, -2.0, 1.2), mu, tau))
    found = exact.tables_log_likelihood(data, mu, tau, -2.0, 1.2)
    np.testing.assert_allclose(found, engine, atol=1e-6)


def test_the_likelihood_of_a_regression_is_the_normal_density():
    rows = exact.regression_rows(np.array([1, 3, 2]))
    V, study = exact.same_people(rows, 0.6), rows["study_id"].factorize()[0]
    np.testing.assert_allclose(V, vcalc(rows, 0.6), rtol=1e-12)
    residual = np.random.default_rng(1).standard_normal((1, len(rows)))
    tau, omega = np.array([0.4]), np.array([0.3])
    found = exact.normal_log_likelihood(residual, V, study, tau, omega)
    S = V + 0.16 * (study[:, None] == study) + 0.09 * np.eye(len(V))
    want = stats.multivariate_normal.logpdf(residual[0], np.zeros(len(rows)), S)
    assert found[0] == pytest.approx(want, rel=1e-12)


def test_the_mean_along_a_slope_is_the_one_that_is_reported():
    """What is placed has the reported ends at its 2.5, 50 and 97.5% points.

    The reported curve is read off 400 points: 1e-3 of probability is a fifth of a step at its ends.
    """
    rows, x = design(SINGLE), np.linspace(-1, 1, len(SINGLE))
    rows = rows.assign(yi=0.2 + 0.3 * x)
    options = Options.given()
    found = slopes.slope(rows, x, options, 1)
    (line,) = slopes.means_along(found, [exact.ALONG], options)
    for which, at, p in (
        ("mu", "low", 0.025), ("mu", "median", 0.5), ("mu", "high", 0.975),
        ("prediction", "pred_low", 0.025), ("prediction", "pred_high", 0.975),
    ):  # fmt: skip
        assert exact.along(found, which, exact.ALONG, line[at]) == pytest.approx(p, abs=1e-3)
