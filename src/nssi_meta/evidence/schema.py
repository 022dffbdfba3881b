"""The declarative checks, cell by cell: vocabularies and ranges, through pandera.

This is the only module that imports pandera, and it does so when a table is checked: pooling a
ready-made CSV must not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.cells import out_of_range, outside
from nssi_meta.evidence.problems import Problem, unknown_word

if TYPE_CHECKING:
    import pandera.pandas as pa


@dataclass(frozen=True, slots=True)
class Words:
    """The words that a column may hold, and the file where more can be added (if any)."""

    allowed: tuple[str, ...]
    source: str = ""


FIXED_WORDS: dict[str, Words] = {
    "estimand": Words(tuple(vo.ESTIMANDS)),
    "statistic": Words(tuple(vo.STATISTICS)),
    "status": Words(vo.STATUSES),
    "direction": Words(("", *vo.DIRECTIONS)),
    "bound": Words(("", *vo.BOUNDS)),
    "confidence": Words(("", *vo.CONFIDENCES)),
}


def cell_problems(
    file: str, cells: pd.DataFrame, values: pd.DataFrame, words: Mapping[str, Words]
) -> list[Problem]:
    """Every cell whose word is not in its vocabulary or whose number is out of range.

    Parameters
    ----------
    file
        Name for the messages.
    cells
        Text of the cells, indexed by the line in the file.
    values
        The same table with numbers as floats (NaN: empty, or reported already as no number).
    words
        Vocabularies by column, besides `FIXED_WORDS`.
    """
    import pandera.pandas as pa

    vocabularies = {**FIXED_WORDS, **words}
    try:
        _schema(vocabularies).validate(values, lazy=True)
    except pa.errors.SchemaErrors as errors:
        failures = errors.failure_cases[["index", "column"]].drop_duplicates()
    else:
        return []
    problems = []
    for line, column in failures.itertuples(index=False):
        cell = str(cells.loc[line, column])
        if column in vocabularies:
            w = vocabularies[column]
            problems.append(unknown_word(file, int(line), column, cell, w.allowed, w.source))
        else:
            problems.append(out_of_range(file, int(line), column, cell, vo.RANGES[column]))
    return problems


def _schema(vocabularies: Mapping[str, Words]) -> pa.DataFrameSchema:
    import pandera.pandas as pa

    columns = {
        column: pa.Column(float, pa.Check(_inside(limits), name="range"), nullable=True)
        for column, limits in vo.RANGES.items()
        if limits != vo.Range()
    }
    columns |= {
        column: pa.Column(str, pa.Check.isin(words.allowed))
        for column, words in vocabularies.items()
    }
    return pa.DataFrameSchema(columns)


def _inside(limits: vo.Range):  # type: ignore[no-untyped-def]
    # A function of its own, because a lambda in the loop would see only the last limits.
    return lambda values: ~outside(values, limits)
