"""Bounds in sampled regressions: against quadrature, within Monte Carlo error."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.compiled import refit
from nssi_meta.inference.heavy_tails import StudyTables, fit_heavy_tails
from nssi_meta.models.blocks import layout
from nssi_meta.models.bounded import bounded_regression
from nssi_meta.models.bounded_rows import bounded_rows
from nssi_meta.models.design import Combinations
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import parse_prior

INF = np.inf
MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")


#: Exact effects, one far out; bounds of all three forms; a size without its sign.
ROWS = [
    {"yi": 0.5}, {"yi": 0.35, "vi": 0.02}, {"yi": 0.6, "vi": 0.03}, {"yi": 1.9, "vi": 0.03},
    {"yi": 0.3, "vi": 0.05, "kind": "unsigned"},
    {"kind": "interval", "lower": 0.4, "upper": INF},
    {"kind": "interval", "lower": -0.4, "upper": 0.4, "vi": 0.03},
    {"kind": "interval", "lower": -INF, "upper": -0.45, "vi": 0.05},
]  # fmt: skip


def agrees(fit, name, mean, sd):
    """Mean and SD within four Monte Carlo standard errors."""
    from arviz_stats.base.array import array_stats

    base, _, label = name.removesuffix("]").partition("[")
    array = fit.posterior_data["posterior"].dataset[base]
    draws = np.asarray(array.sel({f"{base}_label": label}) if label else array)
    axes = {"chain_axis": 0, "draw_axis": 1}
    errors = [float(array_stats.mcse(draws, method=m, **axes)) for m in ("mean", "sd")]
    assert draws.mean() == pytest.approx(mean, abs=4 * errors[0])
    assert draws.std() == pytest.approx(sd, abs=4 * errors[1])


@pytest.mark.slow
def test_student_effects_with_bounds_agree_with_quadrature(frame_of):
    frame = frame_of(ROWS)
    data = layout(frame, vcalc)
    rows = bounded_rows(data, frame["kind"], np.ones((8, 1)))
    mean = Combinations(means={"mu": np.ones(1)})
    made = bounded_regression(rows, ["mu"], [MU], TAU, combinations=mean, student=True)
    fit = refit(made, seed=3)
    assert fit.converged
    tables = StudyTables(data, frame["study_id"].to_numpy(dtype=object))
    exact = fit_heavy_tails(tables, mu_prior=MU, tau_prior=TAU)
    agrees(fit, "mean[mu]", exact.mean, exact.sd)
    assert "prediction[mu]" in set(fit.diagnostics["quantity"])


@pytest.mark.slow
def test_a_slope_with_bounds_agrees_with_quadrature(frame_of):
    """Three dimensions by Gauss-Legendre; a study of two bounds has a common part to sample."""
    two = {"study_id": "study 6", "kind": "interval", "lower": -0.35, "upper": 0.35}
    frame = frame_of([*ROWS[:7], two])
    data = layout(frame, vcalc)
    x = np.array([-1.0, -0.5, 0.2, 1.5, 0.0, 0.8, -0.7, -0.7])
    X, slope = np.c_[np.ones(8), x], parse_prior("normal(0,0.5)", "mu")
    made = bounded_regression(
        bounded_rows(data, frame["kind"], X), ["mu", "slope"], [MU, slope], TAU, TAU
    )
    fit = refit(made, seed=4)
    assert fit.converged

    def axis(low, high, n=24):
        node, weight = np.polynomial.legendre.leggauss(n)
        return low + (high - low) * (node + 1) / 2, weight * (high - low) / 2

    axes = [axis(-0.9, 1.7), axis(-0.9, 1.7), axis(0, 1.8), axis(0, 2.2, 16)]
    a, b, t, w = (g.ravel() for g in np.meshgrid(*(at for at, _ in axes), indexing="ij"))
    weight = np.prod(np.meshgrid(*(by for _, by in axes), indexing="ij"), axis=0).ravel()
    value = MU.logpdf(a) + slope.logpdf(b) + TAU.logpdf(t) + TAU.logpdf(w)
    for part in np.array_split(np.arange(len(a)), 40):
        mean = a[part, None] + b[part, None] * x
        wide = np.broadcast_to(t[part, None], mean.shape)
        value[part] += log_likelihood(data, mean, wide, w[part, None]).sum(axis=1)
    weight = weight * np.exp(value - value.max())
    for name, at in (("coef[mu]", a), ("coef[slope]", b), ("tau", t), ("omega", w)):
        mean = np.average(at, weights=weight)
        agrees(fit, name, mean, np.sqrt(np.average((at - mean) ** 2, weights=weight)))
