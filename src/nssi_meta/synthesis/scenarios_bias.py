"""Simulation-based calibration of what is fitted under publication and reporting bias.

The ensemble of 36 models: a model is drawn with its prior probability, parameters from its priors,
and results are thrown away until each study has one that its weight function lets through. The
adjusted pools: cells of a review with their reporting probabilities in common. `selmodel` and
`pet_peese` are classical estimates without a posterior, so that there is nothing to calibrate.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from nssi_meta.inference.biased import Bias, Slope, Studies, fit_biased
from nssi_meta.inference.calibration import Scenario, place
from nssi_meta.inference.ensemble import (
    WEIGHT_FUNCTIONS,
    Averaged,
    Member,
    probabilities,
    psma,
)
from nssi_meta.inference.replicate import as_reported, prior_draws, replicate, thresholds
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.models.blocks import RHO, layout
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import OMEGA_DEFAULT, parse_prior
from nssi_meta.models.reporting import GROUPS, critical_values, reports
from nssi_meta.models.selection import Steps, normal_critical
from nssi_meta.synthesis.reporting import (
    SPREAD_PRIOR,
    SPREAD_RANGE,
    TAU_PRIOR,
    TAU_RANGE,
    Adjusted,
    adjusted_pools,
)
from nssi_meta.synthesis.scenarios import N_DRAWS, design, known_errors
from nssi_meta.synthesis.scenarios_joint import kept

Floats = NDArray[np.float64]
Generator = np.random.Generator

#: Standard errors of the ensemble's studies.
SE = np.array([0.08, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])
#: Priors of the ensemble (docs/bias.md).
MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("invgamma(1,0.15)", "tau")
PET = Slope(1, parse_prior("halfcauchy(1)", "tau"))
PEESE = Slope(2, parse_prior("halfcauchy(5)", "tau"))
#: Results drawn at once for a study that has none yet.
_BATCH = 200


def draw_model(rng: Generator) -> tuple[bool, bool, Bias]:
    """Whether there are an effect and heterogeneity, and which bias, by the ensemble's priors."""
    effect, heterogeneity, biased = (bool(u < 0.5) for u in rng.random(3))
    if not biased:
        return effect, heterogeneity, None
    if rng.random() < 0.5:
        return effect, heterogeneity, WEIGHT_FUNCTIONS[int(rng.integers(len(WEIGHT_FUNCTIONS)))]
    return effect, heterogeneity, PET if rng.random() < 0.5 else PEESE


def draw_results(
    effect: bool, heterogeneity: bool, bias: Bias, rng: Generator
) -> tuple[float, float, Studies]:
    """mu, tau and the published results of one model."""
    mu = float(prior_draws(MU, 1, rng)[0]) if effect else 0.0
    tau = float(prior_draws(TAU, 1, rng)[0]) if heterogeneity else 0.0
    mean = np.full(len(SE), mu)
    if isinstance(bias, Slope):
        mean = mean + float(prior_draws(bias.prior, 1, rng)[0]) * SE**bias.power
    y = published(mean, tau, bias if isinstance(bias, Steps) else None, rng)
    return mu, tau, Studies(y, SE, normal_critical(SE))


def published(mean: Floats, tau: float, steps: Steps | None, rng: Generator) -> Floats:
    """Estimates (k,) of the studies' published results.

    A study is done again, with people and setting of its own, until its result passes: one in bin b
    of its p-value does with probability omega_b, omega the cumulated Dirichlet of the prior.
    """
    if steps is None:
        return np.asarray(rng.normal(mean, np.hypot(tau, SE)))
    # Partial sums, the most significant bin with the whole.
    omega = np.cumsum(rng.dirichlet(np.ones(len(steps.cuts) + 1)))[::-1]
    y = np.full(len(SE), np.nan)
    for i, s in enumerate(SE):
        while np.isnan(y[i]):
            new = mean[i] + np.hypot(tau, s) * rng.standard_normal(_BATCH)
            p = ndtr(-new / s) if steps.side == "one" else 2 * ndtr(-np.abs(new) / s)
            through = rng.random(_BATCH) < omega[np.searchsorted(steps.cuts, p)]
            if through.any():
                y[i] = new[through.argmax()]
    return y


