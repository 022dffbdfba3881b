"""Closed forms of the normal-normal pool against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.inference.gaussian import gauss_terms


def correlated(frame):
    s = np.sqrt(frame["vi"].to_numpy(dtype=float))
    return 0.5 * np.outer(s, s) + 0.5 * np.diag(s**2)


ROWS = [
    {"yi": 0.3, "vi": 0.04},
    {"yi": -0.1, "vi": 0.02},
    *({"study_id": "A", "yi": y, "vi": v} for y, v in ((0.5, 0.03), (0.6, 0.05))),
    *({"study_id": "B", "yi": y, "vi": v} for y, v in ((0.0, 0.03), (0.2, 0.02), (0.1, 0.08))),
]


@pytest.mark.parametrize("vcalc", [None, correlated], ids=["independent", "correlated"])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:2], ROWS[2:], ROWS[:1]])
@pytest.mark.parametrize(("tau", "omega"), [(0.0, 0.0), (0.3, 0.0), (0.2, 0.4), (5.0, 1e-4)])
def test_terms_are_those_of_the_joint_normal(layout_of, vcalc, rows, tau, omega):
    data = layout_of(rows) if vcalc is None else layout_of(rows, 0.5, vcalc)
    sigma = np.diag(data.v) + omega**2 * np.eye(data.k)
    for part in data.block_rows:
        at = np.ix_(part, part)
        sigma[at] += tau**2
        if vcalc is not None:
            s = np.sqrt(data.v[part])
            sigma[at] += 0.5 * (np.outer(s, s) - np.diag(s**2))
    terms = gauss_terms(data, np.array([tau]), np.array([omega]))
    inverse, one = np.linalg.inv(sigma), np.ones(data.k)
    precision = one @ inverse @ one
    assert terms.precision[0] == pytest.approx(precision, rel=1e-11)
    assert terms.mean[0] == pytest.approx(one @ inverse @ data.y / precision, rel=1e-11, abs=1e-13)
    assert terms.log_det[0] == pytest.approx(np.linalg.slogdet(sigma)[1], abs=1e-11)
    for m in (-0.4, 0.0, 0.7):
        value = -0.5 * (data.k * np.log(2 * np.pi) + terms.log_det + terms.quad(np.array([m])))
        expected = stats.multivariate_normal.logpdf(data.y, np.full(data.k, m), sigma)
        assert value[0] == pytest.approx(expected, abs=1e-10)


def test_nodes_broadcast(layout_of):
    data = layout_of(ROWS, 0.5, correlated)
    tau, omega = np.array([0.1, 0.3])[:, None], np.array([0.0, 0.2, 0.5])[None, :]
    terms = gauss_terms(data, tau, omega)
    for i in range(2):
        for j in range(3):
            one = gauss_terms(data, tau[i], omega[:, j])
            assert terms.mean[i, j] == pytest.approx(one.mean[0], rel=1e-13)
            assert terms.quad(np.zeros((2, 3)))[i, j] == pytest.approx(one.quad(np.zeros(1))[0])


def test_residuals_keep_their_digits_far_from_zero(layout_of):
    """Effects of 1e6 with variances of 1e-12: a sum of squares minus a square would lose all."""
    rng = np.random.default_rng(0)
    step = 2.0**-20  # exact in binary beside 1e6
    offsets = rng.integers(-3, 4, 8) * step
    far = layout_of([{"yi": 1e6 + o, "vi": 1e-12} for o in offsets])
    near = layout_of([{"yi": o, "vi": 1e-12} for o in offsets])
    tau, omega = np.array([0.0, 1e-6, 1.0]), np.zeros(1)
    a, b = gauss_terms(far, tau, omega), gauss_terms(near, tau, omega)
    np.testing.assert_allclose(a.mean - 1e6, b.mean, atol=2e-10)
    # the mean itself is rounded to 1e-10, i.e. to 1e-4 standard errors
    np.testing.assert_allclose(a.quad(a.mean), b.quad(b.mean), rtol=1e-6)
