"""The command line, one module a verb. Everything heavy is imported inside the verbs: `--help`
answers at once.
"""

from __future__ import annotations

import os

import click

from nssi_meta.cli.check import check
from nssi_meta.cli.claims import claims
from nssi_meta.cli.diagnose import diagnose
from nssi_meta.cli.external import external
from nssi_meta.cli.forest import forest
from nssi_meta.cli.gaps import gaps
from nssi_meta.cli.moderators import moderators
from nssi_meta.cli.overlap import overlap
from nssi_meta.cli.pool import pool
from nssi_meta.cli.run import run
from nssi_meta.cli.sensitivity import sensitivity
from nssi_meta.version import __version__

_EXIT_CODES = """Exit codes: 0 done; 1 the data is not usable (every problem is named); 2 wrong
usage; 3 a model did not converge (its output is marked, it is not a result)."""


@click.group(epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nssi-meta")
def cli() -> None:
    """Bayesian meta-analysis of a review's evidence base.

    DATA is a table of effects as papers report them (default: data/effects.csv), with
    mechanisms.csv and conditions.csv beside it. It is the first word after every verb; verbs about
    pools take the id of a MECHANISM after or without it (or -m), and -c, -e for a condition and a
    kind of evidence.
    """


for _verb in (
    run, check, pool, overlap, claims, gaps, sensitivity, diagnose, moderators, external, forest
):  # fmt: skip
    cli.add_command(_verb)


def main() -> None:
    """Entry point of the command `nssi-meta`."""
    # The matrices are small: a second BLAS thread costs a third of the processor time and saves
    # nothing. NumPy reads this when it is loaded, which no verb's module does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    cli()
