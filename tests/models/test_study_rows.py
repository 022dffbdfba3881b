"""Rotated rows and the marginal likelihood, against the multivariate normal density itself."""

import numpy as np
import pytest

from nssi_meta.models.coefficients import (
    coef_values,
    first_estimate,
    stretch,
    study_log_likelihood,
)
from nssi_meta.models.structure import coef_prior
from nssi_meta.models.study_rows import study_rows

STUDY = ["a", "b", "a", "c", "b", "a", "d"]


def random_rows(seed=0, p=2):
    rng = np.random.default_rng(seed)
    k = len(STUDY)
    V = np.diag(rng.uniform(0.02, 0.2, k))
    for i in range(k):
        for j in range(i):
            if STUDY[i] == STUDY[j] != "b":  # study b keeps independent errors
                V[i, j] = V[j, i] = 0.5 * np.sqrt(V[i, i] * V[j, j])
    X = np.c_[np.ones(k), rng.normal(size=(k, p - 1))]
    return rng.normal(size=k), V, X


def mvn(y, mean, sigma):
    r = y - mean
    _, log_det = np.linalg.slogdet(sigma)
    return -0.5 * (len(y) * np.log(2 * np.pi) + log_det + r @ np.linalg.solve(sigma, r))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_study_has_its_multivariate_normal_density(seed):
    y, V, X = random_rows(seed)
    rows = study_rows(y, V, STUDY, X)
    coef, tau, omega = np.array([[0.2, -0.4], [1.0, 0.3]]), np.array([0.3, 0.0]), np.array([0.2, 0])
    ours = study_log_likelihood(rows, coef, tau, omega)
    assert rows.names == ("a", "b", "c", "d")
    for s in range(2):
        for j, name in enumerate(rows.names):
            i = np.flatnonzero(np.array(STUDY) == name)
            sigma = V[np.ix_(i, i)] + tau[s] ** 2 + omega[s] ** 2 * np.eye(len(i))
            # Rounding of an eigendecomposition of condition below 100.
            assert ours[s, j] == pytest.approx(mvn(y[i], X[i] @ coef[s], sigma), abs=1e-12)


def test_effects_of_a_million_with_tiny_variances_keep_their_digits():
    base = np.array([0.0, 2e-6, 1e-6, 3e-6])
    rows = study_rows(1e6 + base, np.full(4, 1e-12), ["a", "a", "b", "b"])
    small = study_rows(base * 1e6, np.full(4, 1.0), ["a", "a", "b", "b"])
    one = study_log_likelihood(rows, np.array([[1e6]]), np.array([1e-6]), np.array([1e-6]))
    two = study_log_likelihood(small, np.array([[0.0]]), np.array([1.0]), np.array([1.0]))
    # 1e6 is stored to 1e-10, that is to 1e-4 of the errors' SD, and enters squared.
    assert one - 2 * np.log(1e6) == pytest.approx(two, abs=2e-3)


def test_first_estimate_is_the_posterior_given_the_variances():
    """With every variance known (no heterogeneity left) it is Bayesian least squares."""
    rng = np.random.default_rng(4)
    X = np.c_[np.ones(6), np.arange(6.0)]
    y = X @ [0.3, 0.1] + 1e-3 * rng.normal(size=6)  # far less scatter than the variances
    prior = coef_prior(["normal(1,2)", "flat"])
    centre, chol = first_estimate(study_rows(y, np.full(6, 0.5), range(6), X), prior)
    precision = X.T @ X / 0.5 + np.diag([0.25, 0.0])
    assert chol @ chol.T == pytest.approx(np.linalg.inv(precision), rel=1e-10)
    assert centre == pytest.approx(np.linalg.solve(precision, X.T @ y / 0.5 + [0.25, 0]), rel=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yi": [0.1, np.nan]}, "row 2: this model takes exact effects only"),
        ({"V": [0.1, 0.0]}, "row 2 is 0; it must be finite and above 0"),
        ({"V": [0.1, 0.1, 0.1]}, r"shape \(2,\) or \(2, 2\)"),
        ({"V": [[0.1, 0.2], [0.2, 0.1]], "study": ["a", "a"]}, "not positive definite"),
        ({"V": [[0.1, 0.02], [0.0, 0.1]], "study": ["a", "a"]}, "symmetric"),
        ({"V": [[0.1, 0.05], [0.05, 0.1]]}, "ties rows of the studies a and b"),
        ({"study": ["a"]}, "1 study names for 2 effects"),
        ({"X": [[1.0], [np.inf]]}, "X is not finite in row 2, column 1"),
        ({"X": [[1.0]]}, "matrix of 2 rows"),
        ({"yi": []}, "at least one effect"),
    ],
)
def test_what_is_refused(change, message):
    given = {"yi": [0.1, 0.2], "V": [0.1, 0.1], "study": ["a", "b"]} | change
    with pytest.raises(ValueError, match=message):
        study_rows(**given)


@pytest.mark.parametrize("flat", [False, True])
def test_coefficients_are_as_wide_as_tau_makes_them(flat):
    """Orthogonal columns and equal variances: their posterior SD given tau, to rounding."""
    X = np.c_[np.ones(6), np.tile([-1.0, 1.0], 3)]
    rows = study_rows(np.array([0.1, 0.9, 0.2, 1.4, -0.3, 0.5]), np.full(6, 0.5), range(6), X)
    prior = coef_prior(["flat" if flat else "normal(0,1)", "normal(0,0.4)"])
    values = coef_values(rows, prior)
    tau2 = np.array([0.0, 0.05, 1.0, 30.0])[:, None]
    sd = stretch(values, tau2) * np.sqrt(np.diag(values["coef_chol"] @ values["coef_chol"].T))
    np.testing.assert_allclose(sd, (prior.precision + 6 / (0.5 + tau2)) ** -0.5, rtol=1e-12)
