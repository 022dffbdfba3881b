"""Power-scaling against refits under the scaled prior, brute-force quadrature and ArviZ."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.densities import NormalMixture
from nssi_meta.inference.sensitivity_prior import (
    _likelihood,
    _prior,
    _tilted,
    diagnose,
    distance,
    power_scaling,
    power_scaling_of_draws,
)
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import parse_prior

MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")
YI = (0.3, 0.7, -0.1, 0.9, 0.4)
EXACT = [{"yi": y, "vi": 0.03 + 0.02 * i} for i, y in enumerate(YI)]
BOUNDS = [*EXACT[:3], {"kind": "interval", "lower": 0.4, "upper": np.inf}]
NESTED = [{**r, "study_id": f"s{i // 2}"} for i, r in enumerate(EXACT)]


def _group(arrays):
    import xarray as xr

    return xr.Dataset({n: (("chain", "draw"), a.reshape(4, -1)) for n, a in arrays.items()})


def _same(a, b, rtol):
    for p in (0.025, 0.5, 0.975):
        assert a.quantile(p) == pytest.approx(b.quantile(p), rel=rtol, abs=rtol)


@pytest.mark.parametrize("rows", [EXACT, BOUNDS, NESTED], ids=["exact", "bounds", "nested"])
@pytest.mark.parametrize("alpha", [0.8, 1.25])
def test_a_scaled_prior_gives_the_posterior_of_a_refit(rows, alpha, fit, layout_of):
    # normal(0, s)^alpha is normal(0, s / sqrt(alpha)), and so for the half-normal.
    omega = "halfnormal(0.5)" if rows is NESTED else None
    scaled = None if omega is None else f"halfnormal({0.5 / alpha**0.5!r})"
    post = fit(rows, omega=omega)
    prior = _prior(post, MU, TAU, None if omega is None else TAU)
    tilted = _tilted(post, prior, alpha - 1)
    again = fit(rows, f"normal(0,{alpha**-0.5!r})", f"halfnormal({0.5 / alpha**0.5!r})", scaled)
    # The quadrature's own tolerance is 1e-9 (one or two axes of tau) or 1e-6 (mu is an axis).
    _same(tilted.mu, again.mu, 1e-5 if rows is BOUNDS else 1e-7)
    _same(tilted.tau_density, again.tau_density, 1e-5 if rows is BOUNDS else 1e-7)
    if omega is not None:
        _same(tilted.omega_density, again.omega_density, 1e-7)


@pytest.mark.parametrize("mu_prior", ["normal(0,1)", "flat"])
def test_a_scaled_likelihood_gives_the_posterior_of_brute_force(mu_prior, fit, layout_of):
    alpha, data = 1.3, layout_of(EXACT)
    post = fit(EXACT, mu_prior)
    prior = parse_prior(mu_prior, "mu")
    tilted = _tilted(post, _likelihood(data, post, prior), alpha - 1)
    mu, tau = np.meshgrid(np.linspace(-3, 4, 1401), np.linspace(0, 3, 1201), indexing="ij")
    at = [np.repeat(v.ravel()[:, None], data.k, axis=1) for v in (mu, tau)]
    log = alpha * log_likelihood(data, *at, np.zeros((mu.size, 1))).sum(axis=1).reshape(mu.shape)
    log += prior.logpdf(mu) + TAU.logpdf(tau)
    mass = np.exp(log - log.max())
    mass[:, 0] /= 2  # the trapezoidal rule at tau = 0
    mass /= mass.sum()
    # Grids of 0.005 and 0.0025: the midpoint of a cell is off by half of it at most.
    for p in (0.1, 0.5, 0.9):
        by_hand = np.interp(p, np.cumsum(mass.sum(axis=1)), mu[:, 0] + 0.0025)
        assert tilted.mu.quantile(p) == pytest.approx(by_hand, abs=1e-3)
        by_hand = np.interp(p, np.cumsum(mass.sum(axis=0)), tau[0] + 0.00125)
        assert tilted.tau_density.quantile(p) == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize("rows", [EXACT, BOUNDS, NESTED], ids=["exact", "bounds", "nested"])
def test_sensitivities_agree_with_arviz_on_draws(rows, fit, layout_of):
    import xarray as xr

    data = layout_of(rows)
    omega_prior = TAU if rows is NESTED else None
    post = fit(rows, omega="halfnormal(0.5)" if rows is NESTED else None)
    exact = power_scaling(data, post, mu_prior=MU, tau_prior=TAU, omega_prior=omega_prior)
    found = []
    for seed in range(3):
        mu, tau, omega = post.draws(4000, seed)
        rng = np.random.default_rng(seed)
        if rows is BOUNDS:  # draws stand on nodes there; ArviZ needs a continuous sample
            mu = mu + rng.normal(0, 0.01, len(mu))
        draws = {"mu": mu, "tau": tau}
        log_prior = {"mu": MU.logpdf(mu), "tau": TAU.logpdf(tau)}
        if omega_prior is not None:
            draws["omega"], log_prior["omega"] = omega, TAU.logpdf(omega)
        at = [np.repeat(v[:, None], data.k, axis=1) for v in (mu, tau)]
        values = log_likelihood(data, *at, omega[:, None])
        tree = xr.DataTree.from_dict({
            "posterior": _group(draws),
            "log_prior": _group(log_prior),
            "log_likelihood": _group({"all": values.sum(axis=1)}),
        })  # fmt: skip
        table = power_scaling_of_draws(tree, list(draws)).set_index("quantity")
        found.append(table.loc[list(draws), ["prior", "likelihood"]].to_numpy(dtype=float))
    # The spread over sets of 4,000 draws is up to 15% of a value (their range, their tails); the
    # mean of three is within 20%, and 0.006 where a sensitivity is itself near 0.
    np.testing.assert_allclose(
        exact[["prior", "likelihood"]].to_numpy(dtype=float), np.mean(found, axis=0),
        rtol=0.2, atol=0.006,
    )  # fmt: skip


def test_conflict_and_weak_likelihood_are_told(fit, layout_of):
    far = [{"yi": 5.0 + 0.1 * i, "vi": 0.04} for i in range(5)]
    table = power_scaling(layout_of(far), fit(far), mu_prior=MU, tau_prior=TAU)
    assert table.set_index("quantity").loc["mu", "diagnosis"] == "prior-data conflict"
    vague = [{"yi": 0.0, "vi": 100.0}]
    table = power_scaling(layout_of(vague), fit(vague), mu_prior=MU, tau_prior=TAU)
    assert set(table["diagnosis"]) == {"strong prior or weak likelihood"}
    plenty = [{"yi": 0.02 * (i % 5), "vi": 0.02} for i in range(60)]
    table = power_scaling(layout_of(plenty), fit(plenty), mu_prior=MU, tau_prior=TAU)
    assert table.set_index("quantity").loc["mu", "diagnosis"] == ""


def test_diagnoses_follow_the_thresholds():
    assert [diagnose(*x) for x in ((0.04, 0.3), (0.06, 0.3), (0.06, 0.04))] == [
        "", "prior-data conflict", "strong prior or weak likelihood",
    ]  # fmt: skip


def test_the_distance_of_equal_distributions_is_0_and_has_no_direction_of_the_axis():
    one = NormalMixture(np.zeros(1), np.ones(1), np.ones(1))
    right = NormalMixture(np.full(1, 0.1), np.ones(1), np.ones(1))
    left = NormalMixture(np.full(1, -0.1), np.ones(1), np.ones(1))
    assert distance(one, one) == 0.0
    assert distance(one, right) == pytest.approx(distance(one, left), rel=1e-9)


def test_powers_that_are_no_powers_around_1_are_refused(fit, layout_of):
    with pytest.raises(ValueError, match="either side of 1"):
        power_scaling(layout_of(EXACT), fit(EXACT), mu_prior=MU, tau_prior=TAU, alphas=(1.01, 1.02))


def test_a_posterior_without_log_prior_is_refused():
    import xarray as xr

    tree = xr.DataTree.from_dict({"posterior": xr.Dataset()})
    with pytest.raises(ValueError, match="no group log_likelihood, log_prior"):
        power_scaling_of_draws(tree, ["mu"])
