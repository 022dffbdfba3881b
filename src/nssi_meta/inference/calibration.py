"""Simulation-based calibration: posteriors must be right on average over the prior.

Parameters are drawn from the prior, data from the parameters, and the truth's place in the
posterior is noted: it is uniform if the model is computed rightly (Talts et al. 2018,
arXiv:1804.06788). The places' empirical distribution is held against a band in which it lies as a
whole with a stated probability (Säilynoja, Bürkner & Vehtari 2022, Stat Comput 32:32), computed
exactly here. The likelihood of the data is one of the quantities: it tells a posterior that did not
look at all the data (Modrák et al. 2023, Bayesian Analysis).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln

Floats = NDArray[np.float64]
#: One simulation: the place of each quantity's truth in its posterior, uniform on (0, 1).
Trial = Callable[[np.random.Generator], Mapping[str, float]]

LEVEL = 0.95
N_POINTS = 50
#: Beside the places: 1 where a fit did not pass its convergence checks, else 0.
FAILED = "not converged"
COLUMNS = ("quantity", "label", "z", "ecdf", "low", "high")


@dataclass(frozen=True)
class Scenario:
    """What is calibrated: a name, words for it, simulations asked for, and the trial."""

    name: str
    label: str
    n: int
    trial: Trial


def place(truth: float, draws: Floats, rng: np.random.Generator) -> float:
    """Place of `truth` among independent posterior draws (L,), uniform on (0, 1) if calibrated.

    The rank is spread evenly over its cell of width 1 / (L + 1); ties (a count, a share) are broken
    at random, so that discrete quantities are uniform too.
    """
    less, equal = int((draws < truth).sum()), int((draws == truth).sum())
    return float((less + rng.random() * (equal + 1)) / (len(draws) + 1))


def simulate(scenario: Scenario, first: int, last: int) -> list[dict[str, float]]:
    """Simulations number `first` to `last` - 1; each has its own seed, whoever runs it."""
    key = zlib.crc32(scenario.name.encode())
    return [dict(scenario.trial(np.random.default_rng([key, i]))) for i in range(first, last)]


def ecdf_table(places: pd.DataFrame) -> pd.DataFrame:
    """The table of `figures.calibration`, from one column of places (n,) a quantity."""
    parts = []
    z = np.arange(1, N_POINTS) / N_POINTS
    for name in places.columns.drop(FAILED, errors="ignore"):
        values = places[name].dropna().to_numpy(dtype=float)
        low, high = band(len(values))
        ecdf = counts(values) / len(values)
        part = pd.DataFrame({"quantity": name, "label": name, "z": z, "ecdf": ecdf})
        parts.append(part.assign(low=low / len(values), high=high / len(values)))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def summary(places: pd.DataFrame) -> pd.DataFrame:
    """One row a quantity: n simulations, p-value of uniformity, whether the band holds it."""
    rows = []
    for name in places.columns.drop(FAILED, errors="ignore"):
        values = places[name].dropna().to_numpy(dtype=float)
        p = p_value(values)
        rows.append((name, len(values), p, p >= 1 - LEVEL))
    return pd.DataFrame(rows, columns=["quantity", "n", "p", "inside"])


def holm(p: Sequence[float]) -> Floats:
    """p-values adjusted for their number (Holm 1979): the least tells of them all."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    scaled = values[order] * np.arange(len(values), 0, -1)
    out = np.empty_like(values)
    out[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return out


def counts(values: Floats) -> NDArray[np.int64]:
    """How many of the places (n,) lie at or below each evaluation point (`N_POINTS` - 1,)."""
    if np.isnan(values).any() or (values < 0).any() or (values > 1).any():
        raise ValueError("places must lie between 0 and 1; one that is not comes from a failed fit")
    z = np.arange(1, N_POINTS) / N_POINTS
    return np.searchsorted(np.sort(values), z, side="right")


def p_value(values: Floats) -> float:
    """Probability that n uniform places stray at least as far, anywhere, as these (n,) do.

    How far: the smallest two-sided binomial tail probability over the evaluation points.
    """
    gamma = _smallest_tail(counts(values), len(values))
    # The band that just excludes what was seen.
    return 1.0 - _inside_probability(len(values), gamma * (1 + 1e-9))


def band(n: int, level: float = LEVEL) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts (`N_POINTS` - 1,) between which n uniform places stay with probability `level`."""
    if n < 1:
        raise ValueError("a band needs at least one simulation")
    inner, outer = 1.0, 0.0  # bands of tail probability `outer` hold at least `level`
    for _ in range(40):
        middle = np.sqrt(inner * outer) if outer > 0 else inner * 0.1
        if _inside_probability(n, float(middle)) >= level:
            outer = middle
            if inner / outer < 1.0001:
                break
        else:
            inner = middle
    return _limits(n, float(outer))


def _points() -> Floats:
    return np.arange(1, N_POINTS) / N_POINTS


def _smallest_tail(found: NDArray[np.int64], n: int) -> float:
    z = _points()
    lower = bdtr(found.astype(float), n, z)
    upper = 1.0 - np.where(found > 0, bdtr(np.maximum(found - 1, 0).astype(float), n, z), 0.0)
    return float(2 * np.minimum(lower, upper).min())


def _limits(n: int, gamma: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and largest counts whose two-sided tail probability is at least `gamma`."""
    z, c = _points(), np.arange(n + 1)
    below = bdtr(c[None, :].astype(float), n, z[:, None])
    above = 1.0 - np.concatenate([np.zeros((len(z), 1)), below[:, :-1]], axis=1)
    fits = 2 * np.minimum(below, above) >= gamma
    return fits.argmax(axis=1), n - fits[:, ::-1].argmax(axis=1)


def _inside_probability(n: int, gamma: float) -> float:
    """P(the ECDF of n uniforms stays within the limits of `gamma`), by recursion over points.

    Given m of n at or below z_i, the number in (z_i, z_i+1] is binomial (n - m, (z_i+1 - z_i) /
    (1 - z_i)): Säilynoja et al. 2022, section 2.2.
    """
    z = np.concatenate([[0.0], _points()])
    low, high = _limits(n, gamma)
    if (low > high).any():
        return 0.0
    states, mass = np.zeros(1), np.ones(1)
    for i in range(len(z) - 1):
        p = (z[i + 1] - z[i]) / (1 - z[i])
        after = np.arange(low[i], high[i] + 1, dtype=float)
        trials, hits = (n - states)[:, None], after[None, :] - states[:, None]
        possible = (hits >= 0) & (hits <= trials)
        h = np.where(possible, hits, 0.0)
        log_p = gammaln(trials + 1) - gammaln(h + 1) - gammaln(trials - h + 1)
        log_p = log_p + h * np.log(p) + (trials - h) * np.log1p(-p)
        mass = mass @ np.where(possible, np.exp(log_p), 0.0)
        states = after
    return float(mass.sum())
