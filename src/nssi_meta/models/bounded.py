"""Meta-regression with bounds and sizes without a sign; normal or Student-t study effects.

The likelihood is that of the exact engine and of the joint model (`likelihood`, `evidence_term`):
y_i = x_i'b + u_j + w_i + e_i, where a bound says in which interval y_i fell and a size without sign
that y_i is one of two values. Several bounds of one study have their common part f as a parameter.
With t effects lambda of a row that stands alone is integrated out as in `robust`, that of a study
with several rows is a parameter. One compiled model serves tables of any size (`layout_nodes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import gammaln

from nssi_meta.models.blocks import Layout
from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.coefficients import at_rows, coef_draws, coef_values, coefficients
from nssi_meta.models.design import Combinations
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import RowNodes, layout_key, layout_nodes, room
from nssi_meta.models.likelihood import closed_part, integrated_part, log_likelihood
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
from nssi_meta.models.robust import (
    LEFT_OUT_RIGHT,
    RULE,
    TARGET_ACCEPT,
    freedom,
    freedom_log_prior,
    freedom_variable,
    left_reach,
    log_mixing,
    mixing_variable,
)
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
    several = rows.several if student else np.zeros(data.k)
    n_tied = int(several.max())
    ties = {"tied": several.astype(float)} if n_tied else {}
    fixed_data = {**fixed, **({"n_tied": np.array(float(n_tied))} if n_tied else {})}
    values = rows.values(fixed_data, X=design.T, **ties)

    form = layout_key(values), room(n_tied)

    def build(values: Values) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model() as model:
            nodes = data_nodes(values)
            mean = at_rows(coefficients(nodes, p), nodes["X"])
            tau_rv, omega2 = sd_nodes(nodes, tau, omega, folded=not student)
            of_rows = layout_nodes(nodes, values)
            if student:
                _add_student(of_rows, nodes, mean, tau_rv, omega2, room(n_tied))
            else:
                add_evidence(of_rows, mean, tau_rv**2 * pt.ones_like(mean), omega2)
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
            mean, sd = draws["coef"][s] @ design.T, (draws["tau"][s], within(draws)[s])
            if student:
                return student_log_likelihood(rows, mean, *sd, draws["nu"][s])
            return block_log_likelihood(data, mean, *sd)

        return in_chunks(part, len(draws["tau"]), 8 * data.k)

    def extra(draws: Draws) -> dict[str, Floats]:
        out = {"coef": coef_draws(fixed, draws)}
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
        target_accept=TARGET_ACCEPT if student else Structure.target_accept,
    )


def block_log_likelihood(data: Layout, mean: Floats, tau: Floats, omega: Floats) -> Floats:
    """Log marginal likelihood of each block (S, blocks): `mean` (S, k), `omega` (S,).

    `tau` is (S,), or (S, k) where it differs between rows.
    """
    wide = tau if tau.ndim == 2 else np.broadcast_to(tau[:, None], mean.shape)
    return np.asarray(log_likelihood(data, mean, wide, omega[:, None]))


def student_log_likelihood(
    rows: BoundedRows, mean: Floats, tau: Floats, omega: Floats, nu: Floats
) -> Floats:
    """The same (S, blocks) with t-distributed study effects, all but `mean` (S,).

    lambda's nodes that do not count at a draw are left out: those far to the left are steep
    integrals of a study's bounds, which take most of the time. Studies with several bounds have
    nodes of their own, so that no outlier elsewhere adds to theirs.
    """
    data = rows.layout
    log_weight, inflate = log_mixing(nu[:, None], RULE, np.exp, np.log, gammaln)
    heavy = log_weight >= log_weight.max(axis=1, keepdims=True) - LEFT_OUT_RIGHT
    away, bounds = _away2(rows, mean), np.zeros(len(data.block_rows), dtype=bool)
    if data.bound_blocks is not None:
        bounds[data.block_of_row[data.bound_blocks.first]] = True
    out = np.empty((len(nu), len(bounds)))
    for part, which in ((closed_part, ~bounds), (integrated_part, bounds)):
        if which.any():
            reach = left_reach(nu, tau**2, away[:, which].max(axis=1), np.log)
            counts = (RULE[0] >= -reach[:, None]) & ((RULE[0] < 0) | heavy)
            draw, node = np.nonzero(counts)
            wide = (tau[draw] * np.sqrt(inflate[draw, node]))[:, None]
            at = mean[draw], np.broadcast_to(wide, (len(draw), data.k)), omega[draw, None]
            value = part(data, *at)[1] + log_weight[draw, node][:, None]
            starts = np.concatenate([[0], np.cumsum(counts.sum(axis=1))[:-1]])
            top = np.maximum.reduceat(value, starts)
            whole = np.add.reduceat(np.exp(value - top[draw]), starts)
            out[:, which] = top + np.log(whole)
    return out


def _away2(rows: BoundedRows, mean: Floats) -> Floats:
    """Square (S, blocks) of how far each block is from its mean at most, for `left_reach`.

    Rows of a block are correlated: twice the sum of the squares is no less than what their effect
    is away, for any correlation of contrasts that share an arm.
    """
    data = rows.layout
    away = np.abs(data.y - mean)
    away = np.where(rows.kind == "unsigned", np.abs(data.y) + np.abs(mean), away)
    beyond = np.sqrt(2) * np.fmax(data.lower - mean, mean - data.upper)
    squares = np.fmax(np.fmax(away, beyond), 0.0) ** 2
    order = np.argsort(data.block_of_row, kind="stable")
    starts = np.flatnonzero(np.diff(data.block_of_row[order], prepend=-1))
    return np.asarray(2 * np.add.reduceat(squares[:, order], starts, axis=1))


def _add_student(
    rows: RowNodes, data: Mapping[str, Any], mean: Any, tau: Any, omega2: Any, n_tied: int
) -> None:
    """Add the rows' log likelihood with one lambda a study to the model in context.

    lambda of a row that stands alone is integrated out at its nodes; that of a study with several
    rows, which would need its likelihood at every node, is a parameter, of which there is room for
    `n_tied`. `data` holds `tied` (k,), the number of a row's study among these and 0 where a row
    stands alone, and their number `n_tied`.
    """
    import pymc as pm
    import pytensor.tensor as pt

    from nssi_meta.models.evidence_op import mixed_rows

    nu, tau2 = freedom_variable(), tau**2
    form, alone = rows.of_row["form"], rows
    if n_tied:
        tied = data["tied"]
        alone = replace(rows, of_row={**rows.of_row, "form": pt.switch(tied > 0, -1.0, form)})
        others = replace(rows, of_row={**rows.of_row, "form": pt.switch(tied > 0, form, -1.0)})
        inflate = 1.0 / mixing_variable(nu, n_tied, data["n_tied"])
        spread = tau2 * pt.concatenate([[1.0], inflate])[pt.cast(tied, "int64")]
        add_evidence(others, mean, spread, omega2)
    pm.Potential("alone", mixed_rows(alone, mean, tau2, omega2, nu))
