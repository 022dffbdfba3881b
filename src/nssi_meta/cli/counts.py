"""`pool --counts`: two-by-two tables by their exact binomial likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nssi_meta.cli.options import Verb

if TYPE_CHECKING:
    from nssi_meta.evidence.problems import Problem
    from nssi_meta.synthesis.counts import CountsPool

#: Columns of two-by-two tables, by metafor's names.
CELLS = {
    "ai": "events among the treated or cases",
    "bi": "no event, treated or cases",
    "n1i": "size of that group, instead of bi",
    "ci": "events among controls",
    "di": "no event, controls",
    "n2i": "size of that group, instead of di",
}
#: Options of the verbs that counts have a use for.
_USED = {"words", "table", "counts", *CELLS, "study", "by", "delta", "bayes", "mu_prior",
         "tau_prior", "interval", "level", "form", "out", "sort", "layout",
         "columns", "ratios", "favours", "page_height", "density", "no_shrunken"}  # fmt: skip
#: Of them, those of `pool_counts`.
_OF_POOLS = ("mu_prior", "tau_prior", "interval", "level", "delta")


def count_options(verb: Verb) -> Verb:
    """`--counts` and the names of its columns."""
    for name, what in reversed(CELLS.items()):
        verb = click.option(f"--{name}", help=f"Column (with --counts): {what}.")(verb)
    return click.option(
        "--counts",
        is_flag=True,
        help="The table is a CSV file of two-by-two tables, a study a row, with columns ai, ci and "
        "bi, di or n1i, n2i (or other names, given below): log odds ratios by their exact "
        "binomial likelihood. Empty cells need no correction.",
    )(verb)


def check_count_words(counts: bool, cells: Mapping[str, str | None]) -> None:
    """Refuse options of the other kinds of input, rather than ignore them."""
    context = click.get_current_context()
    if not counts:
        if given := [f"--{name}" for name, value in cells.items() if value is not None]:
            raise click.UsageError(f"{', '.join(given)} need --counts: two-by-two tables")
        return
    wrong = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _USED
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if wrong:
        raise click.UsageError(f"--counts has no use for {', '.join(wrong)}: leave them out")


def pool_tables(
    data: str,
    cells: Mapping[str, str | None],
    study: str | None,
    by: str | None,
    bayes: bool,
    **options: Any,
) -> tuple[Any, str]:
    """The table of pools of a file of counts, and a sentence on their priors."""
    import pandas as pd

    from nssi_meta.synthesis.evidence_ratios import with_ratios

    pools = count_pools(data, cells, study, by, **options)
    table = pd.concat([pool.table for pool in pools], ignore_index=True)
    if bayes:
        table = with_ratios(table, pd.concat([pool.bayes_factors() for pool in pools]))
    return table, count_priors(pools[0])


def count_pools(
    data: str, cells: Mapping[str, str | None], study: str | None, by: str | None, **options: Any
) -> list[CountsPool]:
    """The pools of a file of counts; of `options` those that counts have."""
    from nssi_meta.evidence.problems import EvidenceError
    from nssi_meta.evidence.simple_counts import read_counts
    from nssi_meta.synthesis.counts import pool_counts

    try:
        rows = read_counts(data, study=study, group=by, **cells)
    except EvidenceError as error:
        raise EvidenceError([_with_option(problem, cells) for problem in error.problems]) from None
    wanted = {name: options[name] for name in _OF_POOLS if name in options}
    return [
        pool_counts(
            part["ai"], part["n1i"], part["ci"], part["n2i"],
            study=part["study"].tolist(), name=str(name), **wanted,
        )
        for name, part in rows.groupby("group", sort=False)
    ]  # fmt: skip


def count_priors(pool: CountsPool) -> str:
    """A sentence on the priors of a pool."""
    mu, tau, _ = pool.cell.priors
    return (
        f"Log odds ratios by binomial likelihoods. Priors: mu ~ {mu}, tau ~ {tau}, log odds of "
        f"each control group ~ {pool.baseline}."
    )


def _with_option(problem: Problem, cells: Mapping[str, str | None]) -> Problem:
    """The remedy of a missing column in the words of the command line: its option."""
    from nssi_meta.evidence.problems import nearest

    cell = next((c for c in CELLS if (cells[c] or c) == problem.column), None)
    if problem.row is not None or cell is None:
        return problem
    meant = nearest(problem.column or cell, problem.allowed.split(", "))
    remedy = f"name it with --{cell} COLUMN ({CELLS[cell]})"
    if meant:
        remedy += f", perhaps --{cell} {meant}"
    if (instead := {"n1i": "bi", "n2i": "di"}.get(cell)) is not None:
        remedy += f"; or --{instead} COLUMN ({CELLS[instead]})"
    return replace(problem, remedy=remedy)
