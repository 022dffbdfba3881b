"""Question 4: which next study would teach the most.

Preposterior analysis of one further study of `participants` people in a cell, half of them cases
and half reference controls. For a draw i of the joint posterior the study's estimate is

    y ~ N(mu_i, tau_i^2 + omega_i^2 + 4/participants + mu_i^2 / (2 participants)),

and the posterior after seeing y is the old draws with weights proportional to the density of y
under each of them. Averages over many y are expectations over what the study may find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.read import Evidence
from nssi_meta.synthesis.overlap import DECIDE
from nssi_meta.synthesis.overlap_figures import CLASSES, classes, heavy
from nssi_meta.synthesis.pair import labels
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]

PARTICIPANTS = 100
#: Slices of what a study may find, posterior draws that are reweighted, and the parts of them
#: whose scatter gives the Monte Carlo error.
OUTCOMES, DRAWS, BATCHES = 40, 4000, 4
COLUMNS = (
    "rank", "mechanism", "label", "system", "condition", "condition_label", "gain_bits", "gain_se",
    "p_decided_now", "p_decided_after", "sd_now", "sd_after", "certainty", "k", "n_studies",
    "n_participants", "n_bounds", "share_bounds", "evidence", "because",
)  # fmt: skip


@dataclass(frozen=True)
class _Cell:
    """Draws of a mechanism: means (S, C), SD of a new study's true effect (S,)."""

    mu: Floats
    spread: Floats


def gaps(
    profiles: Profiles,
    evidence: Evidence,
    *,
    threshold: float = 0.2,
    participants: int = PARTICIPANTS,
    seed: int = 5,
) -> pd.DataFrame:
    """What one further study of each cell is expected to teach, the most instructive first.

    Columns: `gain_bits`, the information (bits) that the study is expected to give about the
    overlap classes that the cell takes part in (the index with each other condition; one pair for
    any other condition), with its Monte Carlo standard error `gain_se`; `p_decided_now` and
    `p_decided_after`, the share of these pairs in which a verdict is given, now and as expected;
    `sd_now` and `sd_after`, the posterior SD of the mean, now and as expected; `certainty`, the
    share of the variance of an unstudied mechanism's mean that the evidence has removed; the
    evidence in the cell; `because`, the reason in words. Mechanisms of mechanisms.csv without a
    row on any estimand are in it too, as predicted for a mechanism that nobody studied.

    Raises ValueError for fewer than 4 participants or a negative threshold.
    """
    if participants < 4:
        raise ValueError(f"participants must be at least 4, got {participants}")
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold:g}")
    rng = np.random.default_rng(seed)
    cells = _cells(profiles, evidence, rng)
    nobody = _unstudied(profiles, rng).mu.var(axis=0)
    known = profiles.evidence.set_index(["mechanism", "condition"])
    names = labels(profiles.mechanisms, "mechanism", "label")
    systems = labels(profiles.mechanisms, "mechanism", "system")
    arms = labels(profiles.conditions, "id", "short")
    records: list[dict[str, Any]] = []
    for mechanism, cell in cells.items():
        for c, condition in enumerate(profiles.data.conditions):
            facts = _facts(known, mechanism, condition)
            taught = _study(cell, c, _pairs(profiles, c), threshold, participants, rng)
            certainty = 1 - taught["sd_now"] ** 2 / nobody[c]
            records.append(
                {
                    "mechanism": mechanism,
                    "label": names.get(mechanism, mechanism),
                    "system": systems.get(mechanism, ""),
                    "condition": condition,
                    "condition_label": arms.get(condition, condition),
                    **taught,
                    "certainty": float(np.clip(certainty, 0.0, 1.0)),
                    **facts,
                    "because": _because(facts, taught, condition == profiles.index),
                }
            )
    table = pd.DataFrame(records).sort_values("gain_bits", ascending=False, kind="stable")
    table = table.reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table[list(COLUMNS)]


def _cells(profiles: Profiles, evidence: Evidence, rng: np.random.Generator) -> dict[str, _Cell]:
    mu, tau, omega = (profiles.draws(n) for n in ("mu", "tau", "omega"))
    pick = rng.permutation(len(mu))[:DRAWS]
    spread = np.sqrt(tau**2 + omega[:, None] ** 2)
    cells = {
        name: _Cell(mu[pick, m], spread[pick, m]) for m, name in enumerate(profiles.data.mechanisms)
    }
    untouched = set(profiles.mechanisms["mechanism"]) - set(evidence.used["mechanism"])
    for name in profiles.mechanisms["mechanism"]:
        if name in untouched:
            cells[name] = _unstudied(profiles, rng)
    return cells


def _unstudied(profiles: Profiles, rng: np.random.Generator) -> _Cell:
    """A mechanism without any row, as the fitted hierarchy predicts it."""
    sigma, R = profiles.draws("sigma"), profiles.draws("R")
    pick = rng.integers(0, len(sigma), DRAWS)
    z = rng.standard_normal((DRAWS, sigma.shape[1], 1))
    mu = sigma[pick] * (np.linalg.cholesky(R[pick]) @ z)[..., 0]
    mu *= heavy(profiles.tails, (DRAWS, 1), rng)
    tau = profiles.draws("tau_0")[pick] * np.abs(rng.standard_normal(DRAWS))
    return _Cell(mu, np.hypot(tau, profiles.draws("omega")[pick]))


