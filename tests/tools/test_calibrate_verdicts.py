"""The calibration of verdicts: rates by hand, and the page's blocks."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def calibrate(script):
    return script("benchmarks", "calibrate_verdicts")


def test_rates_by_hand(calibrate):
    inside = {f: [True] * 6 for f in ("n_shared", "jaccard", "magnitude", "correlation")}
    places = dict.fromkeys(inside, 0.35)
    found = [
        {"verdicts": ["shared", "shared", "undecided"], "truth": ["shared", "distinct", "shared"],
         "inside": inside, "randomised": inside, "places": places},
        {"verdicts": ["distinct", "uninformative", "neither"],
         "truth": ["distinct", "neither", "neither"], "inside": inside,
         "randomised": inside, "places": places},
    ]  # fmt: skip
    got = calibrate.rates(found)
    assert got["shared"] == {"called": 2 / 6, "wrong": 0.5, "false": 1 / 4, "found": 0.5}
    assert got["distinct"]["wrong"] == 0.0
    assert got["opposite"] == {"called": 0.0, "wrong": None, "false": 0.0, "found": None}
    assert got["silent"] == pytest.approx(2 / 6)
    assert got["inside"]["jaccard"] == [1.0] * 6


def test_simulated_bounds_hold_the_estimate(calibrate):
    """A row that prints only a bound has the interval in which its estimate fell."""
    exact = calibrate.simulate(4, 0.0, np.random.default_rng(1))[2]
    hidden = calibrate.simulate(4, 1.0, np.random.default_rng(1))[2]
    assert np.isfinite(exact.y).all()
    assert np.isnan(hidden.y).all()
    assert ((hidden.lower < exact.y) & (exact.y < hidden.upper)).all()


def test_uniform_places_pass_and_others_do_not(calibrate):
    """Chi-squared of 10 bins by hand: 20 places in one bin, 2 expected: 18^2 / 2 + 9 * 2 = 180."""
    from scipy import stats

    assert calibrate.p_uniform(list((np.arange(40) + 0.5) / 40)) == 1.0
    assert calibrate.p_uniform([0.35] * 20) == pytest.approx(stats.chi2.sf(180, 9), rel=1e-10)


def test_known_variances_are_those_of_the_errors(calibrate):
    """`known`: one variance for every row. Otherwise it grows with the estimate."""
    known = calibrate.simulate(4, 0.5, np.random.default_rng(1), known=True)[2]
    assert known.v.tolist() == [2 / 30] * len(known.v)
    told = calibrate.simulate(4, 0.0, np.random.default_rng(1))[2]
    np.testing.assert_allclose(told.v, 2 / 30 + told.y**2 / 120, rtol=1e-14)


def test_the_tutorial_s_review_is_the_tutorial_s(calibrate):
    """Two pairs of its conditions, three studies a cell of which the first is a bound."""
    pairs = list(calibrate.made_up(np.random.default_rng(3)))
    assert [other for other, *_ in pairs] == ["insomnia", "vertigo"]
    for _, truth, r, rows in pairs:
        assert truth.shape == (8, 2)
        assert -1 < r < 1
        assert np.bincount(rows.arm).tolist() == [24, 24]
        hidden = np.isnan(rows.y)
        assert hidden.reshape(-1, 3).tolist() == [[True, False, False]] * 16
        assert (rows.lower[hidden] < rows.upper[hidden]).all()
    first = (rows.y[(rows.arm == 0)] for *_, rows in pairs)
    np.testing.assert_array_equal(*first)  # tinnitus is the same data in both pairs


def test_the_tutorial_s_truth_is_drawn_anew_unless_fixed(calibrate):
    def truths(fixed):
        return [next(calibrate.made_up(np.random.default_rng(i), fixed))[1] for i in (3, 4)]

    np.testing.assert_array_equal(*truths(fixed=True))
    one, other = truths(fixed=False)
    assert (one != other).all()
    assert next(calibrate.made_up(np.random.default_rng(3), fixed=True))[2] is None


def test_a_stopped_simulation_goes_on(calibrate, tmp_path):
    """Half a line at the end is simulated again, and the reviews are those of one go."""

    def trial(rng):
        return {"x": rng.random()}

    whole = calibrate.simulated("a", 5, trial, tmp_path)
    path = tmp_path / "a.jsonl"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    assert calibrate.simulated("a", 5, trial, tmp_path) == whole
    assert path.read_text() == text
    assert calibrate.simulated("a", 2, None, tmp_path) == whole[:2]


def test_what_was_found_becomes_tables_and_figures(calibrate, tmp_path):
    """One review of each scenario, from simulation to page."""
    results = calibrate.run(1, tmp_path / "c.json", tmp_path / "lines")
    assert len(results["scenarios"]) == 10
    blocks = calibrate.tables(results)
    assert blocks["coverage"].count("\n| ") == 4
    assert blocks["verdicts"].count("\n| ") == 8
    assert calibrate.tutorial_table(results).count("\n| ") == 4
    for draw in (calibrate.draw, calibrate.draw_tutorial):
        draw(results, tmp_path / "a.svg")
        assert (tmp_path / "a.svg").read_text().count("truth inside, of 1 reviews") >= 1
