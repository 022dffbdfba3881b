"""Subsets, years and fragility of a pool: against pools of the same studies, fitted plainly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.influence import cumulative, fragility, prior_posterior, subsets
from nssi_meta.synthesis.pooled import Pools, pool

YI = [0.3, 0.5, 0.2, 0.6]
VI = [0.04, 0.06, 0.05, 0.08]
YEARS = [2010, 2004, 2010, 2015]


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("simple") / "effects.csv"
    names = [f"study {i}" for i in range(len(YI))]
    pd.DataFrame({"yi": YI, "vi": VI, "study": names}).to_csv(path, index=False)
    return read_simple(path, yi="yi", vi="vi", study="study").assign(year=YEARS)


@pytest.fixture(scope="module")
def pools(frame) -> Pools:
    return pool(frame)


def test_all_subsets_are_pools_of_their_studies(frame, pools):
    table = subsets(pools)
    assert len(table) == 2**4 - 1
    assert not table["sampled"].any()
    assert table["studies"].is_unique
    assert table["n_studies"].iloc[-1] == 4
    for i in (0, 7, 14):
        names = table["studies"].iloc[i].split(";")
        one = pool(frame[frame["study_id"].isin(names)].reset_index(drop=True)).table.iloc[0]
        for mine, its in (("median", "mu_median"), ("low", "mu_low"), ("tau_median", "tau_median")):
            assert table[mine].iloc[i] == pytest.approx(one[its], abs=1e-12)


def test_many_subsets_are_sampled_by_the_seed_without_repeats(pools):
    one, two = (subsets(pools, most=6, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 6
    assert one["sampled"].all()
    assert one["studies"].is_unique
    assert one["median"].iloc[-1] == pytest.approx(pools.table["mu_median"].iloc[0], abs=1e-12)
    assert set(subsets(pools, most=6, seed=4)["studies"]) != set(one["studies"])


def test_cumulative_goes_by_year_from_the_prior_to_the_pool(frame, pools):
    table = cumulative(pools)
    assert list(table["k"]) == [0, 1, 3, 4]
    assert list(table["label"]) == ["prior", "2004 (1 study)", "2010 (2 studies)", "2015 (1 study)"]
    # The default prior of mu is normal(0,1).
    assert table["high"].iloc[0] == pytest.approx(1.959963984540054)
    assert table["median"].iloc[-1] == pytest.approx(pools.table["mu_median"].iloc[0], abs=1e-12)
    early = pool(frame[frame["year"] <= 2010].reset_index(drop=True)).table.iloc[0]
    assert table["low"].iloc[2] == pytest.approx(early["mu_low"], abs=1e-12)
    with pytest.raises(ValueError, match="study 1 names no year; fill the column year"):
        cumulative(pool(frame.assign(year=[2010, None, 2010, 2015])))


def test_fragility_is_the_first_number_of_null_studies_that_crosses(frame, pools):
    found = fragility(pools)
    needed = found["needed"]
    assert needed is not None
    assert str(needed) in found["sentence"]
    assert found["sei"] == pytest.approx(np.median(np.sqrt(VI)))

    def low(n: int) -> float:
        null = pd.concat([frame.iloc[[0]]] * n, ignore_index=True)
        names = [f"null {i}" for i in range(n)]
        null = null.assign(study_id=names, yi=0.0, sei=found["sei"], vi=found["sei"] ** 2)
        return float(pool(pd.concat([frame, null], ignore_index=True)).table["mu_low"].iloc[0])

    assert low(needed) <= 0 < low(needed - 1)
    few = fragility(pools, most=1)
    assert few["needed"] is None
    assert "leave the interval" in few["sentence"]


def test_an_answer_that_includes_zero_is_not_fragile(frame):
    found = fragility(pool(frame.assign(yi=[0.3, -0.5, 0.2, -0.1])))
    assert found["needed"] is None
    assert "includes 0 already" in found["sentence"]


def test_prior_and_posterior_are_densities(pools):
    table = prior_posterior(pools)
    assert list(dict.fromkeys(table["quantity"])) == ["mu", "tau"]
    for _, part in table.groupby("quantity"):
        # The panel holds nearly all of the posterior, by the trapezoid rule on 201 points.
        assert np.trapezoid(part["posterior"], part["x"]) == pytest.approx(1.0, abs=0.02)
        assert (np.diff(part["x"]) > 0).all()


def test_what_cannot_be_had_is_refused(frame):
    single = pool(frame.iloc[:1])
    with pytest.raises(ValueError, match="single study has no subsets"):
        subsets(single)
    with pytest.raises(ValueError, match="most must be 2 or more"):
        subsets(pool(frame), most=1)
    with pytest.raises(ValueError, match="improper prior"):
        prior_posterior(pool(frame, mu_prior="flat"))
