"""An effects table from file to evidence: read as text, checked, then derived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.catalogue import (
    missing_columns,
    read_conditions,
    read_mechanisms,
)
from nssi_meta.evidence.cells import numbers, too_far
from nssi_meta.evidence.decide import decide, derived
from nssi_meta.evidence.problems import EvidenceError, Problem, ordered, require, unknown_word
from nssi_meta.evidence.rules import row_problems
from nssi_meta.evidence.sheet import Sheet
from nssi_meta.evidence.table import Table, read_table

_RESERVED = ("line", "used", "use_as", "why_not", *vo.DERIVED_COLUMNS)

Names = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A checked effects table.

    Attributes
    ----------
    rows
        Every row of the file: `line` (in the file), the columns of the file, the derived columns
        (`scale`, `kind`, `yi`, `vi`, `sei`, `lower`, `upper`, `formula`) and `used` (bool),
        `use_as`, `why_not`. If there are problems: the cells as text, without derived columns.
    problems
        Everything that is wrong, cell by cell; empty when the table can be used.
    mechanisms, conditions
        The vocabularies of the review, as text.
    path, sha256
        The file, and the hash of its bytes.
    comparators
        The comparators that `select` was asked for by name; empty if it was not.
    """

    rows: pd.DataFrame
    problems: tuple[Problem, ...]
    mechanisms: pd.DataFrame
    conditions: pd.DataFrame
    path: Path
    sha256: str
    comparators: tuple[str, ...] = ()

    def __repr__(self) -> str:
        text = f"Evidence({self.path}: {len(self.rows)} rows"
        if self.problems:
            return f"{text}, {len(self.problems)} problems: print each of .problems)"
        return f"{text}, {self.rows['used'].sum()} used; the table is .rows)"

    @property
    def used(self) -> pd.DataFrame:
        """The rows that enter the analyses. Raises EvidenceError if there are problems."""
        self.require_usable()
        return self.rows[self.rows["used"]]

    def require_usable(self) -> None:
        """Raise EvidenceError, which lists every problem, if there is any."""
        if self.problems:
            raise EvidenceError(self.problems)

    def select(
        self,
        mechanism: Names = None,
        condition: Names = None,
        estimand: Names = None,
        comparator: Names = None,
        doubtful: bool = False,
    ) -> Evidence:
        """Part of the evidence.

        Parameters
        ----------
        mechanism, condition, estimand, comparator
            One name or several; None means any. Naming a comparator that is a mixed clinical
            group also lets its rows be used, which they are not by default.
        doubtful
            Whether rows of status doubtful are used.

        Returns
        -------
        Evidence
            The rows asked for, used or not, each with its reason.

        Raises
        ------
        EvidenceError
            If there are problems, or a name is unknown (the nearest valid name is offered).
        """
        self.require_usable()
        keep = pd.Series(True, index=self.rows.index)
        unknown: list[Problem] = []
        asked = {
            "mechanism": mechanism,
            "condition": condition,
            "estimand": estimand,
            "comparator": comparator,
        }
        for column, names in asked.items():
            if names is None:
                continue
            listed = [names] if isinstance(names, str) else list(names)
            valid, source = self._valid(column)
            unknown += [
                unknown_word(self.path.name, None, column, name, valid, source)
                for name in listed
                if name not in valid
            ]
            keep &= self.rows[column].isin(listed)
        if unknown:
            raise EvidenceError(unknown)
        named = [comparator] if isinstance(comparator, str) else list(comparator or ())
        rows = decide(self.rows[keep], self.conditions, doubtful=doubtful, comparators=named)
        return replace(self, rows=rows, comparators=tuple(named) or self.comparators)

    def _valid(self, column: str) -> tuple[tuple[str, ...], str]:
        if column == "mechanism":
            return tuple(self.mechanisms[vo.MECHANISM_KEY]), "mechanisms.csv"
        if column == "estimand":
            return tuple(vo.ESTIMANDS), ""
        ids = tuple(self.conditions[vo.CONDITION_KEY])
        words = vo.COMPARATOR_WORDS if column == "comparator" else ()
        return ids + words, "conditions.csv"


