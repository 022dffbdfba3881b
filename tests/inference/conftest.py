"""Pools of hand-made rows, and the reference numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference.exact import ExactPosterior, fit_exact
from nssi_meta.models.blocks import Layout, layout
from nssi_meta.models.priors import parse_prior

REFERENCE = Path(__file__).parent.parent / "reference"


def diagonal(frame: pd.DataFrame) -> np.ndarray:
    """Independent sampling errors."""
    return np.diag(frame["vi"].to_numpy(dtype=float))


def _frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    default = {
        "sample_id": "", "control_id": "", "mechanism": "m", "condition": "ill",
        "comparator": "well", "kind": "exact", "scale": "g", "measure": "task", "yi": np.nan,
        "vi": 0.04, "lower": np.nan, "upper": np.nan, "n_case": 50.0, "n_control": 50.0,
    }  # fmt: skip
    return pd.DataFrame([{**default, "study_id": f"study {i}", **r} for i, r in enumerate(rows)])


def _layout(rows: list[dict[str, Any]], rho: float = 0.6, vcalc: Any = diagonal) -> Layout:
    return layout(_frame_of(rows), vcalc, rho)


@pytest.fixture(scope="session")
def frame_of() -> Callable[..., pd.DataFrame]:
    """A frame of rows that say only what matters."""
    return _frame_of


@pytest.fixture(scope="session")
def layout_of() -> Callable[..., Layout]:
    return _layout


@pytest.fixture(scope="session")
def fit() -> Callable[..., ExactPosterior]:
    """Posterior of rows (or a layout) under priors given as text."""

    def run(
        rows: Any,
        mu: str = "normal(0,1)",
        tau: str = "halfnormal(0.5)",
        omega: str | None = None,
        **more: Any,
    ) -> ExactPosterior:
        return fit_exact(
            rows if isinstance(rows, Layout) else _layout(rows),
            mu_prior=parse_prior(mu, "mu"),
            tau_prior=parse_prior(tau, "tau"),
            omega_prior=None if omega is None else parse_prior(omega, "tau"),
            **more,
        )

    return run


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    return lambda name: json.loads((REFERENCE / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    return REFERENCE
