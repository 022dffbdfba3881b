"""Remembered panels: the same numbers as evaluating everything anew, and less work."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.remembered import Remembered
from nssi_meta.models.blocks import layout
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import parse_prior
from nssi_meta.synthesis.pooled import comparable_rows

PRIORS = [
    (mu, tau)
    for mu in ("normal(0,1)", "student_t(3,0,1)")
    for tau in ("halfnormal(0.5)", "halfcauchy(0.5)")
]
OMEGA = parse_prior("halfnormal(0.5)", "tau")


@pytest.fixture(scope="module")
def data(review):
    """A pool with single bounds, exact rows and a study of two bounds."""
    evidence = read_effects(review).select(mechanism="reflex", condition="alpha")
    found = layout(comparable_rows(evidence), vcalc)
    assert found.bound_blocks is not None
    return found


def test_other_priors_before_change_no_number(data):
    known = Remembered(data)
    for mu, tau in PRIORS:
        one, other = (
            fit_exact(
                data,
                mu_prior=parse_prior(mu, "mu"),
                tau_prior=parse_prior(tau, "tau"),
                omega_prior=OMEGA,
                likelihood=likelihood,
            )
            for likelihood in (None, known)
        )
        for p in (0.025, 0.5, 0.975):
            # Nodes left without their blocks (e^-34 of the best each) are all that may differ.
            assert other.mu.quantile(p) == pytest.approx(one.mu.quantile(p), abs=1e-9)
        assert other.log_evidence == pytest.approx(one.log_evidence, abs=1e-9)


def test_a_second_fit_evaluates_nothing_anew(data, monkeypatch):
    known = Remembered(data)
    priors = {"mu_prior": parse_prior("normal(0,1)", "mu"), "omega_prior": OMEGA,
              "tau_prior": parse_prior("halfnormal(0.5)", "tau")}  # fmt: skip
    first = fit_exact(data, likelihood=known, **priors)
    calls = []
    for name in ("likelihood", "blocks"):
        monkeypatch.setattr(known.on_grid, name, lambda *a: calls.append(a))
    second = fit_exact(data, likelihood=known, **priors)
    assert not calls
    assert second.mu.quantile(0.3) == first.mu.quantile(0.3)


def test_panels_and_plain_nodes_agree(data):
    mu, tau, omega = np.linspace(-1, 2, 12), np.linspace(0.05, 1, 6), np.linspace(0.1, 0.6, 6)
    prior = np.zeros((12, 6, 6))
    step = np.zeros(1)
    got = Remembered(data).density((mu, tau, omega), 6, (True, True), prior, step)
    at = np.broadcast_arrays(mu.reshape(-1, 1, 1), tau.reshape(-1, 1), omega.reshape(1, -1))
    m, t, w = (a.reshape(-1, 1) for a in at)
    one = np.ones((1, data.k))
    want = log_likelihood(data, m * one, t * one, w).sum(axis=-1).reshape(got.shape)
    near = want > want.max() - 20
    # The integral at a node, which is not used here, errs by up to 5e-9.
    np.testing.assert_allclose(got[near], want[near], atol=1e-8)
