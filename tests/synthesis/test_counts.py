"""Pooling counts: the same table as other pools, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nssi_meta.evidence.simple import read_simple
from nssi_meta.models.priors import PriorError
from nssi_meta.synthesis.counts import pool_counts
from nssi_meta.synthesis.pooled import pool

REFERENCE = Path(__file__).parent.parent / "reference"


def test_the_table_is_that_of_a_pool():
    facts = json.loads((REFERENCE / "binomial_normal_exact.json").read_text("utf-8"))
    result = pool_counts(**facts["data"], interval="shortest", level=0.9)
    row = result.summary().iloc[0]
    other = pool(read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")).table
    assert list(result.table.columns) == list(other.columns)
    want = facts["result"]
    assert row["mu_mean"] == pytest.approx(want["mu"]["mean"], abs=1e-7)
    assert row["mu_low"] < row["mu_median"] < row["mu_high"]
    assert row["pred_low"] < row["mu_low"]
    assert (row["k"], row["scale"], row["n_studies"]) == (13, "log_or", 13)
    assert row["n_participants"] == sum(facts["data"]["n1i"]) + sum(facts["data"]["n2i"])
    assert (row["level"], row["interval"], row["tau_prior"]) == (0.9, "shortest", "halfnormal(1)")
    assert result.posterior.log_evidence == pytest.approx(want["logml"], abs=1e-8)
    draws = result.posterior_data["posterior"]["mu"].to_numpy()
    assert draws.shape == (4, 1000)
    assert draws.mean() == pytest.approx(want["mu"]["mean"], abs=0.02)


def test_empty_cells_need_no_correction():
    """A table without events adds next to nothing; half an event in each cell would add more."""
    tables = {"ai": [2, 1, 3], "n1i": [40, 30, 50], "ci": [9, 6, 8], "n2i": [41, 33, 47]}
    row = pool_counts(**tables).table.iloc[0]
    empty = {"ai": 0, "n1i": 500, "ci": 0, "n2i": 500}
    more = pool_counts(**{n: [*x, empty[n]] for n, x in tables.items()}).table.iloc[0]
    assert more["k"] == 4
    assert more["mu_mean"] == pytest.approx(row["mu_mean"], abs=0.1 * row["mu_sd"])
    assert more["mu_sd"] == pytest.approx(row["mu_sd"], rel=0.1)


GOOD = {"ai": [2, 1], "n1i": [40, 30], "ci": [9, 6], "n2i": [41, 33]}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"ai": [2, 41]}, ValueError, r"ai\[1\] = 41 of n1i\[1\] = 30"),
        ({"ci": [2.5, 1]}, ValueError, r"ci\[0\] is 2.5"),
        ({"ai": [-1, 1]}, ValueError, r"ai\[0\] is -1"),
        ({"n2i": [np.nan, 33]}, ValueError, r"n2i\[0\] is nan"),
        ({"ai": [0, 0], "n1i": [0, 30]}, ValueError, "at least 1"),
        ({"ai": [2]}, ValueError, "one length"),
        ({n: [] for n in GOOD}, ValueError, "one length"),
        ({"level": 2}, ValueError, "level must lie"),
        ({"mu_prior": "normal(0,-1)"}, PriorError, "above 0"),
        ({"baseline_prior": "student_t(3,0,5)"}, PriorError, "must be normal"),
    ],
)
def test_bad_input_is_refused(change, error, says):
    with pytest.raises(error, match=says):
        pool_counts(**GOOD | change)
