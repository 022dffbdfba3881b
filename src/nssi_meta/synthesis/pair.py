"""Draws and evidence of two conditions, on the mechanisms that have evidence in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from nssi_meta.synthesis.overlap_figures import heavy
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]


class Pair:
    """The index condition and one other; `a`, `b` (S, n) are their means, `R` (S,) element of R.

    Raises ValueError when a condition is not in the model or both are the same.
    """

    def __init__(self, profiles: Profiles, other: str, index: str | None = None) -> None:
        data = profiles.data
        self.profiles, self.other = profiles, other
        self.index = index or profiles.index
        for name in (self.index, other):
            if name not in data.conditions:
                raise ValueError(
                    f"no condition {name!r} in the joint model; it has {', '.join(data.conditions)}"
                )
        if self.index == other:
            raise ValueError(f"overlap needs two conditions, got {other!r} twice")
        self.i, self.j = data.conditions.index(self.index), data.conditions.index(other)
        self.other_label = labels(profiles.conditions, "id", "label").get(other, other)
        self.evidence = profiles.evidence.set_index(["condition", "mechanism"])
        known = self.evidence["anchored"]
        both: Any = known[self.index] & known[other]
        self.rows = [m for m, name in enumerate(data.mechanisms) if both[name]]
        self.names = [data.mechanisms[m] for m in self.rows]
        mu = profiles.draws("mu")
        self.a, self.b = mu[:, self.rows, self.i], mu[:, self.rows, self.j]
        self.R = profiles.draws("R")[:, self.i, self.j]
        self.level = profiles.level

    def quantiles(self, draws: Floats) -> Floats:
        """Lower end, median and upper end over the first axis."""
        tail = (1 - self.level) / 2
        return np.asarray(np.quantile(draws, [tail, 0.5, 1 - tail], axis=0))

    def predictive(self) -> Floats:
        """Overlap coefficient (S, n) of what new studies of the two conditions would find.

        Two normals of one SD whose means lie d apart share 2 Phi(-d / 2 SD) of their area.
        """
        tau = self.profiles.draws("tau")[:, self.rows]
        total = np.sqrt(tau**2 + self.profiles.draws("omega")[:, None] ** 2)
        return np.asarray(2 * ndtr(-np.abs(self.a - self.b) / (2 * np.maximum(total, 1e-12))))

    def unstudied(self, n: int, seed: int = 2) -> tuple[Floats, Floats]:
        """Means of both conditions for n mechanisms without any row, from the fitted hierarchy."""
        rng = np.random.default_rng(seed)
        sigma = self.profiles.draws("sigma")
        pick = rng.integers(0, len(sigma), n)
        z = rng.standard_normal((2, n))
        r = self.R[pick]
        z *= heavy(self.profiles.tails, (n,), rng)
        a = sigma[pick, self.i] * z[0]
        return a, sigma[pick, self.j] * (r * z[0] + np.sqrt(1 - r**2) * z[1])


def labels(table: pd.DataFrame, key: str, column: str) -> dict[str, str]:
    """A column of a vocabulary by its key."""
    return dict(zip(table[key], table[column], strict=True))


def group_of(pair: Pair, column: str) -> NDArray[np.object_]:
    """System or stage (`column` of mechanisms.csv) of each mechanism of a pair."""
    of = labels(pair.profiles.mechanisms, "mechanism", column)
    return np.array([of.get(m, "") for m in pair.names], dtype=object)
