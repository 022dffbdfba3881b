"""The likelihood of one set of rows, moved: y_i - b x_i for one b and one x after another.

What costs time is the joint probability of a study's bounds. Where all of a study's rows move by
the same length it is a function of mu + b x alone (beside tau and omega), whatever b and x are:
tabulated once, piece by piece as they are asked for, at Chebyshev points, and interpolated. A study
whose rows move by different lengths is integrated anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from nssi_meta.inference.on_grid import OnGrid
from nssi_meta.models.blocks import BoundBlocks, Layout
from nssi_meta.models.bound_blocks import bound_blocks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Piece = tuple[int, int, int]
Pieces = dict[Piece, Floats]

#: Chebyshev points along mu, tau and omega; how wide pieces of mu are beside the SD of an estimate
#: there; edges of the pieces of tau and omega in a block's smallest standard error. Log
#: probabilities of bounds are analytic up to 2.5 SDs off the real line (the zeros of the normal
#: distribution function). A test holds the interpolation to 1e-7, what the integral itself errs by.
_POINTS = 12
_CHEBYSHEV = np.cos(np.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
_TO_CHEBYSHEV = np.linalg.inv(chebyshev.chebvander(_CHEBYSHEV, _POINTS - 1))
_WIDTH = 3.0
_EDGES = np.array([0.0, 0.6, *(1.2 * 1.6 ** np.arange(60))])
#: Logs below the best node at which blocks of bounds are left out: 1e-11 of its probability.
_FAR = 25.0


class Block:
    """Log probability of one block of bounds as a function of its mean, tau and omega."""

    def __init__(
        self, layout: Layout, blocks: BoundBlocks, i: int, known: dict[bytes, Pieces]
    ) -> None:
        one = slice(i, i + 1)
        self.layout = layout
        self.block = BoundBlocks(
            blocks.exact[one], blocks.exact_mask[one], blocks.bounds[one], blocks.bounds_mask[one],
            blocks.rho[one], blocks.signs[one], blocks.log_weight[one],
        )  # fmt: skip
        self.rows = self.block.rows[self.block.mask > 0]
        self.unit = float(np.sqrt(layout.v[self.rows].min()))
        exact = self.block.exact[self.block.exact_mask > 0]
        #: An upper limit: a bound has probability 1 at most, an exact row its density at its own.
        rest = (1.0 - blocks.rho[i]) / 2 * layout.v[exact]
        self.most = float(-0.5 * np.log(2 * np.pi * rest).sum())
        parts = [a[self.rows] for a in (layout.y, layout.v, layout.lower, layout.upper)]
        same = np.concatenate([*parts, blocks.rho[one], blocks.signs[i].ravel()]).tobytes()
        self.pieces = known.setdefault(same, {})

    def at(self, mu: Floats, tau: Floats, omega: Floats, shift: Floats | float = 0.0) -> Floats:
        """Log probability (n,) at n nodes, by the integral; `shift` (k,) is added to mu by row."""
        mean = mu[:, None] + np.broadcast_to(shift, self.layout.k)
        spread = np.broadcast_to(tau[:, None], mean.shape)
        return bound_blocks(self.layout, self.block, mean, spread, omega[:, None])[:, 0]

    def on_tensor(self, mu: Floats, tau: Floats, omega: Floats, live: NDArray[np.bool_]) -> Floats:
        """Log probability on the tensor of mu, tau and omega, at least where `live`."""
        out = np.zeros(live.shape)
        of_tau, of_omega = (_pieces(v / self.unit, _EDGES) for v in (tau, omega))
        for p, i in of_tau:
            for q, j in of_omega:
                rows = np.flatnonzero(live[:, i][:, :, j].any(axis=(1, 2)))
                if not rows.size:
                    continue
                width = self._width(p, q)
                place = np.floor(mu[rows] / width).astype(np.int64)
                every, which = np.unique(place, return_inverse=True)
                coef = np.stack([self._piece((int(m), p, q)) for m in every])
                edge = [(_EDGES[e] * self.unit, _EDGES[e + 1] * self.unit) for e in (p, q)]
                in_mu = np.zeros((rows.size, len(every), _POINTS))
                in_mu[np.arange(rows.size), which] = _basis(mu[rows] - place * width, 0.0, width)
                value = coef @ _basis(omega[j], *edge[1]).T
                value = np.einsum("mabj,ib->maij", value, _basis(tau[i], *edge[0]), optimize=True)
                value = np.tensordot(in_mu, value, axes=2)
                out[np.ix_(rows, i, j)] = value
        return out

    def _width(self, p: int, q: int) -> float:
        """Width of the pieces of mu where tau and omega lie in their p-th and q-th."""
        return float(_WIDTH * self.unit * np.sqrt(1.0 + _EDGES[p] ** 2 + _EDGES[q] ** 2))

    def _piece(self, piece: Piece) -> Floats:
        """Chebyshev coefficients (_POINTS, _POINTS, _POINTS) of a piece."""
        if piece not in self.pieces:
            m, p, q = piece
            width = self._width(p, q)
            ends = [(m * width, (m + 1) * width)]
            ends += [(_EDGES[e] * self.unit, _EDGES[e + 1] * self.unit) for e in (p, q)]
            axes = [(a + b) / 2 + (b - a) / 2 * _CHEBYSHEV for a, b in ends]
            grid = np.meshgrid(*axes, indexing="ij")
            value = self.at(*(g.ravel() for g in grid)).reshape(grid[0].shape)
            for _ in range(3):
                value = np.tensordot(value, _TO_CHEBYSHEV, axes=(0, 1))
            self.pieces[piece] = value
        return self.pieces[piece]


def _pieces(values: Floats, edges: Floats) -> list[tuple[int, Ints]]:
    """The pieces that hold `values`, and which they hold."""
    place = np.searchsorted(edges, values, side="right") - 1
    return [(int(p), np.flatnonzero(place == p)) for p in np.unique(place) if p < len(edges) - 1]


def _basis(x: Floats, low: float, high: float) -> Floats:
    """Chebyshev polynomials (len(x), _POINTS) on low..high."""
    return chebyshev.chebvander((2 * x - low - high) / (high - low), _POINTS - 1).astype(float)


class Blocks:
    """All blocks of bounds of a layout: what is known of them serves every move of its rows.

    `known` holds what other layouts with the same studies have found out, and is added to.
    """

    def __init__(self, layout: Layout, known: dict[bytes, Pieces]) -> None:
        blocks = layout.bound_blocks
        self.each: list[Block] = []
        if blocks is not None:
            self.each = [Block(layout, blocks, i, known) for i in range(len(blocks.bounds))]


class Moved:
    """The likelihood of a layout whose rows are moved by -`shift` (k,), as `fit_exact` asks."""

    def __init__(self, layout: Layout, blocks: Blocks, shift: Floats) -> None:
        moved = replace(
            layout,
            y=layout.y - shift,
            lower=layout.lower - shift,
            upper=layout.upper - shift,
        )
        self.layout, self.blocks, self.shift = moved, blocks, shift
        self.rest = OnGrid(replace(moved, bound_blocks=None))
        self.best = -np.inf

    def density(
        self,
        x: tuple[Floats, ...],
        n: int,
        free: tuple[bool, bool],
        prior: Floats,
        log_step: Floats,
    ) -> Floats:
        """Log joint density on the tensor of the nodes `x` of mu and the free ones of tau, omega.

        As `OnGrid` has it; `n` is not needed.
        """
        sds = list(x[1:])
        tau, omega = (sds.pop(0) if is_free else np.zeros(1) for is_free in free)
        size = (len(x[0]), len(tau), len(omega))
        mu = x[0].reshape(-1, 1, 1)
        # No node is left out before the blocks have spoken: they may lie far from the rest.
        self.rest.best = -np.finfo(float).max
        out = self.rest(mu, tau[:, None], omega[None, :], prior.reshape(size), 0.0)
        step = np.broadcast_to(log_step, prior.shape).reshape(size)
        most = sum(block.most for block in self.blocks.each)
        mass = out + step
        if not np.isfinite(self.best):
            top = np.unravel_index(int(np.argmax(mass)), size)
            here = [v[i : i + 1] for v, i in zip((x[0], tau, omega), top, strict=True)]
            one = np.ones((1, 1, 1), dtype=bool)
            self.best = float(mass[top] + self._blocks(here[0], here[1], here[2], one)[0, 0, 0])
        live = mass + most > self.best - _FAR
        out += np.where(live, self._blocks(x[0], tau, omega, live), most)
        self.best = max(self.best, float((out + step)[live].max(initial=-np.inf)))
        return out.reshape(prior.shape)

    def _blocks(self, mu: Floats, tau: Floats, omega: Floats, live: NDArray[np.bool_]) -> Floats:
        out = np.zeros(live.shape)
        for block in self.blocks.each:
            shifts = self.shift[block.rows]
            if np.ptp(shifts) <= 1e-12 * max(1.0, float(np.abs(shifts).max())):
                out += block.on_tensor(mu + shifts[0], tau, omega, live)
                continue
            at = np.nonzero(live)
            out[at] += block.at(mu[at[0]], tau[at[1]], omega[at[2]], self.shift)
        return out


__all__ = ["Blocks", "Moved", "Pieces"]
