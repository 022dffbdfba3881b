"""A PyMC model as functions that nutpie samples, kept on disk between processes.

nutpie's own way links a model's machine code anew in every process, 20 to 30 seconds for the joint
model. PyTensor keeps the machine code of a whole function on disk, under a key made of the graph
and its constants, as long as it is called as PyTensor compiled it. So that is what the sampler is
given: the log density with its gradient as one function of the unconstrained parameters, and one
function from these to the model's variables.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pymc as pm

Floats = NDArray[np.float64]


def compile_model(model: pm.Model, var_names: Iterable[str] | None = None) -> Any:
    """The form of a model that `nuts.sample_compiled` takes (nutpie's `PyFuncModel`).

    Free variables are always in the trace; of the deterministic ones those in `var_names` (all by
    default). The model's mutable data can be replaced: `with_data`.
    """
    from nutpie.compiled_pyfunc import from_pyfunc

    with warnings.catch_warnings():
        # Advice about the C compiler's BLAS; the numba functions need none.
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        start = _initial_points(model)
        density, data = _function(model, _density(model))
        variables = _variables(model, var_names)
        expand, more = _function(model, model.replace_rvs_by_values(variables))
    names = [v.name for v in variables]
    data |= more
    point = expand(start(0), **data)
    return from_pyfunc(
        ndim=len(start(0)),
        make_logp_fn=lambda: _finite(density),
        make_expand_fn=lambda *_: (
            lambda x, **given: dict(zip(names, expand(x, **given), strict=True))
        ),
        expanded_dtypes=[np.dtype("float64")] * len(names),
        expanded_shapes=[np.shape(value) for value in point],
        expanded_names=names,
        coords={name: pd.Index(values) for name, values in model.coords.items()},
        dims={n: tuple(d) for n, d in model.named_vars_to_dims.items() if n in names},
        shared_data=data,
        make_initial_point_fn=start,
    )


def with_data(compiled: Any, values: Mapping[str, Any]) -> Any:
    """The compiled model with other data; data that none of its functions reads are left out."""
    old = compiled._shared_data
    new = {n: np.ascontiguousarray(v, old[n].dtype) for n, v in values.items() if n in old}
    return compiled.with_data(**new)


def _density(model: pm.Model) -> list[Any]:
    """Log density and its gradient (flat) as graphs of the unconstrained parameters."""
    import pytensor.tensor as pt
    from pymc.pytensorf import rewrite_pregrad

    logp = rewrite_pregrad(model.logp())
    grads: Any = pt.grad(logp, model.value_vars)
    return [logp, pt.concatenate([g.ravel() for g in grads])]


def _variables(model: pm.Model, var_names: Iterable[str] | None) -> list[Any]:
    wanted = None if var_names is None else set(var_names)
    derived = [v for v in model.deterministics if wanted is None or v.name in wanted]
    return [*model.free_RVs, *derived]


def _function(model: pm.Model, outputs: Sequence[Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """`outputs` as a function of the flat parameters and of the model's mutable data by name."""
    import pymc as pm
    from pymc.pytensorf import join_nonshared_inputs

    point = model.initial_point()
    flat, x = join_nonshared_inputs(point, outputs, model.value_vars)
    with model:
        compiled = pm.compile([x], flat, mode="NUMBA", on_unused_input="ignore")
    shared = compiled.get_shared()
    names = [node.name for node in shared]
    run = compiled.vm.jit_fn
    # Chains run in threads: let the others go on while one is in machine code.
    run.targetoptions["nogil"] = True
    data = {node.name: np.ascontiguousarray(node.get_value()) for node in shared}
    return lambda x, **given: run(x, *[given[name] for name in names]), data


def _finite(density: Callable[..., Any]) -> Callable[..., Any]:
    """The density, with NaN as its value where the gradient is not finite: a divergence."""

    def value(x: Floats, **given: Any) -> tuple[float, Floats]:
        logp, gradient = density(x, **given)
        return (float(logp) if np.isfinite(gradient).all() else np.nan), gradient

    return value


def _initial_points(model: pm.Model) -> Callable[[int], Floats]:
    """Starting points: support points with a U(-1, 1) jitter on the unconstrained scale."""
    from pymc.initial_point import make_initial_point_fn

    draw = make_initial_point_fn(
        model=model,
        default_strategy="support_point",
        jitter_rvs=set(model.free_RVs),
        return_transformed=True,
    )
    lock = threading.Lock()

    def start(seed: int) -> Floats:
        with lock:
            point = draw(seed)
        return np.concatenate([np.ravel(point[v.name]).astype(float) for v in model.value_vars])

    return start
