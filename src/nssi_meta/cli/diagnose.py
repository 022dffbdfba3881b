"""The verb `diagnose`: the checks of fitted pools, as tables and figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nssi_meta.cli.counts import (
    CELLS,
    check_count_words,
    count_options,
    count_pools,
    count_priors,
)
from nssi_meta.cli.options import (
    READY_MADE,
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
    select,
    which_pools,
)

if TYPE_CHECKING:
    from nssi_meta.synthesis.kinds import AnyPools

#: Columns for people of each check.
LEFT_OUT = {
    "mechanism": "Mechanism", "condition": "Condition", "estimand": "Estimand",
    "label": "Study left out", "k": "k", "median": "Median", "low": "Low", "high": "High",
    "pred_low": "New low", "pred_high": "New high", "shift": "Shift (SD)", "narrower": "Narrower",
    "elpd": "Log score", "influential": "Influence",
}  # fmt: skip
SENSITIVITY = {
    "mechanism": "Mechanism", "condition": "Condition", "estimand": "Estimand",
    "quantity": "Quantity", "prior": "Prior", "likelihood": "Likelihood", "diagnosis": "Diagnosis",
}  # fmt: skip
BAYES_FACTORS = {
    "mechanism": "Mechanism", "condition": "Condition", "estimand": "Estimand",
    "log_evidence": "Log evidence", "bf10_mu": "BF of mu", "bf10_tau": "BF of tau", "note": "Note",
}  # fmt: skip
PREDICTIVE = {
    "mechanism": "Mechanism", "condition": "Condition", "estimand": "Estimand", "source": "Drawn",
    "label": "Statistic", "observed": "Observed", "low": "Low", "median": "Median", "high": "High",
    "p": "p", "flag": "Note",
}  # fmt: skip


@click.command()
@which_pools
@doubtful_option
@ready_made_options
@measure_options
@count_options
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder for the tables (csv) and two figures a pool (pdf, svg, png): without each study "
    "the mean and the prediction interval; drawn reviews beside the observed one.",
)
@omega_option
@pool_options
@format_option
@plain_errors
def diagnose(data: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
             estimand: tuple[str, ...], doubtful: bool, yi: str | None, out: str | None,
             form: str, sd: tuple[str, ...], ni: str | None, counts: bool,
             **options: Any) -> None:  # fmt: skip
    """Check pools: single studies, priors, reviews drawn from the model, Bayes factors.

    \b
    nssi-meta diagnose pain_threshold -c nssi --out checks
    nssi-meta diagnose my.csv --yi yi --sei sei
    nssi-meta diagnose trials.csv --counts --study trial
    """  # noqa: D301 - click wants the backspace character
    cells = {name: options.pop(name) for name in CELLS}
    check_count_words(counts, cells)
    ready = {name: options.pop(name) for name in READY_MADE}
    source: Any = None
    if not counts:
        require_yi(yi, {**ready, "measure": options["measure"], "sd": sd or None, "ni": ni})
    if yi is not None:
        if mechanism or condition or estimand or doubtful:
            raise click.UsageError("--yi checks ready-made effects: no -m, -c, -e with it")
        from nssi_meta.evidence.simple import read_simple

        require_measure(sd, options["measure"])
        source = read_simple(data, yi, **ready, sd=sd, ni=ni)
    elif not counts:
        chosen = {"mechanism": mechanism, "condition": condition, "estimand": estimand}
        source = select(data, chosen, None, doubtful)
    from nssi_meta.inference.predictive import CAVEAT
    from nssi_meta.synthesis.diagnose import diagnose as check
    from nssi_meta.synthesis.evidence_ratios import READING
    from nssi_meta.synthesis.pooled import pool
    from nssi_meta.terminal import note as say
    from nssi_meta.terminal import progress, show

    with progress() as tell:
        pools: AnyPools
        if counts:
            (pools,) = count_pools(data, cells, ready["study"], None, **options)
            told = [count_priors(pools)]
        else:
            pools = pool(source, progress=lambda detail: tell("pool", detail), **options)
            told = [cell.unit_note(pools.options) for cell in pools.cells]
        found = check(pools, progress=lambda detail: tell("checks", detail))
        if out is not None:
            tell("figures", "")
            write_folder(Path(out), pools, found)
    if yi is not None:  # not before the given priors are known to be priors
        note_scale(yi, options, bool(source["study_id"].duplicated().any()))
    if form == "table":
        if len(found.leave_one_out):
            left = found.leave_one_out.dropna(axis=1, how="all")
            show(left, form, LEFT_OUT, "Without each study in turn")
        show(found.prior_sensitivity, form, SENSITIVITY, "Power-scaling sensitivity")
        show(found.predictive, form, PREDICTIVE, "Drawn reviews beside the observed one")
        show(found.bayes_factors, form, BAYES_FACTORS, "Bayes factors against mu = 0 and tau = 0")
    else:
        show(found.table(), form, {})
    for note in (*dict.fromkeys(filter(None, told)), *found.notes, CAVEAT, READING):
        say(note)
    if out is not None:
        click.echo(f"Written: {out}", err=True)


def write_folder(folder: Path, pools: Any, found: Any) -> None:
    """The tables as CSV, and per pool a figure of leaving out and one of the drawn reviews."""
    from nssi_meta.figures import alt_predictive, alt_steps, leave_one_out, predictive, save
    from nssi_meta.figures.records import SCALES
    from nssi_meta.synthesis.cells import CELL
    from nssi_meta.synthesis.leave_one_out import whole

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("leave_one_out", "prior_sensitivity", "predictive", "bayes_factors"):
        getattr(found, name).to_csv(folder / f"{name}.csv", index=False)
    for cell in pools.cells:
        key = dict(zip(CELL, cell.key, strict=True))
        label = _name(pools.table, key)
        stem = re.sub(r"[^\w.-]+", "_", "_".join(p for p in map(str, cell.key) if p)) or "pool"
        left, checks, drawn = (
            _of(table, key) for table in (found.leave_one_out, found.predictive, found.drawn)
        )
        if len(left):
            scale = SCALES.get(str(cell.rows["scale"].iloc[0]), ("", "Effect"))[1]
            title = f"{label}: without each study in turn"
            drawing = leave_one_out(
                left, whole(pools, cell.key), scale=scale, level=pools.options.level, title=title
            )
            save(drawing, folder / f"leave_one_out_{stem}", title=title,
                 alt_text=alt_steps(left, what="left out"))  # fmt: skip
        if len(checks):
            title = f"{label}: drawn reviews beside the observed one"
            save(predictive(checks, drawn, title=title), folder / f"predictive_{stem}",
                 title=title, alt_text=alt_predictive(checks))  # fmt: skip


def _name(table: Any, key: dict[str, str]) -> str:
    """What a reader calls the pool."""
    row = _of(table, key).iloc[0]
    words = [row["label"], row["condition_label"], row["estimand"].replace("_", "-")]
    return ", ".join(str(word) for word in words if word and word != "given") or "Pool"


def _of(table: Any, key: dict[str, str]) -> Any:
    if table.empty:
        return table
    keep = table["mechanism"].notna()
    for column, value in key.items():
        keep &= table[column] == value
    return table[keep].reset_index(drop=True)
