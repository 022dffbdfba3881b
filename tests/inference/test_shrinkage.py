"""Shrunken effects: closed forms where there are any, brute force where there are none."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.simple import read_simple
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference import shrinkage
from nssi_meta.inference.densities import NormalMixture, interval
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.mixtures import mixture_quantiles, mixture_shortest
from nssi_meta.inference.shrinkage import (
    _truncated,
    shrunken,
    shrunken_quantiles,
    shrunken_shortest,
)
from nssi_meta.models.blocks import layout
from nssi_meta.models.priors import parse_prior

REFERENCE = Path(__file__).parent.parent / "reference"
MU = parse_prior("normal(0,1)", "mu")
TAU = parse_prior("halfnormal(0.5)", "tau")
ZERO = parse_prior("zero", "tau")
INF = np.inf
#: Monte Carlo error of a mean over 1,500 draws is at most SD / sqrt(1500) = 2.6% of the SD; four.
FOUR = 0.105


@pytest.fixture
def thetas(frame_of):
    """The effect of every row of a pool."""

    def run(rows, omega=None, rho=0.6, tau=TAU, mu=MU):
        frame = rows if isinstance(rows, pd.DataFrame) else frame_of(rows)
        covariance = partial(vcalc, rho=rho)
        data = layout(frame, covariance, rho)
        posterior = fit_exact(
            data, mu_prior=mu, tau_prior=tau, omega_prior=omega,
            n_studies=frame["study_id"].nunique(),
        )  # fmt: skip
        return shrunken(frame, data, posterior, covariance, rho)

    return run


def test_exact_rows_agree_with_the_reference(thetas):
    """bayesmeta's composition, computed exactly; both sides are quadrature."""
    want = json.loads((REFERENCE / "bcg_theta.json").read_text())
    frame = read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")
    got = thetas(
        frame,
        mu=parse_prior(want["mu_prior"], "mu"),
        tau=parse_prior(want["tau_prior"], "tau"),
    )
    for theta, t in zip(got, want["theta"], strict=True):
        assert theta.mean == pytest.approx(t["mean"], abs=1e-6)
        assert theta.sd == pytest.approx(t["sd"], abs=1e-6)
        assert theta.quantile(0.025) == pytest.approx(t["central95"][0], abs=1e-6)


def one_bound(lower, upper, v=0.04):
    """Mean and SD of theta for a single row known to lie in an interval: grid over tau and theta.

    p(theta | bound) = int N(theta | mu, tau) p(mu) p(tau) Pr(bound | theta).
    """
    theta = np.linspace(-20, 20, 8001)
    tau = (np.arange(300) + 0.5) / 100
    prior = np.zeros_like(theta)
    for t in tau:
        # mu ~ N(0, 1) integrates out: theta | tau ~ N(0, 1 + tau^2)
        prior += stats.norm.pdf(theta, 0, np.sqrt(1 + t**2)) * stats.halfnorm.pdf(t, scale=0.5)
    s = np.sqrt(v)
    weight = prior * (stats.norm.cdf((upper - theta) / s) - stats.norm.cdf((lower - theta) / s))
    weight /= weight.sum()
    mean = weight @ theta
    return mean, np.sqrt(weight @ (theta - mean) ** 2)


@pytest.mark.parametrize(
    ("lower", "upper"), [(0.4, INF), (-INF, -0.4), (-0.4, 0.4), (2.0, INF), (0.1, 0.2)]
)
def test_a_single_bound_agrees_with_brute_force(lower, upper, thetas):
    (theta,) = thetas([{"kind": "interval", "lower": lower, "upper": upper}])
    mean, sd = one_bound(lower, upper)
    # the error of midpoints goes with the square of their step, 0.02 prior SDs
    assert theta.mean == pytest.approx(mean, abs=1e-4 * sd)
    assert theta.sd == pytest.approx(sd, rel=1e-4)


def test_a_bound_pulls_its_study_in_its_direction(thetas):
    rows = [{"yi": y} for y in (-0.1, 0.0, 0.1)]
    above = {"kind": "interval", "lower": 0.4, "upper": INF}
    below = {"kind": "interval", "lower": -INF, "upper": -0.4}
    within = {"kind": "interval", "lower": -0.1, "upper": 0.1}
    got = {}
    for name, row in {"above": above, "below": below, "within": within}.items():
        *others, last = thetas([*rows, row])
        got[name] = last
        assert len(others) == 3
    assert got["above"].mean > 0.1 > -0.1 > got["below"].mean
    # mirrored data, mirrored answer, each with its own Monte Carlo error
    tolerance = np.sqrt(2) * FOUR * got["above"].sd
    assert got["above"].mean == pytest.approx(-got["below"].mean, abs=tolerance)
    assert got["within"].mean == pytest.approx(0.0, abs=FOUR * got["within"].sd)
    assert got["within"].sd < got["above"].sd


