"""Meta-regression with bounds and sizes without a sign; normal or Student-t study effects.

The likelihood is that of the exact engine and of the joint model (`likelihood`, `evidence_term`):
y_i = x_i'b + u_j + w_i + e_i, where a bound says in which interval y_i fell and a size without sign
that y_i is one of two values. Several bounds of one study have their common part f as a parameter.
With t effects the study's lambda is integrated out as in `robust`, given f. One compiled model
serves tables of any size (`layout_nodes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln

from nssi_meta.models.blocks import Layout
from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.coefficients import at_rows, coef_draws, coef_values, coefficients
from nssi_meta.models.design import Combinations
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import RowNodes, given_f, layout_key, layout_nodes, room
from nssi_meta.models.likelihood import LOG_2PI, SINGLE, Arrays, closed_densities, log_likelihood
from nssi_meta.models.marginal import in_chunks
from nssi_meta.models.ops import Ops, log_sum, numpy_ops
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
    first_node,
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

        return in_chunks(part, len(draws["tau"]), 4 * data.k * (RULE.shape[1] if student else 1))

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
    integrals of a study's bounds, which take most of the time.
    """
    log_weight, inflate = log_mixing(nu[:, None], RULE, np.exp, np.log, gammaln)
    reach = left_reach(nu, tau**2, _far2(rows, mean), np.log)
    counts = RULE[0] >= -reach[:, None]
    light = log_weight < log_weight.max(axis=1, keepdims=True) - LEFT_OUT_RIGHT
    counts &= (RULE[0] < 0) | ~light
    draw, node = np.nonzero(counts)
    wide = tau[draw] * np.sqrt(inflate[draw, node])
    value = block_log_likelihood(rows.layout, mean[draw], wide, omega[draw])
    by_node = np.full((*counts.shape, value.shape[1]), -np.inf)
    by_node[draw, node] = value + log_weight[draw, node][:, None]
    return np.asarray(log_sum(by_node.transpose(0, 2, 1), 1.0, numpy_ops()))


def _far2(rows: BoundedRows, mean: Floats) -> Floats:
    """Square (S,) of how far a block is from its mean at most, for `left_reach`.

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
    return np.asarray(2 * np.add.reduceat(squares[:, order], starts, axis=1).max(axis=1))


def _add_student(
    rows: RowNodes, data: Mapping[str, Any], mean: Any, tau: Any, omega2: Any, n_tied: int
) -> None:
    """Add the rows' log likelihood with one lambda a study to the model in context.

    lambda of a row that stands alone is integrated out at its nodes; that of a study with several
    rows, which would need its likelihood at every node, is a parameter, of which there is room for
    `n_tied`. `data` holds `tied` (K,), the number of a row's study among these and 0 where a row
    stands alone, and their number `n_tied`.
    """
    import pymc as pm
    import pytensor.tensor as pt

    from nssi_meta.models.ops import pytensor_ops

    ops, nu, tau2 = pytensor_ops(), freedom_variable(), tau**2
    alone = {name: rows.forms[name] for name in SINGLE}
    tied = data["tied"] if n_tied else pt.zeros_like(mean)
    at = rows.at(mean, tied)
    far = [_distance(name, x, at(name)[0], ops) for name, x in alone.items()]
    first = first_node(nu, tau2, pt.max(pt.concatenate([[0.0], *far])) ** 2, pt.log)
    rule = pt.constant(RULE)[:, first:]
    log_weight, inflate = log_mixing(nu, rule, pt.exp, pt.log, pt.gammaln)
    nodes = tau2 * inflate + omega2, log_weight - rule[1], rule[2]
    values = {name: _mixed(name, x, at(name)[0], *nodes, ops) for name, x in alone.items()}
    if n_tied:
        inflate = 1.0 / mixing_variable(nu, n_tied, data["n_tied"])
        spread = tau2 * pt.concatenate([[1.0], inflate])[pt.cast(tied, "int64")]
        given = closed_densities(
            rows.forms, given_f(rows, mean, spread, omega2), pt.stack([omega2]), ops
        )
        one = {name: pt.switch(at(name)[1] > 0, given[name], values[name]) for name in alone}
        values = {**given, **one}
    pm.Potential("evidence", sum(value.sum() for value in values.values()))


def _distance(form: str, x: Arrays, mean: Any, ops: Ops) -> Any:
    """How far each row (b,) is from its mean, for `first_node`.

    The log of a probability falls at most as fast as twice that of a density at the nearest end.
    """
    if form == "exact":
        return abs(x["y"] - mean)
    if form == "unsigned":
        return abs(x["y"]) + abs(mean)
    if form == "beyond":
        return np.sqrt(2) * x["sign"] * (x["bound"] - mean)
    middle, half = 0.5 * (x["lower"] + x["upper"]), 0.5 * (x["upper"] - x["lower"])
    return np.sqrt(2) * (abs(mean - middle) - half)


def _mixed(
    form: str, x: Arrays, mean: Any, spread: Any, log_weight: Any, steps: Any, ops: Ops
) -> Any:
    """log of the mean over lambda's nodes of each row's `closed_densities` (b,), with few logs.

    `mean` (b,), the others (n,): the variance beyond `v` at each node, its weight, a factor of it.
    """
    sd = ops.sqrt(x["v"][:, None] + spread)
    if form in ("exact", "unsigned"):
        signs = [x["y"]] if form == "exact" else [x["y"], -x["y"]]
        logs = [log_weight - 0.5 * ((y - mean)[:, None] / sd) ** 2 for y in signs]
        return log_sum(logs[0], steps / sd, ops, *logs[1:]) - 0.5 * LOG_2PI
    if form == "beyond":
        p = ops.ndtr((x["sign"] * (mean - x["bound"]))[:, None] / sd)
    else:
        low, high = (x["lower"] - mean)[:, None] / sd, (x["upper"] - mean)[:, None] / sd
        flip = low + high > 0  # to the lower tail, where the function is precise
        p = ops.ndtr(ops.where(flip, -low, high)) - ops.ndtr(ops.where(flip, -high, low))
    # Far out the widest of the normals decide, whose probabilities are not that small.
    top = ops.held(log_weight.max())
    return top + ops.log(1e-300 + (p * (ops.exp(log_weight - top) * steps)).sum(axis=1))
