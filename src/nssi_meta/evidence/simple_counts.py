"""Any reviewer's two-by-two tables, one study a row, with column names of the reviewer's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from nssi_meta.evidence.cells import numbers, out_of_range, outside
from nssi_meta.evidence.problems import Problem
from nssi_meta.evidence.simple_checks import absent, only_wanted, problems_of, texts_of
from nssi_meta.evidence.table import frame_table, read_table
from nssi_meta.evidence.vocabulary import Range

#: Names of the columns, metafor's: events and others of the treated (or cases) and of the
#: controls, and the sizes of the two groups.
CELLS = ("ai", "bi", "ci", "di", "n1i", "n2i")
COUNT_COLUMNS = ("study", "group", "ai", "n1i", "ci", "n2i")
_GROUPS = (("ai", "bi", "n1i"), ("ci", "di", "n2i"))
_COUNT = Range(least=0, most=1e9, whole=True, remedy="give counts of people, not percentages")


def read_counts(
    source: str | Path | pd.DataFrame,
    *,
    study: str | None = None,
    group: str | None = None,
    **columns: str | None,
) -> pd.DataFrame:
    """Read two-by-two tables from a CSV file or a data frame.

    Parameters
    ----------
    source
        As for `read_simple`.
    study, group
        Names of text columns: the study (each has one row), and what makes a pool of its own.
    columns
        Names of the columns of `ai`, `bi`, `ci`, `di`, `n1i` and `n2i` where they are called
        otherwise. Of `bi` and `n1i` one is needed, of `di` and `n2i` one; where a file has both,
        they must agree.

    Returns
    -------
    DataFrame
        One row a study, in the order of the source, with the columns `COUNT_COLUMNS`.

    Raises
    ------
    EvidenceError
        With every problem of the source: unknown columns, cells that are no counts, more events
        than people, empty groups, a study twice.
    ValueError
        For a name that is none of the six cells.
    """
    if wrong := columns.keys() - set(CELLS):
        raise ValueError(f"{', '.join(sorted(wrong))}: cells are named {', '.join(CELLS)}")
    if not isinstance(source, str | Path | pd.DataFrame):
        raise ValueError(
            f"source must be the path of a CSV file or a data frame, not {type(source).__name__}"
        )
    own = isinstance(source, pd.DataFrame)
    known = [*(columns.get(c) or c for c in CELLS), *(c for c in (study, group) if c)]
    table = frame_table(source, known) if isinstance(source, pd.DataFrame) else (
        read_table(source, known)
    )  # fmt: skip
    rows = source.index.tolist() if isinstance(source, pd.DataFrame) else None
    cells = _columns(table.frame, columns)
    names = [*cells.values(), *(c for c in (study, group) if c)]
    table = only_wanted(table, names)
    either = {size: f"{size}, or {others}" for _, others, size in _GROUPS}
    asked = {either.get(cell, cell): name for cell, name in cells.items()}
    found = [*table.problems, *absent(table, {**asked, "study": study, "by": group})]
    if table.frame.columns.empty or any(name not in table.frame for name in names):
        raise problems_of(found, names, rows)
    values: dict[str, pd.Series[float]] = {}
    for role, name in cells.items():
        values[role], wrong_cells = _counts(table.file, name, table.frame[name])
        found += wrong_cells
    found += _contradictions(table.file, table.frame, values, cells)
    for text in (study, group):
        if text is not None:
            found += texts_of(table, text, may_be_empty=False)
    if study is not None:
        found += _twice(table.file, table.frame, study, group)
    if found:
        raise problems_of(found, names, rows)
    for events, others, size in _GROUPS:
        if size not in values:
            values[size] = values[events] + values[others]
    called = rows if own and rows is not None else [f"row {i}" for i in table.frame.index]
    frame = pd.DataFrame(
        {
            "study": table.frame[study].to_numpy() if study else [str(c) for c in called],
            "group": table.frame[group].to_numpy() if group else "",
            **{c: values[c].to_numpy() for c in ("ai", "n1i", "ci", "n2i")},
        }
    )
    return frame[list(COUNT_COLUMNS)]


def _columns(frame: pd.DataFrame, named: Mapping[str, str | None]) -> dict[str, str]:
    """Column by cell: those named, and of the others those that the table has or must have."""
    cells: dict[str, str] = {}
    for group in _GROUPS:
        have = {c: named.get(c) or c for c in group if named.get(c) or c in frame}
        events, others, size = group
        have.setdefault(events, events)
        if others not in have and size not in have:
            have[size] = size
        cells.update(have)
    return cells


def _counts(file: str, name: str, cells: pd.Series[str]) -> tuple[pd.Series[float], list[Problem]]:
    values, found = numbers(file, name, cells, "delete the row")
    for line in cells.index[cells.str.strip() == ""]:
        found.append(
            Problem(file, int(line), name, "", "the count is missing", "a whole number",
                    "fill it in (0 if there was none), or delete the row")
        )  # fmt: skip
    bad = outside(values, _COUNT)
    for line in values.index[bad]:
        found.append(out_of_range(file, int(line), name, cells[line], _COUNT))
    return values.mask(bad), found  # what is no count contradicts no other


def _contradictions(
    file: str,
    frame: pd.DataFrame,
    values: Mapping[str, pd.Series[float]],
    cells: Mapping[str, str],
) -> Iterator[Problem]:
    """More events than people, sizes that are no sums, groups of nobody. NaN compares as false."""
    for events, others, size in _GROUPS:
        a = values[events]
        if size not in values:
            nobody = (a + values[others]) < 1
            for line in frame.index[nobody]:
                what = "the group has nobody in it"
                yield Problem(file, int(line), cells[others], frame.loc[line, cells[others]], what,
                              "a group of at least 1", "give the group's counts, or delete the row"
                              )  # fmt: skip
            continue
        n = values[size]
        for line in frame.index[n < 1]:
            what = "the group has nobody in it"
            yield Problem(file, int(line), cells[size], frame.loc[line, cells[size]], what,
                          "a size of at least 1", "give the group's size, or delete the row"
                          )  # fmt: skip
        for line in frame.index[(a > n) & (n >= 1)]:
            what = f"more events than people ({cells[size]} is {n[line]:g})"
            yield Problem(file, int(line), cells[events], frame.loc[line, cells[events]], what,
                          f"a count of at most {n[line]:g}",
                          f"{cells[size]} counts all people of the group, with and without the "
                          "event: check both")  # fmt: skip
        if others in values:
            for line in frame.index[(a + values[others] != n) & n.notna() & (a <= n)
                                    & values[others].notna()]:  # fmt: skip
                what = f"{cells[events]} and {cells[others]} do not add up to {cells[size]}"
                yield Problem(file, int(line), cells[size], frame.loc[line, cells[size]], what,
                              f"{a[line] + values[others][line]:g}",
                              "correct the one that is wrong")  # fmt: skip


def _twice(file: str, frame: pd.DataFrame, study: str, group: str | None) -> Iterator[Problem]:
    """A study with two rows in one pool: its tables would count as independent."""
    keys = [study] if group is None else [study, group]
    for line in frame.index[frame.duplicated(keys)]:
        value = frame.loc[line, study]
        yield Problem(file, int(line), study, value, f"study '{value}' has a row already",
                      "one table a study", "keep one of its tables, or pool log odds ratios with "
                      "their variances (--yi), where rows may share a study")  # fmt: skip
