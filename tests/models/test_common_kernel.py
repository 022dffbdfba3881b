"""The common part f as a function of what is sampled: the same integral of a smoother density."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pymc as pm
import pytest
from pytensor.compile.mode import Mode
from scipy import special

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import common_part, layout
from nssi_meta.models.bound_blocks import common_and_rest
from nssi_meta.models.common_kernel import (
    backward,
    forward,
    loads,
    loads_back,
    moments,
    room_for,
)
from nssi_meta.models.common_variable import as_told
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import layout_nodes, layout_values
from nssi_meta.models.likelihood import log_interval
from nssi_meta.models.row_kernel import compiled
from nssi_meta.models.structure import data_nodes

INF, SE, RHO = np.inf, 0.2, 0.6
_X, _W = np.polynomial.legendre.leggauss(12)


def bound(low, high, vi=SE**2):
    return {"kind": "interval", "lower": low, "upper": high, "vi": vi}


def effect(y, vi=SE**2, kind="exact"):
    return {"yi": y, "vi": vi, "kind": kind}


LAYOUTS = {
    "two above": [bound(0.4, INF), bound(0.3, INF, 0.06)],
    "two below": [bound(-INF, -0.3, 0.02), bound(-INF, -0.5)],
    "four above": [bound(0.4, INF), bound(0.1, INF, 0.06), bound(0.4, INF), bound(0.6, INF, 0.09)],
    "both sides": [bound(0.4, INF), bound(-INF, -0.35)],
    "both sides overlapping": [bound(-0.2, INF), bound(-INF, 0.5, 0.03)],
    "more on one side": [bound(0.1, INF), bound(-INF, 0.3), bound(0.2, INF, 0.05)],
    "intervals": [bound(-0.4, 0.4), bound(-0.5, 0.5, 0.06)],
    "an interval beside a bound": [bound(-0.4, 0.4), bound(0.3, INF, 0.05)],
    "an effect beside a bound": [effect(0.5), bound(0.4, INF)],
    "an effect beside bounds of both sides": [effect(0.1), bound(-0.3, INF), bound(-INF, 0.4)],
    "effects beside an interval": [effect(0.5), effect(0.1, 0.06), bound(-0.4, 0.4)],
    "an effect against a bound": [effect(0.45), bound(-INF, -0.3)],
    "an effect far from its bound": [effect(-0.8), bound(0.4, INF)],
    "an effect far from its bounds": [effect(-0.8), bound(0.4, INF), bound(0.2, INF, 0.03)],
    "an interval against bounds": [bound(-0.2, 0.2, 0.02), bound(0.7, INF), bound(0.9, INF)],
    "a size beside a bound": [effect(0.5, kind="unsigned"), bound(0.4, INF)],
    "a size short of its bound": [effect(0.1, kind="unsigned"), bound(0.9, INF)],
    "a size that is negative": [effect(0.8, 0.02, "unsigned"), bound(-0.1, INF), bound(0.2, INF)],
    "sizes beside an interval": [
        effect(0.3, kind="unsigned"), effect(0.6, 0.06, "unsigned"), bound(-0.4, 0.4)
    ],
    "one of everything": [
        effect(0.3), effect(0.2, 0.05, "unsigned"), bound(-0.4, 0.4), bound(-INF, 0.6, 0.03)
    ],
}  # fmt: skip
#: Standard errors.
TAUS = (1e-3, 0.1, 1.0, 3.0, 10.0, 100.0, 1e3)
#: Means in units of the SD of an effect around them.
MEANS = (-8.0, -3.0, -1.0, 0.0, 0.5, 2.0, 6.0)
OMEGAS = (0.0, 0.15)


@pytest.fixture(scope="module")
def told_of(frame_of):
    def told(rows):
        frame = frame_of([{"study_id": "S", "sample_id": "s", **row} for row in rows])
        data, kind = layout(frame, vcalc, RHO), frame["kind"].to_numpy()
        common = data.bound_blocks
        assert len(common.rows) == 1
        return data, kind, common, as_told(data, kind, common)

    return told


def study_of(told, mean, load, own):
    """One study as `common_kernel` takes it, and the side of its bounds."""
    study = room_for(len(mean))
    for name in ("y", "extra", "effect", "sign", "share", "walled"):
        getattr(study, name)[:] = told[name][:, 0]
    study.mean[:], study.load[:], study.own[:] = mean, load, own
    return study, float(told["side"][0])


@compiled
def part_of(study, side, g):
    """f and the log of its slope at g (N,)."""
    out = np.empty((2, len(g)))
    says = moments(study, len(study.y), side)
    for i in range(len(g)):
        out[0, i], out[1, i] = forward(says, side, g[i])
    return out


def panels(edges):
    """Nodes and weights of Gauss-Legendre on each piece between sorted edges."""
    low, high = edges[:-1, None], edges[1:, None]
    half = (high - low) / 2
    return ((high + low) / 2 + half * _X).ravel(), (half * _W).ravel()


def log_density_given(data, kind, rows, mean, load, own, f):
    """log of the standard normal density of f and of the rows' given f, all at f (N,)."""
    out = -0.5 * f**2 - 0.5 * np.log(2 * np.pi)
    for i, m, slope, variance in zip(rows, mean, load, own, strict=True):
        centre, sd = m + slope * f, np.sqrt(variance)
        low, high, y = (a[i] for a in (data.lower, data.upper, data.y))
        if kind[i] != "interval":
            logs = [-0.5 * ((s * y - centre) / sd) ** 2 for s in (1.0, -1.0)]
            both = np.logaddexp(*logs) if kind[i] == "unsigned" else logs[0]
            out = out + both - np.log(sd) - 0.5 * np.log(2 * np.pi)
        elif np.isinf(low) or np.isinf(high):
            out = out + special.log_ndtr((high - centre if np.isinf(low) else centre - low) / sd)
        else:
            out = out + log_interval((low - centre) / sd, (high - centre) / sd)
    return out


