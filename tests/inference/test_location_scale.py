"""Location-scale models against metafor (tests/reference/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nssi_meta.inference.frequentist import rma
from nssi_meta.inference.location_scale import location_scale

REFERENCE = Path(__file__).parent.parent / "reference"
_REG = json.loads((REFERENCE / "metareg.json").read_text("utf-8"))
_BCG = json.loads((REFERENCE / "rma.json").read_text("utf-8"))["sets"]["bcg_RR"]
ABLAT = np.array(_REG["data"]["ablat"])


def test_agrees_with_metafor():
    expected = _REG["results"]["bcg_locationscale_ablat_ablat"]
    fit = location_scale(_BCG["yi"], _BCG["vi"], ABLAT, ABLAT)
    # Measured: 2e-8 for beta and the likelihood, 3e-7 for alpha (its optimiser's tolerance).
    np.testing.assert_allclose(fit.beta, expected["beta"], rtol=1e-6)
    np.testing.assert_allclose(fit.se, expected["se"], rtol=1e-6)
    np.testing.assert_allclose(fit.alpha, expected["alpha"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(fit.tau2, expected["tau2"], rtol=1e-6)
    assert fit.logLik == pytest.approx(expected["logLik"], rel=1e-12)
    # 5e-5 apart; ours is the observed information (next test).
    np.testing.assert_allclose(fit.se_alpha, expected["se.alpha"], rtol=1e-4)


def test_errors_of_alpha_are_the_curvature_of_the_likelihood():
    fit = location_scale(_BCG["yi"], _BCG["vi"], ABLAT, ABLAT)
    X = np.column_stack([np.ones(13), ABLAT]).astype(float)
    y, v = np.array(_BCG["yi"]), np.array(_BCG["vi"])

    def height(alpha):
        w = 1 / (v + np.exp(X @ alpha))
        M = X.T @ (w[:, None] * X)
        r = y - X @ np.linalg.solve(M, X.T @ (w * y))
        return -(-np.log(w).sum() + np.linalg.slogdet(M)[1] + w @ r**2) / 2

    step = np.array([2e-3, 2e-3 / 30])
    H = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = np.eye(2)[i] * step, np.eye(2)[j] * step
            corners = height(fit.alpha + a + b) - height(fit.alpha + a - b)
            corners -= height(fit.alpha - a + b) - height(fit.alpha - a - b)
            H[i, j] = corners / (4 * step[i] * step[j])
    # Differences of second order: their error is 1e-6 at this step, 3e-5 at five times it.
    np.testing.assert_allclose(fit.se_alpha, np.sqrt(np.diag(np.linalg.inv(-H))), rtol=5e-6)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_without_scale_moderators_it_is_rma(method):
    fit, plain = (
        location_scale(_BCG["yi"], _BCG["vi"], method=method),
        rma(_BCG["yi"], _BCG["vi"], method=method),
    )
    np.testing.assert_allclose(fit.tau2, plain.tau2, rtol=1e-8)
    np.testing.assert_allclose(fit.beta, plain.beta, rtol=1e-9)


def test_refusals():
    with pytest.raises(ValueError, match="allowed: REML, ML"):
        location_scale([1, 2, 3, 4], [1] * 4, method="DL")
    with pytest.raises(ValueError, match="2 effects for 1 \\+ 1"):
        location_scale([1, 2], [1, 1])
    with pytest.raises(ValueError, match="tau2 goes to 0"):
        location_scale([1.0, 1.01, 0.99, 1.0, 1.02], [0.5] * 5)
