"""Claims and gaps as the page prints them."""

from __future__ import annotations

import pandas as pd

from nssi_meta.report.claims_text import MOST_GAPS, claims_sentence, claims_table, gaps_table


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
    assert cells["against any value"] == "1.94"
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