def member_trial(bias: Bias, rng: Generator) -> dict[str, float]:
    """One simulation of a single model with effect and heterogeneity: places of mu and tau."""
    mu, tau, data = draw_results(True, True, bias, rng)
    fit = fit_biased(data, MU, TAU, bias)
    assert fit.mu is not None
    assert fit.tau is not None
    return {"mu": float(fit.mu.cdf(mu)), "tau": float(fit.tau.cdf(tau))}


def ensemble_trial(rng: Generator) -> dict[str, float]:
    """One simulation of the ensemble: places of mu, tau, the components and the model itself."""
    model = draw_model(rng)
    mu, tau, data = draw_results(*model, rng)
    members = psma(data)
    prior = np.array([m.prior for m in members])
    evidence = np.array([m.fit.log_evidence for m in members])
    posterior = probabilities(evidence, prior)
    has = {
        "effect": np.array([m.mu is not None for m in members]),
        "heterogeneity": np.array([m.tau is not None for m in members]),
        "bias": np.array([m.bias is not None for m in members]),
        "selection": np.array([isinstance(m.bias, Steps) for m in members]),
    }
    models = [(m.mu is not None, m.tau is not None, m.bias) for m in members]
    drawn = models.index(model)
    out = {
        "mu": within(averaged(members, posterior, "mu"), mu, rng),
        "tau": within(averaged(members, posterior, "tau"), tau, rng),
    }
    for name, there in has.items():
        out[f"P({name})"] = among(there.astype(float), posterior, drawn, rng)
    out["evidence of the model"] = among(evidence, posterior, drawn, rng)
    return out


def averaged(members: tuple[Member, ...], posterior: Floats, name: str) -> Averaged:
    """`mu` or `tau` over all models."""
    return Averaged.build(posterior, [getattr(m.fit, name) for m in members])


def within(density: Averaged, value: float, rng: Generator) -> float:
    """Place of a truth in a distribution with a point mass at 0, spread evenly over the mass."""
    upper = float(density.cdf(value))
    return upper - density.zero * rng.random() if value == 0 else upper


def among(values: Floats, probability: Floats, drawn: int, rng: Generator) -> float:
    """Place of the drawn model's value among those of all models, ties spread evenly."""
    less = probability[values < values[drawn]].sum()
    return float(less + rng.random() * probability[values == values[drawn]].sum())


def cell_rows(cell: int) -> pd.DataFrame:
    """Rows of one cell of the adjusted review, estimates left open: one study gives two rows."""
    kinds = ("exact", "interval", "exact", "interval", "exact", "interval" if cell else "exact")
    rows = []
    for i, kind in enumerate(kinds):
        study = f"c{cell}s{i - (i == 5)}"
        people = {"study_id": study, "sample_id": study, "control_id": f"{study} controls"}
        seen = "fulltext" if (i + cell) % 2 and i < 4 else "abstract"
        vi = 0.03 + 0.02 * ((i + cell) % 4)
        rows.append({**people, "mechanism": f"m{cell}", "kind": kind, "vi": vi, "seen_in": seen})
    frame = design([{**row, "measure": f"task {i}"} for i, row in enumerate(rows)])
    # Without group sizes significance is that of z tests, as `thresholds` has it.
    frame = frame.assign(sei=np.sqrt(frame["vi"]), n_case=np.nan, n_control=np.nan)
    return frame.assign(effect_id=[f"m{cell}e{i}" for i in range(len(frame))])


def _half_normal_within(scale: float, ends: tuple[float, float], rng: Generator) -> float:
    value = 0.0
    while not ends[0] <= value <= ends[1]:
        value = abs(float(rng.normal(0.0, scale)))
    return value


