"""Predictive checks of a pool: whether the model, or its prior alone, gives reviews like this.

Reviews of the same design are drawn with parameters from the prior or from the posterior, and a
few statistics of them are held against the observed ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.replicate import Errors, replicate, thresholds
from nssi_meta.models.blocks import Layout

Floats = NDArray[np.float64]
Draws = tuple[Floats, Floats, Floats]

LABELS = {
    "spread": "SD of the reported effects",
    "significant": "share of significant rows",
    "largest_z": "largest |effect| / standard error",
}
#: A p-value outside these deserves a word.
TAIL = 0.025
CAVEAT = (
    "p is the share of drawn reviews whose statistic is at least the observed one (ties count "
    "half). Under the posterior the data are used twice: p lies closer to 0.5 than a uniform "
    "p-value would, so that a value near 0 or 1 tells of a misfit while one in the middle proves "
    "nothing. Under the prior, p says whether the priors allow for reviews like this one."
)
COLUMNS = (
    "source", "statistic", "label", "observed", "low", "median", "high", "p", "flag",
)  # fmt: skip


def predictive_checks(
    frame: pd.DataFrame,
    layout: Layout,
    errors: Errors,
    draws: Mapping[str, Draws],
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Statistics of the observed review beside those of drawn ones.

    Parameters
    ----------
    frame, layout
        The pool's rows and their layout.
    errors
        Sampling covariance of the rows of a block (`shrinkage.sampling_covariance`).
    draws
        mu, tau and omega (S,) each, by source: "prior", "posterior".
    seed
        Of the drawn reviews.

    Returns
    -------
    A table (`COLUMNS`; low and high hold 95% of the drawn reviews, `flag` is a sentence where p is
    below 0.025 or above 0.975) and a long table source, statistic, label, value for figures.
    Statistics that the rows do not give (a spread of one exact effect) are left out.
    """
    critical = thresholds(frame)
    rng = np.random.default_rng([seed, 2])
    drawn = {}
    for source, (mu, tau, omega) in draws.items():
        shape = (len(mu), len(frame))
        mean, between = (np.broadcast_to(v[:, None], shape) for v in (mu, tau))
        y = replicate(frame, layout.block_rows, mean, between, omega, errors, rng)
        drawn[source] = _statistics(frame, y, np.abs(y) > critical)
    return beside(_observed(frame, critical), drawn, LABELS)


def beside(
    known: Mapping[str, float],
    drawn: Mapping[str, Mapping[str, Floats]],
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of `predictive_checks`, from statistics observed and drawn (S,), by source."""
    records, long = [], []
    for source, statistics in drawn.items():
        for name, values in statistics.items():
            seen = known[name]
            p = float((values > seen).mean() + (values == seen).mean() / 2)
            low, median, high = np.quantile(values, [0.025, 0.5, 0.975])
            flag = _flag(source, labels[name], p)
            records.append((source, name, labels[name], seen, low, median, high, p, flag))
            row = {"source": source, "statistic": name, "label": labels[name]}
            long.append(pd.DataFrame({**row, "value": values}))
    table = pd.DataFrame(records, columns=list(COLUMNS))
    columns = ["source", "statistic", "label", "value"]
    return table, pd.concat(long, ignore_index=True) if long else pd.DataFrame(columns=columns)


def _flag(source: str, label: str, p: float) -> str:
    if TAIL <= p <= 1 - TAIL:
        return ""
    which = "larger" if p < 0.5 else "smaller"
    under = "the priors expect" if source == "prior" else "the fitted model gives"
    told = "p < 0.001" if p < 5e-4 else "p > 0.999" if p >= 0.9995 else f"p = {p:.3f}"
    return f"{label}: {which} than {under} ({told})"


def _observed(frame: pd.DataFrame, critical: Floats) -> dict[str, float]:
    y = frame["yi"].to_numpy(dtype=float)
    bound = (frame["kind"] == "interval").to_numpy()
    lower, upper = (frame[c].to_numpy(dtype=float) for c in ("lower", "upper"))
    beyond = np.where(bound, (lower > 0) | (upper < 0), np.abs(y) > critical)
    values = _statistics(frame, y[None], beyond[None])
    return {name: float(value[0]) for name, value in values.items()}


def _statistics(
    frame: pd.DataFrame, y: Floats, significant: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Each statistic (S,) of estimates (S, k): only what a review of these rows would report."""
    kind = frame["kind"].to_numpy()
    s = np.sqrt(frame["vi"].to_numpy(dtype=float))
    exact, size = kind == "exact", kind != "interval"
    ends = frame[["lower", "upper"]].to_numpy(dtype=float)
    # A bound at 0 tells the direction alone, not whether the row was significant.
    told = size | ~(ends == 0).any(axis=1)
    out: dict[str, Floats] = {}
    if exact.sum() > 1:
        out["spread"] = y[:, exact].std(axis=1, ddof=1)
    if told.any():
        out["significant"] = significant[:, told].mean(axis=1)
    if size.any():
        out["largest_z"] = np.abs(y[:, size] / s[size]).max(axis=1)
    return out
