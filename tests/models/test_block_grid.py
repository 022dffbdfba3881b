"""Blocks of bounds on a whole grid: against integration written out, and the integral at a node."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import ndtr

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.block_grid import LEAST, BlockGrid, null_probability
from nssi_meta.models.blocks import layout
from nssi_meta.models.bound_blocks import bound_blocks

INF = np.inf
#: Rows of one study and the same people: kind, yi, lower, upper, vi.
CASES = {
    "both higher": [("interval", 0, 0.5, INF, 0.07), ("interval", 0, 0.6, INF, 0.09)],
    "both lower": [("interval", 0, -INF, -0.5, 0.07), ("interval", 0, -INF, -0.6, 0.09)],
    "both n.s.": [("interval", 0, -0.5, 0.5, 0.07), ("interval", 0, -0.6, 0.6, 0.09)],
    "n.s. and higher": [("interval", 0, -0.5, 0.5, 0.07), ("interval", 0, 0.6, INF, 0.09)],
    "higher and lower": [("interval", 0, 0.5, INF, 0.07), ("interval", 0, -INF, -0.6, 0.09)],
    "exact and higher": [("exact", 0.3, np.nan, np.nan, 0.07), ("interval", 0, 0.6, INF, 0.09)],
    "size and n.s.": [("unsigned", 0.4, np.nan, np.nan, 0.07), ("interval", 0, -0.6, 0.6, 0.09)],
    "size and higher": [("unsigned", 0.2, np.nan, np.nan, 0.04), ("interval", 0, 0.3, INF, 0.03)],
    "three n.s.": [("interval", 0, -c, c, (c / 2) ** 2) for c in (0.5, 0.55, 0.6)],
}
MU, TAU = np.array([-0.7, 0.0, 0.4, 1.5]), np.array([0.0, 0.05, 0.4, 3.0])
OMEGA = np.array([0.0, 0.1, 0.9, 4.0])


#: Who took part in three rows: two rows of the same people; different people and one control group.
PEOPLE = {
    "two samples": ((0, 0, 1), ("", "", "")),
    "one control group": ((0, 1, 2), ("w", "w", "w")),
    "strangers": ((0, 1, 2), ("", "", "")),
}


def block(rows, sample="people", control=""):
    frame = pd.DataFrame(rows, columns=["kind", "yi", "lower", "upper", "vi"]).assign(
        study_id="s", sample_id=sample, control_id=control, mechanism="m", condition="c",
        comparator="healthy", n_case=20.0, n_control=20.0,
    )  # fmt: skip
    return layout(frame, partial(vcalc, rho=0.6), 0.6)


def by_hand(data, mu, tau, omega):
    """Riemann sums over study effect and common error, spaced far below every width."""
    f = np.linspace(-8, 8, 801)
    weight = np.exp(-0.5 * f**2) / np.exp(-0.5 * f**2).sum()
    study = mu + tau * f[:, None]
    total = np.zeros((len(f), len(f)))
    exact, bounds = data.bound_blocks.exact[0], data.bound_blocks.bounds[0]
    for pattern, log_weight in zip(
        data.bound_blocks.signs[0], data.bound_blocks.log_weight[0], strict=True
    ):
        value = np.full((len(f), len(f)), np.exp(log_weight))
        for sign, i in zip(pattern, exact, strict=True):
            d2 = 0.4 * data.v[i] + omega**2
            gap = sign * data.y[i] - study - np.sqrt(0.6 * data.v[i]) * f
            value = value * np.exp(-0.5 * gap**2 / d2) / np.sqrt(2 * np.pi * d2)
        for i in bounds:
            d, mean = np.sqrt(0.4 * data.v[i] + omega**2), study + np.sqrt(0.6 * data.v[i]) * f
            value = value * (ndtr((data.upper[i] - mean) / d) - ndtr((data.lower[i] - mean) / d))
        total = total + value
    return float(weight @ total @ weight)


@pytest.mark.parametrize("name", list(CASES))
def test_a_grid_is_the_integral_at_every_node(name):
    """Absolute error of the scaled value 1e-11: what the constants of the module promise."""
    data = block(CASES[name])
    value, scale = BlockGrid(data)(MU, TAU, OMEGA)
    for m, t, o in [(0, 1, 0), (1, 0, 1), (2, 2, 0), (2, 2, 2), (3, 3, 1), (1, 2, 3), (3, 1, 3)]:
        truth = by_hand(data, MU[m], TAU[t], OMEGA[o]) / np.exp(scale[0, o])
        assert value[0, m, t, o] == pytest.approx(truth, abs=1e-11)


@pytest.mark.parametrize("name", list(PEOPLE))
def test_rows_share_errors_with_those_of_the_same_people_alone(name):
    """An exact row and two bounds against the normal probability of their covariance, 1e-8.

    The bivariate normal distribution function of scipy is good to about that.
    """
    people, controls = PEOPLE[name]
    rows = [("exact", 0.3, np.nan, np.nan, 0.09), ("interval", 0, 0.4, INF, 0.07),
            ("interval", 0, -0.5, 0.5, 0.12)]  # fmt: skip
    data = block(rows, [f"sample {i}" for i in people], list(controls))
    value, scale = BlockGrid(data)(MU[:3], TAU[:3], OMEGA[:3])
    s = np.sqrt(data.v)
    V = np.diag(data.v)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        if people[i] == people[j]:
            V[i, j] = V[j, i] = 0.6 * s[i] * s[j]
        elif controls[i]:
            V[i, j] = V[j, i] = 1 / 20
    for m, t, o in [(0, 1, 0), (1, 0, 1), (2, 2, 0), (1, 2, 2)]:
        cov = V + TAU[t] ** 2 + OMEGA[o] ** 2 * np.eye(3)
        gain = cov[1:, 0] / cov[0, 0]
        mean, rest = MU[m] + gain * (0.3 - MU[m]), cov[1:, 1:] - np.outer(gain, cov[0, 1:])
        given = stats.multivariate_normal(mean, rest, abseps=1e-12, releps=1e-12)
        inside = given.cdf([40.0, 0.5], lower_limit=[0.4, -0.5])
        truth = stats.norm.pdf(0.3, MU[m], np.sqrt(cov[0, 0])) * inside
        assert value[0, m, t, o] * np.exp(scale[0, o]) == pytest.approx(truth, abs=1e-8)


def test_where_it_says_so_it_agrees_with_the_integral_at_a_node():
    """`bound_blocks` is good to 1e-4 of its log while tau is below four errors."""
    tau = TAU[:3]
    m, t, o = (a.ravel() for a in np.meshgrid(MU, tau, OMEGA, indexing="ij"))
    for name in ("both higher", "n.s. and higher", "exact and higher", "size and n.s."):
        data = block(CASES[name])
        value, scale = BlockGrid(data)(MU, tau, OMEGA)
        size = len(m), data.k
        mean, spread = np.broadcast_to(m[:, None], size), np.broadcast_to(t[:, None], size)
        other = bound_blocks(data, data.bound_blocks, mean, spread, o[:, None])[:, 0]
        clear = value[0].ravel() > LEAST
        assert clear.sum() > 20
        ours = (np.log(np.maximum(value[0], LEAST)) + scale).ravel()
        np.testing.assert_allclose(ours[clear], other[clear], atol=2e-4)


def test_nodes_asked_in_parts_and_again_have_the_same_values():
    data = block(CASES["exact and higher"])
    whole = BlockGrid(data)(MU, TAU, OMEGA)[0]
    parts = BlockGrid(data)
    for _ in range(2):
        again = np.concatenate([parts(MU, TAU, OMEGA[i : i + 1])[0] for i in (3, 1, 0, 2)], axis=-1)
        np.testing.assert_allclose(again, whole[..., [3, 1, 0, 2]], atol=1e-13)


@pytest.mark.parametrize(
    "name", ["both higher", "both n.s.", "exact and higher", "higher and lower"]
)
def test_where_it_is_a_limit_the_value_lies_below(name):
    """Far from the rows, where absolute errors count: the integral in logs, good to 1e-4 there."""
    data = block(CASES[name])
    mu, tau, omega = np.linspace(-6, 6, 13), np.array([0.01, 0.3]), np.array([0.0, 0.2])
    total, limit = BlockGrid(data).log_terms(mu, tau, omega)
    assert limit.any()
    assert not limit.all()
    m, t, o = (a.ravel() for a in np.meshgrid(mu, tau, omega, indexing="ij"))
    size = len(m), data.k
    mean, spread = np.broadcast_to(m[:, None], size), np.broadcast_to(t[:, None], size)
    value = bound_blocks(data, data.bound_blocks, mean, spread, o[:, None])[:, 0].reshape(
        limit.shape
    )
    assert (value[limit] <= total[limit] + 1e-4).all()
    np.testing.assert_allclose(total[~limit], value[~limit], atol=1e-4)


def test_variances_far_apart_are_not_for_this_way():
    rows = [("interval", 0, 0.5, INF, 1e-6), ("interval", 0, 0.6, INF, 4.0)]
    value, _ = BlockGrid(block(rows))(MU, TAU, OMEGA[:1])
    assert np.isnan(value).all()
    total, limit = BlockGrid(block(rows)).log_terms(MU, TAU, OMEGA[:1])
    assert limit.all()
    assert (total == 0).all()
    rows = [("interval", 0, -2 * s, 2 * s, s**2) for s in (1e-3, 2.0)]
    null = null_probability(block(rows), MU, TAU, OMEGA)
    assert np.isfinite(null).all()
    m, t, o = 1, 2, 1  # mu 0, tau 0.4, omega 0.1
    assert null[m, t, o, 0] == pytest.approx(
        by_hand(block(rows), MU[m], TAU[t], OMEGA[o]), rel=1e-3
    )


#: Three rows, of which the first two have the same people: variances far apart, and bounds that
#: contradict each other.
HARD = {
    "a tiny variance": [
        ("interval", 0, 0.5, INF, 1e-4), ("interval", 0, -INF, 0.3, 0.3),
        ("interval", 0, -0.9, 0.9, 0.3),
    ],
    "an effect of a tiny variance": [
        ("exact", 0.5, np.nan, np.nan, 1e-4), ("interval", 0, -INF, 0.3, 0.3),
        ("interval", 0, -0.9, 0.9, 0.3),
    ],
    "contradicting": [
        ("interval", 0, 0.9, INF, 0.04), ("interval", 0, -INF, -0.3, 0.04),
        ("interval", 0, -INF, 0.2, 0.04),
    ],
}  # fmt: skip
SAMPLES = ["d1", "d1", "d2"]


def by_samples(data, mu, tau, omega):
    """As `by_hand`, the common error (801 nodes) for the first two rows alone; 40,001 of theta."""
    f, z = np.linspace(-9, 9, 801), np.linspace(-9, 9, 40_001)
    weight, density = (np.exp(-0.5 * x**2) / np.exp(-0.5 * x**2).sum() for x in (f, z))
    theta = mu + tau * z
    lower, upper, v = data.lower, data.upper, data.v
    last = np.sqrt(v[2] + omega**2)
    total = density * (ndtr((upper[2] - theta) / last) - ndtr((lower[2] - theta) / last))
    for part in np.array_split(np.arange(len(z)), 20):
        inside = np.ones((len(part), len(f)))
        for i in (0, 1):
            d = np.sqrt(0.4 * v[i] + omega**2)
            mean = theta[part, None] + np.sqrt(0.6 * v[i]) * f
            if np.isnan(lower[i]):
                inside *= stats.norm.pdf(data.y[i], mean, d)
            else:
                inside *= ndtr((upper[i] - mean) / d) - ndtr((lower[i] - mean) / d)
        total[part] *= inside @ weight
    return float(total.sum())


@pytest.mark.parametrize("name", list(HARD))
def test_hard_rows_are_integrated_by_sample(name):
    """To 1e-6 of the value: Riemann sums with spacings below a third of every width."""
    data = block(HARD[name], SAMPLES)
    mu, tau, omega = np.array([0.1, 0.6]), np.array([0.1, 0.5]), np.array([0.0, 0.1])
    total, limit = BlockGrid(data).log_terms(mu, tau, omega)
    assert not limit.any()
    for m, t, o in [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]:
        truth = np.log(by_samples(data, mu[m], tau[t], omega[o]))
        assert total[m, t, o] == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("name", [*CASES, *HARD])
def test_single_points_are_those_of_the_grid(name):
    """Interpolated between omegas, which leaves 1e-9 of the largest value at the same omega."""
    data = block(CASES[name]) if name in CASES else block(HARD[name], SAMPLES)
    mu, tau = np.array([-0.2, 0.4, 0.8]), np.array([0.05, 0.4, 1.5])
    omega = np.array([0.0, 0.07, 0.3, 0.33, 1.1, 4.0])
    total, limit = BlockGrid(data).log_terms(mu, tau, omega)
    m, t, o = (a.ravel() for a in np.meshgrid(mu, tau, omega, indexing="ij"))
    found = BlockGrid(data).at(m, t, o)[:, 0].reshape(total.shape)
    told = np.isfinite(found)
    assert told[~limit].mean() > 0.9
    size = np.exp(total - total.max(axis=(0, 1)))
    assert np.max(np.abs(found - total)[told] * size[told]) < 1e-9
