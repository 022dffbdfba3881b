"""Rows of any kind whose studies' effects are t-distributed: a normal with variance tau^2 / lambda.

lambda of a study (of each of its contrasts, where they share no arm) is integrated out at its nodes
as in `robust` wherever the study's likelihood given lambda is cheap: exact effects that share one
study effect, and rows of any kind that stand alone. Where it is not (several bounds, sizes without
sign beside others, contrasts that share an arm) lambda is a parameter while sampling, and
integrated out for the reported log likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nssi_meta.models.bounded_rows import BoundedRows
from nssi_meta.models.coefficients import row_values
from nssi_meta.models.evidence_term import common_variable
from nssi_meta.models.exact_studies import exact_studies, rows_of_studies, without_studies
from nssi_meta.models.layout_nodes import RowNodes, room
from nssi_meta.models.likelihood import closed_part, integrated_part
from nssi_meta.models.robust import (
    RULE,
    counting_nodes,
    freedom_variable,
    log_mixing,
    study_log_likelihood,
)
from nssi_meta.models.structure import Floats, Values
from nssi_meta.models.study_rows import Ints, StudyRows


@dataclass(frozen=True)
class StudentParts:
    """`studies` of exact effects, and all `others` (a layout without the likelihood of those).

    `block` (J,) is the place of each of the studies among the layout's blocks; `tied` (k,) the
    number, from 1, of a row's study among those whose lambda is a parameter, 0 elsewhere.
    """

    studies: StudyRows
    block: Ints
    others: BoundedRows
    tied: Ints

    @property
    def room(self) -> int:
        """For how many studies the model has a parameter lambda."""
        return room(int(self.tied.max(initial=0)))

    @property
    def width(self) -> int:
        """Values held at once for each draw."""
        return max(8 * self.others.layout.k, len(self.studies.names) * RULE.shape[1])

    def values(self, fixed: Mapping[str, Floats]) -> Values:
        """Data of the model, and what `fixed` holds."""
        n_tied = self.tied.max(initial=0)
        ties = {"tied": self.tied.astype(float)} if n_tied else {}
        number = {"n_tied": np.array(float(n_tied))} if n_tied else {}
        rows = {f"study_{name}": x for name, x in row_values(self.studies)["rows"].items()}
        sizes = {"size": self.studies.size}
        of_others = self.others.values({**fixed, **number}, X=self.others.X.T, **ties)
        return {**of_others, "study_rows": rows, "studies": sizes}

    def log_likelihood(self, coef: Floats, tau: Floats, omega: Floats, nu: Floats) -> Floats:
        """Log marginal likelihood (S, blocks): `coef` (S, p), the others (S,)."""
        out = student_log_likelihood(self.others, coef @ self.others.X.T, tau, omega, nu)
        if self.block.size:
            out[:, self.block] = study_log_likelihood(self.studies, coef, tau, omega, nu)
        return out


def student_parts(rows: BoundedRows) -> StudentParts:
    """The rows by how their studies' lambda is dealt with."""
    data = rows.layout
    exact = exact_studies(data)
    several = np.array([len(index) > 1 for index in data.block_rows]) & ~exact
    number = np.cumsum(several) * several
    return StudentParts(
        studies=rows_of_studies(data, rows.X, exact),
        block=np.flatnonzero(exact),
        others=replace(rows, layout=without_studies(data, exact)),
        tied=number[data.block_of_row],
    )


def add_student(
    rows: RowNodes, data: Mapping[str, Any], coef: Any, tau2: Any, omega2: Any, n_tied: int
) -> None:
    """Add the rows' log likelihood to the model in context; `data` as `StudentParts.values`.

    `n_tied` studies have a parameter lambda, `lambda_raw` of `student_kernel`.
    """
    import pymc as pm

    from nssi_meta.models.evidence_op import student_rows

    nu = freedom_variable()
    raw = pm.Flat("lambda_raw", shape=n_tied) if n_tied else None
    others = rows, data, raw, common_variable(rows)
    studies = {name: data[f"study_{name}"] for name in ("y", "z", "d", "X")}
    studies["size"] = data["size"]
    pm.Potential("evidence", student_rows(studies, coef, tau2, omega2, nu, others))


def student_log_likelihood(
    rows: BoundedRows, mean: Floats, tau: Floats, omega: Floats, nu: Floats
) -> Floats:
    """Log marginal likelihood of each block (S, blocks), 0 where the layout has none of it.

    `mean` is (S, k), all else (S,). lambda's nodes that do not count at a draw are left out: those
    far to the left are steep integrals of a study's bounds, which take most of the time. Each study
    with several bounds has nodes of its own, so that no outlier elsewhere adds to them.
    """
    data = rows.layout
    log_weight, inflate = log_mixing(nu[:, None])
    away = _away2(rows, mean)
    singles = data.single_exact, data.single_unsigned, data.single_beyond, data.single_within
    none = np.zeros(0, dtype=np.int64)
    together = none if data.exact_blocks is None else data.exact_blocks.rows[:, 0]
    bounds = data.bound_blocks
    several = () if bounds is None else [bounds.alone(b) for b in range(len(bounds.rho))]
    out = np.zeros((len(nu), len(data.block_rows)))
    for part, first, layout in (
        (closed_part, np.concatenate([*singles, together]), data),
        *((integrated_part, one.first, replace(data, bound_blocks=one)) for one in several),
    ):
        if first.size:
            which = np.sort(data.block_of_row[first])
            counts = counting_nodes(log_weight, nu, tau, away[:, which].max(axis=1))
            draw, node = np.nonzero(counts)
            wide = (tau[draw] * np.sqrt(inflate[draw, node]))[:, None]
            at = mean[draw], np.broadcast_to(wide, (len(draw), data.k)), omega[draw, None]
            value = part(layout, *at)[1] + log_weight[draw, node][:, None]
            starts = np.concatenate([[0], np.cumsum(counts.sum(axis=1))[:-1]])
            top = np.maximum.reduceat(value, starts)
            whole = np.add.reduceat(np.exp(value - top[draw]), starts)
            out[:, which] = top + np.log(whole)
    return out


def _away2(rows: BoundedRows, mean: Floats) -> Floats:
    """Square (S, blocks) of how far each block is from its mean at most, for `robust.fall`.

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
