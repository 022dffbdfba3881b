"""I² of a pool: against its formula, draws, a distribution known in closed form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.simple import read_simple
from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.panels import half_line
from nssi_meta.synthesis.inconsistency import inconsistency, total_quantiles, typical_variance
from nssi_meta.synthesis.pooled import HALF_EYE, pool

REFERENCE = Path(__file__).parent.parent / "reference"
NAMES = ["i2_median", "i2_low", "i2_high"]


@pytest.fixture(scope="module")
def bcg():
    return read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")


def test_typical_variance_is_that_of_higgins_and_thompson(bcg):
    """BCG trials: metafor 4.8 prints I^2 92.22% beside tau^2 0.3132 (REML)."""
    s2 = typical_variance(bcg["sei"].to_numpy(dtype=float))
    assert 100 * 0.3132 / (0.3132 + s2) == pytest.approx(92.22, abs=0.01)
    assert np.isnan(typical_variance(np.array([0.2])))


def test_i2_of_a_pool_is_the_transform_of_its_tau(bcg):
    fit = pool(bcg)
    row = fit.table.iloc[0]
    s2 = typical_variance(bcg["sei"].to_numpy(dtype=float))
    tau = row[["tau_median", "tau_low", "tau_high"]].to_numpy(dtype=float)
    np.testing.assert_allclose(row[NAMES].to_numpy(float), tau**2 / (tau**2 + s2), rtol=1e-12)
    _, drawn, _ = fit.cells[0].posterior.draws(4000, 1)
    want = np.quantile(drawn**2 / (drawn**2 + s2), [0.5, 0.025, 0.975])
    # draws are the nodes themselves: a share of about 0.01 lies between two
    np.testing.assert_allclose(row[NAMES].to_numpy(float), want, atol=0.02)


def test_i2_with_two_levels_lies_where_both_variances_put_it():
    frame = read_simple(REFERENCE / "konstantopoulos2011.csv", "yi", vi="vi", study="district")
    fit = pool(frame)
    row = fit.table.iloc[0]
    s2 = typical_variance(frame["sei"].to_numpy(dtype=float))
    total = row["tau_median"] ** 2 + row["omega_median"] ** 2
    # medians of sums are not sums of medians: near, not equal
    assert row["i2_median"] == pytest.approx(total / (total + s2), abs=0.01)
    assert row["tau_low"] ** 2 / (row["tau_low"] ** 2 + s2) < row["i2_low"] < row["i2_median"]
    assert row["i2_median"] < row["i2_high"] < 1


def test_nodes_without_mass_may_be_left_out():
    """As adjusted pools do, whole nodes of an axis among them."""
    frame = read_simple(REFERENCE / "konstantopoulos2011.csv", "yi", vi="vi", study="district")
    post = pool(frame).cells[0].posterior
    some = post.weight > 1e-9 * post.weight.max()
    assert len(np.unique(post.tau[some])) < len(np.unique(post.tau))
    joint = {n: getattr(post, n)[some] for n in ("mu_mean", "mu_sd", "tau", "omega", "weight")}
    p = np.array([0.025, 0.5, 0.975])
    # what was left out has a probability of 1e-7 or so
    np.testing.assert_allclose(
        total_quantiles(replace(post, **joint), p), total_quantiles(post, p), rtol=1e-5
    )


def test_the_sum_of_two_squared_normals_is_exponential():
    """Mean 2. Panels are resolved to 1e-9, bisection ends at 1e-12."""

    def log_density(x, y):
        return -0.5 * (x[:, None] ** 2 + y**2)

    axis, first = half_line(1.0), np.linspace(0.0, 1.0, 7)
    grid = integrate(log_density, [axis, axis], [first, first])
    x, y = np.meshgrid(*grid.x, indexing="ij")
    post = SimpleNamespace(
        tau_density=grid.marginal(0), omega_density=grid.marginal(1),
        tau=x.ravel(), omega=y.ravel(), weight=grid.weight.ravel(),
    )  # fmt: skip
    p = np.array([1e-4, 0.025, 0.5, 0.975])
    np.testing.assert_allclose(total_quantiles(post, p), -2 * np.log1p(-p), rtol=1e-7)


def test_one_level_without_variance_leaves_the_other():
    post = pool(read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")).cells[0].posterior
    alone = SimpleNamespace(tau_density=post.tau_density, omega_density=None)
    (median,) = total_quantiles(alone, np.array([0.5]))
    assert median == pytest.approx(post.tau_density.quantile(0.5) ** 2, rel=1e-12)


def test_i2_is_missing_where_no_two_rows_report_an_estimate(review):
    fit = pool(read_effects(review).select(mechanism="tremor"))
    for cell in fit.cells:
        found = inconsistency(cell, fit.options)
        estimates = int((cell.rows["kind"] != "interval").sum())
        assert all(np.isnan(v) == (estimates < 2) for v in found.values())
    thin = [c for c in fit.cells if (c.rows["kind"] != "interval").sum() < 2]
    assert 0 < len(thin) < len(fit.cells)


def test_half_eyes_come_from_the_posterior(bcg, tmp_path):
    fit = pool(bcg)
    page = fit.forest(tmp_path / "a.svg", densities=True)
    shapes = {a.get_gid(): a for ax in page.axes for a in ax.patches if a.get_gid()}
    (gid,) = [g.replace("diamond", "density") for g in shapes if g.startswith("diamond:")]
    xs = shapes[gid].get_xy()[:, 0]
    mu = fit.cells[0].posterior.mu
    ends = [mu.quantile(HALF_EYE[0]), mu.quantile(HALF_EYE[-1])]
    np.testing.assert_allclose([xs.min(), xs.max()], ends, rtol=1e-9)
    peak = xs[np.argmin(shapes[gid].get_xy()[:, 1])]
    grid = np.linspace(*ends, 2000)
    # the density is known at 23 quantiles: its peak to about a tenth of the interval
    assert peak == pytest.approx(grid[mu.pdf(grid).argmax()], abs=0.1 * (ends[1] - ends[0]))
    assert len([g for g in shapes if g.startswith("density:")]) == 14
