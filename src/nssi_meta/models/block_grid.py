"""Several rows of one study with bounds among them: their likelihood on a whole grid at once.

The rows share the study effect theta ~ N(mu, tau^2) and part of their sampling error:

    P(mu, tau, omega) = E_theta S(theta, omega),    S = prod_g E_f prod_i p_i(theta + l_i f)

where g are the groups of rows that share people, l_i^2 is the common part of a row's sampling
variance (rho v_i for the same people), and p_i is Phi((u_i - .) / d_i) - Phi((l_i - .) / d_i) for a
bound and a normal density with SD d_i for an exact row, d_i^2 = v_i - l_i^2 + omega^2. S knows
neither mu nor tau. It is written as
a sum of normal densities over theta, which E_theta only widens, so that a grid of (mu, tau, omega)
costs one small table of S and a matrix product instead of an integral at every node
(`bound_blocks`). Errors are absolute: small values are left to `bound_blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
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
#: Standard deviations beyond the limits at which S counts as 0 or 1, and f as out of reach: 3e-12.
REACH = 7.0
#: Step of the trapezoidal rule for f, in units of the integrand's narrowest scale: 4e-14.
STEP = 0.8
#: Below this `BlockGrid` is not accurate to 1e-4 of the value.
LEAST = 1e-8
#: With more densities, or steeper factors in f, a block is dearer here than by `bound_blocks`.
MOST, STEEPEST = 1200, 25.0
#: Numbers of nodes are multiples of this.
_ROUND = 40
#: Values held at once (memory, and what a processor keeps near).
_CHUNK = 1_000_000


@dataclass
class _Block:
    """One block: its rows, and what has been worked out for each octave of omega."""

    rows: BlockRows
    theta: dict[int, Floats] = field(default_factory=dict)
    inverse: dict[int, Floats] = field(default_factory=dict)
    height: dict[float, Floats] = field(default_factory=dict)


class BlockGrid:
    """The likelihood of the blocks of bounds of one layout; tables of S are kept between calls."""

    def __init__(self, data: Layout) -> None:
        self._blocks = [_Block(rows) for rows in block_rows(data)]

    def __call__(self, mu: Floats, tau: Floats, omega: Floats) -> tuple[Floats, Floats]:
        """Likelihood of each block, scaled (B, M, T, O), and the log of all scales (O,).

        A scale is that of the densities of exact rows: what it multiplies is at most 1, or the
        number of patterns of unknown signs, with an absolute error of 1e-11 (a test); NaN for a
        block that is not for this way (variances far apart, or errors that are all but the same).
        Nodes (M,), (T,), (O,).
        """
        out = np.full((len(self._blocks), len(mu), len(tau), len(omega)), np.nan)
        scale = np.zeros(len(omega))
        for value, block in zip(out, self._blocks, strict=True):
            _on_grid(block, mu, tau, omega, value)
            rows = block.rows
            for v in rows.own[rows.exact]:
                scale -= 0.5 * (LOG_2PI + np.log(v + omega**2))
        return out, scale

    def log_terms(self, mu: Floats, tau: Floats, omega: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Sum of the blocks' log likelihoods (M, T, O); True where that is only an upper limit."""
        value, scale = self(mu, tau, omega)
        sound = value >= LEAST
        most = np.array([block.rows.weight.sum() for block in self._blocks])
        limit = np.where(np.isnan(value), most.reshape(-1, 1, 1, 1), LEAST)
        total = np.log(np.where(sound, value, limit)).sum(axis=0) + scale
        return total, ~sound.all(axis=0)


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
        found = (tables or BlockGrid(data))(mu, tau, omega)[0]
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


def _on_grid(block: _Block, mu: Floats, tau: Floats, omega: Floats, out: Floats) -> None:
    """Put the scaled likelihood of one block into `out` (M, T, O), as far as it is for this way."""
    rows = block.rows
    low, _, tail = _limits(rows)
    small = 2 * np.sqrt(rows.v.min())
    # S is wider where omega is large: every octave of omega has nodes of its own.
    octave = np.ceil(np.log2(np.maximum(omega / small, 1.0))).astype(int)
    for o in np.unique(octave).tolist():
        here = octave == o
        least = 0.0 if o == 0 else small * 2.0 ** (o - 1)
        step = SPACING * rows.scale(least)
        if not _prepare(block, o, step, small * 2.0**o):
            continue
        theta, inverse = block.theta[o], block.inverse[o]
        new = np.array([w for w in omega[here].tolist() if w not in block.height])
        if new.size:
            table = _table(theta, rows, new)
            if tail:  # S goes to 1 on one side: what is left beside a distribution function falls
                table -= ndtr(tail * (theta[:, None] - low) / _wide(rows, new))
            block.height.update(zip(new.tolist(), (inverse @ table).T, strict=True))
        height = np.column_stack([block.height[w] for w in omega[here].tolist()])
        width2 = (WIDTH * step) ** 2 + tau**2
        value = np.empty((len(mu), len(tau), int(here.sum())))
        some = max(1, _CHUNK // (len(tau) * len(theta)))
        for i in range(0, len(mu), some):
            away = (mu[i : i + some, None] - theta) ** 2
            kernel = np.exp(away[:, None, :] * (-0.5 / width2)[:, None])
            value[i : i + some] = kernel @ height
        value *= (WIDTH * step / np.sqrt(width2))[:, None]
        if tail:
            sd = np.sqrt(_wide(rows, omega[here]) ** 2 + tau[:, None] ** 2)
            value += ndtr(tail * (mu[:, None, None] - low) / sd)
        out[..., here] = np.clip(value, 0.0, rows.weight.sum())


def _wide(rows: BlockRows, omega: Floats) -> Floats:
    return np.asarray(np.sqrt(rows.v.max() + omega**2))


def _prepare(block: _Block, octave: int, step: float, most: float) -> bool:
    """Nodes and equations of an octave, whose omegas are at most `most`; False if too many."""
    if octave not in block.theta:
        rows = block.rows
        low, high, _ = _limits(rows)
        reach = REACH * float(np.sqrt(rows.v.max() + most**2))
        steep = max(rows.steep(group) for group in rows.groups)
        if not ((high - low + 2 * reach) / step < MOST and steep < STEEPEST):
            return False
        # In round numbers, so that most blocks share an inverse with another.
        n = _ROUND * int(np.ceil(((high - low + 2 * reach) / step + 2) / _ROUND))
        block.theta[octave] = low - reach + step * np.arange(n, dtype=float)
        block.inverse[octave] = _inverse(n)
    return True


@lru_cache(maxsize=MOST // _ROUND + 2)
def _inverse(n: int) -> Floats:
    """Inverse (n, n) of the normal densities at their own nodes: the same whatever the step."""
    gap = (np.arange(n)[:, None] - np.arange(n)) / WIDTH
    return np.asarray(np.linalg.inv(np.exp(-0.5 * gap**2)))


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
    half = int(np.ceil(REACH / step)) if rows.load[group].any() else 0
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
