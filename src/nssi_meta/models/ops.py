"""One expression, two array libraries: the few functions that numpy and PyTensor spell differently.

Densities that NUTS samples and that are reported of its draws are written once against an `Ops`:
numpy takes `numpy_ops()`, the PyMC models `pytensor_ops()`. (The rows of a layout have compiled
loops instead, `evidence_kernel`.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Ops:
    """Array functions, elementwise."""

    exp: Callable[..., Any]
    log: Callable[..., Any]
    sqrt: Callable[..., Any]
    ndtr: Callable[..., Any]
    #: A value that gradients take as a constant.
    held: Callable[..., Any]


def static_shape(x: Any) -> tuple[int, ...]:
    """The shape of an array, or what the graph knows of a PyTensor expression's."""
    return tuple(getattr(x, "type", x).shape)


def log_sum(exponent: Any, factor: Any, ops: Ops) -> Any:
    """log of the sum of factor exp(exponent) over the last axis, for factors far from overflow.

    Every exponential is computed once; PyTensor's own logsumexp takes three with its gradient. The
    value does not depend on what is taken out as the largest, so no gradient goes through it.
    """
    top = ops.held(exponent.max(axis=-1, keepdims=True))
    return top[..., 0] + ops.log((ops.exp(exponent - top) * factor).sum(axis=-1))


def numpy_ops() -> Ops:
    """The functions for numpy arrays."""
    return Ops(np.exp, np.log, np.sqrt, special.ndtr, held=lambda x: x)


def pytensor_ops() -> Ops:
    """The functions for PyTensor expressions (imports PyTensor)."""
    import pytensor.tensor as pt
    from pytensor.gradient import disconnected_grad

    def ndtr(z: Any) -> Any:
        return 0.5 * pt.erfc(-z / np.sqrt(2))

    return Ops(pt.exp, pt.log, pt.sqrt, ndtr, held=disconnected_grad)