def study_by_rejection(v, rho, bounds, n=400_000, omega_scale=0.5, seed=11):
    """Rejection from the prior: mean and SD of each theta, root of the number kept."""
    rng = np.random.default_rng(seed)
    k = len(v)
    mu = rng.standard_normal(n)
    tau, omega = np.abs(rng.normal(0, 0.5, n)), np.abs(rng.normal(0, omega_scale, n))
    theta = mu[:, None] + (tau * rng.standard_normal(n))[:, None]
    theta = theta + omega[:, None] * rng.standard_normal((n, k))
    s = np.sqrt(np.asarray(v))
    common = rng.standard_normal(n)[:, None]
    own = rng.standard_normal((n, k))
    y = theta + s * (np.sqrt(rho) * common + np.sqrt(1 - rho) * own)
    weight = np.ones(n)
    for i, (low, high) in enumerate(bounds):
        weight *= (y[:, i] > low) & (y[:, i] < high)
    keep = weight > 0
    theta = theta[keep]
    return theta.mean(axis=0), theta.std(axis=0), np.sqrt(keep.sum())


@pytest.mark.parametrize("same_people", [True, False])
@pytest.mark.parametrize(
    "bounds",
    [[(0.4, INF), (-0.4, 0.4)], [(0.4, INF), (0.4, INF)], [(0.4, INF), (-INF, -0.4)]],
)
def test_two_bounds_of_one_study_agree_with_brute_force(bounds, same_people, thetas):
    rows = [
        {"study_id": "s", "sample_id": "p" if same_people else f"p{i}", "kind": "interval",
         "lower": low, "upper": high, "measure": f"task {i}"}
        for i, (low, high) in enumerate(bounds)
    ]  # fmt: skip
    mean, sd, root = study_by_rejection([0.04, 0.04], 0.6 if same_people else 0.0, bounds)
    for i, theta in enumerate(thetas(rows, omega=TAU)):
        error = np.hypot(FOUR, 4 / root) * sd[i]
        assert theta.mean == pytest.approx(mean[i], abs=error)
        assert theta.sd == pytest.approx(sd[i], rel=0.1)


def test_two_case_groups_with_the_same_controls_agree_with_brute_force(thetas):
    """Different people, one control group: errors correlate by (1 / n_control) / (s s).

    With 20 controls and s^2 = 0.0625 that is 0.8, as in the likelihood's bound blocks.
    """
    bounds = [(0.5, INF), (-0.5, 0.5)]
    rows = [
        {"study_id": "s", "sample_id": f"p{i}", "control_id": "c", "kind": "interval",
         "lower": low, "upper": high, "vi": 0.0625, "n_control": 20.0, "n_case": 80.0}
        for i, (low, high) in enumerate(bounds)
    ]  # fmt: skip
    mean, sd, root = study_by_rejection([0.0625, 0.0625], 0.8, bounds)
    for i, theta in enumerate(thetas(rows, omega=TAU)):
        error = np.hypot(FOUR, 4 / root) * sd[i]
        assert theta.mean == pytest.approx(mean[i], abs=error)


def test_a_size_without_sign_is_shrunk_like_the_mixture_of_both_signs(thetas):
    """theta of one unsigned row: the posterior is symmetric about 0 with both modes."""
    (theta,) = thetas([{"kind": "unsigned", "yi": 0.9, "vi": 0.01}])
    assert theta.mean == pytest.approx(0.0, abs=1e-7)
    grid = np.linspace(-4, 4, 8001)
    tau = np.linspace(0.0005, 2.6, 261)
    prior = sum(
        stats.norm.pdf(grid, 0, np.sqrt(1 + t**2)) * stats.halfnorm.pdf(t, scale=0.5) for t in tau
    )
    weight = prior * (stats.norm.pdf(grid, 0.9, 0.1) + stats.norm.pdf(grid, -0.9, 0.1))
    sd = np.sqrt(np.average(grid**2, weights=weight))
    assert theta.sd == pytest.approx(sd, rel=0.08)
    assert float(theta.pdf(0.87)) > 10 * float(theta.pdf(0.0))


