"""The verb `overlap`: how far the index condition overlaps with the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nssi_meta.cli.finished import exit_unless, finished, results_option, warn_unless
from nssi_meta.cli.options import (
    data_argument,
    format_option,
    plain_errors,
    seed_option,
    threshold_option,
)

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
@click.option("--mechanisms", is_flag=True, help="One row per mechanism, not per figure.")
@format_option
@plain_errors
def overlap(data: str, threshold: float, results: str, seed: int, mechanisms: bool,
            form: str) -> None:  # fmt: skip
    """Overlap of the index condition with each other condition.

    Reads finished results where they fit the data, threshold and seed; fits the joint model
    (about a minute) otherwise.
    """
    from nssi_meta.terminal import progress, show

    columns = OVERLAP_MECHANISM_COLUMNS if mechanisms else OVERLAP_COLUMNS
    name = "overlap_mechanisms" if mechanisms else "overlap_summary"
    facts = finished(results, data, threshold=threshold, seed=seed)
    if facts is not None:
        import pandas as pd

        table = pd.read_csv(Path(results) / "tables" / f"{name}.csv")
        converged, problems = bool(facts["converged"]), tuple[str, ...]()
    else:
        from nssi_meta.evidence.read import read_effects
        from nssi_meta.synthesis.overlap import overlap as compute
        from nssi_meta.synthesis.profiles import fit_profiles

        with progress() as tell:
            tell("check", data)
            evidence = read_effects(data)
            profiles = fit_profiles(
                evidence, seed=seed, delta=threshold, progress=lambda d: tell("profiles", d)
            )
        shared = compute(profiles, threshold)
        table = shared.mechanisms if mechanisms else shared.figures
        converged, problems = profiles.converged, profiles.fit.problems
    title = warn_unless(converged, problems)
    if form == "table" and not mechanisms:
        table = _for_people(table)
    show(table, form, columns, title)
    exit_unless(converged)


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
