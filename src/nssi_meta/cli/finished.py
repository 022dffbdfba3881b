"""What verbs share that answer from finished results where they can: is a run fresh, its model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nssi_meta.cli.options import NOT_CONVERGED

if TYPE_CHECKING:
    from nssi_meta.evidence.read import Evidence
    from nssi_meta.synthesis.profiles import Profiles

#: What these verbs take for granted when they read finished results.
DEFAULTS = {"level": 0.95, "rho": 0.6, "doubtful": False}


def results_option(verb: Any) -> Any:
    """Where finished results lie."""
    return click.option(
        "--results",
        default="results",
        show_default=True,
        type=click.Path(),
        help="Results of `nssi-meta run` to read, if they were made from this data.",
    )(verb)


def finished(results: str, data: str, **asked: Any) -> dict[str, Any] | None:
    """The manifest of results made from this data with these options; None, with a word, if not."""
    from nssi_meta.pipeline import fresh_results

    facts, why = fresh_results(results, data)
    if facts is None:
        click.echo(f"{why}; fitting the joint model", err=True)
        return None
    other = [n for n, v in (asked | DEFAULTS).items() if facts["options"].get(n) != v]
    if other:
        click.echo(
            f"{results} was made with another {', '.join(other)}; fitting the joint model", err=True
        )
        return None
    if facts.get("no_joint_model"):
        return None  # fitting it will say why there is none
    return facts


def fresh_tables(results: str, data: str, **asked: Any) -> dict[str, Any] | None:
    """The manifest of results whose tables answer what is asked, in silence; None if none do."""
    from nssi_meta.pipeline import fresh_results

    facts, _ = fresh_results(results, data)
    if facts is None or facts.get("no_joint_model"):
        return None
    same = all(facts["options"].get(n) == v for n, v in (asked | DEFAULTS).items())
    return facts if same else None


def joint_model(
    evidence: Evidence, results: str, data: str, seed: int, threshold: float, tell: Any
) -> Profiles:
    """The joint model: the draws of finished results where they are fresh, fitted otherwise."""
    if finished(results, data, seed=seed) is not None:
        from nssi_meta.synthesis.posterior_file import load_posterior

        return load_posterior(Path(results) / "posterior" / "profiles.nc", evidence)
    from nssi_meta.synthesis.profiles import fit_profiles

    return fit_profiles(
        evidence, seed=seed, delta=threshold, progress=lambda detail: tell("profiles", detail)
    )


def warn_unless(converged: bool, problems: tuple[str, ...] = ()) -> str:
    """Say that a model did not converge; returns the title that a table then carries."""
    if converged:
        return ""
    from nssi_meta.terminal import note

    for problem in problems:
        note(f"Not converged: {problem}")
    click.echo("The joint model DID NOT CONVERGE: these are not results", err=True)
    return "DID NOT CONVERGE: not results"


def exit_unless(converged: bool) -> None:
    """End with the exit code of a model that did not converge."""
    if not converged:
        sys.exit(NOT_CONVERGED)
