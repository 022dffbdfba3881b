"""Several rows of one study with bounds among them: their likelihood on a whole grid at once.

The rows share the study effect theta ~ N(mu, tau^2) and part of their sampling error:

    P(mu, tau, omega) = E_theta S(theta, omega),    S = prod_g E_f prod_i p_i(theta + l_i f)

where g are the groups of rows that share people, l_i^2 is the common part of a row's sampling
variance (rho v_i for the same people), and p_i is Phi((u_i - .) / d_i) - Phi((l_i - .) / d_i) for a
bound and a normal density with SD d_i for an exact row, d_i^2 = v_i - l_i^2 + omega^2. S knows
neither mu nor tau. It is written as
a sum of normal densities over theta, which E_theta only widens, so that a grid of (mu, tau, omega)
costs one small table of S and a matrix product instead of an integral at every node
(`bound_blocks`). Errors are in units of the largest S: values far below it are left to
`bound_blocks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.special import ndtr

from nssi_meta.models.block_rows import BlockRows, block_rows
from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import LOG_2PI

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Spacing h and width c h of the normal densities, h in units of the scale on which S varies. What
#: has the frequency k is mistaken for 2 pi / h - k by exp(-2 pi^2 c^2 + 2 pi c^2 k h): 5e-13 for
#: the frequencies of which S has any. Wider ones would leave their heights to rounding.
SPACING, WIDTH = 0.4, 1.4
#: Standard deviations beyond the limits at which S counts as 0 or 1 (3e-12), and f as out of reach:
#: rows that contradict each other pull it far out.
REACH, REACH_F = 7.0, 10.0
#: Step of the trapezoidal rule for f, in units of the integrand's narrowest scale: 4e-14.
STEP = 0.8
#: Below this `BlockGrid` is not accurate to 1e-4 of the value.
LEAST = 1e-8
#: With more densities, or steeper factors in f, the tables would be too large.
MOST, STEEPEST = 20_000, 25.0
#: Neighbours at which one of the normal densities counts as 0: 1e-18.
_BAND = 13
#: Chebyshev points an octave of omega, between which heights are interpolated for single points,
#: and the degree of the curve through their scales.
_DEGREE, _CURVE = 40, 6
_CHEBYSHEV = np.cos(np.pi * (np.arange(_DEGREE) + 0.5) / _DEGREE)
_TO_CHEBYSHEV = np.linalg.inv(chebyshev.chebvander(_CHEBYSHEV, _DEGREE - 1))
#: Values held at once (memory, and what a processor keeps near).
_CHUNK = 1_000_000


@dataclass
class _Block:
    """One block: its rows, and what has been worked out for each octave of omega."""

    rows: BlockRows
    theta: dict[int, Floats] = field(default_factory=dict)
    height: dict[float, Floats] = field(default_factory=dict)
    #: log of the largest S, which heights are in units of.
    top: dict[float, float] = field(default_factory=dict)


class BlockGrid:
    """The likelihood of the blocks of bounds of one layout; tables of S are kept between calls."""

    def __init__(self, data: Layout) -> None:
        self._blocks = [_Block(rows) for rows in block_rows(data)]

    def __call__(self, mu: Floats, tau: Floats, omega: Floats) -> tuple[Floats, Floats]:
        """Likelihood of each block, scaled (B, M, T, O), and the log of its scale (B, O).

        A scale is about the largest value that the likelihood takes at any mean: what it multiplies
        is about 1 at most, with an absolute error of 1e-11 (a test); NaN for a block that is not
        for this way (variances too far apart, or errors that are all but the same). Nodes (M,),
        (T,), (O,).
        """
        shape = len(self._blocks), len(mu), len(tau), len(omega)
        out, scale = np.full(shape, np.nan), np.zeros((len(self._blocks), len(omega)))
        for value, log_scale, block in zip(out, scale, self._blocks, strict=True):
            for here, table in _octaves(block, omega):
                value[..., here] = _tensor(table, mu, tau)
            log_scale[:] = _log_scale(block, omega)
        return out, scale

    def at(self, mu: Floats, tau: Floats, omega: Floats) -> Floats:
        """Log likelihood (S, B) of each block at S points; NaN where it is not for this way.

        `mu`, `tau`, `omega` (S,). Tables are made for a few omegas of each octave, and heights in
        between are polynomials: 1e-9 of the largest (a test).
        """
        out = np.full((len(mu), len(self._blocks)), np.nan)
        for value, block in zip(out.T, self._blocks, strict=True):
            octave = _octave(block.rows, omega)
            for o in np.unique(octave).tolist():
                low, high = _ends(block.rows, o)
                nodes = (low + high) / 2 + (high - low) / 2 * _CHEBYSHEV
                for _, table in _octaves(block, nodes):
                    # In units of a smooth curve through the largest S of each omega.
                    top = np.array([block.top[w] for w in nodes.tolist()])
                    curve = chebyshev.chebfit(_CHEBYSHEV, top, _CURVE)
                    unit = np.exp(top - chebyshev.chebval(_CHEBYSHEV, curve))
                    points = np.flatnonzero(octave == o)
                    some = max(1, _CHUNK // len(table.theta))
                    for here in (points[i : i + some] for i in range(0, len(points), some)):
                        w = omega[here]
                        x = (2 * w - low - high) / (high - low)
                        between = chebyshev.chebvander(x, _DEGREE - 1) @ _TO_CHEBYSHEV
                        height = (table.height * unit) @ between.T
                        mine = replace(table, height=height, wide=_wide(block.rows, w))
                        found = _along(mine, mu[here], tau[here])
                        found[found < LEAST] = np.nan
                        found = np.log(found) + chebyshev.chebval(x, curve)
                        value[here] = found + _densities(block.rows, w)
        return out

    def log_terms(self, mu: Floats, tau: Floats, omega: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Sum of the blocks' log likelihoods (M, T, O); True where that is only an upper limit."""
        value, scale = self(mu, tau, omega)
        sound = value >= LEAST
        most = np.array([block.rows.weight.sum() for block in self._blocks])
        limit = np.where(np.isnan(value), most.reshape(-1, 1, 1, 1), LEAST)
        total = np.log(np.where(sound, value, limit)) + scale[:, None, None]
        return total.sum(axis=0), ~sound.all(axis=0)