def adjusted_trial(cells: int, rng: Generator) -> dict[str, float]:
    """One simulation of the adjusted pools: what the cells share, and the parameters of one."""
    w = rng.random(len(GROUPS))
    spread = _half_normal_within(SPREAD_PRIOR, SPREAD_RANGE, rng)
    scale = _half_normal_within(TAU_PRIOR, TAU_RANGE, rng)
    errors = partial(sampling_covariance, vcalc=known_errors, rho=RHO)
    parts, truths = [], []
    for cell in range(cells):
        mu, tau = float(rng.normal(0.0, spread)), abs(float(rng.normal(0.0, scale)))
        omega = float(prior_draws(parse_prior(OMEGA_DEFAULT, "tau"), 1, rng)[0])
        start = cell_rows(cell)
        critical = thresholds(start)
        start = start.assign(lower=-critical, upper=critical)
        blocks = layout(start, known_errors).block_rows

        def estimates(
            n: int,
            start: pd.DataFrame = start,
            blocks: tuple[NDArray[np.int64], ...] = tuple(blocks),
            at: tuple[float, float, float] = (mu, tau, omega),
        ) -> Floats:
            shape = (n, len(start))
            mean, sd = np.full(shape, at[0]), np.full(shape, at[1])
            return replicate(start, blocks, mean, sd, np.full(n, at[2]), errors, rng)

        y = kept(estimates, reports(start), critical_values(start), w, rng)
        parts.append(as_reported(start, y, critical))
        truths.append((mu, tau, omega))
    found = adjusted_pools(pd.concat(parts, ignore_index=True), n_jobs=1)
    names = [*(f"w {g}" for g in GROUPS), "spread", "scale of tau"]
    out = {
        name: shared_place(found, axis, value, rng)
        for axis, (name, value) in enumerate(zip(names, (*w, spread, scale), strict=True))
    }
    return out | cell_places(found, truths[0], rng)


def shared_place(found: Adjusted, axis: int, value: float, rng: Generator) -> float:
    """Place of a shared parameter in its marginal, the distribution of `Adjusted.learned`."""
    shared = found.shared
    nodes = (*shared.w, shared.spread, shared.tau)[axis]
    marginal = found.posterior.sum(axis=tuple(i for i in range(4) if i != axis))
    middle = np.cumsum(marginal) - marginal / 2
    if value < nodes[0]:
        return float(rng.random() * middle[0])
    if value > nodes[-1]:
        return float(1 - rng.random() * (1 - middle[-1]))
    return float(np.interp(value, nodes, middle))


def cell_places(
    found: Adjusted, truth: tuple[float, float, float], rng: Generator
) -> dict[str, float]:
    """Places of the first cell's parameters, prediction and likelihood of its rows."""
    mu, tau, omega = truth
    cell = found.pools.cells[0]
    post = cell.posterior
    new = mu + np.hypot(tau, omega) * rng.standard_normal()
    out = {
        "mu": float(post.mu.cdf(mu)),
        "tau": float(post.tau_density.cdf(tau)),
        "omega": float(post.omega_density.cdf(omega)),
        "prediction": float(post.prediction.cdf(new)),
    }
    draws = post.draws(N_DRAWS, int(rng.integers(2**31)))
    at = [np.append(d, t) for d, t in zip(draws, truth, strict=True)]
    means, sds = (np.repeat(a[:, None], len(cell.rows), axis=1) for a in at[:2])
    fits = log_likelihood(cell.layout, means, sds, at[2][:, None]).sum(axis=1)
    out["log likelihood"] = place(float(fits[-1]), fits[:-1], rng)
    return out


def bias_scenarios() -> list[Scenario]:
    """Every model of bias that has a posterior."""
    one, two = Steps((0.025, 0.05), "one"), Steps((0.05, 0.1), "two")
    return [
        Scenario("selection", "selection by one-sided p", 300, partial(member_trial, one)),
        Scenario("selection_two", "selection by two-sided p", 300, partial(member_trial, two)),
        Scenario("pet", "PET, Bayesian", 300, partial(member_trial, PET)),
        Scenario("peese", "PEESE, Bayesian", 300, partial(member_trial, PEESE)),
        Scenario("ensemble", "ensemble of 36 models of bias", 150, ensemble_trial),
        Scenario("adjusted", "pools under selective reporting", 200, partial(adjusted_trial, 2)),
    ]
