"""Simulation-based calibration of what quadrature computes beside the pools of `scenarios`.

Two-by-two tables, meta-regression, one slope in a pool with bounds, Student-t study effects and the
fixed-effect model. Designs are fixed; parameters and estimates are drawn anew, by numpy and
`inference.replicate`. The functions that a user calls do the fitting.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from nssi_meta.inference.calibration import Scenario, place
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.heavy_tails import StudyTables, fit_heavy_tails
from nssi_meta.inference.on_line import Line
from nssi_meta.inference.regression import Regression
from nssi_meta.inference.replicate import as_reported, prior_draws, replicate, thresholds
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.models.blocks import RHO, Layout, layout
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import OMEGA_DEFAULT, TAU_DEFAULT, parse_prior
from nssi_meta.models.robust import NU_LOW, NU_RATE, NU_SHAPE
from nssi_meta.models.two_by_two import Counts
from nssi_meta.models.two_by_two import log_likelihood as table_log_likelihood
from nssi_meta.synthesis.cells import Options
from nssi_meta.synthesis.counts import pool_counts
from nssi_meta.synthesis.regression import regress
from nssi_meta.synthesis.scenarios import (
    BOUNDS,
    N_DRAWS,
    NESTED,
    SINGLE,
    Priors,
    design,
    known_errors,
    pool_trial,
)
from nssi_meta.synthesis.slopes import slope

Floats = NDArray[np.float64]
Generator = np.random.Generator

#: People of the treated and of the controls. Events are rare, so that cells are often empty.
TREATED = np.array([12, 20, 25, 30, 40, 60, 80, 120])
CONTROLS = np.array([12, 15, 30, 30, 50, 60, 70, 120])
COUNTS_MU, BASELINE = "normal(0,1)", "normal(-2,1.2)"
#: Nodes for a study's effect in the quantity that takes the place of the likelihood of tables.
_NODES = 24

#: Studies of the meta-regressions: effects of each, a number and a category.
ONE_EACH, SOME_EACH = np.ones(10, dtype=int), np.array([1, 3, 2, 1, 4, 2, 1, 3])
BETA_SD = 0.7
#: Where a mean and a prediction are placed.
DOSE, ARM = 12.0, "late"

#: Where the mean along a slope is placed, in units of x.
ALONG = 1.5


def _drawn(prior: str, rng: Generator, role: str = "tau") -> float:
    """One draw from a prior of `tau` or `mu`; "" stands for a component that is not there."""
    if not prior:
        return 0.0
    return float(prior_draws(parse_prior(prior, "mu" if role == "mu" else "tau"), 1, rng)[0])


def counts_trial(tau_prior: str, rng: Generator) -> dict[str, float]:
    """One simulation of a pool of two-by-two tables."""
    mu, tau = _drawn(COUNTS_MU, rng, "mu"), _drawn(tau_prior, rng)
    mean, sd = parse_prior(BASELINE, "mu").params
    baseline = rng.normal(mean, sd, len(TREATED))
    theta = mu + tau * rng.standard_normal(len(TREATED))
    chance = [1 / (1 + np.exp(-a)) for a in (baseline + theta, baseline)]
    events = rng.binomial(TREATED, chance[0]), rng.binomial(CONTROLS, chance[1])
    pool = pool_counts(
        events[0], TREATED, events[1], CONTROLS,
        mu_prior=COUNTS_MU, tau_prior=tau_prior, baseline_prior=BASELINE,
    )  # fmt: skip
    post = pool.posterior
    out = {"mu": float(post.mu.cdf(mu))}
    if tau_prior != "zero":
        new = mu + tau * rng.standard_normal()
        out["tau"] = float(post.tau_density.cdf(tau))
        out["prediction"] = float(post.prediction.cdf(new))
    draws = post.draws(N_DRAWS, int(rng.integers(2**31)))
    at = [np.append(d, t) for d, t in zip(draws, (mu, tau), strict=False)]
    fits = tables_log_likelihood(pool.data, at[0], at[1], mean, sd)
    out["log likelihood"] = place(float(fits[-1]), fits[:-1], rng)
    return out


def tables_log_likelihood(data: Counts, mu: Floats, tau: Floats, mean: float, sd: float) -> Floats:
    """Log likelihood (S,) of all tables, study effects and baselines integrated."""
    node, weight = hermegauss(_NODES)
    theta = mu[:, None] + tau[:, None] * node
    total = np.zeros(len(mu))
    for i in range(len(data.a)):
        value = table_log_likelihood(data.one(i), theta.ravel(), mean, sd).reshape(theta.shape)
        top = value.max(axis=1)
        total += top + np.log(np.exp(value - top[:, None]) @ (weight / weight.sum()))
    return total


def regression_rows(sizes: NDArray[np.int64]) -> pd.DataFrame:
    """Effects of studies of these sizes, estimates left open; a study's effects share its people.

    `dose` differs between and within studies, `arm` between studies.
    """
    study = np.repeat(np.arange(len(sizes)), sizes)
    row = np.arange(len(study))
    return pd.DataFrame(
        {
            "study_id": [f"s{i}" for i in study],
            "sample_id": [f"s{i}" for i in study],
            "measure": [f"task {i}" for i in row],
            "yi": 0.0,
            "vi": 0.02 + 0.015 * (row % 6),
            "dose": 3.0 + 1.7 * ((5 * study + 3 * row) % 7),
            "arm": np.where(study % 3 == 0, "late", "early"),
        }
    )


def regression_trial(
    rows: pd.DataFrame, tau_prior: str, omega_prior: str, rng: Generator
) -> dict[str, float]:
    """One simulation of a meta-regression on a number and a category; `omega_prior` "" for none."""
    dose = rows["dose"].to_numpy()
    late = (rows["arm"] == "late").to_numpy(dtype=float)
    X = np.column_stack([np.ones(len(rows)), dose - dose.mean(), late])
    b = rng.normal(0.0, [1.0, BETA_SD / dose.std(), BETA_SD])
    tau, omega = _drawn(tau_prior, rng), _drawn(omega_prior, rng)
    study = rows["study_id"].factorize()[0]
    V = same_people(rows, RHO)
    u = tau * rng.standard_normal(study.max() + 1)
    y = X @ b + u[study] + omega * rng.standard_normal(len(rows))
    y = y + rng.multivariate_normal(np.zeros(len(rows)), V)
    found = regress(
        rows.assign(yi=y), ["dose", "arm"], mu_prior="normal(0,1)",
        beta_prior=f"normal(0,{BETA_SD})", tau_prior=tau_prior,
        omega_prior=omega_prior or None,
    )  # fmt: skip
    fit = found.fit
    out = {
        f"coef {name}": float(density.cdf(value))
        for name, density, value in zip(fit.names, fit.coefficients, b, strict=True)
    }
    out["tau"] = float(fit.tau_density.cdf(tau))
    if fit.omega_density is not None:
        out["omega"] = float(fit.omega_density.cdf(omega))
    x = found.design.row({"dose": DOSE, "arm": ARM})
    true = float(b @ np.array([1.0, DOSE - dose.mean(), 1.0]))
    new = true + np.hypot(tau, omega) * rng.standard_normal()
    out["mean"], out["prediction"] = (
        float(density.cdf(value))
        for density, value in ((fit.linear(x), true), (fit.predict(x), new))
    )
    drawn = regression_draws(fit, N_DRAWS, rng)
    values = [np.append(d, t) for d, t in zip(drawn[1:], (tau, omega), strict=True)]
    coef = np.vstack([drawn[0], b])
    fits = normal_log_likelihood(y - coef @ X.T, V, study, *values)
    out["log likelihood"] = place(float(fits[-1]), fits[:-1], rng)
    return out


def same_people(rows: pd.DataFrame, rho: float) -> Floats:
    """Sampling covariance (k, k): errors of one sample's effects correlate by `rho`."""
    s, people = np.sqrt(rows["vi"].to_numpy()), rows["sample_id"].to_numpy()
    V = np.where(people[:, None] == people, rho, 0.0) * np.outer(s, s)
    np.fill_diagonal(V, s**2)
    return np.asarray(V)


