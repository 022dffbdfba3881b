"""Overlap of the index condition with one other condition, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nssi_meta.report.names import Names
from nssi_meta.report.values import (
    Record,
    as_float,
    as_int,
    as_text,
    count,
    enumerate_words,
    first_lower,
    first_upper,
    level_text,
    number,
    percent,
    probability,
    span,
    whole,
)

MECHANISM_COLUMNS = (
    "other", "mechanism", "label", "system", "p_shared", "p_opposite", "p_index_only",
    "p_other_only", "p_neither", "contrast_median", "contrast_low", "contrast_high",
    "predictive_overlap", "verdict", "k_index", "k_other", "n_bounds_index", "n_bounds_other",
)  # fmt: skip
SUMMARY_COLUMNS = (
    "other", "figure", "median", "low", "high", "prior_median", "prior_low", "prior_high",
    "n_mechanisms", "n_studies", "n_participants", "share_bounds", "verdict",
)  # fmt: skip
CORRELATION_COLUMNS = (
    "condition", "other", "median", "low", "high", "prior_median", "prior_low", "prior_high",
)  # fmt: skip
FIGURES = {
    "n_shared": "number of shared mechanisms",
    "jaccard": "Jaccard index (shared among those altered in either)",
    "magnitude": "signed magnitude overlap",
    "correlation": "correlation of the two profiles",
}
# The order in which verdicts are told, and how.
_VERDICTS = {
    "shared": "Shared in the same direction",
    "distinct": "Distinct, that is, altered in one of the two only",
    "opposite": "Opposite in direction",
    "neither": "Altered in neither",
}
_OPEN = {
    "undecided": "Undecided, because the evidence fits several answers",
    "uninformative": "Left open, because the evidence hardly moves the model from its prior",
}


def overlap_sentences(
    other: str,
    mechanisms: Sequence[Record],
    summary: Sequence[Record],
    correlations: Sequence[Record],
    names: Names,
) -> list[str]:
    """Sentences of one paragraph: coverage, mechanisms by verdict, totals, correlation, verdict.

    `mechanisms`, `summary` hold the rows of this `other`; `correlations` all rows of that table.
    """
    figures = {as_text(r["figure"]): r for r in summary}
    said = [_coverage(other, mechanisms, summary, names)]
    said += [_by_verdict(v, mechanisms, names) for v in _VERDICTS]
    said += [_left_open(verdict, mechanisms) for verdict in _OPEN]
    said += [_total(f, r, names) for f, r in figures.items() if f != "correlation"]
    row = figures.get("correlation") or _find(other, correlations, names)
    if row is not None:
        said.append(_correlation(row, names))
    said.append(_verdict(summary))
    return [s for s in said if s]


def _coverage(
    other: str, mechanisms: Sequence[Record], summary: Sequence[Record], names: Names
) -> str:
    people = f"{names.people(names.index)} and in {names.people(other)}"
    if not summary:
        n = len(mechanisms)
        return f"{count(n, 'mechanism')} {'has' if n == 1 else 'have'} evidence in {people}."
    first = summary[0]
    n = as_int(first["n_mechanisms"])
    return (
        f"{count(n, 'mechanism')} {'has' if n == 1 else 'have'} evidence both in {people} "
        f"({count(as_int(first['n_studies']), 'study', 'studies')}, "
        f"{count(as_int(first['n_participants']), 'participant')}; "
        f"{percent(as_float(first['share_bounds']))} of the effects are only bounds)."
    )


def _by_verdict(verdict: str, mechanisms: Sequence[Record], names: Names) -> str:
    mine = [r for r in mechanisms if as_text(r["verdict"]) == verdict]
    beyond = f" beyond {number(names.delta)}" if math.isfinite(names.delta) else ""
    head = _VERDICTS[verdict] + (beyond if verdict in ("shared", "neither") else "")
    if not mine:
        return f"{head}: none." if verdict in ("shared", "distinct", "opposite") else ""
    told = "; ".join(_mechanism(r, verdict, names) for r in mine)
    other = first_lower(names.condition(as_text(mine[0]["other"])))
    return f"{head}: {told}. Difference: {names.short(names.index)} minus {other}."


def _mechanism(row: Record, verdict: str, names: Names) -> str:
    if verdict == "distinct":
        here = as_float(row["p_index_only"]) >= as_float(row["p_other_only"])
        column = "p_index_only" if here else "p_other_only"
        where = names.index if here else as_text(row["other"])
        only = first_lower(names.condition(where))
        p = f"{only} only, probability {probability(as_float(row[column]))}"
    else:
        p = f"probability {probability(as_float(row[f'p_{verdict}']))}"
    low, high = as_float(row["contrast_low"]), as_float(row["contrast_high"])
    contrast = f"difference {number(as_float(row['contrast_median']))}, {span(low, high)}"
    return f"{as_text(row['label'])} ({p}; {contrast})"


def _left_open(verdict: str, mechanisms: Sequence[Record]) -> str:
    left = [as_text(r["label"]) for r in mechanisms if as_text(r["verdict"]) == verdict]
    return f"{_OPEN[verdict]}: {enumerate_words(left)}." if left else ""


def _total(figure: str, row: Record, names: Names) -> str:
    return first_upper(
        f"{FIGURES.get(figure, figure)}: {figure_value(row)} ({_level(names)}"
        f"{figure_span(row, 'low', 'high')}; before any evidence {figure_value(row, 'prior_')}, "
        f"{figure_span(row, 'prior_low', 'prior_high')}; {as_text(row['verdict'])})."
    )


def figure_value(row: Record, which: str = "") -> str:
    """Print the median of a figure; a number of mechanisms without decimals."""
    x = as_float(row[f"{which}median"])
    return whole(x) if as_text(row.get("figure")) == "n_shared" else number(x)


def figure_span(row: Record, low: str, high: str) -> str:
    """Print the limits of a figure; numbers of mechanisms without decimals."""
    x, y = as_float(row[low]), as_float(row[high])
    if as_text(row.get("figure")) == "n_shared":
        return f"{whole(x)} to {whole(y)}"
    return span(x, y)


def _correlation(row: Record, names: Names) -> str:
    r = as_float(row["median"])
    return (
        f"The profiles correlate at {number(r)} ({_level(names)}"
        f"{span(as_float(row['low']), as_float(row['high']))}); the prior alone says "
        f"{number(as_float(row['prior_median']))} "
        f"({span(as_float(row['prior_low']), as_float(row['prior_high']))})."
    )


def _level(names: Names) -> str:
    if math.isnan(names.level):
        return ""
    return f"{level_text(names.level)} credible interval "


def _find(other: str, correlations: Sequence[Record], names: Names) -> Record | None:
    pair = {names.index, other}
    for row in correlations:
        if {as_text(row["condition"]), as_text(row["other"])} == pair:
            return row
    return None


def _verdict(summary: Sequence[Record]) -> str:
    """Say which of the figures carry information, and what the others are worth."""
    if not summary:
        return ""
    told: dict[bool, list[str]] = {True: [], False: []}
    for row in summary:
        name = FIGURES.get(as_text(row["figure"]), as_text(row["figure"])).split(" (")[0]
        told[as_text(row["verdict"]) == "informative"].append(f"the {name}")
    if not told[True]:
        return (
            "Verdict: uninformative. The evidence hardly moves any of these figures from its "
            "prior: how much the two conditions share cannot be said yet."
        )
    verdict = f"Verdict: informative on {enumerate_words(told[True])}"
    if told[False]:
        verdict += f"; uninformative on {enumerate_words(told[False])}, from which nothing follows"
    return f"{verdict}."
