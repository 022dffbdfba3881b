"""The verb `diagnose`: tables, formats, a folder of figures."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

BCG = str(Path(__file__).parents[1] / "reference" / "bcg_RR.csv")


@pytest.fixture
def call(call):
    return partial(call, "diagnose")


def test_tables_and_the_caveat(review, call):
    done = call(review, "reflex", "-c", "alpha", "-e", "case_control")
    for word in ("Study left out", "Shift (SD)", "Narrower", "Quantity", "Diagnosis", "Observed"):
        assert word in done.stdout
    assert "data are used twice" in done.stderr


def test_csv_and_json_are_one_table_of_all_checks(review, call):
    words = [review, "tremor", "-c", "beta"]
    table = pd.read_csv(io.StringIO(call(*words, "--format", "csv").stdout))
    assert set(table["check"]) == {
        "leave_one_out", "prior_sensitivity", "predictive", "bayes_factors"
    }  # fmt: skip
    rows = json.loads(call(*words, "--format", "json").stdout)
    assert len(rows) == len(table)
    assert isinstance(rows[0]["shift"], float)
    assert rows[-1]["bf10_mu"] == pytest.approx(table["bf10_mu"].iloc[-1])
    assert rows[-2]["p"] == pytest.approx(table["p"].iloc[-2])


def test_bayes_factors_say_on_what_they_depend_and_why_there_are_none(call):
    words = [BCG, "--yi", "yi", "--vi", "vi"]
    done = call(*words)
    assert "BF of mu" in done.stdout
    assert "width of that prior" in done.stderr
    done = call(*words, "--mu-prior", "flat")
    assert "improper prior flat" in done.stdout
    assert "give a proper prior" in done.stdout


def test_a_single_study_has_no_empty_table(tmp_path, call):
    path = tmp_path / "one.csv"
    path.write_text("y,v\n0.5,0.04\n", encoding="utf-8")
    done = call(path, "--yi", "y", "--vi", "v")
    assert "Without each study" not in done.stdout
    assert "a single study, none to leave out" in done.stderr


def test_a_folder_of_tables_and_figures(review, tmp_path, call):
    out = tmp_path / "checks"
    done = call(review, "tremor", "-c", "beta", "--out", out)
    assert f"Written: {out}" in done.stderr
    names = {p.name for p in out.iterdir()}
    for check in ("leave_one_out", "predictive"):
        assert {f"{check}_tremor_beta_case_control.{k}" for k in ("pdf", "svg", "png")} <= names
    assert {
        "leave_one_out.csv",
        "prior_sensitivity.csv",
        "predictive.csv",
        "bayes_factors.csv",
    } <= names
    svg = (out / "predictive_tremor_beta_case_control.svg").read_text(encoding="utf-8")
    assert "Tremor, Beta disorder" in svg
    assert "under the posterior" in svg  # the alternative text


def test_ready_made_effects_with_the_priors_of_pool(call):
    words = [BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "normal(0,4)"]
    table = pd.read_csv(io.StringIO(call(*words, "--format", "csv").stdout))
    left = table[table["check"] == "leave_one_out"]
    assert len(left) == 13
    assert left["k"].eq(12).all()
    # p(y_j | others) of each study; a sum of exact log scores is finite and negative here
    assert left["elpd"].lt(0).all()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([BCG, "--sei", "sei"], "--yi"),
        ([BCG, "-m", "grip", "--yi", "yi", "--vi", "vi"], "no -m, -c, -e"),
        ([BCG, "--yi", "yi"], "exactly one of vi"),
    ],
)
def test_wrong_usage(words, says, call):
    assert says in call(*words, code=2).stderr


def test_an_unknown_mechanism_is_wrong_usage(review, call):
    assert "tremor" in call(review, "tremro", code=2).stderr


def test_raw_effects_are_checked_under_priors_in_their_unit(tmp_path, call):
    """Days to weeks changes the unit of effects and nothing else; without a measure a note says."""
    days = pd.read_csv(Path(BCG).parent / "normand1999_MD.csv")
    found = {}
    for unit, name in ((1.0, "days"), (7.0, "weeks")):
        one = days.assign(sei=days["vi"] ** 0.5)[["yi", "sei", "sd1i", "sd2i"]] / unit
        one.to_csv(tmp_path / f"{name}.csv", index=False)
        words = [tmp_path / f"{name}.csv", "--yi", "yi", "--sei", "sei"]
        assert "priors are on the scale of yi" in call(*words).stderr
        words += ["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--format", "csv"]
        done = call(*words)
        assert "the pooled SD of the outcome" in done.stderr
        found[name] = pd.read_csv(io.StringIO(done.stdout))
    same, scaled = ["p_positive", "shift", "narrower", "prior"], ["pred_low", "pred_high"]
    weeks = found["weeks"]
    pd.testing.assert_frame_equal(weeks[same], found["days"][same], rtol=1e-8)
    pd.testing.assert_frame_equal(7.0 * weeks[scaled], found["days"][scaled], rtol=1e-8)
    call(BCG, "--measure", "MD", code=2)
    call(BCG, "--yi", "yi", "--vi", "vi", "--sd", "yi", code=2)


def test_a_p_value_is_never_printed_as_zero(tmp_path, call):
    path = tmp_path / "far.csv"
    path.write_text("y,v\n1000010,0.1\n1000000,0.1\n999990,0.1\n", encoding="utf-8")
    text = call(path, "--yi", "y", "--vi", "v").stdout
    assert "p < 0.001" in text.replace("\n", " ")
    assert "p = 0.000" not in text
