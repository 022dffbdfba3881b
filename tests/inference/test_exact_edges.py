"""Hard input for the exact engine: the right answer or a clear refusal, never NaN."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import fit_exact, has_omega, log_evidence
from nssi_meta.models.priors import PriorError, bind_prior, parse_prior

INF = np.inf


def bound(low, high, **more):
    return {"kind": "interval", "lower": low, "upper": high, **more}


def numbers(posterior):
    """Every number a posterior reports."""
    out = [
        posterior.mu.mean,
        posterior.mu.sd,
        posterior.p_positive,
        posterior.tau_density.mean,
        posterior.tau_density.sd,
        posterior.prediction.mean,
        posterior.prediction.sd,
    ]
    for density, low in (
        (posterior.mu, -INF), (posterior.tau_density, 0.0), (posterior.prediction, -INF)
    ):  # fmt: skip
        for kind in ("central", "shortest"):
            out += interval(density, 0.95, kind, low)
        out.append(density.quantile(0.5))
    return np.array(out)


def test_flat_mu_with_bounds_only_is_refused(fit):
    with pytest.raises(PriorError, match="flat prior on mu needs at least one exact effect"):
        fit([bound(0.4, INF), bound(-0.3, 0.3)], "flat")


@pytest.mark.parametrize(("mu", "k"), [("flat", 1), ("flat", 2), ("normal(0,1)", 1)])
@pytest.mark.parametrize("tau", ["flat", "uniform(0,inf)"])
def test_improper_tau_with_too_few_studies_is_refused(fit, mu, k, tau):
    with pytest.raises(PriorError, match="needs at least"):
        fit([{"yi": 0.1 * i} for i in range(k)], mu, tau)


@pytest.mark.parametrize(("mu", "k"), [("flat", 3), ("normal(0,1)", 2)])
@pytest.mark.parametrize("tau", ["flat", "uniform(0,inf)"])
def test_improper_tau_with_just_enough_studies_works(fit, mu, k, tau):
    posterior = fit([{"yi": 0.1 * i} for i in range(k)], mu, tau)
    assert posterior.log_evidence is None
    median = posterior.tau_density.quantile(0.5)
    assert 0 < median < 10


def test_three_rows_of_one_study_are_one_study(fit):
    """The posterior of tau is improper here; the engine must not need to be told n_studies."""
    rows = [{"yi": y, "study_id": "S"} for y in (0.1, 0.3, 0.2)]
    with pytest.raises((PriorError, FloatingPointError)):
        fit(rows, "flat", "uniform(0,inf)")


def test_evidence_under_an_improper_prior_is_refused_by_name(layout_of):
    data = layout_of([{"yi": 0.1}, {"yi": 0.2}, {"yi": 0.3}])
    mu, tau = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")
    with pytest.raises(PriorError, match="improper prior flat"):
        log_evidence(data, mu_prior=parse_prior("flat", "mu"), tau_prior=tau)
    with pytest.raises(PriorError, match=r"improper prior uniform\(0,inf\)"):
        log_evidence(data, mu_prior=mu, tau_prior=parse_prior("uniform(0,inf)", "tau"))


def test_one_study_is_its_prior_and_its_likelihood(fit):
    """k = 1, flat mu: the data say nothing about tau; mu is N(y, s^2 + tau^2) over tau's prior."""
    posterior = fit([{"yi": 0.7, "vi": 0.09}], "flat", "halfnormal(0.5)")
    assert posterior.mu.mean == pytest.approx(0.7, abs=1e-12)
    assert posterior.tau_density.mean == pytest.approx(0.5 * np.sqrt(2 / np.pi), abs=1e-9)
    assert posterior.mu.sd == pytest.approx(np.sqrt(0.09 + 0.25), rel=1e-9)
    assert posterior.prediction.sd == pytest.approx(np.sqrt(0.09 + 0.5), rel=1e-9)


def test_two_studies(fit):
    """k = 2, flat mu: tau given y depends on the difference alone."""
    posterior = fit([{"yi": 0.0}, {"yi": 1.0}], "flat", "halfnormal(0.5)")
    x, w = np.polynomial.legendre.leggauss(400)
    tau, w = 2.5 * (x + 1), 2.5 * w
    p = (
        w
        * stats.halfnorm.pdf(tau, scale=0.5)
        * stats.norm.pdf(1.0, 0, np.sqrt(2 * (0.04 + tau**2)))
    )
    assert posterior.tau_density.mean == pytest.approx((p * tau).sum() / p.sum(), rel=1e-9)
    assert posterior.mu.mean == pytest.approx(0.5, abs=1e-12)


