"""Overlaps compared, and kinds of evidence side by side, as the page tells them."""

from __future__ import annotations

import pandas as pd
import pytest

from nssi_meta.report.page import build
from nssi_meta.report.side_by_side import (
    contrast_sentence,
    contrasts_table,
    estimands_table,
    left_out_table,
)


@pytest.fixture
def found():
    contrast = {
        "condition_label": "Addiction", "other_label": "Depression", "mechanisms": "common",
        "figure": "magnitude", "p_more": 0.7, "prior_p_more": 0.5, "median": 0.06, "low": -0.17,
        "high": 0.3, "n_condition": 24,
    }  # fmt: skip
    surer = {"condition_label": "Suicidal behaviour", "p_more": 0.08, "n_condition": 20}
    out = {
        "other": "addiction", "other_label": "Addiction", "label": "Trait impulsivity",
        "figure": "magnitude", "median": 0.35, "low": 0.19, "high": 0.53, "median_with_all": 0.37,
    }  # fmt: skip
    kinds = {
        f"{k}_{n}": float("nan")
        for k in ("case_control", "association", "within_person", "odds")
        for n in ("mu_median", "mu_low", "mu_high", "k")
    }
    many = kinds | {
        "label": "Beta-endorphin", "condition_label": "NSSI", "n_estimands": 2,
        "directions": "conflict", "case_control_mu_median": -0.55, "case_control_mu_low": -1.32,
        "case_control_mu_high": 0.46, "case_control_k": 1, "within_person_mu_median": 0.28,
        "within_person_mu_low": -0.78, "within_person_mu_high": 1.35, "within_person_k": 2,
    }  # fmt: skip
    return {
        "overlap_contrasts": pd.DataFrame(
            [contrast, contrast | surer, contrast | {"mechanisms": "own", "p_more": 0.99},
             contrast | {"figure": "jaccard", "p_more": 0.999}]
        ),
        "overlap_leave_one_out": pd.DataFrame(
            [out | {"label": "Pain threshold", "median": 0.36}, out,
             out | {"figure": "jaccard", "median": 0.9}]
        ),
        "estimands": pd.DataFrame([many, many | {"label": "Only one", "n_estimands": 1}]),
    }  # fmt: skip


def test_the_surest_contrast_is_told_from_its_likelier_side(found):
    told = contrast_sentence(found)
    assert told.startswith("The magnitude overlap is larger with depression than with suicidal")
    assert "probability 0.92, on the 20 mechanisms known in both" in told
    table = contrasts_table(found, "95%")
    assert [row[3] for row in table.rows] == ["0.08", "0.70"]  # neither own mechanisms nor Jaccard


def test_the_mechanism_that_moves_most_stands_for_all(found):
    table = left_out_table(found, "95%")
    assert table.rows == (("Addiction", "Trait impulsivity", "0.35 [0.19, 0.53]", "0.37"),)


def test_kinds_of_evidence_stand_on_their_own_scales(found):
    table = estimands_table(found, "90%")
    assert table.headers[2:] == (
        "Groups compared (g) [90% CrI], effects",
        "Change within persons (d) [90% CrI], effects",
        "Directions",
    )
    (row,) = table.rows
    assert row[0] == "Beta-endorphin"
    assert row[2].endswith("[−1.32, 0.46], 1")
    assert row[4] == "they conflict"


def test_they_stand_on_the_page_and_are_marked_like_all_of_the_joint_model(
    tables, facts, found, read_page
):
    page = read_page(build(tables | found, facts, {}))
    assert page.faults == []
    for caption in ("With which condition the magnitude overlap is larger",
                    "The one mechanism without which", "Several kinds of evidence"):  # fmt: skip
        assert caption in page.text
    bad = read_page(build(tables | found, facts | {"converged": False}, {}))
    assert "magnitude overlap is larger (did not converge: not results)" in bad.text


def test_without_tables_nothing_is_said(tables, facts, read_page):
    assert contrast_sentence({}) == ""
    assert contrasts_table({}, "95%") is left_out_table({}, "95%") is estimands_table({}, "95%")
    assert "Several kinds of evidence" not in read_page(build(tables, facts, {})).text