def regression_draws(fit: Regression, n: int, rng: Generator) -> tuple[Floats, Floats, Floats]:
    """Joint draws of the coefficients (n, p), tau and omega (n,) from the mixture's nodes."""
    node = rng.choice(len(fit.weight), n, p=fit.weight / fit.weight.sum())
    root = np.linalg.cholesky(fit.node_covariance[node])
    z = rng.standard_normal((n, len(fit.names)))
    return fit.node_mean[node] + (root @ z[..., None])[..., 0], fit.tau[node], fit.omega[node]


def normal_log_likelihood(
    residual: Floats, V: Floats, study: NDArray[np.int64], tau: Floats, omega: Floats
) -> Floats:
    """Log density (S,) of residuals (S, k) under V + tau^2 [same study] + omega^2 I."""
    same = (study[:, None] == study).astype(float)
    S = V + tau[:, None, None] ** 2 * same + omega[:, None, None] ** 2 * np.eye(len(V))
    quad = (residual[:, None, :] @ np.linalg.solve(S, residual[..., None]))[:, 0, 0]
    return np.asarray(-0.5 * (quad + np.linalg.slogdet(2 * np.pi * S)[1]))


def slope_trial(frame: pd.DataFrame, priors: Priors, rng: Generator) -> dict[str, float]:
    """One simulation of a pool with a slope; omega is there where studies have several rows."""
    x = np.array([-1.3, 0.2, 1.1, -0.4, 0.8, -0.9, 1.6, -0.1])[np.arange(len(frame)) * 3 % 8]
    mu, tau = _drawn(priors.mu, rng, "mu"), _drawn(priors.tau, rng)
    omega, b = _drawn(priors.omega, rng), float(rng.normal(0.0, 1.0))
    seen, data = _reported(frame, mu + b * x, np.full(len(frame), tau), omega, rng)
    more = {"omega_prior": priors.omega} if priors.omega else {}
    options = Options.given(mu_prior=priors.mu, tau_prior=priors.tau, **more)
    found = slope(seen, x, options, n_jobs=1)
    new = mu + b * ALONG + np.hypot(tau, omega) * rng.standard_normal()
    out = {"slope": found.cdf(b)}
    out["mean"] = along(found, "mu", 0.0, mu)
    out["mean along"] = along(found, "mu", ALONG, mu + b * ALONG)
    out["prediction along"] = along(found, "prediction", ALONG, new)
    at_draws = slope_draws(found, rng)
    values = [np.append(d, t) for d, t in zip(at_draws, (b, mu, tau, omega), strict=True)]
    means = values[1][:, None] + values[0][:, None] * x
    sds = np.repeat(values[2][:, None], len(x), axis=1)
    fits = log_likelihood(data, means, sds, values[3][:, None]).sum(axis=1)
    out["log likelihood"] = place(float(fits[-1]), fits[:-1], rng)
    return out


