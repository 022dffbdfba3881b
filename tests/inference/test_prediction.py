"""The effect in a new setting where mu is a quadrature axis, beside a dense sum over tau and z.

Given tau and z a new effect lies below x where mu lies below x - tau z: the oracle needs mu's
conditional distribution function only, in straight lines between 15,000 places, good to 1e-6.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from nssi_meta.inference.densities import interval

BEYOND = {"kind": "interval", "lower": 0.4, "upper": np.inf, "vi": 0.04}
WITHIN = {"kind": "interval", "lower": -0.3, "upper": 0.3, "vi": 0.05}
EXACT = [{"yi": 0.3, "vi": 0.04}, {"yi": 0.7, "vi": 0.09}, {"yi": -0.1, "vi": 0.02}]


def log_row(row, mu, tau):
    sd = np.sqrt(row["vi"] + tau**2)
    if "yi" in row:
        return stats.norm.logpdf(row["yi"], mu, sd)
    below = ndtr((row["lower"] - mu) / sd)
    with np.errstate(divide="ignore"):
        return np.log(ndtr((row["upper"] - mu) / sd) - below)


def share_below(rows, mu_prior, tau_prior, places):
    """P(new effect < x) at each of `places`."""
    t, w = np.polynomial.legendre.leggauss(6)
    edges = np.concatenate([[0.0], np.geomspace(1e-3, 60.0, 22)])
    half = np.diff(edges)[:, None] / 2
    tau = ((edges[1:] + edges[:-1])[:, None] / 2 + half * t).ravel()
    w_tau = (half * w).ravel()
    z, step = np.linspace(-8, 8, 161, retstep=True)
    mu = np.linspace(-6, 6, 15001)
    log_p = sum(log_row(r, mu, tau[:, None]) for r in rows)
    density = np.exp(log_p + mu_prior.logpdf(mu)) * (w_tau * tau_prior.pdf(tau))[:, None]
    area = (density[:, 1:] + density[:, :-1]) / 2 * (mu[1] - mu[0])
    below = np.hstack([np.zeros((len(tau), 1)), np.cumsum(area, axis=1)])
    total = below[:, -1].sum()
    kernel = stats.norm.pdf(z) * step
    return [
        sum(np.interp(x - t * z, mu, row) @ kernel for t, row in zip(tau, below, strict=True))
        / total
        for x in places
    ]


CASES = {
    "bounds": ([*EXACT, BEYOND, WITHIN], "normal(0,1)", "halfnormal(0.5)",
               stats.norm(0, 1), stats.halfnorm(scale=0.5)),
    "heavy priors": ([EXACT[0], BEYOND, WITHIN], "student_t(4,0,1)", "lognormal(-1,1)",
                     stats.t(4, 0, 1), stats.lognorm(1, scale=np.exp(-1))),
    "little heterogeneity": ([*EXACT, BEYOND], "student_t(3,0,0.5)", "exponential(0.01)",
                             stats.t(3, 0, 0.5), stats.expon(scale=0.01)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_quantiles_of_a_new_effect(fit, name):
    rows, mu, tau, mu_prior, tau_prior = CASES[name]
    new = fit(rows, mu, tau).prediction
    p = [0.025, 0.5, 0.975]
    places = [new.quantile(q) for q in p]
    found = share_below(rows, mu_prior, tau_prior, places)
    # Heavy priors leave as much as 2e-6 beyond |mu| = 6 or tau = 60, where the oracle ends.
    np.testing.assert_allclose(found, p, atol=2e-6)
    np.testing.assert_allclose(new.cdf(np.array(places)), p, atol=1e-10)


def test_density_and_moments_belong_to_the_distribution_function(fit):
    new = fit([*EXACT, BEYOND, WITHIN]).prediction
    x, h = np.linspace(-1.5, 2.0, 8), 1e-4
    slope = (new.cdf(x + h) - new.cdf(x - h)) / (2 * h)
    np.testing.assert_allclose(new.pdf(x), slope, rtol=1e-6, atol=1e-8)
    grid = np.linspace(-12, 12, 1201)
    density = new.pdf(grid)
    mean = np.trapezoid(grid * density, grid)
    assert new.mean == pytest.approx(mean, abs=1e-7)
    assert new.sd == pytest.approx(
        np.sqrt(np.trapezoid((grid - mean) ** 2 * density, grid)), abs=1e-6
    )


def test_the_shortest_interval_is_no_longer_than_the_central_one(fit):
    new = fit([*EXACT, BEYOND]).prediction
    low, high = interval(new, 0.95, "shortest")
    assert new.cdf(high) - new.cdf(low) == pytest.approx(0.95, abs=1e-9)
    assert new.pdf(low) == pytest.approx(float(new.pdf(high)), rel=1e-6)


def test_interpolated_heterogeneity_changes_nothing(fit, monkeypatch):
    """Three axes have thousands of values of t, of which 96 are left."""
    import nssi_meta.inference.prediction as module

    rows = [{**EXACT[0], "study_id": "A"}, {**EXACT[1], "study_id": "A"}, EXACT[2], BEYOND]
    posterior = fit(rows, "normal(0,1)", "halfnormal(0.5)", "halfnormal(0.5)")
    fast = [posterior.predict().quantile(p) for p in (0.025, 0.5, 0.975)]
    monkeypatch.setattr(module, "_MANY", 10**9)
    full = [posterior.predict().quantile(p) for p in (0.025, 0.5, 0.975)]
    np.testing.assert_allclose(fast, full, atol=1e-6)


def test_heterogeneity_of_two_kinds_is_interpolated_too(fit, monkeypatch):
    """A narrow t prior against the data: little heterogeneity about 3, or much about 0."""
    import nssi_meta.inference.prediction as module

    rows = [{"yi": y, "vi": v} for y, v in ((3.0, 0.01), (3.2, 0.02), (2.9, 0.01))]
    posterior = fit(rows, "student_t(3,0,0.05)")
    fast = [posterior.predict().quantile(p) for p in (0.005, 0.025, 0.975, 0.995)]
    monkeypatch.setattr(module, "_MANY", 10**9)
    full = [posterior.predict().quantile(p) for p in (0.005, 0.025, 0.975, 0.995)]
    # Four panels of t were off by 3e-4 here; eight by 1e-8.
    np.testing.assert_allclose(fast, full, atol=1e-7)
