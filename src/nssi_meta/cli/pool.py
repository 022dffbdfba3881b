"""The verb `pool`: pooled effects of a review's table or of ready-made effects."""

from __future__ import annotations

import sys
from typing import Any

import click

from nssi_meta.cli.mirror import check_words, show_mirror
from nssi_meta.cli.options import (
    NOT_CONVERGED,
    data_argument,
    doubtful_option,
    format_option,
    measure_options,
    note_scale,
    omega_option,
    plain_errors,
    pool_options,
    ready_made_options,
    require_measure,
    require_yi,
    seed_option,
    select,
)

_METHODS = ["reml", "ml", "dl", "pm", "mp", "eb", "pmm", "he", "hs", "hsk", "sj", "ee", "fe", "ce"]

#: Columns for people: name in the table -> heading. csv and json print every column.
POOL_COLUMNS = {
    "mechanism": "Mechanism",
    "condition": "Condition",
    "estimand": "Estimand",
    "scale": "Scale",
    "k": "k",
    "n_bounds": "Bounds",
    "mu_median": "Median",
    "mu_low": "Low",
    "mu_high": "High",
    "pred_low": "New low",
    "pred_high": "New high",
    "tau_median": "tau",
    "p_positive": "P(mu>0)",
    "flags": "Note",
}


@click.command()
@data_argument
@click.option("--mechanism", "-m", multiple=True, help="Only this mechanism (repeatable).")
@click.option("--condition", "-c", multiple=True, help="Only this condition (repeatable).")
@click.option("--estimand", "-e", multiple=True, help="Only this estimand (repeatable).")
@click.option("--comparator", help="Only rows compared with this condition (id in conditions.csv).")
@doubtful_option
@ready_made_options
@click.option("--by", help="Column with a group per pool, e.g. the mechanism (with --yi).")
@measure_options
@click.option(
    "--delta",
    type=click.FloatRange(0),
    help="Smallest difference that matters, in the effects' unit.  [default: 0.2; 0.2 SD for raw "
    "measures]",
)
@click.option(
    "--engine",
    type=click.Choice(["exact", "nuts"]),
    default="exact",
    show_default=True,
    help="Exact quadrature, or the same model sampled by NUTS.",
)
@click.option(
    "--method",
    type=click.Choice(_METHODS, case_sensitive=False),
    metavar="NAME",
    help="The classical analysis instead, of exact rows only, by this estimator of tau squared: "
    f"{', '.join(_METHODS)}. With several rows a study cluster-robust errors too.",
)
@click.option(
    "--test",
    type=click.Choice(["knha", "adhoc", "t", "z"]),
    help="Its interval (with --method): knha is Hartung-Knapp.  [default: knha; z for ee]",
)
@seed_option
@omega_option
@pool_options
@format_option
@plain_errors
def pool(data: str, form: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
         estimand: tuple[str, ...], comparator: str | None, doubtful: bool, yi: str | None,
         vi: str | None, sei: str | None, study: str | None, sample: str | None, lower: str | None,
         upper: str | None, by: str | None, sd: tuple[str, ...], ni: str | None,
         method: str | None, test: str | None, **options: Any) -> None:  # fmt: skip
    """Pool effects: estimate, credible and prediction interval, heterogeneity per cell.

    \b
    nssi-meta pool -m pain_threshold -c nssi
    nssi-meta pool my.csv --yi yi --sei sei --study study --format json
    nssi-meta pool my.csv --yi yi --sei sei --method reml
    """  # noqa: D301 - click wants the backspace character
    check_words(method, test)
    ready = {"vi": vi, "sei": sei, "study": study, "sample": sample, "lower": lower,
             "upper": upper, "by": by, "measure": options["measure"], "sd": sd or None,
             "ni": ni}  # fmt: skip
    require_yi(yi, ready)
    chosen = {"mechanism": mechanism, "condition": condition, "estimand": estimand}
    if yi is not None:
        if any(chosen.values()) or comparator or doubtful:
            raise click.UsageError("--yi pools ready-made effects: use --by for groups, not -m, -c")
        from nssi_meta.evidence.simple import read_simple

        source: Any = read_simple(
            data, yi, vi=vi, sei=sei, study=study, sample=sample, lower=lower, upper=upper,
            mechanism=by, ni=ni, sd=sd,
        )  # fmt: skip
        require_measure(sd, options["measure"])
        if method is None:
            note_scale(yi, options, bool(source["study_id"].duplicated().any()))
    else:
        source = select(data, chosen, comparator, doubtful)
    if method is not None:
        show_mirror(source, form, method, test, options["level"], options["rho"])
        return
    from nssi_meta.synthesis.pooled import pool as pool_all
    from nssi_meta.terminal import progress, show

    with progress(options["engine"] == "nuts") as tell:
        pools = pool_all(source, progress=lambda detail: tell("pool", detail), **options)
    show(pools.summary(), form, POOL_COLUMNS)
    for text in dict.fromkeys(cell.unit_note(pools.options) for cell in pools.cells):
        if text:
            click.echo(text, err=True)
    if not pools.converged:
        for cell in pools.cells:
            for problem in cell.problems:
                click.echo(f"Not converged: {problem}", err=True)
        sys.exit(NOT_CONVERGED)
