"""The command line. Everything heavy is imported inside the verbs: `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nssi_meta.version import __version__

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_DATA = "data/effects.csv"
MU_PRIOR = "normal(0,1)"
#: What the verb `overlap` takes for granted when it reads finished results.
OVERLAP_DEFAULTS = {"level": 0.95, "rho": 0.6, "doubtful": False}
UNUSABLE, NOT_CONVERGED = 1, 3

_EXIT_CODES = """Exit codes: 0 done; 1 the data is not usable (every problem is named); 2 wrong
usage; 3 a model did not converge (its output is marked, it is not a result)."""


@click.group(epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nssi-meta")
def cli() -> None:
    """Bayesian meta-analysis of a review's evidence base.

    DATA is a table of effects as papers report them (default: data/effects.csv), with
    mechanisms.csv and conditions.csv beside it.
    """


def main() -> None:
    """Entry point of the command `nssi-meta`."""
    cli()


def _plain_errors(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the package's errors into sentences and exit codes; anything else is a bug and shows."""

    @wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from nssi_meta.evidence.problems import EvidenceError
        from nssi_meta.models.priors import PriorError

        try:
            return verb(*args, **kwargs)
        except EvidenceError as error:
            click.echo(str(error), err=True)
            if any("missing" in p.problem and p.column == "effect_id" for p in error.problems):
                click.echo(
                    "A file of ready-made effects is pooled by naming its columns: nssi-meta pool "
                    "FILE --yi yi --sei sei --study study",
                    err=True,
                )
            sys.exit(UNUSABLE)
        except FloatingPointError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(UNUSABLE)
        except (PriorError, FileExistsError, FileNotFoundError) as error:
            raise click.UsageError(str(error)) from None
        except ValueError as error:
            if type(error) is not ValueError:
                raise
            raise click.UsageError(str(error)) from None

    return wrapped


def _format_option(verb: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "json"]),
        default="table",
        show_default=True,
        help="How to print.",
    )(verb)


def _pool_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--mu-prior", default=MU_PRIOR, show_default=True,
                         help="normal(mean,sd), student_t(df,mean,scale) or flat."),
            click.option("--tau-prior", default="halfnormal(0.5)", show_default=True,
                         help="halfnormal(scale), halfcauchy(scale), halft(df,scale), "
                         "exponential(mean), lognormal(meanlog,sdlog), invgamma(shape,scale), "
                         "uniform(low,high), flat; on tau squared: lognormal2(meanlog,sdlog), "
                         "logt2(df,meanlog,scale), turner2015, rhodes2015; from the data: "
                         "jeffreys, overalljeffreys, bergerdeely, conventional, dumouchel, "
                         "shrinkage, i2; zero: fixed effect. See docs/models.md."),
            click.option("--interval", type=click.Choice(["central", "shortest"]),
                         default="central", show_default=True, help="Kind of credible interval."),
            click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True),
                         default=0.95, show_default=True, help="Probability of the intervals."),
            click.option("--rho", type=click.FloatRange(0, 1, max_open=True), default=0.6,
                         show_default=True,
                         help="Correlation of errors of effects from the same people."),
        ]
    ):  # fmt: skip
        verb = option(verb)
    return verb


