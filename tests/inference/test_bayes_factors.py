"""Bayes factors of a pool and the fixed-effect model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import nssi_meta as nm
from nssi_meta.inference.bayes_factors import bayes_factors
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import fit_exact, log_evidence
from nssi_meta.inference.point_mass import PointMass
from nssi_meta.models.priors import PriorError, parse_prior

MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")
ZERO = parse_prior("zero", "tau")
ROWS = [{"yi": 0.3, "vi": 0.04}, {"yi": 0.6, "vi": 0.02}, {"yi": 0.1, "vi": 0.05}]
BOUND = {"kind": "interval", "lower": 0.4, "upper": np.inf}


def test_one_study_in_closed_form(layout_of):
    data = layout_of([{"yi": 0.5, "vi": 0.04}])
    found = bayes_factors(data, mu_prior=MU, tau_prior=ZERO, mu=0.2)
    free = stats.norm.logpdf(0.5, 0, np.sqrt(1.04))
    assert found.log_evidence == pytest.approx(free, abs=1e-14)
    assert found.log_mu == pytest.approx(free - stats.norm.logpdf(0.5, 0.2, 0.2), abs=1e-14)
    assert found.log_tau is None


def test_a_null_other_than_zero_is_a_shift(layout_of):
    """mu = 0.2 of effects y with prior N(0.1, 1) is mu = 0 of effects y - 0.2 with N(-0.1, 1)."""
    shifted = layout_of([{**r, "yi": r["yi"] - 0.2} for r in ROWS])
    here = bayes_factors(
        layout_of(ROWS), mu_prior=parse_prior("normal(0.1,1)", "mu"), tau_prior=TAU, mu=0.2
    )
    there = bayes_factors(shifted, mu_prior=parse_prior("normal(-0.1,1)", "mu"), tau_prior=TAU)
    assert here.log_mu == pytest.approx(there.log_mu, abs=1e-12)
    assert here.log_tau == pytest.approx(there.log_tau, abs=1e-12)


@pytest.mark.parametrize("rows", [ROWS, [*ROWS, BOUND]], ids=["exact", "bounds"])
def test_savage_dickey(layout_of, rows):
    """BF01 of mu = 0 is posterior over prior density there; 1e-6 is the bounds' tolerance."""
    data = layout_of(rows)
    posterior = fit_exact(data, mu_prior=MU, tau_prior=TAU)
    ratio = np.log(float(posterior.mu.pdf(0.0))) - float(MU.logpdf(np.array(0.0)))
    found = bayes_factors(data, mu_prior=MU, tau_prior=TAU)
    assert -found.log_mu == pytest.approx(ratio, abs=1e-6)


@pytest.mark.parametrize(
    ("big", "together"),
    [(30.0, False), (1e4, False), (1e6, False), (1e9, False), (30.0, True), (1e9, True)],
)
def test_effects_and_bounds_far_outside_the_prior(layout_of, big, together):
    """Bounds were left out at nodes that the likelihood without the prior of tau put far off.

    An effect and a bound at y = `big` have the log likelihood -y^2 / tau^2 + 2 y mu / tau^2, with
    tau^2 = y / sqrt(2) where that and the prior -2 tau^2 are largest: beside -mu^2 / 2 the log
    Bayes factor of mu goes to (2 sqrt(2))^2 / 2 = 4, as 1/y. 1e-5 are the two axes, the rest the
    rounding of a log evidence of 3e9.
    """
    bound = {"kind": "interval", "lower": big, "upper": np.inf, "vi": 0.1, "study_id": "S"}
    rows = [{"yi": big, "vi": 0.1}, bound, {"yi": 0.2, "vi": 0.1}]
    if together:  # the lower of two bounds of one study says nothing more
        rows.insert(2, {**bound, "lower": big / 2})
    data = layout_of(rows)
    posterior = fit_exact(data, mu_prior=MU, tau_prior=TAU)
    log_mu = posterior.log_evidence - log_evidence(data, mu_prior=None, tau_prior=TAU)
    ratio = np.log(float(posterior.mu.pdf(0.0))) - float(MU.logpdf(np.array(0.0)))
    assert -log_mu == pytest.approx(ratio, abs=1e-5)
    assert log_mu == pytest.approx(4.0, abs=3.0 / big + 1e-5)


