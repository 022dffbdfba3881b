"""Two-by-two counts: the posterior against another program's, and against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp

from nssi_meta.inference.bayes_factors import bayes_factors
from nssi_meta.inference.counts import counts_bayes_factors, fit_counts
from nssi_meta.inference.curves import log_marginal, study_curves
from nssi_meta.models.blocks import independent
from nssi_meta.models.priors import PriorError, parse_prior
from nssi_meta.models.two_by_two import Counts, log_likelihood


def counts(*tables):
    return Counts(*np.array(tables, dtype=float).T)


def posterior(data, mu="normal(0,2)", tau="halfnormal(1)", baseline="normal(0,10)"):
    return fit_counts(
        data,
        mu_prior=parse_prior(mu, "mu"),
        tau_prior=parse_prior(tau, "tau"),
        baseline_prior=parse_prior(baseline, "mu"),
    )


MIXED = counts((505, 88391, 499, 88391), (0, 20, 0, 25), (0, 20, 3, 20), (20, 20, 1, 30))


def test_bcg_agrees_with_the_reference(reference):
    facts = reference("binomial_normal_exact.json")
    want, data = facts["result"], facts["data"]
    post = posterior(Counts(*(np.array(data[n], float) for n in ("ai", "n1i", "ci", "n2i"))))
    # Measured: 2e-9 and 2e-11; asked for: 1e-6.
    for density, key in ((post.mu, "mu"), (post.tau_density, "tau")):
        assert density.mean == pytest.approx(want[key]["mean"], abs=1e-7)
        assert density.sd == pytest.approx(want[key]["sd"], abs=1e-7)
        for p, value in want[key]["approx_q"].items():
            # interpolated in the reference
            assert density.quantile(float(p[1:]) / 100) == pytest.approx(value, abs=1e-3)
    assert post.log_evidence == pytest.approx(want["logml"], abs=1e-8)
    assert 1 - post.p_positive == pytest.approx(want["mu"]["p_lt0"], abs=1e-4)
    assert post.prediction.sd > post.mu.sd


@pytest.mark.parametrize("tau", [0.002, 0.03, 0.06, 0.3, 1.5, 4.0, 300.0])
def test_study_effects_are_integrated(tau):
    """Every study's integral by a fine sum over theta, narrow and wide tau, empty cells too."""
    curves = study_curves(MIXED, 0.0, 10.0)
    mu = np.array([-3.0, -0.4, 0.0, 0.1, 2.5])
    got = log_marginal(curves, mu, np.array([tau]))[:, 0]
    step = 2e-4 if tau < 0.1 else 2e-3
    reach = min(9 * tau, 40.0)
    theta = np.arange(-3 - reach, 2.5 + reach, step)
    log_tails = stats.norm.logsf(theta[-1], mu, tau), stats.norm.logcdf(theta[0], mu, tau)
    total = 0.0
    for i in range(4):
        log_l = log_likelihood(MIXED.one(i), theta, 0.0, 10.0)
        log_n = stats.norm.logpdf(theta, mu[:, None], tau) + np.log(step)
        parts = [
            log_l + log_n,
            *(t[:, None] + log_l[e] for t, e in zip(log_tails, (-1, 0), strict=True)),
        ]
        total = total + logsumexp(np.concatenate(parts, axis=1), axis=1)
    # Equal steps converge fast, but for the cut at the wide end; and where the joint density is
    # e^-400 of its peak, six digits of the log are kept.
    close = (1e-8 if tau < 5 else 1e-3) + 1e-6 * (total.max() - total)
    assert (np.abs(got - total) < close).all()


def test_only_tables_without_events_leave_tau_to_its_prior():
    post = posterior(counts((0, 20, 0, 20), (0, 30, 0, 35)))
    assert post.tau_density.mean == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)
    assert post.mu.sd > 1.5


def test_exchanging_the_groups_turns_the_sign():
    """The baseline prior is wide against the data: the same up to its pull."""
    data = counts((3, 40, 9, 42), (0, 20, 3, 20), (7, 90, 9, 80))
    a = posterior(data)
    b = posterior(Counts(data.c, data.n2, data.a, data.n1))
    assert a.mu.mean == pytest.approx(-b.mu.mean, abs=0.02)
    # Events for non-events: exact, the prior being symmetric.
    c = posterior(Counts(data.n1 - data.a, data.n1, data.n2 - data.c, data.n2))
    assert c.mu.mean == pytest.approx(-a.mu.mean, abs=1e-7)
    assert c.log_evidence == pytest.approx(a.log_evidence, abs=1e-8)
    assert c.tau_density.sd == pytest.approx(a.tau_density.sd, abs=1e-7)


