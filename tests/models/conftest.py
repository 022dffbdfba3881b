"""Small hand-made frames of derived rows: what the models see of the evidence floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import Layout, layout

Row = dict[str, Any]
_DEFAULT: Row = {
    "sample_id": "", "control_id": "", "mechanism": "m", "condition": "ill", "comparator": "well",
    "kind": "exact", "scale": "g", "measure": "task", "yi": np.nan, "vi": 0.04,
    "lower": np.nan, "upper": np.nan, "n_case": 50.0, "n_control": 50.0,
}  # fmt: skip


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame([{**_DEFAULT, "study_id": f"study {i}", **r} for i, r in enumerate(rows)])


@pytest.fixture(scope="session")
def frame_of() -> Callable[[Sequence[Row]], pd.DataFrame]:
    """Rows as dictionaries; what is left out is filled in, every row its own study."""
    return _frame


@pytest.fixture(scope="session")
def layout_of() -> Callable[..., Layout]:
    """The layout of such rows under the package's own sampling covariance."""
    return lambda rows, rho=0.6: layout(_frame(rows), vcalc, rho)


@pytest.fixture(scope="session")
def mixed_rows() -> list[Row]:
    """One of everything: singles of each kind, exact blocks of 2 and 3, blocks with bounds."""
    inf = np.inf
    return [
        {"yi": 0.3},
        {"yi": 0.5, "vi": 0.09, "kind": "unsigned"},
        {"kind": "interval", "lower": 0.4, "upper": inf},
        {"kind": "interval", "lower": -inf, "upper": -0.35, "vi": 0.03},
        {"kind": "interval", "lower": -0.4, "upper": 0.4},
        # the same people, two tasks
        {"study_id": "A", "sample_id": "a", "control_id": "a0", "yi": 0.6},
        {"study_id": "A", "sample_id": "a", "control_id": "a0", "yi": 0.1, "vi": 0.06,
         "measure": "other"},
        # three effects, one without sign
        {"study_id": "B", "sample_id": "b", "control_id": "b0", "yi": -0.2},
        {"study_id": "B", "sample_id": "b", "control_id": "b0", "yi": 0.3, "kind": "unsigned"},
        {"study_id": "B", "sample_id": "b2", "control_id": "b0", "yi": 0.25, "vi": 0.05},
        # bounds only
        {"study_id": "C", "sample_id": "c", "kind": "interval", "lower": 0.39, "upper": inf},
        {"study_id": "C", "sample_id": "c", "kind": "interval", "lower": -0.5, "upper": 0.5,
         "vi": 0.06},
        # a bound beside exact and unsigned rows
        {"study_id": "D", "sample_id": "d", "yi": 0.45},
        {"study_id": "D", "sample_id": "d", "yi": 0.2, "vi": 0.05, "kind": "unsigned"},
        {"study_id": "D", "sample_id": "d", "kind": "interval", "lower": -inf, "upper": -0.3},
    ]  # fmt: skip