def test_infinite_moments_are_not_printed_as_numbers(fit):
    """One study, flat mu, half-Cauchy tau: the posterior of tau is its prior, without a mean."""
    posterior = fit([{"yi": 0.7}], "flat", "halfcauchy(0.5)")
    assert posterior.tau_density.quantile(0.5) == pytest.approx(0.5, rel=1e-6)
    assert not np.isfinite(posterior.tau_density.mean) or posterior.tau_density.mean > 1e6


def test_equal_variances_equal_effects(fit):
    posterior = fit([{"yi": 0.25}] * 6, "flat")
    assert posterior.mu.mean == pytest.approx(0.25, abs=1e-12)
    assert np.isfinite(numbers(posterior)).all()
    assert posterior.tau_density.pdf(0.0) > posterior.tau_density.pdf(0.1)


@pytest.mark.parametrize(
    ("rows", "mu", "tau"),
    [
        ([{"yi": 1e6 + i, "vi": 0.04} for i in range(4)], "normal(0,1)", "halfnormal(0.5)"),
        ([{"yi": 1e6 + i, "vi": 0.04} for i in range(4)], "normal(0,1e7)", "halfnormal(0.5)"),
        ([{"yi": 1e6 * i, "vi": 0.04} for i in range(4)], "flat", "halfnormal(1e6)"),
        ([{"yi": 1e6 * i, "vi": 1e-12} for i in range(4)], "flat", "halfnormal(1e6)"),
        ([{"yi": 0.1 * i, "vi": 1e-12} for i in range(4)], "normal(0,1)", "halfnormal(0.5)"),
        ([{"yi": 0.1, "vi": 1e-12}] * 4, "normal(0,1)", "halfnormal(0.5)"),
        ([{"yi": 0.1, "vi": 1e-12}, {"yi": 0.4, "vi": 1e12}], "normal(0,1)", "halfcauchy(0.5)"),
        ([{"yi": 0.1}, {"yi": 0.4}, {"yi": 50.0}], "normal(0,1)", "halfnormal(0.5)"),
        ([bound(5.0, INF), bound(-INF, -5.0)], "normal(0,1)", "halfnormal(0.5)"),
        ([bound(1e3, INF)], "normal(0,1)", "halfnormal(0.5)"),
        ([bound(-1e-6, 1e-6)] * 3, "normal(0,1)", "halfnormal(0.5)"),
        ([bound(-0.3, 0.3, vi=1e-12)] * 3, "normal(0,1)", "halfnormal(0.5)"),
        ([bound(0.3, INF, vi=1e-12), {"yi": 0.1, "vi": 1e-12}], "normal(0,1)", "halfnormal(0.5)"),
        ([bound(0.3, INF, study_id="S", vi=1e-12)] * 2, "normal(0,1)", "halfnormal(0.5)"),
        ([bound(0.4, INF), bound(-0.3, 0.3)], "normal(0,1)", "halfcauchy(0.5)"),
        ([bound(0.4, INF), {"yi": 0.2}], "flat", "halfnormal(0.5)"),
        ([{"yi": 0.2, "kind": "unsigned"}], "flat", "halfnormal(0.5)"),
        ([{"yi": 0.0, "kind": "unsigned"}] * 2, "normal(0,1)", "halfnormal(0.5)"),
    ],
)
def test_extremes_give_numbers_or_a_refusal(fit, rows, mu, tau):
    try:
        posterior = fit(rows, mu, tau)
    except FloatingPointError as refusal:
        refused = str(refusal)
    else:
        refused = ""
    if refused:
        assert "could not be resolved" in refused
        return
    found = numbers(posterior)
    if tau == "halfcauchy(0.5)" and len(rows) == 2 and "lower" in rows[0]:
        # One closed interval and a Cauchy tail: the density falls as tau^-3, without a variance,
        # and so does that of a new effect, mu + tau z.
        assert np.isinf(found[[4, 6]]).all()
        found[[4, 6]] = 0.0
    assert np.isfinite(found).all(), found
    assert (found[[1, 3, 4, 6]] >= 0).all()
    assert 0 <= posterior.p_positive <= 1
    assert posterior.log_evidence is None or np.isfinite(posterior.log_evidence)


