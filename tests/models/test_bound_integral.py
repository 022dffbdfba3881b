"""Integrals over the common part: closed forms, and sums over it that are as fine as needed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from nssi_meta.models import bound_integral
from nssi_meta.models.bound_integral import Factors, log_integral

NONE = np.zeros((200, 0))
#: Slopes of a factor in f, up to where tau is a thousand standard errors.
STEEP = (0.05, 0.5, 2.0, 5.0, 20.0, 1e3)


def one_sided(edges, r):
    return Factors(a=-edges * r, r=r, low=NONE, high=NONE, s=NONE)


def random_edges(steep, n, direction):
    """Edges and slopes (200, n) of n bounds of one study, which lie near each other."""
    rng = np.random.default_rng(7)
    edges = rng.normal(0.0, 2.0, (200, 1)) + rng.normal(0.0, 0.4, (200, n))
    return edges, direction * steep * np.exp(rng.normal(0.0, 0.3, (200, n)))


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("steep", STEEP)
def test_one_bound_has_a_closed_form(steep, direction):
    """E Phi(a + r f) = Phi(a / sqrt(1 + r^2)); e^-18 of the integrand is left out: 1e-7."""
    edges, r = random_edges(steep, 1, direction)
    wanted = special.log_ndtr(-edges * r / np.sqrt(1.0 + r**2))[:, 0]
    np.testing.assert_allclose(log_integral(one_sided(edges, r)), wanted, atol=1e-7)


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("steep", STEEP)
@pytest.mark.parametrize("n", [2, 5])
def test_several_bounds_on_one_side(steep, n, direction):
    """By a sum of points a twentieth of the steepest factor's width apart: 1e-7."""
    edges, r = random_edges(steep, n, direction)
    ours, f = log_integral(one_sided(edges, r)), np.arange(-12.0, 12.0, 0.05 / max(steep, 1.0))
    log_density = stats.norm.logpdf(f)
    for i in range(0, 200, 20):
        values = log_density + special.log_ndtr(r[i, :, None] * (f - edges[i, :, None])).sum(axis=0)
        wanted = special.logsumexp(values) + np.log(f[1] - f[0])
        assert ours[i] == pytest.approx(wanted, abs=1e-7)


def test_steep_bounds_on_one_side_need_few_points(monkeypatch):
    """Those of the integrand itself grow with the slope; by parts they do not."""
    edges, r = random_edges(20.0, 3, 1.0)[0], np.full((200, 3), 20.0)
    monkeypatch.setattr(bound_integral, "POINTS", (64,))

    def too_few(*args):
        raise AssertionError("no rule has enough points")

    monkeypatch.setattr(Factors, "panels", too_few)
    assert np.isfinite(log_integral(one_sided(edges, r))).all()
