"""The verb `pool`: numbers, selections, formats."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

REFERENCE = Path(__file__).parents[1] / "reference"
BCG = str(REFERENCE / "bcg_RR.csv")
PRIORS = ["--mu-prior", "normal(0,4)", "--tau-prior", "halfnormal(0.5)"]


def test_pool_of_ready_made_effects_agrees_with_the_reference(pooled):
    """bayesmeta's exact posterior of BCG log RR; both sides are quadrature."""
    (row,) = pooled(BCG, "--yi", "yi", "--sei", "sei", *PRIORS)
    assert row["mu_mean"] == pytest.approx(-0.7102865953, abs=1e-6)
    assert row["mu_sd"] == pytest.approx(0.1870040424, abs=1e-6)
    assert row["pred_low"] == pytest.approx(-1.9556284423, abs=1e-6)
    assert row["pred_high"] == pytest.approx(0.5187571050, abs=1e-6)
    assert row["tau_low"] == pytest.approx(0.345420495873701, abs=1e-6)
    assert (row["k"], row["engine"], row["estimand"]) == (13, "exact", "given")
    (same,) = pooled(BCG, "--yi", "yi", "--vi", "vi", *PRIORS)
    assert same["mu_mean"] == pytest.approx(row["mu_mean"], abs=1e-12)
    (short,) = pooled(BCG, "--yi", "yi", "--vi", "vi", *PRIORS, "--interval", "shortest")
    assert short["mu_low"] == pytest.approx(-1.0849155349621, abs=1e-6)
    assert short["interval"] == "shortest"


def test_pool_in_a_shell_of_its_own(shell):
    done = shell("pool", BCG, "--yi", "yi", "--sei", "sei", *PRIORS, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)[0]["mu_mean"] == pytest.approx(-0.7102865953, abs=1e-6)


def test_pool_with_flat_priors(pooled):
    (row,) = pooled(BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "flat")
    assert row["mu_mean"] == pytest.approx(-0.711860008181819, abs=1e-6)
    (row,) = pooled(
        BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "normal(0,4)", "--tau-prior", "uniform(0,5)"
    )
    assert row["mu_mean"] == pytest.approx(-0.715113287070701, abs=1e-6)


def test_pool_with_repeated_studies_has_three_levels(pooled):
    path = REFERENCE / "konstantopoulos2011.csv"
    (row,) = pooled(path, "--yi", "yi", "--vi", "vi", "--study", "district")
    assert row["mu_mean"] == pytest.approx(0.181992168898811, abs=1e-5)
    assert row["omega_median"] is not None
    (single,) = pooled(path, "--yi", "yi", "--vi", "vi")
    assert single["omega_median"] is None


def test_pool_by_groups(tmp_path, pooled):
    path = tmp_path / "x.csv"
    path.write_text("y,v,g\n0.1,0.04,b\n0.3,0.04,a\n0.5,0.04,b\n")
    rows = pooled(path, "--yi", "y", "--vi", "v", "--by", "g")
    assert {r["mechanism"]: r["k"] for r in rows} == {"a": 1, "b": 2}


def test_bad_cells_of_a_ready_made_table_end_with_1(tmp_path, call):
    path = tmp_path / "x.csv"
    path.write_text("y,v\n0.1,0.04\nNA,0.04\n0.3,-1\n")
    text = call("pool", path, "--yi", "y", "--vi", "v", code=1).stderr
    assert "NA" in text
    assert "-1" in text
    text = call("pool", path, "--yi", "y", "--vi", "w", code=1).stderr
    assert "no column 'w'" in text


def test_pool_selects(review, pooled):
    rows = pooled(review, "-m", "grip", "-m", "tremor", "-c", "alpha", "-e", "case_control")
    assert [(r["mechanism"], r["condition"], r["estimand"]) for r in rows] == [
        ("grip", "alpha", "case_control"), ("tremor", "alpha", "case_control"),
    ]  # fmt: skip
    (row,) = pooled(review, "-m", "reflex", "--comparator", "beta")
    assert (row["comparator"], row["k"]) == ("beta", 1)
    (with_doubtful,) = pooled(review, "-m", "tremor", "-c", "beta", "--doubtful")
    (without,) = pooled(review, "-m", "tremor", "-c", "beta")
    assert (with_doubtful["k"], without["k"]) == (5, 4)


def test_pool_prints_a_table_for_people_and_csv_for_programs(review, call):
    text = call("pool", review, "-m", "reflex").stdout
    assert "Median" in text
    assert "some thresholds assumed" in re.sub(r"\s+", " ", text)
    table = pd.read_csv(io.StringIO(call("pool", review, "-m", "reflex", "--format", "csv").stdout))
    assert table["k"].tolist() == [7, 4, 4]


def test_omega_is_printed_where_it_is_in_the_model(call):
    words = ["pool", REFERENCE / "konstantopoulos2011.csv", "--yi", "yi", "--vi", "vi"]
    text = call(*words, "--study", "district").stdout
    assert re.search(r"tau +omega", text)
    assert "omega: median SD within studies" in text
    assert "omega" not in call(*words).stdout
    text = call(*words, "--study", "district", "--tau-prior", "zero").stdout
    assert "tau: 0 by its prior. omega: median SD within studies" in re.sub(r"\s+", " ", text)


@pytest.mark.slow
def test_a_sampled_pool_that_fails_its_checks_names_the_exact_engine(call, monkeypatch):
    """No sampler has a billion draws: exit code 3, and a remedy that this verb has."""
    monkeypatch.setattr("nssi_meta.inference.nuts.MIN_ESS", 1e9)
    done = call("pool", BCG, "--yi", "yi", "--vi", "vi", "--engine", "nuts", code=3)
    said = re.sub(r"\s+", " ", done.output)
    assert re.search(r"Not converged: (\d) of \1 reported quantities", said)
    assert "Remedy: the exact engine, which needs no draws (leave out `--engine nuts`" in said
    assert "--draws" not in said


@pytest.mark.parametrize("words", [["--yi", "yi", "--vi", "vi"], ["--counts"]])
def test_a_common_effect_model_says_so(words, call, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("yi,vi,ai,n1i,ci,n2i\n0.1,0.2,3,30,2,30\n0.4,0.1,5,40,2,41\n")
    text = call("pool", path, *words, "--tau-prior", "zero").stdout
    assert text.count("ommon-effect model: tau is 0") == 2  # above the table and in its note
    assert "comes mostly from the prior" not in text
    assert "ommon-effect" not in call("pool", path, *words).stdout
