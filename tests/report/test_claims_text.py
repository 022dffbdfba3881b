"""Claims and gaps as the page prints them."""

from __future__ import annotations

import pandas as pd

from nssi_meta.report.claims_text import (
    MOST_GAPS,
    claims_sentence,
    claims_table,
    gaps_table,
    next_study,
)


def claim(**changes):
    row = {
        "claim_id": "C1", "statement": "Grip is stronger", "probability": 0.97,
        "bayes_factor": 1.94, "bayes_factor_not": 32.3, "verdict": "supported",
        "estimand": "case_control", "k": 4, "n_studies": 3, "n_bounds": 2,
        "sensitivity": "the same in 7 further readings", "disputed": "",
    }  # fmt: skip
    return row | changes


def test_verdicts_are_counted_and_disputes_told():
    rows = [claim(), claim(verdict="open"), claim(verdict="open", disputed="section 2")]
    text = claims_sentence({"claims": pd.DataFrame(rows)})
    assert text == (
        "Of 3 claims of the review: 1 supported and 2 open. The review itself disputes 1 of them."
    )
    assert claims_sentence({}) == ""


def test_the_table_shows_the_factor_that_the_rule_uses():
    table = claims_table({"claims": pd.DataFrame([claim()])})
    assert table.caption == "Claims of the review, verdicts and evidence"
    cells = dict(zip(table.headers, table.rows[0], strict=True))
    assert cells["Bayes factor against its negation"] == "32.3"
    assert cells["Bayes factor against any value"] == "1.94"
    assert cells["Verdict"] == "supported"
    assert claims_table({}) is None


def test_only_the_best_studies_stand_on_the_page():
    row = {
        "label": "Grip", "condition_label": "Alpha", "gain_bits": 0.5, "gain_se": 0.02,
        "n_studies": 1, "n_participants": 40, "because": "no study yet",
    }  # fmt: skip
    frame = pd.DataFrame([row | {"rank": i + 1} for i in range(40)])
    table = gaps_table({"gaps": frame})
    assert len(table.rows) == MOST_GAPS
    assert table.rows[0][0] == "Grip"
    assert gaps_table({}) is None


def test_a_probability_near_a_limit_of_the_rule_is_printed_on_its_side():
    rows = [claim(probability=p) for p in (0.8987, 0.1013, 0.93, 0.9999)]
    table = claims_table({"claims": pd.DataFrame(rows)})
    at = table.headers.index("Probability")
    assert [row[at] for row in table.rows] == ["0.899", "0.101", "0.93", "> 0.99"]


def test_the_next_study_is_the_first_of_the_table():
    row = {
        "rank": 1, "label": "Grip strength", "condition_label": "Alpha", "gain_bits": 0.5,
        "gain_se": 0.02, "n_studies": 0, "n_participants": 0, "because": "no study yet",
    }  # fmt: skip
    frame = pd.DataFrame([row, row | {"rank": 2, "label": "Tone"}])
    assert next_study({"gaps": frame}) == (
        "Study grip strength in alpha next, because: no study yet."
    )
    assert next_study({}) == ""