def along(found: Line[ExactPosterior], which: str, x: float, value: float) -> float:
    """Distribution function at `value` of the mean effect (`mu`) or of the `prediction` at x."""
    parts = zip(found.weight, found.nodes, found.values, strict=True)
    return float(sum(w * float(getattr(p, which).cdf(value - b * x)) for w, b, p in parts))


def slope_draws(found: Line[ExactPosterior], rng: Generator) -> tuple[Floats, ...]:
    """Draws (`N_DRAWS`,) of the slope (at its nodes), mu, tau and omega."""
    node = rng.choice(len(found.nodes), N_DRAWS, p=found.weight)
    rest = np.empty((3, N_DRAWS))
    for i in np.unique(node):
        here = node == i
        rest[:, here] = found.values[i].draws(int(here.sum()), int(rng.integers(2**31)))
    return found.nodes[node], *rest


def heavy_trial(frame: pd.DataFrame, priors: Priors, rng: Generator) -> dict[str, float]:
    """One simulation of a pool with Student-t study effects; mu alone is reported."""
    mu, tau, omega = (
        _drawn(priors.mu, rng, "mu"),
        _drawn(priors.tau, rng),
        _drawn(priors.omega, rng),
    )
    nu = 0.0
    while nu <= NU_LOW:
        nu = float(rng.gamma(NU_SHAPE, 1 / NU_RATE))
    study = frame["study_id"].factorize()[0]
    # A t effect is a normal one whose variance is divided by lambda.
    share = rng.gamma(nu / 2, 2 / nu, study.max() + 1)
    sds = (tau / np.sqrt(share))[study]
    _, data = _reported(frame, np.full(len(frame), mu), sds, omega, rng)
    density = fit_heavy_tails(
        StudyTables(data, frame["study_id"].to_numpy()),
        mu_prior=parse_prior(priors.mu, "mu"),
        tau_prior=parse_prior(priors.tau, "tau"),
        omega_prior=parse_prior(priors.omega, "tau") if priors.omega else None,
    )
    return {"mu": float(density.cdf(mu))}


