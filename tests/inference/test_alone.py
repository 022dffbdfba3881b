"""True effects of rows beside bounds, against sums over dense grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import make_interp_spline
from scipy.special import ndtr, ndtri

from nssi_meta.evidence.simple import read_simple
from nssi_meta.inference import shrinkage
from nssi_meta.inference.alone import Nodes, Row
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.shrinkage import shrunken
from nssi_meta.models.blocks import layout
from nssi_meta.models.priors import parse_prior

INF = np.inf
MU = parse_prior("normal(0,1)", "mu")
TAU = parse_prior("halfnormal(0.5)", "tau")
#: kind, yi, lower, upper, vi.
POOLS = {
    "mixed": [
        ("exact", 0.5, np.nan, np.nan, 0.1),
        ("interval", np.nan, 0.4, INF, 0.05),
        ("interval", np.nan, -0.4, 0.4, 0.06),
        ("unsigned", 0.3, np.nan, np.nan, 0.04),
    ],
    "bounds": [
        ("interval", np.nan, -INF, -0.4, 0.05),
        ("interval", np.nan, -0.4, 0.4, 0.06),
        ("interval", np.nan, 0.5, INF, 0.02),
    ],
}
#: Quadrature promises 1e-6 of an SD in a quantile; the grid's own error is below 1e-8.
CLOSE = 2e-6


def chance(row, mean, var):
    kind, y, low, high, v = row
    sd = np.sqrt(v + var)
    if kind == "interval":
        low, high = (low - mean) / sd, (high - mean) / sd
        flip = low > 0  # so that far ends keep their digits
        low, high = np.where(flip, -high, low), np.where(flip, -low, high)
        return ndtr(high) - ndtr(low)
    out = np.exp(-0.5 * ((y - mean) / sd) ** 2)
    if kind == "unsigned":
        out = out + np.exp(-0.5 * ((y + mean) / sd) ** 2)
    return out / sd


def by_grid(rows, i):
    """theta (n,) and its density: the others' say of mu and tau, spread by tau, times the row's."""
    theta = 0.1 + 0.15 * np.sinh(np.linspace(-5, 5, 561))
    log_tau = np.linspace(-22.0, 2.0, 240)
    tau = np.exp(log_tau)
    out = np.zeros_like(theta)
    for z in np.linspace(-8.5, 8.5, 65):
        mu = theta[:, None] - tau * z
        part = np.exp(-0.5 * mu**2 - 0.5 * (tau / 0.5) ** 2 - 0.5 * z**2) * tau
        for j, row in enumerate(rows):
            if j != i:
                part = part * chance(row, mu, tau**2)
        out += part.sum(axis=1)
    return theta, out * chance(rows[i], theta, 0.0)


def effects(rows):
    """The frame, its layout and its posterior."""
    plain = pd.DataFrame(rows, columns=["kind", "g", "low", "high", "v"])
    plain = plain.assign(size_only=np.where(plain["kind"] == "unsigned", "yes", "no"))
    plain = plain.replace([-INF, INF], np.nan)
    frame = read_simple(plain, "g", vi="v", lower="low", upper="high", unsigned="size_only")
    data = layout(frame, errors)
    return frame, data, fit_exact(data, mu_prior=MU, tau_prior=TAU)


def errors(frame):
    return np.diag(frame["vi"])


@pytest.mark.parametrize("name", POOLS)
def test_effects_beside_bounds_agree_with_sums_over_dense_grids(name):
    rows = POOLS[name]
    frame, data, posterior = effects(rows)
    found = shrunken(frame, data, posterior, errors)
    for i, theta in enumerate(found):
        x, density = by_grid(rows, i)
        u = np.arcsinh((x - 0.1) / 0.15)
        mass = density * np.cosh(u)
        mass /= mass.sum()
        mean = mass @ x
        sd = np.sqrt(mass @ (x - mean) ** 2)
        assert theta.mean == pytest.approx(mean, abs=1e-7)
        assert theta.sd == pytest.approx(sd, rel=1e-7)
        # By a spline: a sum up to a place is not smooth there.
        below = make_interp_spline(u, mass, k=5).antiderivative()
        for p in (0.025, 0.25, 0.5, 0.75, 0.975):
            at = np.arcsinh((theta.quantile(p) - 0.1) / 0.15)
            share = float(below(at) / below(u[-1]))
            assert share == pytest.approx(p, abs=CLOSE)


def test_shortest_intervals_hold_their_level_between_equal_heights():
    frame, data, posterior = effects(POOLS["mixed"])
    ends = shrinkage.shrunken_shortest(frame, data, posterior, errors, 0.9)
    for theta, (low, high) in zip(shrunken(frame, data, posterior, errors), ends, strict=True):
        assert theta.cdf(high) - theta.cdf(low) == pytest.approx(0.9, abs=1e-7)
        assert theta.pdf(low) == pytest.approx(float(theta.pdf(high)), rel=1e-5)
        central = interval(theta, 0.9)
        assert high - low <= central[1] - central[0]


def test_very_many_rows_are_drawn(monkeypatch):
    frame, data, posterior = effects(POOLS["mixed"])
    monkeypatch.setattr(shrinkage, "_INTEGRATED", 3)
    assert shrinkage.integrated(frame, data, posterior) == {}
    drawn = shrunken(frame, data, posterior, errors)
    monkeypatch.setattr(shrinkage, "_INTEGRATED", 4)
    known = shrunken(frame, data, posterior, errors)
    for a, b in zip(drawn, known, strict=True):
        assert a.mean == pytest.approx(b.mean, abs=0.105 * b.sd)  # four Monte Carlo errors


def test_a_very_precise_row_keeps_its_estimate_and_error():
    """Panels beside it see nothing at their nodes; its tails are not theirs to lose."""
    rows = [("exact", 0.1, np.nan, np.nan, 1e-12), ("interval", np.nan, 0.3, INF, 1.0)]
    frame, data, posterior = effects(rows)
    ends = shrinkage.shrunken_quantiles(frame, data, posterior, errors, (0.005, 0.025, 0.975))
    np.testing.assert_allclose((ends[0] - 0.1) / 1e-6, ndtri([0.005, 0.025, 0.975]), atol=1e-4)


def test_an_open_end_has_no_mean_where_omega_has_none(layout_of):
    """A bound alone varies as omega does, of which bounds leave a Cauchy prior its tail."""
    below = {"study_id": "S", "kind": "interval", "lower": -INF, "upper": 0.3}
    data = layout_of([{"kind": "interval", "lower": 0.2, "upper": INF}, below, below])
    omega = parse_prior("halfcauchy(0.5)", "tau")
    nodes = Nodes.of(fit_exact(data, mu_prior=MU, tau_prior=TAU, omega_prior=omega))
    open_end = nodes.density(Row("interval", np.nan, 0.2, INF, 0.04))
    assert np.isnan(open_end.mean)
    assert np.isinf(open_end.sd)


def test_a_posterior_that_left_nodes_out_is_no_grid():
    _, _, posterior = effects(POOLS["mixed"])
    assert Nodes.of(posterior) is not None
    joint = {n: getattr(posterior, n)[1:] for n in ("mu_mean", "mu_sd", "tau", "omega", "weight")}
    assert Nodes.of(replace(posterior, **joint)) is None
