"""What is wrong with a table, cell by cell, with a remedy for each cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

LISTED = 12
"""Vocabularies up to this size are spelled out in a message; longer ones are described."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and what to do about it.

    `row` is the line in the file (the header is line 1), of a data frame the row's label in its
    index (`where` says which); None where the file as a whole is meant. `column` and `value` are
    None where no single cell is meant.
    """

    file: str
    row: int | str | None
    column: str | None
    value: str | None
    problem: str
    allowed: str
    remedy: str
    where: str = "line"

    def __str__(self) -> str:
        place = self.file
        if self.row is not None:
            place += f", {self.where} {self.row}"
        if self.column is not None:
            place += f", column {self.column}"
        parts = [f"{place}: {self.problem}"]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.remedy:
            parts.append(f"remedy: {self.remedy}")
        text = "; ".join(parts)
        return text if text.endswith("?") else text + "."


class EvidenceError(ValueError):
    """The evidence cannot be used; the message lists every problem, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        super().__init__("\n".join([f"{count} {noun} in the evidence:", *map(str, self.problems)]))


def ordered(problems: Iterable[Problem], columns: Sequence[str] = ()) -> tuple[Problem, ...]:
    """Problems by line, then by the order of `columns`; those of whole files first, none twice."""
    place = {column: i for i, column in enumerate(columns)}

    def key(problem: Problem) -> tuple[int, int]:
        line = problem.row if isinstance(problem.row, int) else 0
        return line, place.get(problem.column or "", -1)

    return tuple(sorted(dict.fromkeys(problems), key=key))


def nearest(value: str, allowed: Iterable[str]) -> str | None:
    """The valid name that `value` was most likely meant to be, or None where nothing is close."""
    # Case and separators are the commonest slips, and difflib counts them as whole edits.
    by_key = {_key(name): name for name in allowed}
    close = get_close_matches(_key(value), list(by_key), n=1, cutoff=0.6)
    return by_key[close[0]] if close else None


def unknown_word(
    file: str,
    row: int | None,
    column: str,
    value: str,
    allowed: Sequence[str],
    source: str = "",
) -> Problem:
    """A word outside its vocabulary, with the nearest valid one as the remedy.

    `source` names where the vocabulary is kept (`mechanisms.csv`), for words that may be added.
    """
    spelled = ", ".join(a or "(empty)" for a in allowed)
    listing = spelled if len(allowed) <= LISTED else f"one of the {len(allowed)} names"
    if source:
        listing += f" in {source}" if len(allowed) > LISTED else f" (from {source})"
    guess = nearest(value, [a for a in allowed if a]) if value else None
    if guess:
        remedy = f"write '{guess}'"
    elif source:
        remedy = f"use a name that is in {source}, or add it there"
    else:
        remedy = f"write one of {spelled}"
    what = f"'{value}' is not a known {column}" if value else f"{column} is empty"
    return Problem(file, row, column, value, what, listing, remedy)


def require(given: object, kind: type | tuple[type, ...], what: str) -> None:
    """Raise TypeError for an argument of another kind; `what` says what the function takes."""
    if not isinstance(given, kind):
        raise TypeError(f"{what}, not {type(given).__name__}")


def looks_like(name: str, known: Iterable[str]) -> str | None:
    """The known column that `name` is a slip of the pen for, or None.

    Stricter than `nearest`: an extra column is welcome unless it can be mistaken for a known one.
    """
    by_key = {_key(k): k for k in known}
    key = _key(name)
    if key in by_key:
        return by_key[key]
    close = get_close_matches(key, list(by_key), n=1, cutoff=0.85)
    return by_key[close[0]] if close else None


def _key(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