@pytest.mark.parametrize(
    "rows",
    [
        [{"yi": 0.1, "vi": 1e-12}, {"yi": 0.4, "vi": 1e12}],
        [bound(5.0, INF), bound(-INF, -5.0)],
        [bound(-1e-6, 1e-6)],
        [bound(0.3, INF, study_id="S")] * 2,
        [{"yi": 0.0, "kind": "unsigned"}] * 2,
    ],
)
def test_extremes_with_within_study_heterogeneity(fit, rows):
    found = numbers(fit(rows, omega="halfnormal(0.5)"))
    assert np.isfinite(found).all(), found


def test_tiny_variances_leave_the_sample_of_true_effects(fit):
    """v = 1e-12: the effects are the settings themselves, tau is their spread."""
    y = [0.1, 0.2, 0.4, 0.7, 0.3]
    posterior = fit([{"yi": v, "vi": 1e-12} for v in y], "flat", "flat")
    assert posterior.mu.mean == pytest.approx(np.mean(y), abs=1e-9)
    # tau^-(k - 1) exp(-S / 2 tau^2) under flat priors
    x, w = np.polynomial.legendre.leggauss(2000)
    u, w = (x + 1) / 2, w / 2
    tau = u / (1 - u)
    s = ((np.array(y) - np.mean(y)) ** 2).sum()
    p = w / (1 - u) ** 2 * tau ** (-4.0) * np.exp(-s / (2 * tau**2))
    expected = (p[tau < np.inf] * tau).sum() / p.sum()
    assert posterior.tau_density.mean == pytest.approx(expected, rel=1e-6)


def test_ten_thousand_rows(fit):
    rng = np.random.default_rng(1)
    theta = rng.normal(0.3, 0.2, 10_000)
    rows = [{"yi": y, "vi": 0.04} for y in theta + rng.normal(0, 0.2, 10_000)]
    posterior = fit(rows)
    # four standard errors of this many
    assert posterior.mu.mean == pytest.approx(0.3, abs=4 * posterior.mu.sd)
    assert posterior.mu.sd == pytest.approx(np.sqrt(0.08 / 10_000), rel=0.05)
    assert posterior.tau_density.mean == pytest.approx(0.2, abs=4 * posterior.tau_density.sd)


def test_a_thousand_bounds(fit):
    rng = np.random.default_rng(2)
    y = rng.normal(0.3, np.sqrt(0.08), 1000)
    cells = [(0.4, INF) if v > 0.4 else (-INF, -0.4) if v < -0.4 else (-0.4, 0.4) for v in y]
    posterior = fit([bound(*c) for c in cells])
    assert posterior.mu.mean == pytest.approx(0.3, abs=4 * posterior.mu.sd)
    assert posterior.mu.sd < 0.03


def test_uniform_priors_keep_tau_inside(fit):
    posterior = fit([{"yi": 0.0}, {"yi": 1.0}, {"yi": 0.3}], tau="uniform(0.2,0.9)")
    density = posterior.tau_density
    assert float(density.cdf(0.2)) == pytest.approx(0.0, abs=1e-12)
    assert float(density.cdf(0.9)) == pytest.approx(1.0, abs=1e-12)
    assert posterior.log_evidence is not None
    low, high = interval(density, 0.95, "shortest", 0.0)
    assert 0.2 <= low < high <= 0.9


@pytest.mark.parametrize(
    "bad", [{"vi": -0.1}, {"vi": np.nan}, {"yi": np.nan}, {"yi": INF}], ids=str
)
def test_rows_that_are_no_evidence_are_refused(fit, bad):
    """The evidence floor refuses them first; the engine must not turn them into numbers."""
    # the arithmetic warns before the quadrature refuses, and warnings are errors here
    with pytest.raises((ValueError, FloatingPointError, RuntimeWarning)):
        fit([{"yi": 0.1}, {"yi": 0.2, **bad}, {"yi": 0.3}])


@pytest.mark.parametrize("bad", [0.0, -0.1, np.nan, INF])
def test_a_variance_that_is_not_positive_is_refused_by_row(fit, layout_of, bad):
    rows = [{"yi": 0.1}, {"yi": 0.2, "vi": bad}, {"yi": 0.3}]
    with pytest.raises(ValueError, match="row 2 of the pool has a sampling variance of"):
        fit(rows)
    with pytest.raises(ValueError, match="row 2 of the pool"):
        log_evidence(layout_of(rows), mu_prior=parse_prior("normal(0,1)", "mu"), tau_prior=None)


