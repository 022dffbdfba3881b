"""Draws of a pool: what the quadrature knows, within the Monte Carlo error of 4,000 draws."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.simple import read_simple
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.shrinkage import shrunken
from nssi_meta.synthesis import draws as module
from nssi_meta.synthesis.pooled import pool

REFERENCE = Path(__file__).parent.parent / "reference"
#: Four Monte Carlo standard errors of 4,000 independent draws, in units of the SD: of a mean and of
#: an SD (a normal's errs by SD / sqrt(2 S)).
MEAN, SPREAD = 4 / np.sqrt(4000), 4 / np.sqrt(8000)


@pytest.fixture(scope="module")
def bcg():
    return read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")


def flat(values):
    return values.to_numpy().reshape(4000, *values.shape[2:])


def test_effects_of_trials_and_of_a_new_one(bcg):
    """theta against the mixtures of `shrinkage`, exact here; the prediction against its density."""
    pools = pool(bcg, mu_prior="normal(0,4)", tau_prior="halfnormal(0.5)")
    tree = pools.posterior_data
    (cell,) = pools.cells
    exact = shrunken(cell.rows, cell.layout, cell.posterior, partial(vcalc, rho=0.6))
    theta = flat(tree["posterior"]["theta"])
    mean, sd = (np.array([getattr(m, name) for m in exact]) for name in ("mean", "sd"))
    assert np.all(np.abs(theta.mean(axis=0) - mean) < MEAN * sd)
    np.testing.assert_allclose(theta.std(axis=0), sd, rtol=SPREAD)
    assert tree["posterior"]["effect_id"].values.tolist() == bcg["effect_id"].tolist()
    new = flat(tree["posterior"]["prediction"])
    for p in (0.025, 0.5, 0.975):
        below = (new < cell.posterior.prediction.quantile(p)).mean()
        assert below == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000))


def test_likelihood_and_prior_are_the_densities_themselves(bcg):
    frame = bcg.assign(study_id=["a", "a", *bcg["study_id"][2:]])
    tree = pool(frame, mu_prior="student_t(3,0,1)", omega_prior="halfcauchy(0.2)").posterior_data
    mu, tau, omega = (flat(tree["posterior"][n]) for n in ("mu", "tau", "omega"))
    by_study = flat(tree["log_likelihood"]["study"])
    assert tree["log_likelihood"]["study_id"].values.tolist()[:2] == ["a", "row 4"]
    for s in range(0, 4000, 800):
        V = np.diag(frame["vi"][:2]) + tau[s] ** 2 + omega[s] ** 2 * np.eye(2)
        want = stats.multivariate_normal(np.full(2, mu[s]), V).logpdf(frame["yi"][:2])
        assert by_study[s, 0] == pytest.approx(want, rel=1e-10)
        sd = np.sqrt(frame["vi"][2] + tau[s] ** 2 + omega[s] ** 2)
        want = stats.norm(mu[s], sd).logpdf(frame["yi"][2])
        assert by_study[s, 1] == pytest.approx(want, rel=1e-10)
    prior = tree["log_prior"]
    np.testing.assert_allclose(flat(prior["mu"]), stats.t(3).logpdf(mu), rtol=1e-10)
    np.testing.assert_allclose(flat(prior["tau"]), stats.halfnorm(0, 0.5).logpdf(tau), rtol=1e-10)
    np.testing.assert_allclose(
        flat(prior["omega"]), stats.halfcauchy(0, 0.2).logpdf(omega), rtol=1e-10
    )


def test_bayes_rule_holds_of_the_draws(bcg):
    """Evidence = likelihood x prior / posterior, at every draw of a fixed-effect pool."""
    pools = pool(bcg, tau_prior="zero")
    tree, (cell,) = pools.posterior_data, pools.cells
    mu = flat(tree["posterior"]["mu"])
    joint = flat(tree["log_likelihood"]["study"]).sum(axis=1) + flat(tree["log_prior"]["mu"])
    np.testing.assert_allclose(
        joint - np.log(cell.posterior.mu.pdf(mu)), cell.posterior.log_evidence, rtol=1e-9
    )
    assert set(tree["log_prior"].data_vars) == {"mu"}
    np.testing.assert_allclose(flat(tree["posterior"]["theta"]), np.tile(mu[:, None], 13))


def test_bounds_and_effects_of_one_study():
    """theta of bounds against the mixtures of `shrinkage`, which are draws too (1,500)."""
    rows = pd.DataFrame(
        {
            "y": [0.2, np.nan, 0.5, np.nan, np.nan, 0.1],
            "v": [0.04, 0.05, 0.03, 0.06, 0.05, 0.02],
            "low": [np.nan, 0.4, np.nan, -0.5, 0.45, np.nan],
            "high": [np.nan, np.nan, np.nan, 0.5, np.nan, np.nan],
            "study": ["a", "a", "b", "c", "d", "d"],
        }
    )
    frame = read_simple(rows, "y", vi="v", study="study", lower="low", upper="high")
    pools = pool(frame)
    (cell,) = pools.cells
    tree = pools.posterior_data
    exact = shrunken(cell.rows, cell.layout, cell.posterior, partial(vcalc, rho=0.6))
    theta = flat(tree["posterior"]["theta"])
    both = 4 * np.sqrt(1 / 4000 + 1 / 1500)
    for i, mixture in enumerate(exact):
        assert theta[:, i].mean() == pytest.approx(mixture.mean, abs=both * mixture.sd)
        assert theta[:, i].std() == pytest.approx(mixture.sd, rel=both / np.sqrt(2))
    mu, tau, omega = (flat(tree["posterior"][n]) for n in ("mu", "tau", "omega"))
    sd = np.sqrt(0.06 + tau**2 + omega**2)
    inside = stats.norm.cdf((0.5 - mu) / sd) - stats.norm.cdf((-0.5 - mu) / sd)
    assert tree["log_likelihood"]["study_id"].values.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(flat(tree["log_likelihood"]["study"])[:, 2], np.log(inside))
    # Given the hyperparameters, theta of a bound follows mu + (theta - mu | y beyond the bound).
    gain = (tau**2 + omega**2) / sd**2
    low, high = (-0.5 - mu) / sd, (0.5 - mu) / sd
    drawn = mu + gain * sd * (stats.norm.pdf(low) - stats.norm.pdf(high)) / inside
    assert theta[:, 3].mean() == pytest.approx(drawn.mean(), abs=MEAN * theta[:, 3].std())


def test_studies_that_share_people_count_as_one():
    rows = pd.DataFrame(
        {"y": [0.2, 0.4, 0.1], "v": [0.1, 0.1, 0.1], "study": ["a", "b", "c"],
         "people": ["same", "same", "other"]}
    )  # fmt: skip
    tree = pool(read_simple(rows, "y", vi="v", study="study", sample="people")).posterior_data
    assert tree["log_likelihood"]["study_id"].values.tolist() == ["a + b", "c"]


def test_what_is_too_large_is_left_out(bcg, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 12)
    tree = pool(bcg, tau_prior="jeffreys").posterior_data
    assert set(tree.children) == {"posterior", "log_prior"}
    assert set(tree["posterior"].data_vars) == {"mu", "tau", "prediction"}


def test_the_likelihood_of_bounds_is_that_of_the_pool():
    """Two samples in one study: against scipy's normal rectangle, good to 1e-6 here."""
    near, far = np.full(4, -0.45), np.full(4, 0.45)
    near[:2], far[:2] = 0.5, 50.0
    study = pd.DataFrame({"yi": np.nan, "vi": 0.05, "lower": near, "upper": far, "study": "d"})
    study.loc[:1, "upper"] = np.nan
    study["sample"] = ["girls", "girls", "boys", "boys"]
    rest = pd.DataFrame({"yi": [0.3, 0.7, -0.1], "vi": [0.04, 0.09, 0.05], "study": list("abc")})
    rows = read_simple(
        pd.concat([rest, study], ignore_index=True).fillna({"sample": ""}),
        "yi", vi="vi", study="study", sample="sample", lower="lower", upper="upper",
    )  # fmt: skip
    tree = pool(rows).posterior_data
    found = flat(tree["log_likelihood"]["study"].sel(study_id="d"))
    mu, tau, omega = (flat(tree["posterior"][n]) for n in ("mu", "tau", "omega"))
    people = np.kron(np.eye(2), np.full((2, 2), 0.6)) + 0.4 * np.eye(4)
    for s in range(0, 4000, 1000):
        V = 0.05 * people + tau[s] ** 2 + omega[s] ** 2 * np.eye(4)
        normal = stats.multivariate_normal(np.full(4, mu[s]), V, abseps=1e-10, releps=1e-8, seed=1)
        inside = normal.cdf(far, lower_limit=near)
        assert found[s] == pytest.approx(np.log(inside), abs=1e-5)
