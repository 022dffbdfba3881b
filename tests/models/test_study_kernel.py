"""Compiled log likelihood of exact rows by study and its slopes, against the dense density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, gammaln, logsumexp

from nssi_meta.models.robust import log_mixing, mixing_constant, study_log_likelihood
from nssi_meta.models.row_kernel import BEYOND, UNSIGNED
from nssi_meta.models.shrunken_kernel import shrunken_studies
from nssi_meta.models.study_kernel import log_of_factors, normal_studies, student_studies
from nssi_meta.models.study_rows import study_rows

STUDY = np.array(["a", "b", "a", "c", "b", "a", "d"])
#: Rows of any kind that are studies of their own: form, a, b, sampling variance, mean.
ALONE = (
    np.array([float(BEYOND), float(UNSIGNED), -1.0]), np.array([0.3, 0.5, 9.0]),
    np.array([1.0, 0.0, 9.0]), np.array([0.05, 0.1, 9.0]),
)  # fmt: skip
MEANS = np.array([0.2, -0.1, 9.0])


def some_rows(seed=0, p=1):
    """Rotated rows, and what they were: effects, covariance and design."""
    rng, k = np.random.default_rng(seed), len(STUDY)
    s = np.sqrt(rng.uniform(0.02, 0.2, k))
    same = (STUDY[:, None] == STUDY) & (STUDY[:, None] != "b")  # b keeps independent errors
    V = np.where(same, 0.5, 0.0) * np.outer(s, s) + np.diag(s**2) * (1 - 0.5 * same.diagonal())
    y, X = rng.normal(size=k), np.c_[np.ones(k), rng.normal(size=(k, p - 1))]
    return study_rows(y, V, STUDY, X), y, V, X


def dense(y, V, tau2_of_row, omega2, more=0.0):
    """Log density of effects with mean 0 by their whole covariance."""
    u = np.sqrt(tau2_of_row)
    sigma = V + omega2 * np.eye(len(y)) + (STUDY[:, None] == STUDY) * np.outer(u, u) + more
    return stats.multivariate_normal.logpdf(y, np.zeros(len(y)), sigma)


def slopes_of(value, point):
    """Central differences: step^2 and rounding over the step, 1e-8 of either."""
    out = []
    for i, x in enumerate(point):
        step = 1e-5 * max(abs(x), 0.1) * np.eye(len(point))[i]
        out.append((value(point + step) - value(point - step)) / (2 * step[i]))
    return out


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("tau2", "omega2"), [(0.0, 0.0), (0.3, 0.05), (40.0, 2.0)])
def test_normal_studies_are_the_dense_density(shared, tau2, omega2):
    rows, y, V, _ = some_rows()
    tau2s = np.full(1, tau2) if shared else tau2 * np.array([1.0, 0.5, 2.0, 0.0])

    def at(point):
        t2, w2 = point[: len(tau2s)], point[len(tau2s)]
        return normal_studies(point[len(tau2s) + 1 :], t2, w2, rows.z, rows.d, rows.size)

    point = np.r_[tau2s, omega2, rows.y]
    total, d_residual, d_tau2, d_omega2 = at(point)
    of_row = np.broadcast_to(tau2s, 4)[np.unique(STUDY, return_inverse=True)[1]]
    assert total == pytest.approx(dense(y, V, of_row, omega2), rel=1e-12)
    wanted = slopes_of(lambda x: at(x)[0], point)
    assert [*d_tau2, d_omega2, *d_residual] == pytest.approx(wanted, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("nu", [1.5, 6.0, 80.0])
@pytest.mark.parametrize("tau", [0.05, 0.8])
def test_student_studies_are_the_mean_over_lambda(nu, tau):
    """Studies as reported, beside rows that stand alone at every node: e^-18 a study left out."""
    rows = some_rows(3)[0]
    omega2, k = 0.02, len(rows.y)

    def at(point):
        t2, w2, freedom = point[k + 3 :]
        constant = mixing_constant(freedom, np.log, gammaln)
        arrays = (rows.z, rows.d, rows.size), ALONE
        return student_studies(point[:k], point[k : k + 3], t2, w2, freedom, constant, *arrays)

    point = np.r_[rows.y, MEANS, tau**2, omega2, nu]
    total, d_residual, d_mean, d_tau2, d_omega2, d_nu, d_constant = at(point)

    log_weight, inflate = log_mixing(nu)
    one = np.ones(1)
    wanted = study_log_likelihood(
        rows, np.zeros((1, 1)), tau * one, np.sqrt(omega2) * one, nu * one
    ).sum()
    sd = np.sqrt(np.array([0.05, 0.1])[:, None] + omega2 + tau**2 * inflate)
    wanted += logsumexp(log_weight + stats.norm.logsf((0.3 - 0.2) / sd[0]))
    signs = [stats.norm.logpdf(x, -0.1, sd[1]) for x in (0.5, -0.5)]
    wanted += logsumexp(log_weight + np.logaddexp(*signs))
    assert total == pytest.approx(wanted, abs=1e-7)

    assert d_constant == 6
    by_nu = d_nu + d_constant * 0.5 * (np.log(nu / 2) + 1.0 - digamma(nu / 2))
    # 2e-6: which nodes are left out moves with the point, e^-18 of a step's 1e-6.
    ours = [*d_residual, *d_mean, d_tau2, d_omega2, by_nu]
    assert ours == pytest.approx(slopes_of(lambda x: at(x)[0], point), rel=2e-5, abs=2e-6)


@pytest.mark.parametrize(("tau2", "omega2"), [(0.0, 0.0), (0.3, 0.05), (40.0, 2.0)])
def test_coefficients_integrated_out_are_the_dense_density(tau2, omega2):
    rows, y, V, X = some_rows(5, p=3)
    scale = np.array([1.0, 0.3, 2.0])
    columns = np.vstack([rows.X.T, rows.y])

    def at(point):
        return shrunken_studies(point[:3], point[3], point[4], columns, rows.z, rows.d, rows.size)

    point = np.r_[scale, tau2, omega2]
    total, d_scale, d_tau2, d_omega2 = at(point)
    more = (X * scale**2) @ X.T
    assert total == pytest.approx(dense(y, V, np.full(len(y), tau2), omega2, more), rel=1e-12)
    wanted = slopes_of(lambda x: at(x)[0], point)
    assert [*d_scale, d_tau2, d_omega2] == pytest.approx(wanted, rel=1e-6, abs=1e-7)


def test_a_coefficient_whose_scale_is_zero_leaves_no_trace():
    rows, _, _, _ = some_rows(5, p=2)
    columns = np.vstack([rows.X.T, rows.y])
    numbers = 0.2, 0.1, columns, rows.z, rows.d, rows.size
    with_it = shrunken_studies(np.array([1.0, 0.0]), *numbers)
    without = shrunken_studies(np.ones(1), 0.2, 0.1, columns[[0, 2]], *numbers[3:])
    assert with_it[0] == pytest.approx(without[0], rel=1e-14)
    assert with_it[1] == pytest.approx([without[1][0], 0.0])


@pytest.mark.parametrize("tau", [1e3, 1e5])
def test_a_tau_that_drowns_the_errors(tau):
    """Slopes where 1 / tau^2 is rounding beside 1 / v: those of effects without errors."""
    rows = study_rows([0.2, -0.4, 0.7], np.full(3, 1e-4), range(3))
    total, d_residual, d_tau2, _ = normal_studies(
        rows.y, np.full(1, tau**2), 0.0, rows.z, rows.d, rows.size
    )
    assert total == pytest.approx(stats.norm.logpdf(rows.y, 0, tau).sum(), rel=1e-9)
    assert d_residual == pytest.approx(-rows.y / tau**2, rel=1e-9)
    columns = np.vstack([rows.X.T, rows.y])
    value = shrunken_studies(np.ones(1), tau**2, 0.0, columns, rows.z, rows.d, rows.size)
    assert value[0] == pytest.approx(total, rel=1e-6)  # the mean is told to 1 / tau^2
    assert value[2] == pytest.approx(d_tau2[0], rel=1e-5)


def test_logarithms_of_products_of_any_size():
    factors = np.array([1e-200, 1e-300, 3.0, 1e250, 1e-140, 1e-140, 1e300, 7.0])
    assert log_of_factors(factors) == pytest.approx(np.log(factors).sum(), rel=1e-14)
    many = np.random.default_rng(1).uniform(1e-3, 1e-2, 2000)
    assert log_of_factors(many) == pytest.approx(np.log(many).sum(), rel=1e-13)
    assert log_of_factors(np.zeros(0)) == 0.0
