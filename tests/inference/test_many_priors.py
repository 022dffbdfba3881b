"""Many priors on one grid: the numbers of one fit each, within the tolerance of the quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference import many_priors
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.many_priors import fit_priors
from nssi_meta.models.blocks import layout
from nssi_meta.models.priors import PriorError, parse_prior
from nssi_meta.synthesis.pooled import comparable_rows

INF = np.inf
ROWS = [
    {"yi": 0.6},
    {"yi": 0.1, "vi": 0.02},
    {"kind": "interval", "lower": 0.5, "upper": INF},
    {"kind": "interval", "lower": -0.3, "upper": 0.3, "vi": 0.02},
]
OMEGA = parse_prior("halfnormal(0.5)", "tau")
MUS = ("normal(0,1)", "normal(0,0.1)", "student_t(3,0,1)")
TAUS = ("halfnormal(0.5)", "halfcauchy(0.5)", "uniform(0,2)", "logt2(4,-2,1)", "zero")


def pairs(mus=MUS, taus=TAUS):
    return [(parse_prior(mu, "mu"), parse_prior(tau, "tau")) for mu in mus for tau in taus]


def alone(data, mu, tau, omega=None):
    return fit_exact(data, mu_prior=mu, tau_prior=tau, omega_prior=omega).mu


@pytest.fixture(scope="module")
def with_blocks(review):
    """A pool with single bounds, exact rows and a study of two bounds."""
    evidence = read_effects(review).select(mechanism="reflex", condition="alpha")
    found = layout(comparable_rows(evidence), vcalc)
    assert found.bound_blocks is not None
    return found


def far(one, other):
    """The largest difference in units of the posterior's SD."""
    gaps = [one.quantile(p) - other.quantile(p) for p in (0.025, 0.25, 0.5, 0.975)]
    return max(map(abs, gaps)) / other.sd


def test_on_two_axes_each_is_the_fit_alone(layout_of):
    """1e-6 is the tolerance of both grids; an SD's share of it is what a quantile moves."""
    data = layout_of(ROWS)
    for (mu, tau), found in zip(pairs(), fit_priors(data, pairs()), strict=True):
        assert far(found, alone(data, mu, tau)) < 1e-6, (str(mu), str(tau))


def test_on_three_axes_each_is_the_fit_alone(with_blocks):
    """2e-3 of the density is the tolerance of both grids, in panels that are few and far out."""
    some = pairs(MUS[::2], TAUS[:2])
    for (mu, tau), found in zip(some, fit_priors(with_blocks, some, OMEGA), strict=True):
        assert far(found, alone(with_blocks, mu, tau, OMEGA)) < 1e-3, (str(mu), str(tau))


def test_exact_rows_alone_are_pooled_in_closed_form(layout_of):
    data = layout_of(ROWS[:2])
    (mu, tau), *_ = pairs()
    found = fit_priors(data, pairs(MUS[:2], TAUS[:2]))[0]
    assert found.quantile(0.3) == alone(data, mu, tau).quantile(0.3)


def test_a_pair_without_a_posterior_says_so_in_its_place(layout_of):
    data = layout_of(ROWS[:1] + ROWS[2:])
    some = pairs(("normal(0,1)", "flat"), ("halfnormal(0.5)", "flat"))
    found = fit_priors(data, some)
    assert [isinstance(one, PriorError) for one in found] == [False, True, False, True]
    assert far(found[2], alone(data, *some[2])) < 1e-6


def test_one_that_has_no_share_of_the_grid_is_computed_alone(layout_of, monkeypatch):
    data, asked = layout_of(ROWS), []
    monkeypatch.setattr(many_priors, "_LEAST_SHARE", 1e9)
    plainly = many_priors.fit_exact
    monkeypatch.setattr(
        many_priors, "fit_exact", lambda *a, **k: (asked.append(1), plainly(*a, **k))[1]
    )
    some = pairs(MUS[:2], TAUS[:2])
    found = fit_priors(data, some)
    assert len(asked) == len(some)
    assert found[0].quantile(0.5) == alone(data, *some[0]).quantile(0.5)


def test_rows_are_looked_at_once_for_all(layout_of, monkeypatch):
    """Not a timing: nodes at which the likelihood is evaluated, 15 priors against one."""
    data, nodes = layout_of(ROWS), []
    call = many_priors.OnGrid.__call__
    monkeypatch.setattr(
        many_priors.OnGrid,
        "__call__",
        lambda self, *a: (lambda v: (nodes.append(v.size), v)[1])(call(self, *a)),
    )
    fit_priors(data, pairs(MUS, TAUS[:1]))
    few = sum(nodes)
    nodes.clear()
    fit_priors(data, pairs(MUS, [f"halfnormal({s})" for s in (0.5, 0.45, 0.4, 0.35, 0.3)]))
    assert sum(nodes) < 1.5 * few
