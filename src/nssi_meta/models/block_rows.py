"""The rows of a block of bounds, and which of them share a part of their sampling errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BlockRows:
    """The rows of one block: exact rows have y, and lower = upper = NaN; signs (P, n).

    `load` (n,) is the SD of the part of a row's sampling error that its `group` (n,) has in common.
    """

    v: Floats
    y: Floats
    lower: Floats
    upper: Floats
    exact: NDArray[np.bool_]
    signs: Floats
    weight: Floats
    load: Floats
    group: Ints

    @property
    def own(self) -> Floats:
        """Variance (n,) of the sampling error that a row shares with none."""
        return np.asarray(self.v - self.load**2)

    @property
    def groups(self) -> list[Ints]:
        """Positions of the rows of each group."""
        return [np.flatnonzero(self.group == g) for g in np.unique(self.group)]

    def steep(self, rows: Ints) -> float:
        """How much narrower than the density of f the factors of `rows` are, at the least."""
        narrow = np.sqrt(self.own[rows] / len(rows))
        return float(np.sqrt(1.0 + (self.load[rows] / narrow).max() ** 2))

    def scale(self, omega: float) -> float:
        """SD on which S varies, at the least."""
        precision = sum(
            1.0 / ((self.load[r] ** 2).min() + (self.own[r].min() + omega**2) / len(r))
            for r in self.groups
        )
        return float(1.0 / np.sqrt(precision))


def block_rows(data: Layout) -> list[BlockRows]:
    """The rows of every block, exact ones first."""
    block = data.bound_blocks
    assert block is not None
    out = []
    for b in range(len(block.rho)):
        exact = block.exact[b, block.exact_mask[b] > 0]
        index = np.concatenate([exact, block.bounds[b, block.bounds_mask[b] > 0]])
        is_exact = np.arange(len(index)) < len(exact)
        signs = np.ones((block.signs.shape[1], len(index)))
        signs[:, : len(exact)] = block.signs[b, :, block.exact_mask[b] > 0].T
        none = np.where(is_exact, np.nan, 0.0)
        v = data.v[index]
        group, common = _common(block.errors[b])
        out.append(
            BlockRows(
                v, np.where(is_exact, data.y[index], 0.0), data.lower[index] + none,
                data.upper[index] + none, is_exact, signs, np.exp(block.log_weight[b]),
                np.sqrt(v) * common, group,
            )
        )  # fmt: skip
    return out


def _common(errors: Floats) -> tuple[Ints, Floats]:
    """Group (n,) of each row, and the correlation (n,) of its error with its group's common part.

    `errors` (n, n) are the correlations. They are products of those with one common part for two
    rows, for several of the same people, and for several against one control group; where not,
    each pair has the mean.
    """
    tied = errors > 0
    for _ in range(len(errors).bit_length()):  # ties of ties, and so on
        tied = tied @ tied
    group = tied.argmax(axis=1).astype(np.int64)
    common = np.zeros(len(errors))
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        if len(rows) == 1:
            continue
        part = errors[np.ix_(rows, rows)]
        pairs = part[np.tril_indices(len(rows), -1)]
        alike = np.full(len(rows), np.sqrt(pairs.mean()))
        common[rows] = alike
        if len(rows) > 2 and (pairs > 0).all():
            others = [np.delete(np.arange(len(rows)), i)[:2] for i in range(len(rows))]
            one = np.sqrt([part[i, j] * part[i, k] / part[j, k] for i, (j, k) in enumerate(others)])
            off = np.outer(one, one)[np.tril_indices(len(rows), -1)] - pairs
            if one.max() < 1 and np.abs(off).max() < 1e-12:
                common[rows] = one
    return group, common
