"""The likelihood of a pool at every node of a grid of mu, tau and omega, bounds included.

Exact rows are a parabola in mu for each (tau, omega), so that they cost one pass over those nodes.
Several bounds of one study come from tables (`models.block_grid`). Single bounds are probabilities,
at most 1: a node that all else already puts far below the best one found so far is left without
them, and likewise without the integrals that stand in where the tables are too coarse.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from nssi_meta.inference.gaussian import gauss_terms, log_product, order_of
from nssi_meta.models.block_grid import BlockGrid
from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import LOG_2PI, closed_terms, log_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NONE: Ints = np.zeros(0, dtype=np.int64)
#: Values held at once: about a processor's cache, and more where blocks are integrated.
_CACHE, _CHUNK = 100_000, 2_000_000
#: Logs below the best node at which bounds are left out: single ones, and blocks, which are dear.
_FAR, _FAR_BLOCKS = 45.0, 34.0
#: Chebyshev points an axis, how many times their square the nodes must be and how many bounds there
#: must be to gain by them, and how large the last coefficients may be: a log density is asked for
#: to 1e-6.
_DEGREE, _MANY, _ROWS, _SMOOTH = 20, 2, 64, 1e-10
_CHEBYSHEV = np.cos(np.pi * (np.arange(_DEGREE) + 0.5) / _DEGREE)
_TO_CHEBYSHEV = np.linalg.inv(chebyshev.chebvander(_CHEBYSHEV, _DEGREE - 1))
#: Below this the normal distribution function leaves the range of numbers.
_DEEP = -37.0


class OnGrid:
    """Log joint density of one layout on tensors of nodes; asked for one tensor after another."""

    def __init__(self, layout: Layout) -> None:
        blocks = layout.exact_blocks
        signed = blocks is not None and blocks.signs.shape[1] > 1
        alone = replace(
            layout,
            single_unsigned=_NONE,
            single_beyond=_NONE,
            single_within=_NONE,
            exact_blocks=None if signed else blocks,
            bound_blocks=None,
        )
        self.layout, self.exact, self.order = layout, alone, order_of(alone)
        self.n_exact = len(self.order.y) + sum(y.size for y, _, _ in self.order.correlated)
        #: Sizes without a sign: sums of two densities, no parabola.
        self.unsigned = replace(
            layout,
            single_exact=_NONE,
            single_beyond=_NONE,
            single_within=_NONE,
            exact_blocks=blocks if signed else None,
            bound_blocks=None,
        )
        self.has_unsigned = signed or layout.single_unsigned.size > 0
        i = layout.single_beyond
        above = np.isposinf(layout.upper[i])
        self.sign = np.where(above, 1.0, -1.0)
        self.bound = np.where(above, layout.lower[i], layout.upper[i])
        j = layout.single_within
        self.centre = (layout.lower[j] + layout.upper[j]) / 2
        self.half = (layout.upper[j] - layout.lower[j]) / 2
        self._tables = BlockGrid(layout) if layout.bound_blocks is not None else None
        #: Log of the most probable node so far, its step included.
        self.best = -np.inf

    def __call__(
        self, mu: Floats, tau: Floats, omega: Floats, prior: Floats, log_step: Floats | float
    ) -> Floats:
        """Log density at the nodes: `mu` along the first axis, `tau` and `omega` along others.

        `prior` broadcasts to the tensor. What counts at a node is its probability: its density
        times the step, which goes with tau where the axis is log tau (`log_step`).
        """
        shape = np.broadcast_shapes(mu.shape, tau.shape, omega.shape)
        at = mu.ravel()
        t, w = (np.array(a).ravel() for a in np.broadcast_arrays(tau, omega))
        out = np.array(np.broadcast_to(prior, shape), dtype=float).reshape(at.size, t.size)
        step = np.broadcast_to(log_step, shape).reshape(out.shape)
        limit = self._add_all_but_single(out, at, t, w, tau.ravel(), omega.ravel())
        weak = _NONE if limit is None else np.flatnonzero(np.isfinite(limit))
        if not np.isfinite(self.best) and np.isfinite(top := (out + step).max()):
            first = out.copy()
            one = np.flatnonzero((out + step).ravel() == top)[:1]
            self._add_bounds(first, one, at, t, w)
            self._mend(first, limit, np.intersect1d(one, weak), at, t, w)
            self.best = float((first + step).ravel()[one[0]])
        self._add_bounds(out, self._live(out + step, _FAR), at, t, w)
        live = weak[(out + step).ravel()[weak] > self.best - _FAR_BLOCKS]
        self._mend(out, limit, live, at, t, w)
        self.best = max(self.best, float((out + step).max()))
        return out.reshape(shape)

    def _blocks(self, mu: Floats, tau: Floats, omega: Floats) -> Floats:
        """Log likelihood (n,) of the blocks of bounds at n nodes, integrated at each."""
        block = self.layout.bound_blocks
        assert block is not None
        out = np.empty(len(mu))
        step = max(1, _CHUNK // (32 * block.bounds.size))
        for i in range(0, len(mu), step):
            size = (len(mu[i : i + step]), self.layout.k)
            mean, spread = (np.broadcast_to(a[i : i + step, None], size) for a in (mu, tau))
            value = bound_blocks(self.layout, block, mean, spread, omega[i : i + step, None])
            out[i : i + step] = value.sum(axis=-1)
        return out

    def _add_all_but_single(
        self, out: Floats, at: Floats, t: Floats, w: Floats, tau: Floats, omega: Floats
    ) -> Floats | None:
        """Add all but single bounds; the limits (M, H) that stand in for integrals, NaN elsewhere.

        `t`, `w` (H,) are the pairs of the axes `tau` and `omega`.
        """
        try:
            self._add_exact(out, at, t, w)
            if self.has_unsigned:
                self._add_unsigned(out, at, t, w)
        except np.linalg.LinAlgError as error:
            raise FloatingPointError(
                "the posterior could not be resolved by quadrature: the sampling variances of a "
                "study are too small beside its heterogeneity"
            ) from error
        if self._tables is None:
            return None
        value, is_limit = self._tables.log_terms(at, tau, omega)
        out += value.reshape(out.shape)
        return np.where(is_limit, value, np.nan).reshape(out.shape) if is_limit.any() else None

    def _live(self, mass: Floats, far: float) -> Ints:
        """Nodes worth the bounds, those of one (tau, omega) together."""
        found = np.flatnonzero(self.best - far < mass.T)
        hyper, place = np.divmod(found, mass.shape[0])
        return np.asarray(place * mass.shape[1] + hyper, dtype=np.int64)

    def _add_exact(self, out: Floats, at: Floats, t: Floats, w: Floats) -> None:
        if not self.n_exact:
            return
        step = max(1, _CACHE // self.n_exact)
        for i in range(0, t.size, step):
            part = slice(i, i + step)
            terms = gauss_terms(self.exact, t[part], w[part], self.order)
            least = terms.quad(terms.mean) + terms.log_det + self.n_exact * LOG_2PI
            parabola = terms.precision * (at[:, None] - terms.mean) ** 2
            out[:, part] -= 0.5 * (parabola + least)

    def _add_unsigned(self, out: Floats, at: Floats, t: Floats, w: Floats) -> None:
        step = max(1, _CHUNK // self.layout.k)
        flat = out.reshape(-1)
        for i in range(0, flat.size, step):
            mean, spread, within = self._rows(np.arange(i, min(i + step, flat.size)), at, t, w)
            for _, value in closed_terms(self.unsigned, mean, spread**2, within**2):
                flat[i : i + step] += value.sum(axis=-1)

    def _rows(self, nodes: Ints, at: Floats, t: Floats, w: Floats) -> tuple[Floats, Floats, Floats]:
        """mean and tau (n, k), omega (n, 1) at flat `nodes`."""
        place, hyper = np.divmod(nodes, t.size)
        size = (len(nodes), self.layout.k)
        mean, spread = (np.broadcast_to(a[:, None], size) for a in (at[place], t[hyper]))
        return mean, spread, w[hyper][:, None]

    def _mend(
        self, out: Floats, limit: Floats | None, nodes: Ints, at: Floats, t: Floats, w: Floats
    ) -> None:
        """Put integrals in the place of the limits in `out` at flat `nodes`."""
        if limit is not None and nodes.size:
            place, hyper = np.divmod(nodes, t.size)
            value = self._blocks(at[place], t[hyper], w[hyper])
            out.reshape(-1)[nodes] += value - limit.ravel()[nodes]

    def _add_bounds(self, out: Floats, nodes: Ints, at: Floats, t: Floats, w: Floats) -> None:
        """Single bounds at flat `nodes`, those of one (tau, omega) beside each other.

        Where many nodes lie close together, their log probability is a polynomial of low degree
        in mu and tau: taken at Chebyshev points and interpolated if its coefficients die away,
        and in halves if they do not.
        """
        n_rows = self.layout.single_beyond.size + self.layout.single_within.size
        if not n_rows:
            return
        if n_rows < _ROWS or nodes.size <= _MANY * _DEGREE**2 or np.ptp(w) > 0:
            self._sum_bounds(out, nodes, at, t, w)
            return
        place, hyper = np.divmod(nodes, t.size)
        box = [(float(a.min()), float(a.max())) for a in (at[place], t[hyper])]
        mu, tau = ((low + high) / 2 + (high - low) / 2 * _CHEBYSHEV for low, high in box)
        values = np.zeros((_DEGREE, _DEGREE))
        everywhere = np.arange(_DEGREE**2).reshape(_DEGREE, _DEGREE).T.ravel()
        self._sum_bounds(values, everywhere, mu, tau, np.full(_DEGREE, w[0]))
        coef = _TO_CHEBYSHEV @ values @ _TO_CHEBYSHEV.T
        rough = np.abs(coef[-2:]).sum(), np.abs(coef[:, -2:]).sum()
        if sum(rough) < max(_SMOOTH, 1e-14 * np.abs(values).max()):
            rows, which = np.unique(place, return_inverse=True)
            columns, where = np.unique(hyper, return_inverse=True)
            in_mu, in_tau = (
                chebyshev.chebvander((2 * a - low - high) / (high - low), _DEGREE - 1)
                for a, (low, high) in zip((at[rows], t[columns]), box, strict=True)
            )
            found = in_mu @ coef @ in_tau.T
            out.reshape(-1)[nodes] += found[which, where]
            return
        along = at[place] if rough[0] > rough[1] else t[hyper]
        near = along < np.median(along)
        if not near.any():
            self._sum_bounds(out, nodes, at, t, w)
            return
        for half in (near, ~near):
            self._add_bounds(out, nodes[half], at, t, w)

    def _sum_bounds(self, out: Floats, nodes: Ints, at: Floats, t: Floats, w: Floats) -> None:
        one, two = self.layout.single_beyond, self.layout.single_within
        flat = out.reshape(-1)
        step = max(8, _CACHE // max(one.size, two.size, 1))
        for i in range(0, nodes.size, step):
            some = nodes[i : i + step]
            place, hyper = np.divmod(some, t.size)
            mu = at[place][:, None]
            kinds, which = np.unique(hyper, return_inverse=True)
            extra = (t[kinds] ** 2 + w[kinds] ** 2)[:, None]
            if one.size:
                scale = self.sign / np.sqrt(self.layout.v[one] + extra)
                z = (mu - self.bound) * scale[which]
                flat[some] += _sum_beyond(z)
            if two.size:
                scale = 1.0 / np.sqrt(self.layout.v[two] + extra)
                flat[some] += _sum_within(np.abs(mu - self.centre), self.half, scale[which])


def _sum_beyond(z: Floats) -> Floats:
    """Sum over the last axis of log Phi(z)."""
    if z.min() < _DEEP:
        return np.asarray(log_ndtr(z).sum(axis=-1))
    return log_product(ndtr(z))


def _sum_within(distance: Floats, half: Floats, scale: Floats) -> Floats:
    """Sum over the last axis of log Pr(within `half` of a centre that is `distance` away).

    Measured in the lower tail, where the distribution function keeps its relative precision.
    """
    high, low = (half - distance) * scale, -(half + distance) * scale
    if high.min() < _DEEP:
        return np.asarray(log_interval(low, high).sum(axis=-1))
    inside = ndtr(high) - ndtr(low)
    if (inside <= 0).any():  # an interval narrower than the numbers are apart
        return np.asarray(log_interval(low, high).sum(axis=-1))
    return log_product(inside)
