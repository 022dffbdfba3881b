"""Rows of any kind with their design matrix: what models take in which bounds count.

`study_rows` are exact effects, rotated so that the likelihood is a few sums. A bound or a size
without sign cannot be rotated: such rows keep their layout of blocks, whose likelihood is that of
the exact engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nssi_meta.models.blocks import Layout, check_kinds
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.layout_nodes import layout_values
from nssi_meta.models.structure import FIXED, Floats, Values
from nssi_meta.models.study_rows import StudyRows, study_rows


@dataclass(frozen=True)
class BoundedRows:
    """k rows sorted into blocks, their `kind` (k,) and design matrix `X` (k, p), in their order."""

    layout: Layout
    kind: NDArray[np.object_]
    X: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """What each block is called: the positions of its rows."""
        blocks = self.layout.block_rows
        return tuple(f"rows {', '.join(str(i + 1) for i in rows)}" for rows in blocks)

    @property
    def nested(self) -> bool:
        """Whether some study gives several rows: then omega is in the model, as in `has_omega`."""
        return len(np.unique(self.layout.study)) < self.layout.k

    @property
    def mixed(self) -> tuple[str, ...]:
        """The blocks that hold several studies, which share people or controls, by name."""
        study, blocks = self.layout.study, self.layout.block_rows
        return tuple(
            name
            for name, rows in zip(self.names, blocks, strict=True)
            if len(np.unique(study[rows])) > 1
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows (k,) are exact effects: they alone identify what has a flat prior."""
        return np.asarray(self.kind == "exact")

    @property
    def several(self) -> NDArray[np.int64]:
        """Number of each row's block among those of several rows (k,), from 1; 0 in no such."""
        blocks = self.layout.block_rows
        number = np.cumsum([len(rows) > 1 for rows in blocks]) * [len(rows) > 1 for rows in blocks]
        return np.asarray(number[self.layout.block_of_row])

    @property
    def first(self) -> NDArray[np.int64]:
        """Position of each block's first row."""
        return np.array([rows[0] for rows in self.layout.block_rows])

    def values(self, fixed: Mapping[str, Floats], **columns: Floats) -> Values:
        """Data of a model of these rows, `columns` (..., k) of them included."""
        of_rows = layout_values(self.layout, self.kind, columns)
        return {**of_rows, FIXED: fixed}

    def guess(self) -> StudyRows:
        """The rows as if each were an exact effect: from where the sampler starts, no more."""
        data, sd = self.layout, np.sqrt(self.layout.v)
        low = np.where(np.isfinite(data.lower), data.lower, data.upper - 2 * sd)
        high = np.where(np.isfinite(data.upper), data.upper, data.lower + 2 * sd)
        y, v = np.nan_to_num(data.y), data.v.copy()
        bound, unsigned = self.kind == "interval", self.kind == "unsigned"
        y[bound], v[bound] = ((low + high) / 2)[bound], (v + ((high - low) / 4) ** 2)[bound]
        y[unsigned], v[unsigned] = 0.0, (data.v + np.nan_to_num(data.y) ** 2)[unsigned]
        return study_rows(y, v, data.block_of_row, self.X)


def bounded_rows(
    data: Layout, kind: Sequence[str] | NDArray[np.object_], X: ArrayLike
) -> BoundedRows:
    """Rows sorted into blocks (`blocks.layout`) with their kinds (k,) and design matrix (k, p).

    Raises ValueError where shapes differ, a value of X is not finite, a kind is not known, or a
    row is no evidence.
    """
    check_rows(data)
    design, kinds = np.asarray(X, dtype=float), np.asarray(kind, dtype=object)
    if design.ndim != 2 or len(design) != data.k or len(kinds) != data.k:
        raise ValueError(
            f"X must be a matrix of {data.k} rows with as many kinds, got shape {design.shape} "
            f"and {len(kinds)} kinds"
        )
    if not np.isfinite(design).all():
        row, column = np.argwhere(~np.isfinite(design))[0] + 1
        raise ValueError(
            f"X is not finite in row {row}, column {column}: leave out rows without the moderator"
        )
    check_kinds(kinds)
    return BoundedRows(data, kinds, design)


def require_rows(rows: object, *allowed: type[Any]) -> None:
    """ValueError for what is none of the allowed kinds of rows, with what to write instead."""
    if isinstance(rows, allowed):
        return
    if isinstance(rows, BoundedRows):
        raise ValueError(
            "these rows hold bounds or sizes without sign, and this model takes exact effects "
            "only: use bounded_regression(**rows.bounded), with student=True for Student-t effects"
        )
    if isinstance(rows, StudyRows):
        raise ValueError("these rows are exact effects alone: bounded_regression(**rows.bounded)")
    raise ValueError(
        f"rows is of type {type(rows).__name__}, but must be what model_rows makes of a data "
        'frame: rows = model_rows(frame, ["age"], vi="vi"), then regression(**rows.exact)'
    )
