"""The calibration of verdicts: rates by hand, and the page's blocks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def calibrate():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location(
            "calibrate_verdicts", BENCHMARKS / "calibrate_verdicts.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def test_rates_by_hand(calibrate):
    inside = {f: [True] * 6 for f in ("n_shared", "jaccard", "magnitude", "correlation")}
    found = [
        {"verdicts": ["shared", "shared", "undecided"], "truth": ["shared", "distinct", "shared"],
         "inside": inside, "randomised": inside},
        {"verdicts": ["distinct", "uninformative", "neither"],
         "truth": ["distinct", "neither", "neither"], "inside": inside,
         "randomised": inside},
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


def test_blocks_are_filled_or_missed(calibrate, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n")
    calibrate.write_blocks(page, {"x": "new"})
    assert page.read_text() == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n"
    with pytest.raises(SystemExit, match="no block y"):
        calibrate.write_blocks(page, {"y": "new"})
