"""Selective reporting and others' pools as the page tells them."""

from __future__ import annotations

import pandas as pd

from nssi_meta.report.robustness_text import (
    adjusted_table,
    external_sentence,
    external_table,
    reporting_sentence,
)


def tables():
    pool = {
        "label": "Grip", "condition_label": "NSSI", "estimand": "case_control", "k": 4,
        "n_bounds": 2, "naive_median": 0.5, "naive_low": 0.1, "naive_high": 0.9,
        "adjusted_median": 0.2, "adjusted_low": -0.1, "adjusted_high": 0.6,
        "excludes_zero": "naive only",
    }  # fmt: skip
    w = {"parameter": "w abstract", "median": 0.15, "low": 0.09, "high": 0.23, "n_reports": 456,
         "n_null": 105}  # fmt: skip
    total = {"cells with": "all", "n": 66, "covered": 55, "mean_excess": 0.02, "se_excess": 0.07,
             "expected_excess": -0.13, "mean_width": 1.33}  # fmt: skip
    return {
        "pools_adjusted": pd.DataFrame([pool, pool | {"excludes_zero": "both"}]),
        "reporting": pd.DataFrame([w]),
        "external_totals": pd.DataFrame(
            [total | {"pools": "naive"},
             total | {"pools": "adjusted", "covered": 59, "mean_excess": -0.15}]
        ),
    }  # fmt: skip


def test_sentences_carry_the_numbers_of_the_tables():
    told = reporting_sentence(tables())
    assert "0.15 times as often as others" in told
    assert "105 of 456 reports" in told
    assert "Of 2 pooled effects that exclude zero" in told
    assert "1 does so with it" in told
    beside = external_sentence(tables())
    assert "Of 66 estimates that others published, 55 lie inside" in beside
    assert "0.15 standardised mean differences smaller" in beside


def test_without_tables_nothing_is_said():
    assert reporting_sentence({}) == external_sentence({}) == ""
    assert adjusted_table({}) is None
    assert external_table({}) is None


def test_the_tables_show_both_pools():
    table = adjusted_table(tables())
    assert table is not None
    assert len(table.rows) == 2
    assert "0.50" in table.rows[0][5]
    assert "0.20" in table.rows[0][6]
    totals = external_table(tables())
    assert totals is not None
    assert [row[3] for row in totals.rows] == ["55", "59"]
