"""Few studies under a light prior of tau that is wide against the data: the SD lies in the tail.

The truth is a second integration: mu in closed form, tau on 600 panels of equal width in log
tau with 16 nodes each. It agrees with itself on half as many to 1e-11; 1e-8 is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from nssi_meta.inference.axes import is_wide, reach
from nssi_meta.inference.batch import fit_many
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.many_priors import fit_priors
from nssi_meta.inference.regression import fit_regression
from nssi_meta.models.blocks import independent
from nssi_meta.models.priors import parse_prior

Floats = NDArray[np.float64]

TOL = 1e-8
NEAR = ([0.05, 0.01, 0.03], [1e-4] * 3)
APART = ([0.5, 0.1, 0.9, -0.3, 0.2], [0.04] * 5)


def log_tau(name: str, tau: Floats) -> Floats:
    """Log density of a prior, from scipy."""
    family, _, inside = name.rstrip(")").partition("(")
    a = [float(p) for p in inside.split(",")]
    if family == "uniform":
        return np.where(tau <= a[1], -np.log(a[1]), -np.inf)
    frozen = {
        "halfnormal": lambda: stats.halfnorm(scale=a[0]),
        "exponential": lambda: stats.expon(scale=a[0]),
        "lognormal": lambda: stats.lognorm(a[-1], scale=np.exp(a[0])),
        "halft": lambda: stats.t(a[0], scale=a[-1]),
    }[family]()
    return np.asarray(frozen.logpdf(tau))


def truth(y: Any, v: Any, X: Floats, sd: float, prior: str, n: int = 600) -> dict[str, float]:
    """Moments under normal(0, sd) (inf: flat) priors of all coefficients, by log panels of tau."""
    y, v = np.asarray(y, dtype=float), np.asarray(v, dtype=float)
    # A lognormal goes on for a hundred powers of ten.
    low, high = (1e-40, 1e60) if prior.startswith("lognormal") else (1e-6, 1e14)
    edges = np.concatenate([[0.0], np.geomspace(low, high, n)])
    cut = float(prior.split(",")[1].rstrip(")")) if prior.startswith("uniform") else 1.0
    edges = np.unique([*edges, cut])
    x, w = np.polynomial.legendre.leggauss(16)
    half, mid = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    tau, step = (mid + half * x).ravel(), (half * w).ravel()
    weight = 1.0 / (v + tau[:, None] ** 2)
    # In units of what is known of tau: precisions of 1e-30 are no trouble to the inverse.
    unit = np.hypot(1.0, tau)[:, None, None] ** 2
    precision = np.einsum("ki,nk,kj->nij", X, weight, X) * unit + unit * np.eye(X.shape[1]) / sd**2
    cov = np.linalg.inv(precision) * unit
    b = np.einsum("nij,kj,nk,k->ni", cov, X, weight, y)
    quad = (weight * (y - b @ X.T) ** 2).sum(axis=1) + (b**2).sum(axis=1) / sd**2
    log_p = 0.5 * (np.log(weight).sum(axis=1) - quad + np.linalg.slogdet(cov / unit)[1])
    log_p += 0.5 * X.shape[1] * np.log(unit.ravel()) + log_tau(prior, tau) + np.log(step)
    p = np.exp(log_p - logsumexp(log_p))
    mean, of_tau = p @ b, p @ tau
    var = p @ (np.einsum("nii->ni", cov) + (b - mean) ** 2)
    return {
        "mu_mean": mean[0],
        "mu_sd": np.sqrt(var[0]),
        "tau_mean": of_tau,
        "tau_sd": np.sqrt(p @ (tau - of_tau) ** 2),
        "pred_sd": np.sqrt(var[0] + p @ tau**2),
    }


def close(found: dict[str, float], true: dict[str, float]) -> None:
    for name, value in found.items():
        scale = max(abs(true[name]), true["mu_sd"] if name == "mu_mean" else 0.0)
        assert abs(value - true[name]) < TOL * scale, (name, value, true[name])


WIDE = (
    "uniform(0,5)", "uniform(0,100)", "uniform(0,1e7)", "halfnormal(100)", "halfnormal(1e6)",
    "exponential(1e4)", "lognormal(-1,6)", "halft(10,1e5)",
)  # fmt: skip


@pytest.mark.parametrize("prior", WIDE)
@pytest.mark.parametrize("k", [2, 3, 4, 5, 7])
def test_moments_of_pools(prior: str, k: int) -> None:
    if k == 7:
        y, v = [*APART[0], 1.1, 0.6], [0.04] * 7
    else:
        y, v = (NEAR[0], NEAR[1]) if k == 3 else (APART[0][:k], APART[1][:k])
    if k == 2:
        y, v = [0.5, 0.5], [0.04, 0.04]  # no spread at all
    for mu, sd in (("flat", np.inf), ("normal(0,1e7)", 1e7), ("normal(0,1)", 1.0)):
        true = truth(y, v, np.ones((k, 1)), sd, prior)
        post = fit_exact(
            independent(np.array(y), np.array(v)),
            mu_prior=parse_prior(mu, "mu"),
            tau_prior=parse_prior(prior, "tau"),
        )
        spread, new = post.tau_density, post.prediction
        found = {"mu_mean": post.mu.mean, "mu_sd": post.mu.sd, "tau_mean": spread.mean}
        close(found | {"tau_sd": spread.sd, "pred_sd": new.sd}, true)
        many = fit_many([y], [v], mu_prior=mu, tau_prior=prior).iloc[0]
        close({name: float(many[name]) for name in true if name != "pred_sd"}, true)


@pytest.mark.parametrize("prior", ["uniform(0,100)", "halfnormal(1e5)"])
@pytest.mark.parametrize("sd", [np.inf, 50.0])
def test_moments_of_a_regression(prior: str, sd: float) -> None:
    y, v = np.array(APART[0][:4]), np.array(APART[1][:4])
    X = np.column_stack([np.ones(4), [0.0, 1.0, 0.0, 1.0]])
    coefficient = parse_prior("flat" if np.isinf(sd) else f"normal(0,{sd})", "mu")
    post = fit_regression(
        independent(y, v), X, beta_prior=[coefficient] * 2, tau_prior=parse_prior(prior, "tau")
    )
    spread, effect = post.tau_density, post.coefficients[0]
    found = {"mu_mean": effect.mean, "mu_sd": effect.sd, "tau_mean": spread.mean}
    found |= {"tau_sd": spread.sd, "pred_sd": post.predict([1.0, 0.0]).sd}
    close(found, truth(y, v, X, sd, prior))


@pytest.mark.parametrize("tau", ["uniform(0,100)", "halfnormal(30)"])
def test_where_mu_is_an_axis(fit: Callable[..., Any], tau: str) -> None:
    """A Student-t of 1e7 degrees of freedom is a normal, to 1e-7 of what counts here."""
    layout = independent(np.array(APART[0][:3]), np.array(APART[1][:3]))
    axis, closed = (fit(layout, mu, tau) for mu in ("student_t(1e7,0,20)", "normal(0,20)"))
    for one, other in (
        (axis.mu, closed.mu),
        (axis.tau_density, closed.tau_density),
        (axis.prediction, closed.prediction),
    ):
        assert one.sd == pytest.approx(other.sd, rel=1e-6)


def test_a_moment_beyond_the_numbers_is_refused(fit: Callable[..., Any]) -> None:
    """Of two studies tau's second moment under lognormal(-1, 20) is made at exp(400): none is told.

    It is the integral over L = log tau of exp(L - (L + 1)^2 / 800), and numbers end before.
    """
    layout = independent(np.array(APART[0][:2]), np.array(APART[1][:2]))
    post = fit(layout, "flat", "lognormal(-1,20)")
    assert post.tau_density.sd == np.inf
    assert post.mu.sd == np.inf
    assert post.prediction.sd == np.inf
    assert np.isfinite(post.tau_density.quantile(0.5))


def test_priors_of_different_widths_on_one_grid() -> None:
    layout = independent(np.array(APART[0]), np.array(APART[1]))
    mu = parse_prior("student_t(4,0,1)", "mu")
    priors = [(mu, parse_prior(p, "tau")) for p in ("halfnormal(0.5)", "halfnormal(1e4)")]
    together = fit_priors(layout, priors)
    for density, (_, tau) in zip(together, priors, strict=True):
        alone = fit_exact(layout, mu_prior=mu, tau_prior=tau).mu
        assert not isinstance(density, Exception)
        for p in (0.025, 0.5, 0.975):
            assert density.quantile(p) == pytest.approx(alone.quantile(p), abs=1e-6 * alone.sd)


def test_which_priors_are_wide() -> None:
    assert reach(parse_prior("uniform(0,5)", "tau")) == 5.0
    assert reach(parse_prior("flat", "tau")) == 0.0
    assert reach(parse_prior("lognormal2(-4,2)", "tau")) == pytest.approx(np.e)
    assert is_wide(parse_prior("halfnormal(5)", "tau"), np.array([0.1, 1.0])).tolist() == [
        True,
        False,
    ]
