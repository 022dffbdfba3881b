"""What the verbs share: options, errors as sentences with exit codes, reading a selection."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

DEFAULT_DATA = "data/effects.csv"
#: Default priors, as `nssi_meta.models.priors` has them.
PRIORS = {"mu_prior": "normal(0,1)", "tau_prior": "halfnormal(0.5)",
          "omega_prior": "halfnormal(0.5)"}  # fmt: skip
UNUSABLE, NOT_CONVERGED = 1, 3

Verb = Callable[..., Any]


def plain_errors(verb: Verb) -> Verb:
    """Turn the package's errors into sentences and exit codes; anything else is a bug and shows."""

    @wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from nssi_meta.evidence.problems import EvidenceError
        from nssi_meta.models.priors import PriorError
        from nssi_meta.terminal import note

        try:
            return verb(*args, **kwargs)
        except EvidenceError as error:
            note(str(error))
            if any("missing" in p.problem and p.column == "effect_id" for p in error.problems):
                note(
                    "A file of ready-made effects is pooled by naming its columns: nssi-meta pool "
                    "FILE --yi yi --sei sei --study study"
                )
            sys.exit(UNUSABLE)
        except FloatingPointError as error:
            note(f"Error: {error}")
            sys.exit(UNUSABLE)
        except click.UsageError as error:
            raise wrong_usage(error.format_message(), error.ctx) from None
        except (PriorError, FileExistsError, FileNotFoundError) as error:
            raise wrong_usage(str(error)) from None
        except ValueError as error:
            if type(error) is not ValueError:
                raise
            raise wrong_usage(str(error)) from None

    return wrapped


def wrong_usage(text: str, ctx: click.Context | None = None) -> click.UsageError:
    """Wrong usage in lines that fit a terminal with what click writes before them."""
    from nssi_meta.terminal import lines

    before = "Error:"
    fitted = lines(f"{before} {text}", sys.stderr).removeprefix(before).lstrip()
    return click.UsageError(fitted, ctx)


