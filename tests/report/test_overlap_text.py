"""Overlap in words: coverage, names by verdict, the prior beside each figure."""

from __future__ import annotations

import re

from nssi_meta.report.names import read_names
from nssi_meta.report.overlap_text import overlap_sentences
from nssi_meta.report.values import number, percent, probability

FIGURES = ("median", "low", "high", "prior_median", "prior_low", "prior_high")


def tell(tables, facts, other="suicide", **changes):
    chosen = tables | changes
    mine = [
        chosen[name][chosen[name]["other"] == other].to_dict("records")
        for name in ("overlap_mechanisms", "overlap_summary")
    ]
    correlations = chosen["correlations"].to_dict("records")
    return overlap_sentences(other, *mine, correlations, read_names(tables, facts))


def test_a_paragraph_names_every_mechanism_under_its_verdict(tables, facts):
    table = tables["overlap_mechanisms"]
    mine = table[table["other"] == "suicide"]
    said = tell(tables, facts)
    heads = {
        "shared": "Shared in the same direction",
        "distinct": "Distinct",
        "opposite": "Opposite",
        "neither": "Altered in neither",
        "uninformative": "Left open",
    }
    assert set(mine["verdict"]) == set(heads)
    for verdict, head in heads.items():
        sentence = next(s for s in said if s.startswith(head))
        for row in mine.to_dict("records"):
            assert (row["label"] in sentence) == (row["verdict"] == verdict)


def test_numbers_of_a_mechanism_are_those_of_its_row(tables, facts):
    text = " ".join(tell(tables, facts))
    table = tables["overlap_mechanisms"]
    for row in table[table["other"] == "suicide"].to_dict("records"):
        if row["verdict"] == "uninformative":
            continue
        inside = re.search(re.escape(row["label"]) + r" \(([^)]*)\)", text)
        assert inside is not None
        column = f"p_{row['verdict']}"
        p = row[column] if column in row else max(row["p_index_only"], row["p_other_only"])
        assert f"probability {probability(p)}" in inside[1]
        for part in ("contrast_median", "contrast_low", "contrast_high"):
            assert number(row[part]) in inside[1]


def test_coverage_and_prior_stand_beside_the_figures(tables, facts):
    said = tell(tables, facts)
    row = tables["overlap_summary"].iloc[1]
    assert f"{row['n_mechanisms']} mechanisms" in said[0]
    assert "12,345 participants" in said[0]
    assert percent(row["share_bounds"]) in said[0]
    correlation = next(s for s in said if s.startswith("The profiles correlate"))
    for part in FIGURES:
        assert number(row[part]) in correlation
    shared = next(s for s in said if s.startswith("Number of shared"))
    assert "4 (95% credible interval 2 to 7; before any evidence 3, 0 to 6" in shared


def test_the_verdict_tells_informative_from_uninformative(tables, facts):
    verdict = tell(tables, facts)[-1]
    informative, _, rest = verdict.partition("; uninformative on ")
    assert "Jaccard" in informative
    assert "Jaccard" not in rest
    assert "correlation" in rest
    nothing = tables["overlap_summary"].assign(verdict="uninformative")
    last = tell(tables, facts, overlap_summary=nothing)[-1]
    assert last.startswith("Verdict: uninformative.")
    assert "cannot be said yet" in last


def test_the_correlation_is_found_in_its_own_table_in_either_order(tables, facts):
    summary = tables["overlap_summary"]
    without = summary[summary["figure"] != "correlation"]
    turned = tables["correlations"].rename(columns={"condition": "other", "other": "condition"})
    turned["median"] = 0.6789
    said = tell(tables, facts, overlap_summary=without)
    assert any(s.startswith("The profiles correlate at 0.41") for s in said)
    names = read_names(tables, facts)
    mine = without[without["other"] == "suicide"].to_dict("records")
    said = overlap_sentences("suicide", [], mine, turned.to_dict("records"), names)
    assert any(s.startswith("The profiles correlate at 0.68") for s in said)


def test_no_verdict_of_a_kind_is_said_to_be_none(tables, facts):
    table = tables["overlap_mechanisms"].assign(verdict="uninformative")
    said = tell(tables, facts, overlap_mechanisms=table)
    assert any(s.startswith("Shared in the same direction") and s.endswith("none.") for s in said)


def test_every_mechanism_is_told_of_also_where_it_is_undecided(tables, facts):
    table = tables["overlap_mechanisms"].copy()
    mine = table.index[table["other"] == "suicide"]
    table.loc[mine[0], "verdict"] = "undecided"
    said = " ".join(tell(tables, facts, overlap_mechanisms=table))
    assert "Undecided, because the evidence fits several answers" in said
    assert all(label in said for label in table.loc[mine, "label"])