def test_large_tables_agree_with_the_normal_model(fit):
    """With thousands of events the likelihood is normal; what is left is of order 1 / events."""
    data = counts((5000, 20000, 6000, 21000), (3100, 15000, 3500, 15000), (900, 9000, 990, 9000))
    y, v = data.log_odds_ratio()
    normal = fit([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)], "normal(0,2)",
                 "halfnormal(1)")  # fmt: skip
    post = posterior(data)
    assert post.mu.mean == pytest.approx(normal.mu.mean, abs=1e-3)
    assert post.tau_density.mean == pytest.approx(normal.tau_density.mean, rel=1e-2)


def test_bayes_factors_by_the_densities_at_the_null():
    """Savage and Dickey: the posterior density at the null over the prior's; 1e-6 is its own."""
    data = counts((2, 40, 9, 41), (1, 30, 6, 33), (3, 50, 8, 47), (0, 20, 2, 20))
    mu, tau = parse_prior("normal(0,2)", "mu"), parse_prior("halfnormal(1)", "tau")
    found = counts_bayes_factors(
        data, mu_prior=mu, tau_prior=tau, baseline_prior=parse_prior("normal(0,10)", "mu")
    )
    post = posterior(data)
    assert found.log_evidence == post.log_evidence
    zero = np.zeros(1)
    want = np.log(post.mu.pdf(zero)) - mu.logpdf(zero)
    assert -found.log_mu == pytest.approx(want[0], abs=1e-5)
    want = np.log(post.tau_density.pdf(zero + 1e-9)) - tau.logpdf(zero)
    assert -found.log_tau == pytest.approx(want[0], abs=1e-4)


def test_bayes_factors_of_large_tables_are_those_of_the_normal_model():
    """Where counts are large log odds ratios are normal: to 2% of a factor of some 10^4."""
    data = counts((420, 4000, 600, 4000), (380, 5000, 700, 5000), (500, 4500, 520, 4500))
    mu, tau = parse_prior("normal(0,2)", "mu"), parse_prior("halfnormal(1)", "tau")
    found = counts_bayes_factors(
        data, mu_prior=mu, tau_prior=tau, baseline_prior=parse_prior("normal(0,10)", "mu")
    )
    normal = bayes_factors(independent(*data.log_odds_ratio()), mu_prior=mu, tau_prior=tau)
    assert found.log_mu == pytest.approx(normal.log_mu, abs=0.02)
    assert found.log_tau == pytest.approx(normal.log_tau, abs=0.02 * normal.log_tau)
    with pytest.raises(PriorError, match="improper prior flat"):
        counts_bayes_factors(
            data, mu_prior=parse_prior("flat", "mu"), tau_prior=tau, baseline_prior=mu
        )


def test_what_has_no_posterior_is_refused():
    with pytest.raises(PriorError, match="flat prior on mu"):
        posterior(counts((0, 20, 0, 20), (0, 20, 3, 20)), mu="flat")
    with pytest.raises(PriorError, match="at least 2 studies"):
        posterior(counts((2, 20, 4, 20), (0, 20, 3, 20)), tau="flat")
    with pytest.raises(PriorError, match="baseline log odds must be normal"):
        posterior(counts((2, 20, 4, 20)), baseline="flat")
    with pytest.raises(PriorError, match="jeffreys follows sampling variances, and counts have"):
        posterior(counts((2, 20, 4, 20), (1, 20, 3, 20)), tau="jeffreys")
    flat = posterior(counts((2, 20, 4, 20), (1, 20, 3, 20)), mu="flat")
    assert flat.log_evidence is None


