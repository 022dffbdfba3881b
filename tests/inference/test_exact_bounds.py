"""Pools with bounds against brute force: plain sums over dense grids, written independently."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import log_evidence
from nssi_meta.models.priors import parse_prior

INF = np.inf


def bound(low, high, **more):
    return {"kind": "interval", "lower": low, "upper": high, **more}


def legendre(edges, n):
    x, w = np.polynomial.legendre.leggauss(n)
    edges = np.asarray(edges, dtype=float)
    mid, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (mid[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


class BruteForce:
    """Posterior of mu ~ N(0, 1), tau (and omega) ~ half-normal(0.5) on a fixed dense grid.

    Rows of a study are independent given one standard normal f (loads as the model documents);
    f is summed over 81 points of [-8, 8], which for smooth integrands is exact to 1e-13. Panels of
    mu are 0.3 wide, so that every x asked for is an edge with like panels on both sides.
    """

    def __init__(self, rows, with_omega=False, rho=0.6, n=(6, 120, 48)):
        self.mu, w_mu = legendre(0.3 * np.arange(-24, 25), n[0])
        self.tau, w_tau = legendre([0, 0.1, 0.25, 0.5, 1.0, 3.5], n[1] // 5)
        omega, w_omega = legendre([0, 0.1, 0.4, 1.0, 3.5], n[2] // 4)
        self.omega, w_omega = (omega, w_omega) if with_omega else (np.zeros(1), np.ones(1))
        m, t, o = np.meshgrid(self.mu, self.tau, self.omega, indexing="ij")
        log_p = stats.norm.logpdf(m) + stats.halfnorm.logpdf(t, scale=0.5)
        if with_omega:
            log_p = log_p + stats.halfnorm.logpdf(o, scale=0.5)
        studies: dict[str, list[dict]] = {}
        for i, row in enumerate(rows):
            studies.setdefault(row.get("study_id", f"study {i}"), []).append(row)
        for part in studies.values():
            if len(part) == 1:
                sd = np.sqrt(part[0].get("vi", 0.04) + t**2 + o**2)
                log_p = log_p + self.one(part[0], m, sd)
                continue
            terms = []
            f, h = np.linspace(-8, 8, 81), 0.2
            for value in f:
                inside = np.full(m.shape, stats.norm.logpdf(value) + np.log(h))
                vs = [row.get("vi", 0.04) for row in part]
                # two rows: the documented covariance t^2 + rho s1 s2, as loads that multiply to it
                common = t**2 + rho * np.sqrt(vs[0] * vs[1])
                whole = [t**2 + rho * v for v in vs]
                for row, v, mine, other in zip(part, vs, whole, whole[::-1], strict=True):
                    load = np.sqrt(common * np.sqrt(mine / other))
                    sd = np.sqrt(t**2 + o**2 + v - load**2)
                    inside = inside + self.one(row, m + load * value, np.broadcast_to(sd, m.shape))
                terms.append(inside)
            log_p = log_p + logsumexp(np.array(terms), axis=0)
        log_p = log_p + np.log(w_mu[:, None, None] * w_tau[:, None] * w_omega)
        self.log_evidence = logsumexp(log_p)
        self.weight = np.exp(log_p - self.log_evidence)
        self.total = np.sqrt(t**2 + o**2)
        self.m = m

    @staticmethod
    def one(row, mean, sd):
        kind = row.get("kind", "exact")
        if kind == "exact":
            return stats.norm.logpdf(row["yi"], mean, sd)
        if kind == "unsigned":
            return np.logaddexp(
                stats.norm.logpdf(row["yi"], mean, sd), stats.norm.logpdf(-row["yi"], mean, sd)
            )
        with np.errstate(divide="ignore"):
            above = np.where(
                mean > (row["lower"] if np.isfinite(row["lower"]) else row["upper"]), 1.0, -1.0
            )
            # difference of the tails on the side where they are small
            upper = stats.norm.sf(row["lower"], mean, sd) - stats.norm.sf(row["upper"], mean, sd)
            lower = stats.norm.cdf(row["upper"], mean, sd) - stats.norm.cdf(row["lower"], mean, sd)
            return np.log(np.maximum(np.where(above > 0, lower, upper), 1e-300))

    def moments(self, values):
        mean = (self.weight * values).sum()
        return mean, np.sqrt((self.weight * (values - mean) ** 2).sum())

    def cdf_of_mu(self, x):
        """Share of mu below x, which must be a panel edge."""
        return self.weight[self.mu < x].sum()

    def prediction_cdf(self, x):
        return (self.weight * stats.norm.cdf(x, self.m, self.total)).sum()


POOLS = {
    "bounds alone": [bound(0.4, INF), bound(0.35, INF), bound(-0.4, 0.4), bound(-INF, -0.5)],
    "one bound": [bound(0.4, INF)],
    "exact and bounds": [
        {"yi": 0.6}, {"yi": 0.1, "vi": 0.02}, bound(0.5, INF), bound(-0.3, 0.3, vi=0.02)
    ],
    "unsigned": [{"yi": 0.5, "kind": "unsigned"}, {"yi": 0.3}, {"yi": 0.7, "kind": "unsigned"}],
    "unsigned alone, two modes": [{"yi": 0.8, "kind": "unsigned"}, {"yi": 0.9, "kind": "unsigned"}],
}  # fmt: skip

BLOCKS = {
    "two bounds of one study": [
        {"yi": 0.3}, {"yi": 0.5},
        bound(0.4, INF, study_id="S", sample_id="a"),
        bound(-0.5, 0.5, study_id="S", sample_id="a", vi=0.06),
    ],
    "exact, unsigned and bound of one study": [
        {"yi": 0.2},
        {"yi": 0.5, "study_id": "S", "sample_id": "a"},
        {"yi": 0.3, "kind": "unsigned", "study_id": "S", "sample_id": "a"},
        bound(0.4, INF, study_id="S", sample_id="a"),
        bound(-INF, -0.3),
    ],
}  # fmt: skip


# Asked of the quadrature with mu as an axis: 1e-6 for what is printed. Measured 1e-8 (moments,
# log evidence) without blocks of bounds, 1e-5 with them (24 nodes a block).
@pytest.mark.parametrize("name", [*POOLS, *BLOCKS])
def test_two_axes_against_brute_force(fit, name):
    rows = {**POOLS, **BLOCKS}[name]
    tolerance = 1e-6 if name in POOLS else 1e-4
    brute, ours = BruteForce(rows), fit(rows)
    mean, sd = brute.moments(brute.m)
    assert ours.mu.mean == pytest.approx(mean, abs=tolerance * sd)
    assert ours.mu.sd == pytest.approx(sd, abs=tolerance * sd)
    tau_mean, tau_sd = brute.moments(brute.total)
    assert ours.tau_density.mean == pytest.approx(tau_mean, abs=tolerance * tau_sd)
    assert ours.tau_density.sd == pytest.approx(tau_sd, abs=tolerance * tau_sd)
    assert ours.log_evidence == pytest.approx(brute.log_evidence, abs=tolerance)
    for x in (-0.9, 0.0, 0.9):
        assert float(ours.mu.cdf(x)) == pytest.approx(brute.cdf_of_mu(x), abs=tolerance)
    assert ours.p_positive == pytest.approx(1 - brute.cdf_of_mu(0.0), abs=tolerance)
    # the mixture groups nodes by their heterogeneity: 1e-4 (measured 3e-5)
    for x in (-0.9, 0.0, 0.3, 1.2):
        assert float(ours.prediction.cdf(x)) == pytest.approx(brute.prediction_cdf(x), abs=2e-4)
    low, high = interval(ours.prediction)
    assert brute.prediction_cdf(low) == pytest.approx(0.025, abs=2e-4)
    assert brute.prediction_cdf(high) == pytest.approx(0.975, abs=2e-4)


# With omega there are three axes, resolved to 1e-4: integrals and quantiles to 1e-5 (seen 3e-6).
@pytest.mark.parametrize("name", ["exact and bounds", *BLOCKS])
def test_three_axes_against_brute_force(fit, name):
    rows = {**POOLS, **BLOCKS}[name]
    brute = BruteForce(rows, with_omega=True, n=(4, 50, 32))
    # The sum over f is too coarse for large tau: 1e-5 of the mass of mu.
    tolerance = 1e-5 if name in POOLS else 3e-5
    ours = fit(rows, omega="halfnormal(0.5)")
    mean, sd = brute.moments(brute.m)
    assert ours.mu.mean == pytest.approx(mean, abs=tolerance * sd)
    assert ours.mu.sd == pytest.approx(sd, rel=tolerance)
    assert ours.log_evidence == pytest.approx(brute.log_evidence, abs=tolerance)
    for density, axis in ((ours.tau_density, brute.tau), (ours.omega_density, brute.omega)):
        shape = (1, -1, 1) if density is ours.tau_density else (1, 1, -1)
        mean, sd = brute.moments(axis.reshape(shape))
        assert density.mean == pytest.approx(mean, abs=tolerance * sd)
        assert density.sd == pytest.approx(sd, rel=tolerance)
    for x in (-0.9, 0.0, 0.9):
        assert float(ours.mu.cdf(x)) == pytest.approx(brute.cdf_of_mu(x), abs=tolerance)
    for x in (-0.9, 0.0, 0.3, 1.2):
        assert float(ours.prediction.cdf(x)) == pytest.approx(
            brute.prediction_cdf(x), abs=tolerance
        )


def test_the_null_models_too(layout_of):
    rows = POOLS["exact and bounds"]
    data = layout_of(rows)
    mu, tau = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")

    def at(m, t):
        return sum(
            BruteForce.one(r, np.array(m), np.sqrt(np.array(r.get("vi", 0.04) + t**2)))
            for r in rows
        )

    assert log_evidence(data, mu_prior=None, tau_prior=None) == pytest.approx(
        at(0.0, 0.0), abs=1e-12
    )
    x, w = legendre(np.linspace(-5, 5, 41), 16)
    free_mu = logsumexp([at(m, 0.0) + stats.norm.logpdf(m) for m in x], b=w)
    assert log_evidence(data, mu_prior=mu, tau_prior=None) == pytest.approx(free_mu, abs=1e-9)
    x, w = legendre([0, 0.1, 0.25, 0.5, 1.0, 4.5], 20)
    free_tau = logsumexp([at(0.0, t) + stats.halfnorm.logpdf(t, scale=0.5) for t in x], b=w)
    assert log_evidence(data, mu_prior=None, tau_prior=tau) == pytest.approx(free_tau, abs=1e-9)


def test_a_prior_that_is_not_conjugate_uses_the_mu_axis(fit):
    """Student t with 1e8 degrees of freedom is the normal prior, by the other route."""
    rows = [{"yi": 0.6}, {"yi": 0.1, "vi": 0.02}, {"yi": -0.2}]
    closed, axis = fit(rows, "normal(0,1)"), fit(rows, "student_t(1e8,0,1)")
    assert axis.mu.mean == pytest.approx(closed.mu.mean, abs=1e-6 * closed.mu.sd)
    assert axis.mu.sd == pytest.approx(closed.mu.sd, rel=1e-6)
    assert axis.log_evidence == pytest.approx(closed.log_evidence, abs=1e-6)
    for kind in ("central", "shortest"):
        gap = np.subtract(interval(axis.mu, 0.95, kind), interval(closed.mu, 0.95, kind))
        assert np.abs(gap).max() < 1e-6 * closed.mu.sd
    # the grouped mixture is the weaker part: measured 1e-4 of an SD
    gap = np.subtract(interval(axis.prediction), interval(closed.prediction))
    assert np.abs(gap).max() < 1e-3 * closed.prediction.sd
    assert axis.prediction.sd == pytest.approx(closed.prediction.sd, rel=1e-3)


@pytest.mark.parametrize("width", [1e-2, 1e-3, 1e-4])
def test_exact_rows_as_narrow_intervals_give_the_exact_answer(fit, width):
    """Error of second order in the width; evidence is a density times the width."""
    values = [(0.6, 0.04), (0.1, 0.02), (-0.2, 0.05)]
    exact = fit([{"yi": y, "vi": v} for y, v in values])
    narrow = fit([bound(y - width / 2, y + width / 2, vi=v) for y, v in values])
    tolerance = max(width**2 / 0.02, 1e-6)
    assert narrow.mu.mean == pytest.approx(exact.mu.mean, abs=tolerance * exact.mu.sd)
    assert narrow.mu.sd == pytest.approx(exact.mu.sd, rel=tolerance)
    assert narrow.tau_density.mean == pytest.approx(exact.tau_density.mean, rel=tolerance)
    evidence = narrow.log_evidence - 3 * np.log(width)
    assert evidence == pytest.approx(exact.log_evidence, abs=tolerance)


@pytest.mark.parametrize(
    ("variances", "tolerance"),
    # equal variances: the common part carries rho s^2 exactly
    [((0.04, 0.04), 1e-3), ((0.02, 0.09), 1e-3)],
)
def test_a_narrow_interval_in_a_study_gives_the_exact_answer(layout_of, fit, variances, tolerance):
    """Two effects of the same people, the second known to within 0.001."""

    def correlated(frame):
        s = np.sqrt(frame["vi"].to_numpy(dtype=float))
        return 0.6 * np.outer(s, s) + 0.4 * np.diag(s**2)

    people = {"study_id": "S", "sample_id": "a"}
    first = {"yi": 0.6, "vi": variances[0], **people}
    second = {"yi": 0.2, "vi": variances[1], **people}
    narrow = bound(0.1995, 0.2005, vi=variances[1], **people)
    exact = fit(layout_of([first, second, {"yi": 0.3}], 0.6, correlated))
    close = fit(layout_of([first, narrow, {"yi": 0.3}], 0.6, correlated))
    assert close.mu.mean == pytest.approx(exact.mu.mean, abs=tolerance * exact.mu.sd)
    assert close.mu.sd == pytest.approx(exact.mu.sd, rel=tolerance)
    assert close.log_evidence - np.log(1e-3) == pytest.approx(
        exact.log_evidence, abs=10 * tolerance
    )


def test_a_bound_that_does_not_bind_carries_no_information(fit):
    rows = [{"yi": 0.6}, {"yi": 0.1, "vi": 0.02}, bound(0.5, INF)]
    plain = fit(rows)
    for extra in (bound(-1e6, 1e6), bound(-1e6, INF), bound(-INF, 1e6)):
        more = fit([*rows, extra])
        # the axes' scale takes the bounds' ends in, so nodes differ: 1e-6, the grid's tolerance
        assert more.mu.mean == pytest.approx(plain.mu.mean, abs=1e-6 * plain.mu.sd)
        assert more.mu.sd == pytest.approx(plain.mu.sd, rel=1e-6)
        assert more.log_evidence == pytest.approx(plain.log_evidence, abs=1e-6)


def test_draws_agree_with_the_densities(fit):
    for rows in (POOLS["exact and bounds"], [{"yi": 0.6}, {"yi": 0.1}, {"yi": -0.2}]):
        posterior = fit(rows)
        mu, tau, omega = posterior.draws(200_000, seed=4)
        assert (omega == 0).all()
        # Monte Carlo error 0.002 SD at most
        assert mu.mean() == pytest.approx(posterior.mu.mean, abs=0.01 * posterior.mu.sd)
        assert mu.std() == pytest.approx(posterior.mu.sd, rel=0.01)
        assert tau.mean() == pytest.approx(
            posterior.tau_density.mean, abs=0.01 * posterior.tau_density.sd
        )
        np.testing.assert_array_equal(
            posterior.draws(50, seed=4)[0], posterior.draws(50, seed=4)[0]
        )


# 100,000 systematic draws: Monte Carlo error of a share below 0.002, four times that asked for.
# (On the nodes themselves draws stood 2.5% off, and all had one of some hundred values.)
@pytest.mark.parametrize("omega", [None, "halfnormal(0.5)"])
def test_shares_of_draws_are_shares_of_the_density(fit, omega):
    posterior = fit(POOLS["exact and bounds"], omega=omega)
    mu, tau, within = posterior.draws(100_000, seed=1)
    for x in np.linspace(-0.3, 0.7, 11):
        assert (mu < x).mean() == pytest.approx(float(posterior.mu.cdf(x)), abs=0.006)
    for values, density in ((tau, posterior.tau_density), (within, posterior.omega_density)):
        if density is None:
            assert (values == 0).all()
            continue
        assert len(np.unique(values)) > 0.999 * len(values)
        for x in np.linspace(0.02, 0.8, 9):
            share = float(density.cdf(x))
            assert (values < x).mean() == pytest.approx(share, abs=0.006)
    assert len(np.unique(mu)) > 0.999 * len(mu)


@pytest.mark.parametrize("rows", [POOLS["exact and bounds"], [{"yi": 2.6}, {"yi": 0.1}]])
def test_draws_keep_what_mu_and_tau_have_to_do_with_each_other(fit, rows):
    """Covariances and the joint share of a corner, against the quadrature's nodes."""
    posterior = fit(rows)
    mu, tau, _ = posterior.draws(200_000, seed=2)
    w = posterior.weight / posterior.weight.sum()
    m, t = posterior.mu_mean, posterior.tau
    for power in (1, 2):
        a, b = (m**2 + posterior.mu_sd**2 if power == 2 else m), t
        theirs = w @ (a * b) - (w @ a) * (w @ b)
        ours = np.cov(mu**power, tau)[0, 1]
        # Monte Carlo error of a covariance of two standardised draws: 1 / sqrt(200,000)
        assert ours == pytest.approx(theirs, abs=0.01 * np.std(mu**power) * np.std(tau))


@pytest.mark.parametrize("tau", ["halfnormal(0.001)", "uniform(0,0.002)"])
def test_next_to_no_heterogeneity_predicts_what_mu_is(fit, tau):
    """Every kernel of the prediction is narrower than the nodes of mu are apart."""
    rows = POOLS["exact and bounds"]
    ours, none = fit(rows, tau=tau), fit(rows, tau="zero")
    # tau of 0.001 adds 1e-6 to a variance of 0.01: a relative 5e-5 of the SD
    assert ours.mu.sd == pytest.approx(none.mu.sd, rel=1e-3)
    assert ours.prediction.sd == pytest.approx(none.mu.sd, rel=1e-2)
    gap = np.subtract(interval(ours.prediction), interval(none.mu))
    assert np.abs(gap).max() < 1e-2 * none.mu.sd
