"""One likelihood, two array libraries: the few functions that numpy and PyTensor spell differently.

The likelihoods in `likelihood` are written once against an `Ops`. The exact engine hands in
`numpy_ops()`, the PyMC models `pytensor_ops()`; what is tested against closed forms in numpy is
therefore the very expression that NUTS samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Ops:
    """Array functions used by the likelihoods (elementwise but for the matrices)."""

    exp: Callable[..., Any]
    log: Callable[..., Any]
    sqrt: Callable[..., Any]
    where: Callable[..., Any]
    minimum: Callable[..., Any]
    ndtr: Callable[..., Any]
    log_ndtr: Callable[..., Any]
    log_difference: Callable[..., Any]
    logaddexp: Callable[..., Any]
    cholesky: Callable[..., Any]
    solve_lower: Callable[..., Any]
    #: A value that gradients take as a constant.
    held: Callable[..., Any]


def static_shape(x: Any) -> tuple[int, ...]:
    """The shape of an array, or what the graph knows of a PyTensor expression's."""
    return tuple(getattr(x, "type", x).shape)


def log_sum(exponent: Any, factor: Any, ops: Ops, *more: Any) -> Any:
    """log of the sum of factor exp(exponent) over the last axis, for factors far from overflow.

    `more` exponents of the same shape are summed with the first. Every exponential is computed
    once; PyTensor's own logsumexp takes three with its gradient. The value does not depend on what
    is taken out as the largest, so no gradient goes through it.
    """
    largest = exponent
    for other in more:
        largest = ops.where(other > largest, other, largest)
    top = ops.held(largest.max(axis=-1, keepdims=True))
    total = sum(ops.exp(one - top) for one in (exponent, *more))
    return top[..., 0] + ops.log((total * factor).sum(axis=-1))


def _log1mexp(x: Any) -> Any:
    """log(1 - exp(x)) for x < 0 without cancellation (Mächler 2012)."""
    with np.errstate(divide="ignore"):
        return np.where(x > -0.6931471805599453, np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


def _log_difference(log_ndtr: Any, log1mexp: Any, minimum: Any) -> Callable[..., Any]:
    """log(Phi(b) - Phi(a)) for a < b, precise in the lower tail."""

    def log_difference(a: Any, b: Any) -> Any:
        log_a, log_b = log_ndtr(a), log_ndtr(b)
        return log_b + log1mexp(minimum(log_a - log_b, -1e-300))

    return log_difference


def numpy_ops() -> Ops:
    """The functions for numpy arrays."""
    return Ops(
        exp=np.exp,
        log=np.log,
        sqrt=np.sqrt,
        where=np.where,
        minimum=np.minimum,
        ndtr=special.ndtr,
        log_ndtr=special.log_ndtr,
        log_difference=_log_difference(special.log_ndtr, _log1mexp, np.minimum),
        logaddexp=np.logaddexp,
        cholesky=np.linalg.cholesky,
        solve_lower=np.linalg.solve,
        held=lambda x: x,
    )


def pytensor_ops() -> Ops:
    """The functions for PyTensor expressions (imports PyTensor)."""
    import pytensor.tensor as pt
    from pymc.distributions.dist_math import normal_lcdf
    from pytensor.gradient import disconnected_grad

    def log_ndtr(z: Any) -> Any:
        # Beyond 25 the value is 0 to machine precision, while erfcx(-z) overflows and would turn
        # the gradient into NaN.
        return normal_lcdf(0.0, 1.0, pt.minimum(z, 25.0))

    return Ops(
        exp=pt.exp,
        log=pt.log,
        sqrt=pt.sqrt,
        where=pt.switch,
        minimum=pt.minimum,
        ndtr=lambda z: 0.5 * pt.erfc(-z / np.sqrt(2)),
        log_ndtr=log_ndtr,
        log_difference=_log_difference(log_ndtr, pt.log1mexp, pt.minimum),
        logaddexp=pt.logaddexp,
        cholesky=pt.linalg.cholesky,
        solve_lower=lambda lower, b: pt.linalg.solve_triangular(lower, b, lower=True),
        held=disconnected_grad,
    )


def mixture_ops() -> Ops:
    """`pytensor_ops` for terms of a mixture with heavy tails, of which only the larger ones count.

    Probabilities end at 1e-300, and need one error function where logs precise to any depth need
    several.
    """
    import pytensor.tensor as pt

    ops = pytensor_ops()

    def log_ndtr(z: Any) -> Any:
        return pt.log(pt.maximum(ops.ndtr(z), 1e-300))

    def log_difference(a: Any, b: Any) -> Any:
        return pt.log(pt.maximum(ops.ndtr(b) - ops.ndtr(a), 1e-300))

    return replace(ops, log_ndtr=log_ndtr, log_difference=log_difference)
