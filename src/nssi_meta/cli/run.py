"""The verb `run`: everything."""

from __future__ import annotations

import sys
from typing import Any

import click

from nssi_meta.cli.options import (
    NOT_CONVERGED,
    data_argument,
    doubtful_option,
    omega_option,
    plain_errors,
    pool_options,
    seed_option,
    threshold_option,
)


@click.command()
@data_argument
@click.option(
    "--out",
    default="results",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder for the results; replaced when the run is complete.",
)
@threshold_option
@seed_option
@click.option("--draws", type=click.IntRange(500), help="Draws per chain of the joint model.")
@doubtful_option
@click.option(
    "--robustness",
    is_flag=True,
    help="Also adjust every pool for selective reporting and compare with published pools.",
)
@omega_option
@pool_options
@plain_errors
def run(data: str, out: str, threshold: float, seed: int, draws: int | None, doubtful: bool,
        robustness: bool, **options: Any) -> None:  # fmt: skip
    """Do everything: check, pool, overlap, figures, report."""
    from nssi_meta.pipeline import run as run_all
    from nssi_meta.terminal import note, progress

    with progress() as tell:
        result = run_all(
            data,
            out,
            threshold=threshold,
            seed=seed,
            draws=draws,
            doubtful=doubtful,
            robustness=robustness,
            progress=tell,
            **options,
        )
    click.echo(f"Report: {result.folder / 'report.html'}")
    if not result.converged:
        for problem in result.problems:
            note(f"Not converged: {problem}")
        sys.exit(NOT_CONVERGED)