def _data_argument(verb: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("data", default=DEFAULT_DATA, type=click.Path())(verb)


def _show(table: pd.DataFrame, form: str, columns: dict[str, str], title: str = "") -> None:
    """Print a table: chosen columns for people, everything for csv and json."""
    from nssi_meta.terminal import show

    show(table, form, columns, title)


@contextmanager
def _progress(enabled: bool = True) -> Iterator[Callable[[str, str], None]]:
    from nssi_meta.terminal import progress

    with progress(enabled) as tell:
        yield tell


@cli.command()
@_data_argument
@click.option(
    "--out",
    default="results",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder for the results; replaced when the run is complete.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=0.2,
    show_default=True,
    help="Smallest difference that matters (delta).",
)
@click.option("--seed", default=20220701, show_default=True, help="Seed of the sampler.")
@click.option("--draws", type=click.IntRange(500), help="Draws per chain of the joint model.")
@click.option("--doubtful", is_flag=True, help="Use rows of status doubtful too.")
@_pool_options
@_plain_errors
def run(data: str, out: str, threshold: float, seed: int, draws: int | None, doubtful: bool,
        **options: Any) -> None:  # fmt: skip
    """Do everything: check, pool, overlap, figures, report."""
    from nssi_meta.pipeline import run as run_all

    with _progress() as tell:
        result = run_all(
            data,
            out,
            threshold=threshold,
            seed=seed,
            draws=draws,
            doubtful=doubtful,
            progress=tell,
            **options,
        )
    click.echo(f"Report: {result.folder / 'report.html'}")
    if not result.converged:
        for problem in result.problems:
            click.echo(f"Not converged: {problem}", err=True)
        sys.exit(NOT_CONVERGED)


@cli.command()
@_data_argument
@_format_option
def check(data: str, form: str) -> None:
    """Check the data: every problem by cell, and how many rows are used, as what, and why not."""
    from nssi_meta.evidence.flow import flow
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.terminal import show_problems

    evidence = read_effects(data)
    if evidence.problems:
        show_problems(evidence.problems, form)
        sys.exit(UNUSABLE)
    columns = {"step": "Step", "n_rows": "Rows", "n_studies": "Studies", "note": "Note"}
    _show(flow(evidence), form, columns, f"{data}: no problems")


@cli.command()
@click.argument("data", default=DEFAULT_DATA, type=click.Path())
@click.option("--mechanism", "-m", multiple=True, help="Only this mechanism (repeatable).")
@click.option("--condition", "-c", multiple=True, help="Only this condition (repeatable).")
@click.option("--estimand", "-e", multiple=True, help="Only this estimand (repeatable).")
@click.option("--comparator", help="Only rows compared with this condition (id in conditions.csv).")
@click.option("--doubtful", is_flag=True, help="Use rows of status doubtful too.")
@click.option("--yi", help="Column of ready-made effects: DATA is any CSV file.")
@click.option("--vi", help="Column of sampling variances (with --yi).")
@click.option("--sei", help="Column of standard errors (with --yi).")
@click.option("--study", help="Column of studies (with --yi): their effects share a study effect.")
@click.option("--sample", help="Column of samples (with --yi): same people, correlated errors.")
@click.option("--lower", help="Column of lower bounds (with --yi): rows without an effect.")
@click.option("--upper", help="Column of upper bounds (with --yi): rows without an effect.")
@click.option("--by", help="Column with a group per pool, e.g. the mechanism (with --yi).")
@click.option(
    "--measure",
    help="What the effects are (with --yi), by metafor's names: SMD, OR, MD, "
    "... For one in the outcome's unit (MD) priors are in units of the outcome's SD.",
)
@click.option(
    "--sd",
    multiple=True,
    help="Column of the outcome's SDs (with --measure; twice for two groups).",
)
@click.option("--ni", help="Column of sample sizes (with --yi): they give the SD if no --sd does.")
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
@click.option("--seed", default=20220701, show_default=True, help="Seed (NUTS).")
@_pool_options
@_format_option
@_plain_errors
def pool(data: str, form: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
         estimand: tuple[str, ...], comparator: str | None, doubtful: bool, yi: str | None,
         vi: str | None, sei: str | None, study: str | None, sample: str | None, lower: str | None,
         upper: str | None, by: str | None, sd: tuple[str, ...], ni: str | None,
         **options: Any) -> None:  # fmt: skip
    """Pool effects: estimate, credible and prediction interval, heterogeneity per cell.

    \b
    nssi-meta pool -m pain_threshold -c nssi
    nssi-meta pool my.csv --yi yi --sei sei --study study --format json
    """  # noqa: D301 - click wants the backspace character
    ready = {"vi": vi, "sei": sei, "study": study, "sample": sample, "lower": lower,
             "upper": upper, "by": by, "measure": options["measure"], "sd": sd or None,
             "ni": ni}  # fmt: skip
    if yi is None and (given := [f"--{n}" for n, v in ready.items() if v is not None]):
        raise click.UsageError(f"{', '.join(given)} need --yi: the column of ready-made effects")
    chosen = {"mechanism": mechanism, "condition": condition, "estimand": estimand}
    if yi is not None:
        if any(chosen.values()) or comparator or doubtful:
            raise click.UsageError("--yi pools ready-made effects: use --by for groups, not -m, -c")
        from nssi_meta.evidence.simple import read_simple

        source: Any = read_simple(
            data, yi, vi=vi, sei=sei, study=study, sample=sample, lower=lower, upper=upper,
            mechanism=by, ni=ni, sd=sd,
        )  # fmt: skip
        if sd and options["measure"] is None:
            raise click.UsageError("--sd needs --measure: priors follow the SD on a raw scale only")
        if options["mu_prior"] == MU_PRIOR and options["measure"] is None:
            click.echo(
                f"Note: priors are on the scale of {yi}: mu ~ {options['mu_prior']}, tau ~ "
                f"{options['tau_prior']} suit standardised effects and log ratios. For raw units "
                "name the measure (--measure MD --sd COLUMN), or set --mu-prior and --tau-prior.",
                err=True,
            )
    else:
        source = _select(data, chosen, comparator, doubtful)
    from nssi_meta.synthesis.pooled import pool as pool_all
    from nssi_meta.terminal import POOL_COLUMNS

    with _progress(options["engine"] == "nuts") as tell:
        pools = pool_all(source, progress=lambda detail: tell("pool", detail), **options)
    _show(pools.summary(), form, POOL_COLUMNS)
    for text in dict.fromkeys(cell.unit.text for cell in pools.cells if cell.unit.source):
        click.echo(text, err=True)
    if not pools.converged:
        for cell in pools.cells:
            for problem in cell.problems:
                click.echo(f"Not converged: {problem}", err=True)
        sys.exit(NOT_CONVERGED)


def _select(
    data: str, chosen: dict[str, tuple[str, ...]], comparator: str | None, doubtful: bool
) -> Any:
    """Selected evidence; an unknown name on the command line is wrong usage, not bad data."""
    from nssi_meta.evidence.problems import EvidenceError
    from nssi_meta.evidence.read import read_effects

    evidence = read_effects(data)
    evidence.require_usable()
    names = {name: list(values) or None for name, values in chosen.items()}
    try:
        return evidence.select(**names, comparator=comparator, doubtful=doubtful)
    except EvidenceError as error:
        raise click.UsageError("\n".join(str(p) for p in error.problems)) from None


@cli.command()
@_data_argument
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=0.2,
    show_default=True,
    help="Smallest difference that matters (delta).",
)
@click.option(
    "--results",
    default="results",
    show_default=True,
    type=click.Path(),
    help="Results of `nssi-meta run` to read, if they were made from this data.",
)
@click.option("--seed", default=20220701, show_default=True, help="Seed of the sampler.")
@click.option("--mechanisms", is_flag=True, help="One row per mechanism, not per figure.")
@_format_option
@_plain_errors
def overlap(data: str, threshold: float, results: str, seed: int, mechanisms: bool,
            form: str) -> None:  # fmt: skip
    """Overlap of the index condition with each other condition.

    Reads finished results where they fit the data, threshold and seed; fits the joint model
    (about a minute) otherwise.
    """
    from nssi_meta.terminal import OVERLAP_COLUMNS, OVERLAP_MECHANISM_COLUMNS

    columns = OVERLAP_MECHANISM_COLUMNS if mechanisms else OVERLAP_COLUMNS
    name = "overlap_mechanisms" if mechanisms else "overlap_summary"
    table, converged = _finished(results, data, threshold, seed, name)
    if table is None:
        from nssi_meta.evidence.read import read_effects
        from nssi_meta.synthesis.overlap import overlap as compute
        from nssi_meta.synthesis.profiles import fit_profiles

        with _progress() as tell:
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
    _show(table, form, columns, "" if converged else "DID NOT CONVERGE: not results")
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


@cli.command()
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
@click.option("--doubtful", is_flag=True, help="Use rows of status doubtful too.")
@click.option("--no-shrunken", is_flag=True, help="Observed estimates only.")
@_pool_options
@_plain_errors
def forest(mechanism: str, data: str, out: str | None, condition: tuple[str, ...], sort: str,
           doubtful: bool, no_shrunken: bool, **options: Any) -> None:  # fmt: skip
    """Forest plot of one mechanism, a block per condition."""
    path = Path(out or f"forest_{mechanism}.pdf")
    if path.suffix.lower() not in (".pdf", ".svg", ".png"):
        raise click.UsageError(f"--out {path}: the ending must be .pdf, .svg or .png")
    chosen = {"mechanism": (mechanism,), "condition": condition}
    evidence = _select(data, chosen, None, doubtful)
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


if __name__ == "__main__":
    main()
