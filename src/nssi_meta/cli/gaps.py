"""The verb `gaps`: which next study would teach the most."""

from __future__ import annotations

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
GAP_COLUMNS = {
    "rank": "Rank",
    "label": "Mechanism",
    "condition_label": "Condition",
    "gain_bits": "Gain (bits)",
    "gain_se": "SE",
    "sd_now": "SD now",
    "sd_after": "SD then",
    "n_studies": "Studies",
    "n_participants": "People",
    "because": "Because",
}


@click.command()
@data_argument
@click.option(
    "--participants",
    type=click.IntRange(4),
    default=100,
    show_default=True,
    help="People in the further study, half of them cases.",
)
@click.option("--top", type=click.IntRange(1), help="Only the first so many studies.")
@threshold_option
@results_option
@seed_option
@format_option
@plain_errors
def gaps(data: str, participants: int, top: int | None, threshold: float, results: str, seed: int,
         form: str) -> None:  # fmt: skip
    """Which next study would teach the most, by mechanism and condition.

    The joint model is read from finished results where they fit the data and seed, and fitted
    (about a minute) otherwise.
    """
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.gaps import gaps as find
    from nssi_meta.terminal import progress, show

    with progress() as tell:
        tell("check", data)
        evidence = read_effects(data)
        evidence.require_usable()
        profiles = joint_model(evidence, results, data, seed, threshold, tell)
        tell("gaps", "")
        table = find(profiles, evidence, threshold=threshold, participants=participants)
    title = warn_unless(profiles.converged, profiles.fit.problems)
    show(table if top is None else table.head(top), form, GAP_COLUMNS, title)
    exit_unless(profiles.converged)
