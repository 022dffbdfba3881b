"""Parts of a table named in words: `stimulus!=pain; mean_age<18`, `stimulus=drug vs other`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from nssi_meta.evidence.vocabulary import RANGES

#: Columns of effects.csv by which a claim may choose rows: words, and numbers.
WORD_COLUMNS = (
    "estimand", "stimulus", "modality", "measure", "design", "pure_sample", "age_group",
    "comparator", "condition_note", "statistic", "seen_in", "confidence", "bound",
)  # fmt: skip
NUMBER_COLUMNS = ("pct_female", "mean_age", "year", "n_case", "n_control", "n_total")
#: A column of mechanisms.csv: for claims about many mechanisms at once.
SYSTEM = "system"
OTHER = "other"

_CLAUSE = re.compile(r"\s*(\w+)\s*(!=|=|>|<)\s*(.+?)\s*")
_NUMERIC: dict[str, Callable[[pd.Series[float], float], pd.Series[bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on rows; `versus` holds the words behind `vs` (empty without it)."""

    column: str
    op: str
    values: tuple[str, ...]
    versus: tuple[str, ...] = ()

    def mask(self, frame: pd.DataFrame) -> pd.Series[bool]:
        """Rows of `frame` for which the clause holds; an empty cell never does."""
        return _holds(frame[self.column], self.op, self.values)

    def against(self, frame: pd.DataFrame) -> pd.Series[bool]:
        """Rows on the other side of `vs`: the words named there, or everything else."""
        if self.versus == (OTHER,):
            return ~self.mask(frame) & _filled(frame[self.column])
        return _holds(frame[self.column], "=", self.versus)


def parse_subset(text: str) -> tuple[Clause, ...]:
    """Clauses of a cell `subset`, separated by semicolons.

    Raises ValueError in words that can be printed when a clause cannot be read.
    """
    return tuple(_clause(part) for part in text.split(";") if part.strip())


def _clause(text: str) -> Clause:
    found = _CLAUSE.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text.strip()}' is not of the form column=value")
    column, op, rest = found.groups()
    side, *against = re.split(r"\s+vs\s+", rest)
    if len(against) > 1:
        raise ValueError(f"'{text.strip()}' has more than one 'vs'")
    versus = _words(against[0]) if against else ()
    return Clause(column, op, _words(side), versus)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split("|") if word.strip())


def _filled(cells: pd.Series) -> pd.Series[bool]:
    return cells.notna() & (cells.astype("str").str.strip() != "")


def _holds(cells: pd.Series, op: str, values: tuple[str, ...]) -> pd.Series[bool]:
    if cells.name in RANGES:
        numbers = pd.to_numeric(cells, errors="coerce")
        return numbers.notna() & _NUMERIC[op](numbers, float(values[0]))
    inside = cells.astype("str").str.strip().isin(values)
    return (inside if op == "=" else ~inside) & _filled(cells)
