"""The verb `forest`: the forest plot of one mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nssi_meta.cli.options import DEFAULT_DATA, doubtful_option, plain_errors, pool_options, select


@click.command()
@click.argument("mechanism")
@click.option("--data", default=DEFAULT_DATA, show_default=True, type=click.Path())
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False),
    help="File to write (.pdf, .svg or .png). Default: forest_MECHANISM.pdf.",
)
@click.option("--condition", "-c", multiple=True, help="Only this condition (repeatable).")
@click.option(
    "--sort",
    type=click.Choice(["year", "effect", "study"]),
    default="year",
    show_default=True,
    help="Order of the rows in a block.",
)
@doubtful_option
@click.option("--no-shrunken", is_flag=True, help="Observed estimates only.")
@pool_options
@plain_errors
def forest(mechanism: str, data: str, out: str | None, condition: tuple[str, ...], sort: str,
           doubtful: bool, no_shrunken: bool, **options: Any) -> None:  # fmt: skip
    """Forest plot of one mechanism, a block per condition."""
    path = Path(out or f"forest_{mechanism}.pdf")
    if path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise click.UsageError(f"--out {path}: the ending must be .pdf, .svg or .png")
    chosen = {"mechanism": (mechanism,), "condition": condition}
    evidence = select(data, chosen, None, doubtful)
    from nssi_meta.synthesis.pooled import pool as pool_all

    pools = pool_all(evidence, **options)
    names = evidence.mechanisms.set_index("mechanism")
    pools.forest(
        path,
        sort=sort,
        shrunken=not no_shrunken,
        title=str(names.loc[mechanism, "label"]),
        positive_means=str(names.loc[mechanism, "positive_means"]),
    )
    click.echo(f"Written: {path}")
