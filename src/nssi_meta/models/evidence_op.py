"""The compiled loops that sum log densities, with their slopes, as PyTensor operations.

Each (`evidence_kernel.given`, `study_kernel`, `shrunken_kernel`, `table_kernel`) gives the sum and
its slope by each of the inputs that are sampled, which is the gradient. There are no second
derivatives. Imported where a model is built.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from nssi_meta.models import (
    binomial_tables,
    block_kernel,
    common_kernel,
    evidence_kernel,
    likelihood,
    robust,
    row_kernel,
    scaled_kernel,
    shrunken_kernel,
    student_kernel,
    study_kernel,
    table_kernel,
)
from nssi_meta.models.blocks import Floats
from nssi_meta.models.layout_nodes import RowNodes
from nssi_meta.models.robust import mixing_constant
from nssi_meta.models.row_kernel import compiled

_ROWS = ("form", "a", "b", "v")
_BLOCKS = ("at", "mask", "y", "folded", "V", "G", "alike")
_PLACES = ("at", "first", "v", "mask", "rho")
_TOLD = ("y", "extra", "effect", "sign", "share", "walled", "side")
_NONE = pt.constant(np.zeros(0))
#: Machine code kept on disk is of this text.
_MODULES = (
    row_kernel,
    block_kernel,
    common_kernel,
    evidence_kernel,
    study_kernel,
    shrunken_kernel,
    scaled_kernel,
    student_kernel,
    table_kernel,
    binomial_tables,
    likelihood,
    robust,
)
_TEXT = [Path(str(m)).read_bytes() for m in (__file__, *(m.__file__ for m in _MODULES))]


@compiled
def _given(mean: Floats, tau2: Floats, omega2: Any, g: Floats, *arrays: Any) -> tuple[Any, ...]:
    total, d_mean, d_tau2, d_omega2, d_g = evidence_kernel.given(
        arrays[:4], mean, tau2, omega2[()], g, arrays[4:11], arrays[11:16], arrays[16:]
    )
    return np.asarray(total), d_mean, d_tau2, np.asarray(d_omega2), d_g


@compiled
def _scaled(
    scale: Floats, raw: Floats, tau2: Any, omega2: Any, g: Floats, *arrays: Any
) -> tuple[Any, ...]:
    total, d_scale, d_raw, d_tau2, d_omega2, d_g = scaled_kernel.scaled_rows(
        scale, raw, tau2[()], omega2[()], g,
        arrays[:2], arrays[2:4], arrays[4:8], arrays[8:15], arrays[15:20], arrays[20:],
    )  # fmt: skip
    return np.asarray(total), d_scale, d_raw, np.asarray(d_tau2), np.asarray(d_omega2), d_g


@compiled
def _normal(residual: Floats, tau2: Floats, omega2: Any, *studies: Any) -> tuple[Any, ...]:
    total, d_residual, d_tau2, d_omega2 = study_kernel.normal_studies(
        residual, tau2, omega2[()], studies[0], studies[1], studies[2]
    )
    return np.asarray(total), d_residual, d_tau2, np.asarray(d_omega2)


@compiled
def _student(
    coef: Floats, tau2: Any, omega2: Any, nu: Any, constant: Any, raw: Floats, g: Floats, *x: Any
) -> tuple[Any, ...]:
    total, d_coef, d_tau2, d_omega2, d_nu, d_constant, d_raw, d_g = student_kernel.student_rows(
        coef, tau2[()], omega2[()], nu[()], constant[()], raw, g,
        x[:5], (x[5], x[6], x[7][()]), x[8:12], x[12:19], x[19:24], x[24:],
    )  # fmt: skip
    slopes = np.asarray(d_tau2), np.asarray(d_omega2), np.asarray(d_nu), np.asarray(d_constant)
    return np.asarray(total), d_coef, *slopes, d_raw, d_g


@compiled
def _shrunken(scale: Floats, tau2: Any, omega2: Any, *arrays: Any) -> tuple[Any, ...]:
    total, d_scale, d_tau2, d_omega2 = shrunken_kernel.shrunken_studies(
        scale, tau2[()], omega2[()], arrays[0], arrays[1], arrays[2], arrays[3]
    )
    return np.asarray(total), d_scale, np.asarray(d_tau2), np.asarray(d_omega2)


@compiled
def _tables(mu: Any, tau: Any, *arrays: Any) -> tuple[Any, ...]:
    total, d_mu, d_tau = table_kernel.tables(mu[()], tau[()], arrays[0], arrays[1], arrays[2])
    return np.asarray(total), np.asarray(d_mu), np.asarray(d_tau)


_LOOPS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "given": _given,
    "scaled": _scaled,
    "normal": _normal,
    "student": _student,
    "shrunken": _shrunken,
    "tables": _tables,
}


class SummedRows(Op):
    """Sum of the rows' log densities, and its slope by each of the first `n_slopes` inputs."""

    __props__ = ("loop", "n_slopes")

    def __init__(self, loop: str, n_slopes: int) -> None:
        self.loop, self.n_slopes = loop, n_slopes

    def make_node(self, *inputs: Any) -> Any:
        inputs = tuple(pt.as_tensor(x) for x in inputs)
        return Apply(self, inputs, [pt.dscalar(), *(x.type() for x in inputs[: self.n_slopes])])

    def perform(self, node: Any, inputs: Sequence[Any], outputs: Sequence[list[Any]]) -> None:
        for held, value in zip(outputs, _LOOPS[self.loop](*inputs), strict=True):
            held[0] = value

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        if not all(isinstance(c.type, DisconnectedType) for c in cotangents[1:]):
            raise NotImplementedError("the log likelihood has no second derivatives")
        slopes = [cotangents[0] * slope for slope in outputs[1:]]
        return [*slopes, *(disconnected_type() for _ in inputs[self.n_slopes :])]

    def connection_pattern(self, node: Any) -> list[list[bool]]:
        """Whether the outputs (columns) depend on an input: if it is sampled."""
        return [[i < self.n_slopes] * (self.n_slopes + 1) for i in range(len(node.inputs))]


