"""Simulation-based calibration of the joint model of mechanisms and conditions, and of overlap.

A review of six mechanisms and three conditions with everything the model takes: exact rows, bounds,
two rows of one study, two bounds of one study, arms that share their controls, patients compared
with patients, a size without sign, cells without evidence. Design fixed, parameters and estimates
drawn anew, one compiled model for all simulations. The same for the model's options: heavy tails
and selective reporting, the data drawn from these very models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.calibrated_fit import SETTINGS, places, thin
from nssi_meta.inference.calibration import Scenario
from nssi_meta.inference.compiled import sample
from nssi_meta.inference.replicate import as_reported, replicate, thresholds
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.models.blocks import RHO
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.ops import numpy_ops
from nssi_meta.models.profiles import (
    LKJ_ETA,
    PRIOR_SCALES,
    ProfileData,
    profile_data,
    profiles_model,
)
from nssi_meta.models.reporting import GROUPS, Reports, critical_values, reports
from nssi_meta.models.reporting_term import n_silent, null_probability, null_rows
from nssi_meta.synthesis.overlap_figures import heavy, lkj, overlap_figures
from nssi_meta.synthesis.overlap_variants import TAILS
from nssi_meta.synthesis.scenarios import design, known_errors

Floats = NDArray[np.float64]

ARMS = ("alpha", "beta", "gamma")
MECHANISMS = tuple(f"m{i}" for i in range(6))
#: Cells without a row of their own.
EMPTY = (("m5", "gamma"), ("m4", "beta"))
DELTA = 0.2
#: As the analysis with heavy tails has them.
_SMALL_STEPS = replace(SETTINGS, target_accept=0.99)


@dataclass(frozen=True)
class Options:
    """Options of the joint model, as those of `fit_profiles`."""

    tails: float = np.inf
    selective: bool = False


def joint_design(selective: bool = False) -> pd.DataFrame:
    """The rows of the review, estimates left open.

    `selective`: without the two reports of one study that share their controls, which the model of
    selective reporting takes for independent; half of the studies were read in full texts, and
    significance is that of z tests.
    """
    rows: list[dict[str, Any]] = []

    def add(mechanism: str, condition: str, study: str, **more: Any) -> None:
        people = {"sample_id": f"{study} {condition}", "control_id": f"{study} controls"}
        cell = {"mechanism": mechanism, "condition": condition, "study_id": study}
        rows.append({**cell, **people, **more})

    for i, m in enumerate(MECHANISMS):
        for j, c in enumerate(ARMS):
            if (m, c) in EMPTY:
                continue
            add(m, c, f"{m}{c}1", vi=0.04 + 0.01 * ((i + j) % 4))
            kind = "interval" if (i + j) % 2 else "exact"
            add(m, c, f"{m}{c}2", vi=0.05, kind=kind)
    for task in ("first", "second"):  # the same people, two tasks
        add("m0", "alpha", "pair", measure=task, vi=0.04)
        add("m1", "beta", "two bounds", measure=task, kind="interval", vi=0.05)
        add("m2", "gamma", "mixed", measure=task, vi=0.05, kind="exact")
    if not selective:
        add("m2", "alpha", "shared", vi=0.06)  # two groups of patients, one of controls
        add("m2", "beta", "shared", vi=0.06)
    add("m3", "alpha", "direct", comparator="beta", vi=0.05)
    add("m0", "gamma", "sizes", kind="unsigned", vi=0.05)
    frame = design(rows)
    if not selective:
        return frame
    number = frame.groupby("study_id", sort=False).ngroup()
    unknown = {"n_case": np.nan, "n_control": np.nan}
    seen_in = np.where(number % 2, "fulltext", "abstract")
    return frame.assign(sei=np.sqrt(frame["vi"]), seen_in=seen_in, **unknown)


def _data(frame: pd.DataFrame) -> ProfileData:
    return profile_data(frame, ARMS, "well", known_errors)


def joint_prior(rng: np.random.Generator, options: Options = Options()) -> dict[str, Floats]:
    """One draw from the joint model's prior, each with a leading axis of 1."""
    n_m, n_c = len(MECHANISMS), len(ARMS)
    R = lkj(n_c, LKJ_ETA, 1, rng)
    sigma = np.abs(rng.normal(0.0, PRIOR_SCALES["sigma"], (1, n_c)))
    mu = rng.multivariate_normal(np.zeros(n_c), R[0] * np.outer(sigma, sigma), (1, n_m))
    mu = mu * heavy(options.tails, (1, n_m, 1), rng)
    tau_0 = np.abs(rng.normal(0.0, PRIOR_SCALES["tau_0"], 1))
    tau = np.abs(rng.normal(0.0, 1.0, (1, n_m))) * tau_0
    omega = np.abs(rng.normal(0.0, PRIOR_SCALES["omega"], 1))
    out = {"R": R, "sigma": sigma, "mu": mu, "tau_0": tau_0, "tau": tau, "omega": omega}
    return out | ({"w": rng.random((1, len(GROUPS)))} if options.selective else {})


def row_means(data: ProfileData, mu: Floats) -> Floats:
    """True mean (S, k) of each row from the profiles (S, M, C)."""
    arms = np.concatenate([mu, np.zeros((*mu.shape[:2], 1))], axis=2)
    return np.asarray(arms[:, data.mechanism, data.case] - arms[:, data.mechanism, data.comparator])


