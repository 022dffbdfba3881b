"""True log odds ratios of single tables, against sums over the whole model written apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.interpolate import CubicSpline

import nssi_meta as nm
from nssi_meta.inference.counts import fit_counts
from nssi_meta.inference.counts_effects import (
    table_effect_draws,
    table_effects,
    table_log_likelihood,
)
from nssi_meta.inference.curves import log_marginal, study_curves
from nssi_meta.inference.shrinkage import shrunken
from nssi_meta.models.blocks import independent
from nssi_meta.models.priors import parse_prior
from nssi_meta.models.two_by_two import Counts, log_likelihood

BASELINE = parse_prior("normal(0,10)", "mu")


def counts(*tables):
    return Counts(*np.array(tables, dtype=float).T)


def posterior(data, mu="normal(0,2)", tau="halfnormal(1)"):
    return fit_counts(
        data, mu_prior=parse_prior(mu, "mu"), tau_prior=parse_prior(tau, "tau"),
        baseline_prior=BASELINE,
    )  # fmt: skip


def log_curve(a, n1, c, n2, theta):
    """The baseline by an equal-step sum, on its whole prior or about the mode of large groups."""
    x, step = np.arange(-70, 70, 0.1), 0.1
    if n1 + n2 > 1000:
        x, step = np.log(c / (n2 - c)) + np.arange(-1.5, 1.5, 0.003), 0.003
    y = x + theta[:, None]
    f = a * y - n1 * np.logaddexp(0, y) + c * x - n2 * np.logaddexp(0, x) - x * x / 200
    top = f.max(axis=1)
    return top + np.log(np.exp(f - top[:, None]).sum(axis=1) * step)


def brute(data, mu, theta, last, z):
    """E theta, E theta^2, E sin theta of every table: equal steps in mu and z, Gauss in tau."""
    x, w = np.polynomial.legendre.leggauss(12)
    ends = last * np.array([0, 0.04, 0.2, 0.4, 1])
    tau = np.concatenate([(b + a) / 2 + (b - a) / 2 * x for a, b in pairwise(ends)])
    log_p = stats.norm.logpdf(mu, 0, 2)[:, None] + stats.halfnorm.logpdf(tau)
    log_p = log_p + np.log(np.concatenate([np.diff(ends)[i] / 2 * w for i in range(4)]))
    functions = (lambda t: t, np.square, np.sin)
    given = np.empty((len(data.a), 3, len(mu), len(tau)))
    for i in range(len(data.a)):
        spline = CubicSpline(theta, log_curve(*(v[i] for v in data), theta))
        for j, t in enumerate(tau):
            at = np.clip(mu[:, None] + t * z, theta[0], theta[-1])
            value = spline(at)
            top = value.max(axis=1)
            term = np.exp(value - top[:, None]) * stats.norm.pdf(z)
            total = term.sum(axis=1)
            log_p[:, j] += top + np.log(total)
            for m, f in enumerate(functions):
                given[i, m, :, j] = (term * f(mu[:, None] + t * z)).sum(axis=1) / total
    p = np.exp(log_p - log_p.max())
    return (given * (p / p.sum())).sum(axis=(2, 3))


SPARSE = counts((0, 20, 0, 25), (0, 20, 3, 20), (2, 30, 5, 31), (20, 20, 4, 22))
LARGE = counts((120, 600, 150, 600), (9, 90, 12, 90))


@pytest.mark.parametrize(
    ("data", "grids"),
    [
        (SPARSE, (np.arange(-13, 13, 0.2), np.arange(-50, 50, 0.04), 8.0, np.linspace(-9, 9, 241))),
        (LARGE, (np.arange(-7, 7, 0.06), np.arange(-60, 60, 0.02), 7.0, np.linspace(-9, 9, 901))),
    ],
)
def test_moments_are_those_of_the_whole_model(data, grids):
    """Measured: below 1e-8, of the sums too; asked for: 1e-6. A sine is within 1e-5, the density's
    own tolerance."""
    want = brute(data, *grids)
    x = np.linspace(-25, 25, 20_001)
    for effect, (mean, square, sine) in zip(
        table_effects(data, posterior(data), BASELINE), want, strict=True
    ):
        assert effect.mean == pytest.approx(mean, abs=1e-6)
        assert effect.sd == pytest.approx(np.sqrt(square - mean**2), abs=1e-6)
        density = effect.pdf(x) * (x[1] - x[0])
        assert density @ np.sin(x) == pytest.approx(sine, abs=1e-5)
        for p in (0.025, 0.5, 0.975):
            # the sum to a quantile, with half of the step that holds it
            q = effect.quantile(p)
            assert density[x <= q].sum() == pytest.approx(p, abs=1.5 * density.max())
            assert effect.cdf(q) == pytest.approx(p, abs=1e-9)


def test_draws_follow_the_densities():
    """4,000 draws: ranks uniform within 4 standard errors of their mean and their variance."""
    post = posterior(SPARSE)
    mu, tau, _ = post.draws(4000, 1)
    draws = table_effect_draws(SPARSE, BASELINE, mu, tau, np.random.default_rng(2))
    assert draws.shape == (4000, 4)
    for column, effect in zip(draws.T, table_effects(SPARSE, post, BASELINE), strict=True):
        rank = effect.cdf(column)
        assert rank.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 4000))
        assert rank.var() == pytest.approx(1 / 12, abs=4 * np.sqrt(1 / 180 / 4000))


@pytest.mark.parametrize("tau", [1e-6, 0.01, 0.3, 0.9, 2.0, 50.0])
def test_log_likelihood_by_table_adds_up(tau):
    """Pair by pair and on the engine's own tensor: the same rules, so equal to rounding."""
    mu = np.array([-3.0, 0.0, 0.7, 40.0])
    found = table_log_likelihood(SPARSE, BASELINE, mu, np.full(4, tau))
    engine = log_marginal(study_curves(SPARSE, 0.0, 10.0), mu, np.array([tau]))[:, 0]
    np.testing.assert_allclose(found.sum(axis=1), engine, rtol=1e-9)


