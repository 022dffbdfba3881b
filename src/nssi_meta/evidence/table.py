"""Comma-separated files read as text: no cell is coerced, every row keeps its line number.

The standard `csv` module is used because it says on which line a record starts, also where a
quoted cell spans lines; pandas' reader does not.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nssi_meta.evidence.encoding import decode
from nssi_meta.evidence.problems import Problem, looks_like

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True, slots=True)
class Table:
    """A file as text: `frame` (str cells; the index is the line in the file), problems, hash."""

    file: str
    frame: pd.DataFrame
    problems: tuple[Problem, ...]
    sha256: str


def read_table(path: str | Path, known: Sequence[str] = ()) -> Table:
    """Read a CSV file as text and note what is wrong with the file itself.

    Parameters
    ----------
    path
        The file: UTF-8, comma-separated, with a header line.
    known
        Column names that are expected; they help to recognise the delimiter and slips of the pen.

    Returns
    -------
    Table
        Whatever could be read. After a wrong delimiter or encoding reading goes on with the
        likely one, so that the other problems of the file are found in the same go.
    """
    path = Path(path)
    name = path.name
    if path.is_dir():
        return _unread(name, "this is a folder, not a file", f"name a CSV file in {name}/")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _unread(name, f"no such file: {path}", _look_beside(path))
    except OSError as error:
        return _unread(name, f"the file cannot be read: {error.strerror}", "check its permissions")
    sha256 = hashlib.sha256(data).hexdigest()
    if data.startswith(b"PK\x03\x04"):
        remedy = "in the spreadsheet program save it as 'CSV UTF-8'"
        return _unread(name, "this is a spreadsheet or zip archive", remedy, sha256)
    text, problems = decode(data, name)
    if not text.strip():
        return _unread(
            name, "the file is empty", "give a header line and one row an effect", sha256
        )
    delimiter = _delimiter(text, known)
    if delimiter != ",":
        separated = f"the cells are separated by {_DELIMITERS[delimiter]}"
        remedy = "save it comma-separated ('CSV UTF-8'), with decimal points"
        problems.append(Problem(name, 1, None, delimiter, separated, "commas", remedy))
    try:
        records = _records(text, delimiter)
    except _BrokenRecord as broken:
        problem = f"the quotation marks of this record do not match ({broken.reason})"
        remedy = 'close the quotation mark; inside a quoted cell write "" for "'
        problems.append(Problem(name, broken.line, None, None, problem, "", remedy))
        return Table(name, _frame([], [], []), tuple(problems), sha256)
    frame = _to_frame(records, name, known, problems)
    return Table(name, frame, tuple(problems), sha256)


def frame_table(frame: pd.DataFrame, known: Sequence[str] = ()) -> Table:
    """A data frame as the text that a file of the same numbers would hold.

    The index of the result counts the rows from 1; missing values become empty cells. `known` as in
    `read_table`.
    """
    name = "the data frame"
    header = [str(column) for column in frame.columns]
    problems = _header_problems(header, None, name, known)
    if frame.empty:
        what = "it has no rows" if len(frame.columns) else "it has no columns"
        problems.append(Problem(name, None, None, None, what, "", "give it one row an effect"))
    unique = [i for i, column in enumerate(header) if column not in header[:i]]
    columns = [[_cell(value) for value in frame.iloc[:, i].tolist()] for i in unique]
    rows = [list(row) for row in zip(*columns, strict=True)]
    lines = list(range(1, len(frame) + 1))
    return Table(name, _frame([header[i] for i in unique], rows, lines), tuple(problems), "")


def _cell(value: object) -> str:
    """What stands in a cell of a file for a value of a frame; a float keeps every digit."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"  # studies 1, 2, ... are floats where one of them is missing
    return repr(value) if isinstance(value, float) else str(value)


class _BrokenRecord(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


def _records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """(line on which it starts, cells) of every record that has something in it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records, line = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _BrokenRecord(line, str(error)) from error
    return records


def _to_frame(
    records: list[tuple[int, list[str]]], name: str, known: Sequence[str], problems: list[Problem]
) -> pd.DataFrame:
    header_line, header = records[0]
    body = records[1:]
    # Spreadsheets leave empty columns at the right; without a name and without content they go.
    full = width = len(header)
    while width and not header[width - 1] and not any("".join(c[width - 1 :]) for _, c in body):
        width -= 1
    header = header[:width]
    problems.extend(_header_problems(header, header_line, name, known))
    if not body:
        what = "the file has a header and no rows"
        problems.append(Problem(name, header_line, None, None, what, "", "add one row an effect"))
    lines, rows = [], []
    for line, cells in body:
        if not width <= len(cells) <= full:
            problems.append(_ragged(name, line, cells, full))
        lines.append(line)
        rows.append((cells + [""] * width)[:width])
    unique = [i for i, column in enumerate(header) if column not in header[:i]]
    return _frame([header[i] for i in unique], [[row[i] for i in unique] for row in rows], lines)


def _frame(header: list[str], rows: list[list[str]], lines: list[int]) -> pd.DataFrame:
    index = pd.Index(lines, dtype="int64", name="line")
    return pd.DataFrame(rows, columns=header, index=index, dtype="str")


def _ragged(name: str, line: int, cells: list[str], width: int) -> Problem:
    more = len(cells) > width
    what = f"the row has {len(cells)} cells, the header {width}"
    value = ",".join(cells[width:]) if more else None
    remedy = (
        'put quotation marks around a cell that contains a comma: "a, b"'
        if more
        else "fill up with commas; a cell may be empty but not absent"
    )
    return Problem(name, line, None, value, what, f"{width} cells", remedy)


def _header_problems(
    header: list[str], line: int | None, name: str, known: Sequence[str]
) -> list[Problem]:
    problems = []
    for i, column in enumerate(header):
        if not column.strip():
            what = f"column {i + 1} has no name"
            problems.append(Problem(name, line, column, "", what, "", "name it or delete it"))
        elif column in header[:i]:
            what = f"the column name '{column}' stands twice"
            remedy = "delete or rename one of the two"
            problems.append(Problem(name, line, column, column, what, "unique names", remedy))
        elif known and column not in known and (meant := looks_like(column, known)):
            what = f"the column '{column}' is unknown but looks like '{meant}'"
            remedy = f"rename it to '{meant}', or to something that cannot be mistaken for it"
            problems.append(Problem(name, line, column, column, what, f"'{meant}'", remedy))
    return problems


def _delimiter(text: str, known: Sequence[str]) -> str:
    first = next(line for line in text.splitlines() if line.strip())

    def score(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
        return sum(cell in known for cell in cells), len(cells)

    # max keeps the first of equals: commas, unless another delimiter explains the header better.
    return max(_DELIMITERS, key=score)


def _unread(name: str, problem: str, remedy: str, sha256: str = "") -> Table:
    found = Problem(name, None, None, None, problem, "a UTF-8 CSV file", remedy)
    return Table(name, _frame([], [], []), (found,), sha256)


def _look_beside(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either; check the path"
    meant = looks_like(path.name, [p.name for p in path.parent.iterdir() if p.is_file()])
    return f"did you mean {meant}?" if meant else "check the path"