def null_probability(
    data: Layout, mu: Floats, tau: Floats, omega: Floats, tables: BlockGrid | None = None
) -> Floats:
    """P(every row within its bounds) of the R blocks of `data` (M, T, O, R).

    `data` is a layout of rows that are all two-sided bounds; nodes (M,), (T,), (O,). `tables` of
    its blocks, if there are blocks, serve one call after another.
    """
    out = np.empty((len(mu), len(tau), len(omega), len(data.block_rows)))
    for r, rows in enumerate(data.block_rows):
        if len(rows) == 1:
            i = int(rows[0])
            sd = np.sqrt(data.v[i] + tau[:, None] ** 2 + omega[None, :] ** 2)
            low, high = ((end[i] - mu[:, None, None]) / sd for end in (data.lower, data.upper))
            out[..., r] = ndtr(high) - ndtr(low)
    if data.bound_blocks is not None:
        columns = data.block_of_row[data.bound_blocks.first]
        value, scale = (tables or BlockGrid(data))(mu, tau, omega)
        found = np.minimum(value * np.exp(scale)[:, None, None], 1.0)
        if np.isnan(found).any():
            found = np.where(np.isnan(found), _integrated(data, mu, tau, omega), found)
        for column, value in zip(columns, found, strict=True):
            out[..., column] = value
    return out


def _integrated(data: Layout, mu: Floats, tau: Floats, omega: Floats) -> Floats:
    """Probability of each block of bounds (B, M, T, O), integrated at every node."""
    assert data.bound_blocks is not None
    m, t, o = (a.reshape(-1, 1) for a in np.meshgrid(mu, tau, omega, indexing="ij"))
    size = (len(m), data.k)
    spread = np.broadcast_to(t, size)
    value = bound_blocks(data, data.bound_blocks, np.broadcast_to(m, size), spread, o)
    return np.asarray(np.exp(value.T).reshape(-1, len(mu), len(tau), len(omega)))


@dataclass(frozen=True)
class _Table:
    """S of a block for some omegas: `height` (J, O) of the densities at `theta`, `width` of one.

    `tail` is the side on which S goes to 1, as a distribution function from `low` on, and its SD
    `wide` (O,); 0 where it does not.
    """

    theta: Floats
    height: Floats
    width: float
    low: float
    tail: int
    wide: Floats


