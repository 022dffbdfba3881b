"""The verb `claims`: which of the review's claims the evidence supports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nssi_meta.cli.finished import exit_unless, joint_model, results_option, warn_unless
from nssi_meta.cli.options import (
    data_argument,
    format_option,
    plain_errors,
    seed_option,
    threshold_option,
)

#: Columns for people: name in the table -> heading. csv and json print every column.
CLAIM_COLUMNS = {
    "claim_id": "Claim",
    "kind": "Kind",
    "statement": "It says",
    "probability": "P",
    "bayes_factor_not": "BF (not)",
    "bayes_factor": "BF (any)",
    "verdict": "Verdict",
    "estimand": "Estimand",
    "k": "k",
    "n_studies": "Studies",
    "n_bounds": "Bounds",
    "sensitivity": "Other readings",
    "disputed": "Disputed",
}
READING_COLUMNS = {
    "claim_id": "Claim",
    "reading": "Reading",
    "hypothesis": "It says",
    "probability": "P",
    "prior": "Prior P",
    "bayes_factor": "BF",
    "verdict": "Verdict",
    "k": "k",
    "n_studies": "Studies",
    "note": "Note",
}


@click.command()
@data_argument
@click.option(
    "--claims",
    "file",
    type=click.Path(),
    help="Table of claims. Default: claims.csv beside DATA.",
)
@threshold_option
@results_option
@seed_option
@click.option("--readings", is_flag=True, help="One row per reading of a claim, not per claim.")
@format_option
@plain_errors
def claims(data: str, file: str | None, threshold: float, results: str, seed: int, readings: bool,
           form: str) -> None:  # fmt: skip
    """Which claims of a review hold: probability, Bayes factor, verdict, evidence.

    A claim is a row of claims.csv. The joint model is read from finished results where they fit
    the data and seed, and fitted (about a minute) otherwise. With one condition there is none:
    claims about single means are then read from their pools.
    """
    from nssi_meta.evidence.claims import read_claims
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.claims import RULE
    from nssi_meta.synthesis.claims import claims as audit
    from nssi_meta.synthesis.profiles import comparable
    from nssi_meta.terminal import progress, show

    with progress() as tell:
        tell("check", data)
        evidence = read_effects(data)
        evidence.require_usable()
        listed = read_claims(file or Path(data).with_name("claims.csv"), evidence)
        profiles = None
        if comparable(evidence):
            profiles = joint_model(evidence, results, data, seed, threshold, tell)
        tell("claims", f"{len(listed)} claims")
        found = audit(listed, evidence, profiles, threshold=threshold)
    title = RULE
    if profiles is not None:
        title = warn_unless(profiles.converged, profiles.fit.problems) or RULE
    if readings:
        show(found.sensitivity, form, READING_COLUMNS, title)
    else:
        show(_for_people(found.summary()) if form == "table" else found.summary(), form,
             CLAIM_COLUMNS, title)  # fmt: skip
    exit_unless(found.converged)


def _for_people(table: Any) -> Any:
    """Probabilities so that one sees on which side of the rule they lie; empty where none is."""
    from nssi_meta.report.claims_text import claim_probability

    said = [claim_probability(p) if p == p else "" for p in table["probability"]]
    return table.assign(probability=said)
