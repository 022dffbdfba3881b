"""Sentences about pools: every number in them is in the row, and rounds to it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from nssi_meta.report import values
from nssi_meta.report.methods import methods
from nssi_meta.report.names import Names, read_names
from nssi_meta.report.sentences import (
    counts_sentence,
    diagnostics_sentence,
    evidence_words,
    most_studied,
    pool_sentence,
)

Row = Callable[..., dict[str, Any]]
NUMBER = re.compile(r"[−-]?\d[\d,]*\.?\d*")
HALF = 0.005 + 1e-9  # numbers are printed with two decimals

NAMES = Names(
    labels={"nssi": "Non-suicidal self-injury"},
    phrases={"nssi": "people with non-suicidal self-injury"},
    index="nssi",
    reference="healthy controls",
    level=0.95,
)


def read_numbers(text: str) -> list[float]:
    return [float(x.replace("−", "-").replace(",", "")) for x in NUMBER.findall(text)]


def allowed(row: dict[str, Any]) -> list[float]:
    """Every number of a row, the back-transformed ones, and the level in per cent."""
    raw = [float(v) for v in row.values() if isinstance(v, int | float)]
    known = [x for x in raw if math.isfinite(x)]
    moved = {"log_or": math.exp, "z": math.tanh}.get(row["scale"])
    effects = [row[c] for c in row if c.startswith(("mu_m", "mu_l", "mu_h", "pred"))]
    back = [moved(x) for x in effects if isinstance(x, float)] if moved else []
    return [*known, *back, 100 * row["level"], 0.99, 0.01]


def test_every_number_of_the_findings_is_in_the_table(tables, facts):
    names = read_names(tables, facts)
    rows = tables["pools"].to_dict("records")
    assert len(rows) > 100
    for row in rows:
        text = pool_sentence(row, names).removeprefix(row["label"])
        text = text.replace(names.condition(row["condition"]), "")
        found = read_numbers(text)
        assert len(found) >= 6
        for x in found:
            assert any(abs(x - y) <= HALF for y in allowed(row)), (x, text)


def test_a_pool_is_told_number_first_with_interval_evidence_and_prediction(pool_row: Row):
    assert pool_sentence(pool_row(), NAMES) == (
        "Pain threshold: people with non-suicidal self-injury differ from healthy controls by "
        "g = 0.93 (95% credible interval 0.55 to 1.31; 9 effects from 9 studies, 6 of them only "
        "bounds, 2 with an assumed threshold; above zero with probability > 0.99; "
        "the true effect in a new study would be expected between −0.10 and 1.90)."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": 1, "n_studies": 1, "n_bounds": 0, "n_assumed": 0}, "a single study"),
        (
            {"k": 1, "n_studies": 1, "n_bounds": 1, "n_assumed": 0},
            "a single study, only a bound (no study reports a size)",
        ),
        (
            {"k": 3, "n_studies": 1, "n_bounds": 3, "n_assumed": 1},
            "3 effects from a single study, all of them only bounds (no study reports a size), 1 "
            "with an assumed threshold",
        ),
        (
            {"k": 2, "n_studies": 2, "n_bounds": 1, "n_assumed": 0},
            "2 effects from 2 studies, 1 of them only a bound",
        ),
        ({"k": 0, "n_studies": 0, "n_bounds": 0, "n_assumed": 0}, "no effect was reported"),
    ],
)
def test_evidence_in_words_has_its_plurals_right(pool_row: Row, changes, words):
    assert evidence_words(pool_row(**changes)) == words


def test_an_interval_over_zero_is_said_to_include_it(pool_row: Row):
    assert "includes zero" in pool_sentence(pool_row(mu_low=-0.2), NAMES)
    assert "includes zero" not in pool_sentence(pool_row(), NAMES)


def test_odds_and_correlations_are_back_transformed(pool_row: Row):
    row = {"mu_median": math.log(1.5), "mu_low": math.log(1.2), "mu_high": math.log(2.0)}
    odds = pool_sentence(pool_row(estimand="odds", scale="log_or", **row), NAMES)
    assert "log odds ratio = 0.41 (95% credible interval 0.18 to 0.69; that is, " in odds
    assert "odds ratio 1.50, 1.20 to 2.00" in odds
    assert " against " not in odds  # no group is named
    compared = pool_sentence(
        pool_row(estimand="odds", scale="log_or", comparator="healthy", **row),
        Names(labels={"healthy": "Healthy controls"}),
    )
    assert " against healthy controls, log odds ratio = 0.41 (" in compared
    row = {"mu_median": math.atanh(0.3), "mu_low": math.atanh(0.1), "mu_high": math.atanh(0.5)}
    linked = pool_sentence(pool_row(estimand="association", scale="z", **row), NAMES)
    assert "correlation 0.30, 0.10 to 0.50" in linked
    huge = pool_sentence(pool_row(estimand="odds", scale="log_or", mu_high=1e4), NAMES)
    assert "∞" in huge


def test_a_pool_that_failed_shows_no_number_as_its_effect(pool_row: Row):
    nothing = dict.fromkeys(("mu_median", "mu_low", "mu_high", "pred_low", "pred_high"), math.nan)
    text = pool_sentence(pool_row(**nothing, flags="improper posterior"), NAMES)
    assert "no pooled effect (improper posterior)" in text
    assert "nan" not in text
    assert "g =" not in text


def test_meaning_of_the_sign_and_flags_are_told(pool_row: Row):
    names = Names(meanings={"pain_threshold": "higher threshold in cases"})
    told = "only bounds: no study reports a size; one study dominates"  # bounds are told before
    text = pool_sentence(pool_row(flags=told), names)
    assert text.endswith("Positive means: higher threshold in cases. Caution: one study dominates.")


def test_most_studied_goes_by_evidence_and_not_by_answer(pool_row: Row):
    rows = [
        pool_row(label="large", mu_median=3.0, n_studies=2),
        pool_row(label="null", mu_median=0.0, n_studies=20),
        pool_row(label="elsewhere", condition="other", n_studies=90),
        pool_row(label="empty", k=0, n_studies=0),
    ]
    assert [r["label"] for r in most_studied(rows, "nssi", 3)] == ["null", "large"]
    assert len(most_studied(rows, "nssi", 1)) == 1


def test_counts_agree_with_the_table(tables):
    pools = tables["pools"]
    text = counts_sentence(pools.to_dict("records"))
    above, below = (pools["mu_low"] > 0).sum(), (pools["mu_high"] < 0).sum()
    expected = [len(pools), above, 95, below, len(pools) - above - below]
    assert read_numbers(text) == expected


def test_diagnostics_name_the_worst_and_the_failures(tables):
    table = tables["diagnostics"]
    text = diagnostics_sentence(table.to_dict("records"))
    assert "all pass" in text
    assert values.number(table["r_hat"].max(), 3) in text
    assert values.number(table["ess_bulk"].min(), 0) in text
    table.loc[3, ["r_hat", "ok"]] = [1.2345, False]
    text = diagnostics_sentence(table.to_dict("records"))
    assert "1 fails (mu[3])" in text
    assert "1.234" in text or "1.235" in text
    assert diagnostics_sentence([]) == "No convergence check was recorded."


def test_numbers_have_a_true_minus_and_no_minus_zero():
    assert values.number(-0.126) == "−0.13"
    assert values.number(-0.001) == "0.00"
    assert values.number(1234.5) == "1,234.50"
    assert values.number(math.nan) == "n/a"
    assert values.number(-math.inf) == "−∞"


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.00499, 0.00501, 0.5, 0.99499, 0.99501, 1.0])
def test_a_probability_is_never_printed_as_certain(p: float):
    text = values.probability(p)
    assert text not in ("0.00", "1.00")
    shown = read_numbers(text)[0]
    if text[0] in "<>":
        assert p < 0.01 if text[0] == "<" else p > 0.99
    else:
        assert abs(shown - p) <= HALF


def test_shares_reach_the_ends_only_where_they_are_exact():
    shares = (0.0, 0.001, 0.62, 0.999, 1.0)
    assert [values.percent(s) for s in shares] == ["0%", "< 1%", "62%", "> 99%", "100%"]


def test_labels_inside_a_sentence_keep_their_acronyms():
    labels = ("Suicidal behaviour", "NSSI cues", "N2 amplitude", "5-HTTLPR")
    inside = ["suicidal behaviour", "NSSI cues", "N2 amplitude", "5-HTTLPR"]
    assert [values.first_lower(x) for x in labels] == inside


def test_names_come_from_the_tables_where_the_manifest_has_none(tables):
    names = read_names(tables, {})
    assert names.index == "nssi"
    assert names.people("depression") == "people with depression"
    assert names.mechanism("pain_threshold") == "Pain threshold"
    assert names.mechanism("unheard_of") == "unheard of"
    bare = read_names({"pools": pd.DataFrame()}, {})
    assert bare.index == ""


def test_dates_do_not_depend_on_the_locale():
    assert values.date("2026-07-04T08:05:00+00:00") == "4 July 2026, 08:05 UTC"
    assert values.date("yesterday") == "yesterday"


def test_methods_name_the_prior_of_omega_where_it_is_in_a_model(pool_row):
    rows = [pool_row(omega_prior=""), pool_row(omega_prior="halfnormal(0.3)")]
    (text,) = [p for p in methods({}, rows, False) if "Prior of μ" in p]
    assert "of τ: halfnormal(0.5); of the differences within a study: halfnormal(0.3)." in text
    (text,) = [p for p in methods({}, rows[:1], False) if "Prior of μ" in p]
    assert "within a study: " not in text


def test_methods_name_the_model_that_was_asked_for(pool_row):
    for prior, kind in (("halfnormal(0.5)", "random-effects"), ("zero", "common-effect")):
        text = " ".join(methods({}, [pool_row(tau_prior=prior)], False))
        assert f"Each pool is a {kind} model" in text
        assert ("how its study differs" in text) == (prior != "zero")
