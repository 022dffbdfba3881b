"""The verb `pool`: pooled effects of a review's table or of ready-made effects."""

from __future__ import annotations

import sys
from typing import Any

import click

from nssi_meta.cli.counts import CELLS, check_count_words, count_options, pool_tables
from nssi_meta.cli.mirror import check_words, show_mirror
from nssi_meta.cli.options import (
    NOT_CONVERGED,
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
    which_pools,
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
    "omega_median": "omega",
    "p_positive": "P(mu>0)",
    "bf10_mu": "BF of mu",
    "bf10_tau": "BF of tau",
    "flags": "Note",
    "bf_note": "No BF",
}


@click.command()
@which_pools
@click.option("--comparator", help="Only rows compared with this condition (id in conditions.csv).")
@doubtful_option
@ready_made_options
@click.option("--by", help="Column with a group per pool, e.g. the mechanism (with --yi).")
@measure_options
@count_options
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
@click.option(
    "--bayes-factors",
    "bayes",
    is_flag=True,
    help="Also Bayes factors against mu = 0 and tau = 0, which need proper priors.",
)
@seed_option
@omega_option
@pool_options
@format_option
@plain_errors
def pool(data: str, form: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
         estimand: tuple[str, ...], comparator: str | None, doubtful: bool, yi: str | None,
         vi: str | None, sei: str | None, study: str | None, sample: str | None, lower: str | None,
         upper: str | None, unsigned: str | None, by: str | None, sd: tuple[str, ...],
         ni: str | None, method: str | None, test: str | None, counts: bool, bayes: bool,
         **options: Any) -> None:  # fmt: skip
    """Pool effects: estimate, credible and prediction interval, heterogeneity per cell.

    \b
    nssi-meta pool pain_threshold -c nssi
    nssi-meta pool my.csv --yi yi --sei sei --study study --format json
    nssi-meta pool my.csv --yi yi --sei sei --method reml
    nssi-meta pool trials.csv --counts --study trial
    """  # noqa: D301 - click wants the backspace character
    cells = {name: options.pop(name) for name in CELLS}
    check_count_words(counts, cells)
    check_words(method, test)
    if counts:
        table, told = pool_tables(data, cells, study, by, bayes, **options)
        _show(table, form, told)
        return
    ready = {"vi": vi, "sei": sei, "study": study, "sample": sample, "lower": lower,
             "upper": upper, "unsigned": unsigned, "by": by,
             "measure": options["measure"], "sd": sd or None, "ni": ni}  # fmt: skip
    require_yi(yi, ready)
    chosen = {"mechanism": mechanism, "condition": condition, "estimand": estimand}
    if yi is not None:
        if any(chosen.values()) or comparator or doubtful:
            raise click.UsageError("--yi pools ready-made effects: use --by for groups, not -m, -c")
        from nssi_meta.evidence.simple import read_simple

        source: Any = read_simple(
            data, yi, vi=vi, sei=sei, study=study, sample=sample, lower=lower, upper=upper,
            unsigned=unsigned, mechanism=by, ni=ni, sd=sd,
        )  # fmt: skip
        require_measure(sd, options["measure"])
    else:
        source = select(data, chosen, comparator, doubtful)
    if method is not None:
        show_mirror(source, form, method, test, options["level"], options["rho"])
        return
    from nssi_meta.synthesis.pooled import pool as pool_all
    from nssi_meta.terminal import note, progress

    with progress(options["engine"] == "nuts") as tell:
        pools = pool_all(source, progress=lambda detail: tell("pool", detail), **options)
    if yi is not None:  # not before the given priors are known to be priors
        note_scale(yi, options, bool(source["study_id"].duplicated().any()))
    table = pools.summary()
    if bayes:
        from nssi_meta.synthesis.evidence_ratios import with_ratios

        table = with_ratios(table, pools.bayes_factors())
    _show(table, form, *dict.fromkeys(cell.unit_note(pools.options) for cell in pools.cells))
    if not pools.converged:
        for cell in pools.cells:
            for problem in cell.problems:
                note(f"Not converged: {problem}")
        sys.exit(NOT_CONVERGED)


def _show(table: Any, form: str, *notes: str) -> None:
    """Print pools; below a table for people, what its columns are."""
    from nssi_meta.synthesis.pool_tables import COMMON_EFFECT
    from nssi_meta.terminal import note, show

    if form == "table":
        common = (table["tau_prior"] == "zero").all()
        shown = table.dropna(axis=1, how="all")  # omega, where no study has several effects
        show(shown, form, POOL_COLUMNS, f"{COMMON_EFFECT.capitalize()}." if common else "")
        kind, level = table["interval"].iloc[0], f"{100 * table['level'].iloc[0]:g}%"
        between = "0 by its prior" if common else "median SD between studies, in the same unit"
        within = " omega: median SD within studies." if "omega_median" in shown else ""
        note(
            f"Median, Low, High: mean effect mu, its {level} {kind} credible interval, in the "
            "effects' unit. New: the same interval for the effect of a new study. tau: "
            f"{between}.{within}",
            err=False,
        )
    else:
        show(table, form, POOL_COLUMNS)
    if "bf10_mu" in table:
        from nssi_meta.synthesis.evidence_ratios import READING

        note(READING)
    for text in filter(None, notes):
        note(text)