def test_the_fixed_effect_model_by_a_sum():
    """tau = 0: prior times likelihoods of one log odds ratio; equal steps, exact to rounding."""
    theta = np.linspace(-12, 10, 8001)
    log_f = stats.norm.logpdf(theta, 0, 2)
    for i in range(4):
        log_f = log_f + log_likelihood(MIXED.one(i), theta, 0.0, 10.0)
    w = np.exp(log_f - log_f.max())
    mean = w @ theta / w.sum()
    post = posterior(MIXED, tau="zero")
    assert post.mu.mean == pytest.approx(mean, abs=1e-7)
    assert post.mu.sd == pytest.approx(np.sqrt(w @ (theta - mean) ** 2 / w.sum()), abs=1e-7)
    step = theta[1] - theta[0]
    assert post.log_evidence == pytest.approx(log_f.max() + np.log(w.sum() * step), abs=1e-7)
    assert post.tau_density.sd == 0.0
    assert post.prediction.sd == post.mu.sd
    given = ("mu", "normal(0,2)"), ("tau", "zero"), ("baseline", "normal(0,10)")
    priors = {f"{n}_prior": parse_prior(p, "tau" if n == "tau" else "mu") for n, p in given}
    factors = counts_bayes_factors(MIXED, **priors)
    at_zero = sum(log_likelihood(MIXED.one(i), np.zeros(1), 0.0, 10.0)[0] for i in range(4))
    assert factors.log_mu == pytest.approx(post.log_evidence - at_zero, abs=1e-7)
    assert factors.log_tau is None


def far_mu(data, df, power):
    """Integral of |mu|^power times the posterior under t(df) on mu and half-normal(1) on tau.

    Sums over mu within 150, tau and the studies' effects; beyond, every likelihood is level or
    gone, and the prior's own tail is integrated.
    """
    tau = (np.arange(24) + 0.5) * 0.25
    z = np.linspace(-9, 9, 91)
    kernel = stats.norm.pdf(z) * (z[1] - z[0])
    mu = np.arange(-150, 150.01, 0.25)
    theta = np.linspace(-220, 220, 4401)
    joint = stats.t.logpdf(mu, df)[:, None] + stats.halfnorm.logpdf(tau) + np.log(0.25 * 0.25)
    for i in range(len(data.a)):
        level = np.exp(log_likelihood(data.one(i), theta, 0.0, 10.0))
        at = np.interp(mu[:, None, None] + tau[:, None] * z, theta, level)
        joint = joint + np.log(np.maximum(at @ kernel, 1e-300))
    inner = (np.exp(joint).sum(axis=1) * np.sign(mu) ** power * np.abs(mu) ** power).sum()
    ends = 0.0
    for side, row in ((-1, 0), (1, -1)):
        # the likelihood at the end, constant from there on, and E |mu|^power beyond it
        log_l = joint[row] - stats.t.logpdf(mu[row], df) - np.log(0.25)
        x = np.geomspace(abs(mu[row]) + 0.125, 1e12, 20_001)
        y = stats.t.pdf(x, df) * x**power
        far = ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()
        if far * np.exp(log_l).sum() > 1e-12 * inner:
            ends += side**power * np.exp(log_l).sum() * far
    return inner + ends


@pytest.mark.parametrize("df", [1.0, 1.5, 2.5, 4.0])
@pytest.mark.parametrize(
    ("tables", "open_end"),
    [
        ([(0, 20, 1, 20), (0, 30, 4, 30)], True),
        ([(20, 20, 3, 20)], True),
        ([(3, 20, 0, 20)], False),
        ([(0, 20, 3, 20), (30, 30, 4, 30)], False),
    ],
)
def test_moments_of_mu_under_a_heavy_prior(tables, open_end, df):
    """One-sided tables leave one tail to the prior: mean and SD exist as far as it has them.

    1e-3: what the sums above are good to (steps of 0.1 in theta, linear between).
    """
    data = counts(*tables)
    post = posterior(data, mu=f"student_t({df:g},0,1)")
    total = far_mu(data, df, 0)
    if open_end and df <= 1:
        assert np.isnan(post.mu.mean)
        assert np.isnan(post.prediction.mean)
    else:
        mean = far_mu(data, df, 1) / total
        assert post.mu.mean == pytest.approx(mean, abs=1e-3 * (1 + abs(mean)))
    if open_end and df <= 2:
        assert np.isinf(post.mu.sd)
        assert np.isinf(post.prediction.sd)
    else:
        square = far_mu(data, df, 2) / total
        assert np.hypot(post.mu.sd, post.mu.mean) == pytest.approx(np.sqrt(square), rel=1e-3)
    assert np.isfinite(post.tau_density.sd)
    assert post.log_evidence == pytest.approx(np.log(total), abs=1e-3)


