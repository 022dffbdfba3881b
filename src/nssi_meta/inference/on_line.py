"""One parameter whose density is costly: nodes laid around its maximum, as few as resolve it.

The trapezoidal rule with steps of 0.7 SD is exact to e^-40 for a normal density and to 1e-4 for
those that bounds give, which are skewed but as smooth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Distance of nodes in SDs of the normal density at the maximum; log density that is left out.
STEP, DROP = 0.7, 12.0
MOST = 60
FINE = 4001


@dataclass(frozen=True)
class Line[T]:
    """Nodes (n,), their posterior weights (n,) summing to 1, and what was found at each."""

    nodes: Floats
    weight: Floats
    values: tuple[T, ...]

    def _fine(self) -> tuple[Floats, Floats]:
        """A fine grid and the distribution function there, the log density by a spline."""
        from scipy.interpolate import CubicSpline

        grid = np.linspace(self.nodes[0], self.nodes[-1], FINE)
        density = np.exp(CubicSpline(self.nodes, np.log(self.weight))(grid))
        middle = (density[1:] + density[:-1]) / 2
        cumulative = np.concatenate([[0.0], np.cumsum(middle)])
        return grid, cumulative / cumulative[-1]

    def cdf(self, x: float) -> float:
        return float(np.interp(x, *self._fine()))

    def quantile(self, p: float) -> float:
        grid, cumulative = self._fine()
        return float(np.interp(p, cumulative, grid))


def on_line[T](at: Callable[[float], tuple[float, T]], prior_sd: float, n_jobs: int) -> Line[T]:
    """Lay nodes for a log density with one maximum.

    `at` gives the log density and what else is wanted there; `prior_sd` is a length on which it
    varies at most. Raises FloatingPointError when the density does not fall off.
    """
    from joblib import Parallel, delayed

    known: dict[float, tuple[float, T]] = {}

    def log_density(x: float) -> float:
        if x not in known:
            known[x] = at(x)
        return known[x][0]

    best, width = 0.0, prior_sd
    while width > 0.02 * prior_sd:  # a bracket that moves while its ends are better, else shrinks
        values = [log_density(best + s * width) for s in (-1.0, 0.0, 1.0)]
        if max(values) > values[1] and len(known) < MOST:
            best += width * (1.0 if values[2] > values[0] else -1.0)
            continue
        bend = 2 * values[1] - values[0] - values[2]
        if 0.05 < bend < 4:  # nearly a parabola: its own maximum and SD
            best += width * (values[2] - values[0]) / (2 * bend)
            width /= np.sqrt(bend)
            break
        width *= 0.4
    run = Parallel(n_jobs=n_jobs, prefer="threads")
    found: dict[int, tuple[float, T]] = {}
    ahead = list(range(-5, 6))
    while ahead:
        results = run(delayed(at)(best + STEP * width * i) for i in ahead)
        found |= dict(zip(ahead, results, strict=True))
        top = max(value for value, _ in found.values())
        first, last = min(found), max(found)
        ahead = [first - 2, first - 1] if found[first][0] > top - DROP else []
        ahead += [last + 1, last + 2] if found[last][0] > top - DROP else []
        if len(found) > MOST:
            raise FloatingPointError("the density of a slope does not fall off")
    order = sorted(found)
    logs = np.array([found[i][0] for i in order])
    weight = np.exp(logs - logs.max())
    return Line(
        best + STEP * width * np.array(order), weight / weight.sum(),
        tuple(found[i][1] for i in order),
    )  # fmt: skip


__all__ = ["Line", "on_line"]
