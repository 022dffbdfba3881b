"""Shrunken effects: what each row's true effect is believed to be, given all rows of its pool.

theta_i = mu + u_j + w_i. Given mu, tau, omega and the estimates of its block, theta_i is normal;
where mu has a closed form the mixture over the posterior's nodes is exact. Where mu is an axis (in
pools with bounds or a Student-t prior of mu), rows that stand alone are integrated too (`alone`).
Where several rows of a study have a bound among them, and in pools of very many rows, estimates are
drawn from their truncated normal distributions (Gibbs sweeps within a study, fixed seed): a Monte
Carlo error of about 3% of an SD, more far out.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from nssi_meta.inference.alone import Nodes, Row
from nssi_meta.inference.densities import Density, NormalMixture, PanelDensity, interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.mixtures import mixture_quantiles, mixture_shortest
from nssi_meta.models.blocks import RHO, Layout, Vcalc, error_correlation, shared_tau

Floats = NDArray[np.float64]

Ints = NDArray[np.int64]

N_DRAWS = 1500
_SWEEPS = 25
#: With more rows that stand alone beside bounds their effects are drawn, not integrated.
_INTEGRATED = 60
#: Kernels held at once where rows stand alone: about a processor's cache.
_CACHE = 100_000


@dataclass(frozen=True)
class Kernels:
    """Normal kernels (D, R) of theta at `rows` (R,): one a node or draw, weights (D,) in common."""

    rows: Ints
    means: Floats
    sds: Floats
    weights: Floats


def shrunken(
    frame: pd.DataFrame,
    data: Layout,
    posterior: ExactPosterior,
    vcalc: Vcalc,
    rho: float = RHO,
    seed: int = 0,
) -> list[Density]:
    """Posterior of theta_i for every row of `frame` (the frame that `data` was laid out from)."""
    out: list[Density | None] = [None] * data.k
    known = integrated(frame, data, posterior)
    for row, density in known.items():
        out[row] = density
    for part in _kernels(frame, data, posterior, vcalc, rho, seed, known):
        for column, row in enumerate(part.rows):
            mean, sd = part.means[:, column], part.sds[:, column]
            out[row] = NormalMixture.build(mean, sd, part.weights)
    return [m for m in out if m is not None]


def shrunken_quantiles(
    frame: pd.DataFrame,
    data: Layout,
    posterior: ExactPosterior,
    vcalc: Vcalc,
    p: Sequence[float],
    rho: float = RHO,
    seed: int = 0,
    known: Mapping[int, Density] | None = None,
) -> Floats:
    """Quantiles (k, len(p)) of what `shrunken` returns, many rows at a time.

    `known` is what `integrated` gave, where it has been asked already.
    """
    out = np.empty((data.k, len(p)))
    known = integrated(frame, data, posterior) if known is None else known
    for row, density in known.items():
        out[row] = [density.quantile(level) for level in p]
    for part in _kernels(frame, data, posterior, vcalc, rho, seed, known):
        for j, level in enumerate(p):
            found = mixture_quantiles(part.means.T, part.sds.T, part.weights, level)
            out[part.rows, j] = found
    return out


def shrunken_shortest(
    frame: pd.DataFrame,
    data: Layout,
    posterior: ExactPosterior,
    vcalc: Vcalc,
    level: float,
    rho: float = RHO,
    seed: int = 0,
    known: Mapping[int, Density] | None = None,
) -> Floats:
    """Shortest intervals (k, 2) of what `shrunken` returns, many rows at a time."""
    out = np.empty((data.k, 2))
    known = integrated(frame, data, posterior) if known is None else known
    for row, density in known.items():
        out[row] = interval(density, level, "shortest")
    for part in _kernels(frame, data, posterior, vcalc, rho, seed, known):
        out[part.rows] = mixture_shortest(part.means.T, part.sds.T, part.weights, level)
    return out


def integrated(frame: pd.DataFrame, data: Layout, posterior: ExactPosterior) -> dict[int, Density]:
    """Posteriors, by row, of the effects of rows that stand alone, where mu is a quadrature axis.

    None where mu was integrated in closed form or sampled, and none of very many. Without
    heterogeneity every row's effect is mu.
    """
    if not isinstance(posterior.mu, PanelDensity):
        return {}
    if not (posterior.tau.any() or posterior.omega.any()):
        return dict.fromkeys(range(data.k), posterior.mu)
    alone = [int(rows[0]) for rows in data.block_rows if len(rows) == 1]
    if len(alone) > _INTEGRATED or (nodes := Nodes.of(posterior)) is None:
        return {}
    columns = (frame[name].to_numpy() for name in ("kind", "yi", "lower", "upper", "vi"))
    values = list(zip(*columns, strict=True))
    out: dict[int, Density] = {}
    for i in alone:
        # What one row says may be beyond quadrature where the pool is not: then it is drawn, and
        # `computed_by` tells.
        with suppress(FloatingPointError):
            out[i] = nodes.density(Row(*values[i]))
    return out


def computed_by(data: Layout, posterior: ExactPosterior, known: Container[int]) -> list[str]:
    """How each row's effect is computed, where `known` are the rows that `integrated` gave.

    quadrature; nodes: summed over the nodes of mu, which is rough where heterogeneity is small
    beside their distance; draws: Monte Carlo, an error of about 3% of an SD.
    """
    other = "draws"
    if data.gaussian:
        other = "nodes" if isinstance(posterior.mu, PanelDensity) else "quadrature"
    return ["quadrature" if i in known else other for i in range(data.k)]


def _kernels(
    frame: pd.DataFrame,
    data: Layout,
    posterior: ExactPosterior,
    vcalc: Vcalc,
    rho: float,
    seed: int,
    done: Container[int] = (),
) -> Iterator[Kernels]:
    """Kernels of all rows but `done`: those alone many at a time, blocks one by one.

    Draws are taken in the order of the blocks, however many are worked on at a time.
    """
    frame = frame.reset_index(drop=True)
    exact = (frame["kind"] == "exact").to_numpy()
    # A stream of its own: the same seed would repeat the permutation of the posterior draws.
    rng = np.random.default_rng([seed, 1])
    if data.gaussian:
        keep = posterior.weight > 1e-10 * posterior.weight.max()
        mu, mu_sd = posterior.mu_mean[keep], posterior.mu_sd[keep]
        tau, omega, weight = posterior.tau[keep], posterior.omega[keep], posterior.weight[keep]
    else:
        # A node is as good as a draw from its cell: row kernels are far wider.
        node = posterior.drawn_nodes(N_DRAWS, np.random.default_rng(seed))
        mu, tau, omega = posterior.mu_mean[node], posterior.tau[node], posterior.omega[node]
        mu_sd, weight = np.zeros(N_DRAWS), np.ones(N_DRAWS)
    weight = weight / weight.sum()
    at_once = max(1, _CACHE // len(mu))

    def alone(rows: list[int], u: list[Floats]) -> Kernels:
        some = np.array(rows, dtype=np.int64)
        v = frame["vi"].to_numpy(dtype=float)[some]
        between = (tau**2 + omega**2)[:, None]
        total = between + v
        if u:
            y = drawn_estimates(frame.iloc[some], mu[:, None], total, np.stack(u, axis=1))
        else:
            y = frame["yi"].to_numpy(dtype=float)[some][None, :]
        # Not as 1 - between / total, which has no digits where tau is large.
        rest = v / total
        mean = y + rest * (mu[:, None] - y)
        var = between * rest + (rest * mu_sd[:, None]) ** 2
        return Kernels(some, mean, np.sqrt(np.maximum(var, 1e-12 * v)), weight)

    known: list[int] = []
    free: list[int] = []
    uniform: list[Floats] = []
    for rows in data.block_rows:
        if int(rows[0]) in done:
            continue
        if len(rows) == 1 and exact[rows[0]]:
            known.append(int(rows[0]))
            if len(known) == at_once:
                yield alone(known, [])
                known = []
        elif len(rows) == 1:
            free.append(int(rows[0]))
            uniform.append(stratified(len(mu), rng))
            if len(free) == at_once:
                yield alone(free, uniform)
                free, uniform = [], []
        else:
            part = frame.iloc[rows]
            same = shared_tau(part)
            V = sampling_covariance(part, vcalc, rho)
            between = tau[:, None, None] ** 2 * same + omega[:, None, None] ** 2 * np.eye(len(rows))
            sigma = between + V
            gain = np.linalg.solve(sigma, between).transpose(0, 2, 1)  # T Sigma^-1
            rest = between - gain @ between
            y = estimates(part, mu, sigma, rng)
            mean = mu[:, None] + np.einsum("dij,dj->di", gain, y - mu[:, None])
            slope = 1.0 - gain.sum(axis=2)
            var = np.einsum("dii->di", rest) + (slope * mu_sd[:, None]) ** 2
            # A known study effect (tau = 0) leaves no spread; keep the mixture's kernels proper.
            yield Kernels(rows, mean, np.sqrt(np.maximum(var, 1e-12 * np.diag(V))), weight)
    if known:
        yield alone(known, [])
    if free:
        yield alone(free, uniform)


def stratified(n: int, rng: np.random.Generator) -> Floats:
    """One uniform draw from each n-th of (0, 1), in any order."""
    return rng.permutation((np.arange(n) + rng.random(n)) / n)


def drawn_estimates(part: pd.DataFrame, centre: Floats, total: Floats, u: Floats) -> Floats:
    """Estimates (D, R) of rows that stand alone, of which a bound or a size is known."""
    reported = part["yi"].to_numpy(dtype=float)
    lower, upper = part["lower"].to_numpy(dtype=float), part["upper"].to_numpy(dtype=float)
    sd = np.sqrt(total)
    unsigned = (part["kind"] == "unsigned").to_numpy()
    y = np.empty_like(u)
    if unsigned.any():
        y[:, unsigned] = _signed(reported[unsigned], centre, total[:, unsigned], u[:, unsigned])
    bound = ~unsigned
    if bound.any():
        low, high = ((e[bound] - centre) / sd[:, bound] for e in (lower, upper))
        y[:, bound] = centre + sd[:, bound] * _truncated(low, high, u[:, bound])
    return y


def _signed(size: Floats, centre: Floats, var: Floats, u: Floats) -> Floats:
    """A size with its sign drawn: P(+) from the two normal densities."""
    log_odds = 2 * size * centre / var
    return np.where(u < 1 / (1 + np.exp(-np.clip(log_odds, -700, 700))), 1, -1) * size


def sampling_covariance(part: pd.DataFrame, vcalc: Vcalc, rho: float) -> Floats:
    """Sampling covariance (n, n) of the rows of one block, as the likelihood takes it."""
    if len(part) == 1:
        return part["vi"].to_numpy(dtype=float)[:, None]
    if (part["kind"] != "interval").all():
        return vcalc(part)
    s = np.sqrt(part["vi"].to_numpy(dtype=float))
    return error_correlation(part, rho) * np.outer(s, s)


def estimates(part: pd.DataFrame, mu: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """The rows' estimates (D, n): as reported, or drawn where only a bound or a size is known."""
    kind = part["kind"].to_numpy()
    reported = part["yi"].to_numpy(dtype=float)
    lower, upper = part["lower"].to_numpy(dtype=float), part["upper"].to_numpy(dtype=float)
    start = np.where(kind == "interval", _inside(lower, upper), reported)
    y = np.tile(start, (len(mu), 1))
    free = np.flatnonzero(kind != "exact")
    if not free.size:
        return y
    precision = np.linalg.inv(sigma)
    for _ in range(_SWEEPS):
        for i in free:
            var = 1.0 / precision[:, i, i]
            others = np.einsum("dj,dj->d", precision[:, i], y - mu[:, None])
            others = others - precision[:, i, i] * (y[:, i] - mu)
            centre, sd = mu - var * others, np.sqrt(var)
            u = stratified(len(mu), rng)
            if kind[i] == "unsigned":
                y[:, i] = _signed(reported[i], centre, var, u)
            else:
                y[:, i] = centre + sd * _truncated(
                    (lower[i] - centre) / sd, (upper[i] - centre) / sd, u
                )
    return y


def _inside(lower: Floats, upper: Floats) -> Floats:
    """A point inside each interval to start from."""
    low = np.where(np.isfinite(lower), lower, upper - 0.1)
    high = np.where(np.isfinite(upper), upper, lower + 0.1)
    return (low + high) / 2


def _truncated(a: Floats, b: Floats, u: Floats) -> Floats:
    """Standard normal on (a, b) by inversion at u, from the side where digits are kept."""
    flip = a > 0
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    p = np.where(flip, 1 - u, u)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    # log(Phi(low) + p (Phi(high) - Phi(low))), stable in the far tail.
    log_p = log_high + np.log(p + (1 - p) * np.exp(np.minimum(log_low - log_high, 0.0)))
    z = ndtri_exp(np.minimum(log_p, -1e-300))
    z = np.clip(z, low, high)
    return np.where(flip, -z, z)
