"""Draws of a meta-regression: what the quadrature knows, within the error of 4,000 draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.synthesis import regression_draws as module
from nssi_meta.synthesis.regression import regress

_DATA = json.loads(
    (Path(__file__).parent.parent / "reference" / "bmr_exact.json").read_text("utf-8")
)
#: Independent draws, and how many Monte Carlo standard errors are allowed.
S, MOST = 4000, 4.0


@pytest.fixture(scope="module")
def bcg():
    return pd.DataFrame(_DATA["data"])


@pytest.fixture(scope="module")
def found(bcg):
    """Latitude and allocation; two trials of one study, so that omega is in the model."""
    frame = bcg.assign(study_id=["a", "a", *[f"s{i}" for i in range(11)]])
    return regress(frame, ["ablat", "alloc"])


def flat(values):
    return values.to_numpy().reshape(S, *values.shape[2:])


def agree(draws, density):
    """Mean, SD and quantiles of draws (S,) are those of the density.

    Errors: of a mean SD / sqrt(S), of a share sqrt(p (1 - p) / S); that of an SD is taken from the
    draws' own fourth moment, for prediction and tau are not normal.
    """
    centred = draws - draws.mean()
    kurtosis = (centred**4).mean() / draws.var() ** 2
    assert draws.mean() == pytest.approx(density.mean, abs=MOST * density.sd / np.sqrt(S))
    of_sd = np.sqrt((kurtosis - 1) / (4 * S))
    assert draws.std() == pytest.approx(density.sd, rel=MOST * of_sd)
    for p in (0.025, 0.25, 0.5, 0.75, 0.975):
        below = (draws < density.quantile(p)).mean()
        assert below == pytest.approx(p, abs=MOST * np.sqrt(p * (1 - p) / S))


def test_draws_have_the_exact_marginals(found):
    posterior, fit = found.posterior_data["posterior"], found.fit
    for name, density in zip(fit.names, fit.coefficients, strict=True):
        agree(flat(posterior["coef"].sel(coef_label=name)), density)
    agree(flat(posterior["tau"]), fit.tau_density)
    agree(flat(posterior["omega"]), fit.omega_density)
    for level in ("alternate", "random", "systematic"):
        x, label = found.design.row({"alloc": level}), f"alloc[{level}]"
        agree(flat(posterior["mean"].sel(mean_label=label)), fit.linear(x))
        agree(flat(posterior["prediction"].sel(prediction_label=label)), fit.predict(x))
    at = found.design.row({"alloc": "random"}) - found.design.row({})
    label = "alloc[random] - alloc[alternate]"
    agree(flat(posterior["contrast"].sel(contrast_label=label)), fit.linear(at))


def test_coefficients_vary_together_as_the_posterior_says(found):
    """Correlations err by less than 1 / sqrt(S)."""
    want = found.fit.covariance / np.outer(*2 * [np.sqrt(np.diag(found.fit.covariance))])
    got = np.corrcoef(flat(found.posterior_data["posterior"]["coef"]).T)
    np.testing.assert_allclose(got, want, atol=MOST / np.sqrt(S))


def test_draws_stand_between_the_nodes_and_follow_the_seed(bcg, found):
    tau = flat(found.posterior_data["posterior"]["tau"])
    assert len(np.unique(tau)) == S
    assert not np.isin(tau, found.fit.tau).any()
    one, again, other = (
        flat(regress(bcg, ["ablat"], seed=s).posterior_data["posterior"]["tau"]) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.isin(one, other).all()


def test_likelihood_and_prior_are_the_densities_themselves(bcg, found):
    tree = found.posterior_data
    coef, tau, omega = (flat(tree["posterior"][n]) for n in ("coef", "tau", "omega"))
    by_study = flat(tree["log_likelihood"]["study"])
    names = tree["log_likelihood"]["study_id"].values.tolist()
    assert sorted(names) == sorted({"a", *(f"s{i}" for i in range(11))})
    X = found.design.matrix(bcg)
    for s in range(0, S, 800):
        V = np.diag(bcg["vi"][:2]) + tau[s] ** 2 + omega[s] ** 2 * np.eye(2)
        want = stats.multivariate_normal(X[:2] @ coef[s], V).logpdf(bcg["yi"][:2])
        assert by_study[s, names.index("a")] == pytest.approx(want, rel=1e-10)
        sd = np.sqrt(bcg["vi"][4] + tau[s] ** 2 + omega[s] ** 2)
        want = stats.norm(X[4] @ coef[s], sd).logpdf(bcg["yi"][4])
        assert by_study[s, names.index("s2")] == pytest.approx(want, rel=1e-10)
    prior = tree["log_prior"]
    spread = np.where(np.array(found.fit.names) == "ablat", 1 / bcg["ablat"].std(ddof=0), 1.0)
    want = stats.norm(0, spread).logpdf(coef).sum(axis=1)
    np.testing.assert_allclose(flat(prior["coef"]), want, rtol=1e-10)
    for name, value in (("tau", tau), ("omega", omega)):
        want = stats.halfnorm(0, 0.5).logpdf(value)
        np.testing.assert_allclose(flat(prior[name]), want, rtol=1e-10)


def test_bayes_rule_holds_of_the_draws(bcg):
    """Evidence = likelihood x prior / posterior, at every draw of a fixed-effect regression."""
    fit = regress(bcg, ["ablat"], tau_prior="zero")
    tree = fit.posterior_data
    coef = flat(tree["posterior"]["coef"])
    joint = flat(tree["log_likelihood"]["study"]).sum(axis=1) + flat(tree["log_prior"]["coef"])
    posterior = stats.multivariate_normal(fit.fit.mean, fit.fit.covariance, allow_singular=True)
    np.testing.assert_allclose(joint - posterior.logpdf(coef), fit.fit.log_evidence, rtol=1e-8)
    assert set(tree["log_prior"].data_vars) == {"coef"}
    X = fit.design.matrix(bcg)
    np.testing.assert_allclose(flat(tree["posterior"]["theta"]), coef @ X.T, atol=1e-12)


def test_effects_of_trials_are_drawn_to_their_own_means(bcg):
    """E theta = E[B y + (1 - B) x'b], B = tau^2 / (tau^2 + v), over the nodes: exact."""
    found = regress(bcg, ["ablat"])
    fit, theta = found.fit, flat(found.posterior_data["posterior"]["theta"])
    X, y, v = found.design.matrix(bcg), bcg["yi"].to_numpy(), bcg["vi"].to_numpy()
    kept = fit.tau[:, None] ** 2 / (fit.tau[:, None] ** 2 + v)
    at = kept * y + (1 - kept) * (fit.node_mean @ X.T)
    mean = fit.weight @ at
    spread = np.einsum("ki,nij,kj->nk", X, fit.node_covariance, X)
    var = fit.weight @ ((1 - kept) ** 2 * spread + kept * v + (at - mean) ** 2)
    assert np.all(np.abs(theta.mean(axis=0) - mean) < MOST * np.sqrt(var / S))
    np.testing.assert_allclose(theta.std(axis=0), np.sqrt(var), rtol=MOST * np.sqrt(1.5 / S))


def test_what_was_measured_may_be_the_moderator(bcg):
    """The rows as laid out hold the outcome in `measure`: the design does not come from them."""
    frame = bcg.assign(measure=np.where(bcg["ablat"] > 35, "far", "near"))
    one = regress(frame, ["measure"]).posterior_data["posterior"]
    same = regress(frame.assign(lat=frame["measure"]).drop(columns="measure"), ["lat"])
    np.testing.assert_array_equal(one["theta"], same.posterior_data["posterior"]["theta"])
    assert one["effect_id"].values.tolist() == [f"row {i + 1}" for i in range(13)]


def test_what_is_too_large_is_left_out(bcg, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 12)
    tree = regress(bcg, ["ablat"], tau_prior="jeffreys").posterior_data
    assert set(tree.children) == {"posterior", "log_prior"}
    assert "theta" not in tree["posterior"]
