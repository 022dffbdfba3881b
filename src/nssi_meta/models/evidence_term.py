"""The likelihood of a layout as a term of a PyMC model."""

from __future__ import annotations

from typing import Any

from nssi_meta.models.layout_nodes import RowNodes


def add_evidence(rows: RowNodes, mean: Any, tau2: Any, omega2: Any) -> None:
    """Add the rows' log likelihood to the model in context.

    `mean` and `tau2` are tensors with one value for each of `rows` (k,), `omega2` is a scalar.

    Each study with several bounds has a standard normal parameter f, its rows' common part: given f
    row i has mean_i + l_i f and variance tau^2 + omega^2 + v_i - l_i^2 (`blocks.common_part`). What
    is sampled is g, of which f is a function (`common_kernel`). Everything else is closed form.
    """
    import pymc as pm

    from nssi_meta.models.evidence_op import given_rows

    g = common_variable(rows)
    pm.Potential("evidence", given_rows(rows, mean, tau2, omega2, g))


def common_variable(rows: RowNodes) -> Any:
    """The variable g (room,) of the model in context, None where no study has a common part."""
    import pymc as pm

    return None if rows.common is None else pm.Flat("g", shape=rows.room)
