"""What every reader of a reviewer's own columns checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from nssi_meta.evidence.catalogue import padded
from nssi_meta.evidence.problems import EvidenceError, Problem, nearest, ordered
from nssi_meta.evidence.table import Table


def problems_of(
    found: Iterable[Problem], names: Sequence[str], rows: Sequence[object] | None
) -> EvidenceError:
    """The problems in order; those of a frame's rows named by its index (`rows`)."""
    problems = ordered(found, names)
    if rows is not None:
        problems = tuple(
            replace(p, row=str(rows[p.row - 1]), where="index") if isinstance(p.row, int) else p
            for p in problems
        )
    return EvidenceError(problems)


def only_wanted(table: Table, names: Sequence[str]) -> Table:
    """Without complaints about columns of the file that nobody asked for."""
    kept = tuple(p for p in table.problems if p.column is None or p.column in names)
    return Table(table.file, table.frame, kept, table.sha256)


def absent(table: Table, asked: Mapping[str, str | None]) -> Iterator[Problem]:
    """One problem for each named column that the file lacks."""
    columns = [str(c) for c in table.frame.columns]
    if not columns:
        return
    for role, name in asked.items():
        if name is None or name in columns:
            continue
        meant = nearest(name, columns)
        what = f"there is no column '{name}' (asked for as {role})"
        remedy = f"did you mean '{meant}'?" if meant else "name one of its columns"
        yield Problem(table.file, None, name, None, what, ", ".join(columns), remedy)


#: Words of a column that says where an effect has no sign; data frames hold True and False.
YES, NO = ("yes", "true"), ("no", "false", "")


def without_sign(table: Table, name: str) -> pd.Series[bool]:
    """Where the column says that only the size of an effect is known."""
    return table.frame[name].str.strip().str.lower().isin(YES)


def sign_problems(table: Table, name: str, values: pd.DataFrame) -> Iterator[Problem]:
    """Words other than `YES` and `NO`, and a yes beside a bound."""
    words = table.frame[name]
    for line in words.index[~words.str.strip().str.lower().isin(YES + NO)]:
        what, remedy = f"'{words[line]}' is not clear", "write yes where the sign is not known"
        allowed = "yes, no, true, false, (empty)"
        yield Problem(table.file, int(line), name, words[line], what, allowed, remedy)
    bounded = values["lower"].notna() | values["upper"].notna()
    for line in words.index[without_sign(table, name) & bounded]:
        what, remedy = "a bound has no size to leave the sign from", "write no, or empty the bound"
        yield Problem(table.file, int(line), name, words[line], what, "no", remedy)


def texts_of(table: Table, name: str, may_be_empty: bool) -> Iterator[Problem]:
    """Problems of a column of texts: spaces around them, empty cells."""
    cells = table.frame[name]
    yield from padded(table.file, cells)
    if not may_be_empty:
        for line in cells.index[cells.str.strip() == ""]:
            what = f"{name} is empty"
            yield Problem(table.file, int(line), name, "", what, "a text", "fill it in")
