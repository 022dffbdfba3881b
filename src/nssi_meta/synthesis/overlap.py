"""Question 2: which mechanisms the index condition shares with each other condition.

Every figure is computed per posterior draw of the joint model, hence has an interval. Mechanisms
without evidence in both conditions are left out: the model predicts them, nobody measured them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from nssi_meta.evidence.flow import participants
from nssi_meta.synthesis.overlap_figures import (
    CLASSES,
    FIGURES,
    classes,
    overlap_figures,
    prior_draws,
)
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]

#: A mechanism gets a verdict when its class has at least this posterior probability.
DECIDE = 0.8
#: ... and is uninformative when the class probabilities differ by less than this (total variation)
#: from those of a mechanism that nobody has studied. A figure over all mechanisms is uninformative
#: when the distribution functions of posterior and prior differ by less than this everywhere.
MOVED = 0.2
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)

RULE = (
    f"A mechanism is called shared, opposite, distinct (beyond the threshold in one condition "
    f"only) or neither when that has a posterior probability of at least {DECIDE}; uninformative "
    f"when the class probabilities differ by less than {MOVED} in total variation from those the "
    f"model gives to a mechanism that nobody has studied; undecided otherwise. A figure over all "
    f"mechanisms is uninformative while its posterior and prior distribution functions differ by "
    f"less than {MOVED} everywhere."
)


@dataclass(frozen=True)
class Overlap:
    """Overlap of the index condition with each other condition at one threshold.

    `mechanisms`, `figures`, `thresholds`, `systems` are the tables overlap_mechanisms,
    overlap_summary, overlap_thresholds and overlap_systems.
    """

    mechanisms: pd.DataFrame
    figures: pd.DataFrame
    thresholds: pd.DataFrame
    systems: pd.DataFrame
    threshold: float
    converged: bool

    def summary(self) -> pd.DataFrame:
        """Overlap figures per condition with intervals, priors and coverage."""
        return self.figures.copy()


def overlap(profiles: Profiles, threshold: float = 0.2) -> Overlap:
    """Overlap tables from the joint posterior; `threshold` (delta >= 0) on the effect-size scale.

    Raises ValueError for a negative threshold.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold:g}")
    parts: dict[str, list[pd.DataFrame]] = {"m": [], "f": [], "t": [], "s": []}
    for other in profiles.data.conditions:
        if other == profiles.index:
            continue
        pair = _Pair(profiles, other)
        parts["f"].append(_figure_table(pair, threshold))
        if pair.names:
            parts["m"].append(_mechanism_table(pair, threshold))
            parts["t"].append(_threshold_table(pair))
            parts["s"].append(_system_table(pair, threshold))

    def joined(key: str, columns: list[str]) -> pd.DataFrame:
        if not parts[key]:
            return pd.DataFrame(columns=columns)
        return pd.concat(parts[key], ignore_index=True)

    return Overlap(
        mechanisms=joined("m", ["other", "other_label", "mechanism", "verdict"]),
        figures=joined("f", ["other", "other_label", "figure", "median", "low", "high"]),
        thresholds=joined("t", ["other", "other_label", "threshold", "figure", "median"]),
        systems=joined("s", ["other", "other_label", "system", "n_mechanisms"]),
        threshold=threshold,
        converged=profiles.converged,
    )


class _Pair:
    """Draws and evidence of the index condition and one other, on mechanisms known in both."""

    def __init__(self, profiles: Profiles, other: str) -> None:
        data = profiles.data
        self.profiles, self.other = profiles, other
        self.i, self.j = data.conditions.index(profiles.index), data.conditions.index(other)
        self.other_label = _labels(profiles.conditions, "id", "label").get(other, other)
        self.evidence = profiles.evidence.set_index(["condition", "mechanism"])
        known = self.evidence["anchored"]
        both: Any = known[profiles.index] & known[other]
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

    def unstudied(self, n: int, seed: int = 2) -> tuple[Floats, Floats]:
        """Means of both conditions for n mechanisms without any row, from the fitted hierarchy."""
        rng = np.random.default_rng(seed)
        sigma = self.profiles.draws("sigma")
        pick = rng.integers(0, len(sigma), n)
        z = rng.standard_normal((2, n))
        r = self.R[pick]
        a = sigma[pick, self.i] * z[0]
        return a, sigma[pick, self.j] * (r * z[0] + np.sqrt(1 - r**2) * z[1])


def _labels(table: pd.DataFrame, key: str, column: str) -> dict[str, str]:
    return dict(zip(table[key], table[column], strict=True))