def format_option(verb: Verb) -> Verb:
    """How a table is printed."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "json"]),
        default="table",
        show_default=True,
        help="How to print.",
    )(verb)


#: Columns of a table of ready-made effects, beside that of the effects themselves.
READY_MADE = {
    "vi": "Column of sampling variances (with --yi).",
    "sei": "Column of standard errors (with --yi).",
    "study": "Column of studies (with --yi): their effects share a study effect.",
    "sample": "Column of samples (with --yi): same people, correlated errors.",
    "lower": "Column of lower bounds (with --yi): rows without an effect.",
    "upper": "Column of upper bounds (with --yi): rows without an effect.",
    "unsigned": "Column with yes where an effect's sign is not known (with --yi), only its size.",
}


def ready_made_options(verb: Verb) -> Verb:
    """`--yi` and the columns that go with it: the table is then any CSV file."""
    for name, help_text in reversed(READY_MADE.items()):
        verb = click.option(f"--{name}", help=help_text)(verb)
    return click.option("--yi", help="Column of ready-made effects: the table is any CSV file.")(
        verb
    )


def measure_options(verb: Verb) -> Verb:
    """What ready-made effects are, and the columns that tell the unit of priors on a raw scale."""
    for option in (
        click.option("--ni", help="Column of sample sizes (with --yi): they give the SD if no --sd "
                     "does."),
        click.option("--sd", multiple=True,
                     help="Column of the outcome's SDs (with --measure; twice for two groups)."),
        click.option("--measure",
                     help="What the effects are (with --yi), by metafor's names: SMD, OR, MD, "
                     "... For one in the outcome's unit (MD) priors are in units of the outcome's "
                     "SD."),
    ):  # fmt: skip
        verb = option(verb)
    return verb


def require_measure(sd: tuple[str, ...], measure: str | None) -> None:
    """Refuse SDs without a measure: they would be ignored."""
    if sd and measure is None:
        raise click.UsageError("--sd needs --measure: priors follow the SD on a raw scale only")


def note_scale(yi: str, options: Mapping[str, Any], nested: bool) -> None:
    """Say what default priors suppose, where nobody said what the effects are.

    `nested` tells whether some study gives several effects, so that omega has a prior too.
    """
    left = {name: text for name, text in PRIORS.items() if options.get(name) is None}
    if not nested:
        left.pop("omega_prior", None)
    if left and options["measure"] is None:
        told = ", ".join(f"{name.removesuffix('_prior')} ~ {text}" for name, text in left.items())
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in left)
        suit = "suits" if len(left) == 1 else "suit"
        from nssi_meta.terminal import note

        note(
            f"Note: default priors are on the scale of {yi}: {told} {suit} standardised effects "
            "and log ratios. For raw units name the measure (--measure MD --sd COLUMN), or set "
            f"{flags}."
        )


def require_yi(yi: str | None, columns: Mapping[str, Any]) -> None:
    """Refuse columns of ready-made effects without the effects: they would be ignored."""
    if yi is None and (given := [f"--{n}" for n, v in columns.items() if v is not None]):
        raise click.UsageError(f"{', '.join(given)} need --yi: the column of ready-made effects")


def omega_option(verb: Verb) -> Verb:
    """The prior of differences within studies."""
    return click.option(
        "--omega-prior",
        help="Of omega, the SD within studies with several effects: as --tau-prior, but proper.  "
        f"[default: {PRIORS['omega_prior']}]",
    )(verb)


def pool_options(verb: Verb) -> Verb:
    """How a pool is computed: priors, intervals, rho.

    The verb gets the priors that were given; the others are the library's defaults.
    """

    @wraps(verb)
    def with_given(*args: Any, **kwargs: Any) -> Any:
        left = {name for name in PRIORS if kwargs.get(name) is None}
        return verb(*args, **{n: value for n, value in kwargs.items() if n not in left})

    made: Verb = with_given
    for option in reversed(
        [
            click.option("--mu-prior",
                         help="normal(mean,sd), student_t(df,mean,scale) or flat.  "
                         f"[default: {PRIORS['mu_prior']}]"),
            click.option("--tau-prior",
                         help="halfnormal(scale), halfcauchy(scale), halft(df,scale), "
                         "exponential(mean), lognormal(meanlog,sdlog), invgamma(shape,scale), "
                         "uniform(low,high), flat; on tau squared: lognormal2(meanlog,sdlog), "
                         "logt2(df,meanlog,scale), turner2012, turner2015, rhodes2015; from the "
                         "data: jeffreys, overalljeffreys, bergerdeely, conventional, dumouchel, "
                         "shrinkage, i2; zero: the common-effect model. See docs/models.md.  "
                         f"[default: {PRIORS['tau_prior']}]"),
            click.option("--interval", type=click.Choice(["central", "shortest"]),
                         default="central", show_default=True, help="Kind of credible interval."),
            click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True),
                         default=0.95, show_default=True, help="Probability of the intervals."),
            click.option("--rho", type=click.FloatRange(0, 1, max_open=True), default=0.6,
                         show_default=True,
                         help="Correlation of errors of effects from the same people."),
        ]
    ):  # fmt: skip
        made = option(made)
    return made


def data_argument(verb: Verb) -> Verb:
    """The table of effects."""
    return click.argument("data", default=DEFAULT_DATA, type=click.Path())(verb)


def which_pools(verb: Verb) -> Verb:
    """`[DATA] [MECHANISM]`, `-m`, `-c` and `-e`: the words of every verb about pools.

    The verb gets `data` (a path), `mechanism`, `condition` and `estimand` (tuples of names).
    """

    @wraps(verb)
    def told(
        *args: Any, words: tuple[str, ...], table: str | None, mechanism: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        own = kwargs.get("yi") is not None or bool(kwargs.get("counts"))  # they know no mechanisms
        tables = [word for word in words if own or _is_table(word)]
        names = [word for word in words if word not in tables]
        tables += [table] if table is not None else []
        if len(tables) > 1:
            raise wrong_usage(f"one table at a time, not {len(tables)}: {', '.join(tables)}")
        data = tables[0] if tables else DEFAULT_DATA
        names = list(dict.fromkeys([*names, *mechanism]))
        return verb(*args, data=data, mechanism=tuple(names), **kwargs)

    made: Verb = told
    for option in (
        click.option("--estimand", "-e", multiple=True, help="Only this estimand (repeatable)."),
        click.option("--condition", "-c", multiple=True, help="Only this condition (repeatable)."),
        click.option("--mechanism", "-m", multiple=True,
                     help="Only this mechanism (repeatable); the same as the word MECHANISM."),
        # the older word for DATA
        click.option("--data", "table", hidden=True, type=click.Path()),
        click.argument("words", nargs=-1, metavar="[DATA] [MECHANISM]"),
    ):  # fmt: skip
        made = option(made)
    return made


def _is_table(word: str) -> bool:
    """Whether a word is a path rather than a name of a mechanism."""
    return word.lower().endswith(".csv") or os.sep in word or Path(word).is_file()


def one_mechanism(mechanism: Sequence[str]) -> str:
    """The only mechanism of a verb that needs just one."""
    if len(mechanism) != 1:
        found = ", ".join(mechanism) or "none"
        raise click.UsageError(f"name one MECHANISM (an id of mechanisms.csv), not {found}")
    return mechanism[0]


def threshold_option(verb: Verb) -> Verb:
    """Delta."""
    return click.option(
        "--threshold",
        type=click.FloatRange(0),
        default=0.2,
        show_default=True,
        help="Smallest difference that matters (delta).",
    )(verb)


def seed_option(verb: Verb) -> Verb:
    """Seed of the sampler."""
    return click.option("--seed", default=20220701, show_default=True, help="Seed of the sampler.")(
        verb
    )


def doubtful_option(verb: Verb) -> Verb:
    """Rows of status doubtful too."""
    return click.option("--doubtful", is_flag=True, help="Use rows of status doubtful too.")(verb)


def select(
    data: str, chosen: dict[str, tuple[str, ...]], comparator: str | None, doubtful: bool
) -> Any:
    """Selected evidence; an unknown name on the command line is wrong usage, not bad data."""
    from nssi_meta.evidence.problems import EvidenceError
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.evidence.vocabulary import CONDITION_KEY

    evidence = read_effects(data)
    evidence.require_usable()
    names = {name: list(values) or None for name, values in chosen.items()}
    try:
        return evidence.select(**names, comparator=comparator, doubtful=doubtful)
    except EvidenceError as error:
        known = set(evidence.conditions[CONDITION_KEY])
        problems = [
            replace(p, remedy=f"'{p.value}' is a condition: write -c {p.value}")
            if p.column == "mechanism" and p.value in known
            else p
            for p in error.problems
        ]
        raise click.UsageError("\n".join(map(str, problems))) from None
