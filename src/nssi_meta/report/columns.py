"""The parts of a table: columns declared as data, cells as finished text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nssi_meta.report.values import (
    Record,
    as_float,
    as_int,
    as_text,
    bracket,
    estimate,
    number,
    probability,
)


@dataclass(frozen=True)
class Column:
    """A column: its header, how a record becomes the text of a cell, whether it holds numbers."""

    header: str
    cell: Callable[[Record], str]
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table as the template prints it; the first cell of a row is its header."""

    caption: str
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def wide(self) -> bool:
        """Whether it needs more room than a column of text."""
        return len(self.headers) > 5


def make_table(caption: str, columns: Sequence[Column], rows: Sequence[Record]) -> Table:
    """Print `rows` in `columns`; a column whose cells are all empty is left out."""
    cells = [[c.cell(r) for c in columns] for r in rows]
    keep = [i for i in range(len(columns)) if i == 0 or any(line[i] for line in cells)]
    return Table(
        caption,
        tuple(columns[i].header for i in keep),
        tuple(columns[i].numeric for i in keep),
        tuple(tuple(line[i] for i in keep) for line in cells),
    )


def text(header: str, name: str, change: Callable[[str], str] = str) -> Column:
    """A column of words."""
    return Column(header, lambda r: change(as_text(r[name])), numeric=False)


def integer(header: str, name: str) -> Column:
    """A column of counts; a missing count is empty."""

    def cell(r: Record) -> str:
        return "" if math.isnan(as_float(r[name])) else f"{as_int(r[name]):,}"

    return Column(header, cell)


def chance(header: str, name: str) -> Column:
    """A column of probabilities."""
    return Column(header, lambda r: probability(as_float(r[name])))


def real(header: str, name: str, digits: int = 2) -> Column:
    """A column of real numbers."""
    return Column(header, lambda r: number(as_float(r[name]), digits))


def interval(header: str, value: str, low: str, high: str) -> Column:
    """A column `0.93 [0.55, 1.31]`."""
    return Column(
        header, lambda r: estimate(as_float(r[value]), as_float(r[low]), as_float(r[high]))
    )


def limits_only(header: str, low: str, high: str) -> Column:
    """A column `[-0.10, 1.90]`: a prediction has no point of its own."""
    return Column(header, lambda r: bracket(as_float(r[low]), as_float(r[high])))


def words(key: str) -> str:
    """Print an id as words."""
    return key.replace("_", " ")