@register_funcify_default_op_cache_key(SummedRows)  # type: ignore[untyped-decorator]
def _loop(op: SummedRows, node: Any = None, **kwargs: Any) -> tuple[Any, int]:
    return _LOOPS[op.loop], zlib.crc32(b"".join(_TEXT))


def given_rows(rows: RowNodes, mean: Any, tau2: Any, omega2: Any, g: Any) -> Any:
    """Log likelihood of the rows given f, and log density of what is sampled for the f's, but for a
    constant.

    `mean` and `tau2` (k,); `g` (room,) or None where no study has a common part.
    """
    omega2 = pt.as_tensor(omega2, dtype="float64")  # may be a 0 that is no variable
    inputs = mean, tau2, omega2, _NONE if g is None else g, *_layout(rows)
    return SummedRows("given", 4).make_node(*inputs).outputs[0]


def scaled_rows(
    rows: RowNodes, data: Mapping[str, Any], scale: Any, raw: Any, tau2: Any, omega2: Any, g: Any
) -> Any:
    """The same with coefficients of scales `scale` (p,), and their log prior; what is sampled for
    them is `raw` (p,).

    `data` holds `horseshoe_bounds.guess_values` and the rows' `X` (p, k); `tau2` is a scalar.
    """
    omega2 = pt.as_tensor(omega2, dtype="float64")
    inputs = scale, raw, tau2, omega2, _NONE if g is None else g
    names = "guess_precision", "guess_pull", "X", "intercept_mean"
    arrays = *(data[name] for name in names), *_layout(rows)
    return SummedRows("scaled", 5).make_node(*inputs, *arrays).outputs[0]


def _layout(rows: RowNodes | None) -> list[Any]:
    """The arrays of a layout, those that it does not have empty."""
    if rows is None:
        rows = RowNodes(dict.fromkeys(_ROWS, _NONE), None, None, 0)
    none, empty = _NONE, pt.constant(np.zeros((0, 0)))
    arrays = [rows.of_row[name] for name in _ROWS]
    cube = pt.constant(np.zeros((0, 0, 0)))
    shapes = {"V": cube, "G": cube, "alike": none, "first": none, "rho": none, "side": none}
    for held, names in ((rows.blocks, _BLOCKS), (rows.common, _PLACES), (rows.common, _TOLD)):
        arrays += [shapes.get(name, empty) if held is None else held[name] for name in names]
    return arrays


def normal_studies(data: Mapping[str, Any], residual: Any, tau2: Any, omega2: Any) -> Any:
    """Log likelihood of exact rows whose studies' effects are normal, study effects integrated out.

    `data` are a model's nodes as `coefficients.row_values` makes them; `residual` (k,), `tau2`
    (J,) or (1,), `omega2` a scalar.
    """
    inputs = residual, tau2, pt.as_tensor(omega2, dtype="float64")
    return SummedRows("normal", 3).make_node(*inputs, *_studies(data)).outputs[0]


def student_rows(
    data: Mapping[str, Any],
    coef: Any,
    tau2: Any,
    omega2: Any,
    nu: Any,
    others: tuple[RowNodes, Mapping[str, Any], Any, Any] | None = None,
) -> Any:
    """The same with t-distributed study effects, scale squared `tau2` (a scalar) and freedom `nu`.

    `coef` are the (p,) coefficients of the columns of `data["X"]`. `others` are rows of any kind
    that come on top, their data (`X`, and where lambda is sampled `tied` and `n_tied`:
    `bounded_student`), and what is sampled for lambdas and common parts (None where there is none).
    """
    rows, more, raw, g = (None, {}, None, None) if others is None else others
    omega2 = pt.as_tensor(omega2, dtype="float64")
    sampled = (_NONE if x is None else x for x in (raw, g))
    inputs = coef, tau2, omega2, nu, mixing_constant(nu, pt.log, pt.gammaln), *sampled
    studies = data["y"], data["X"], *_studies(data)
    X = more["X"] if more else pt.zeros((data["X"].shape[0], 0))
    tied = more.get("tied", pt.zeros(X.shape[1])), more.get("n_tied", pt.as_tensor(0.0))
    return (
        SummedRows("student", 7).make_node(*inputs, *studies, X, *tied, *_layout(rows)).outputs[0]
    )


def shrunken_studies(data: Mapping[str, Any], scale: Any, tau2: Any, omega2: Any) -> Any:
    """`normal_studies` with coefficients of mean 0 and SDs `scale` (p,) integrated out."""
    columns = pt.concatenate([data["X"], data["y"][None]])
    inputs = scale, tau2, pt.as_tensor(omega2, dtype="float64"), columns
    return SummedRows("shrunken", 3).make_node(*inputs, *_studies(data)).outputs[0]


def _studies(data: Mapping[str, Any]) -> list[Any]:
    return [data[name] for name in ("z", "d", "size")]


def integrated_tables(data: Mapping[str, Any], mu: Any, tau: Any) -> Any:
    """Log likelihood of two-by-two tables, integrated over their effects.

    `data` holds the nodes `centre`, `scale` (k,) and `coef` of the tables.
    """
    arrays = data["centre"], data["scale"], data["coef"]
    return SummedRows("tables", 2).make_node(mu, tau, *arrays).outputs[0]