def log_integral(values, weights):
    top = values.max()
    return top + np.log(weights @ np.exp(values - top))


def edges_of_f(data, rows, mean, load, own):
    """Where pieces of f end: 0.1 apart, and as fine as needed where a row tells its own."""
    ends = np.concatenate([[data.y[i], -data.y[i], data.lower[i], data.upper[i]] for i in rows])
    ends = ends[np.isfinite(ends)]
    near = ((ends[:, None] - mean) / load).ravel(), np.tile(np.sqrt(own) / load, len(ends))
    fine = np.minimum(near[1], 1.0)[:, None] * np.arange(-14, 14.1, 0.5)
    edges = np.concatenate([np.arange(-60, 60.05, 0.1), (near[0][:, None] + fine).ravel()])
    return np.unique(edges[np.abs(edges) <= 60])


def edges_of_g(edges, part):
    """The same of g: where f as a function `part` of it is at the edges, and more."""
    wide = [np.arange(-80, -20, 0.5), np.arange(-20, 20, 0.05), np.arange(20, 80.1, 0.5)]
    g = np.concatenate(wide)
    f = part(g)[0]
    rising = np.argsort(f, kind="stable")
    inside = edges[(edges > f.min()) & (edges < f.max())]
    return np.unique(np.concatenate([g, np.interp(inside, f[rising], g[rising])]))


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_integral_over_what_is_sampled_is_that_over_the_common_part(told_of, name):
    """f is standard normal, whatever it is a function of: 1e-7 of the integral."""
    data, kind, common, told = told_of(LAYOUTS[name])
    rows = common.rows[0]
    v, found, at = data.v[rows], [], []
    for tau, where, omega in ((t * SE, m, o) for t in TAUS for m in MEANS for o in OMEGAS):
        mean = where * np.hypot(tau, SE) + np.linspace(-0.1, 0.1, len(rows))
        load2 = common_part(np.array([tau**2]), v[None], common.mask, common.rho, np.sqrt)[0]
        load, own = np.sqrt(load2), np.maximum(tau**2 - load2, (1e-12 - 1) * v) + v + omega**2
        given, part = (
            (data, kind, rows, mean, load, own),
            partial(part_of, *study_of(told, mean, load, own)),
        )
        edges = edges_of_f(data, rows, mean, load, own)
        f, weights = panels(edges)
        wanted = log_integral(log_density_given(*given, f), weights)
        g, weights = panels(edges_of_g(edges, part))
        f, log_slope = part(g)
        ours = log_integral(log_density_given(*given, f) + log_slope, weights)
        found.append(ours - wanted)
        at.append(f"tau {tau:g}, means {mean}, omega {omega}")
    worst = np.argmax(np.abs(found))
    assert abs(found[worst]) < 1e-7, f"{found[worst]} at {at[worst]}"


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_is_a_monotone_function_of_what_is_sampled_and_finite_far_out(told_of, name):
    """Rising, seen from its bounds' side; tau 0 to 1e8 standard errors, means up to a million."""
    data, _, common, told = told_of(LAYOUTS[name])
    v, g = data.v[common.rows[0]], np.linspace(-9, 9, 37)
    for tau in SE * np.array([0.0, 1e-6, 1e-2, 1.0, 1e2, 1e5, 1e8]):
        load2 = common_part(np.array([tau**2]), v[None], common.mask, common.rho, np.sqrt)[0]
        load, own = np.sqrt(load2), np.maximum(tau**2 - load2, (1e-12 - 1) * v) + v
        for mean in SE * np.array([-1e6, -1e3, -30.0, 0.0, 1.0, 300.0, 1e5]):
            f, log_slope = part_of(*study_of(told, np.full(len(v), mean), load, own), g)
            assert np.isfinite(f).all()
            assert np.isfinite(log_slope).all()
            assert (np.diff(f) * told["side"] >= 0).all()


