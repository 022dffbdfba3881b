"""Simulation-based calibration of the joint model of mechanisms and conditions, and of overlap.

A review of six mechanisms and three conditions with everything the model takes: exact rows, bounds,
two rows of one study, two bounds of one study, arms that share their controls, patients compared
with patients, a size without sign, cells without evidence. Design fixed, parameters and estimates
drawn anew, one compiled model for all simulations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.calibrated_fit import fit_again, places, thin
from nssi_meta.inference.calibration import Scenario
from nssi_meta.inference.replicate import as_reported, replicate, thresholds
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.models.blocks import RHO
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.profiles import (
    LKJ_ETA,
    PRIOR_SCALES,
    ProfileData,
    profile_data,
    profiles_model,
)
from nssi_meta.synthesis.overlap_figures import lkj, overlap_figures
from nssi_meta.synthesis.scenarios import design, known_errors

Floats = NDArray[np.float64]

ARMS = ("alpha", "beta", "gamma")
MECHANISMS = tuple(f"m{i}" for i in range(6))
#: Cells without a row of their own.
EMPTY = (("m5", "gamma"), ("m4", "beta"))
DELTA = 0.2
#: A bound is open on one side; the compiled model takes two finite ends. No estimate gets there.
FAR = 50.0


def joint_design() -> pd.DataFrame:
    """The rows of the review, estimates left open."""
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
    add("m2", "alpha", "shared", vi=0.06)  # two groups of patients, one of controls
    add("m2", "beta", "shared", vi=0.06)
    add("m3", "alpha", "direct", comparator="beta", vi=0.05)
    add("m0", "gamma", "sizes", kind="unsigned", vi=0.05)
    return design(rows)


def _data(frame: pd.DataFrame) -> ProfileData:
    return profile_data(frame, ARMS, "well", known_errors)


def joint_prior(rng: np.random.Generator) -> dict[str, Floats]:
    """One draw from the joint model's prior, each with a leading axis of 1."""
    n_m, n_c = len(MECHANISMS), len(ARMS)
    R = lkj(n_c, LKJ_ETA, 1, rng)
    sigma = np.abs(rng.normal(0.0, PRIOR_SCALES["sigma"], (1, n_c)))
    mu = rng.multivariate_normal(np.zeros(n_c), R[0] * np.outer(sigma, sigma), (1, n_m))
    tau_0 = np.abs(rng.normal(0.0, PRIOR_SCALES["tau_0"], 1))
    tau = np.abs(rng.normal(0.0, 1.0, (1, n_m))) * tau_0
    omega = np.abs(rng.normal(0.0, PRIOR_SCALES["omega"], 1))
    return {"R": R, "sigma": sigma, "mu": mu, "tau_0": tau_0, "tau": tau, "omega": omega}


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
    return out


def _reported(posterior: Any) -> Mapping[str, Floats]:
    """The parameters whose convergence is checked, each (chain, draw)."""
    mu = np.asarray(posterior["mu"])
    out = {n: np.asarray(posterior[n]) for n in ("tau_0", "omega")}
    return out | {f"mu {m} {c}": mu[..., m, c] for m in range(2) for c in range(len(ARMS))}


def joint_trial(frame: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """One simulation: places of parameters, overlap figures and log likelihood."""
    true = joint_prior(rng)
    start = frame.assign(lower=-thresholds(frame), upper=thresholds(frame))
    data = _data(start)
    errors = partial(sampling_covariance, vcalc=known_errors, rho=RHO)
    tau = true["tau"][:, data.mechanism]
    mean = row_means(data, true["mu"])
    y = replicate(data.frame, data.layout.block_rows, mean, tau, true["omega"], errors, rng)[0]
    seen = as_reported(data.frame, y, thresholds(data.frame))
    ends = seen[["lower", "upper"]].to_numpy(dtype=float).clip(-FAR, FAR)
    observed = np.nan_to_num(np.stack([seen["yi"].to_numpy(dtype=float), *ends.T]))
    seed = int(rng.integers(2**31))
    fit = fit_again(
        "joint", lambda: profiles_model(data, observed), {"observed": observed}, _reported, seed
    )
    posterior = fit.posterior_data["posterior"]
    draws = {name: thin(np.asarray(posterior[name])) for name in true}
    truth = {name: float(value[0]) for name, value in joint_quantities(true).items()}
    found = joint_quantities(draws)
    fits = [_log_likelihood(_data(seen), d).sum(axis=1) for d in (true, draws)]
    truth["log likelihood"], found["log likelihood"] = float(fits[0][0]), fits[1]
    return places(fit, truth, found, rng)


def _log_likelihood(data: ProfileData, draws: Mapping[str, Floats]) -> Floats:
    tau = draws["tau"][:, data.mechanism]
    value: Floats = log_likelihood(
        data.layout, row_means(data, draws["mu"]), tau, draws["omega"][:, None]
    )
    return value


def joint_scenarios() -> list[Scenario]:
    """The joint model of profiles."""
    trial = partial(joint_trial, joint_design())
    return [Scenario("joint", "joint model of profiles, overlap figures", 100, trial)]