def test_improper_priors_have_none(layout_of):
    with pytest.raises(PriorError, match="improper prior flat"):
        bayes_factors(layout_of(ROWS), mu_prior=parse_prior("flat", "mu"), tau_prior=TAU)


def test_fixed_effect_is_the_weighted_mean(layout_of):
    data = layout_of(ROWS)
    fit = fit_exact(data, mu_prior=parse_prior("flat", "mu"), tau_prior=ZERO)
    w = 1 / np.array([r["vi"] for r in ROWS])
    mean = (w * [r["yi"] for r in ROWS]).sum() / w.sum()
    assert fit.mu.mean == pytest.approx(mean, rel=1e-14)
    assert fit.mu.sd == pytest.approx(1 / np.sqrt(w.sum()), rel=1e-14)
    assert fit.tau_density == PointMass(0.0)
    assert interval(fit.tau_density, 0.95, "shortest", 0.0) == (0.0, 0.0)
    assert interval(fit.prediction) == interval(fit.mu)
    mu, tau, _ = fit.draws(4000, 1)
    assert (tau == 0).all()
    assert mu.std() == pytest.approx(fit.mu.sd, rel=0.05)  # four standard errors of 4,000


def test_fixed_effect_with_bounds_and_with_a_t_prior(layout_of):
    """Against one-dimensional quadrature of the likelihood over mu."""
    data = layout_of([*ROWS, BOUND])
    for text in ("normal(0,1)", "student_t(1,0,0.7)"):
        prior = parse_prior(text, "mu")
        fit = fit_exact(data, mu_prior=prior, tau_prior=ZERO)
        x, w = np.polynomial.legendre.leggauss(400)
        mu, w = 3 * x, 3 * w
        log_p = prior.logpdf(mu) + stats.norm.logsf(0.4, mu, 0.2)
        for r in ROWS:
            log_p = log_p + stats.norm.logpdf(r["yi"], mu, np.sqrt(r["vi"]))
        p = w * np.exp(log_p)
        # the density is resolved to 1e-6, its integrals to the square of that
        assert fit.log_evidence == pytest.approx(np.log(p.sum()), abs=1e-9)
        assert fit.mu.mean == pytest.approx((p * mu).sum() / p.sum(), abs=1e-9)
        assert log_evidence(data, mu_prior=prior, tau_prior=None) == pytest.approx(
            fit.log_evidence, abs=1e-9
        )


def test_a_narrow_prior_approaches_the_fixed_effect(layout_of):
    data = layout_of(ROWS)
    fixed = fit_exact(data, mu_prior=MU, tau_prior=ZERO)
    narrow = fit_exact(data, mu_prior=MU, tau_prior=parse_prior("halfnormal(1e-5)", "tau"))
    # tau^2 of 1e-10 beside variances of 0.02
    assert narrow.mu.mean == pytest.approx(fixed.mu.mean, abs=1e-8)
    assert narrow.log_evidence == pytest.approx(fixed.log_evidence, abs=1e-7)


@pytest.mark.parametrize("omega", ["zero", "dumouchel", "shrinkage", "conventional", "i2"])
def test_factors_under_an_omega_of_the_data_or_none(omega):
    """The evidence is the posterior's, and omega = 0 the limit of a narrow prior (1e-8)."""
    frame = pd.DataFrame({"yi": [0.2, 0.5, 0.8, 0.1], "vi": [0.04, 0.06, 0.03, 0.05]})
    rows = nm.read_simple(frame.assign(study=list("aabc")), "yi", vi="vi", study="study")
    pools = nm.pool(rows, omega_prior=omega)
    (found,) = pools.bayes_factors().to_dict("records")
    assert found["note"] == ""
    assert found["log_evidence"] == pytest.approx(pools.cells[0].posterior.log_evidence, abs=1e-12)
    assert np.isfinite([found["bf10_mu"], found["bf10_tau"]]).all()
    if omega == "zero":
        narrow = nm.pool(rows, omega_prior="halfnormal(1e-6)").bayes_factors().iloc[0]
        for name in ("bf10_mu", "bf10_tau"):
            assert found[name] == pytest.approx(narrow[name], rel=1e-8)


def test_a_mean_that_is_no_number_is_refused():
    rows = nm.read_simple(pd.DataFrame({"yi": [0.2, 0.5], "vi": [0.04, 0.06]}), "yi", vi="vi")
    with pytest.raises(ValueError, match="a number, got nan"):
        nm.pool(rows).bayes_factors(mu=float("nan"))
