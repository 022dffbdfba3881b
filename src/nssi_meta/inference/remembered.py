"""The likelihood of one layout, remembered: many priors on the same rows ask for the same nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import boxes_of
from nssi_meta.inference.on_grid import FAR_BLOCKS, OnGrid
from nssi_meta.models.blocks import Layout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Nodes = tuple[Floats, Floats, Floats]


class Remembered:
    """The likelihood of one layout, remembered panel by panel.

    Quadrature asks for the same panels again in every round, and under other priors of the same
    rows: each box of panels is evaluated once. Values do not depend on who asked before.
    """

    def __init__(self, layout: Layout) -> None:
        self.on_grid = OnGrid(layout)
        self._panels: list[dict[tuple[float, float], int]] = [{}, {}, {}]
        self._where: Any = np.full((1, 1, 1), -1)
        #: By box and node: log likelihood, and the limit in it that stands in for integrals or NaN.
        self._known = self._limit = np.zeros((0, 0))

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
        new = self._where[box] < 0
        if new.any():
            self._evaluate(panels, box, new.reshape(counts), free)
        place = self._where[box].ravel()
        order = _box_order(counts, n)
        base = prior.ravel()[order] + self._known[place].ravel()
        limit = self._limit[place].ravel()
        weak = np.flatnonzero(np.isfinite(limit))
        if weak.size:
            mass = base + np.broadcast_to(log_step, prior.shape).ravel()[order]
            best = int(np.argmax(mass))
            at = _nodes(panels, counts, free)

            def mend(nodes: Ints) -> None:
                if not nodes.size:
                    return
                value = self.on_grid.blocks(*(a.ravel()[nodes] for a in at)) - limit[nodes]
                base[nodes] += value
                mass[nodes] += value
                self._known[place[nodes // n**len(x)], nodes % n**len(x)] += value
                self._limit[place[nodes // n**len(x)], nodes % n**len(x)] = np.nan

            if np.isfinite(limit[best]):
                mend(np.array([best]))
                weak = weak[weak != best]
            mend(weak[mass[weak] > mass[best] - FAR_BLOCKS])
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

    def _evaluate(
        self, panels: list[Floats], box: tuple[Ints, ...], new: Any, free: tuple[bool, bool]
    ) -> None:
        """Evaluate boxes for the first time, as many together as make a tensor."""
        d, n = len(panels), panels[0].shape[1]
        values, limits = [self._known.reshape(-1, n**d)], [self._limit.reshape(-1, n**d)]
        first = len(self._known)
        for chosen in boxes_of(new):
            fresh = new[np.ix_(*chosen)]
            at = [panel[c].ravel() for panel, c in zip(panels, chosen, strict=True)]
            value, limit = self.on_grid.likelihood(*_three(at, free))
            if limit is None:
                limit = np.full(value.shape, np.nan)
            values.append(_by_box(value, fresh.shape, n)[fresh.ravel()])
            limits.append(_by_box(limit, fresh.shape, n)[fresh.ravel()])
            where = [i.ravel()[c] for i, c in zip(box, chosen, strict=False)]
            where = [a.ravel() for a in np.meshgrid(*where, indexing="ij")]
            where += [np.zeros(fresh.size, dtype=np.int64)] * (3 - d)
            self._where[tuple(i[fresh.ravel()] for i in where)] = first + np.arange(fresh.sum())
            first += int(fresh.sum())
        self._known, self._limit = np.concatenate(values), np.concatenate(limits)


def _three(at: list[Floats], free: tuple[bool, bool]) -> Nodes:
    """Nodes of mu, tau and omega; 0 for one that is not free."""
    rest = at[1:]
    tau, omega = (rest.pop(0) if is_free else np.zeros(1) for is_free in free)
    return at[0], tau, omega


def _by_box(value: Floats, counts: tuple[int, ...], n: int) -> Floats:
    """A tensor of nodes as (boxes, n^d)."""
    d = len(counts)
    split = value.reshape([m for count in counts for m in (count, n)])
    axes = [2 * i for i in range(d)] + [2 * i + 1 for i in range(d)]
    return split.transpose(axes).reshape(-1, n**d)


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
    size = int(np.prod([m * n for m in counts]))
    positions = np.arange(size, dtype=np.int64)
    return _by_box(positions, tuple(counts), n).ravel()