def read_effects(
    path: str | Path,
    mechanisms: str | Path | None = None,
    conditions: str | Path | None = None,
) -> Evidence:
    """Read and check an effects table; derive effect sizes if nothing is wrong.

    Parameters
    ----------
    path
        The effects table (CSV, UTF-8), one row an effect.
    mechanisms, conditions
        The review's vocabularies; by default `mechanisms.csv` and `conditions.csv` beside `path`.

    Returns
    -------
    Evidence
        With every problem of all three files in `problems`. No problem raises here, not even a
        missing file; `require_usable`, `used` and `select` raise EvidenceError.
    """
    require(path, (str, Path), "read_effects takes the path of a file (a frame: read_simple)")
    path = Path(path)
    effects = read_table(path, vo.COLUMNS)
    of_mechanisms = read_mechanisms(mechanisms or path.parent / "mechanisms.csv")
    of_conditions = read_conditions(conditions or path.parent / "conditions.csv")
    found = [*of_mechanisms.problems, *of_conditions.problems, *effects.problems]
    cells = effects.frame
    values = None
    if not cells.columns.empty:
        values, wrong = _check(effects, of_mechanisms, of_conditions)
        found += wrong
    rows = cells.reset_index(allow_duplicates=True)
    if values is not None and not found:
        with_effects, found = derived(values, of_conditions.frame, path.name)
        if not found:
            rows = with_effects
    return Evidence(
        rows=rows,
        problems=ordered(found, vo.COLUMNS),
        mechanisms=of_mechanisms.frame.reset_index(drop=True),
        conditions=of_conditions.frame.reset_index(drop=True),
        path=path,
        sha256=effects.sha256,
    )


def _check(
    effects: Table, mechanisms: Table, conditions: Table
) -> tuple[pd.DataFrame, list[Problem]]:
    """Typed table (line as index, every column of the vocabulary) and what is wrong with it."""
    from nssi_meta.evidence.schema import Words, cell_problems  # pandera, only when needed

    file, header = effects.file, frozenset(effects.frame.columns)
    found = [*missing_columns(file, effects.frame, vo.REQUIRED_COLUMNS), *_reserved(effects)]
    cells = effects.frame.reindex(
        columns=[*vo.COLUMNS, *(c for c in effects.frame.columns if c not in vo.COLUMNS)],
        fill_value="",
    )
    values = cells.copy()
    for column in vo.NUMBERS:
        values[column], wrong = numbers(file, column, cells[column])
        found += wrong
    ids = _column(conditions, vo.CONDITION_KEY)
    words = {
        "mechanism": Words(_column(mechanisms, vo.MECHANISM_KEY), mechanisms.file),
        "condition": Words(ids, conditions.file),
        "comparator": Words((*ids, *vo.COMPARATOR_WORDS) if ids else (), conditions.file),
    }
    # A vocabulary that could not be read has its own problem; a missing column too.
    present = {c: w for c, w in words.items() if w.allowed}
    for problem in cell_problems(file, cells, values, present):
        if problem.column in header or problem.column not in vo.REQUIRED_COLUMNS:
            found.append(problem)
        if problem.column in vo.NUMBERS:
            # One bad cell is one problem: no rule shall stumble over it a second time.
            values.loc[problem.row, problem.column] = np.nan
    for column, sizes in vo.SIZES.items():
        found += too_far(file, column, values[column], cells[column], sizes)
    known = pd.DataFrame({c: _column(conditions, c) for c in vo.CONDITION_COLUMNS})
    found += row_problems(Sheet(file, cells, values, header, known))
    return values, found


def _column(table: Table, column: str) -> tuple[str, ...]:
    return tuple(table.frame[column]) if column in table.frame else ()


def _reserved(effects: Table) -> Iterator[Problem]:
    for column in effects.frame.columns:
        if column in _RESERVED and column not in vo.COLUMNS:
            what = f"the column name '{column}' is kept for what is derived"
            remedy = "rename or delete the column"
            yield Problem(effects.file, None, column, None, what, "another name", remedy)