def _mechanism_table(pair: _Pair, delta: float) -> pd.DataFrame:
    a, b = pair.a, pair.b
    kind = classes(a, b, delta)
    share = np.stack([(kind == c).mean(axis=0) for c in range(len(CLASSES))], axis=1)
    nobody = classes(*pair.unstudied(20_000), delta)
    base = np.array([(nobody == c).mean() for c in range(len(CLASSES))])
    low, median, high = pair.quantiles(a - b)
    tau = pair.profiles.draws("tau")[:, pair.rows]
    total = np.sqrt(tau**2 + pair.profiles.draws("omega")[:, None] ** 2)
    coefficient = 2 * ndtr(-np.abs(a - b) / (2 * np.maximum(total, 1e-12)))
    index: Any = pair.evidence.loc[pair.profiles.index]
    other: Any = pair.evidence.loc[pair.other]
    records = []
    for m, name in enumerate(pair.names):
        records.append(
            {
                "other": pair.other,
                "other_label": pair.other_label,
                "mechanism": name,
                **{f"p_{c}": share[m, i] for i, c in enumerate(CLASSES)},
                "contrast_median": median[m],
                "contrast_low": low[m],
                "contrast_high": high[m],
                "predictive_overlap": float(np.median(coefficient[:, m])),
                "verdict": verdict(share[m], base),
                "k_index": index.loc[name, "k"] + index.loc[name, "k_contrast"],
                "k_other": other.loc[name, "k"] + other.loc[name, "k_contrast"],
                "n_bounds_index": index.loc[name, "n_bounds"],
                "n_bounds_other": other.loc[name, "n_bounds"],
            }
        )
    table = pd.DataFrame(records)
    mechanisms = pair.profiles.mechanisms
    for position, column in ((3, "label"), (4, "system")):
        names = _labels(mechanisms, "mechanism", column)
        table.insert(position, column, [names.get(m, m) for m in table["mechanism"]])
    return table


def verdict(share: Floats, unstudied: Floats) -> str:
    """Verdict on one mechanism from its class probabilities (5,), see `RULE`.

    `unstudied` (5,) are the class probabilities of a mechanism without rows.
    """
    if 0.5 * np.abs(share - unstudied).sum() < MOVED:
        return "uninformative"
    named = {
        "shared": share[0],
        "opposite": share[1],
        "distinct": share[2] + share[3],
        "neither": share[4],
    }
    best = max(named, key=lambda name: float(named[name]))
    return best if named[best] >= DECIDE else "undecided"


def _figure_table(pair: _Pair, delta: float) -> pd.DataFrame:
    names = pair.names
    frame = pair.profiles.data.frame
    arms = [pair.profiles.index, pair.other]
    rows = frame[
        frame["mechanism"].isin(names)
        & (frame["condition"].isin(arms) | frame["comparator"].isin(arms))
    ]
    coverage = {
        "n_mechanisms": len(names),
        "n_studies": rows["study_id"].nunique(),
        "n_participants": int(participants(rows.assign(every=0), ["every"]).sum())
        if len(rows)
        else 0,
        "share_bounds": float((rows["kind"] == "interval").mean()) if len(rows) else np.nan,
    }
    prior_mu, prior_R = prior_draws(len(pair.profiles.data.conditions), max(len(names), 1))
    draws: dict[str, tuple[Floats, Floats]] = {"correlation": (pair.R, prior_R[:, 0, 1])}
    if names:
        own = overlap_figures(pair.a, pair.b, delta)
        prior = overlap_figures(prior_mu[:, :, 0], prior_mu[:, :, 1], delta)
        draws = {f: (own[f], prior[f]) for f in FIGURES} | draws
    records: list[dict[str, Any]] = []
    for figure, (posterior, before) in draws.items():
        low, median, high = pair.quantiles(posterior)
        prior_low, prior_median, prior_high = pair.quantiles(before)
        unmoved = distance(posterior, before) < MOVED
        records.append(
            {
                "other": pair.other,
                "other_label": pair.other_label,
                "figure": figure,
                "median": median,
                "low": low,
                "high": high,
                "prior_median": prior_median,
                "prior_low": prior_low,
                "prior_high": prior_high,
                **coverage,
                "verdict": "uninformative" if unmoved or not names else "informative",
            }
        )
    return pd.DataFrame(records)


def distance(a: Floats, b: Floats) -> float:
    """Largest difference between two empirical distribution functions (Kolmogorov-Smirnov)."""
    at = np.concatenate([a, b])
    f, g = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b))
    return float(np.abs(f - g).max())


def _threshold_table(pair: _Pair) -> pd.DataFrame:
    records = []
    for delta in THRESHOLDS:
        for figure, draws in overlap_figures(pair.a, pair.b, delta).items():
            low, median, high = pair.quantiles(draws)
            records.append((pair.other, pair.other_label, delta, figure, median, low, high))
    columns = ["other", "other_label", "threshold", "figure", "median", "low", "high"]
    return pd.DataFrame(records, columns=columns)


def _system_table(pair: _Pair, delta: float) -> pd.DataFrame:
    system = _labels(pair.profiles.mechanisms, "mechanism", "system")
    of = np.array([system.get(m, "") for m in pair.names], dtype=object)
    records = []
    for name in dict.fromkeys(of.tolist()):
        some = of == name
        figures = overlap_figures(pair.a[:, some], pair.b[:, some], delta)
        shared, size = (pair.quantiles(figures[f]) for f in ("n_shared", "magnitude"))
        records.append(
            {
                "other": pair.other,
                "other_label": pair.other_label,
                "system": name,
                "n_mechanisms": int(some.sum()),
                "n_shared_median": shared[1],
                "n_shared_low": shared[0],
                "n_shared_high": shared[2],
                "magnitude_median": size[1],
                "magnitude_low": size[0],
                "magnitude_high": size[2],
            }
        )
    return pd.DataFrame(records)
