"""The table behind the model figure: strengths, sharing, and what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nssi_meta.synthesis.model_table import COLUMNS, model_table
from nssi_meta.synthesis.overlap import overlap
from nssi_meta.synthesis.pooled import pool


@pytest.fixture(scope="module")
def pools(evidence):
    return pool(evidence.select("tremor", "alpha", "association")).table


@pytest.fixture(scope="module")
def table(quick, pools):
    return model_table(quick, overlap(quick), pools)


def test_nodes_of_the_model_only(table):
    """appetite has stage `none`: the review's model has no place for it."""
    assert tuple(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["mechanism"])) == ["reflex", "grip", "tremor"]
    assert table.groupby("mechanism")["condition"].agg(list).iloc[0] == ["alpha", "beta", "gamma"]
    assert set(table.loc[table["role"] == "index", "condition"]) == {"alpha"}


def test_numbers_are_those_of_the_joint_model(table, quick):
    own = table.set_index(["mechanism", "condition"])
    joint = quick.summary().set_index(["mechanism", "condition"])
    shared = overlap(quick).mechanisms.set_index(["mechanism", "other"])
    for key in own.index:
        assert own.loc[key, "mu_median"] == joint.loc[key, "mu_median"]
        if key[1] != "alpha":
            assert own.loc[key, "p_shared"] == shared.loc[key, "p_shared"]
    assert own.loc[("reflex", "alpha"), "p_direction"] == 1.0
    assert np.isnan(own.loc[("reflex", "alpha"), "p_shared"])


def test_a_cell_without_evidence_has_no_number(quick, pools):
    staged = quick.mechanisms.assign(stage="only")
    extra = staged.iloc[[0]].assign(mechanism="balance", label="Balance")
    more = replace(quick, mechanisms=pd.concat([staged, extra], ignore_index=True))
    table = model_table(more, overlap(more), pools).set_index(["mechanism", "condition"])
    for key in (("appetite", "gamma"), ("balance", "alpha")):
        assert table.loc[key, "evidence"] == "none"
        assert np.isnan(table.loc[key, "mu_median"])
        assert np.isnan(table.loc[key, "p_shared"])


def test_another_estimand_stands_in_and_is_named(quick, pools):
    staged = quick.mechanisms.assign(stage="only")
    extra = staged.iloc[[0]].assign(mechanism="balance", label="Balance")
    more = replace(quick, mechanisms=pd.concat([staged, extra], ignore_index=True))
    moved = pools.assign(mechanism="balance")
    table = model_table(more, overlap(more), moved).set_index(["mechanism", "condition"])
    row = table.loc[("balance", "alpha")]
    assert (row["evidence"], row["estimand"], row["scale"]) == ("pool", "association", "z")
    assert row["mu_median"] == pools["mu_median"].iloc[0]


def test_without_stages_there_is_no_model(quick, pools):
    bare = replace(quick, mechanisms=quick.mechanisms.drop(columns="stage"))
    with pytest.raises(ValueError, match="needs a column 'stage'"):
        model_table(bare, overlap(quick), pools)
