"""What simulation-based calibration is run on: pools by the exact engine.

Each scenario is a small review whose design (studies, sizes, kinds of rows) is fixed while
parameters and estimates are drawn anew. The places of mu, tau, omega, of a new setting's effect and
of the data's log likelihood in their posteriors are noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.calibration import Scenario, place
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.replicate import as_reported, prior_draws, replicate, thresholds
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.models.blocks import RHO, layout
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import MU_DEFAULT, OMEGA_DEFAULT, TAU_DEFAULT, parse_prior

Floats = NDArray[np.float64]

#: Posterior draws among which the truth's log likelihood takes its place.
N_DRAWS = 99
_ROW = {
    "sample_id": "", "control_id": "", "mechanism": "m", "condition": "ill", "comparator": "well",
    "estimand": "case_control", "scale": "g", "measure": "task", "kind": "exact", "yi": 0.0,
    "vi": 0.05, "lower": np.nan, "upper": np.nan, "n_case": 40.0, "n_control": 40.0,
}  # fmt: skip


@dataclass(frozen=True)
class Priors:
    """Priors of a pool, as `parse_prior` reads them; `omega` "" where it is not in the model."""

    mu: str = MU_DEFAULT
    tau: str = TAU_DEFAULT
    omega: str = ""


def design(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A design from what its rows do not have in common; a row without study_id is a study."""
    frame = pd.DataFrame([{**_ROW, "study_id": f"study {i}", **row} for i, row in enumerate(rows)])
    return frame.assign(effect_id=[f"e{i}" for i in range(len(frame))])


def known_errors(part: pd.DataFrame) -> Floats:
    """Sampling covariance that does not depend on the estimates (as if all were 0)."""
    return vcalc(part.assign(yi=0.0), RHO)


def pool_trial(frame: pd.DataFrame, priors: Priors, rng: np.random.Generator) -> dict[str, float]:
    """One simulation of a pool of `frame`'s design: places of the truth in the exact posterior."""
    mu_prior, tau_prior = parse_prior(priors.mu, "mu"), parse_prior(priors.tau, "tau")
    omega_prior = parse_prior(priors.omega, "tau") if priors.omega else None
    mu, tau = (float(prior_draws(p, 1, rng)[0]) for p in (mu_prior, tau_prior))
    omega = 0.0 if omega_prior is None else float(prior_draws(omega_prior, 1, rng)[0])
    size = (1, len(frame))
    errors = partial(sampling_covariance, vcalc=known_errors, rho=RHO)
    blocks = layout(frame, known_errors).block_rows
    mean, spread = np.full(size, mu), np.full(size, tau)
    y = replicate(frame, blocks, mean, spread, np.full(1, omega), errors, rng)[0]
    data = layout(as_reported(frame, y, thresholds(frame)), known_errors)
    post = fit_exact(data, mu_prior=mu_prior, tau_prior=tau_prior, omega_prior=omega_prior)
    new = mu + np.hypot(tau, omega) * rng.standard_normal()
    out = {"mu": float(post.mu.cdf(mu))}
    if tau_prior.name != "zero":  # then tau is known, and a new setting's effect is mu
        out["tau"] = float(post.tau_density.cdf(tau))
        out["prediction"] = float(post.prediction.cdf(new))
    if post.omega_density is not None:
        out["omega"] = float(post.omega_density.cdf(omega))
    draws = post.draws(N_DRAWS, int(rng.integers(2**31)))
    at = [np.append(d, t) for d, t in zip(draws, (mu, tau, omega), strict=True)]
    means, sds = (np.repeat(a[:, None], len(frame), axis=1) for a in at[:2])
    fits = log_likelihood(data, means, sds, at[2][:, None]).sum(axis=1)
    out["log likelihood"] = place(float(fits[-1]), fits[:-1], rng)
    return out


def _several(kinds: Sequence[str], study: str, v: float = 0.05) -> list[dict[str, Any]]:
    """Rows of one study, measured in the same people."""
    who = {"study_id": study, "sample_id": f"{study} cases", "control_id": f"{study} controls"}
    return [{**who, "measure": f"task {i}", "kind": k, "vi": v} for i, k in enumerate(kinds)]


SINGLE = [{"vi": v} for v in (0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2)]
BOUNDS = [{**r, "kind": "interval"} for r in SINGLE[1::2]] + SINGLE[::2]
UNSIGNED = [{**r, "kind": "unsigned"} for r in SINGLE[::3]] + SINGLE[1:3] + SINGLE[4:6]
NESTED = [
    r
    for i, n in enumerate((1, 3, 2, 4, 1, 3))
    for r in _several(["exact"] * n, f"s{i}", 0.02 + 0.01 * i)
]
NESTED_BOUNDS = [
    *_several(["interval", "interval"], "a"),
    *_several(["exact", "interval"], "b", 0.03),
    *_several(["exact", "exact"], "c"),
    *_several(["exact"], "d"),
    *_several(["interval"], "e"),
]  # fmt: skip


def exact_scenarios() -> list[Scenario]:
    """Every likelihood of a pool that the exact engine integrates."""
    plain, nested = Priors(), Priors(omega=OMEGA_DEFAULT)
    heavy = Priors("student_t(3,0,0.5)", "halft(4,0.3)")
    table: list[tuple[str, str, int, list[dict[str, Any]], Priors]] = [
        ("pool", "exact rows", 500, SINGLE, plain),
        ("pool_t", "Student-t priors", 300, SINGLE, heavy),
        ("pool_bounds", "bounds", 500, BOUNDS, plain),
        ("pool_unsigned", "sizes without sign", 300, UNSIGNED, plain),
        ("pool_nested", "several rows a study", 300, NESTED, nested),
        ("pool_nested_bounds", "several rows a study, bounds", 300, NESTED_BOUNDS, nested),
    ]
    return [
        Scenario(name, label, n, partial(pool_trial, design(rows), priors))
        for name, label, n, rows, priors in table
    ]
