"""The likelihood of a layout as a term of a PyMC model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout, given_common_part
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.ops import pytensor_ops


def add_evidence(
    layout: Layout, kind: NDArray[np.object_], mean: Any, tau: Any, omega: Any
) -> None:
    """Add the rows' log likelihood to the model in context.

    `mean` and `tau` are tensors with one value a row (k,), `omega` is a scalar tensor or None.
    Blocks of bounds get one standard normal parameter `f` each; everything else is closed form.
    """
    import pymc as pm
    import pytensor.tensor as pt

    flat, shared, place = given_common_part(layout, kind)
    inside = place >= 0
    if inside.any():
        f = pm.Normal("f", 0.0, 1.0, shape=int(place.max()) + 1)
        rows = np.flatnonzero(inside)
        load = pt.sqrt(tau[rows] ** 2 + shared[rows] + 1e-12)
        mean = pt.inc_subtensor(mean[rows], load * f[place[rows]])
        tau = tau * (~inside).astype(float)
    spread = pt.zeros(1) if omega is None else pt.stack([omega])
    terms = closed_terms(flat, mean, tau, spread, pytensor_ops())
    pm.Potential("evidence", pt.sum([value.sum() for _, value in terms]))
