"""What a claim says about means, as an event whose probability any posterior or prior can give.

With a threshold t a mean lies in one of three regions: above t (+1), below -t (-1), between (0).
An event is a set of regions, one for each mean it speaks of: "high in both" is {(+1, +1)}.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
Event = frozenset[tuple[int, ...]]

BOTH_WAYS = (1, -1)


class HasCdf(Protocol):
    """A distribution of one mean."""

    def cdf(self, x: Any) -> Any: ...


class Normal:
    """N(mean, sd^2): the prior of a pool's mean, or of a difference of two."""

    def __init__(self, mean: float, sd: float) -> None:
        self.mean, self.sd = mean, sd

    def cdf(self, x: Any) -> Any:
        return ndtr((x - self.mean) / self.sd)


def event(kind: str, expected: str) -> Event:
    """The event of a claim about one mean, a contrast, or two means.

    `expected` + or - is the direction of the first mean; ? (the claim names none) is either way:
    for `shared` both means beyond the threshold, whatever their signs.
    """
    signs = {"+": (1,), "-": (-1,), "?": BOTH_WAYS}[expected]
    if kind in ("direction", "contested", "moderator"):
        return frozenset((s,) for s in signs)
    if kind == "shared":
        pairs = [(s, s) for s in signs] if expected != "?" else list(product(signs, signs))
    elif kind == "opposite":
        pairs = [(s, -s) for s in signs]
    elif kind == "specific":
        pairs = [(s, 0) for s in signs]
    else:
        raise ValueError(f"a claim of kind {kind!r} is not about one or two means")
    return frozenset(pairs)


def share_of_draws(hits: NDArray[np.bool_]) -> float:
    """Probability from draws, half a draw away from 0 and 1: draws cannot show certainty."""
    return float((hits.sum() + 0.5) / (hits.size + 1))


def draws_in(what: Event, threshold: float, *means: Floats) -> NDArray[np.bool_]:
    """Whether each draw (S,) of the means lies in the event."""
    regions = [
        np.where(x > threshold, 1, np.where(x < -threshold, -1, 0)).astype(np.int64) for x in means
    ]
    hits = np.zeros(means[0].shape, dtype=bool)
    for wanted in what:
        hits |= np.logical_and.reduce([r == w for r, w in zip(regions, wanted, strict=True)])
    return hits


def probability(what: Event, threshold: float, means: Sequence[HasCdf]) -> float:
    """Probability of the event when the means are independent with these distributions."""
    regions = []
    for mean in means:
        below, above = float(mean.cdf(-threshold)), 1 - float(mean.cdf(threshold))
        regions.append({1: above, -1: below, 0: max(0.0, 1 - above - below)})
    total = sum(np.prod([r[w] for r, w in zip(regions, wanted, strict=True)]) for wanted in what)
    return float(min(max(total, 0.0), 1.0))


def in_words(kind: str, expected: str, threshold: float) -> str:
    """The event as a reader would say it."""
    beyond = f"{threshold:g}" if threshold else "0"
    side = {
        "+": f"above {beyond}",
        "-": f"below {'-' if threshold else ''}{beyond}",
        "?": f"beyond {beyond}, either way",
    }[expected]
    return {
        "direction": f"mean {side}",
        "contested": f"mean {side}",
        "moderator": f"difference {side}",
        "shared": f"both means {side}",
        "opposite": f"first mean {side}, second beyond {beyond} the other way",
        "specific": f"first mean {side}, second within {beyond}",
    }[kind]
