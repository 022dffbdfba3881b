"""Meta-regression with bounds and sizes without a sign; normal or Student-t study effects.

The likelihood is that of the exact engine and of the joint model (`likelihood`, `evidence_term`):
y_i = x_i'b + u_j + w_i + e_i, where a bound says in which interval y_i fell and a size without sign
that y_i is one of two values. Several bounds of one study have their common part f as a parameter.
With t effects the study's lambda is integrated out as in `robust`, given f. One compiled model
serves tables of any size (`layout_nodes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln

from nssi_meta.models.blocks import Layout
from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.coefficients import at_rows, coef_draws, coef_values, coefficients
from nssi_meta.models.design import Combinations
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import RowNodes, given_f, layout_key, layout_nodes
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
    RULE,
    first_node,
    freedom,
    freedom_log_prior,
    freedom_variable,
    log_mixing,
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
    values = rows.values(fixed, X=design.T)

    def build(values: Values) -> Any:
        import pymc as pm

        with pm.Model() as model:
            nodes = data_nodes(values)
            mean = at_rows(coefficients(nodes, p), nodes["X"])
            tau_rv, omega2 = sd_nodes(nodes, tau, omega)
            add = _add_student if student else _add_normal
            add(layout_nodes(nodes, values), mean, tau_rv, omega2)
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
            return block_log_likelihood(data, mean, *sd, draws["nu"][s] if student else None)

        return in_chunks(part, len(draws["tau"]), 4 * data.k * (RULE.shape[1] if student else 1))

    def extra(draws: Draws) -> dict[str, Floats]:
        out = {"coef": coef_draws(fixed, draws)}
        return {**out, "nu": freedom(draws["nu_excess"])} if student else out

    def log_prior(draws: Draws) -> dict[str, Floats]:
        out = sd_log_prior(draws, prior, tau, omega)
        return {**out, "nu": freedom_log_prior(draws["nu"])} if student else out

    return Structure(
        key=("bounded", student, p, prior_key(tau), prior_key(omega), layout_key(values)),
        values=values,
        build=build,
        extra=extra,
        quantities=quantities,
        log_likelihood=pointwise,
        log_prior=log_prior,
        studies=rows.names,
        labels=labels(names, combinations),
    )


def block_log_likelihood(
    data: Layout, mean: Floats, tau: Floats, omega: Floats, nu: Floats | None = None
) -> Floats:
    """Log marginal likelihood of each block (S, blocks): `mean` (S, k), the others (S,).

    Without `nu` tau may differ between rows, (S, k).
    """
    if nu is None:
        wide = tau if tau.ndim == 2 else np.broadcast_to(tau[:, None], mean.shape)
        return np.asarray(log_likelihood(data, mean, wide, omega[:, None]))
    log_weight, inflate = log_mixing(nu[:, None], RULE, np.exp, np.log, gammaln)
    n, k = RULE.shape[1], data.k
    wide = np.repeat(tau[:, None] * np.sqrt(inflate), k, axis=1).reshape(-1, k)
    value = log_likelihood(data, np.repeat(mean, n, axis=0), wide, np.repeat(omega, n)[:, None])
    by_node = value.reshape(len(tau), n, -1).transpose(0, 2, 1)
    return np.asarray(log_sum(by_node + log_weight[:, None, :], 1.0, numpy_ops()))


def _add_normal(rows: RowNodes, mean: Any, tau: Any, omega2: Any) -> None:
    """Add the rows' log likelihood with normal study effects to the model in context."""
    import pytensor.tensor as pt

    add_evidence(rows, mean, tau**2 * pt.ones_like(mean), omega2)


def _add_student(rows: RowNodes, mean: Any, tau: Any, omega2: Any) -> None:
    """Add the rows' log likelihood with one lambda a block (`evidence_term` with a normal u)."""
    import pymc as pm
    import pytensor.tensor as pt

    from nssi_meta.models.ops import mixture_ops

    ops, nu, tau2 = mixture_ops(), freedom_variable(), tau**2
    alone = {n: rows.forms[n] for n in SINGLE if rows.common is None}
    rest = {name: x for name, x in rows.forms.items() if name not in alone}
    mixed = []
    if alone:
        at = rows.at(mean, mean)
        far = [_distance(name, x, at(name)[0], ops) for name, x in alone.items()]
        first = first_node(nu, tau2, pt.max(pt.concatenate([[0.0], *far])) ** 2, pt.log)
        rule = pt.constant(RULE)[:, first:]
        log_weight, inflate = log_mixing(nu, rule, pt.exp, pt.log, pt.gammaln)
        nodes = tau2 * inflate + omega2, log_weight - rule[1], rule[2]
        mixed += [_mixed(name, x, at(name)[0], *nodes, ops) for name, x in alone.items()]
    if rest:
        log_weight, inflate = log_mixing(nu, RULE, pt.exp, pt.log, pt.gammaln)
        at = given_f(rows, mean[None, :], (tau2 * inflate)[:, None] * pt.ones_like(mean))
        values = closed_densities(rest, at, omega2 * pt.ones((1, 1)), ops)
        by_block = list(values.values())
        if rows.common is not None:  # otherwise every value is that of a block
            whole = pt.zeros((RULE.shape[1], rows.n_blocks))
            for form, value in values.items():
                whole = pt.inc_subtensor(whole[:, rows.block[form]], value)
            by_block = [whole]
        mixed += [log_sum(value.T + (log_weight - RULE[1]), RULE[2], ops) for value in by_block]
    pm.Potential("evidence", sum(value.sum() for value in mixed))


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