def _pairs(profiles: Profiles, c: int) -> list[tuple[int, int]]:
    """Pairs of conditions whose overlap class a study of condition c informs."""
    i = profiles.data.conditions.index(profiles.index)
    if c != i:
        return [(i, c)]
    return [(i, j) for j in range(len(profiles.data.conditions)) if j != i]


def _study(
    cell: _Cell,
    c: int,
    pairs: list[tuple[int, int]],
    threshold: float,
    participants: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Expected information, decisions and SD after a study of condition c.

    What the study may find is one number, so that the expectation over it is a mean over the
    middle of equally probable slices of its predictive distribution.
    """
    mu = cell.mu[:, c]
    variance = cell.spread**2 + 4 / participants + mu**2 / (2 * participants)
    found = np.sort(mu + np.sqrt(variance) * rng.standard_normal(len(mu)))
    y = np.quantile(found, (np.arange(OUTCOMES) + 0.5) / OUTCOMES)
    log_w = -0.5 * ((y[:, None] - mu) ** 2 / variance + np.log(variance))
    weight = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ mu
    sd_after = np.sqrt(np.maximum(weight @ mu**2 - mean**2, 0.0))
    parts = [slice(b, None, BATCHES) for b in range(BATCHES)]
    gain, by_part = 0.0, np.zeros(BATCHES)
    now, after = [], []
    for i, j in pairs:
        kind = classes(cell.mu[:, i], cell.mu[:, j], threshold)
        one_hot = (kind[:, None] == np.arange(len(CLASSES))).astype(float)
        before, then = one_hot.mean(axis=0), weight @ one_hot
        gain += _information(before, then)
        by_part += [
            _information(one_hot[part].mean(axis=0), _normalised(weight[:, part]) @ one_hot[part])
            for part in parts
        ]
        now.append(_decided(before))
        after.append(float(_decided(then).mean()))
    return {
        "gain_bits": max(gain, 0.0),  # rounding can put nothing at -1e-16
        "gain_se": float(by_part.std(ddof=1) / np.sqrt(BATCHES)),
        "p_decided_now": float(np.mean(now)),
        "p_decided_after": float(np.mean(after)),
        "sd_now": float(mu.std()),
        "sd_after": float(sd_after.mean()),
    }


def _normalised(weight: Floats) -> Floats:
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)


def _information(before: Floats, then: Floats) -> float:
    """Mean Kullback-Leibler divergence (bits) of `then` (outcomes, classes) from `before`."""
    ratio = np.log2(np.maximum(then, 1e-300)) - np.log2(np.maximum(before, 1e-300))
    return float((then * ratio).sum(axis=1).mean())


def _decided(p: Floats) -> NDArray[np.bool_]:
    """Whether a verdict would be given: shared, opposite, distinct (one only) or neither."""
    distinct = p[..., 2] + p[..., 3]
    best = np.max([p[..., 0], p[..., 1], distinct, p[..., 4]], axis=0)
    return np.asarray(best >= DECIDE)


def _facts(known: pd.DataFrame, mechanism: str, condition: str) -> dict[str, Any]:
    """Evidence in a cell; the evidence map."""
    nothing = {"k": 0, "n_studies": 0, "n_participants": 0, "n_bounds": 0, "share_bounds": np.nan}
    if (mechanism, condition) not in known.index:
        return nothing | {"evidence": "none: predicted"}
    row: Any = known.loc[(mechanism, condition)]
    k = int(row["k"] + row["k_contrast"])
    return {
        "k": k,
        "n_studies": int(row["n_studies"]),
        "n_participants": int(row["n_participants"]),
        "n_bounds": int(row["n_bounds"]),
        "share_bounds": row["n_bounds"] / k if k else np.nan,
        "evidence": row["evidence"],
    }


def _because(facts: dict[str, Any], taught: dict[str, float], is_index: bool) -> str:
    """Why a study here would teach something, in words."""
    parts = []
    if not facts["k"]:
        parts.append("no study yet")
    elif facts["evidence"] == "contrast only":
        parts.append("compared with other patients only")
    elif facts["share_bounds"] == 1:
        parts.append("nothing but bounds")
    elif facts["n_studies"] <= 2:
        parts.append("one study" if facts["n_studies"] == 1 else "two studies")
    if is_index:
        parts.append("bears on the overlap with every other condition")
    more = taught["p_decided_after"] - taught["p_decided_now"]
    if more >= 0.05:
        parts.append(f"verdicts decided: {taught['p_decided_now']:.0%} now, "
                     f"{taught['p_decided_after']:.0%} expected")  # fmt: skip
    if not parts or taught["sd_after"] < 0.8 * taught["sd_now"]:
        now, after = taught["sd_now"], taught["sd_after"]
        parts.append(f"SD of the mean {now:.2f} now, {after:.2f} expected")
    return "; ".join(parts)
