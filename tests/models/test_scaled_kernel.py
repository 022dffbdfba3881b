"""Coefficients of given scales beside rows of any kind: numpy's value, and slopes of it."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import layout
from nssi_meta.models.evidence_kernel import given
from nssi_meta.models.layout_nodes import layout_values
from nssi_meta.models.scaled_kernel import scaled_rows

_NONE, _FLAT, _CUBE = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 0))
_TOLD = ("y", "extra", "effect", "sign", "share", "walled", "side")


@pytest.fixture
def arrays(frame_of, mixed_rows):
    """Rows of any kind, a study with bounds among them, without blocks of exact rows."""
    frame = frame_of([mixed_rows[0], *mixed_rows[12:15]])
    values = layout_values(layout(frame, vcalc), frame["kind"].to_numpy(), {})
    assert "blocks" not in values
    rows = tuple(values["rows"][name] for name in ("form", "a", "b", "v"))
    common = {n.removeprefix("common_"): x for n, x in values["common"].items()}
    places = tuple(common[name] for name in ("at", "first", "v", "mask", "rho"))
    told = tuple(common[name] for name in _TOLD)
    return rows, (*[_FLAT] * 4, _CUBE, _CUBE, _NONE), places, told


def numbers(rng, k, n_studies):
    """Guess, design, and a point: three scales, three raw, tau^2, omega^2, g."""
    A = rng.normal(size=(3, 8))
    guess, design = (A @ A.T, 3 * rng.normal(size=3)), (rng.normal(size=(3, k)), np.array([0.1]))
    point = [*rng.uniform(0.2, 1.5, 3), *rng.normal(size=3), 0.3, 0.04, *rng.normal(size=n_studies)]
    return guess, design, np.array(point)


def test_value_and_slopes(arrays):
    """The value as numpy's, 1e-12; slopes by central differences, 1e-6."""
    rng = np.random.default_rng(3)
    k, n_studies = len(arrays[0][0]), len(arrays[2][1])
    guess, design, point = numbers(rng, k, n_studies)

    def at(x):
        return scaled_rows(x[:3], x[3:6], x[6], x[7], x[8:], guess, design, *arrays)

    total, *slopes = at(point)
    s, (M, q) = point[:3], guess
    C = np.linalg.cholesky(np.eye(3) + s[:, None] * M * s)
    b = np.linalg.solve(C.T, np.linalg.solve(C, s * q) + point[3:6])
    mean = 0.1 + (s * b) @ design[0]
    evidence = given(arrays[0], mean, np.full(k, 0.3), 0.04, point[8:], *arrays[1:])[0]
    wanted = evidence - 0.5 * b @ b - np.log(np.diag(C)).sum()
    assert total == pytest.approx(wanted, rel=1e-12)
    for i, slope in enumerate(np.concatenate([np.atleast_1d(x) for x in slopes])):
        step = 1e-5 * np.eye(len(point))[i]
        assert slope == pytest.approx((at(point + step)[0] - at(point - step)[0]) / 2e-5, rel=1e-6)
