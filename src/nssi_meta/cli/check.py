"""The verb `check`: is the data usable, and how is each row used."""

from __future__ import annotations

import sys

import click

from nssi_meta.cli.options import UNUSABLE, data_argument, format_option


@click.command()
@data_argument
@format_option
def check(data: str, form: str) -> None:
    """Check the data: every problem by cell, and how many rows are used, as what, and why not."""
    from nssi_meta.evidence.flow import flow
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.terminal import show, show_problems

    evidence = read_effects(data)
    if evidence.problems:
        show_problems(evidence.problems, form)
        sys.exit(UNUSABLE)
    columns = {"step": "Step", "n_rows": "Rows", "n_studies": "Studies", "note": "Note"}
    show(flow(evidence), form, columns, f"{data}: no problems")