def test_exact_rows_of_one_study_share_their_study_effect(frame_of, thetas):
    """Closed form at given tau and omega: theta | y is normal with the joint covariance."""
    rows = [
        {"study_id": "a", "sample_id": "p", "yi": 0.9, "measure": "x"},
        {"study_id": "a", "sample_id": "p", "yi": 0.2, "measure": "y"},
        {"yi": -0.1},
    ]
    narrow = parse_prior("uniform(0.3,0.300001)", "tau")
    got = thetas(rows, omega=parse_prior("uniform(0.2,0.200001)", "tau"), tau=narrow)
    v = np.diag([0.04] * 3).astype(float)
    v[0, 1] = v[1, 0] = 0.6 * 0.04
    t = 1.0 + 0.3**2 * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]]) + 0.2**2 * np.eye(3)
    gain = t @ np.linalg.inv(t + v)
    mean, cov = gain @ np.array([0.9, 0.2, -0.1]), t - gain @ t
    # vcalc works out the correlation itself: its covariance is checked elsewhere
    np.testing.assert_allclose(vcalc(frame_of(rows)), v, atol=1e-12)
    np.testing.assert_allclose([g.mean for g in got], mean, atol=1e-5)
    np.testing.assert_allclose([g.sd for g in got], np.sqrt(np.diag(cov)), atol=1e-5)


@pytest.mark.parametrize(
    ("second", "shared"),
    [
        ({"comparator": "depressed"}, 0.5),  # one arm in common: half of tau squared
        ({"condition": "well", "comparator": "ill"}, -1.0),
        ({"condition": "worse", "comparator": "depressed"}, 0.0),
    ],
)
def test_contrasts_of_a_study_share_what_their_arms_share(second, shared, thetas):
    """Closed form at given tau and omega, with the likelihood's share of tau squared."""
    rows = [{"study_id": "a", "yi": 0.9}, {"study_id": "a", "yi": 0.2, **second}, {"yi": -0.1}]
    narrow = parse_prior("uniform(0.3,0.300001)", "tau")
    got = thetas(rows, omega=parse_prior("uniform(0.2,0.200001)", "tau"), tau=narrow)
    G = np.array([[1, shared, 0], [shared, 1, 0], [0, 0, 1.0]])
    t = 1.0 + 0.3**2 * G + 0.2**2 * np.eye(3)
    gain = t @ np.linalg.inv(t + 0.04 * np.eye(3))
    mean, cov = gain @ np.array([0.9, 0.2, -0.1]), t - gain @ t
    np.testing.assert_allclose([g.mean for g in got], mean, atol=1e-5)
    np.testing.assert_allclose([g.sd for g in got], np.sqrt(np.diag(cov)), atol=1e-5)


def test_the_same_seed_gives_the_same_numbers(thetas):
    rows = MIXED[4:]  # two rows of a study, one of them a bound, are drawn
    first, again = thetas(rows), thetas(rows)
    assert [t.mean for t in first] == [t.mean for t in again]


@pytest.mark.parametrize(
    ("a", "b"), [(-INF, 0.0), (0.0, INF), (5.0, INF), (-INF, -8.0), (9.0, 9.1), (-1.0, 2.0)]
)
def test_truncated_normal_by_inversion(a, b):
    """Against scipy's own truncated normal, far tails included."""
    u = (np.arange(200) + 0.5) / 200
    got = _truncated(np.full(200, a), np.full(200, b), u)
    assert (got >= a).all()
    assert (got <= b).all()
    want = stats.truncnorm.ppf(u, a, b)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


MIXED = [
    {"yi": 0.5},
    {"yi": 0.3, "study_id": "S", "sample_id": "a"},
    {"yi": -0.1, "study_id": "S", "sample_id": "a"},
    {"kind": "interval", "lower": 0.2, "upper": INF},
    {"kind": "interval", "lower": -0.4, "upper": 0.4, "study_id": "T", "sample_id": "b"},
    {"yi": 0.4, "kind": "unsigned"},
    {"yi": 0.2, "vi": 0.01, "study_id": "T", "sample_id": "b"},
    {"kind": "interval", "lower": -INF, "upper": -0.1},
]


