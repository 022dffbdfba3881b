"""What the command line prints: tables for people, csv and json for programs, progress."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from nssi_meta.report.values import factor, probability
from nssi_meta.shown import UNSAID

if TYPE_CHECKING:
    import pandas as pd

    from nssi_meta.evidence.problems import Problem

#: Columns for people: name in the table -> heading. csv and json print every column.
MODERATOR_COLUMNS = {
    "line": "Level, contrast, slope",
    "rests": "k (bounds)",
    "estimate": "Median [Low, High]",
    "together": "All together",
    "p_positive": "P(>0)",
    "note": "Note",
}
PIPED = 200  # characters a line where no terminal says how many
SHORT = 30  # characters of a text that may stand in the line of what a row is about
NARROWEST = 24  # characters a line of a long text keeps
GAP = "  "
HUGE = 1e7  # numbers from here on are printed with a power of ten
#: Printed numbers: 0.83, > 0.99, 12%, 9 (7), 0.83 [0.50, 1.56], [0.50, 1.56], or none.
_ONE = r"[-−]?\d[\d.,]*(?:e[+-]?\d+)?"
_PAIR = rf"\[{_ONE}, {_ONE}\]"
NUMBER = re.compile(rf"(?:[<>] )?{_ONE}%?(?: \({_ONE}\)| {_PAIR})?|{_PAIR}|")
#: How names of columns of Bayes factors begin: one is for a thing if above 1, against it if below.
FACTORS = ("bf10", "bayes_factor")
#: Columns of probabilities beside those whose name begins with p_.
PROBABILITIES = ("probability", "p", "Q_p")


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
    """Print a table as wide as the terminal: no number is cut and no column left out."""
    shown = [c for c in columns if c in table and not table[c].isin(UNSAID).all()]
    digits = _digits(table[shown])
    cells = {columns[c]: [_cell(v, c, digits) for v in table[c]] for c in shown}
    numbers = {columns[c] for c in shown if _is_number(table[c], cells[columns[c]])}
    width = _width(sys.stdout)
    click.echo()
    if title:
        click.echo("\n".join(textwrap.wrap(title, width)) + "\n")
    widths = _widths(cells, numbers, width)
    lines = _blocks(cells, numbers, width) if widths is None else _grid(cells, numbers, widths)
    click.echo("\n".join(line.rstrip() for line in lines) + "\n")


def _width(stream: Any) -> int:
    """Characters a line; piped output is not cut to the width of a terminal that is not there."""
    return shutil.get_terminal_size().columns if stream.isatty() else PIPED


def note(text: str, *, err: bool = True) -> None:
    """Print sentences, wrapped between words where a terminal would break inside them."""
    click.echo(lines(text, sys.stderr if err else sys.stdout), err=err)


def lines(text: str, stream: Any, indent: str = "") -> str:
    """`text` as `stream` takes it: wrapped with a hanging indent on a terminal, else as it is.

    Programs read what is piped by the line: a message stays one there.
    """
    if not stream.isatty():
        return textwrap.indent(text, indent)
    paragraphs = text.splitlines()
    fill = textwrap.TextWrapper(
        _width(stream), initial_indent=indent, break_long_words=False, break_on_hyphens=False,
        subsequent_indent=indent + GAP if indent or len(paragraphs) > 1 else "",
    )  # fmt: skip
    return "\n".join(map(fill.fill, paragraphs))


def _widths(cells: dict[str, list[str]], numbers: set[str], width: int) -> dict[str, int] | None:
    """Widths of the columns; None where even with wrapped words they need more than `width`.

    Numbers and words stay whole, and a long text keeps at least `NARROWEST` characters a line.
    """
    least, widths = {}, {}
    for heading, texts in cells.items():
        words = " ".join([heading] if heading in numbers else [heading, *texts]).split()
        longest = max(map(len, texts), default=0)
        least[heading] = max(map(len, words), default=1)
        kept = longest if heading in numbers else min(longest, NARROWEST)
        least[heading] = max(least[heading], kept)
        widths[heading] = max(len(heading), longest)
    room = width - len(GAP) * (len(cells) - 1)
    if sum(least.values()) > room:
        return None
    while (over := sum(widths.values()) - room) > 0:
        # Long texts give way first, then headings over numbers, then the widest.
        widest = max(
            widths,
            key=lambda h: (
                widths[h] > least[h], widths[h] > 2 * NARROWEST, h in numbers, widths[h]
            ),
        )  # fmt: skip
        widths[widest] -= min(max(1, over // 4), widths[widest] - least[widest])
    return widths


def _grid(cells: dict[str, list[str]], numbers: set[str], widths: dict[str, int]) -> Iterator[str]:
    """The lines of a table: headings, a rule, rows."""
    yield from _line(list(cells), numbers, widths, head=True)
    yield GAP.join("─" * w for w in widths.values())
    for row in zip(*cells.values(), strict=True):
        yield from _line(row, numbers, widths)


def _line(
    row: Sequence[str], numbers: set[str], widths: dict[str, int], *, head: bool = False
) -> Iterator[str]:
    """One row of a table, on as many lines as its longest cell needs; a head stands below them."""
    parts = [textwrap.wrap(t, w) or [""] for t, w in zip(row, widths.values(), strict=True)]
    if head:
        most = max(map(len, parts), default=0)
        parts = [[""] * (most - len(part)) + part for part in parts]
    for at in itertools.zip_longest(*parts, fillvalue=""):
        yield GAP.join(
            t.rjust(w) if h in numbers else t.ljust(w)
            for t, (h, w) in zip(at, widths.items(), strict=True)
        )


def _blocks(cells: dict[str, list[str]], numbers: set[str], width: int) -> Iterator[str]:
    """A row as a block: a line of what it is about, its numbers, its texts.

    The numbers stand below their headings if the terminal is wide enough for them, else each
    beside its own; either way at the same place in every block, so that the eye can go down.
    """
    headings = list(cells)
    first = next((i for i, h in enumerate(headings) if h in numbers), len(headings))
    texts = [(i, h) for i, h in enumerate(headings) if h not in numbers]
    about = [h for i, h in texts if i < first or max(map(len, cells[h])) <= SHORT]
    figures = {h: cells[h] for h in headings if h in numbers}
    widths = _widths(figures, numbers, width - len(GAP)) if figures else None
    if widths is not None:
        yield from (GAP + line for line in _line(list(figures), numbers, widths, head=True))
        yield "─" * width
    for row in zip(*cells.values(), strict=True):
        of = dict(zip(headings, row, strict=True))
        yield from textwrap.wrap(" · ".join(of[h] for h in about if of[h]), width)
        if widths is not None:
            yield from (GAP + line for line in _line([of[h] for h in figures], numbers, widths))
        else:
            room = {h: max(map(len, texts)) for h, texts in figures.items()}
            pairs = [f"{h} {(of[h] or '–').rjust(room[h])}" for h in figures]
            yield from _filled(pairs, width)
        for heading in (h for _, h in texts if h not in about and of[h]):
            text = f"{heading}: {of[heading]}"
            yield from textwrap.wrap(text, width, initial_indent=GAP, subsequent_indent=GAP * 2)


def _filled(pairs: Sequence[str], width: int) -> Iterator[str]:
    """Names with their numbers, as many to a line as it holds."""
    line = ""
    for pair in pairs:
        if line and len(line) + len(GAP + pair) > width:
            yield line
            line = ""
        line += GAP + pair
    if line:
        yield line


def _digits(table: pd.DataFrame) -> int:
    """Decimals to print: two, or more where every interval lies within 0.1 of 0."""
    ends = [c for c in table if str(c).endswith(("low", "high")) and table[c].dtype.kind == "f"]
    largest = max((x for x in map(abs, table[ends].to_numpy().ravel()) if x < math.inf), default=0)
    return 1 - math.floor(math.log10(largest)) if 0 < largest < 0.1 else 2


def _cell(value: Any, name: str, digits: int) -> str:
    import pandas as pd  # there already: the value comes from one of its tables

    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return " ".join(str(value).split())
    if name.startswith(FACTORS):
        return factor(value) if value >= 0.01 else f"{value:.1e}"
    if name in PROBABILITIES or name.startswith("p_"):
        return probability(value)
    # More digits than a float holds would be noise, and would push the others off the screen.
    text = f"{value:.{digits}f}" if abs(value) < HUGE else f"{value:.4g}"
    if name.endswith("_se") and value > 0 and not text.strip("0."):
        return f"< {text[:-1]}1"
    return text.removeprefix("-") if not text.strip("-0.") else text  # no minus zero


def _is_number(column: pd.Series[Any], texts: Sequence[str]) -> bool:
    """Whether a column holds numbers, also where they were printed before."""
    return column.dtype.kind in "fi" or (any(texts) and all(NUMBER.fullmatch(t) for t in texts))


def show_problems(problems: Sequence[Problem], form: str) -> None:
    """Print every problem of a data set: sentences on stderr, or records for programs."""
    if form == "table":
        noun = "problem" if len(problems) == 1 else "problems"
        click.echo(f"{len(problems)} {noun}:", err=True)
        for problem in problems:
            click.echo(lines(str(problem), sys.stderr, GAP), err=True)
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