@pytest.mark.parametrize(
    ("sizes", "mu"),
    [((200, 400), "normal(3,0.1)"), ((20000, 40000), "normal(5,0.01)"), ((3, 9), "normal(8,0.5)")],
)
def test_a_prior_that_contradicts_the_table_without_heterogeneity(sizes, mu):
    """By a sum over mu of the table's own likelihood, far beyond where its curve has panels."""
    a, n = sizes
    table = counts((a, n, a, n))
    ours = posterior(table, mu, "zero")
    prior = parse_prior(mu, "mu")
    grid = np.linspace(-1.0, 12.0, 60001)
    value = log_likelihood(table, grid, 0.0, 10.0) + prior.logpdf(grid)
    weight = np.exp(value - value.max())
    mean = (weight @ grid) / weight.sum()
    assert ours.mu.mean == pytest.approx(mean, abs=1e-7)
    sd = np.sqrt(weight @ (grid - mean) ** 2 / weight.sum())
    assert ours.mu.sd == pytest.approx(sd, rel=1e-6)
    total = logsumexp(value) + np.log(grid[1] - grid[0])
    assert ours.log_evidence == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("mu", [1.0, 3.0, 5.0])
def test_a_bayes_factor_against_a_mean_far_from_the_tables(mu):
    """Its null is the likelihood there; beyond the panels of the curve it goes on falling."""
    table = counts((200, 400, 200, 400))
    priors = {name: parse_prior(text, "mu") for name, text in
              (("mu_prior", "normal(0,2)"), ("baseline_prior", "normal(0,10)"))}  # fmt: skip
    zero = parse_prior("zero", "tau")
    found = counts_bayes_factors(table, tau_prior=zero, **priors, mu=mu)
    at_null = log_likelihood(table, np.array([mu]), 0.0, 10.0)[0]
    assert found.log_mu == pytest.approx(found.log_evidence - at_null, abs=1e-9)


@pytest.mark.parametrize("tau", [0.3, 4.0, 1e3, 1e9])
def test_beyond_the_panels_a_curve_is_a_falling_line_or_level(tau):
    """Integral, mean and mean square there against scipy's of the exponential times the normal."""
    compared = 0
    for table in ((20, 50, 10, 30), (0, 15, 3, 18)):
        curve = study_curves(counts(table), 0.0, 10.0)[0]
        for mu in (-30.0, 0.0, 8.0):
            made = curve.beyond(np.array([mu]), np.array([tau]))
            for side, (log_share, first, second) in zip((-1.0, 1.0), made, strict=True):
                edge = curve.edges[0 if side < 0 else -1]
                end = curve.at(np.array([edge]))[0]
                slope = side * curve.at(np.array([edge + side]), 1)[0]
                top = max(log_share[0], -700.0)

                def part(x, power, edge=edge, side=side, slope=slope, end=end, top=top, mu=mu):
                    theta = edge + side * x
                    return theta**power * np.exp(
                        end + slope * x + stats.norm.logpdf(theta, mu, tau) - top
                    )

                steep = max(-slope, 1.0 / tau)
                centre = max(side * (mu - edge), 0.0) if slope > -1e-9 else 0.0
                ends = np.r_[0.0, centre, centre + np.array([1.0, 5.0, 30.0]) / steep]
                ends = np.unique(np.r_[ends, np.maximum(centre - np.array([5.0, 1.0]) * tau, 0)])
                pairs = list(pairwise(ends))
                sums = [sum(quad(part, *e, args=(p,), limit=200, epsabs=0)[0] for e in pairs)
                        for p in range(3)]  # fmt: skip
                if log_share[0] < -600 or sums[0] == 0:
                    continue
                compared += 1
                assert np.log(sums[0]) + top == pytest.approx(log_share[0], abs=1e-7)
                assert sums[1] / sums[0] == pytest.approx(first[0], rel=1e-7)
                assert sums[2] / sums[0] == pytest.approx(second[0], rel=1e-7)
    assert compared >= 4  # elsewhere nothing is left
