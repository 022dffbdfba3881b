"""Meta-regression by quadrature against another program, brute force and the pool itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.regression import coefficient_bayes_factors, fit_regression
from nssi_meta.models.priors import PriorError, parse_prior

_FILE = json.loads(
    (Path(__file__).parent.parent / "reference" / "bmr_exact.json").read_text("utf-8")
)
DATA, CASES = _FILE["data"], _FILE["results"]
#: In posterior SDs; measured 2e-13. bmr's Bayes factors agree to 1e-11.
TOLERANCE = 1e-10
HN = parse_prior("halfnormal(0.5)", "tau")
FLAT = parse_prior("flat", "mu")


def normal(mean, sd):
    return parse_prior(f"normal({mean},{sd})", "mu")


def design(names):
    ablat, year = np.array(DATA["ablat"], float), np.array(DATA["year"], float)
    columns = {"intercept": np.ones(len(ablat)), "ablat": ablat, "ablat_c": ablat - 33.46,
               "year_c": (year - 1966) / 10}  # fmt: skip
    columns |= {a: (np.array(DATA["alloc"]) == a).astype(float) for a in set(DATA["alloc"])}
    return np.column_stack([columns[n] for n in names])


@pytest.fixture(scope="module")
def bcg(layout_of):
    return layout_of([{"yi": y, "vi": v} for y, v in zip(DATA["yi"], DATA["vi"], strict=True)])


@pytest.mark.parametrize("name", list(CASES))
def test_reference(bcg, name):
    case = CASES[name]
    X, tau = design(case["X"]), parse_prior(case["tau_prior"], "tau")
    beta = case["beta_prior"]
    priors = (
        [FLAT] * X.shape[1]
        if beta == "flat"
        else [normal(m, s) for m, s in zip(beta["mean"], beta["sd"], strict=True)]
    )
    fit = fit_regression(bcg, X, beta_prior=priors, tau_prior=tau, names=case["X"])
    exact = case["exact"]
    assert fit.tau_density.mean == pytest.approx(
        exact["tau"]["mean"], abs=TOLERANCE * exact["tau"]["sd"]
    )
    assert fit.tau_density.sd == pytest.approx(exact["tau"]["sd"], rel=TOLERANCE)
    for j, (label, density) in enumerate(zip(case["X"], fit.coefficients, strict=True)):
        theirs = exact["beta"][label]
        near = {"abs": TOLERANCE * theirs["sd"]}
        assert density.mean == pytest.approx(theirs["mean"], **near)
        assert density.sd == pytest.approx(theirs["sd"], **near)
        assert density.quantile(0.5) == pytest.approx(theirs["median"], **near)
        assert interval(density) == pytest.approx(theirs["central95"], **near)
        assert fit.mean[j] == pytest.approx(theirs["mean"], **near)
        assert np.sqrt(fit.covariance[j, j]) == pytest.approx(theirs["sd"], **near)
    if case["bayesfactor"] is None:
        assert fit.log_evidence is None
        return
    assert fit.log_evidence == pytest.approx(exact["logml"], abs=1e-11)
    logs = coefficient_bayes_factors(bcg, X, beta_prior=priors, tau_prior=tau, names=case["X"])
    for label, bf01 in case["bayesfactor"].items():
        assert np.exp(-logs[label.removesuffix("=0")]) == pytest.approx(bf01, rel=1e-9)


def test_an_intercept_alone_is_the_pool(bcg):
    fit = fit_regression(bcg, np.ones((bcg.k, 1)), beta_prior=[normal(0, 4)], tau_prior=HN)
    pool = fit_exact(bcg, mu_prior=normal(0, 4), tau_prior=HN)
    assert fit.log_evidence == pytest.approx(pool.log_evidence, abs=1e-12)
    assert fit.coefficients[0].mean == pytest.approx(pool.mu.mean, abs=1e-13)
    assert interval(fit.predict([1.0])) == pytest.approx(interval(pool.prediction), abs=1e-11)


def test_dependent_rows_count_with_their_covariance(layout_of):
    """Marginal likelihood at single nodes against the multivariate normal of scipy."""
    rows = [
        {"yi": 0.3, "study_id": "A", "sample_id": "a", "vi": 0.05},
        {"yi": 0.7, "study_id": "A", "sample_id": "a", "vi": 0.03},
        {"yi": 0.1, "vi": 0.02},
        {"yi": 0.5, "vi": 0.08},
    ]
    V = np.diag([0.05, 0.03, 0.02, 0.08])
    V[0, 1] = V[1, 0] = 0.6 * np.sqrt(0.05 * 0.03)
    data = layout_of(rows, 0.6, lambda f: V[: len(f), : len(f)])
    X = np.column_stack([np.ones(4), [0.0, 1.0, 0.5, 2.0]])
    omega = parse_prior("halfnormal(0.3)", "tau")
    beta = [normal(0.2, 1), normal(0, 0.7)]
    fit = fit_regression(data, X, beta_prior=beta, tau_prior=HN, omega_prior=omega)
    # tensor Gauss-Legendre of 60 x 60 nodes on [0, 5 scale]^2, where the priors end
    x, w = np.polynomial.legendre.leggauss(60)
    same = np.zeros((4, 4))
    same[:2, :2] = 1.0
    same[2, 2] = same[3, 3] = 1.0
    total = 0.0
    for t, wt in zip(1.5 * (x + 1), 1.5 * w, strict=True):
        for o, wo in zip(0.9 * (x + 1), 0.9 * w, strict=True):
            cov = V + t**2 * same + o**2 * np.eye(4) + X @ np.diag([1.0, 0.49]) @ X.T
            p = stats.multivariate_normal.pdf([r["yi"] for r in rows], X @ [0.2, 0.0], cov)
            prior = np.exp(HN.logpdf(np.array(t)) + omega.logpdf(np.array(o)))
            total += wt * wo * p * prior
    # the priors' tails beyond the square: erfc(6 / sqrt 2) = 2e-9
    assert fit.log_evidence == pytest.approx(np.log(total), abs=1e-7)
    assert fit.omega_density is not None


def test_the_unit_of_a_moderator_changes_the_unit_of_its_coefficient_only(bcg):
    X = design(["intercept", "ablat_c"])
    one = fit_regression(bcg, X, beta_prior=[normal(0, 4), normal(0, 1)], tau_prior=HN)
    scaled = X * [1.0, 1e6]
    other = fit_regression(bcg, scaled, beta_prior=[normal(0, 4), normal(0, 1e-6)], tau_prior=HN)
    assert other.log_evidence == pytest.approx(one.log_evidence, abs=1e-11)
    assert 1e6 * other.coefficients[1].mean == pytest.approx(one.coefficients[1].mean, rel=1e-11)
    assert other.linear([1.0, 5e6]).sd == pytest.approx(one.linear([1.0, 5.0]).sd, rel=1e-11)


def test_fixed_effects_are_weighted_least_squares(bcg):
    X = design(["intercept", "ablat_c"])
    fit = fit_regression(bcg, X, beta_prior=[FLAT, FLAT], tau_prior=parse_prior("zero", "tau"))
    W = np.diag(1 / np.array(DATA["vi"]))
    cov = np.linalg.inv(X.T @ W @ X)
    np.testing.assert_allclose(fit.mean, cov @ X.T @ W @ DATA["yi"], rtol=1e-12)
    np.testing.assert_allclose(fit.covariance, cov, rtol=1e-12)
    assert fit.tau_density.quantile(0.975) == 0.0
    assert fit.predict([1, 0]).sd == pytest.approx(fit.linear([1, 0]).sd, rel=1e-14)


def test_hard_numbers(layout_of):
    """Effects of 1e6 with variances of 1e-12 on a line: the line comes back."""
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    data = layout_of([{"yi": 1e6 + 3 * v, "vi": 1e-12} for v in x])
    X = np.column_stack([np.ones(5), x])
    fit = fit_regression(data, X, beta_prior=[FLAT, FLAT], tau_prior=HN)
    # effects of 1e6 are themselves known to 1e-10 only
    assert fit.mean[1] == pytest.approx(3.0, abs=1e-8)
    assert np.isfinite(fit.covariance).all()


@pytest.mark.parametrize(
    ("columns", "beta", "tau", "error", "says"),
    [
        (["intercept", "ablat", "ablat_c"], "flat", "halfnormal(0.5)", ValueError, "collinear"),
        (["intercept", "alternate", "random", "systematic"], "flat", "halfnormal(0.5)",
         ValueError, "collinear"),
        (["intercept"], "student_t(3,0,1)", "halfnormal(0.5)", PriorError, "normal.* or flat"),
    ],
)  # fmt: skip
def test_refusals(bcg, columns, beta, tau, error, says):
    X = design(columns)
    with pytest.raises(error, match=says):
        fit_regression(
            bcg, X, beta_prior=[parse_prior(beta, "mu")] * X.shape[1],
            tau_prior=parse_prior(tau, "tau"), names=columns,
        )  # fmt: skip


def test_collinear_columns_are_separated_by_normal_priors(bcg):
    X = design(["intercept", "ablat", "ablat_c"])
    fit = fit_regression(bcg, X, beta_prior=[normal(0, 1)] * 3, tau_prior=HN)
    assert np.isfinite(fit.mean).all()
    assert fit.log_evidence is not None


def test_too_few_rows_are_refused(layout_of):
    data = layout_of([{"yi": 0.1}, {"yi": 0.4}])
    X = np.column_stack([np.ones(2), [0.0, 1.0]])
    with pytest.raises(ValueError, match="2 coefficients with flat priors need more than 2"):
        fit_regression(data, X, beta_prior=[FLAT, FLAT], tau_prior=HN)
    three = layout_of([{"yi": 0.1}, {"yi": 0.4}, {"yi": 0.2}])
    X = np.column_stack([np.ones(3), [0.0, 1.0, 3.0]])
    with pytest.raises(PriorError, match="needs at least 4 studies, here 3"):
        fit_regression(three, X, beta_prior=[FLAT] * 2, tau_prior=parse_prior("flat", "tau"))
    assert fit_regression(three, X, beta_prior=[normal(0, 1)] * 2, tau_prior=HN).mean.shape == (2,)


def test_bounds_are_refused(layout_of):
    data = layout_of([{"yi": 0.1}, {"kind": "interval", "lower": 0.3, "upper": np.inf}])
    with pytest.raises(ValueError, match="exact rows only"):
        fit_regression(data, np.ones((2, 1)), beta_prior=[normal(0, 1)], tau_prior=HN)


@pytest.fixture(scope="module")
def three_studies(layout_of):
    """Six effects each, of different people but one study effect; a moderator within studies."""
    rng = np.random.default_rng(2)
    study, x = np.repeat(np.arange(3), 6), rng.normal(size=18)
    y = 0.2 + 0.3 * x + rng.normal(0, 0.3, 3)[study] + rng.normal(0, 0.2, 18)
    rows = [
        {"yi": a, "vi": 0.02, "study_id": f"s{s}", "sample_id": f"p{i}"}
        for i, (a, s) in enumerate(zip(y, study, strict=True))
    ]
    return layout_of(rows, 0.6, lambda f: np.diag(f["vi"])), np.c_[np.ones(18), x], study, y


@pytest.mark.parametrize("name", ["halfcauchy(0.5)", "flat"])
def test_a_slope_within_studies_takes_no_studys_place(three_studies, name):
    """Flat coefficients, tau by an equal-step sum in its log from 1e-6 to 1e6."""
    data, X, study, y = three_studies
    tau = parse_prior(name, "tau")
    fit = fit_regression(data, X, beta_prior=[FLAT, FLAT], tau_prior=tau)
    log_tau = np.linspace(np.log(1e-6), np.log(1e6), 6001)
    log_p, means, variances = [], [], []
    same = (study[:, None] == study).astype(float)
    for t in np.exp(log_tau):
        inverse = np.linalg.inv(0.02 * np.eye(18) + t**2 * same)
        A = X.T @ inverse @ X
        b = np.linalg.solve(A, X.T @ inverse @ y)
        r = y - X @ b
        dets = np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(A)[1]
        log_p.append(0.5 * (dets - r @ inverse @ r) + tau.logpdf(np.array(t)) + np.log(t))
        means.append(b)
        variances.append(np.diag(np.linalg.inv(A)))
    weight = np.exp(log_p - np.max(log_p))
    weight /= weight.sum()
    means, variances = np.array(means), np.array(variances)
    slope, level = fit.coefficients[1], fit.coefficients[0]
    centre = weight @ means[:, 1]
    assert slope.mean == pytest.approx(centre, abs=1e-7)
    spread = weight @ (variances[:, 1] + (means[:, 1] - centre) ** 2)
    assert slope.sd == pytest.approx(np.sqrt(spread), rel=1e-6)
    if name == "flat":  # as tau^-2 in the tail: the level has no mean
        assert np.isnan(level.mean)
    else:  # as tau^-4; beyond 1e6 next to nothing is left of its variance
        assert level.mean == pytest.approx(weight @ means[:, 0], abs=1e-6)
        spread = weight @ (variances[:, 0] + (means[:, 0] - weight @ means[:, 0]) ** 2)
        assert level.sd == pytest.approx(np.sqrt(spread), rel=1e-5)


def test_a_slope_between_studies_takes_one(three_studies):
    data, X, study, _ = three_studies
    beta, tau = [FLAT] * 3, parse_prior("flat", "tau")
    between = np.c_[X, np.array([0.0, 1.0, 3.0])[study]]
    with pytest.raises(PriorError, match=r"with 2 flat .* needs at least 4 studies, here 3"):
        fit_regression(data, between, beta_prior=beta, tau_prior=tau)
    # A moderator that varies within studies and between them is told within them.
    both = np.c_[X, X[:, 1] ** 2 + study]
    fit = fit_regression(data, both, beta_prior=beta, tau_prior=tau)
    assert [np.isfinite(c.mean) for c in fit.coefficients] == [False, True, True]


@pytest.mark.parametrize("eps", [1e-5, 1e-7, 1e-9, 1e-12])
def test_almost_collinear_moderators_under_normal_priors(bcg, eps):
    """As if they were one: what tells them apart is less than their priors do."""
    X = design(["intercept", "ablat_c"])
    noise = np.random.default_rng(1).normal(size=len(X))
    twice = np.c_[X, X[:, 1] + eps * noise]
    beta = [normal(0, 1), normal(0.1, 0.5), normal(0.1, 0.5)]
    fit = fit_regression(bcg, twice, beta_prior=beta, tau_prior=HN)
    one = fit_regression(bcg, X, beta_prior=[normal(0, 1), normal(0.2, np.sqrt(0.5))], tau_prior=HN)
    total = fit.linear([0.0, 1.0, 1.0])
    assert total.mean == pytest.approx(one.coefficients[1].mean, abs=1e-6 + eps)
    assert total.sd == pytest.approx(one.coefficients[1].sd, rel=1e-5)
    assert fit.log_evidence == pytest.approx(one.log_evidence, abs=1e-5)
