"""The verb `overlap`: how far the index condition overlaps with the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nssi_meta.cli.options import (
    NOT_CONVERGED,
    data_argument,
    format_option,
    plain_errors,
    seed_option,
    threshold_option,
)

if TYPE_CHECKING:
    import pandas as pd

#: What the verb takes for granted when it reads finished results.
OVERLAP_DEFAULTS = {"level": 0.95, "rho": 0.6, "doubtful": False}


@click.command()
@data_argument
@threshold_option
@click.option(
    "--results",
    default="results",
    show_default=True,
    type=click.Path(),
    help="Results of `nssi-meta run` to read, if they were made from this data.",
)
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
    from nssi_meta.terminal import OVERLAP_COLUMNS, OVERLAP_MECHANISM_COLUMNS, progress, show

    columns = OVERLAP_MECHANISM_COLUMNS if mechanisms else OVERLAP_COLUMNS
    name = "overlap_mechanisms" if mechanisms else "overlap_summary"
    table, converged = _finished(results, data, threshold, seed, name)
    if table is None:
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
        converged = profiles.converged
        for problem in profiles.fit.problems:
            click.echo(f"Not converged: {problem}", err=True)
    if not converged:
        click.echo("The joint model DID NOT CONVERGE: these are not results", err=True)
    show(table, form, columns, "" if converged else "DID NOT CONVERGE: not results")
    if not converged:
        sys.exit(NOT_CONVERGED)


def _finished(
    results: str, data: str, threshold: float, seed: int, name: str
) -> tuple[pd.DataFrame | None, bool]:
    """A table of finished results, where they answer the same question."""
    from nssi_meta.pipeline import fresh_results

    facts, why = fresh_results(results, data)
    if facts is None:
        click.echo(f"{why}; fitting the joint model", err=True)
        return None, False
    asked = {"threshold": threshold, "seed": seed, **OVERLAP_DEFAULTS}
    other = [name for name, value in asked.items() if facts["options"].get(name) != value]
    if other:
        click.echo(
            f"{results} was made with another {', '.join(other)}; fitting the joint model", err=True
        )
        return None, False
    import pandas as pd

    return pd.read_csv(Path(results) / "tables" / f"{name}.csv"), bool(facts["converged"])
