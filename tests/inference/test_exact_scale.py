"""Very many studies: the posterior is narrow, and is still found."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference import exact
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.gaussian import gauss_terms, log_product
from nssi_meta.models.blocks import independent
from nssi_meta.models.priors import parse_prior

PRIORS = {"mu_prior": parse_prior("normal(0,1)", "mu"),
          "tau_prior": parse_prior("halfnormal(0.5)", "tau")}  # fmt: skip


def simulated(k, tau, seed=1):
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.01, 0.1, k)
    return 0.3 + rng.normal(0, np.sqrt(tau**2 + v)), v


@pytest.mark.parametrize(("k", "tau"), [(2_000, 0.2), (30_000, 0.2), (30_000, 0.0), (30_000, 3.0)])
def test_many_studies(k, tau):
    """Against a sum over 801 equal steps about the mode, mu integrated by hand."""
    y, v = simulated(k, tau)
    post = fit_exact(independent(y, v), **PRIORS)
    mean, sd = post.tau_density.mean, post.tau_density.sd
    grid = np.linspace(max(0.0, mean - 9 * sd), mean + 9 * sd, 801)
    log_p, m, s2 = (np.empty(801) for _ in range(3))
    for i, t in enumerate(grid):
        w = 1 / (v + t**2)
        total = w.sum() + 1.0
        m[i], s2[i] = (w * y).sum() / total, 1 / total
        log_p[i] = (0.5 * np.log(w).sum() - 0.5 * (w * (y - m[i]) ** 2).sum()
                    - 0.5 * m[i] ** 2 - 0.5 * np.log(total) - 0.5 * (t / 0.5) ** 2)  # fmt: skip
    p = np.exp(log_p - log_p.max())
    p[0] *= 0.5  # the trapezoid's end, where the density is cut at 0
    p /= p.sum()
    # tau = 0: a density cut at its top, where the sum converges with the square of its step.
    close = 1e-7 if tau else 1e-4
    assert mean == pytest.approx(p @ grid, abs=close * sd)
    assert sd == pytest.approx(np.sqrt(p @ (grid - p @ grid) ** 2), rel=10 * close)
    assert post.mu.mean == pytest.approx(p @ m, abs=close * post.mu.sd)
    assert post.mu.sd == pytest.approx(np.sqrt(p @ (s2 + (m - p @ m) ** 2)), rel=close)
    assert post.error < 1e-8


def test_chunks_change_nothing(monkeypatch, layout_of):
    """Memory is bounded by working on few nodes at a time; three levels and shared people too."""
    rows = [
        {
            "study_id": f"s{i // 3}",
            "sample_id": "p" if i < 2 else "",
            "yi": 0.1 * i,
            "vi": 0.05,
            "scale": "g",
        }
        for i in range(9)
    ]
    data = layout_of(rows, vcalc=vcalc)
    omega = parse_prior("halfnormal(0.3)", "tau")
    whole = fit_exact(data, omega_prior=omega, **PRIORS)
    monkeypatch.setattr(exact, "_CACHE", 30)
    parts = fit_exact(data, omega_prior=omega, **PRIORS)
    assert parts.log_evidence == pytest.approx(whole.log_evidence, abs=1e-12)
    np.testing.assert_allclose(parts.mu_mean, whole.mu_mean, rtol=1e-12)


def test_correlated_blocks_of_several_sizes(layout_of):
    """Blocks of one size are worked on together: the terms of each alone add up."""
    rows = [
        {
            "study_id": f"s{s}",
            "sample_id": f"p{s}",
            "yi": 0.1 * i * s,
            "vi": 0.02 + 0.01 * s,
            "scale": "g",
        }
        for s in range(1, 6)
        for i in range(2 + s % 2)
    ]
    tau, omega = np.array([[0.0], [0.4]]), np.array([[0.1, 0.2, 0.3]])
    whole = gauss_terms(layout_of(rows, vcalc=vcalc), tau, omega)
    parts = [
        gauss_terms(layout_of([r for r in rows if r["study_id"] == f"s{s}"], vcalc=vcalc),
                    tau, omega)
        for s in range(1, 6)
    ]  # fmt: skip
    np.testing.assert_allclose(whole.precision, sum(p.precision for p in parts), rtol=1e-12)
    np.testing.assert_allclose(whole.log_det, sum(p.log_det for p in parts), rtol=1e-12)
    at = np.full((2, 3), 0.3)
    np.testing.assert_allclose(whole.quad(at), sum(p.quad(at) for p in parts), rtol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 1e-80, 1e80])
def test_logs_of_products(scale):
    x = scale * np.random.default_rng(2).uniform(0.5, 2.0, (3, 11))
    np.testing.assert_allclose(log_product(x), np.log(x).sum(axis=1), rtol=1e-12, atol=1e-12)
    assert log_product(x[:, :0]).tolist() == [0, 0, 0]
