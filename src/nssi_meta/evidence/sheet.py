"""The table as the rules look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from nssi_meta.evidence.problems import Problem


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the rules look at.

    `cells` (text) and `values` (numbers as floats) have every column of the vocabulary and the
    line in the file as index; `header` holds the columns that the file really has.
    """

    file: str
    cells: pd.DataFrame
    values: pd.DataFrame
    header: frozenset[str]
    conditions: pd.DataFrame

    def filled(self, column: str) -> pd.Series[bool]:
        """Mask of the rows where the cell of `column` is not empty."""
        return self.cells[column].str.strip() != ""

    def flag(
        self, mask: pd.Series[bool], column: str, problem: str, allowed: str, remedy: str
    ) -> Iterator[Problem]:
        """One problem for each row of `mask`; texts may name cells, as in '{statistic}'."""
        for line in self.cells.index[mask]:
            row = self.cells.loc[line]
            texts = (text.format_map(row) for text in (problem, allowed, remedy))
            yield Problem(self.file, int(line), column, row[column], *texts)
