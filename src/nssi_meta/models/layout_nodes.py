"""A layout of rows as mutable data of a PyMC model: one compiled model for tables of any size.

The compiled code knows which forms of blocks there are, how wide the widest is, and room for the
common parts f of studies with several bounds (`room`); everything else, the number of rows of each
form included, is data. Rows lie in the order of their forms, so that means and variances are cut
into pieces where numpy picks positions: that compiles and runs faster.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout, common_part, given_common_part
from nssi_meta.models.common_variable import as_told, part_of
from nssi_meta.models.likelihood import BLOCKS, SINGLE, Arrays, At, closed_rows
from nssi_meta.models.structure import FIXED, Values

Floats = NDArray[np.float64]

_EMPTY: dict[str, tuple[str, ...]] = {
    "exact": ("v", "y"),
    "unsigned": ("v", "y"),
    "beyond": ("v", "bound", "sign"),
    "within": ("v", "lower", "upper"),
}


@dataclass(frozen=True)
class RowNodes:
    """A layout's rows as nodes of the model in context.

    `forms` as in `likelihood.closed_rows`, given the common parts f; rows that stand alone are
    there in every form, be it none of them. `block` is the block (b,) of each form's rows, of
    `n_blocks` in all. Columns of the rows that the model asked for are (..., K), rows in the order
    of `forms`, those of blocks once for every place in them.
    """

    forms: Mapping[str, Arrays]
    block: Mapping[str, Any]
    n_blocks: Any
    common: CommonNodes | None

    def at(self, mean: Any, tau2: Any) -> At:
        """Mean and tau squared (..., K) cut into the pieces of each form."""
        import pytensor.tensor as pt

        sizes, shapes = [], []
        for name, x in self.forms.items():
            shape = x["v"].shape if name in SINGLE else x["mask"].shape
            sizes.append(shape[0] if name in SINGLE else shape[0] * shape[1])
            shapes.append(None if name in SINGLE else shape[0])
        pieces = {}
        for which, x in (("mean", mean), ("tau2", tau2)):
            parts = pt.split(x, pt.stack(sizes), n_splits=len(sizes), axis=-1)
            for name, part, n in zip(self.forms, parts, shapes, strict=True):
                if n is not None:
                    part = part.reshape((*part.shape[:-1], n, -1), ndim=part.ndim + 1)
                if x.type.broadcastable[0] and x.ndim > 1:  # forgotten on the way
                    part = pt.specify_broadcastable(part, 0)
                pieces[name, which] = part
        return lambda name: (pieces[name, "mean"], pieces[name, "tau2"])


@dataclass(frozen=True)
class CommonNodes:
    """`room` studies of up to n rows with a common part f each, of which some may be empty.

    `place` (K,) is the place of each of the model's rows in an (n, room) array, n room where it
    belongs to none; `row_v` (K,) its sampling variance. `told` holds of each place the sampling
    variance `v`, `mask`, which of the K rows is there (`at`), the arrays of
    `common_variable.as_told`, and of each study `rho` and one of its rows (`first`).
    """

    room: int
    place: Any
    row_v: Any
    told: Mapping[str, Any]


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
    forms, place = closed_rows(given_common_part(data, kind))
    none, order = np.zeros(0, dtype=np.int64), _order(place)
    values: dict[str, dict[str, NDArray[Any]]] = {
        "rows": {name: np.asarray(x)[..., order] for name, x in columns.items()},
        FIXED: {"n_blocks": np.array(len(data.block_rows))},
    }
    for name in (*SINGLE, *BLOCKS):
        at = place.get(name, none)
        arrays = forms.get(name, dict.fromkeys(_EMPTY.get(name, ()), none))
        if name in SINGLE or at.size:
            values[name] = {f"{name}_{key}": _flat(x) for key, x in arrays.items()}
            values[name][f"{name}_block"] = data.block_of_row[at if name in SINGLE else at[0]]
    if (common := data.bound_blocks) is not None:
        study, column = np.nonzero(common.mask > 0)
        n = room(len(common.rows))
        where = np.full(data.k, n * common.rows.shape[1])
        where[common.rows[study, column]] = column * n + study
        at = np.empty(data.k, dtype=np.int64)
        at[order] = np.arange(len(order))
        values["rows"] |= {"common_place": where[order], "row_v": data.v[order]}
        arrays = {
            "v": data.v[common.rows].T,
            "mask": common.mask.T,
            "rho": common.rho,
            "at": at[common.rows].T,
            "first": at[common.first],
            **as_told(data, kind, common),
        }
        # Those not needed are studies that tell nothing: their f stays standard normal.
        empty = {"v": 1.0, "mask": 1.0, "side": 1.0}
        values["common"] = {
            f"common_{name}": _filled(x, n, empty.get(name, 0.0)) for name, x in arrays.items()
        }
    return values


def _filled(x: NDArray[Any], n: int, value: float) -> Floats:
    """An array (..., B) as (..., n), filled up with `value`."""
    out = np.full((*x.shape[:-1], n), value)
    out[..., : x.shape[-1]] = x
    return out


def row_places(data: Layout, kind: NDArray[np.object_]) -> NDArray[np.int64]:
    """A place of each of the k rows among the model's K."""
    order = _order(closed_rows(given_common_part(data, kind))[1])
    out = np.empty(data.k, dtype=np.int64)
    out[order] = np.arange(len(order))
    return out