@pytest.mark.parametrize("name", [name for name in LAYOUTS if "sizes" not in name])
def test_what_is_sampled_has_one_width_whatever_tau_is(told_of, name):
    """Else the sampler's steps, which one width sets, are too long or too short for others. (Sizes
    beside an interval may have either sign: two peaks, apart.)"""
    data, kind, common, told = told_of(LAYOUTS[name])
    v, rows, g = data.v[common.rows[0]], common.rows[0], np.arange(-40, 40, 0.01)
    for tau in SE * np.array([0.1, 1.0, 10.0, 100.0, 1e3]):
        mean = np.full(len(v), 0.1)
        load2 = common_part(np.array([tau**2]), v[None], common.mask, common.rho, np.sqrt)[0]
        load, own = np.sqrt(load2), np.maximum(tau**2 - load2, (1e-12 - 1) * v) + v
        f, log_slope = part_of(*study_of(told, mean, load, own), g)
        log_p = log_density_given(data, kind, rows, mean, load, own, f) + log_slope
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        width = np.sqrt(p @ (g - p @ g) ** 2)
        assert 0.5 < width < 2.0, f"{width} at tau {tau}"


@pytest.mark.parametrize("name", LAYOUTS)
def test_slopes_are_those_of_the_value(told_of, name):
    """By g, mean, load and own variance of 0.7 f + log slope; central differences, 1e-6 of both."""
    data, _, common, told = told_of(LAYOUTS[name])
    v = data.v[common.rows[0]]
    n = len(v)

    def value(x):
        f, log_slope = part_of(*study_of(told, *x[:-1].reshape(3, n)), x[-1:])[:, 0]
        return 0.7 * f + log_slope

    for tau, where, g in itertools.product((0.1, 1.0, 10.0), (-3.0, 0.3, 4.0), (-2.0, 3.0)):
        mean = where * SE * np.hypot(tau, 1.0) + np.linspace(-0.1, 0.1, n)
        load2 = common_part(np.array([(SE * tau) ** 2]), v[None], common.mask, common.rho, np.sqrt)[
            0
        ]
        own = np.maximum((SE * tau) ** 2 - load2, (1e-12 - 1) * v) + v + 0.01
        point = np.r_[mean, np.sqrt(load2), own, g]
        study, side = study_of(told, *point[:-1].reshape(3, n))
        slopes = study.d_mean, study.d_load, study.d_own
        for array in slopes:
            array[:] = 0.0
        d_g = backward(study, n, moments(study, n, side), side, g, 0.7)
        for i, slope in enumerate([*np.concatenate(slopes), d_g]):
            step = 1e-6 * max(abs(point[i]), 0.01)
            ends = [value(point + s * np.eye(len(point))[i]) for s in (step, -step)]
            wanted = (ends[0] - ends[1]) / (2 * step)
            assert slope == pytest.approx(wanted, rel=1e-5, abs=1e-4 * max(1.0, abs(d_g)))