def _octaves(block: _Block, omega: Floats) -> Iterator[tuple[NDArray[np.bool_], _Table]]:
    """Tables for the omegas of each octave, and which these are, as far as they are for this way.

    S is wider where omega is large: every octave of omega has nodes of its own.
    """
    rows = block.rows
    low, _, tail = _limits(rows)
    octave = _octave(rows, omega)
    for o in np.unique(octave).tolist():
        here = octave == o
        least, most = _ends(rows, o)
        step = SPACING * rows.scale(least)
        if not _prepare(block, o, step, most):
            continue
        theta = block.theta[o]
        new = np.array([w for w in np.unique(omega[here]).tolist() if w not in block.height])
        some = max(1, _CHUNK // (len(theta) * 64))
        for part in (new[i : i + some] for i in range(0, len(new), some)):
            _fill(block, theta, part, low, tail)
        at = omega[here].tolist()
        if not all(np.isfinite(block.top[w]) for w in at):
            continue  # rows that contradict each other beyond the range of numbers
        height = np.column_stack([block.height[w] for w in at])
        yield here, _Table(theta, height, WIDTH * step, low, tail, _wide(rows, omega[here]))


def _octave(rows: BlockRows, omega: Floats) -> Ints:
    """The octave of each omega, the first up to twice the smallest standard error."""
    small = 2 * np.sqrt(rows.v.min())
    return np.ceil(np.log2(np.maximum(omega / small, 1.0))).astype(np.int64)


def _ends(rows: BlockRows, octave: int) -> tuple[float, float]:
    """The smallest and the largest omega of an octave."""
    high = 2 * float(np.sqrt(rows.v.min())) * 2.0**octave
    return (0.0 if octave == 0 else high / 2), high


def _fill(block: _Block, theta: Floats, omega: Floats, low: float, tail: int) -> None:
    """Work out the heights (J,) of the densities at `theta` for new omegas."""
    rows = block.rows
    table = _table(theta, rows, omega)
    if tail:  # S goes to 1 on one side: what is left beside a distribution function falls
        table -= ndtr(tail * (theta[:, None] - low) / _wide(rows, omega))
        top = np.zeros(len(omega))
    else:
        with np.errstate(divide="ignore"):
            top = np.log(table.max(axis=0))
        table /= np.exp(np.where(np.isfinite(top), top, 0.0))
    band = np.exp(-0.5 * (np.arange(_BAND) / WIDTH) ** 2)
    heights = solveh_banded(np.tile(band[:, None], len(theta)), table, lower=True)
    block.height.update(zip(omega.tolist(), heights.T, strict=True))
    block.top.update(zip(omega.tolist(), top.tolist(), strict=True))


def _log_scale(block: _Block, omega: Floats) -> Floats:
    """Log of the unit (O,) of a block's values: densities of exact rows, and the largest S."""
    out = np.array([block.top.get(w, 0.0) for w in omega.tolist()])
    return np.where(np.isfinite(out), out, 0.0) + _densities(block.rows, omega)


def _densities(rows: BlockRows, omega: Floats) -> Floats:
    """Log (O,) of the densities of a block's exact rows at their own means."""
    own = rows.own[rows.exact][:, None]
    return np.asarray(-0.5 * (LOG_2PI + np.log(own + omega**2)).sum(axis=0))


def _tensor(table: _Table, mu: Floats, tau: Floats) -> Floats:
    """Likelihood (M, T, O) from the table of O omegas."""
    theta, width2 = table.theta, table.width**2 + tau**2
    value = np.empty((len(mu), len(tau), table.height.shape[1]))
    some = max(1, _CHUNK // (len(tau) * len(theta)))
    for i in range(0, len(mu), some):
        away = (mu[i : i + some, None] - theta) ** 2
        kernel = np.exp(away[:, None, :] * (-0.5 / width2)[:, None])
        value[i : i + some] = kernel @ table.height
    value *= (table.width / np.sqrt(width2))[:, None]
    if table.tail:
        sd = np.sqrt(table.wide**2 + tau[:, None] ** 2)
        value += ndtr(table.tail * (mu[:, None, None] - table.low) / sd)
    return np.maximum(value, 0.0)


def _along(table: _Table, mu: Floats, tau: Floats) -> Floats:
    """Likelihood (S,) at S points, of which the table has a column each."""
    width2 = table.width**2 + tau**2
    kernel = np.exp((mu[:, None] - table.theta) ** 2 * (-0.5 / width2[:, None]))
    value = (kernel * table.height.T).sum(axis=1) * table.width / np.sqrt(width2)
    if table.tail:
        value += ndtr(table.tail * (mu - table.low) / np.sqrt(table.wide**2 + tau**2))
    return np.maximum(value, 0.0)


def _wide(rows: BlockRows, omega: Floats) -> Floats:
    return np.asarray(np.sqrt(rows.v.max() + omega**2))


def _prepare(block: _Block, octave: int, step: float, most: float) -> bool:
    """Nodes of an octave, whose omegas are at most `most`; False if too many."""
    if octave not in block.theta:
        rows = block.rows
        low, high, _ = _limits(rows)
        reach = REACH * float(np.sqrt(rows.v.max() + most**2))
        steep = max(rows.steep(group) for group in rows.groups)
        if not ((high - low + 2 * reach) / step < MOST and steep < STEEPEST):
            return False
        n = int(np.ceil((high - low + 2 * reach) / step + 2))
        block.theta[octave] = low - reach + step * np.arange(n, dtype=float)
    return True


def _limits(rows: BlockRows) -> tuple[float, float, int]:
    """Between which theta S is neither 0 nor 1, and on which side it goes to 1 (or neither: 0)."""
    sizes = rows.signs[:, rows.exact] * rows.y[rows.exact]
    lower, upper = rows.lower[~rows.exact], rows.upper[~rows.exact]
    if not sizes.size and np.isposinf(upper).all():
        return float(lower.max()), float(lower.max()), 1
    if not sizes.size and np.isneginf(lower).all():
        return float(upper.min()), float(upper.min()), -1
    # The product falls off as soon as one factor does: the tightest limits count.
    ends = [*sizes.ravel(), lower.max(initial=-np.inf), upper.min(initial=np.inf)]
    finite = [e for e in ends if np.isfinite(e)]
    return float(min(finite)), float(max(finite)), 0


def _table(theta: Floats, rows: BlockRows, omega: Floats) -> Floats:
    """S (J, O) at the nodes theta (J,)."""
    each = [_group_table(theta, rows, group, omega) for group in rows.groups]
    product: Floats = np.ones(1)
    for values in each:
        product = product * values
    return np.asarray(np.tensordot(rows.weight, product, 1))


def _group_table(theta: Floats, rows: BlockRows, group: Ints, omega: Floats) -> Floats:
    """The factor (P, J, O) of one group of rows in S, for each pattern of signs."""
    # In units of f a factor has the width d / load, the density of f has 1.
    step = STEP / rows.steep(group)
    half = int(np.ceil(REACH_F / step)) if rows.load[group].any() else 0
    f = step * np.arange(-half, half + 1)
    weight = np.exp(-0.5 * f**2)
    weight /= weight.sum()
    shape = (len(theta), len(omega), len(f))
    d = np.sqrt(rows.own[:, None] + omega**2)[:, :, None]
    mean = theta[:, None, None] + rows.load[:, None, None, None] * f
    bounds = np.ones(shape)
    for i in group[~rows.exact[group]]:
        upper, lower = rows.upper[i], rows.lower[i]
        # One-sided bounds need one distribution function, and keep their precision in its tail.
        if np.isposinf(upper):
            bounds *= ndtr((mean[i] - lower) / d[i])
        elif np.isneginf(lower):
            bounds *= ndtr((upper - mean[i]) / d[i])
        else:
            bounds *= ndtr((upper - mean[i]) / d[i]) - ndtr((lower - mean[i]) / d[i])
    exact = group[rows.exact[group]]
    if not exact.size:
        one = bounds @ weight
        return np.broadcast_to(one, (len(rows.weight), *one.shape))
    out = np.empty((len(rows.weight), *shape[:2]))
    for p, signs in enumerate(rows.signs):
        square = np.zeros(shape)
        for i in exact:
            square += ((signs[i] * rows.y[i] - mean[i]) / d[i]) ** 2
        out[p] = (bounds * np.exp(-0.5 * square)) @ weight
    return out


__all__ = ["LEAST", "BlockGrid", "null_probability"]
