"""A PyMC model as machine code that nutpie samples, kept on disk between processes.

nutpie's own way links all of a model's machine code anew in every process, 20 to 30 seconds for the
joint model. PyTensor keeps the code of a whole function on disk, under a key made of the graph and
its constants. So the model is compiled to two such functions, one for the log density with its
gradient, one from the sampler's flat parameters to the model's variables, and nutpie is given two
small functions that call these by their addresses.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pymc as pm

Floats = NDArray[np.float64]


def compile_model(model: pm.Model, traced: Iterable[str]) -> Any:
    """The form of a model that `nuts.sample_compiled` takes (nutpie's `CompiledPyMCModel`).

    Free variables are always in the trace; of the deterministic ones those in `traced`. The
    model's mutable data can be replaced: `with_data`.
    """
    from nutpie.compile_pymc import CompiledPyMCModel, make_user_data

    variables = _variables(model, set(traced))
    with warnings.catch_warnings():
        # Advice about the C compiler's BLAS; the numba functions need none.
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        start = _initial_points(model)
        point = start(0, {})
        shapes = _shapes(model, variables, point)
        density = _function(model, _density(model))
        expand = _function(model, _joined(model.replace_rvs_by_values(variables)))
    order = [v.name for v in model.value_vars]
    n_dim = len(_ravel(point, order))
    nodes = list(dict.fromkeys([*density.get_shared(), *expand.get_shared()]))
    number = {node: i for i, node in enumerate(nodes)}
    keys = {node: f"data_{i}" for node, i in number.items()}
    values = [np.array(node.get_value(), order="C") for node in nodes]
    shared = dict(zip(keys.values(), values, strict=True))
    calls = [
        _callback(source, function, n_dim, [number[v] for v in function.get_shared()], values)
        for source, function in ((_DENSITY, density), (_EXPAND, expand))
    ]
    names = [v.name for v in variables]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)]).tolist()
    return CompiledPyMCModel(
        _n_dim=n_dim,
        dims={n: tuple(d) for n, d in model.named_vars_to_dims.items() if n in names},
        _coords={name: pd.Index(c) for name, c in model.coords.items() if c is not None},
        _shapes=dict(zip(names, shapes, strict=True)),
        compiled_logp_func=calls[0],
        compiled_expand_func=calls[1],
        initial_point_func=Start(start, order),
        shared_data=shared,
        shared_var_keys=keys,
        user_data=make_user_data(keys, shared),
        n_expanded=ends[-1],
        shape_info=(names, [slice(*e) for e in pairwise(ends)], shapes),
        logp_func=density,
        expand_func=expand,
        reparameterized_names=[],
    )


def with_data(compiled: Any, values: Mapping[str, Any], coords: Mapping[str, Any]) -> Any:
    """The compiled model with other data and names along its dimensions.

    Data that none of its functions reads are left out.
    """
    known = {node.name for node in compiled.shared_var_keys}
    start = compiled.initial_point_func.given(values)
    compiled = compiled.with_data(**{name: v for name, v in values.items() if name in known})
    names = {name: pd.Index(c) for name, c in coords.items()}
    return replace(compiled, _coords=names, initial_point_func=start)


def _ravel(point: Mapping[str, Floats], order: list[str]) -> Floats:
    return np.concatenate([np.ravel(point[name]).astype(float) for name in order])


def _density(model: pm.Model) -> list[Any]:
    """Log density and its gradient (flat) as graphs of the unconstrained parameters."""
    import pytensor.tensor as pt
    from pymc.pytensorf import pregrad_inner_graphs
    from pytensor.graph.rewriting.utils import rewrite_graph

    # PyMC's `rewrite_pregrad`, but what is held constant for the gradient stays held: that rewrite
    # removes `disconnected_grad` before the gradient is taken.
    logp: Any = rewrite_graph(
        model.logp(),
        include=("canonicalize", "stabilize"),
        exclude=("local_view_op",),
        custom_rewrite=pregrad_inner_graphs,
    )
    grads: Any = pt.grad(logp, model.value_vars)
    return [logp, *_joined(grads)]


def _joined(values: Iterable[Any]) -> list[Any]:
    import pytensor.tensor as pt

    return [pt.concatenate([value.ravel() for value in values])]


def _variables(model: pm.Model, traced: set[str]) -> list[Any]:
    return [*model.free_RVs, *(v for v in model.deterministics if v.name in traced)]


def _shapes(
    model: pm.Model, variables: list[Any], point: Mapping[str, Any]
) -> list[tuple[int, ...]]:
    import pytensor
    import pytensor.tensor as pt

    values = model.replace_rvs_by_values(variables)
    shapes = pytensor.function(
        [],
        [pt.as_tensor(value.shape) for value in values],
        givens=[(node, pt.as_tensor(point[node.name])) for node in model.value_vars],
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )
    return [tuple(int(n) for n in shape) for shape in shapes()]


def _function(model: pm.Model, outputs: Sequence[Any]) -> Any:
    """PyTensor's function of the flat parameters, compiled or found on disk."""
    import pymc as pm
    from pymc.pytensorf import join_nonshared_inputs

    point = model.initial_point()
    flat, x = join_nonshared_inputs(point, outputs, model.value_vars)
    with model:
        return pm.compile([x], flat, mode="NUMBA", on_unused_input="ignore")


#: What nutpie calls. `run` is the compiled function, {arrays} are read where `data_` points to. A
#: function that failed leaves empty arrays behind (numba's wrapper says why on stderr).
_DENSITY = """
def density(dim, x_, out_, logp_, data_):
    {arrays}
    logp, gradient = run(({arguments},))
    if gradient.size != {n}:
        return 1
    out, good = carray(out_, ({n},)), np.isfinite(logp[()])
    for i in range({n}):
        out[i] = gradient[i]
        good &= np.isfinite(gradient[i])
    carray(logp_, (1,))[0] = logp[()]
    return 0 if good else 3
"""
_EXPAND = """
def expand(dim, size, x_, out_, data_):
    {arrays}
    (values,) = run(({arguments},))
    if values.size != size:
        return 1
    out = carray(out_, (size,))
    for i in range(size):
        out[i] = values[i]
    return 0
"""


def _callback(source: str, function: Any, n: int, which: list[int], values: list[Floats]) -> Any:
    """A C function that calls the compiled one with the data (numbers `which` of `values`)."""
    import numba
    from numba import types
    from nutpie.compile_pymc import address_as_void_pointer

    data = [values[i] for i in which]
    # As `make_user_data` lays it out: addresses, sizes, then the shapes of all data.
    first = np.cumsum([2 * len(values), *(v.ndim for v in values)]).tolist()
    arrays = [f"x = carray(x_, ({n},))"]
    if values:
        arrays.append(f"u = carray(data_, ({first[-1]},), np.int64)")
    for i, array in zip(which, data, strict=True):
        shape = "".join(f"u[{first[i] + axis}], " for axis in range(array.ndim))
        arrays.append(f"d{i} = carray(pointer(u[{i}]), ({shape}), np.{array.dtype})")
    text = source.format(
        n=n, arrays="\n    ".join(arrays), arguments=", ".join(["x", *(f"d{i}" for i in which)])
    )
    names = {
        "np": np,
        "carray": numba.carray,
        "pointer": address_as_void_pointer,
        "run": _by_address(function.vm.jit_fn, [np.zeros(n), *data]),
    }
    exec(text, names)
    number, real = types.uint64, types.CPointer(types.double)
    if source is _DENSITY:
        signature = types.int64(number, real, real, real, types.voidptr)
        return numba.cfunc(signature)(names["density"])
    signature = types.int64(number, number, real, real, types.voidptr)
    return numba.cfunc(signature)(names["expand"])


def _by_address(run: Any, arguments: list[Any]) -> Any:
    """A compiled function as one that numba calls through its address, without linking it in."""
    import numba

    class Address(numba.types.WrapperAddressProtocol):
        def __init__(self) -> None:
            run(*arguments)  # compiles, or loads what is on disk
            self.compiled = run.overloads[(numba.typeof(tuple(arguments)),)]

        def __wrapper_address__(self) -> int:
            name = self.compiled.fndesc.llvm_cfunc_wrapper_name
            return int(self.compiled.library.get_pointer_to_function(name))

        def signature(self) -> Any:
            return self.compiled.signature

    return Address()


@dataclass(frozen=True)
class Start:
    """Flat starting points by seed, at `values` of the data: else they would be those of the data
    that happened to be sampled first, and so would the draws.
    """

    points: Callable[[int, Mapping[str, Any]], dict[str, Floats]]
    order: list[str]
    values: Mapping[str, Any] = field(default_factory=dict)

    def given(self, values: Mapping[str, Any]) -> Start:
        return replace(self, values=values)

    def __call__(self, seed: int) -> Floats:
        return _ravel(self.points(seed, self.values), self.order)


def _initial_points(model: pm.Model) -> Callable[[int, Mapping[str, Any]], dict[str, Floats]]:
    """Starting points: support points with a U(-1, 1) jitter on the unconstrained scale.

    The second argument holds values of the model's data; none are those that it was built with.
    """
    from pymc.initial_point import make_initial_point_fn

    draw = make_initial_point_fn(
        model=model,
        default_strategy="support_point",
        jitter_rvs=set(model.free_RVs),
        return_transformed=True,
    )
    lock = threading.Lock()
    built = {node: node.get_value() for node in model.data_vars}

    def start(seed: int, values: Mapping[str, Any]) -> dict[str, Floats]:
        with lock:
            for node, value in built.items():
                node.set_value(np.asarray(values.get(node.name, value), dtype=node.dtype))
            point: dict[str, Floats] = draw(seed)
        return point

    return start
