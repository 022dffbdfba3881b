"""Studies of exact effects alone that share one study effect, told from a layout's other blocks.

Their likelihood needs a few sums (`study_kernel`, `marginal`), whatever their sampling covariance.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import ExactBlocks, Floats, Ints, Layout
from nssi_meta.models.study_rows import StudyRows, rotated


def exact_studies(data: Layout) -> NDArray[np.bool_]:
    """Which of the layout's blocks (blocks,) hold exact rows of one study on one contrast alone."""
    out = np.zeros(len(data.block_rows), dtype=bool)
    out[data.block_of_row[data.single_exact]] = True
    if (blocks := data.exact_blocks) is not None:
        out[data.block_of_row[blocks.rows[:, 0]]] = _one_effect(blocks)
    return out


def _one_effect(blocks: ExactBlocks) -> NDArray[np.bool_]:
    """Which blocks (B,) have one study effect and no row whose sign is unknown."""
    real = blocks.mask[:, :, None] * blocks.mask[:, None, :]
    known = (blocks.signs == 1).all(axis=(1, 2))
    return np.asarray((real == blocks.G).all(axis=(1, 2)) & known)


def rows_of_studies(data: Layout, X: Floats, which: NDArray[np.bool_]) -> StudyRows:
    """The rows of some of `exact_studies` with their design matrix, of which `X` (k, p) is whole.

    Studies are in the order of their blocks, and are called by the number of their block.
    """
    V: dict[int, Floats] = {}
    if (blocks := data.exact_blocks) is not None:
        for b, rows in enumerate(blocks.rows):
            n = int(blocks.mask[b].sum())
            V[int(data.block_of_row[rows[0]])] = blocks.V[b, :n, :n]
    chosen = np.flatnonzero(which)
    index = [data.block_rows[b] for b in chosen]
    order = np.concatenate([*index, np.zeros(0, dtype=np.int64)])
    sizes = np.array([len(rows) for rows in index], dtype=float)
    parts = [V.get(int(b)) for b in chosen]
    return rotated(
        data.y[order], X[order], data.v[order], parts, sizes, tuple(map(str, chosen)), order
    )


def without_studies(data: Layout, which: NDArray[np.bool_]) -> Layout:
    """The layout with no likelihood of the blocks `which`; rows keep their positions."""

    def others(rows: Ints) -> NDArray[np.bool_]:
        return np.asarray(~which[data.block_of_row[rows]])

    blocks = data.exact_blocks
    if blocks is not None:
        kept = others(blocks.rows[:, 0])
        parts = {field.name: getattr(blocks, field.name)[kept] for field in fields(blocks)}
        blocks = ExactBlocks(**parts) if kept.any() else None
    singles = data.single_exact[others(data.single_exact)]
    return replace(data, single_exact=singles, exact_blocks=blocks)
