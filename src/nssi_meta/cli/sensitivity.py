"""The verb `sensitivity`: what another reasonable analysis would have said."""

from __future__ import annotations

from pathlib import Path

import click

from nssi_meta.cli.options import format_option, plain_errors, select, which_pools

#: Columns for people: name in the table -> heading. csv and json print every column.
SENSITIVITY_COLUMNS = {
    "mechanism": "Mechanism",
    "condition": "Condition",
    "estimand": "Estimand",
    "k": "k",
    "n_bounds": "Bounds",
    "median": "Median",
    "low": "Low",
    "high": "High",
    "lowest_median": "Lowest",
    "highest_median": "Highest",
    "lowest_low": "Lowest low",
    "highest_high": "Highest high",
    "conclusion": "Conclusion",
    "most_moved_by": "Moved most by",
    "most_moved": "by",
}
ANALYSIS_COLUMNS = {
    "spec_id": "Analysis",
    "condition": "Condition",
    "choice_rows": "Rows",
    "choice_mu_prior": "mu",
    "choice_tau_prior": "tau",
    "choice_rho": "rho",
    "choice_how": "How",
    "choice_convert": "Converted",
    "choice_interval": "Interval",
    "k": "k",
    "median": "Median",
    "low": "Low",
    "high": "High",
    "stands": "Stands",
    "same_as": "Same as",
    "note": "Note",
}
LEFT_OUT_COLUMNS = {
    "label": "Without",
    "k": "k",
    "median": "Median",
    "low": "Low",
    "high": "High",
    "p_positive": "P(mu>0)",
    "influential": "Note",
}


@click.command()
@which_pools
@click.option(
    "--grid",
    type=click.Path(),
    help="TOML file with lists rows, mu_prior, tau_prior, rho, how, convert, interval; the main "
    "option of each first.",
)
@click.option("--analyses", is_flag=True, help="One row per analysis, not per pool.")
@click.option(
    "--influence", is_flag=True, help="Also the pool without each study, and how fragile it is."
)
@click.option(
    "--resume",
    type=click.Path(file_okay=False),
    help="Folder for finished parts: the same call goes on where it was stopped.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder for every figure with its table: specification curve, funnel, prior and "
    "posterior, leave-one-out, cumulative, subsets; needs a single pool.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False),
    help="Specification curve to write (.pdf, .svg or .png); needs a single pool.",
)
@format_option
@plain_errors
def sensitivity(data: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
                estimand: tuple[str, ...], grid: str | None, analyses: bool, influence: bool,
                resume: str | None, out: str | None, figure: str | None,
                form: str) -> None:  # fmt: skip
    """How far pooled effects depend on rows, priors, the correlation of errors and the method.

    Without MECHANISM: one line for every pool, by the small grid. A single pool has the largest by
    default: Student's t effects, selective reporting, and other kinds of evidence converted, too.

    \b
    nssi-meta sensitivity
    nssi-meta sensitivity pain_threshold -c nssi -e case_control --out pain
    """  # noqa: D301 - click wants the backspace character
    chosen = {"mechanism": mechanism, "condition": condition, "estimand": estimand}
    path = None if figure is None else Path(figure)
    if path is not None and path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise click.UsageError(f"--figure {path}: the ending must be .pdf, .svg or .png")
    evidence = select(data, chosen, None, False)
    from nssi_meta.synthesis.cells import CELL
    from nssi_meta.synthesis.grid import FULL_GRID, GRID, read_grid
    from nssi_meta.synthesis.pooled import pool, rows_to_pool
    from nssi_meta.synthesis.sensitivity import sensitivity as vary
    from nssi_meta.synthesis.sensitivity_figures import draw_all, draw_curve
    from nssi_meta.terminal import counting, note, show

    n_pools = len(rows_to_pool(evidence)[0][CELL].drop_duplicates())
    if n_pools != 1 and (option := _single(out, figure, influence)):
        raise click.UsageError(
            f"{option} needs a single pool, this selection has {n_pools}: name a mechanism, -c "
            "and -e"
        )
    usual = FULL_GRID if n_pools == 1 else GRID
    wanted = usual if grid is None else read_grid(grid)
    with counting("analyses") as tell:
        found = vary(evidence, wanted, folder=resume, progress=tell)
    if path is not None:
        draw_curve(found, path.with_suffix(""), (path.suffix.lstrip(".").lower(),))
        click.echo(f"Written: {path}", err=True)
    if analyses:
        show(found.analyses, form, ANALYSIS_COLUMNS)
    else:
        show(found.summary(), form, SENSITIVITY_COLUMNS)
    if not (influence or out):
        return
    pools = pool(evidence)
    if influence:
        from nssi_meta.synthesis.influence import fragility
        from nssi_meta.synthesis.leave_one_out import leave_one_out

        show(leave_one_out(pools), form, LEFT_OUT_COLUMNS, "Without each study in turn")
        click.echo(f"Fragility: {fragility(pools)['sentence']}.", err=form != "table")
    if out is not None:
        with counting("subsets") as tell:
            written, untold = draw_all(
                found, pools, Path(out), progress=lambda done, total: tell("", done, total)
            )
        for line in untold:
            note(line)
        click.echo(f"Written: {len(written)} files in {out}", err=True)


def _single(out: str | None, figure: str | None, influence: bool) -> str:
    """The option given that needs a single pool."""
    given = {"--out": out, "--figure": figure, "--influence": influence}
    return next((name for name, value in given.items() if value), "")
