"""The likelihood of one layout, remembered: many priors on the same rows ask for the same nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import closed_terms, log_interval
from nssi_meta.models.ops import numpy_ops

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Nodes = tuple[Floats, Floats, Floats]

_OPS = numpy_ops()
#: Values held at once while the likelihood is evaluated on the grid (memory, not accuracy).
_CHUNK = 2_000_000
#: Nodes this far (in the log) below the best one found are left without their blocks of bounds.
_NEGLIGIBLE = 34.0


def finish(
    layout: Layout, at: Nodes, base: Floats, log_step: Floats, most: Floats, blocks: Floats
) -> Floats:
    """`base` (n,) plus the blocks of bounds, where they matter.

    They are integrals and dear. `most` is an upper limit of their log density, so that nodes where
    even that is e^-34 below the best node found are left with it. What counts there is a node's
    probability: its density times the step, which goes with tau where the axis is log tau
    (`log_step`). `blocks` (n,) holds what is known, NaN elsewhere; what is computed is added to it.
    """
    if layout.bound_blocks is None:
        return base
    live = np.arange(len(base))
    top = base + most
    if layout.bound_blocks.exact.size == 0:
        mass = top + log_step
        best = np.array([int(np.argmax(mass))])
        _fill(layout, at, blocks, best)
        live = np.flatnonzero(mass > mass[best] + blocks[best] - most[best] - _NEGLIGIBLE)
    _fill(layout, at, blocks, live)
    top[live] = base[live] + blocks[live]
    return top


def _fill(layout: Layout, at: Nodes, blocks: Floats, nodes: Ints) -> None:
    block = layout.bound_blocks
    if block is None:
        return
    todo = nodes[np.isnan(blocks[nodes])]
    for some in _parts(todo, _CHUNK // (32 * block.bounds.size)):
        blocks[some] = bound_blocks(layout, block, *_rows(layout, at, some)).sum(axis=-1)


def closed(layout: Layout, at: Nodes) -> Floats:
    """Log likelihood (n,) of all that needs no integral."""
    out = np.zeros(len(at[0]))
    for part in _parts(np.arange(len(out)), _CHUNK // layout.k):
        mean, spread, w = _rows(layout, at, part)
        try:
            terms = list(closed_terms(layout, mean, spread**2, w**2, _OPS))
        except np.linalg.LinAlgError as error:
            raise FloatingPointError(
                "the posterior could not be resolved by quadrature: the sampling variances of a "
                "study are too small beside its heterogeneity"
            ) from error
        for _, value in terms:
            out[part] += value.sum(axis=-1)
    return out


def ceiling(layout: Layout, at: Nodes) -> Floats:
    """An upper limit (n,) of the log probability of all blocks of bounds: the least probable bound
    of each. Infinite where some block has exact rows, whose density has no such limit.
    """
    block = layout.bound_blocks
    out = np.zeros(len(at[0]))
    if block is None:
        return out
    if block.exact.size:
        return np.full(len(out), np.inf)
    rows = block.bounds
    for part in _parts(np.arange(len(out)), _CHUNK // (4 * rows.size)):
        mean, tau, omega = _rows(layout, at, part)
        sd = np.sqrt(layout.v[rows] + tau[:, rows] ** 2 + omega[..., None] ** 2)
        low, high = ((end[rows] - mean[:, rows]) / sd for end in (layout.lower, layout.upper))
        one = np.where(block.bounds_mask > 0, log_interval(low, high, _OPS), 0.0)
        out[part] = one.min(axis=-1).sum(axis=-1)
    return out


def _rows(layout: Layout, at: Nodes, nodes: Ints) -> Nodes:
    """Mean and tau of every row (n, k) and omega (n, 1) at some nodes."""
    size = (len(nodes), layout.k)
    mean, spread = (np.broadcast_to(a[nodes][:, None], size) for a in at[:2])
    return mean, spread, at[2][nodes][:, None]


def _parts(index: Ints, step: int) -> list[Ints]:
    step = max(1, step)
    return [index[i : i + step] for i in range(0, len(index), step)]


class Remembered:
    """The likelihood of one layout, remembered panel by panel.

    Quadrature asks for the same panels again in every round, and under other priors of the same
    rows: each box of panels is evaluated once. Values do not depend on who asked before.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._panels: list[dict[tuple[float, float], int]] = [{}, {}, {}]
        self._where: Any = np.full((1, 1, 1), -1)
        self._known = self._most = self._blocks = np.zeros((0, 0))

    def density(
        self,
        x: tuple[Floats, ...],
        n: int,
        free: tuple[bool, bool],
        prior: Floats,
        log_step: Floats,
    ) -> Floats:
        """Log joint density on the tensor of the nodes `x` of mu and the free ones of tau, omega.

        `n` nodes make a panel; `prior` has the tensor's shape, `log_step` broadcasts to it. One
        instance serves one `n` and one `free`.
        """
        panels = [v.reshape(-1, n) for v in x]
        counts = [len(p) for p in panels]
        box = self._boxes(panels)
        at = _nodes(panels, counts, free)
        new = np.flatnonzero(self._where[box].ravel() < 0)
        if new.size:
            self._evaluate(box, new, (at[0][new], at[1][new], at[2][new]))
        place = self._where[box].ravel()
        order = _box_order(counts, n)
        base = prior.ravel()[order] + self._known[place].ravel()
        if self.layout.bound_blocks is not None:
            step = np.broadcast_to(log_step, prior.shape).ravel()[order]
            blocks = self._blocks[place].ravel()
            flat = at[0].ravel(), at[1].ravel(), at[2].ravel()
            base = finish(self.layout, flat, base, step, self._most[place].ravel(), blocks)
            self._blocks[place] = blocks.reshape(len(place), -1)
        out = np.empty(base.shape)
        out[order] = base
        return out.reshape(prior.shape)

    def _boxes(self, panels: list[Floats]) -> tuple[Ints, ...]:
        """Index into `_where` of every box, one array an axis, ready to broadcast."""
        index = []
        for known, panel in zip(self._panels, panels, strict=False):
            ends = [(p[0], p[-1]) for p in panel.tolist()]
            index.append(np.array([known.setdefault(e, len(known)) for e in ends], dtype=np.int64))
        index += [np.zeros(1, dtype=np.int64)] * (3 - len(panels))
        size = tuple(max(1, len(known)) for known in self._panels)
        grown = np.full(size, -1)
        a, b, c = self._where.shape
        grown[:a, :b, :c] = self._where
        self._where = grown
        return np.ix_(*index)

    def _evaluate(self, box: tuple[Ints, ...], new: Ints, at: Nodes) -> None:
        """Evaluate boxes for the first time; their blocks of bounds wait until they matter."""
        shape = at[0].shape
        flat = at[0].ravel(), at[1].ravel(), at[2].ravel()
        known = closed(self.layout, flat).reshape(shape)
        most = ceiling(self.layout, flat).reshape(shape)
        if not self._known.size:
            self._known = self._most = self._blocks = np.zeros((0, shape[1]))
        first = len(self._known)
        self._known = np.concatenate([self._known, known])
        self._most = np.concatenate([self._most, most])
        self._blocks = np.concatenate([self._blocks, np.full(shape, np.nan)])
        every = [np.broadcast_to(i, np.broadcast_shapes(*(j.shape for j in box))) for i in box]
        at_new = tuple(i.ravel()[new] for i in every)
        self._where[at_new] = np.arange(first, first + len(new))


def _nodes(panels: list[Floats], counts: list[int], free: tuple[bool, bool]) -> Nodes:
    """mu, tau and omega (boxes, n^d) at the nodes of every box."""
    d, n = len(panels), panels[0].shape[1]
    full = [*counts, *[n] * d]
    values = []
    for axis, panel in enumerate(panels):
        shape = [1] * (2 * d)
        shape[axis], shape[d + axis] = panel.shape
        values.append(np.broadcast_to(panel.reshape(shape), full).reshape(-1, n**d))
    mu, rest = values[0], values[1:]
    zero = np.zeros(mu.shape)
    tau = rest.pop(0) if free[0] else zero
    omega = rest.pop(0) if free[1] else zero
    return mu, tau, omega


def _box_order(counts: list[int], n: int) -> Ints:
    """Positions in the flat tensor of all nodes, box by box."""
    shape = [m for count in counts for m in (count, n)]
    d = len(counts)
    axes = [2 * i for i in range(d)] + [2 * i + 1 for i in range(d)]
    return np.arange(int(np.prod(shape))).reshape(shape).transpose(axes).ravel()
