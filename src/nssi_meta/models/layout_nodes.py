"""A layout of rows as mutable data of a PyMC model: one compiled model for tables of any size.

The compiled code knows how wide the widest block is, and room for the common parts f of studies
with several bounds (`room`); everything else, the number of rows and blocks included, is data.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout, given_common_part
from nssi_meta.models.common_variable import as_told
from nssi_meta.models.structure import Values

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowNodes:
    """A layout's k rows as nodes of the model in context, in their own order.

    `of_row` holds of each row (k,) its `form` of likelihood (`row_kernel`), -1 in a block of exact
    rows, `a` and `b` of that form and its sampling variance `v`. `blocks` are as in
    `block_kernel.block`. `common` holds of `room` studies of up to n rows with a common part, of
    which some may be empty, at each place (n, room) the sampling variance `v`, `mask`, which of the
    rows is there (`at`), the arrays of `common_variable.as_told`, and of each study `rho` and one
    of its rows (`first`). Either is None where there is nothing of it.
    """

    of_row: Mapping[str, Any]
    blocks: Mapping[str, Any] | None
    common: Mapping[str, Any] | None
    room: int


def room(n: int) -> int:
    """How many parameters of studies a model for n of them has: a power of two, a multiple of 8.

    Those not needed are standard normal and touch nothing.
    """
    if n == 0:
        return 0
    return int(2 ** np.ceil(np.log2(n))) if n <= 8 else -(-n // 8) * 8


def layout_values(
    data: Layout, kind: NDArray[np.object_], columns: Mapping[str, NDArray[Any]]
) -> Values:
    """Data of a model of these rows, by group and name (`structure.data_nodes`).

    `kind` (k,) is the rows' kind, `columns` more of them, each (..., k), as the model needs.
    """
    values: dict[str, dict[str, NDArray[Any]]] = {
        "rows": {**columns, **_of_row(given_common_part(data, kind))}
    }
    if (blocks := data.exact_blocks) is not None:
        held, n = blocks.mask > 0, blocks.mask.shape[1]
        pair = held[:, :, None] & held[:, None, :]
        arrays = {
            "at": blocks.rows.T,
            "mask": blocks.mask.T,
            "y": np.where(held, data.y[blocks.rows], 0.0).T,
            "folded": (held & (kind == "unsigned")[blocks.rows]).T,
            "V": blocks.V.transpose(1, 2, 0).reshape(n * n, -1),
            "G": blocks.G.transpose(1, 2, 0).reshape(n * n, -1),
            "alike": (~pair | (blocks.G == 1)).all(axis=(1, 2)),
        }
        values["blocks"] = {f"block_{name}": np.asarray(x, float) for name, x in arrays.items()}
    if (common := data.bound_blocks) is not None:
        n = room(len(common.rows))
        arrays = {
            "v": data.v[common.rows].T,
            "mask": common.mask.T,
            "rho": common.rho,
            "at": common.rows.T,
            "first": common.first,
            **as_told(data, kind, common),
        }
        # Those not needed are studies without rows: their f stays standard normal.
        values["common"] = {f"common_{name}": _filled(x, n) for name, x in arrays.items()}
    return values


def _of_row(data: Layout) -> dict[str, Floats]:
    """The arrays of `RowNodes.of_row`; rows of blocks have the form -1."""
    form, a, b = np.full(data.k, -1.0), np.zeros(data.k), np.zeros(data.k)
    singles = (data.single_exact, data.single_unsigned, data.single_beyond, data.single_within)
    for number, rows in enumerate(singles):  # as row_kernel's EXACT, UNSIGNED, BEYOND, WITHIN
        form[rows] = number
        a[rows] = data.lower[rows] if number > 1 else data.y[rows]
    below = data.single_beyond[np.isinf(data.lower[data.single_beyond])]
    a[below] = data.upper[below]
    b[data.single_beyond] = np.where(np.isinf(data.lower[data.single_beyond]), -1.0, 1.0)
    b[data.single_within] = data.upper[data.single_within]
    return {"form": form, "a": a, "b": b, "v": data.v}


def _filled(x: NDArray[Any], n: int) -> Floats:
    """An array (..., B) as (..., n), filled up with zeros."""
    out = np.zeros((*x.shape[:-1], n))
    out[..., : x.shape[-1]] = x
    return out


def layout_key(values: Values) -> Hashable:
    """What of `layout_values` the compiled code depends on."""
    blocks = len(values["blocks"]["block_mask"]) if "blocks" in values else 0
    return blocks, values["common"]["common_mask"].shape if "common" in values else 0


def layout_nodes(nodes: Mapping[str, Any], values: Values) -> RowNodes:
    """The rows of `values` from the nodes that `structure.data_nodes` made of them."""

    def group(name: str, prefix: str) -> dict[str, Any] | None:
        if name not in values:
            return None
        return {key.removeprefix(prefix): nodes[key] for key in values[name]}

    blocks, common = group("blocks", "block_"), group("common", "common_")
    if blocks is not None:
        n = len(values["blocks"]["block_mask"])
        blocks |= {name: blocks[name].reshape((n, n, -1)) for name in ("V", "G")}
    of_row = {name: nodes[name] for name in ("form", "a", "b", "v")}
    size = 0 if common is None else len(values["common"]["common_rho"])
    return RowNodes(of_row, blocks, common, size)
