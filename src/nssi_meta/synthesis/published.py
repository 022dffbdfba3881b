"""The table of pools published by others: read, and checked cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nssi_meta.evidence.cells import numbers
from nssi_meta.evidence.problems import EvidenceError, Problem, looks_like, ordered
from nssi_meta.evidence.table import read_table
from nssi_meta.synthesis.external import COLUMNS, KINDS, impossible, kind_of

#: Columns without which nothing can be compared; the others of `COLUMNS` may be missing.
NEEDED = ("population", "mechanism", "estimate_type", "estimate")
NUMBERS = ("estimate", "ci_low", "ci_high")


def read_published(path: str | Path) -> pd.DataFrame:
    """The table of published pools, with all of `external.COLUMNS`.

    Raises
    ------
    EvidenceError
        With every problem of the file: it cannot be read, a needed column is missing, a number is
        none or cannot be one of its kind, an estimate outside its own interval. A row that is in
        order but has no counterpart of ours is no problem: `external_check` leaves it out and says
        why.
    """
    table = read_table(path, COLUMNS)
    frame, problems = table.frame, list(table.problems)
    for column in NEEDED:
        if column not in frame:
            meant = next((str(c) for c in frame if looks_like(str(c), [column])), "")
            meant = "condition" if column == "population" and "condition" in frame else meant
            remedy = f"rename the column '{meant}'" if meant else "add it to the header line"
            what = f"the file lacks the column {column}"
            problems.append(Problem(table.file, None, None, None, what, ", ".join(COLUMNS), remedy))
    frame = frame.reindex(columns=[*dict.fromkeys([*frame.columns, *COLUMNS])], fill_value="")
    words = frame["estimate_type"].map(kind_of)
    sizes = words.isin(list(KINDS))
    for column in NUMBERS:
        values, wrong = numbers(table.file, column, frame[column].where(sizes, ""))
        problems += wrong
        frame[column] = values
    frame["year"] = pd.to_numeric(frame["year"], errors="coerce")
    for i in np.flatnonzero(sizes):
        low, value, high = (float(frame[c].iloc[i]) for c in ("ci_low", "estimate", "ci_high"))
        why = impossible(words.iloc[i], (low, value, high))
        if not why and (value < low or value > high):
            why = f"the estimate {value:g} lies outside its interval {low:g} to {high:g}"
        if why:
            line, cell = int(str(frame.index.to_list()[i])), f"{value:g}"
            remedy = "correct the number or the estimate_type"
            problems.append(Problem(table.file, line, "estimate", cell, why, "", remedy))
    if problems:
        raise EvidenceError(ordered(problems, COLUMNS))
    return frame.reset_index(drop=True)


__all__ = ["read_published"]