PROPER_TAU = ["dumouchel", "shrinkage", "conventional", "overalljeffreys", "rhodes2015",
              "turner2015", "invgamma(1,0.15)", "zero"]  # fmt: skip


@pytest.mark.parametrize("tau", [*PROPER_TAU, "i2", "jeffreys", "bergerdeely"])
@pytest.mark.parametrize(
    "rows",
    [
        [{"yi": 0.4}],
        [{"yi": 0.4}, {"yi": 0.9}],
        [{"yi": 0.25}] * 5,
        [{"yi": 1e6 + i} for i in range(4)],
        [{"yi": 0.1 * i, "vi": 1e-12} for i in range(4)],
        [{"yi": 0.1, "vi": 1e-12}, {"yi": 0.4, "vi": 1e12}, {"yi": 0.3}],
        [bound(0.4, INF), bound(-0.3, 0.3), {"yi": 0.2}],
    ],
    ids=["k1", "k2", "equal", "1e6", "1e-12", "ratio", "bounds"],
)
def test_every_prior_on_hard_data_gives_numbers_or_a_refusal(fit, rows, tau):
    if len(rows) == 1 and tau == "i2":
        with pytest.raises(PriorError, match="needs two studies"):
            fit(rows, tau=tau)
        return
    try:
        posterior = fit(rows, tau=tau)
    except FloatingPointError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "could not be resolved" in refusal
        return
    found = numbers(posterior)
    # one study and a tail of tau^-2 or tau^-3 leave tau without an SD or a mean, and what varies
    # as tau does, the effect in a new setting, likewise: a mean of both signs is then no number
    infinite = np.isinf(found)
    assert not np.isnan(np.delete(found, 5)).any()
    assert np.isnan(found[5]) == infinite[3]
    assert infinite[6] == infinite[4]
    assert not infinite[[i for i in range(len(found)) if i not in (3, 4, 6)]].any()
    assert (found[[1, 6]] > 0).all()
    assert (posterior.log_evidence is None) == (tau in ("jeffreys", "bergerdeely"))


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("tau", ["rhodes2015", "turner2015", "invgamma(1,0.15)", "logt2(5,-30,2)"])
def test_priors_of_log_tau_against_the_trapezoid_rule(fit, k, tau):
    """Log evidence and mean by 40,001 steps in log tau, where the integrand is analytic."""
    y, v = np.array([0.4, 0.9, -0.3, 0.2, 0.1][:k]), np.array([0.04, 0.09, 0.02, 0.1, 0.05][:k])
    posterior = fit([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)], tau=tau)
    z = np.linspace(-600, 300, 40_001)
    total = np.exp(2 * z)[:, None] + v
    precision = (1 / total).sum(axis=1) + 1.0
    mean = (y / total).sum(axis=1) / precision
    log_p = parse_prior(tau, "tau").logpdf(np.exp(z)) + z - 0.5 * np.log(total).sum(axis=1)
    log_p -= 0.5 * (((y - mean[:, None]) ** 2 / total).sum(axis=1) + mean**2 + np.log(precision))
    log_p -= k / 2 * np.log(2 * np.pi)
    p = np.exp(log_p) * (z[1] - z[0])
    assert posterior.log_evidence == pytest.approx(np.log(p.sum()), abs=1e-10)
    assert posterior.mu.mean == pytest.approx((p * mean).sum() / p.sum(), abs=1e-10)


def test_the_shortest_interval_of_a_log_t_starts_where_it_is_shortest(fit):
    """Its density has a pole at 0 of next to no mass; width is checked against a scan."""
    for rows in ([{"yi": 0.4}], [{"yi": 1.0}, {"yi": -1.0}, {"yi": 3.0}]):
        density = fit(rows, tau="rhodes2015").tau_density
        low, high = interval(density, 0.95, "shortest", 0.0)
        assert float(density.cdf(high) - density.cdf(low)) == pytest.approx(0.95, abs=1e-9)
        p = np.linspace(0, 0.05, 201)[1:-1]
        widths = [density.quantile(q + 0.95) - density.quantile(q) for q in p]
        assert high - low <= min(widths) * (1 + 1e-9)


