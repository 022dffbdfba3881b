"""Checks across the cells of a row, and across rows; each rule yields its problems."""

from __future__ import annotations

from collections.abc import Iterator

from nssi_meta.evidence import rules_statistics
from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.catalogue import padded, repeated, with_role
from nssi_meta.evidence.problems import Problem
from nssi_meta.evidence.sheet import Sheet


def identifiers(sheet: Sheet) -> Iterator[Problem]:
    """Ids are filled, unique (effect_id), without white space; case and control people differ."""
    for column in vo.NOT_EMPTY:
        # Empty words are reported with their vocabulary.
        if column in vo.IDENTIFIERS and column in sheet.header:
            empty = ~sheet.filled(column)
            yield from sheet.flag(empty, column, f"{column} is empty", "an id", "fill it in")
    for column in vo.IDENTIFIERS:
        yield from padded(sheet.file, sheet.cells[column])
    yield from repeated(sheet.file, sheet.cells["effect_id"])
    same = sheet.filled("control_id") & (sheet.cells["control_id"] == sheet.cells["sample_id"])
    yield from sheet.flag(
        same,
        "control_id",
        "'{control_id}' is the sample_id of the same row: cases cannot be their own controls",
        "an id other than sample_id",
        "name the comparison group, or use estimand within_person",
    )


def comparators(sheet: Sheet) -> Iterator[Problem]:
    """The comparator fits condition and estimand; a comparison group has a control_id."""
    cells = sheet.cells
    yield from sheet.flag(
        sheet.filled("comparator") & (cells["comparator"] == cells["condition"]),
        "comparator",
        "comparator and condition are both '{condition}'",
        "a condition other than that of the cases",
        "name the group that the cases were compared with",
    )
    known = set(sheet.conditions[vo.CONDITION_KEY])
    cases = with_role(sheet.conditions, *vo.CASE_ROLES)
    yield from sheet.flag(
        cells["condition"].isin(known - set(cases)),
        "condition",
        "'{condition}' is a comparison group in conditions.csv, not a condition of cases",
        ", ".join(cases),
        "put it into comparator and name the condition of the cases here",
    )
    for estimand, word in vo.COMPARATOR_OF.items():
        valid = cells["comparator"].isin(known | set(vo.COMPARATOR_WORDS))
        yield from sheet.flag(
            (cells["estimand"] == estimand) & valid & (cells["comparator"] != word),
            "comparator",
            f"{estimand} rows have no comparison group, but comparator is '{{comparator}}'",
            word,
            f"write '{word}', or change the estimand",
        )
    with_group = {"case_control": vo.COMPARATOR_WORDS, "odds": ("within",)}
    for estimand, words in with_group.items():
        yield from sheet.flag(
            (cells["estimand"] == estimand) & cells["comparator"].isin(words),
            "comparator",
            f"'{{comparator}}' does not go with estimand {estimand}",
            "a condition of conditions.csv" + (", or none" if estimand == "odds" else ""),
            "name the group that the cases were compared with",
        )
    grouped = cells["comparator"].isin(known)
    if "control_id" in sheet.header:
        yield from sheet.flag(
            grouped & ~sheet.filled("control_id"),
            "control_id",
            "control_id is empty although the cases were compared with '{comparator}'",
            "an id",
            "name the people of the comparison group; rows that share them share the id",
        )
    yield from sheet.flag(
        cells["comparator"].isin(vo.COMPARATOR_WORDS) & sheet.filled("control_id"),
        "control_id",
        "control_id is '{control_id}' although comparator is '{comparator}'",
        "empty",
        "empty the cell, or name the comparison group in comparator",
    )


def bounds(sheet: Sheet) -> Iterator[Problem]:
    """Bounds say whether the threshold was stated; other rows leave `bound` empty."""
    is_bound = sheet.cells["statistic"].isin(vo.BOUND_KINDS)
    yield from sheet.flag(
        is_bound & ~sheet.filled("bound"),
        "bound",
        "bound is empty, but statistic {statistic} is a bound",
        " or ".join(vo.BOUNDS),
        "write stated if the paper prints the threshold, assumed if it says only 'significant'",
    )
    other = sheet.cells["statistic"].isin(set(vo.STATISTICS) - set(vo.BOUND_KINDS))
    yield from sheet.flag(
        other & sheet.filled("bound"),
        "bound",
        "bound is '{bound}', but statistic {statistic} is not a bound",
        "empty",
        f"empty the cell, or set statistic to {' or '.join(vo.BOUND_KINDS)}",
    )


def reasons(sheet: Sheet) -> Iterator[Problem]:
    """A row that is not used says why; a used row has no reason for exclusion."""
    out = sheet.cells["status"].isin(set(vo.STATUSES) - {"use"})
    yield from sheet.flag(
        out & ~sheet.filled("exclude_reason"),
        "exclude_reason",
        "status is {status}, but exclude_reason is empty",
        "a reason",
        "say in a few words why the row is not used",
    )
    yield from sheet.flag(
        (sheet.cells["status"] == "use") & sheet.filled("exclude_reason"),
        "exclude_reason",
        "status is use, but exclude_reason is '{exclude_reason}'",
        "empty",
        "empty the cell, or set status to doubtful, duplicate or overlap",
    )


RULES = (
    identifiers,
    comparators,
    rules_statistics.estimands,
    rules_statistics.required_cells,
    rules_statistics.foreign_cells,
    rules_statistics.directions,
    rules_statistics.intervals,
    bounds,
    rules_statistics.numbers_within_rows,
    reasons,
    rules_statistics.exchanged_variances,
)


def row_problems(sheet: Sheet) -> list[Problem]:
    """Everything that the rules of this module object to."""
    return [problem for rule in RULES for problem in rule(sheet)]
