"""One expression, two array libraries: the few functions that numpy and PyTensor spell differently.

The joint model's term of what studies leave unreported (`reporting_term`) is written once against
an `Ops`: numpy takes `numpy_ops()`, the PyMC model `pytensor_ops()`. (Rows have compiled loops
instead, `evidence_op`.)
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

    sqrt: Callable[..., Any]
    ndtr: Callable[..., Any]


def static_shape(x: Any) -> tuple[int, ...]:
    """The shape of an array, or what the graph knows of a PyTensor expression's."""
    return tuple(getattr(x, "type", x).shape)


def numpy_ops() -> Ops:
    """The functions for numpy arrays."""
    return Ops(np.sqrt, special.ndtr)


def pytensor_ops() -> Ops:
    """The functions for PyTensor expressions (imports PyTensor)."""
    import pytensor.tensor as pt

    def ndtr(z: Any) -> Any:
        return 0.5 * pt.erfc(-z / np.sqrt(2))

    return Ops(pt.sqrt, ndtr)
