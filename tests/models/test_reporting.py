"""Which results count as significant, and the probability that a study has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.models.block_grid import null_probability
from nssi_meta.models.reporting import critical_values, reported, reports


def frame(*rows):
    default = {
        "study_id": "", "sample_id": "", "control_id": "", "mechanism": "m", "condition": "c",
        "comparator": "healthy", "scale": "g", "kind": "exact", "yi": np.nan, "vi": 0.1,
        "sei": np.sqrt(0.1), "lower": np.nan, "upper": np.nan, "n_case": 20.0, "n_control": 20.0,
        "n_total": 40.0, "seen_in": "abstract",
    }  # fmt: skip
    return pd.DataFrame([{**default, "study_id": f"s{i}", **r} for i, r in enumerate(rows)])


def test_critical_values_are_those_of_the_tests():
    rows = frame(
        {"yi": 0.3},
        {"scale": "z", "yi": 0.3, "n_total": 50.0},
        {"scale": "log_or", "yi": 0.3},
        {"n_case": np.nan, "yi": 0.3},
        {"kind": "interval", "lower": -0.9, "upper": 0.9},
    )
    c = critical_values(rows)
    j = 1 - 3 / (4 * 38 - 1)
    assert c[0] == pytest.approx(stats.t.isf(0.025, 38) * np.sqrt(0.1) * j, rel=1e-4)
    assert c[1] == pytest.approx(np.arcsinh(stats.t.isf(0.025, 48) / np.sqrt(48)), rel=1e-10)
    assert c[2] == c[3] == pytest.approx(1.959963984540054 * np.sqrt(0.1), rel=1e-12)
    assert c[4] == 0.9


def test_what_is_silent():
    """A study speaks by any significant row; a threshold row is significant by its words."""
    rows = frame(
        {"kind": "interval", "lower": 0.6, "upper": np.inf},
        {"kind": "interval", "lower": -0.6, "upper": 0.6},
        {"yi": 0.2},
        {"yi": -2.0},
        {"kind": "unsigned", "yi": 0.1},
        {"study_id": "both", "yi": 0.1},
        {"study_id": "both", "kind": "interval", "lower": -np.inf, "upper": -0.6},
    )
    found = reports(rows)
    by_study = {
        rows["study_id"][block[0]]: bool(silent)
        for block, silent in zip(found.null.block_rows, found.silent, strict=True)
    }
    assert by_study == {
        "s0": False, "s1": True, "s2": True, "s3": False, "s4": True, "both": False,
    }  # fmt: skip


def test_where_it_was_read():
    rows = frame({"yi": 0.2}, {"yi": 0.2, "seen_in": "dataset"}, {"yi": 0.2, "seen_in": ""})
    assert reports(rows).group.tolist() == [0, 1, 0]
    assert reports(rows.drop(columns="seen_in")).group.tolist() == [0, 0, 0]


def test_null_probability_of_one_row_and_of_two():
    """One row: the normal interval. Two of one study: the bivariate normal rectangle."""
    same = {"study_id": "b", "sample_id": "people", "yi": 0.2}
    rows = frame({"study_id": "a", "yi": 0.2}, same, same)
    found = reports(rows, rho=0.6)
    mu, tau, omega = 0.4, 0.3, 0.1
    at = np.array([mu]), np.array([tau]), np.array([omega])
    value = null_probability(found.null, *at)[0, 0, 0]
    c = critical_values(rows)[0]
    sd = np.sqrt(0.1 + tau**2 + omega**2)
    one = stats.norm.cdf(c, mu, sd) - stats.norm.cdf(-c, mu, sd)
    assert value[0] == pytest.approx(one, abs=1e-12)
    shared = tau**2 + 0.6 * 0.1
    covariance = np.array([[sd**2, shared], [shared, sd**2]])
    box = stats.multivariate_normal([mu, mu], covariance)
    two = box.cdf([c, c], lower_limit=[-c, -c])
    assert value[1] == pytest.approx(two, abs=1e-6)


def test_reporting_probability():
    null = np.array([0.0, 0.5, 0.95])
    np.testing.assert_allclose(reported(null, 0.2), [1.0, 0.6, 0.24], rtol=1e-12)
    assert (reported(null, 1.0) == 1).all()
