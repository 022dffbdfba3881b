"""The answers of a run in a few sentences, for readers who go no further."""

from __future__ import annotations

from nssi_meta.report.claims_text import claims_sentence, next_study
from nssi_meta.report.names import Names, Tables
from nssi_meta.report.overlap_text import (
    MECHANISM_COLUMNS,
    SUMMARY_COLUMNS,
    figure_span,
    figure_value,
)
from nssi_meta.report.robustness_text import reporting_sentence
from nssi_meta.report.sentences import POOL_COLUMNS, counts_sentence
from nssi_meta.report.values import as_int, as_text, count, enumerate_words, first_lower, records
from nssi_meta.synthesis.overlap import DECIDE


def in_short(tables: Tables, names: Names, *, joint: bool) -> list[tuple[str, str, str]]:
    """What was found on each question: a heading, the section to read on in, the sentence.

    `joint` says whether the joint model may be quoted: without it nothing is said of overlap,
    claims and further studies.
    """
    pools = records(tables.get("pools"), POOL_COLUMNS, "pools")
    said = [("Pooled effects", "pools", counts_sentence(pools) if pools else "")]
    said.append(("Selective reporting", "robustness", reporting_sentence(tables)))
    if joint:
        said.append(("Overlap", "overlap", _overlap(tables, names)))
        said.append(("Claims", "claims", claims_sentence(tables)))
        said.append(("Next study", "gaps", next_study(tables)))
    return [part for part in said if part[2]]


def _overlap(tables: Tables, names: Names) -> str:
    """How many mechanisms are shared with each condition, and which are called so."""
    summary = records(tables.get("overlap_summary"), SUMMARY_COLUMNS, "overlap_summary")
    rows = [r for r in summary if as_text(r["figure"]) == "n_shared"]
    if not rows:
        return ""
    parts = [
        f"{figure_value(r)} of {count(as_int(r['n_mechanisms']), 'mechanism')} with "
        f"{first_lower(names.condition(as_text(r['other'])))} ({figure_span(r, 'low', 'high')}; "
        f"before any evidence {figure_span(r, 'prior_low', 'prior_high')})"
        for r in rows
    ]
    index = names.short(names.index)
    told = f"{index} is estimated to share {enumerate_words(parts)}."
    return f"{told} {_called_shared(tables)}"


def _called_shared(tables: Tables) -> str:
    """Mechanisms with the verdict `shared`, and with how many conditions."""
    judged = records(tables.get("overlap_mechanisms"), MECHANISM_COLUMNS, "overlap_mechanisms")
    with_: dict[str, int] = {}
    for row in judged:
        if as_text(row["verdict"]) == "shared":
            label = as_text(row["label"])
            with_[label] = with_.get(label, 0) + 1
    if not with_:
        return f"No single mechanism is called shared (probability {DECIDE:g} or more)."
    ordered = sorted(with_, key=lambda label: -with_[label])
    names = [f"{first_lower(label)} ({with_[label]})" for label in ordered]
    return (
        f"Called shared (probability {DECIDE:g} or more), and with how many of the conditions: "
        f"{enumerate_words(names)}."
    )
