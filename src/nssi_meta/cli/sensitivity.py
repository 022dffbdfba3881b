"""The verb `sensitivity`: what another reasonable analysis would have said."""

from __future__ import annotations

from pathlib import Path

import click

from nssi_meta.cli.options import DEFAULT_DATA, format_option, plain_errors, select


@click.command()
@click.argument("mechanism", required=False)
@click.option("--data", default=DEFAULT_DATA, show_default=True, type=click.Path())
@click.option("--condition", "-c", multiple=True, help="Only this condition (repeatable).")
@click.option("--estimand", "-e", multiple=True, help="Only this estimand (repeatable).")
@click.option(
    "--grid",
    type=click.Path(),
    help="TOML file with lists rows, mu_prior, tau_prior, rho; the main option of each first.",
)
@click.option("--analyses", is_flag=True, help="One row per analysis, not per pool.")
@click.option(
    "--figure",
    type=click.Path(dir_okay=False),
    help="Specification curve to write (.pdf, .svg or .png); needs a single pool.",
)
@format_option
@plain_errors
def sensitivity(mechanism: str | None, data: str, condition: tuple[str, ...],
                estimand: tuple[str, ...], grid: str | None, analyses: bool, figure: str | None,
                form: str) -> None:  # fmt: skip
    """How far pooled effects depend on rows, priors and the correlation of errors.

    \b
    nssi-meta sensitivity pain_threshold -c nssi -e case_control --figure curve.pdf
    """  # noqa: D301 - click wants the backspace character
    chosen = {"condition": condition, "estimand": estimand}
    if mechanism is not None:
        chosen["mechanism"] = (mechanism,)
    path = None if figure is None else Path(figure)
    if path is not None and path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise click.UsageError(f"--figure {path}: the ending must be .pdf, .svg or .png")
    evidence = select(data, chosen, None, False)
    from nssi_meta.synthesis.sensitivity import read_grid
    from nssi_meta.synthesis.sensitivity import sensitivity as vary
    from nssi_meta.terminal import ANALYSIS_COLUMNS, SENSITIVITY_COLUMNS, progress, show

    with progress() as tell:
        tell("sensitivity", "")
        found = vary(
            evidence,
            None if grid is None else read_grid(grid),
            progress=lambda detail: tell("sensitivity", detail),
        )
    if path is not None:
        if len(found.table) != 1:
            raise click.UsageError(
                f"--figure needs a single pool, this selection has {len(found.table)}: name a "
                "mechanism, -c and -e"
            )
        from nssi_meta.figures import alt_specification, save, specification_curve
        from nssi_meta.figures.records import SCALES

        base = str(found.analyses["spec_id"].iloc[0])
        scale = SCALES[str(found.analyses["scale"].iloc[0])][1]
        drawn = specification_curve(found.analyses, base=base, scale=scale)
        text = alt_specification(found.analyses, base=base)
        kind = path.suffix.lstrip(".").lower()
        save(drawn, path.with_suffix(""), (kind,), title="Specification curve", alt_text=text)
        click.echo(f"Written: {path}", err=True)
    if analyses:
        show(found.analyses, form, ANALYSIS_COLUMNS)
    else:
        show(found.summary(), form, SENSITIVITY_COLUMNS)
