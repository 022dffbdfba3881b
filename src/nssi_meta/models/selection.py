"""Step-weight selection models: densities of estimates whose reporting depends on their p-value.

Vevea & Hedges 1995 (Psychometrika 60:419): the p-values' unit interval is cut at `cuts`; a result
in bin b is reported with relative probability omega_b, omega of the most significant bin being 1.
With y ~ N(mean, sd^2) before selection,

    f(y) = N(y; mean, sd^2) omega_b(y) / sum_j omega_j P_j(mean, sd),

P_j the probability that y falls into bin j. One-sided bins favour positive effects: for negative
ones turn the signs of the data. The weights' prior is the cumulative Dirichlet of Maier, Bartoš &
Wagenmakers 2023 (Psychol Methods 28:107).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Side = Literal["one", "two"]
#: From an upper-tail probability to the estimate (k,) that just reaches it.
Critical = Callable[[float], Floats]


@dataclass(frozen=True)
class Steps:
    """A step weight function: p-values `cuts`, rising, in (0, 1); `side` of the p-values."""

    cuts: tuple[float, ...]
    side: Side = "one"

    def __post_init__(self) -> None:
        if self.side not in ("one", "two"):
            raise ValueError(f"side must be one or two, got {self.side!r}")
        inside = [0.0, *self.cuts, 1.0]
        if not self.cuts or any(b <= a for a, b in pairwise(inside)):
            raise ValueError(
                f"cut points must rise and lie strictly between 0 and 1, got {self.cuts}; "
                "0.025 is usual for one-sided p-values"
            )

    @property
    def n_bins(self) -> int:
        return len(self.cuts) + 1

    def __str__(self) -> str:
        return f"{self.side}-sided {', '.join(f'{c:g}' for c in self.cuts)}"


def normal_critical(sei: Floats) -> Critical:
    """Critical estimates where the test is a z test: z_{1-p} sei."""
    return lambda p: -ndtri(p) * sei


@dataclass(frozen=True)
class Binned:
    """k estimates sorted into bins: `edges` (k, bins - 1) falling critical values, `bins` (k,)."""

    steps: Steps
    edges: Floats
    bins: Ints

    @classmethod
    def sort(cls, yi: Floats, critical: Critical, steps: Steps) -> Binned:
        """Bin 0 is the most significant; a p-value equal to a cut belongs to the lower bin."""
        tail = 2.0 if steps.side == "two" else 1.0
        edges = np.stack([critical(p / tail) for p in steps.cuts], axis=-1)
        value = np.abs(yi) if steps.side == "two" else yi
        return cls(steps, edges, (value[:, None] < edges).sum(axis=1).astype(np.int64))

    def probabilities(self, mean: Floats, sd: Floats) -> Floats:
        """P_j (..., k, bins) under N(mean, sd^2); `mean`, `sd` broadcast to (..., k).

        Differences of distribution functions taken in the tail where they are small.
        """
        mean, sd = np.broadcast_arrays(mean, sd)
        z = (self.edges - mean[..., None]) / sd[..., None]
        upper = _bins_above(z)
        if self.steps.side == "one":
            return upper
        # |y| >= edge on either side: add the mirrored tails.
        return _two_sided(upper, _bins_above((self.edges + mean[..., None]) / sd[..., None]))


def _bins_above(z: Floats) -> Floats:
    """Probabilities of the bins cut at falling z (..., bins - 1): above the first, ..., below."""
    above, below = ndtr(-z), ndtr(z)
    inner = np.where(
        z[..., 1:] > 0, above[..., 1:] - above[..., :-1], below[..., :-1] - below[..., 1:]
    )
    return np.concatenate([above[..., :1], inner, below[..., -1:]], axis=-1)


def _two_sided(right: Floats, left: Floats) -> Floats:
    """Bins of |y| from the bins of y and of -y; what is left is the last bin."""
    outer = right[..., :-1] + left[..., :-1]
    last = right[..., -1:] - (1.0 - left[..., -1:])
    return np.concatenate([outer, np.maximum(last, 0.0)], axis=-1)


def log_normal(yi: Floats, mean: Floats, variance: Floats) -> Floats:
    """Log density of N(mean, variance) at `yi`, elementwise."""
    return -0.5 * (np.log(2 * np.pi * variance) + (yi - mean) ** 2 / variance)


def log_likelihood(
    yi: Floats, vi: Floats, binned: Binned, mu: float, tau2: float, omega: Floats
) -> float:
    """Log likelihood of all estimates at one point; `omega` (bins,), omega[0] = 1."""
    variance = vi + tau2
    base = log_normal(yi, np.asarray(mu), variance).sum()
    share = binned.probabilities(np.full_like(yi, mu), np.sqrt(variance)) @ omega
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(base + np.log(omega[binned.bins]).sum() - np.log(share).sum())
