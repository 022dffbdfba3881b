"""The likelihood on a grid, with its short cuts, against the likelihood row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_ndtr

from nssi_meta.inference.on_grid import OnGrid, _sum_beyond, _sum_within
from nssi_meta.models.likelihood import log_likelihood

INF = np.inf


def bound(low, high, **more):
    return {"kind": "interval", "lower": low, "upper": high, **more}


SAME = {"study_id": "S", "sample_id": "a"}
POOLS = {
    "exact and bounds": [{"yi": 0.6}, {"yi": 0.1, "vi": 0.02}, bound(0.5, INF), bound(-INF, -0.2),
                         bound(-0.3, 0.3, vi=0.02), bound(-0.2, 0.5)],
    "bounds alone": [bound(0.4, INF), bound(-0.4, 0.4), bound(-INF, -0.5)],
    "unsigned": [{"yi": 0.5, "kind": "unsigned"}, {"yi": 0.3}, bound(0.1, INF)],
    "blocks": [{"yi": 0.3, **SAME}, {"yi": 0.5, **SAME}, {"yi": 0.1}, bound(0.2, INF),
               bound(0.4, INF, study_id="T"), bound(-0.5, 0.5, study_id="T")],
    "a bound beside exact rows of its study": [{"yi": 0.3, **SAME}, bound(0.2, INF, **SAME),
                                               {"yi": 0.1}, bound(-0.4, 0.4)],
    "unsigned in a block": [{"yi": 0.3, **SAME}, {"yi": 0.5, "kind": "unsigned", **SAME},
                            bound(-0.4, 0.4)],
}  # fmt: skip


@pytest.mark.parametrize("with_omega", [False, True])
@pytest.mark.parametrize("name", list(POOLS))
def test_it_is_the_likelihood_wherever_it_counts(layout_of, name, with_omega):
    data = layout_of(POOLS[name])
    mu = np.linspace(-4, 4, 23)[:, None, None]
    tau = np.geomspace(1e-3, 4, 9)[None, :, None]
    omega = np.array([0.0, 0.1, 1.0])[None, None, : 3 if with_omega else 1]
    ours = OnGrid(data)(mu, tau, omega, np.zeros(1), 0.0)
    shape = ours.shape
    m, t, w = (np.broadcast_to(a, shape).reshape(-1, 1) for a in (mu, tau, omega))
    one = np.ones((1, data.k))
    plain = log_likelihood(data, m * one, t * one, w).sum(axis=-1).reshape(shape)
    near = plain > plain.max() - 20
    assert 0 < near.sum() < near.size
    if data.bound_blocks is None:  # rounding of sums of some ten logs
        np.testing.assert_allclose(ours[near], plain[near], atol=1e-12)
    else:  # `plain` integrates, to 5e-9; tables have absolute errors, 1e-13 of 1e-8 or more
        top = plain.max()
        np.testing.assert_allclose(np.exp(ours[near] - top), np.exp(plain[near] - top), atol=1e-8)
        np.testing.assert_allclose(ours[near], plain[near], atol=1e-5)
    # elsewhere bounds may be missing, which makes a node more probable, but not by much in all
    assert (ours >= plain - (1e-9 if data.bound_blocks is None else 1e-5)).all()
    assert np.exp(ours[~near] - plain.max()).sum() < 1e-6


def test_asked_in_parts_it_gives_the_same(layout_of):
    data = layout_of(POOLS["exact and bounds"])
    mu, tau = np.linspace(-1, 1, 12)[:, None], np.linspace(0.01, 1, 10)[None, :]
    whole = OnGrid(data)(mu, tau, np.zeros((1, 1)), np.zeros(1), 0.0)
    asked = OnGrid(data)
    parts = [asked(mu[i : i + 4], tau, np.zeros((1, 1)), np.zeros(1), 0.0) for i in (8, 0, 4)]
    np.testing.assert_allclose(np.concatenate([parts[1], parts[2], parts[0]]), whole, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 5.0, 30.0, 60.0, 1e4])
def test_sums_of_log_probabilities_keep_their_digits(shift):
    z = np.array([[-0.3, 0.0, 2.0, 8.0, -1.0]]) - shift
    expected = log_ndtr(z).sum()
    assert _sum_beyond(z)[0] == pytest.approx(expected, rel=1e-13)
    # far out an interval is its nearer end alone
    half, scale = np.array([0.5, 1.0]), np.array([[2.0, 3.0]])
    found = _sum_within(np.array([[shift, shift]]) + 2.0, half, scale)[0]
    near, far = -(shift + 2.0 - half) * scale[0], -(shift + 2.0 + half) * scale[0]
    gap = log_ndtr(far) - log_ndtr(near)
    assert found == pytest.approx((log_ndtr(near) + np.log1p(-np.exp(gap))).sum(), rel=1e-12)


@pytest.mark.parametrize(("low", "high"), [((0.1, 0.2), (0.25, 0.35)), ((-1.0, 0.01), (1.2, 1.5))])
def test_many_nodes_are_interpolated_to_the_digits_promised(layout_of, monkeypatch, low, high):
    rng = np.random.default_rng(3)
    rows = [
        bound(c, INF, vi=c**2 / 4) if i % 3 else bound(-c, c, vi=c**2 / 4)
        for i, c in enumerate(rng.uniform(0.3, 0.8, 90))
    ]
    data, asked = layout_of(rows), []
    grid = OnGrid(data)
    plainly = grid._sum_bounds
    monkeypatch.setattr(grid, "_sum_bounds", lambda out, nodes, *a: (
        asked.append(nodes.size), plainly(out, nodes, *a))[1])  # fmt: skip
    monkeypatch.setattr("nssi_meta.inference.on_grid._FAR", np.inf)
    mu = np.linspace(low[0], high[0], 90)[:, None]
    tau = np.linspace(low[1], high[1], 70)[None, :]
    ours = grid(mu, tau, np.zeros((1, 1)), np.zeros(1), 0.0)
    one = np.ones((1, data.k))
    m, t = (np.broadcast_to(a, ours.shape).reshape(-1, 1) for a in (mu, tau))
    plain = log_likelihood(data, m * one, t * one, np.zeros((1, 1))).sum(axis=-1)
    np.testing.assert_allclose(ours.ravel(), plain, atol=1e-9)
    assert sum(asked) < 0.7 * ours.size
