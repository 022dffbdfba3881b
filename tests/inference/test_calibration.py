"""Ranks, bands and p-values of simulation-based calibration, on numbers known to be uniform."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference.calibration import (
    FAILED,
    Scenario,
    band,
    counts,
    ecdf_table,
    holm,
    p_value,
    place,
    simulate,
    summary,
)


@pytest.mark.parametrize("n", [20, 150])
def test_the_band_holds_uniform_places_as_a_whole_as_often_as_it_says(n):
    low, high = band(n, 0.9)
    u = np.random.default_rng(n).random((3000, n))
    inside = [((low <= (c := counts(row))) & (c <= high)).all() for row in u]
    # Monte Carlo: three standard errors of a share of 0.9 over 3000; counts are whole numbers, so
    # that the band holds somewhat more than asked, never less.
    assert 0.9 - 0.017 < np.mean(inside) < 0.94


def test_p_values_of_uniform_places_are_uniform_and_agree_with_the_band():
    rng = np.random.default_rng(3)
    sets = rng.random((200, 80))
    p = np.array([p_value(row) for row in sets])
    for level in (0.05, 0.2, 0.5):
        assert abs((p <= level).mean() - level) < 3 * np.sqrt(level * (1 - level) / len(p))
    low, high = band(80, 0.95)
    inside = [((low <= (c := counts(row))) & (c <= high)).all() for row in sets]
    # Both come from the same tail probabilities; counts are whole, so a few sets sit on the edge.
    assert np.mean(np.array(inside) != (p > 0.05)) < 0.02


@pytest.mark.parametrize(
    "shape", [(1.0, 1.4), (1.4, 1.0), (2.0, 2.0), (0.6, 0.6)],
    ids=["too high", "too low", "too wide", "too narrow"],
)  # fmt: skip
def test_places_that_are_not_uniform_are_told(shape):
    assert p_value(np.random.default_rng(1).beta(*shape, 300)) < 0.001


def test_places_are_uniform_with_ties_and_without():
    rng = np.random.default_rng(5)
    smooth = [place(x[0], x[1:], rng) for x in rng.standard_normal((600, 20))]
    counted = [place(x[0], x[1:], rng) for x in rng.poisson(0.7, (600, 20)).astype(float)]
    assert p_value(np.array(smooth)) > 0.01
    assert p_value(np.array(counted)) > 0.01


def test_a_place_outside_0_and_1_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        p_value(np.array([0.2, np.nan]))


def test_holm_adjusts_as_by_hand():
    # 0.01 * 3, then max(0.03, 0.02 * 2), then max(0.04, 0.04 * 1).
    np.testing.assert_allclose(holm([0.04, 0.01, 0.02]), [0.04, 0.03, 0.04])


def test_simulations_do_not_depend_on_who_computes_them():
    scenario = Scenario("one", "one", 6, lambda rng: {"x": float(rng.random())})
    assert simulate(scenario, 0, 6) == simulate(scenario, 0, 2) + simulate(scenario, 2, 6)
    assert len({row["x"] for row in simulate(scenario, 0, 6)}) == 6


def test_tables_leave_convergence_out():
    frame = pd.DataFrame({"x": np.random.default_rng(0).random(50), FAILED: 0.0})
    assert list(summary(frame)["quantity"]) == ["x"]
    table = ecdf_table(frame)
    assert set(table["quantity"]) == {"x"}
    assert (table["low"] <= table["z"]).all()
    assert (table["z"] <= table["high"]).all()
    assert table["ecdf"].is_monotonic_increasing
