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
    #: Of covariances (..., n, n): log determinants, and r' Sigma^-1 r as a function of r (..., n).
    gaussian: Callable[[Any], tuple[Any, Callable[[Any], Any]]]
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


def _gaussian(covariance: Any) -> tuple[Any, Callable[[Any], Any]]:
    chol = np.linalg.cholesky(covariance)
    log_det = 2.0 * np.log(np.diagonal(chol, axis1=-2, axis2=-1)).sum(axis=-1)

    def square(r: Any) -> Any:
        return (np.linalg.solve(chol, r[..., None])[..., 0] ** 2).sum(axis=-1)

    return log_det, square


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
        gaussian=_gaussian,
        held=lambda x: x,
    )


def pytensor_ops() -> Ops:
    """The functions for PyTensor expressions (imports PyTensor)."""
    import pytensor.tensor as pt
    from pytensor.gradient import disconnected_grad as held

    def log_ndtr(z: Any) -> Any:
        # Phi(z) is e g below 0 and 1 - e g above it with g = exp(-z^2 / 2) and e = erfcx(|z| / sqrt
        # 2) / 2, which neither over- nor underflows. PyMC's normal_lcdf keeps half the digits.
        above, exponent = z > 0, -0.5 * z**2
        scaled = 0.5 * pt.erfcx(pt.switch(above, z, -z) / np.sqrt(2))  # abs has no slope at 0
        inside = pt.switch(above, 1.0 - scaled * pt.exp(exponent), scaled)
        return pt.log(inside) + pt.switch(above, 0.0, exponent)

    def gaussian(covariance: Any) -> tuple[Any, Callable[[Any], Any]]:
        # With the inverse held fixed, the gradients of these expressions are those of log|Sigma|
        # and r' Sigma^-1 r, and no matrix has to be solved for them. Far from the data a variance
        # can drown all others, and LAPACK refuses what is then singular: 1e-14 more on the diagonal
        # changes the values by its square.
        ridge = 1.0 + 1e-14 * np.eye(static_shape(covariance)[-1])
        inverse = held(pt.linalg.inv(covariance * ridge))
        trace = (inverse * covariance).sum(axis=(-2, -1))
        log_det = held(pt.linalg.slogdet(covariance)[1] - trace) + trace

        def square(r: Any) -> Any:
            x = held((inverse * r[..., None, :]).sum(axis=-1))
            outer = x[..., :, None] * covariance * x[..., None, :]
            return 2.0 * (x * r).sum(axis=-1) - outer.sum(axis=(-2, -1))

        return log_det, square

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
        gaussian=gaussian,
        held=held,
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
