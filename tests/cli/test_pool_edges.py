"""The verb `pool` at its edges: extreme numbers, wrong priors, Bayes factors, unknown signs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest

from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.pooled import pool

BCG = str(Path(__file__).parents[1] / "reference" / "bcg_RR.csv")


def test_numbers_out_of_range_end_in_a_sentence_without_noise(tmp_path, call):
    path = tmp_path / "far.csv"
    path.write_text("study,yi,vi\na,1e300,1e-300\nb,1e13,0.1\nc,1,0.1\n", encoding="utf-8")
    for more in ([], ["--method", "dl"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = call("pool", path, "--yi", "yi", "--vi", "vi", *more, code=1).stderr
        assert "line 2, column yi: '1e300' is too large" in text
        assert "line 2, column vi: '1e-300' is too small; allowed: sizes from 1e-60 on" in text
        assert "line 3, column yi: '1e13' is too large; allowed: sizes up to 1e+12" in text


@pytest.mark.parametrize("verb", ["pool", "diagnose"])
def test_a_wrong_prior_is_told_without_a_note_about_others(verb, call):
    wrong = ("--yi", "yi", "--vi", "vi", "--mu-prior", "normal(0,-1)")
    text = call(verb, BCG, *wrong, code=2).stderr
    assert "prior for mu 'normal(0,-1)': sd must be above 0, got -1" in text
    assert "Note" not in text


@pytest.mark.parametrize(
    ("y", "v"),
    [
        ((1e6, 1e6 + 20, 1e6 - 10), (0.1, 0.1, 0.1)),
        ((1e6, 0.2, 0.1), (0.1, 0.1, 0.1)),
        ((1e12, -1e12, 3.0), (1e-12, 1e-12, 1e-12)),
        ((0.5, 0.1, 0.3), (1e-12, 1e-12, 1e-12)),
        ((0.5, 0.1, 0.3), (1e-12, 0.1, 0.2)),
        ((0.5, 0.1, 0.3), (1e-60, 1e24, 1e24)),
        ((0.4, 0.4, 0.4), (0.1, 0.1, 0.1)),
    ],
)
def test_extreme_effects_are_pooled_without_a_warning_and_without_a_gap(tmp_path, y, v, pooled):
    """Nothing silences numpy here: a warning of a fit that goes well would show."""
    path = tmp_path / "far.csv"
    pd.DataFrame({"y": y, "v": v}).to_csv(path, index=False)
    for priors in ([], ["--mu-prior", "flat", "--tau-prior", "halfcauchy(0.5)"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (row,) = pooled(path, "--yi", "y", "--vi", "v", *priors)
        assert row["mu_low"] < row["mu_median"] < row["mu_high"]
        assert row["pred_low"] < row["mu_low"]
        assert 0 <= row["tau_low"] < row["tau_median"] < row["tau_high"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = pooled(path, "--yi", "y", "--vi", "v", "--method", "dl", "--test", "z")
    assert row["ci_low"] <= row["estimate"] <= row["ci_high"]  # the same where vi is 1e-60


def test_remedies_are_those_of_a_table_of_ones_own(tmp_path, call):
    path = tmp_path / "own.csv"
    path.write_text("y,v,sd\n<0.05,0.1,1\n0.2,0.1,-1\n", encoding="utf-8")
    words = ["--yi", "y", "--vi", "v", "--measure", "MD", "--sd", "sd"]
    text = call("pool", path, *words, code=1).stderr
    assert "'<0.05' is a bound, not a number" in text
    assert "a column named by lower or upper" in text
    assert "copy the standard deviation again, or leave the cell empty" in text
    assert "statistic" not in text


def test_wrong_priors_are_named_all_at_once(call):
    words = ["--mu-prior", "normal(0,-1)", "--tau-prior", "halfnrmal(1)", "--omega-prior", "normal"]
    text = call("pool", BCG, "--yi", "yi", "--vi", "vi", *words, code=2).stderr
    for named in ("normal(0,-1)", "above 0", "halfnrmal(1)", "prior for omega"):
        assert named in text


def test_a_prior_in_another_unit_than_the_effects_is_noted(tmp_path, pooled):
    path = tmp_path / "days.csv"
    path.write_text("y,v\n1000100,90\n1000200,80\n1000150,70\n", encoding="utf-8")
    (row,) = pooled(path, "--yi", "y", "--vi", "v")
    assert "far from what the prior of mu foresees" in row["flags"]
    own = ["--mu-prior", "normal(1e6,1000)", "--tau-prior", "halfnormal(100)"]
    assert pooled(path, "--yi", "y", "--vi", "v", *own)[0]["flags"] == ""
    assert pooled(BCG, "--yi", "yi", "--vi", "vi")[0]["flags"] == ""


def test_sizes_without_a_sign_are_pooled_as_the_mixture_that_they_are(tmp_path, call, pooled):
    """One study of size 0.5 and no sign: half of each sign's posterior, so P(mu > 0) is 1/2."""
    path = tmp_path / "sizes.csv"
    path.write_text("y,v,sign\n0.5,0.04,yes\n", encoding="utf-8")
    (row,) = pooled(path, "--yi", "y", "--vi", "v", "--unsigned", "sign")
    assert row["p_positive"] == pytest.approx(0.5, abs=1e-6)
    assert row["mu_mean"] == pytest.approx(0.0, abs=1e-6)
    (plain,) = pooled(path, "--yi", "y", "--vi", "v")
    assert plain["p_positive"] > 0.8
    second = plain["mu_sd"] ** 2 + plain["mu_mean"] ** 2
    assert row["mu_sd"] ** 2 == pytest.approx(second, rel=1e-5)
    assert "--unsigned need --yi" in call("pool", "--unsigned", "sign", code=2).stderr


def test_a_table_says_what_its_columns_are(call):
    words = ["pool", BCG, "--yi", "yi", "--vi", "vi", "--level", "0.9", "--interval", "shortest"]
    text = " ".join(call(*words).stdout.split())
    assert "mean effect mu, its 90% shortest credible interval" in text
    assert "given" not in text  # columns that a table of ready-made effects does not have


def test_bayes_factors_stand_beside_their_pool_with_what_they_depend_on(call, pooled):
    words = [BCG, "--yi", "yi", "--vi", "vi"]
    (row,) = pooled(*words, "--bayes-factors")
    want = pool(read_simple(BCG, "yi", vi="vi")).bayes_factors().iloc[0]
    for name in ("log_evidence", "bf10_mu", "bf10_tau", "log10_bf10_tau"):
        assert row[name] == pytest.approx(want[name], rel=1e-12)
    done = call("pool", *words, "--bayes-factors")
    assert "BF of mu" in done.stdout
    assert "width of that prior" in done.stderr
    (row,) = pooled(*words, "--bayes-factors", "--tau-prior", "flat")
    assert row["bf10_tau"] is None
    assert "improper prior flat" in row["bf_note"]
    assert "bf10_mu" not in pooled(*words)[0]