def loads_of(v, t2, rho):
    """A study with its loads under tau squared, and what `loads` returns."""
    study = room_for(len(v))
    study.v[:] = v
    return study, loads(study, len(v), t2, rho)


def test_loads_of_a_study_and_their_slope():
    """As numpy's, two of four variances equal; slopes by tau squared."""
    v, rho = np.array([0.04, 0.09, 0.02, 0.04]), 0.6
    d_load, d_own = np.array([0.3, -0.7, 1.1, 0.5]), np.array([0.4, 0.9, -0.2, -0.6])
    for t2 in (0.0, 1e-6, 0.05, 40.0, 1e12):
        study, (lacks, d_lacks) = loads_of(v, t2, rho)
        several = np.ones((1, 4)), np.array([rho])
        wanted = common_part(np.array([t2]), v[None], *several, np.sqrt)[0]
        np.testing.assert_allclose(study.load**2, wanted, rtol=1e-13)
        load2, rest = common_and_rest(np.array([[t2]]), v[None], *several, np.zeros(1))
        np.testing.assert_allclose(load2[0, 0], wanted, rtol=1e-13)
        np.testing.assert_allclose(study.own, rest[0, 0], rtol=1e-12)
        step = 1e-6 * max(t2, 0.01)
        ends = []
        for shift in (2 * step, step, 0.0):
            at = loads_of(v, t2 + shift, rho)[0]
            ends.append((at.load * d_load).sum() + (at.own * d_own).sum())
        study.d_load[:], study.d_own[:] = d_load, d_own
        slope = loads_back(study, 4, t2, rho, lacks, d_lacks)
        one_sided = (4 * ends[1] - ends[0] - 3 * ends[2]) / (2 * step)
        assert slope == pytest.approx(one_sided, rel=1e-6)


def test_what_the_common_part_leaves_is_no_difference():
    """Under a tau of a million standard errors: its limit for equal and for unequal variances."""
    study, _ = loads_of(np.array([1.0, 1.0]), 1e12, 0.6)
    assert study.own == pytest.approx([0.4, 0.4], rel=1e-9)
    study, _ = loads_of(np.array([1.0, 4.0]), 1e12, 0.6)
    # rho (s_1 - s_2)^2 / 2 of tau^2 is in neither's common part.
    assert study.own == pytest.approx([0.4 + 0.3, 1.6 + 0.3], rel=1e-9)


def test_studies_are_independent_and_those_not_needed_normal(frame_of):
    """Three studies, room for four: given all else the log density is a sum over them."""
    some = ("two above", "both sides", "an effect beside a bound")
    rows = [{"study_id": n, "sample_id": n, **row} for n in some for row in LAYOUTS[n]]
    frame = frame_of(rows)
    data = layout(frame, vcalc, RHO)
    with pm.Model() as model:
        values = layout_values(data, frame["kind"].to_numpy(), {"one": np.ones(data.k)})
        nodes = data_nodes(values)
        one = nodes["one"]
        add_evidence(layout_nodes(nodes, values), 0.2 * one, 0.3**2 * one, 0.1**2)
    logp = model.compile_logp(mode=Mode("py", "fast_compile"))

    def value(g):
        return float(logp({"g": np.array(g, dtype=float)}))

    none, g = value(np.zeros(4)), np.array([0.7, -1.2, 0.4, 1.5])
    each = [value(x * unit) - none for x, unit in zip(g, np.eye(4), strict=True)]
    # What is not needed is g - 1e3 + 1e3: 1e-13 of the two.
    assert value(g) - none == pytest.approx(sum(each), abs=1e-11)
    assert each[3] == pytest.approx(-0.5 * g[3] ** 2, abs=1e-11)
    assert min(abs(x) for x in each) > 0.01
