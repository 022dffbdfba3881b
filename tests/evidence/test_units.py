"""The outcome's SD as the unit of priors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.units import Unit, check_measure, outcome_unit


def rows(**columns):
    k = len(next(iter(columns.values())))
    return pd.DataFrame({"kind": ["exact"] * k, "vi": [0.1] * k, **columns})


def test_measures_without_a_unit_leave_priors_as_they_stand():
    for name in (None, "SMD", "or", "ZCOR", "ROM", "HR"):
        assert outcome_unit(name, rows(vi=[0.1, 0.2])) == Unit(1.0, "")


def test_pooled_sd():
    assert outcome_unit("MD", rows(sd_1=[3.0], sd_2=[4.0])).scale == pytest.approx(np.sqrt(12.5))
    found = outcome_unit("MN", rows(sd_1=[3.0, 5.0], n_total=[10.0, 30.0]))
    assert found.scale == pytest.approx(np.sqrt((10 * 9 + 30 * 25) / 40))
    # an SD of one group alone, and a row without any
    part = outcome_unit("MD", rows(sd_1=[3.0, np.nan], sd_2=[np.nan, np.nan]))
    assert part.scale == pytest.approx(3.0)


def test_sizes_give_the_same_sd_as_the_sds_do():
    """Two groups of n/2: the variance of the difference is 4 SD^2 / n. One group: SD^2 / n."""
    n = np.array([20.0, 50.0, 80.0])
    assert outcome_unit("MD", rows(vi=4 * 9 / n, n_total=n)).scale == pytest.approx(3.0)
    assert outcome_unit("MC", rows(vi=9 / n, n_total=n)).scale == pytest.approx(3.0)


def test_bounds_do_not_enter_through_their_variance():
    frame = rows(vi=[4 * 9 / 20, 1e3], n_total=[20.0, 20.0]).assign(kind=["exact", "interval"])
    assert outcome_unit("MD", frame).scale == pytest.approx(3.0)


def test_an_unknown_scale_is_asked_for():
    with pytest.raises(ValueError, match=r"--sd.*--ni"):
        outcome_unit("MD", rows(vi=[0.1]))
    with pytest.raises(ValueError, match=r"in that unit too: --omega-prior$"):
        outcome_unit("MD", rows(vi=[0.1]), ["omega_prior"])


def test_where_no_prior_needs_it_it_is_not_asked_for():
    found = outcome_unit("MD", rows(vi=[0.1]), [])
    assert not found.known
    assert found.source == ""
    assert outcome_unit("MD", rows(sd_1=[3.0], sd_2=[4.0]), []).known


def test_an_unknown_measure_is_named():
    with pytest.raises(ValueError, match="'MDD' is not known; nearest: MD"):
        check_measure("MDD")
    assert check_measure(" md ") == "MD"