def joint_quantities(draws: Mapping[str, Floats]) -> dict[str, Floats]:
    """What is noted of S draws, each (S,): parameters, overlap figures of alpha with the rest."""
    mu = draws["mu"]
    out = {"tau 0": draws["tau_0"], "omega": draws["omega"], "tau m0": draws["tau"][:, 0]}
    for m, c in ((0, 0), (2, 1), (3, 0), (5, 2)):
        out[f"mu {MECHANISMS[m]} {ARMS[c]}"] = mu[:, m, c]
    for c, arm in enumerate(ARMS):
        out[f"sigma {arm}"] = draws["sigma"][:, c]
        if c:
            out[f"R alpha {arm}"] = draws["R"][:, 0, c]
            figures = overlap_figures(mu[:, :, 0], mu[:, :, c], DELTA)
            out |= {f"{name} {arm}": value for name, value in figures.items()}
    if "w" in draws:
        out |= {f"w {g}": draws["w"][:, i] for i, g in enumerate(GROUPS)}
    return out


def _reported(posterior: Any) -> Mapping[str, Floats]:
    """The parameters whose convergence is checked, each (chain, draw)."""
    mu = np.asarray(posterior["mu"])
    out = {n: np.asarray(posterior[n]) for n in ("tau_0", "omega")}
    return out | {f"mu {m} {c}": mu[..., m, c] for m in range(2) for c in range(len(ARMS))}


def joint_trial(
    frame: pd.DataFrame, options: Options, rng: np.random.Generator
) -> dict[str, float]:
    """One simulation: places of parameters, overlap figures and log likelihood."""
    true = joint_prior(rng, options)
    critical = thresholds(frame)
    start = frame.assign(lower=-critical, upper=critical)
    data = _data(start)
    errors = partial(sampling_covariance, vcalc=known_errors, rho=RHO)

    def estimates(n: int) -> Floats:
        mean, tau = (
            np.repeat(x, n, axis=0)
            for x in (row_means(data, true["mu"]), true["tau"][:, data.mechanism])
        )
        omega = np.repeat(true["omega"], n)
        return replicate(data.frame, data.layout.block_rows, mean, tau, omega, errors, rng)

    if options.selective:
        y = kept(estimates, reports(start), critical_values(start), true["w"][0], rng)
    else:
        y = estimates(1)[0]
    seen = as_reported(data.frame, y, critical)
    found_in = reports(seen) if options.selective else None
    fit = sample(
        profiles_model(_data(seen), options.tails, found_in),
        _reported,
        seed=int(rng.integers(2**31)),
        settings=SETTINGS if np.isinf(options.tails) else _SMALL_STEPS,
        cores=1,
    )
    posterior = fit.posterior_data["posterior"]
    draws = {n: thin(np.asarray(posterior[n])) for n in true}
    truth = {n: float(value[0]) for n, value in joint_quantities(true).items()}
    found = joint_quantities(draws)
    fits = [_log_likelihood(_data(seen), found_in, d) for d in (true, draws)]
    truth["log likelihood"], found["log likelihood"] = float(fits[0][0]), fits[1]
    return places(fit, truth, found, rng)


def kept(
    estimates: Callable[[int], Floats],
    found: Reports,
    critical: Floats,
    w: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Estimates (k,) of the reports that reached the table, by leaving out those that did not.

    `estimates(n)` draws n times all rows (n, k). A report without a row beyond `critical` (k,)
    is left out with probability 1 - w of its group, and another study is done instead. Reports
    must be independent of each other.
    """
    y = np.full(len(critical), np.nan)
    while np.isnan(y).any():
        new = estimates(100)
        for rows, group in zip(found.null.block_rows, found.group, strict=True):
            significant = (np.abs(new[:, rows]) >= critical[rows]).any(axis=1)
            there = significant | (rng.random(len(new)) < w[group])
            if np.isnan(y[rows]).any() and there.any():
                y[rows] = new[there.argmax(), rows]
    return y


def _log_likelihood(
    data: ProfileData, found: Reports | None, draws: Mapping[str, Floats]
) -> Floats:
    """Log likelihood (S,) of the rows, and of their having been reported."""
    mean, tau = row_means(data, draws["mu"]), draws["tau"][:, data.mechanism]
    value = log_likelihood(data.layout, mean, tau, draws["omega"][:, None]).sum(axis=1)
    if found is None:
        return np.asarray(value)
    value = value + np.log(draws["w"]) @ n_silent(found)
    null = null_rows(found)
    for s, w in enumerate(draws["w"]):
        at = mean[s], tau[s] ** 2, draws["omega"][s] ** 2
        for group, p in null_probability(null, *at, numpy_ops()):
            value[s] -= np.log1p(-(1 - w[group]) * p).sum()
    return np.asarray(value)


def joint_scenarios() -> list[Scenario]:
    """The joint model of profiles and its options."""
    table = [
        ("joint", "joint model of profiles, overlap figures", Options()),
        ("joint_tails", "joint model with heavy tails", Options(tails=TAILS)),
        ("joint_selective", "joint model with selective reporting", Options(selective=True)),
    ]
    return [
        Scenario(name, label, 100, partial(joint_trial, joint_design(o.selective), o))
        for name, label, o in table
    ]
