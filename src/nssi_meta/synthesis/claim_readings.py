"""The readings of one claim: its event under the joint model, under pools, and under variations.

A reading is one posterior and one threshold. The first reading of a claim is the one that is
reported; the others tell how much hangs on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.claims import MANY, ONE
from nssi_meta.evidence.flow import participants
from nssi_meta.evidence.subset import Clause, parse_subset
from nssi_meta.evidence.vocabulary import ESTIMANDS
from nssi_meta.models.priors import MU_DEFAULT, parse_prior
from nssi_meta.synthesis.cells import Cell
from nssi_meta.synthesis.claim_events import (
    Normal,
    draws_in,
    event,
    in_words,
    probability,
    share_of_draws,
)
from nssi_meta.synthesis.claim_many import many_readings
from nssi_meta.synthesis.claim_pools import CellPools
from nssi_meta.synthesis.overlap_figures import prior_draws
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]

#: Thresholds at which a claim is read besides the run's own.
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
JOINT_ESTIMAND = "case_control"
#: A contrast of subgroups needs this many studies on either side.
MIN_STUDIES = 2
DOUBTFUL = "with doubtful rows"
_DRAWS = 20_000


@dataclass(frozen=True)
class Reading:
    """A claim's probability under one posterior; NaN where `note` says why there is none.

    `estimate` are median and interval of the quantity that the claim is about (NaN where it is
    about two means, and for pools of other rows), `rows` the rows behind it.
    """

    name: str
    estimand: str
    hypothesis: str
    threshold: float
    probability: float
    prior: float
    rows: pd.DataFrame
    estimate: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    note: str = ""


@dataclass(frozen=True)
class Sources:
    """What claims are read from; `fitted` is None where one condition leaves no joint model."""

    fitted: Profiles | None
    pools: CellPools
    delta: float

    @property
    def profiles(self) -> Profiles:
        """The joint model, for readings that exist only where there is one."""
        if self.fitted is None:
            raise RuntimeError("a reading of the joint model was asked for, but there is none")
        return self.fitted

    @property
    def level(self) -> float:
        """Level of the intervals."""
        return self.pools.options.level if self.fitted is None else self.fitted.level

    @cached_property
    def prior(self) -> Floats:
        """Means (S, M, C) under the joint model's prior."""
        data = self.profiles.data
        tails = self.profiles.tails
        return prior_draws(len(data.conditions), len(data.mechanisms), tails=tails)[0]

    @cached_property
    def anchored(self) -> set[tuple[str, str]]:
        """Cells whose distance to the reference group the joint model's rows inform."""
        if self.fitted is None:
            return set()
        table = self.profiles.evidence
        known = table[table["anchored"]]
        return set(zip(known["mechanism"], known["condition"], strict=True))

    def joint_rows(self, mechanisms: list[str], arms: list[str]) -> pd.DataFrame:
        """Rows of the joint model that touch these cells."""
        frame = self.profiles.data.frame
        touches = frame["condition"].isin(arms) | frame["comparator"].isin(arms)
        return frame[frame["mechanism"].isin(mechanisms) & touches]

    def quantiles(self, draws: Floats) -> tuple[float, float, float]:
        """Median, lower and upper end at the level of the intervals."""
        tail = (1 - self.level) / 2
        low, median, high = np.quantile(draws, [tail, 0.5, 1 - tail])
        return float(median), float(low), float(high)


def readings(claim: dict[str, Any], sources: Sources) -> list[Reading]:
    """Every reading of a claim (a row of `read_claims`), the reported one first.

    Empty when no row of the data speaks about it.
    """
    if claim["kind"] in MANY:
        return list(many_readings(claim, sources))
    clauses = parse_subset(claim["subset"])
    if claim["kind"] == "moderator":
        return list(_moderator(claim, clauses, sources))
    arms = [claim["condition"]] + ([] if claim["kind"] in ONE else [claim["other_condition"]])
    mechanism = claim["mechanism"]
    joint = not clauses and all((mechanism, arm) in sources.anchored for arm in arms)
    found = list(_joint(claim, arms, sources)) if joint else []

    def size(estimand: str) -> tuple[bool, int, int]:
        """Group comparisons first, then by studies and people in the poorer arm."""
        parts = [sources.pools.rows(mechanism, a, estimand, clauses) for a in arms]
        studies, n = min((p["study_id"].nunique(), participants(p)) for p in parts)
        return estimand == JOINT_ESTIMAND and studies > 0, studies, n

    by_size = sorted(ESTIMANDS, key=size, reverse=True)
    for estimand in by_size:
        found += _pooled(claim, arms, estimand, clauses, sources, first=not found)
    return found


def _grid(claim: dict[str, Any], delta: float) -> tuple[float, list[float]]:
    """The claim's own threshold, and the others at which it is read.

    A claim about one mean that names a direction is about its sign: its own threshold is 0.
    """
    own = 0.0 if claim["kind"] in ONE and claim["expected"] != "?" else delta
    return own, sorted({t for t in (*THRESHOLDS, delta) if t != own})