def _order(place: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The model's K rows: those of each form, of blocks all first rows, then all second ones."""
    forms = [place[name].ravel() for name in (*SINGLE, *BLOCKS) if name in place]
    return np.concatenate(forms)


def layout_key(values: Values) -> Hashable:
    """What of `layout_values` the compiled code depends on."""
    sizes = [
        (key, array.shape[:-1])
        for name in (*BLOCKS, "common")
        for key, array in values.get(name, {}).items()
    ]
    return (*sizes, len(values["common"]["common_rho"]) if "common" in values else 0)


def layout_nodes(nodes: Mapping[str, Any], values: Values) -> RowNodes:
    """The rows of `values` from the nodes that `structure.data_nodes` made of them."""
    import pytensor.tensor as pt

    def whole(name: str) -> Any:
        return pt.cast(nodes[name], "int64")

    names = [name for name in (*SINGLE, *BLOCKS) if name in values]
    forms = {
        name: {
            key.removeprefix(f"{name}_"): _shaped(nodes[key], name, key, values)
            for key in values[name]
            if key != f"{name}_block"
        }
        for name in names
    }
    block = {name: whole(f"{name}_block") for name in names}
    common = None
    if "common" in values:
        held = values["common"]
        of_study = {
            name.removeprefix("common_"): nodes[name].reshape(array.shape)
            for name, array in held.items()
        }
        place = whole("common_place")
        common = CommonNodes(len(held["common_rho"]), place, nodes["row_v"], of_study)
    return RowNodes(forms, block, whole("n_blocks"), common)


def given_f(rows: RowNodes, mean: Any, tau2: Any, omega2: Any) -> At:
    """Mean and variance beyond v_i + omega^2 of the rows, given the common parts `f`.

    Each study with several bounds gets a standard normal parameter f, its rows' common part: given
    f row i has mean_i + l_i f and variance tau^2 + omega^2 + v_i - l_i^2. Everything else is closed
    form. `mean` and `tau2` (K,), `omega2` a scalar.

    What is sampled is g, of which f is a function (`common_variable`).
    """
    import pymc as pm
    import pytensor.tensor as pt

    common = rows.common
    if common is None:
        return rows.at(mean, tau2)
    told = common.told
    at, first = (pt.cast(told[name], "int64") for name in ("at", "first"))
    load2 = common_part(tau2[first], told["v"].T, told["mask"].T, told["rho"], pt.sqrt).T

    def spread(x: Any) -> Any:
        """A value of each place (n, room) at the rows (K,), 0 at rows outside."""
        return pt.concatenate([x.ravel(), [0.0]])[common.place]

    # Where tau^2 is large the rest of it is a difference, and must not fall below 0 with v.
    rest = pt.maximum(tau2 - spread(load2), (1e-12 - 1.0) * common.row_v)
    load = pt.sqrt(load2)
    own = rest[at] + told["v"] + omega2
    f, log_slope = part_of(told, mean[at], load, own, pm.Flat("g", shape=common.room))
    pm.Potential("common_prior", (log_slope - 0.5 * f**2).sum())
    return rows.at(mean + spread(load * f), rest)


def _flat(x: NDArray[Any]) -> NDArray[Any]:
    """An array (..., b) as a matrix, or as it is if it is a vector."""
    return x if x.ndim == 1 else x.reshape(-1, x.shape[-1])


def _shaped(node: Any, name: str, key: str, values: Values) -> Any:
    """The arrays of blocks in the shapes that `closed_rows` gave them."""
    if name in SINGLE:
        return node
    n, patterns = (len(values[name][f"{name}_{a}"]) for a in ("mask", "log_weight"))
    matrix, vector = (n, n, -1), (n, -1)
    shapes = {
        "V": matrix,
        "G": matrix,
        "Q": matrix,
        "signs": (patterns, n, -1),
        "log_weight": (patterns, -1),
    }
    return node.reshape(shapes.get(key.removeprefix(f"{name}_"), vector))