def _reported(
    frame: pd.DataFrame, mean: Floats, tau: Floats, omega: float, rng: Generator
) -> tuple[pd.DataFrame, Layout]:
    """Rows and layout of one simulation, given mean and between-study SD of each row (k,)."""
    errors = partial(sampling_covariance, vcalc=known_errors, rho=RHO)
    blocks = layout(frame, known_errors).block_rows
    y = replicate(frame, blocks, mean[None], tau[None], np.full(1, omega), errors, rng)[0]
    seen = as_reported(frame, y, thresholds(frame))
    return seen, layout(seen, known_errors)


def quadrature_scenarios() -> list[Scenario]:
    """Every model that quadrature computes, beside the pools of `scenarios` and those of bias."""
    fixed, heavy = Priors(tau="zero"), Priors(tau=TAU_DEFAULT)
    nested = Priors(omega=OMEGA_DEFAULT)
    singles, some = regression_rows(ONE_EACH), regression_rows(SOME_EACH)
    return [
        Scenario("pool_fixed", "fixed effect", 300, partial(pool_trial, design(SINGLE), fixed)),
        Scenario(
            "pool_fixed_bounds", "fixed effect, bounds", 300,
            partial(pool_trial, design(BOUNDS), fixed),
        ),
        Scenario("counts", "counts, exact", 200, partial(counts_trial, "halfnormal(0.7)")),
        Scenario("counts_fixed", "counts, fixed effect", 200, partial(counts_trial, "zero")),
        Scenario(
            "regress", "meta-regression, exact", 300,
            partial(regression_trial, singles, TAU_DEFAULT, ""),
        ),
        Scenario(
            "regress_nested", "meta-regression, exact, several rows a study", 100,
            partial(regression_trial, some, TAU_DEFAULT, OMEGA_DEFAULT),
        ),
        Scenario(
            "slope_bounds", "a slope beside bounds", 150,
            partial(slope_trial, design(BOUNDS), Priors()),
        ),
        Scenario(
            "slope_nested", "a slope, several rows a study", 100,
            partial(slope_trial, design(NESTED), nested),
        ),
        Scenario(
            "heavy_tails", "Student-t pools, exact", 200,
            partial(heavy_trial, design(BOUNDS), heavy),
        ),
        Scenario(
            "heavy_tails_nested", "Student-t pools, exact, several rows a study", 100,
            partial(heavy_trial, design(NESTED[:10]), nested),
        ),
    ]  # fmt: skip
