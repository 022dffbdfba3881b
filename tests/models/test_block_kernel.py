"""Compiled densities of blocks of exact rows and their slopes, against numpy's likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.block_kernel import block, invert
from nssi_meta.models.blocks import layout
from nssi_meta.models.layout_nodes import layout_values
from nssi_meta.models.likelihood import log_likelihood

_NAMES = ("at", "mask", "y", "folded", "V", "G", "alike")


def study(name, rows, **more):
    of = {"study_id": name, "sample_id": name, "control_id": name}
    return [
        {**of, "yi": y, "vi": v, "kind": kind[0] if kind else "exact", **more}
        for y, v, *kind in rows
    ]


@pytest.fixture(scope="module")
def made(frame_of):
    """Blocks of two to six rows: alike, of contrasts that share an arm, of studies that share
    people; of none, one and two rows without a sign."""
    rows = study("A", [(0.6, 0.02), (0.1, 0.05, "unsigned"), (-0.3, 0.09)])
    rows += study("B", [(0.2, 0.04), (0.5, 0.01)])
    rows += study("C", [(0.1, 0.04), (0.9, 0.05, "unsigned"), (0.4, 0.03, "unsigned")])
    rows += study("D", [(0.3, 0.04)], condition="worse") + study("D", [(0.2, 0.03), (0.5, 0.08)])
    rows += study("E", [(0.1, 0.04), (-0.2, 0.06), (0.3, 0.04)])
    rows += study("F", [(0.0, 0.03), (0.2, 0.05), (0.3, 0.04)], sample_id="E", control_id="E")
    frame = frame_of(rows)
    data = layout(frame, vcalc, 0.6)
    values = layout_values(data, frame["kind"].to_numpy(), {})["blocks"]
    n = len(values["block_mask"])
    arrays = [values[f"block_{name}"] for name in _NAMES]
    arrays[4:6] = [x.reshape(n, n, -1) for x in arrays[4:6]]
    return data, tuple(arrays)


def density(made, mean, tau2, omega2):
    data, arrays = made
    slopes = np.zeros(data.k), np.zeros(data.k)
    total, by_omega2 = block(arrays, mean, tau2, omega2, *slopes)
    return total, *slopes, by_omega2


def point(data):
    rng = np.random.default_rng(3)
    # All rows of a block have one tau.
    tau2 = rng.uniform(0.01, 0.3, len(data.block_rows))[data.block_of_row]
    return rng.normal(0.1, 0.4, data.k), tau2


def test_blocks_are_of_every_sort(made):
    data, arrays = made
    alike, size = arrays[-1], arrays[1].sum(axis=0)
    assert sorted(zip(size, alike, strict=True)) == [(2, 1), (3, 0), (3, 1), (3, 1), (6, 0)]
    assert sorted(arrays[3].sum(axis=0)) == [0, 0, 0, 1, 2]
    assert data.k == size.sum()


@pytest.mark.parametrize("omega", [0.0, 0.2])
@pytest.mark.parametrize("tau", [0.0, 1e-6, 0.3, 10.0])
def test_the_density_is_that_of_numpy(made, omega, tau):
    mean = point(made[0])[0]
    wide = np.full(made[0].k, tau)
    ours = density(made, mean, wide**2, omega**2)[0]
    theirs = log_likelihood(made[0], mean[None], wide[None], np.array([[omega]])).sum()
    assert ours == pytest.approx(theirs, rel=1e-11)


def test_slopes_are_those_of_the_value(made):
    mean, tau2 = point(made[0])
    _, by_mean, by_tau2, by_omega2 = density(made, mean, tau2, 0.04)
    step = 1e-6
    for i, slope in enumerate(by_mean):
        one = step * (np.arange(made[0].k) == i)
        ends = [density(made, mean + s * one, tau2, 0.04)[0] for s in (1, -1)]
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7, abs=1e-7)
    for rows in made[0].block_rows:
        one = step * np.isin(np.arange(made[0].k), rows)
        ends = [density(made, mean, tau2 + s * one, 0.04)[0] for s in (1, -1)]
        slope = by_tau2[rows].sum()
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7, abs=1e-7)
    ends = [density(made, mean, tau2, 0.04 + s * step)[0] for s in (1, -1)]
    assert by_omega2 == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)


@pytest.mark.parametrize("tau", [1e3, 1e7, 1e12])
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_finite_where_tau_drowns_the_errors(made, tau, mean):
    wide = np.full(made[0].k, tau**2)
    for part in density(made, np.full(made[0].k, mean), wide, 0.0):
        assert np.isfinite(part).all()


def test_an_inverse_and_its_determinant():
    rng = np.random.default_rng(5)
    for n in range(1, 8):
        root = rng.normal(size=(n, n))
        A, W = root @ root.T + 0.1 * np.eye(n), np.empty((9, 9))
        held = np.full((9, 9), np.nan)
        held[:n, :n] = A
        log_det = invert(held, n, W)
        assert log_det == pytest.approx(np.linalg.slogdet(A)[1], rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(W[:n, :n] @ A, np.eye(n), atol=1e-11)
