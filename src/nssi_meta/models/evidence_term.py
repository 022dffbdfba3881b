"""The likelihood of a layout as a term of a PyMC model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout, common_part, given_common_part
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.ops import pytensor_ops


def add_evidence(
    layout: Layout,
    kind: NDArray[np.object_],
    mean: Any,
    tau: Any,
    omega: Any,
    observed: Any = None,
) -> None:
    """Add the rows' log likelihood to the model in context.

    `mean` and `tau` are tensors with one value a row (k,), `omega` is a scalar tensor or None.
    Each block of bounds gets a standard normal parameter `f`, its rows' common part: given f row i
    has mean_i + l_i f and variance tau^2 + omega^2 + v_i - l_i^2. Everything else is closed form.

    `observed`, a tensor (3, k) of yi, lower and upper, stands in for the layout's numbers where one
    compiled model serves many data sets; bounds must have two finite ends then.
    """
    import pymc as pm
    import pytensor.tensor as pt

    total = tau**2
    block = layout.bound_blocks
    if block is not None:
        real = block.mask > 0
        rows, place = block.rows[real], np.nonzero(real)[0]
        f = pm.Normal("f", 0.0, 1.0, shape=len(block.rows))
        load2 = common_part(
            tau[block.first] ** 2, layout.v[block.rows], block.mask, block.rho, pt.sqrt
        )[real.nonzero()]
        mean = pt.inc_subtensor(mean[rows], pt.sqrt(load2) * f[place])
        total = pt.inc_subtensor(total[rows], -load2)
    spread = pt.zeros(1) if omega is None else pt.stack([omega**2])
    flat = given_common_part(layout, kind)
    if observed is not None:
        flat = replace(flat, y=observed[0], lower=observed[1], upper=observed[2])
    terms = closed_terms(flat, mean, total, spread, pytensor_ops())
    pm.Potential("evidence", pt.sum([value.sum() for _, value in terms]))