@pytest.mark.parametrize("tau", ["rhodes2015", "turner2015", "invgamma(1,0.15)"])
@pytest.mark.parametrize("omega", [None, "halfnormal(0.5)"])
def test_priors_of_log_tau_with_bounds_of_one_study(fit, layout_of, tau, omega):
    """Against the nodes of another prior, weighted by the ratio of the two densities.

    5e-3 and 1e-3: what lies below the other prior's first nodes, which is not weighted. Nodes
    dropped by mistake change the SD of mu by a quarter.
    """
    rows = [
        {"yi": 0.3},
        {"yi": 0.6, "study_id": "A"},
        {"yi": 0.2, "study_id": "A"},
        bound(0.4, INF),
    ]
    rows += [bound(0.4, INF, study_id="C"), bound(-0.4, 0.4, study_id="C")]
    base = fit(rows, tau="dumouchel", omega=omega)
    known = bind_prior(parse_prior("dumouchel", "tau"), layout_of(rows))
    ratio = np.exp(parse_prior(tau, "tau").logpdf(base.tau) - known.logpdf(base.tau))
    weight = base.weight * ratio
    posterior = fit(rows, tau=tau, omega=omega)
    assert posterior.log_evidence == pytest.approx(
        base.log_evidence + np.log(weight.sum() / base.weight.sum()), abs=5e-3
    )
    weight /= weight.sum()
    mean = weight @ base.mu_mean
    assert posterior.mu.mean == pytest.approx(mean, abs=1e-3 * base.mu.sd)
    sd = np.sqrt(weight @ (base.mu_mean - mean) ** 2)
    assert posterior.mu.sd == pytest.approx(sd, rel=1e-3)
    pinned = log_evidence(
        layout_of(rows),
        mu_prior=None,
        tau_prior=parse_prior(tau, "tau"),
        omega_prior=None if omega is None else parse_prior(omega, "tau"),
    )
    ratio = np.log(float(posterior.mu.pdf(0.0))) - stats.norm.logpdf(0.0)
    # Savage-Dickey: 1e-6 with two axes, 0.02 with three, the tolerances of the densities
    assert pinned - posterior.log_evidence == pytest.approx(
        ratio, abs=1e-5 if omega is None else 2e-2
    )


def test_rows_of_one_study_under_a_prior_without_an_upper_end(layout_of):
    """tau runs to e^345 on its axis; the covariance of dependent rows must not become singular."""
    rows = [{"yi": 0.6, "study_id": "A", "vi": 0.04}, {"yi": 0.2, "study_id": "A", "vi": 0.03}]
    rows += [{"yi": 0.1}, {"yi": 0.5}]

    def correlated(frame):
        s = np.sqrt(frame["vi"].to_numpy())
        return np.outer(s, s) * (0.4 + 0.6 * np.eye(len(s)))

    found = [
        fit_exact(
            layout_of(rows, 0.6, correlated),
            mu_prior=parse_prior("normal(0,1)", "mu"),
            tau_prior=parse_prior(tau, "tau"),
            omega_prior=parse_prior("halfnormal(0.5)", "tau"),
        )
        for tau in ("rhodes2015", "halfcauchy(1)")
    ]
    ratio = np.exp(
        parse_prior("rhodes2015", "tau").logpdf(found[1].tau)
        - parse_prior("halfcauchy(1)", "tau").logpdf(found[1].tau)
    )
    expected = found[1].log_evidence + np.log(found[1].weight @ ratio)
    # the half-Cauchy's nodes reach down to tau = 1e-4 only, below which rhodes2015 has 1e-3
    assert found[0].log_evidence == pytest.approx(expected, abs=5e-3)


def test_an_improper_prior_on_omega_is_refused(fit):
    rows = [{"yi": y, "study_id": "S"} for y in (0.1, 0.3)]
    with pytest.raises(PriorError, match="improper prior on omega"):
        fit(rows, omega="flat")


def test_no_rows_are_refused(layout_of):
    with pytest.raises((ValueError, KeyError, IndexError)):
        fit_exact(
            layout_of([]),
            mu_prior=parse_prior("normal(0,1)", "mu"),
            tau_prior=parse_prior("halfnormal(0.5)", "tau"),
        )


def test_within_study_heterogeneity_needs_a_study_with_several_effects():
    assert has_omega(np.array(["a", "b", "a"], dtype=object))
    assert not has_omega(np.array(["a", "b", "c"], dtype=object))
