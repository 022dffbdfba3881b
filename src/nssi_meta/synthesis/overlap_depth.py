"""Overlap in depth, from the draws that are there: which condition overlaps more, what hangs on
one mechanism. Refits (other rows, other people) are in `overlap_variants`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.synthesis.overlap_figures import FIGURES, overlap_figures, prior_draws
from nssi_meta.synthesis.pair import Pair, labels
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]

#: Figures that can be compared between conditions with different numbers of mechanisms.
COMPARABLE = ("jaccard", "magnitude", "correlation")
_CONTRASTS = (
    "index", "condition", "condition_label", "other", "other_label", "mechanisms", "figure",
    "p_more", "prior_p_more", "median", "low", "high", "n_condition", "n_other",
)  # fmt: skip
_LEAVE_OUT = (
    "other", "other_label", "left_out", "label", "figure", "median", "low", "high",
    "median_with_all",
)  # fmt: skip


def overlap_contrasts(
    profiles: Profiles,
    threshold: float = 0.2,
    index: str | None = None,
    without: Collection[str] = (),
) -> pd.DataFrame:
    """Whether the index condition overlaps more with one condition than with another.

    One row per pair of conditions, figure and set of mechanisms: `own` (each condition on the
    mechanisms that have evidence in it and in the index) or `common` (evidence in all three, so
    that coverage cannot make the difference; the correlation has `own` only). `p_more` is the
    posterior probability that the overlap with `condition` exceeds that with `other`,
    `prior_p_more` the same before any data, `median`, `low`, `high` the difference. Mechanisms in
    `without` are left out of the figures, not of the fit.
    """
    return _contrasts(_Compared(profiles, threshold, index or profiles.index), without)


class _Compared:
    """The index condition with each other one: pairs, figures before and after the data."""

    def __init__(self, profiles: Profiles, threshold: float, index: str) -> None:
        data = profiles.data
        self.index, self.mechanisms = index, data.mechanisms
        self.pairs = {c: Pair(profiles, c, index) for c in data.conditions if c != index}
        prior, prior_R = prior_draws(
            len(data.conditions), len(data.mechanisms), tails=profiles.tails
        )
        self.before = _Draws(prior, prior_R, profiles, index, threshold)
        mu, R = profiles.draws("mu"), profiles.draws("R")
        self.after = _Draws(mu, R, profiles, index, threshold)


def _contrasts(compared: _Compared, without: Collection[str]) -> pd.DataFrame:
    index, pairs, names = compared.index, compared.pairs, compared.mechanisms
    before, after = compared.before, compared.after
    records = []
    some = {c: [m for m in p.rows if names[m] not in without] for c, p in pairs.items()}
    for a, b in combinations(pairs, 2):
        common = [m for m in some[a] if m in set(some[b])]
        for which in ("own", "common"):
            rows = (common, common) if which == "common" else (some[a], some[b])
            for figure in COMPARABLE:
                if (figure == "correlation" and which == "common") or not all(rows):
                    continue
                more = after.figure(a, rows[0], figure) - after.figure(b, rows[1], figure)
                chance = before.figure(a, rows[0], figure) - before.figure(b, rows[1], figure)
                low, median, high = pairs[a].quantiles(more)
                records.append(
                    (index, a, pairs[a].other_label, b, pairs[b].other_label, which, figure,
                     _above(more), _above(chance), median, low, high, len(rows[0]), len(rows[1]))
                )  # fmt: skip
    return pd.DataFrame(records, columns=list(_CONTRASTS))


def contrasts_without_one(
    profiles: Profiles, threshold: float = 0.2, index: str | None = None
) -> pd.DataFrame:
    """Contrasts between conditions and how far leaving one mechanism out moves each.

    `overlap_contrasts` of all mechanisms, with the lowest and highest `p_more` when any one of
    them is left out of the figures, and which these are (`lowest_without`, `highest_without`).
    The correlation, which has no mechanisms to leave out, is not in it.
    """
    keys = ["condition", "other", "mechanisms", "figure"]
    compared = _Compared(profiles, threshold, index or profiles.index)
    whole = _contrasts(compared, ())
    whole = whole[whole["figure"] != "correlation"].reset_index(drop=True)
    parts = []
    for name in profiles.data.mechanisms:
        table = _contrasts(compared, [name])
        parts.append(table.assign(left_out=name)[[*keys, "p_more", "left_out"]])
    each = pd.concat(parts, ignore_index=True)
    for end, pick in (("lowest", "idxmin"), ("highest", "idxmax")):
        at = each.loc[each.groupby(keys)["p_more"].agg(pick)]
        renamed = at.rename(columns={"p_more": f"{end}_p_more", "left_out": f"{end}_without"})
        whole = whole.merge(renamed, on=keys, how="left")
    return whole


def _above(difference: Floats) -> float:
    """Probability of more, ties counted half."""
    return float(np.mean(difference > 0) + 0.5 * np.mean(difference == 0))


class _Draws:
    """Overlap figures of the index with any condition on any mechanisms."""

    def __init__(
        self, mu: Floats, R: Floats, profiles: Profiles, index: str, threshold: float
    ) -> None:
        self.mu, self.R, self.threshold = mu, R, threshold
        self.conditions = profiles.data.conditions
        self.i = self.conditions.index(index)
        self._figures: dict[tuple[str, tuple[int, ...]], dict[str, Floats]] = {}

    def figure(self, condition: str, rows: list[int], name: str) -> Floats:
        j = self.conditions.index(condition)
        if name == "correlation":
            return self.R[:, self.i, j]
        key = (condition, tuple(rows))
        if key not in self._figures:
            a, b = self.mu[:, rows, self.i], self.mu[:, rows, j]
            self._figures[key] = overlap_figures(a, b, self.threshold)
        return self._figures[key][name]


def leave_one_out(
    profiles: Profiles, threshold: float = 0.2, index: str | None = None
) -> pd.DataFrame:
    """Overlap figures without each mechanism in turn, to see whether one carries the overlap.

    The mechanism is left out of the figure, not of the fit; `n_shared` is left out, since it can
    only fall. Conditions with fewer than two mechanisms have no rows.
    """
    names = labels(profiles.mechanisms, "mechanism", "label")
    records: list[tuple[Any, ...]] = []
    for other in profiles.data.conditions:
        if other == (index or profiles.index):
            continue
        pair = Pair(profiles, other, index)
        if len(pair.names) < 2:
            continue
        whole = overlap_figures(pair.a, pair.b, threshold)
        for m, name in enumerate(pair.names):
            some = np.arange(len(pair.names)) != m
            part = overlap_figures(pair.a[:, some], pair.b[:, some], threshold)
            for figure in FIGURES[1:]:
                low, median, high = pair.quantiles(part[figure])
                records.append(
                    (other, pair.other_label, name, names.get(name, name), figure, median, low,
                     high, float(np.median(whole[figure])))
                )  # fmt: skip
    return pd.DataFrame(records, columns=list(_LEAVE_OUT))