def test_large_groups_agree_with_the_normal_model(fit):
    """What is left is of order 1 / events."""
    data = counts((5000, 20000, 6000, 21000), (3100, 15000, 3500, 15000), (900, 9000, 990, 9000))
    y, v = data.log_odds_ratio()
    normal = fit([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)], "normal(0,2)",
                 "halfnormal(1)")  # fmt: skip
    frame = pd.DataFrame({"kind": "exact", "yi": y, "vi": v})
    near = shrunken(frame, independent(y, v), normal, lambda part: np.diag(part["vi"]))
    for effect, other in zip(table_effects(data, posterior(data), BASELINE), near, strict=True):
        assert effect.mean == pytest.approx(other.mean, abs=1e-3)
        assert effect.sd == pytest.approx(other.sd, rel=1e-2)


def test_without_heterogeneity_every_effect_is_mu():
    post = posterior(SPARSE, tau="zero")
    assert all(effect is post.mu for effect in table_effects(SPARSE, post, BASELINE))
    mu, tau, _ = post.draws(100, 1)
    draws = table_effect_draws(SPARSE, BASELINE, mu, tau, np.random.default_rng(2))
    assert (draws == mu[:, None]).all()


def test_an_open_side_has_the_moments_of_the_prior():
    """A Cauchy prior of mu has no mean; tables that limit a side alone leave that to their own."""
    data = counts((0, 20, 1, 20), (0, 30, 4, 30))
    effect = table_effects(data, posterior(data, mu="student_t(1,0,1)"), BASELINE)[0]
    assert np.isnan(effect.mean)
    assert np.isinf(effect.sd)
    assert effect.quantile(0.5) < 0


@pytest.mark.parametrize(
    ("table", "mu", "tau"),
    [
        ((200, 500, 100, 300), "normal(0,10)", "halfcauchy(1)"),
        ((30, 100, 40, 100), "flat", "halfcauchy(0.5)"),
        ((30, 100, 40, 100), "flat", "logt2(5,-2,1)"),
    ],
)
def test_draws_where_mu_lies_beyond_a_tables_likelihood(table, mu, tau):
    """Were the likelihood level there, its product with a normal would have two modes."""
    p = nm.pool_counts(*([x] for x in table), mu_prior=mu, tau_prior=tau)
    theta = np.asarray(p.posterior_data["posterior"]["theta"]).ravel()
    row = p.rows.iloc[0]
    # 4 Monte Carlo standard errors of 4,000 independent draws.
    assert theta.mean() == pytest.approx(row["shrunk_mean"], abs=4 * row["shrunk_sd"] / 63)
    assert theta.std() == pytest.approx(row["shrunk_sd"], rel=0.1)


@pytest.mark.parametrize("tau", ["halfnormal(1)", "halft(2,1)", "halfcauchy(1)", "logt2(5,-2,1)"])
def test_one_table_under_a_flat_mean_tells_its_effect_alone(tau):
    """theta has the table's likelihood whatever tau's prior is, however heavy its tail."""
    row = nm.pool_counts([2], [5], [1], [3], mu_prior="flat", tau_prior=tau).rows.iloc[0]
    theta = np.linspace(-40, 40, 200001)
    data = Counts(*(np.array([x]) for x in (2.0, 5.0, 1.0, 3.0)))
    weight = np.exp(log_likelihood(data, theta, 0.0, 10.0))
    mean = weight @ theta / weight.sum()
    assert row["shrunk_mean"] == pytest.approx(mean, abs=1e-6)
    sd = np.sqrt(weight @ (theta - mean) ** 2 / weight.sum())
    assert row["shrunk_sd"] == pytest.approx(sd, rel=1e-6)
