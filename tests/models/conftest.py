"""Small hand-made frames of derived rows: what the models see of the evidence floor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import Layout, layout
from nssi_meta.models.structure import Structure

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


def _parameters(made: Structure, at: Sequence[Row]) -> tuple[dict[str, Any], Any]:
    draws: dict[str, Any] = {}
    jacobian = np.zeros(len(at))
    for name in at[0]:
        value = np.array([p[name] for p in at], dtype=float)
        if name.endswith("_log__"):
            jacobian += value.reshape(len(at), -1).sum(axis=1)
            draws[name.removesuffix("_log__")] = np.exp(value)
        elif name.endswith("_folded"):
            sd = name.removesuffix("_folded")
            scale = made.values["fixed"][f"{sd}_prior"][-1]
            draws[sd] = scale * np.abs(value)
            jacobian += np.log(scale / 2)
        else:
            draws[name] = value
    return draws | made.extra(draws), jacobian


@pytest.fixture(scope="session")
def parameters() -> Callable[..., tuple[dict[str, Any], Any]]:
    """Draws (S, ...) of a structure at points, and the log Jacobian (S,) of what is sampled.

    tau = scale |folded|: half of the density at tau belongs to either sign.
    """
    return _parameters


def _reported(made: Structure, at: Sequence[Row]) -> Any:
    draws, jacobian = _parameters(made, at)
    whole = made.log_likelihood(draws).sum(axis=1) + sum(made.log_prior(draws).values())
    if "coef_raw" not in draws:
        return whole + jacobian
    # Coefficients are a linear function of what is sampled, which may depend on other parameters.
    columns = [
        made.extra(draws | {"coef_raw": draws["coef_raw"] + one})["coef"] - draws["coef"]
        for one in np.eye(draws["coef"].shape[1])
    ]
    return whole + jacobian + np.linalg.slogdet(np.stack(columns, axis=-1))[1]


@pytest.fixture(scope="session")
def reported() -> Callable[..., Any]:
    """Prior times likelihood (S,) of a structure at points, by its own functions, with the log
    Jacobian of what is sampled."""
    return _reported


#: Equal steps of studies' own parameters. The densities are analytic and vanish at both ends, so
#: that the trapezoidal rule is out by less than 1e-9 for studies up to a few SDs from their mean.
_STEPS = {"g": np.arange(-9.0, 9.1, 0.25), "lambda_raw": np.arange(-22.0, 9.1, 0.25)}


def _integrated(logp: Callable[[Row], Any], at: Row, studies: Sequence[Sequence[Any]]) -> float:
    point = at | {name: np.zeros_like(at[name]) for name in _STEPS if name in at}
    start = float(logp(point))
    total = start
    for study in studies:
        values = []
        for places in itertools.product(*(_STEPS[name] for name, _ in study)):
            one = {name: point[name].copy() for name, _ in study}
            for (name, index), value in zip(study, places, strict=True):
                one[name][index] = value
            values.append(float(logp(point | one)))
        steps = [np.log(np.diff(_STEPS[name][:2])[0]) for name, _ in study]
        total += logsumexp(values) + sum(steps) - start
    return float(total)


@pytest.fixture(scope="session")
def integrated() -> Callable[..., float]:
    """Log integral of a density at a point over studies' own parameters, each study's as a list of
    (name, index); studies are independent given the rest. Parameters not needed are 0."""
    return _integrated


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
