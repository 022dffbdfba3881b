"""What the command line prints: tables for people, csv and json for programs, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from nssi_meta.evidence.problems import Problem

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
OVERLAP_COLUMNS = {
    "other_label": "With",
    "figure": "Figure",
    "median": "Median",
    "low": "Low",
    "high": "High",
    "prior_low": "Prior low",
    "prior_high": "Prior high",
    "n_mechanisms": "Mechanisms",
    "n_studies": "Studies",
    "share_bounds": "Bounds",
    "verdict": "Verdict",
}
OVERLAP_MECHANISM_COLUMNS = {
    "other_label": "With",
    "label": "Mechanism",
    "p_shared": "Shared",
    "p_opposite": "Opposite",
    "p_index_only": "Index only",
    "p_other_only": "Other only",
    "p_neither": "Neither",
    "k_index": "k index",
    "k_other": "k other",
    "verdict": "Verdict",
}
CLAIM_COLUMNS = {
    "claim_id": "Claim",
    "kind": "Kind",
    "statement": "It says",
    "probability": "P",
    "bayes_factor_not": "BF (not)",
    "bayes_factor": "BF (any)",
    "verdict": "Verdict",
    "estimand": "Estimand",
    "k": "k",
    "n_studies": "Studies",
    "n_bounds": "Bounds",
    "sensitivity": "Other readings",
    "disputed": "Disputed",
}
READING_COLUMNS = {
    "claim_id": "Claim",
    "reading": "Reading",
    "hypothesis": "It says",
    "probability": "P",
    "prior": "Prior P",
    "bayes_factor": "BF",
    "verdict": "Verdict",
    "k": "k",
    "n_studies": "Studies",
    "note": "Note",
}
MODERATOR_COLUMNS = {
    "line": "Level, contrast, slope",
    "rests": "k (bounds)",
    "estimate": "Median [Low, High]",
    "together": "All together",
    "p_positive": "P(>0)",
    "note": "Note",
}
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
GAP_COLUMNS = {
    "rank": "Rank",
    "label": "Mechanism",
    "condition_label": "Condition",
    "gain_bits": "Gain (bits)",
    "gain_se": "SE",
    "sd_now": "SD now",
    "sd_after": "SD then",
    "n_studies": "Studies",
    "n_participants": "People",
    "because": "Because",
}

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


def show(table: pd.DataFrame, form: str, columns: dict[str, str], title: str = "") -> None:
    """Print a data frame as `table` (chosen columns, rounded), `csv` or `json` (everything)."""
    if form == "json":
        click.echo(json.dumps(_records(table), ensure_ascii=False, indent=1))
    elif form == "csv":
        click.echo(table.to_csv(index=False), nl=False)
    else:
        _print_table(table, columns, title)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values: numbers stay numbers, missing becomes null."""
    out: list[dict[str, Any]] = json.loads(
        table.to_json(orient="records", double_precision=15, force_ascii=False)
    )
    return out


def _print_table(table: pd.DataFrame, columns: dict[str, str], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [c for c in columns if c in table and not (table[c] == "").all()]
    printed = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD)
    for name in shown:
        number = table[name].dtype.kind in "fi"
        printed.add_column(columns[name], justify="right" if number else "left", no_wrap=number)
    for row in table[shown].itertuples(index=False):
        printed.add_row(*(Text(_cell(v)) for v in row))  # Text: brackets are no markup
    # Piped output is not cut to the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(printed)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def show_problems(problems: Sequence[Problem], form: str) -> None:
    """Print every problem of a data set: sentences on stderr, or records for programs."""
    if form == "table":
        noun = "problem" if len(problems) == 1 else "problems"
        click.echo(f"{len(problems)} {noun}:", err=True)
        for problem in problems:
            click.echo(f"  {problem}", err=True)
        return
    from dataclasses import asdict

    import pandas as pd

    show(pd.DataFrame([asdict(p) for p in problems]), form, {})


@contextmanager
def counting(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar of what is done of how much; a line at every tenth where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        told = 0

        def line(detail: str, done: int, total: int) -> None:
            nonlocal told
            if 10 * done // max(total, 1) > told:
                told = 10 * done // max(total, 1)
                console.print(f"{what}: {done} of {total}", highlight=False, markup=False)

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    layout = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*layout, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def move(detail: str, done: int, total: int) -> None:
            bar.update(
                task, description=f"{what}: {detail}".rstrip(": "), completed=done, total=total
            )

        yield move


@contextmanager
def progress(enabled: bool = True) -> Iterator[Callable[[str, str], None]]:
    """A spinner that names the step and its detail; plain lines where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not enabled:
        yield lambda step, detail: None
        return
    last = ""

    def line(step: str, detail: str) -> None:
        nonlocal last
        text = step if step == "pools" else f"{step}: {detail}".rstrip(": ")
        if text != last:
            console.print(text, highlight=False, markup=False)
            last = text

    if not console.is_terminal:
        yield line
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    layout = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*layout, console=console, transient=True) as bar:
        task = bar.add_task("starting")

        def spin(step: str, detail: str) -> None:
            bar.update(task, description=f"{step}: {detail}".rstrip(": "))

        yield spin