@pytest.mark.parametrize("rows", [MIXED, MIXED[:3], [{"yi": float(y)} for y in range(3)]])
@pytest.mark.parametrize("at_once", [1, 2, 100_000])
def test_many_quantiles_at_once_are_those_one_by_one(monkeypatch, rows, at_once, frame_of):
    """Draws are the same however many rows are worked on together."""
    frame, errors = frame_of(rows), partial(vcalc, rho=0.6)
    data = layout(frame, errors, 0.6)
    posterior = fit_exact(data, mu_prior=MU, tau_prior=TAU)
    monkeypatch.setattr(shrinkage, "_INTEGRATED", 0)  # all bounds are drawn
    one_by_one = shrunken(frame, data, posterior, errors)
    monkeypatch.setattr(shrinkage, "_CACHE", at_once * (1500 if not data.gaussian else 10))
    p = (0.5, 0.025, 0.975)
    together = shrunken_quantiles(frame, data, posterior, errors, p)
    expected = np.array([[theta.quantile(level) for level in p] for theta in one_by_one])
    np.testing.assert_allclose(together, expected, atol=1e-10)


def test_quantiles_of_many_mixtures_are_those_of_each():
    rng = np.random.default_rng(4)
    weights = rng.dirichlet(np.ones(40))
    means = rng.normal(0, 1, (30, 40)) * np.geomspace(1e-6, 1e3, 30)[:, None]
    sds = rng.uniform(0.1, 2, (30, 40)) * np.geomspace(1e-3, 1e2, 30)[:, None]
    sds[3] = 1e-9  # far apart: steps between spikes
    means[4] = 7.0  # all alike: nothing to search
    for p in (1e-6, 0.005, 0.025, 0.31, 0.5, 0.77, 0.975, 1 - 1e-6):
        found = mixture_quantiles(means, sds, weights, p)
        for value, m, s in zip(found, means, sds, strict=True):
            one = NormalMixture.build(m, s, weights)
            # each stops where its step is below 1e-12 SD; at a spike's edge the error is larger
            assert value == pytest.approx(one.quantile(p), abs=1e-9 * one.sd)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_shortest_intervals_of_many_mixtures_are_those_of_each(level):
    """Both solve the same two equations; the single one by bisection to 1e-14 in probability."""
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.ones(200))
    means = rng.normal(0, 0.1, (12, 200)) + rng.gamma(2, 0.15, (12, 1)) * rng.random((12, 200))
    sds = rng.uniform(0.3, 0.6, (12, 200))
    means[5] = np.where(rng.random(200) < 0.5, 2.0, -2.0)  # two modes
    got = mixture_shortest(means, sds, weights, level)
    each = [NormalMixture.build(m, s, weights) for m, s in zip(means, sds, strict=True)]
    want = [interval(mixture, level, "shortest") for mixture in each]
    np.testing.assert_allclose(got, want, atol=1e-8)
    one_mode = np.arange(12) != 5
    held = [m.cdf(b) - m.cdf(a) for m, (a, b) in zip(each, got, strict=True)]
    np.testing.assert_allclose(held, level, atol=1e-9)
    even = [m.pdf(b) - m.pdf(a) for m, (a, b) in zip(each, got, strict=True)]
    np.testing.assert_allclose(np.array(even)[one_mode], 0, atol=1e-9)


def test_shortest_shrunken_intervals_are_those_of_each_row(monkeypatch, frame_of, thetas):
    ends = {"kind": "interval", "lower": 0.4, "upper": INF}
    frame = frame_of([{"yi": 0.1}, {"yi": 0.6}, ends, {"yi": 0.3, "kind": "unsigned"}])
    covariance = partial(vcalc, rho=0.6)
    data = layout(frame, covariance, 0.6)
    posterior = fit_exact(data, mu_prior=MU, tau_prior=TAU)
    got = shrunken_shortest(frame, data, posterior, covariance, 0.95)
    want = [interval(theta, 0.95, "shortest") for theta in thetas(frame)]
    np.testing.assert_allclose(got, want, atol=1e-8)
    monkeypatch.setattr(shrinkage, "_INTEGRATED", 0)
    drawn = shrunken_shortest(frame, data, posterior, covariance, 0.95)
    want = [interval(theta, 0.95, "shortest") for theta in thetas(frame)]
    np.testing.assert_allclose(drawn, want, atol=1e-8)
    assert (drawn != got).all()


ENDS = {"kind": "interval", "lower": 0.4, "upper": INF}
STUDY = {"study_id": "S", "sample_id": "a"}


