"""Rows grouped by shared keys, against the plain definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.models.grouping import components, groups, shares

KEYS = ("study_id", "sample_id", "control_id")


def by_definition(frame):
    """Rows linked by a shared non-empty value, links followed until nothing is added."""
    values = frame[list(KEYS)].to_numpy(dtype=object)
    linked = np.eye(len(frame), dtype=bool)
    for column in values.T:
        named = np.array([bool(x) for x in column])
        linked |= (column[:, None] == column[None, :]) & named[:, None]
    for _ in range(len(frame)):
        linked = (linked.astype(int) @ linked.astype(int)) > 0
    return linked


@pytest.mark.parametrize("seed", range(5))
def test_components_and_shared_rows(seed):
    rng = np.random.default_rng(seed)
    names = np.array(["", *"abcdefghijklmnopqrst"], dtype=object)
    frame = pd.DataFrame({key: names[rng.integers(0, 20, 14)] for key in KEYS})
    linked = by_definition(frame)
    code = components(frame, KEYS)
    np.testing.assert_array_equal(code[:, None] == code[None, :], linked)
    np.testing.assert_array_equal(shares(frame, KEYS), linked.sum(axis=1) > 1)


def test_missing_values_are_shared_by_nobody():
    frame = pd.DataFrame({"study_id": ["", None, np.nan, ""], "sample_id": [None, None, "a", "a"]})
    assert shares(frame, ("study_id", "sample_id")).tolist() == [False, False, True, True]


def test_groups_keep_the_order_of_first_appearance():
    found = groups(np.array([10, 11, 12, 13, 14]), np.array([7, 3, 7, 9, 3]))
    assert [g.tolist() for g in found] == [[10, 12], [11, 14], [13]]
    assert groups(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)) == []
