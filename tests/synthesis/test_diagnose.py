"""All checks at once are the checks one by one; what a pool cannot have is said."""

from __future__ import annotations

import pandas as pd
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.diagnose import diagnose
from nssi_meta.synthesis.leave_one_out import leave_one_out
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.predictive import predictive
from nssi_meta.synthesis.prior_sensitivity import pool_sensitivity

CELL = ["mechanism", "condition", "estimand"]


@pytest.fixture(scope="module")
def pools(review):
    return pool(read_effects(review).select(mechanism="tremor"))


@pytest.fixture(scope="module")
def found(pools):
    return diagnose(pools)


def test_every_pool_has_every_check(pools, found):
    keys = [tuple(c.key) for c in pools.cells]
    assert len(keys) == 4
    for key in keys:

        def of(table, key=key):
            return table[(table[CELL] == list(key)).all(axis=1)].drop(columns=CELL)

        alone = {
            "prior_sensitivity": pool_sensitivity(pools, key),
            "predictive": predictive(pools, key)[0],
        }
        if key[2] == "case_control":
            alone["leave_one_out"] = leave_one_out(pools, key)
        for name, wanted in alone.items():
            part = of(getattr(found, name)).reset_index(drop=True)
            pd.testing.assert_frame_equal(part, wanted, check_dtype=False)
    assert set(found.drawn["source"]) == {"prior", "posterior"}


def test_one_table_holds_them_all(found):
    table = found.table()
    parts = (
        found.leave_one_out, found.prior_sensitivity, found.predictive, found.bayes_factors
    )  # fmt: skip
    assert len(table) == sum(map(len, parts))
    assert list(table.columns[:4]) == [*CELL, "check"]
    left = table[table["check"] == "leave_one_out"]
    assert left["shift"].tolist() == found.leave_one_out["shift"].tolist()


def test_bayes_factors_are_those_of_the_pools(pools, found):
    pd.testing.assert_frame_equal(found.bayes_factors, pools.bayes_factors())


def test_a_single_study_has_none_to_leave_out(found):
    (note,) = found.notes
    assert "tremor / alpha / association: a single study" in note


def test_improper_priors_draw_no_reviews_and_may_need_every_study(tmp_path):
    path = tmp_path / "three.csv"
    pd.DataFrame({"yi": [0.1, 0.5, 0.4], "vi": 0.04}).to_csv(path, index=False)
    # flat on mu and tau needs three studies: they are there, but not without one of them
    found = diagnose(pool(read_simple(path, "yi", vi="vi"), mu_prior="flat", tau_prior="flat"))
    assert found.leave_one_out.empty
    assert set(found.predictive["source"]) == {"posterior"}
    left, improper = found.notes
    assert "leaving out was not possible" in left
    assert "improper" in improper


def test_pools_by_nuts_are_refused(pools):
    from dataclasses import replace

    sampled = replace(pools, options=replace(pools.options, engine="nuts"))
    with pytest.raises(ValueError, match="engine='exact'"):
        diagnose(sampled)
