"""The likelihood of a pool at every node of a grid of mu, tau and omega, bounds included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.ops import numpy_ops

Floats = NDArray[np.float64]

_OPS = numpy_ops()
#: Values held at once while the likelihood is evaluated on the grid (memory, not accuracy).
_CHUNK = 2_000_000


def log_density(
    layout: Layout, mu: Floats, tau: Floats, omega: Floats, prior: Floats, log_step: Floats | float
) -> Floats:
    """Log joint density on the tensor of nodes (the shape of `prior`).

    Blocks of bounds are integrals and dear. Their log probability is at most 0, so nodes that
    the rest already puts e^-25 below the best node found so far are left without them. What
    counts there is a node's probability: its density times the step, which goes with tau where
    the axis is log tau (`log_step`).
    """
    shape = prior.shape
    mu, tau, omega = (np.broadcast_to(a, shape).ravel() for a in (mu, tau, omega))
    out = prior.ravel().copy()

    def rows(part: Any) -> tuple[Floats, Floats, Floats]:
        size = (len(mu[part]), layout.k)
        mean, spread = (np.broadcast_to(a[part][:, None], size) for a in (mu, tau))
        return mean, spread, omega[part][:, None]

    step = max(1, _CHUNK // layout.k)
    for i in range(0, out.size, step):
        part = slice(i, i + step)
        mean, spread, w = rows(part)
        try:
            terms = list(closed_terms(layout, mean, spread**2, w**2, _OPS))
        except np.linalg.LinAlgError as error:
            raise FloatingPointError(
                "the posterior could not be resolved by quadrature: the sampling variances of a "
                "study are too small beside its heterogeneity"
            ) from error
        for _, value in terms:
            out[part] += value.sum(axis=-1)
    block = layout.bound_blocks
    if block is None:
        return out.reshape(shape)
    live = np.arange(out.size)
    if block.exact.size == 0:
        mass = out + np.broadcast_to(log_step, shape).ravel()
        best = [int(np.argmax(mass))]
        at_best = bound_blocks(layout, block, *rows(best)).sum()
        live = np.flatnonzero(mass > mass[best] + at_best - 25.0)
    step = max(1, _CHUNK // (32 * block.bounds.size))
    for i in range(0, live.size, step):
        some = live[i : i + step]
        out[some] += bound_blocks(layout, block, *rows(some)).sum(axis=-1)
    return out.reshape(shape)
