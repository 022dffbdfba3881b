"""The verb `external`: pools that others published beside ours, naive and adjusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nssi_meta.cli.options import data_argument, format_option, plain_errors

#: Columns for people: name in the table -> heading. csv and json print every column.
EXTERNAL_COLUMNS = {
    "citation": "Published by",
    "mechanism": "Mechanism",
    "condition": "Condition",
    "scale": "Scale",
    "k": "k",
    "published": "Published",
    "median_naive": "Naive",
    "covered_naive": "inside",
    "excess_naive": "diff.",
    "median_adjusted": "Adjusted",
    "low_adjusted": "Low",
    "high_adjusted": "High",
    "covered_adjusted": "inside",
    "excess_adjusted": "diff.",
}
EXTERNAL_TOTALS = {
    "cells with": "Cells with",
    "pools": "Pools",
    "n": "Published",
    "covered": "Inside",
    "mean_excess": "Mean diff.",
    "se_excess": "SE",
    "expected_excess": "expected",
    "mean_width": "Mean width",
}


@click.command()
@data_argument
@click.option(
    "--published",
    type=click.Path(),
    help="Table of published pools (default: published_pools.csv beside DATA).",
)
@click.option("--out", type=click.Path(file_okay=False), help="Folder for figure and tables.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processors.")
@format_option
@plain_errors
def external(data: str, published: str | None, out: str | None, jobs: int, form: str) -> None:
    """Pools published by others against ours, naive and adjusted for selective reporting.

    \b
    nssi-meta external --out results/external
    csv and json print every comparison; the totals follow on the screen only. About 40 seconds.
    """  # noqa: D301 - click wants the backspace character
    path = Path(data).with_name("published_pools.csv") if published is None else Path(published)
    if not path.is_file():
        raise click.UsageError(f"{path} is not there; name the table with --published")
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.external import against_published
    from nssi_meta.synthesis.published import read_published
    from nssi_meta.terminal import progress, show

    evidence = read_effects(data)
    evidence.require_usable()
    table = read_published(path)
    with progress() as tell:
        tell("pools", "")
        check, adjusted = against_published(
            evidence, table, n_jobs=jobs, progress=lambda detail: tell("adjusted pools", detail)
        )
    if check.table.empty:
        raise click.UsageError(f"no pool in {path} is about a cell of {data}: nothing to compare")
    if out is not None:
        from nssi_meta.figures import alt_external, save
        from nssi_meta.figures import external as draw

        folder, kinds = Path(out), {"naive": "naive", "adjusted": "adjusted for selection"}
        folder.mkdir(parents=True, exist_ok=True)
        save(
            draw(check.table, kinds), folder / "external", title="Published pools beside ours",
            alt_text=alt_external(check.table, kinds), table=check.table,
        )  # fmt: skip
        check.totals.to_csv(folder / "external_totals.csv", index=False)
        check.left_out.to_csv(folder / "external_left_out.csv", index=False)
        click.echo(f"Written: {folder}/external.*, external_totals.csv, external_left_out.csv",
                   err=True)  # fmt: skip
    show(check.table, form, EXTERNAL_COLUMNS)
    if form == "table":
        show(check.totals, form, EXTERNAL_TOTALS)
        click.echo(
            "diff.: how much ours is larger in the published direction, in standardised mean "
            f"differences; expected: by our own posteriors. {len(check.left_out)} published rows "
            "cannot be compared."
        )
        click.echo(_assumed(adjusted.learned))


def _assumed(learned: Any) -> str:
    """What adjusted pools assume of reporting, and what they learned."""
    w = learned.set_index("parameter").loc[["w abstract", "w elsewhere"]]
    words = [f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for _, r in w.iterrows()]
    return (
        "Adjusted: null results are reported w times as often as significant ones, w ~ Beta(1, 1); "
        f"one w for all cells together, {words[0]} in abstracts, {words[1]} elsewhere. Other "
        "assumptions: docs/bias.md."
    )
