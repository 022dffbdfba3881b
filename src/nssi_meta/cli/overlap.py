"""The verb `overlap`: how far the index condition overlaps with the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nssi_meta.cli.finished import (
    exit_unless,
    fresh_tables,
    joint_model,
    results_option,
    warn_unless,
)
from nssi_meta.cli.options import (
    data_argument,
    format_option,
    plain_errors,
    seed_option,
    threshold_option,
)

if TYPE_CHECKING:
    from nssi_meta.evidence.read import Evidence

#: Columns for people: name in the table -> heading. csv and json print every column.
OVERLAP_COLUMNS = {
    "other_label": "With",
    "figure": "Figure",
    "median": "Median",
    "low": "Low",
    "high": "High",
    "prior_low": "Prior low",
    "prior_high": "Prior high",
    "n_mechanisms": "Mechanisms",
    "n_studies": "Studies",
    "share_bounds": "Bounds",
    "verdict": "Verdict",
}
OVERLAP_MECHANISM_COLUMNS = {
    "other_label": "With",
    "label": "Mechanism",
    "p_shared": "Shared",
    "p_opposite": "Opposite",
    "p_index_only": "Index only",
    "p_other_only": "Other only",
    "p_neither": "Neither",
    "k_index": "k index",
    "k_other": "k other",
    "verdict": "Verdict",
}


@click.command()
@data_argument
@threshold_option
@results_option
@seed_option
@click.option(
    "--index",
    metavar="CONDITION",
    help="Condition to compare with each other one. Default: the review's own.",
)
@click.option("--mechanisms", is_flag=True, help="One row per mechanism, not per figure.")
@format_option
@plain_errors
def overlap(data: str, threshold: float, results: str, seed: int, index: str | None,
            mechanisms: bool, form: str) -> None:  # fmt: skip
    """Overlap of the index condition, or of any other, with each other condition.

    The joint model is read from finished results where they fit the data and seed, and fitted
    (about a minute) otherwise.
    """
    from nssi_meta.terminal import progress, show

    columns = OVERLAP_MECHANISM_COLUMNS if mechanisms else OVERLAP_COLUMNS
    name = "overlap_mechanisms" if mechanisms else "overlap_summary"
    facts = None if index else fresh_tables(results, data, threshold=threshold, seed=seed)
    if facts is not None:
        import pandas as pd

        table = pd.read_csv(Path(results) / "tables" / f"{name}.csv")
        converged, problems = bool(facts["converged"]), tuple[str, ...]()
    else:
        from nssi_meta.evidence.read import read_effects
        from nssi_meta.synthesis.overlap import overlap as compute

        with progress() as tell:
            tell("check", data)
            evidence = read_effects(data)
            evidence.require_usable()
            _check_index(index, evidence)
            profiles = joint_model(evidence, results, data, seed, threshold, tell)
        shared = compute(profiles, threshold, index)
        table = shared.mechanisms if mechanisms else shared.figures
        converged, problems = profiles.converged, profiles.fit.problems
    title = warn_unless(converged, problems)
    if form == "table" and not mechanisms:
        table = _for_people(table)
    show(table, form, columns, title)
    exit_unless(converged)


def _check_index(index: str | None, evidence: Evidence) -> None:
    """Refuse a condition that the review does not have, before a minute of sampling."""
    from nssi_meta.evidence.catalogue import with_role
    from nssi_meta.evidence.vocabulary import CASE_ROLES

    known = with_role(evidence.conditions, *CASE_ROLES)
    if index is not None and index not in known:
        raise click.BadParameter(
            f"'{index}' is no condition of this review; it has {', '.join(known)}",
            param_hint="--index",
        )


def _for_people(table: Any) -> Any:
    """Numbers of mechanisms without decimals, shares as percentages."""
    from nssi_meta.report.values import percent, whole

    table = table.copy()
    counts = table["figure"] == "n_shared"
    ends = ("median", "low", "high", "prior_low", "prior_high")
    for column in (c for c in ends if c in table):
        pairs = zip(table[column], counts, strict=True)
        table[column] = [whole(x) if is_count else f"{x:.2f}" for x, is_count in pairs]
    if "share_bounds" in table:
        table["share_bounds"] = [percent(share) for share in table["share_bounds"]]
    return table
