"""The comparison with brms, as far as it needs no R and no sampling."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def bench(script):
    return script("benchmarks", "bench_brms")


@pytest.fixture(scope="module")
def brms(bench):
    return sys.modules["brms_process"]


@pytest.fixture(scope="module")
def rows(bench):
    return bench.profile_rows()


def side(bench, draws, seconds, **words):
    facts = {"whole": 20.0, "whole_cpu": 10.0, "compile": 9.0, "compile_cpu": 8.0}
    facts |= {"sample1": seconds, "sample1_cpu": 2 * seconds, "divergences1": 3}
    return bench.Side({**facts, **words}, [bench.judged(draws, None)])


def normal(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return {n: shift + rng.normal(size=(4, 500)) for n in ("mu", "tau", "omega")}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("b_Intercept", "mu"),
        ("sd_district__Intercept", "tau"),
        ("sd_district:school__Intercept", "omega"),
        ("r_mechanism[amygdala_volume,eating_disorder]", "mu[amygdala_volume,eating_disorder]"),
        ("sd_study__Intercept:mechanismil6", "tau[il6]"),
        ("sd_mechanism__eating_disorder", "sigma[eating_disorder]"),
        ("cor_mechanism__nssi__eating_disorder", "R[nssi,eating_disorder]"),
        ("sigma", "omega"),
        ("r_study[il6/a/nssi/healthy,Intercept]", ""),
    ],
)
def test_names_of_brms_are_told_as_ours(brms, theirs, ours):
    assert brms.our_name(theirs) == ours


def test_draws_are_read_as_R_writes_them(brms, tmp_path):
    """R's arrays have the first index fastest; what never varies is no quantity."""
    shape = (brms.DRAWS, brms.CHAINS, 3)
    values = np.random.default_rng(1).normal(size=shape)
    values[:, :, 2] = 0
    values.ravel(order="F").tofile(tmp_path / "run1.bin")
    got = brms.brms_draws(tmp_path / "run1.bin", ["b_Intercept", "lp__", "sigma"])
    assert list(got) == ["mu"]
    np.testing.assert_array_equal(got["mu"], values[:, :, 0].T)


def test_rows_for_brms_are_the_joint_models_rows(bench, rows):
    """Signs of the arms, sides of the bounds and, where a row is exact, its estimate."""
    frame, table = rows.data.frame, rows.table
    assert len(table) == len(frame)
    assert rows.left_out > 0
    arms = table[list(rows.data.conditions)].to_numpy()
    against = (frame["comparator"] != "healthy").to_numpy()
    assert against.any()
    np.testing.assert_array_equal(arms.sum(axis=1), np.where(against, 0, 1))
    np.testing.assert_array_equal(arms[np.arange(len(arms)), rows.data.case], 1)
    assert set(table["censored"]) == {"none", "left", "right", "interval"}
    exact = (table["censored"] == "none").to_numpy()
    np.testing.assert_array_equal(exact, frame["kind"] == "exact")
    np.testing.assert_array_equal(table["yi"][exact], frame["yi"][exact])
    # What the data say of a row, in brms's words: below yi, above yi, or from yi to upper.
    low = np.where(table["censored"] == "left", -np.inf, table["yi"])
    high = np.where(table["censored"] == "right", np.inf, table["upper"])
    np.testing.assert_array_equal(low[~exact], frame["lower"][~exact])
    np.testing.assert_array_equal(high[~exact], frame["upper"][~exact])


def test_what_brms_cannot_express_is_taken_out_on_our_side_too(bench, rows):
    """Errors without correlation, and no block with tau shared by half."""
    layout = rows.data.layout
    off = layout.exact_blocks.V * (1 - np.eye(layout.exact_blocks.V.shape[1]))
    assert np.abs(off).max() == 0
    assert set(np.unique(layout.exact_blocks.G)) <= {0.0, 1.0}
    assert np.all(layout.bound_blocks.rho == 0)
    # One effect a study and mechanism in brms's formula: one contrast each.
    groups = rows.table.groupby("study")[["mechanism", *rows.data.conditions]].nunique()
    assert (groups == 1).all().all()


def test_overlap_figures_come_from_the_means_of_both_conditions(bench, rows):
    """Equal profiles overlap wholly."""
    mu = {
        f"mu[{m},{c}]": np.ones((2, 5)) for m in rows.data.mechanisms for c in rows.data.conditions
    }
    got = bench.overlap(mu, rows)
    n = len(rows.data.mechanisms)
    assert len(got) == 3 * (len(rows.data.conditions) - 1)
    assert all(np.all(v == (n if k.startswith("n_shared") else 1)) for k, v in got.items())


def test_two_posteriors_of_one_model_agree_and_others_are_told(bench):
    one, same, other = (bench.judged(normal(*a), None) for a in ((1,), (2,), (3, 0.5)))
    assert bench.agreement(one, same).endswith("one posterior.")
    assert "of 3 quantities" in bench.agreement(one, same)
    assert "distrusted" in bench.agreement(one, other)


def test_a_table_holds_both_sides_and_their_ratios(bench):
    ours = side(bench, normal(1), 1.0)
    theirs = side(bench, normal(1), 10.0, brms="2", rstan="3", R="4")
    text = bench.table("three-level", ours, theirs, "", "title")
    assert "brms 2, rstan 3, R 4" in text
    cells = {line.split(" | ")[0]: line.strip("| ").split(" | ")[1:] for line in text.splitlines()}
    ess = ours.runs[0].loc["mu", "ess_bulk"]
    assert cells["| bulk ESS per second, mu"][:3] == [f"{ess:,.1f}", f"{ess / 10:,.1f}", "10.0"]
    assert cells["| bulk ESS per second, mu"][3] == f"{ess / 2:,.1f}"
    assert "met (10 times" in bench.aims(ours, theirs)
    assert "not met (20.0 s and 9.0 s" in bench.aims(ours, theirs)


def test_without_brms_the_table_says_so_and_has_no_number_of_it(bench):
    text = bench.table(
        "three-level", side(bench, normal(1), 1.0), None, "brms is not installed", ""
    )
    assert "| version | this | brms is not installed |" in text
    numbers = [line.split("|") for line in text.splitlines()[3:]]
    assert all(cells[i].strip() == "" for cells in numbers for i in (3, 4, 6, 7))


def test_a_quantity_without_draws_is_an_error_not_a_nan(bench):
    some = side(bench, {"mu": normal(1)["mu"]}, 1.0)
    with pytest.raises(ValueError, match="no draws of omega"):
        some.rate(("omega",), "ess_bulk", "")


def test_where_R_or_brms_is_missing_the_reason_is_told(brms, monkeypatch):
    monkeypatch.setattr(brms.shutil, "which", lambda _: None)
    assert brms.absent() == "Rscript is not installed: skipped"
    monkeypatch.setattr(brms.shutil, "which", lambda name: name)
    for status, reason in ((1, "brms is not installed: skipped"), (0, "")):
        done = SimpleNamespace(returncode=status)
        monkeypatch.setattr(brms.subprocess, "run", lambda *_, d=done, **__: d)
        assert brms.absent() == reason


def test_three_level_rows_are_the_schools(bench):
    rows = bench.three_level_rows()
    assert list(rows.columns) == ["yi", "vi", "district", "school", "sei"]
    pd.testing.assert_series_equal(rows["sei"] ** 2, rows["vi"], check_names=False)