def _joint(claim: dict[str, Any], arms: list[str], sources: Sources) -> Iterator[Reading]:
    data = sources.profiles.data
    m = data.mechanisms.index(claim["mechanism"])
    at = [data.conditions.index(arm) for arm in arms]
    means = [sources.profiles.draws("mu")[:, m, c] for c in at]
    prior = [sources.prior[:, :, c].ravel() for c in at]
    what = event(claim["kind"], claim["expected"])
    rows = sources.joint_rows([claim["mechanism"]], arms)
    own, others = _grid(claim, sources.delta)
    estimate = sources.quantiles(means[0]) if len(means) == 1 else (np.nan, np.nan, np.nan)
    for t in (own, *others):
        yield Reading(
            "joint model" if t == own else f"threshold {t:g}",
            JOINT_ESTIMAND,
            in_words(claim["kind"], claim["expected"], t),
            t,
            share_of_draws(draws_in(what, t, *means)),
            share_of_draws(draws_in(what, t, *prior)),
            rows,
            estimate,
        )


def _pooled(
    claim: dict[str, Any],
    arms: list[str],
    estimand: str,
    clauses: tuple[Clause, ...],
    sources: Sources,
    first: bool,
) -> Iterator[Reading]:
    """Readings from pools of one estimand, arms taken as independent; thresholds if it is first."""
    own, others = _grid(claim, sources.delta)
    what = event(claim["kind"], claim["expected"])
    prior = [_mu_prior()] * len(arms)
    base = [sources.pools.rows(claim["mechanism"], a, estimand, clauses) for a in arms]
    names = {"all": "pool", "exact": "exact rows only", "doubtful": DOUBTFUL}
    for way, name in names.items():
        parts = [
            sources.pools.rows(claim["mechanism"], a, estimand, clauses, way=way) for a in arms
        ]
        same = all(len(p) == len(b) for p, b in zip(parts, base, strict=True))
        if any(p.empty for p in parts) or (way != "all" and same):
            continue
        cells = [sources.pools.fit(p) for p in parts]
        means = [c.posterior.mu for c in cells]
        rows = pd.concat(parts)
        # Quantiles of exact pools are dear: only of the pool that stands beside the joint model.
        nothing = (np.nan, np.nan, np.nan)
        estimate = _of_cell(cells, sources.level) if way == "all" else nothing
        thresholds = (own, *others) if first and way == "all" else (own,)
        for t in thresholds:
            yield Reading(
                name if t == own else f"threshold {t:g}",
                estimand,
                in_words(claim["kind"], claim["expected"], t),
                t,
                probability(what, t, means),
                probability(what, t, prior),
                rows,
                estimate,
            )


def _moderator(
    claim: dict[str, Any], clauses: tuple[Clause, ...], sources: Sources
) -> Iterator[Reading]:
    """Difference of two subgroup pools; the subgroups count as independent."""
    contrast = next(c for c in clauses if c.versus)
    rest = [c for c in clauses if not c.versus]
    what = event("moderator", claim["expected"])
    own, others = _grid(claim, sources.delta)
    prior_sd = _mu_prior().sd * np.sqrt(2)
    first = True
    for estimand in ESTIMANDS:
        for way, name in (("all", "subgroups"), ("exact", "exact rows only")):
            rows = sources.pools.rows(
                claim["mechanism"], claim["condition"], estimand, rest, way=way
            )
            sides = [rows[contrast.mask(rows)], rows[contrast.against(rows)]]
            both = pd.concat(sides)
            if both.empty:
                continue
            counts = [s["study_id"].nunique() for s in sides]
            if min(counts) < MIN_STUDIES:
                words = in_words("moderator", claim["expected"], own)
                note = f"too few studies: {counts[0]} against {counts[1]}"
                yield Reading(name, estimand, words, own, np.nan, np.nan, both,
                              note=note)  # fmt: skip
                first = False
                continue
            a, b = (
                sources.pools.fit(s).posterior.draws(_DRAWS, seed)[0]
                for seed, s in enumerate(sides)
            )
            for t in (own, *others) if first else (own,):
                yield Reading(
                    name if t == own else f"threshold {t:g}",
                    estimand,
                    in_words("moderator", claim["expected"], t),
                    t,
                    share_of_draws(draws_in(what, t, a - b)),
                    probability(what, t, [Normal(0.0, prior_sd)]),
                    both,
                    sources.quantiles(a - b),
                )
            first = False


def _of_cell(cells: list[Cell], level: float) -> tuple[float, float, float]:
    if len(cells) > 1:
        return np.nan, np.nan, np.nan
    mu = cells[0].posterior.mu
    return mu.quantile(0.5), mu.quantile((1 - level) / 2), mu.quantile((1 + level) / 2)


def _mu_prior() -> Normal:
    """The prior of a pool's mean: claims are tested against the default, which is proper."""
    return Normal(*parse_prior(MU_DEFAULT, "mu").params)