@pytest.mark.parametrize("omega", [None, ZERO])
@pytest.mark.parametrize("mu", [MU, parse_prior("student_t(4,0,1)", "mu")])
def test_without_heterogeneity_every_effect_is_the_mean(mu, omega, frame_of):
    """Spikes at the nodes of mu, drawn or not, are no distribution of it."""
    for rows in (
        [{"yi": 0.1}, ENDS, {"yi": 0.6}],
        [{"yi": 0.1, **STUDY}, ENDS | STUDY, {"yi": 0.6}],
    ):
        frame = frame_of(rows)
        data = layout(frame, vcalc)
        posterior = fit_exact(data, mu_prior=mu, tau_prior=ZERO, omega_prior=omega)
        p = (0.005, 0.025, 0.5, 0.975)
        want = [posterior.mu.quantile(level) for level in p]
        found = shrunken_quantiles(frame, data, posterior, vcalc, p)
        np.testing.assert_allclose(found, [want] * 3, atol=1e-12)


def test_a_student_prior_of_many_degrees_of_freedom_is_the_normal_one(thetas):
    """The one by nodes of mu, the other in closed form; small tau leaves each node a spike."""
    rows, small = (
        [{"yi": y, "vi": 1.0} for y in (0.5, -0.1, 0.2)],
        parse_prior("halfnormal(0.02)", "tau"),
    )
    normal = thetas(rows, tau=small)
    student = thetas(rows, tau=small, mu=parse_prior("student_t(1e7,0,1)", "mu"))
    for a, b in zip(normal, student, strict=True):
        for level in (0.025, 0.5, 0.975):
            # 1e-6 of probability, in SDs at the 2.5% point
            assert b.quantile(level) == pytest.approx(a.quantile(level), abs=2e-5 * a.sd)


@pytest.mark.parametrize("seed", range(8))
def test_quantiles_under_a_log_t_against_sums_over_log_tau(seed, frame_of):
    """Random pools of one to four studies, variances 1e-6 to 1e3, tau^2 log-t or log-normal.

    theta_i given tau is normal in closed form; 1e-7 in probability is asked for, measured 2e-11.
    """
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 5))
    v = 10.0 ** (rng.uniform(-6, 3, k) if seed % 2 else rng.uniform(-3, 0, k))
    y = rng.normal(0.4, 0.5, k) + np.sqrt(v) * rng.standard_normal(k)
    tau = ("rhodes2015", "turner2015", "logt2(5,-8,3)", "logt2(5,2,2.5)")[seed % 4]
    frame = frame_of([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)])
    data = layout(frame, vcalc, 0.6)
    post = fit_exact(data, mu_prior=MU, tau_prior=parse_prior(tau, "tau"))
    w = np.linspace(-5, 4.5, 20_001)
    z = 3 * np.sinh(w)
    t2 = np.exp(2 * z)[:, None]
    total = t2 + v
    precision = (1 / total).sum(axis=1) + 1
    mean = (y / total).sum(axis=1) / precision
    log_p = parse_prior(tau, "tau").logpdf(np.exp(z)) + z + np.log(np.cosh(w))
    quad = ((y - mean[:, None]) ** 2 / total).sum(axis=1) + mean**2
    log_p -= 0.5 * (np.log(total).sum(axis=1) + np.log(precision) + quad)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    gain = t2 / total
    centre = mean[:, None] + gain * (y - mean[:, None])
    sd = np.sqrt(v * gain + (1 - gain) ** 2 / precision[:, None])
    levels = (0.025, 0.5, 0.975)
    quantiles = shrunken_quantiles(frame, data, post, vcalc, levels)
    shortest = shrunken_shortest(frame, data, post, vcalc, 0.95)
    for i in range(k):
        for x, level in zip(quantiles[i], levels, strict=True):
            assert p @ stats.norm.cdf(x, centre[:, i], sd[:, i]) == pytest.approx(level, abs=1e-7)
        at = shortest[i][:, None]
        share = stats.norm.cdf(at, centre[:, i], sd[:, i]) @ p
        height = stats.norm.pdf(at, centre[:, i], sd[:, i]) @ p
        assert share[1] - share[0] == pytest.approx(0.95, abs=1e-7)
        assert height[0] == pytest.approx(height[1], rel=1e-4)
        assert shortest[i, 1] - shortest[i, 0] <= (quantiles[i, 2] - quantiles[i, 0]) * (1 + 1e-9)
