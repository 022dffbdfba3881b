"""The flow adds up, and does not depend on the order of the rows."""

from __future__ import annotations

import pandas as pd
import pytest

from nssi_meta.evidence.flow import coverage, flow
from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.read import read_effects


@pytest.fixture
def rows(rows_by_kind):
    rows_by_kind["t"].update(status="doubtful", exclude_reason="sign unclear")
    rows_by_kind["z"].update(status="doubtful", exclude_reason="no sizes", n_case="")
    rows_by_kind["F"].update(status="duplicate", exclude_reason="same as e2")
    rows_by_kind["d"].update(comparator="assorted")
    return list(rows_by_kind.values())


def test_flow_adds_up(rows, write_review):
    table = flow(read_effects(write_review(rows))).set_index("step")
    assert list(table.columns) == ["n_rows", "n_studies", "note"]
    n = table["n_rows"]
    assert n["rows in the file"] == 20
    assert n["used"] == 16
    left_out = n[n.index.str.startswith("not used: ")]
    assert left_out.to_dict() == {
        "not used: comparator is a mixed clinical group": 1,
        "not used: doubtful": 2,
        "not used: duplicate": 1,
    }
    for group in ("estimand: ", "reported as: ", "compared with: ", "condition: "):
        assert n[n.index.str.startswith(group)].sum() == 16
    assert table.loc["not used: doubtful", "note"] == "no sizes (1); sign unclear (1)"
    assert table.loc["condition: beta_ill"].tolist() == [1, 1, "Beta"]
    assert n["compared with: Well people"] == 12
    assert table.loc["rows in the file", "n_studies"] == 10


def test_flow_does_not_depend_on_the_order_of_the_rows(rows, write_review):
    forward = flow(read_effects(write_review(rows)))
    backward = flow(read_effects(write_review(rows[::-1])))
    pd.testing.assert_frame_equal(forward, backward)


def test_flow_needs_usable_evidence(rows, write_review):
    rows[0]["n_case"] = "1"
    with pytest.raises(EvidenceError, match="n_case"):
        flow(read_effects(write_review(rows)))


def test_coverage_counts_people_once(rows_by_kind, write_review):
    shared = {"study_id": "x", "sample_id": "cases", "control_id": "controls"}
    rows_by_kind["means_sd"].update(shared, n_case="20", n_control="30")
    # The same people on another measure, two of them lost; and other cases, same controls.
    rows_by_kind["ns"].update(shared, n_case="18", n_control="30")
    rows_by_kind["p_threshold"].update(shared, sample_id="more cases", n_case="11")
    kinds = ("means_sd", "ns", "p_threshold", "r")
    path = write_review([rows_by_kind[kind] for kind in kinds])
    table = coverage(read_effects(path)).set_index(["mechanism", "condition"])
    assert table.loc[("reflex_speed", "alpha")].to_dict() == {
        "k": 3, "n_studies": 1, "n_bounds": 2, "n_participants": 20 + 30 + 11,
    }  # fmt: skip
    assert table.loc[("grip_force", "alpha"), "n_participants"] == 80
    assert table.loc[("grip_force", "beta_ill")].tolist() == [0, 0, 0, 0]
    assert len(table) == 4  # two mechanisms, two conditions of cases


def test_coverage_of_no_rows_at_all(write_review):
    evidence = read_effects(write_review())
    none = evidence.select(mechanism="grip_force", condition="beta_ill")
    assert coverage(none)["k"].sum() == 0
    assert flow(none)["n_rows"].sum() == 0
