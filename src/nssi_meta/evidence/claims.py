"""A review's claims (`claims.csv`): read as text and checked cell by cell, each with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from nssi_meta.evidence import subset as ss
from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.catalogue import missing_columns, padded, repeated, with_role
from nssi_meta.evidence.problems import EvidenceError, Problem, ordered, unknown_word
from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.table import read_table

REQUIRED = (
    "claim_id", "kind", "mechanism", "condition", "other_condition", "expected", "subset",
    "statement",
)  # fmt: skip
OPTIONAL = ("section", "cited_by_review", "disputed_by_review")
EXPECTED = ("+", "-", "?")

#: Kinds about one condition, about two, and about many mechanisms at once.
ONE = ("direction", "contested", "moderator")
TWO = ("shared", "opposite", "specific")
MANY = ("system_overlap", "ranking")
KINDS = (*ONE, *TWO, *MANY)


def read_claims(path: str | Path, evidence: Evidence) -> pd.DataFrame:
    """The claims of a review, one a row, as text; the column `line` is the line in the file.

    Parameters
    ----------
    path
        A CSV file with the columns of `REQUIRED`; those of `OPTIONAL` are filled up empty.
    evidence
        Gives the mechanisms, conditions and levels that a claim may name.

    Raises
    ------
    EvidenceError
        With every bad cell of the file: line, column, value, what is allowed, the remedy.
    """
    table = read_table(path, (*REQUIRED, *OPTIONAL))
    frame = table.frame
    found = list(table.problems)
    if not frame.columns.empty:
        found += missing_columns(table.file, frame, REQUIRED)
        if not found:
            found += _problems(table.file, frame, evidence)
    if found:
        raise EvidenceError(ordered(found, REQUIRED))
    wanted = [*REQUIRED, *OPTIONAL]
    claims = frame.reindex(columns=[*wanted, *(c for c in frame if c not in wanted)], fill_value="")
    return claims.apply(lambda column: column.str.strip()).reset_index()


def _problems(file: str, frame: pd.DataFrame, evidence: Evidence) -> Iterator[Problem]:
    yield from repeated(file, frame["claim_id"])
    yield from padded(file, frame["claim_id"])
    words = _Words(evidence)
    for line, row in frame.iterrows():
        cells = {c: str(row[c]).strip() for c in REQUIRED}
        at = int(str(line))
        for column in ("claim_id", "statement"):
            if not cells[column]:
                what = f"{column} is empty"
                yield Problem(file, at, column, "", what, "a text", "fill it in")
        if cells["kind"] not in KINDS:
            yield unknown_word(file, at, "kind", cells["kind"], KINDS)
            yield from _without_kind(file, at, cells, words)
            continue
        yield from _names(file, at, cells, words)
        yield from _expected(file, at, cells)
        yield from _subset(file, at, cells, words)


class _Words:
    """What a claim may name."""

    def __init__(self, evidence: Evidence) -> None:
        self.mechanisms = tuple(evidence.mechanisms[vo.MECHANISM_KEY])
        self.systems = tuple(dict.fromkeys(evidence.mechanisms["system"]))
        self.conditions = with_role(evidence.conditions, *vo.CASE_ROLES)
        self.rows = evidence.rows

    def levels(self, column: str) -> tuple[str, ...]:
        if column == ss.SYSTEM:
            return self.systems
        if column == "estimand":
            return tuple(vo.ESTIMANDS)
        cells = self.rows[column].astype("str").str.strip()
        return tuple(sorted(set(cells) - {"", "nan"}))


def _names(file: str, at: int, cells: dict[str, str], words: _Words) -> Iterator[Problem]:
    kind = cells["kind"]
    needs: dict[str, tuple[tuple[str, ...], str]] = {
        "condition": (words.conditions, "conditions.csv")
    }
    if kind not in MANY:
        needs["mechanism"] = (words.mechanisms, "mechanisms.csv")
    if kind not in ONE:
        needs["other_condition"] = (words.conditions, "conditions.csv")
    for column in ("mechanism", "condition", "other_condition"):
        value = cells[column]
        if column in needs and value not in needs[column][0]:
            yield unknown_word(file, at, column, value, *needs[column])
        elif column not in needs and value:
            what = f"a claim of kind {kind} names no {column}"
            yield Problem(file, at, column, value, what, "an empty cell", "empty it")
    if cells["other_condition"] and cells["other_condition"] == cells["condition"]:
        what = "the claim compares a condition with itself"
        remedy = "name another condition"
        value = cells["other_condition"]
        yield Problem(file, at, "other_condition", value, what, "two conditions", remedy)


def _without_kind(file: str, at: int, cells: dict[str, str], words: _Words) -> Iterator[Problem]:
    """What is wrong with a claim whatever its kind is."""
    known = {
        "mechanism": (words.mechanisms, "mechanisms.csv"),
        "condition": (words.conditions, "conditions.csv"),
        "other_condition": (words.conditions, "conditions.csv"),
    }
    for column, (allowed, source) in known.items():
        if cells[column] and cells[column] not in allowed:
            yield unknown_word(file, at, column, cells[column], allowed, source)
    if cells["expected"] not in EXPECTED:
        yield from _expected(file, at, cells)


def _expected(file: str, at: int, cells: dict[str, str]) -> Iterator[Problem]:
    value, kind = cells["expected"], cells["kind"]
    allowed = ("+", "-") if kind in MANY else EXPECTED
    if value not in allowed:
        remedy = (
            "write + (more overlap than not; the most overlap) or - (less; the least)"
            if kind in MANY
            else "write + (higher), - (lower) or ? (the claim names no direction)"
        )
        what = f"'{value}' is no expected direction" if value else "expected is empty"
        yield Problem(file, at, "expected", value, what, " ".join(allowed), remedy)


def _subset(file: str, at: int, cells: dict[str, str], words: _Words) -> Iterator[Problem]:
    text, kind = cells["subset"], cells["kind"]

    def wrong(what: str, allowed: str, remedy: str) -> Problem:
        return Problem(file, at, "subset", text, what, allowed, remedy)

    try:
        clauses = ss.parse_subset(text)
    except ValueError as error:
        form = "column=a|b, column!=a, column>1, column<1, separated by semicolons"
        yield wrong(str(error), form, "write for example stimulus=pain")
        return
    contrasts = [c for c in clauses if c.versus]
    if (kind == "moderator") != (len(contrasts) == 1) or (kind != "moderator" and contrasts):
        what = (
            f"a moderator claim needs one contrast, this has {len(contrasts)}"
            if kind == "moderator"
            else f"'vs' is a contrast, and a claim of kind {kind} has none"
        )
        remedy = "write column=level vs other, or make the claim a moderator claim"
        yield wrong(what, "stimulus=drug vs other", remedy)
    columns = (ss.SYSTEM,) if kind in MANY else (*ss.WORD_COLUMNS, *ss.NUMBER_COLUMNS)
    for clause in clauses:
        yield from _clause(file, at, text, clause, columns, words)


def _clause(
    file: str, at: int, text: str, clause: ss.Clause, columns: tuple[str, ...], words: _Words
) -> Iterator[Problem]:
    present = tuple(c for c in columns if c == ss.SYSTEM or c in words.rows)
    if clause.column not in present:
        found: dict[str, Any] = {"file": file, "row": at, "column": "subset"}
        yield unknown_word(**found, value=clause.column, allowed=present)
        return
    if clause.column in ss.NUMBER_COLUMNS:
        try:
            numbers = [float(v) for v in clause.values]
        except ValueError:
            numbers = []
        if len(numbers) != 1:
            what = f"{clause.column} is compared with '{'|'.join(clause.values)}'"
            remedy = f"write for example {clause.column}>18"
            yield Problem(file, at, "subset", text, what, "one number", remedy)
        if clause.versus not in ((), (ss.OTHER,)):
            what = f"{clause.column} is a number: behind vs stands '{'|'.join(clause.versus)}'"
            remedy = f"write {clause.column}{clause.op}{clause.values[0]} vs other"
            yield Problem(file, at, "subset", text, what, "vs other", remedy)
        return
    if clause.op in "<>":
        what = f"{clause.column} holds words, which are not compared by {clause.op}"
        remedy = f"write {clause.column}=word"
        yield Problem(file, at, "subset", text, what, "= or !=", remedy)
        return
    levels = words.levels(clause.column)
    for value in (*clause.values, *(v for v in clause.versus if v != ss.OTHER)):
        if value not in levels:
            yield unknown_word(file, at, "subset", value, levels)
