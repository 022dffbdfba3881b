"""Meta-regression with bounds and sizes without a sign; normal or Student-t study effects.

The likelihood is that of the exact engine and of the joint model (`likelihood`, `evidence_term`):
y_i = x_i'b + u_j + w_i + e_i, where a bound says in which interval y_i fell and a size without sign
that y_i is one of two values. Several bounds of one study have their common part f as a parameter.
With t effects `bounded_student` adds the likelihood. One compiled model serves tables of any size
(`layout_nodes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nssi_meta.models.blocks import Layout
from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.bounded_student import add_student, student_parts
from nssi_meta.models.coefficients import at_rows, coef_draws, coef_values, coefficients
from nssi_meta.models.design import Combinations
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import layout_key, layout_nodes
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.marginal import in_chunks
from nssi_meta.models.priors import OMEGA_DEFAULT, TAU_DEFAULT, Prior
from nssi_meta.models.regression import (
    checked,
    combined,
    labels,
    sampled,
    sd_log_prior,
    sd_nodes,
    sd_values,
    within,
)
from nssi_meta.models.robust import freedom, freedom_log_prior
from nssi_meta.models.structure import (
    Draws,
    Floats,
    Structure,
    Values,
    data_nodes,
    prior_key,
)


def bounded_regression(
    rows: BoundedRows,
    names: Sequence[str],
    coef_priors: Sequence[str | Prior],
    tau_prior: str | Prior = TAU_DEFAULT,
    omega_prior: str | Prior = OMEGA_DEFAULT,
    combinations: Combinations | None = None,
    student: bool = False,
) -> Structure:
    """`regression`, or with `student` `robust_regression`, of rows of any kind.

    Parameters
    ----------
    rows
        Of any kind, with their design matrix (k, p): `bounded_rows`, `model_rows`.
    names, coef_priors, tau_prior, omega_prior, combinations
        As in `regression`. Only exact rows identify a coefficient with a flat prior.
    student
        t-distributed study effects; tau is their scale.

    Raises
    ------
    PriorError
        A prior that cannot be used, or an improper posterior.
    ValueError
        Numbers of names, priors and columns differ; `student` where studies share people.
    """
    require_rows(rows, BoundedRows)
    if student and rows.mixed:
        raise ValueError(
            f"{rows.mixed[0]} are of different studies that share people or controls, and "
            "t-distributed effects need studies that share none: use student=False, or give these "
            "rows one study id if they are one study"
        )
    prior, tau, omega = checked(rows, names, coef_priors, tau_prior, omega_prior)
    data, design, p = rows.layout, rows.X, rows.X.shape[1]
    fixed = {**coef_values(rows.guess(), prior), **sd_values(tau, omega)}
    parts = student_parts(rows) if student else None
    values = rows.values(fixed, X=design.T) if parts is None else parts.values(fixed)
    form = layout_key(values), 0 if parts is None else parts.room

    def build(values: Values) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model() as model:
            nodes = data_nodes(values)
            tau_rv, omega2 = sd_nodes(nodes, tau, omega, folded=parts is None)
            coef = coefficients(nodes, p, tau_rv**2)
            of_rows = layout_nodes(nodes, values)
            if parts is None:
                mean = at_rows(coef, nodes["X"])
                add_evidence(of_rows, mean, tau_rv**2 * pt.ones_like(mean), omega2)
            else:
                add_student(of_rows, nodes, coef, tau_rv**2, omega2, parts.room)
        return model

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        out = sampled(draws, omega)
        if student:
            new = draws["tau"] * rng.standard_t(draws["nu"])
            new = new + within(draws) * rng.standard_normal(len(new))
            return {**out, "nu": draws["nu"], **combined(draws, combinations, new)}
        spread = np.hypot(draws["tau"], within(draws))
        return {**out, **combined(draws, combinations, spread * rng.standard_normal(len(spread)))}

    def pointwise(draws: Draws) -> Floats:
        def part(s: slice) -> Floats:
            coef, sd = draws["coef"][s], (draws["tau"][s], within(draws)[s])
            if parts is not None:
                return parts.log_likelihood(coef, *sd, draws["nu"][s])
            return block_log_likelihood(data, coef @ design.T, *sd)

        width = data.k if parts is None else parts.width
        return in_chunks(part, len(draws["tau"]), width)

    def extra(draws: Draws) -> dict[str, Floats]:
        out = {"coef": coef_draws(fixed, draws, draws["tau"])}
        return {**out, "nu": freedom(draws["nu_excess"])} if student else out

    def log_prior(draws: Draws) -> dict[str, Floats]:
        out = sd_log_prior(draws, prior, tau, omega)
        return {**out, "nu": freedom_log_prior(draws["nu"])} if student else out

    return Structure(
        key=("bounded", student, p, prior_key(tau), prior_key(omega), form),
        values=values,
        build=build,
        extra=extra,
        quantities=quantities,
        log_likelihood=pointwise,
        log_prior=log_prior,
        studies=rows.names,
        labels=labels(names, combinations),
    )


def block_log_likelihood(data: Layout, mean: Floats, tau: Floats, omega: Floats) -> Floats:
    """Log marginal likelihood of each block (S, blocks): `mean` (S, k), `omega` (S,).

    `tau` is (S,), or (S, k) where it differs between rows.
    """
    wide = tau if tau.ndim == 2 else np.broadcast_to(tau[:, None], mean.shape)
    return np.asarray(log_likelihood(data, mean, wide, omega[:, None]))
