"""The tables that a review brings along: its mechanisms and its conditions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.problems import Problem, unknown_word
from nssi_meta.evidence.table import Table, read_table


def read_mechanisms(path: str | Path) -> Table:
    """Read `mechanisms.csv`: at least mechanism, label and system, one row a mechanism.

    `positive_means` (what a positive effect means, printed under figures) may be left out.
    """
    table = _checked(read_table(path, vo.MECHANISM_COLUMNS), vo.MECHANISM_KEY, vo.MECHANISM_COLUMNS)
    return _with_default(table, "positive_means", "")


def read_conditions(path: str | Path) -> Table:
    """Read `conditions.csv`: at least id, label and role, one row a condition.

    `short` (for narrow columns) and `people` (a person-first phrase) default to the label.

    Roles: exactly one `index` (the condition that the review is about) and one `reference` (the
    controls whose mean is zero); any number of `comorbid` and `mixed`.
    """
    table = _checked(read_table(path, vo.CONDITION_COLUMNS), vo.CONDITION_KEY, vo.CONDITION_COLUMNS)
    if not set(vo.CONDITION_COLUMNS) <= set(table.frame.columns) or table.frame.empty:
        return table
    found = tuple(_role_problems(table.file, table.frame))
    table = Table(table.file, table.frame, table.problems + found, table.sha256)
    for column in ("short", "people"):
        table = _with_default(table, column, table.frame["label"])
    return table


def with_role(conditions: pd.DataFrame, *roles: str) -> tuple[str, ...]:
    """Ids of the conditions that have one of these roles, in the order of the table."""
    return tuple(conditions.loc[conditions["role"].isin(roles), vo.CONDITION_KEY])


def _with_default(table: Table, column: str, value: str | pd.Series[str]) -> Table:
    if column in table.frame or table.frame.columns.empty:
        return table
    frame = table.frame.assign(**{column: value})
    return Table(table.file, frame, table.problems, table.sha256)


def _checked(table: Table, key: str, required: tuple[str, ...]) -> Table:
    frame = table.frame
    if frame.columns.empty:
        return table
    found = list(missing_columns(table.file, frame, required))
    for column in required:
        if column not in frame:
            continue
        for line in frame.index[frame[column].str.strip() == ""]:
            what, remedy = f"{column} is empty", "fill it in"
            found.append(Problem(table.file, line, column, "", what, "a text", remedy))
    if key in frame:
        found += repeated(table.file, frame[key])
        found += padded(table.file, frame[key])
    return Table(table.file, frame, table.problems + tuple(found), table.sha256)


def missing_columns(file: str, frame: pd.DataFrame, required: tuple[str, ...]) -> Iterator[Problem]:
    """One problem for each required column that the header lacks."""
    for column in required:
        if column not in frame:
            what = f"the column '{column}' is missing"
            remedy = f"add a column named '{column}'"
            yield Problem(file, None, column, None, what, ", ".join(required), remedy)


def repeated(file: str, ids: pd.Series[str]) -> Iterator[Problem]:
    """One problem for each id that stands already in an earlier line."""
    first = {name: line for line, name in reversed(list(ids.items()))}
    for line, name in ids.items():
        if name.strip() and first[name] != line:
            what = f"'{name}' stands already in line {first[name]}"
            remedy = "give each row an id of its own, or delete the row that was entered twice"
            yield Problem(file, int(str(line)), str(ids.name), name, what, "unique ids", remedy)


def padded(file: str, ids: pd.Series[str]) -> Iterator[Problem]:
    """One problem for each id with white space at its ends: it would be another id."""
    for line, name in ids.items():
        if name != name.strip():
            what = f"'{name}' begins or ends with white space"
            remedy = f"write '{name.strip()}'"
            column = str(ids.name)
            yield Problem(file, int(str(line)), column, name, what, "ids without spaces", remedy)


def _role_problems(file: str, frame: pd.DataFrame) -> Iterator[Problem]:
    for line, role in frame["role"].items():
        if role.strip() and role not in vo.ROLES:
            yield unknown_word(file, int(str(line)), "role", role, vo.ROLES)
    for line, name in frame[vo.CONDITION_KEY].items():
        if name in vo.COMPARATOR_WORDS:
            what = f"'{name}' is the comparator of rows without a comparison group"
            remedy = "choose another id"
            yield Problem(file, int(str(line)), vo.CONDITION_KEY, name, what, "", remedy)
    for role in ("index", "reference"):
        ids = with_role(frame, role)
        if len(ids) != 1:
            what = f"{len(ids)} conditions have the role {role}" + "".join(f", {i}" for i in ids)
            remedy = f"give the role {role} to exactly one condition"
            yield Problem(file, None, "role", None, what, f"one {role}", remedy)
