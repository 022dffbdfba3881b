"""Two-by-two counts: the likelihood of one study's log odds ratio, its baseline integrated out.

events_control ~ Binomial(n2, expit(a)), events_treated ~ Binomial(n1, expit(a + theta)) and
a ~ N(mean, sd^2) (Smith, Spiegelhalter & Thomas 1995, Stat Med 14:2685). The integrand is
log-concave in a, so its mode and both ends are found without fail, and L(theta) is log-concave too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import expit, gammaln

Floats = NDArray[np.float64]

#: Nodes on either side of the mode, and how far down (in logs) the integrand is followed.
_NODES, _DEPTH = 48, 42.0
_STEPS, _PIECE = 60, 16.0


class Counts(NamedTuple):
    """Events and people of the treated (a, n1) and the controls (c, n2), each (k,)."""

    a: Floats
    n1: Floats
    c: Floats
    n2: Floats

    def one(self, i: int) -> Counts:
        return Counts(*(x[i : i + 1] for x in self))

    def has_empty_cell(self) -> NDArray[np.bool_]:
        """Which tables have an empty cell: they limit the odds ratio on one side at most."""
        a, n1, c, n2 = self
        return np.asarray((a == 0) | (a == n1) | (c == 0) | (c == n2))

    def log_odds_ratio(self) -> tuple[Floats, Floats]:
        """Estimates and variances, 1/2 added to every cell: where to look, not what to report."""
        cells = self.a + 0.5, self.n1 - self.a + 0.5, self.c + 0.5, self.n2 - self.c + 0.5
        logs = [np.log(x) for x in cells]
        variance = np.sum([1 / x for x in cells], axis=0)
        return logs[0] - logs[1] - logs[2] + logs[3], variance


class Baseline(NamedTuple):
    """What a table says of its baseline at each theta (g,): log density, mode, log of its integral.

    `log_density` takes places and the theta of each; it is not normalised.
    """

    log_density: Callable[[Floats, Floats], Floats]
    mode: Floats
    log_total: Floats


def log_likelihood(data: Counts, theta: Floats, mean: float, sd: float) -> Floats:
    """log L(theta) of one study (counts of shape (1,)) at `theta` (g,), binomial constants in."""
    a, n1, c, n2 = data
    constant = log_choose(n1, a) + log_choose(n2, c) - np.log(sd) - 0.5 * np.log(2 * np.pi)
    return np.asarray(baseline(data, theta, mean, sd).log_total + constant)


def baseline(data: Counts, theta: Floats, mean: float, sd: float) -> Baseline:
    """The baseline of one study (counts of shape (1,)) at `theta` (g,).

    Its integral is Gauss-Legendre on either side of its mode, good to about 1e-12.
    """
    a, n1, c, n2 = data

    def log_f(x: Floats, shift: Floats) -> Floats:
        y = x + shift
        treated = a * y - n1 * np.logaddexp(0, y)
        return treated + c * x - n2 * np.logaddexp(0, x) - 0.5 * ((x - mean) / sd) ** 2

    reach = sd**2 * float((n1 + n2)[0]) + sd
    low, high = np.full(len(theta), mean - reach), np.full(len(theta), mean + reach)
    x = np.clip(np.log((c + 0.5) / (n2 - c + 0.5)) + 0 * theta, low, high)
    for _ in range(_STEPS):
        p, q = expit(x + theta), expit(x)
        slope = a + c - n1 * p - n2 * q - (x - mean) / sd**2
        bend = n1 * p * (1 - p) + n2 * q * (1 - q) + 1 / sd**2
        low, high = np.where(slope > 0, x, low), np.where(slope > 0, high, x)
        new = x + slope / bend
        new = np.where((new > low) & (new < high), new, (low + high) / 2)
        moved, x = np.abs(new - x), new
        if (moved < 1e-10 * (1 + np.abs(x))).all():
            break
    peak = log_f(x, theta)
    node, weight = legendre.leggauss(_NODES)
    unit = (node + 1) / 2
    total = np.zeros(len(theta))
    for side in (-1.0, 1.0):
        near = np.zeros(len(theta))
        far = 1.0 / np.sqrt(bend)
        while (short := log_f(x + side * far, theta) > peak - _DEPTH).any():
            far = np.where(short, 2 * far, far)
        for _ in range(8):
            middle = (near + far) / 2
            inside = log_f(x + side * middle, theta) > peak - _DEPTH
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        # A logistic curve is some units wide: long ways are gone in pieces.
        pieces = max(1, int(np.ceil(far.max() / _PIECE)))
        for piece in range(pieces):
            at = x[:, None] + side * far[:, None] * (piece + unit) / pieces
            value = np.exp(log_f(at, theta[:, None]) - peak[:, None])
            total += far / (2 * pieces) * (value @ weight)
    return Baseline(log_f, x, peak + np.log(total))


def log_choose(n: Floats, k: Floats) -> Floats:
    """Log of the binomial coefficient, elementwise."""
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
