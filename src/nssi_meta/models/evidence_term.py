"""The likelihood of a layout as a term of a PyMC model."""

from __future__ import annotations

from typing import Any

from nssi_meta.models.layout_nodes import RowNodes, given_f
from nssi_meta.models.likelihood import closed_densities
from nssi_meta.models.ops import pytensor_ops


def add_evidence(rows: RowNodes, mean: Any, tau2: Any, omega2: Any) -> None:
    """Add the rows' log likelihood to the model in context.

    `mean` and `tau2` are tensors with one value for each of `rows` (K,), `omega2` is a scalar.
    """
    import pymc as pm
    import pytensor.tensor as pt

    at = given_f(rows, mean, tau2, omega2)
    values = closed_densities(rows.forms, at, pt.stack([omega2]), pytensor_ops())
    pm.Potential("evidence", sum(value.sum() for value in values.values()))
