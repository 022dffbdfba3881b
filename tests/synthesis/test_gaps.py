"""Preposterior analysis against closed forms, and the table of gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nssi_meta.synthesis.gaps import COLUMNS, _because, _Cell, _information, _study, gaps


def normal_cell(sd, spread, n=40_000, mean=0.0, seed=1):
    rng = np.random.default_rng(seed)
    return _Cell(mean + sd * rng.standard_normal((n, 2)), np.full(n, spread))


@pytest.mark.parametrize(("sd", "spread", "people"), [(0.5, 0.3, 100), (0.3, 0.0, 40), (1, 1, 400)])
def test_expected_sd_is_that_of_the_normal_model(sd, spread, people):
    """Posterior N(0, sd^2), study variance spread^2 + 4/people: SD after is exact.

    mu^2/(2 people) is left out of the closed form: it is below 1% of the variance here.
    """
    got = _study(normal_cell(sd, spread), 0, [(0, 1)], 0.2, people, np.random.default_rng(2))
    after = (1 / sd**2 + 1 / (spread**2 + 4 / people)) ** -0.5
    assert got["sd_after"] == pytest.approx(after, rel=0.015)
    assert got["sd_now"] == pytest.approx(sd, rel=0.015)


def test_more_people_teach_more_and_no_one_teaches_nothing():
    cell = normal_cell(0.4, 0.2, 8000)
    rng = np.random.default_rng(3)
    gains = [
        _study(cell, 0, [(0, 1)], 0.2, people, rng)["gain_bits"] for people in (4, 20, 100, 1000)
    ]
    assert gains == sorted(gains)
    vague = _Cell(cell.mu, np.full(8000, 1e4))
    assert _study(vague, 0, [(0, 1)], 0.2, 100, rng)["gain_bits"] == pytest.approx(0, abs=1e-4)


def test_information_is_bounded_by_what_is_unknown():
    before = np.array([0.5, 0.5, 0, 0, 0])
    told = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=float)
    assert _information(before, told) == pytest.approx(1.0)  # one bit, all of it
    assert _information(before, np.tile(before, (3, 1))) == 0.0


def test_a_sure_cell_has_nothing_to_teach():
    """Means far from the threshold and known to 0.01: every class is certain already."""
    rng = np.random.default_rng(4)
    cell = _Cell(1.0 + 0.01 * rng.standard_normal((4000, 2)), np.full(4000, 0.1))
    got = _study(cell, 0, [(0, 1)], 0.2, 100, rng)
    assert got["gain_bits"] == pytest.approx(0.0, abs=1e-12)
    assert got["p_decided_now"] == got["p_decided_after"] == 1.0


@pytest.fixture(scope="module")
def table(evidence, quick):
    return gaps(quick, evidence)


def test_every_cell_is_ranked(table):
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 4 * 3
    assert table["rank"].tolist() == list(range(1, 13))
    assert table["gain_bits"].is_monotonic_decreasing
    assert (table["gain_bits"] >= 0).all()
    assert table["certainty"].between(0, 1).all()
    assert (table["sd_after"] < table["sd_now"]).all()


def test_the_evidence_map_counts_what_is_there(table, evidence):
    cell = table.set_index(["mechanism", "condition"]).loc[("reflex", "alpha")]
    # four exact studies, a bound, two bounds of one study, and a contrast with beta
    assert cell[["k", "n_studies", "n_bounds"]].tolist() == [8, 7, 3]
    assert cell["share_bounds"] == pytest.approx(3 / 8)
    empty = table.set_index(["mechanism", "condition"]).loc[("appetite", "gamma")]
    assert empty["k"] == 0
    assert np.isnan(empty["share_bounds"])
    assert empty["because"].startswith("no study yet")
    assert table["because"].str.len().min() > 0


def test_a_well_known_cell_says_what_it_would_still_gain():
    facts = {"k": 9, "evidence": "direct", "share_bounds": 0.1, "n_studies": 9}
    taught = {"p_decided_now": 1.0, "p_decided_after": 1.0, "sd_now": 0.22, "sd_after": 0.19}
    assert _because(facts, taught, False) == "SD of the mean 0.22 now, 0.19 expected"


def test_a_mechanism_without_any_row_is_a_gap(evidence, quick):
    extra = quick.mechanisms.iloc[[0]].assign(mechanism="balance", label="Balance")
    more = replace(quick, mechanisms=pd.concat([quick.mechanisms, extra], ignore_index=True))
    found = gaps(more, evidence).query("mechanism == 'balance'")
    assert len(found) == 3
    assert set(found["k"]) == {0}
    # nobody knows anything: all of the uncertainty is left
    assert found["certainty"].max() < 0.15


@pytest.mark.parametrize(("option", "says"), [({"participants": 3}, "at least 4"),
                                              ({"threshold": -1}, "negative")])  # fmt: skip
def test_options_out_of_range_are_refused(evidence, quick, option, says):
    with pytest.raises(ValueError, match=says):
        gaps(quick, evidence, **option)


def test_the_same_seed_gives_the_same_numbers(evidence, quick, table):
    again = gaps(quick, evidence)
    assert again["gain_bits"].tolist() == table["gain_bits"].tolist()
