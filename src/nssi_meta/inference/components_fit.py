"""Maximum of a (restricted) likelihood in its variance components: starts, BFGS, Newton steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nssi_meta.inference import correlated_blocks
from nssi_meta.inference.checked import Floats
from nssi_meta.inference.variance_structures import Components, chain, edge_starts, matrices, start
from nssi_meta.inference.weighted import Design

Objective = Callable[[Floats], tuple[float, Floats]]

# Size of the SDs, share of the first term, correlation.
_STARTS = ((1.0, 1.0, 0.5), (0.3, 1.0, 0.1), (1.0, 0.2, 0.8), (1.0, 5.0, -0.1))


def maximise(
    d: Design,
    parts: list[correlated_blocks.Batch],
    c: Components,
    restricted: bool,
    fixed: tuple[int, float] | None = None,
    near: Floats | None = None,
) -> tuple[Floats, float]:
    """Parameters of `c` with the highest log-likelihood, and that.

    `fixed` holds one parameter (place, value) where it is; `near` is one more start. Gradients are
    exact, and effects are scaled, so that the unit of the outcome does not matter.
    """
    free = np.ones(c.n, dtype=bool)
    base = np.zeros(c.n)
    if fixed is not None:
        free[fixed[0]], base[fixed[0]] = False, fixed[1]
    total = float(np.mean(d.y**2)) * d.k / (d.k - d.p)
    noise = float(d.vi.mean())
    scale = float(np.sqrt(max(total, noise)))
    sd = np.sqrt(max(total - noise, 0.1 * noise) / max(1, c.n_sigma + (c.m > 0)))
    unit = c.units(scale)

    def full(x: Floats) -> Floats:
        theta = base.copy()
        theta[free] = x * unit[free]
        return theta

    def negative(x: Floats) -> tuple[float, Floats]:
        theta = full(x)
        sigma2, G = matrices(c, theta)
        try:
            s = correlated_blocks.solve(d, parts, sigma2, G, restricted)
        except np.linalg.LinAlgError:
            return 1e300, np.zeros(len(x))
        by = correlated_blocks.gradient(d, parts, s, c.n_sigma, c.m, restricted)
        return -s.logLik, -(chain(c, theta, *by) * unit)[free]

    if not free.any():
        return base, -negative(np.zeros(0))[0]
    low = -1.0 / (c.m - 1) if c.m > 1 else -1.0
    firsts = [start(c, a * float(sd), b, max(r, low / 2)) for a, b, r in _STARTS]
    if near is not None:
        firsts = [near, firsts[0]]
    elif c.m > 1:
        firsts += edge_starts(c, float(sd))
    elif c.n == 1:
        firsts = firsts[:2]
    x, height = minimum(negative, [(f / unit)[free] for f in firsts])
    return full(x), -height


def minimum(function: Objective, starts: list[Floats]) -> tuple[Floats, float]:
    """The lowest minimum found from `starts`, to the precision of the gradient."""
    from scipy.optimize import minimize

    best, height = starts[0], np.inf
    for first in starts:
        found = minimize(function, first, jac=True, method="BFGS", options={"gtol": 1e-8})
        if float(found.fun) < height - 1e-9:
            best, height = np.asarray(found.x), float(found.fun)
    value, g = function(best)
    for _ in range(8):
        step = np.linalg.lstsq(hessian(function, best), g, rcond=1e-10)[0]
        further, g_new = function(best - step)
        if further > value + 1e-9 or np.abs(g_new).max() >= np.abs(g).max():
            break
        best, value, g = best - step, further, g_new
    return best, value


def hessian(function: Objective, x: Floats) -> Floats:
    """Second derivatives by central differences of the exact gradient."""
    H = np.empty((len(x), len(x)))
    for i in range(len(x)):
        e = np.zeros(len(x))
        e[i] = 1e-5 * max(1.0, abs(float(x[i])))
        H[:, i] = (function(x + e)[1] - function(x - e)[1]) / (2 * e[i])
    return (H + H.T) / 2
