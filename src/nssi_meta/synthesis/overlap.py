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

from nssi_meta.evidence.flow import participants
from nssi_meta.evidence.problems import require
from nssi_meta.shown import shown
from nssi_meta.synthesis.overlap_figures import (
    CLASSES,
    FIGURES,
    classes,
    congruence,
    overlap_figures,
    prior_draws,
)
from nssi_meta.synthesis.pair import Pair, group_of, labels
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]

#: A mechanism gets a verdict when its class has at least this posterior probability.
DECIDE = 0.8
#: ... and is uninformative when the class probabilities differ by less than this (total variation)
#: from those of a mechanism that nobody has studied. A figure over all mechanisms is uninformative
#: when the distribution functions of posterior and prior differ by less than this everywhere.
MOVED = 0.2
#: The last row of the table of systems: all mechanisms together.
ALL = "all mechanisms"
#: Mechanisms that a profile has at least; one or two agree or disagree by chance.
PROFILE = 3
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

    `mechanisms`, `figures`, `thresholds`, `systems`, `stages` are the tables overlap_mechanisms,
    overlap_summary, overlap_thresholds, overlap_systems and overlap_stages.
    """

    mechanisms: pd.DataFrame
    figures: pd.DataFrame
    thresholds: pd.DataFrame
    systems: pd.DataFrame
    stages: pd.DataFrame
    threshold: float
    converged: bool

    def __repr__(self) -> str:
        failed = "" if self.converged else " (NOT CONVERGED)"
        return shown(f"Overlap at delta = {self.threshold:g}{failed}", self.figures)

    def summary(self) -> pd.DataFrame:
        """Overlap figures per condition with intervals, priors and coverage."""
        return self.figures.copy()


def overlap(profiles: Profiles, threshold: float = 0.2, index: str | None = None) -> Overlap:
    """Overlap tables from the joint posterior; `threshold` (delta >= 0) on the effect-size scale.

    `index` is the condition that is compared with each other one, by default the review's own.
    Raises ValueError for a negative threshold or an unknown condition.
    """
    if not hasattr(profiles, "data"):  # anything with the attributes of profiles will do
        require(profiles, Profiles, "overlap takes what fit_profiles gives")
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold:g}")
    parts: dict[str, list[pd.DataFrame]] = {"m": [], "f": [], "t": [], "s": [], "g": []}
    for other in profiles.data.conditions:
        if other == (index or profiles.index):
            continue
        pair = Pair(profiles, other, index)
        parts["f"].append(_figure_table(pair, threshold))
        if pair.names:
            parts["m"].append(_mechanism_table(pair, threshold))
            parts["t"].append(_threshold_table(pair))
            parts["s"].append(group_table(pair, threshold, "system"))
            if "stage" in profiles.mechanisms:
                parts["g"].append(group_table(pair, threshold, "stage"))

    def joined(key: str, columns: list[str]) -> pd.DataFrame:
        if not parts[key]:
            return pd.DataFrame(columns=columns)
        return pd.concat(parts[key], ignore_index=True)

    return Overlap(
        mechanisms=joined("m", ["other", "other_label", "mechanism", "verdict"]),
        figures=joined("f", ["other", "other_label", "figure", "median", "low", "high"]),
        thresholds=joined("t", ["other", "other_label", "threshold", "figure", "median"]),
        systems=joined("s", ["other", "other_label", "system", "n_mechanisms"]),
        stages=joined("g", ["other", "other_label", "stage", "n_mechanisms"]),
        threshold=threshold,
        converged=profiles.converged,
    )


def _mechanism_table(pair: Pair, delta: float) -> pd.DataFrame:
    a, b = pair.a, pair.b
    kind = classes(a, b, delta)
    share = np.stack([(kind == c).mean(axis=0) for c in range(len(CLASSES))], axis=1)
    nobody = classes(*pair.unstudied(20_000), delta)
    base = np.array([(nobody == c).mean() for c in range(len(CLASSES))])
    low, median, high = pair.quantiles(a - b)
    new_low, new, new_high = pair.quantiles(pair.predictive())
    index: Any = pair.evidence.loc[pair.index]
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
                "predictive_overlap": new[m],
                "predictive_overlap_low": new_low[m],
                "predictive_overlap_high": new_high[m],
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
        names = labels(mechanisms, "mechanism", column)
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


def _figure_table(pair: Pair, delta: float) -> pd.DataFrame:
    names = pair.names
    frame = pair.profiles.data.frame
    arms = [pair.index, pair.other]
    rows = frame[
        frame["mechanism"].isin(names)
        & (frame["condition"].isin(arms) | frame["comparator"].isin(arms))
    ]
    coverage = {
        "n_mechanisms": len(names),
        "n_studies": rows["study_id"].nunique(),
        "n_participants": participants(rows),
        "share_bounds": float((rows["kind"] == "interval").mean()) if len(rows) else np.nan,
    }
    prior_mu, prior_R = prior_draws(
        len(pair.profiles.data.conditions), max(len(names), 1), tails=pair.profiles.tails
    )
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


def _threshold_table(pair: Pair) -> pd.DataFrame:
    records = []
    for delta in THRESHOLDS:
        for figure, draws in overlap_figures(pair.a, pair.b, delta).items():
            low, median, high = pair.quantiles(draws)
            records.append((pair.other, pair.other_label, delta, figure, median, low, high))
    columns = ["other", "other_label", "threshold", "figure", "median", "low", "high"]
    return pd.DataFrame(records, columns=columns)


def group_table(pair: Pair, delta: float, column: str) -> pd.DataFrame:
    """Overlap within each system or stage: shared mechanisms, Jaccard, magnitude overlap, the
    mean over mechanisms of the predictive overlap coefficient, and the congruence of the profiles
    (missing below `PROFILE` mechanisms). Systems end with all together.
    """
    of = group_of(pair, column)
    predictive = pair.predictive()
    groups = {name: of == name for name in dict.fromkeys(of.tolist())}
    if column == "system" and groups:
        groups[ALL] = np.ones(len(of), dtype=bool)
    records = []
    for name, some in groups.items():
        figures = overlap_figures(pair.a[:, some], pair.b[:, some], delta)
        record: dict[str, Any] = {
            "other": pair.other,
            "other_label": pair.other_label,
            column: name,
            "n_mechanisms": int(some.sum()),
        }
        figures["predictive_overlap"] = predictive[:, some].mean(axis=1)
        figures["congruence"] = congruence(pair.a[:, some], pair.b[:, some])
        if some.sum() < PROFILE:
            figures["congruence"] = np.full(len(pair.a), np.nan)
        for figure in (*FIGURES, "predictive_overlap", "congruence"):
            low, median, high = pair.quantiles(figures[figure])
            record |= {f"{figure}_median": median, f"{figure}_low": low, f"{figure}_high": high}
        records.append(record)
    return pd.DataFrame(records)
