"""Priors far narrower than the data's errors are not stepped over: the posterior is the prior."""

from __future__ import annotations

import numpy as np
import pytest

INF = np.inf


def bound(low, high):
    return {"kind": "interval", "lower": low, "upper": high}


@pytest.mark.parametrize("scale", [1e-8, 1e-12, 1e-80])
@pytest.mark.parametrize(
    ("prior", "median"),
    [("halfnormal", 0.6744897501960817), ("halfcauchy", 1.0), ("exponential", np.log(2))],
)
def test_a_prior_far_narrower_than_the_errors_is_not_stepped_over(fit, prior, median, scale):
    """The data say nothing at such a tau: its posterior is its prior (1e-5: far tails)."""
    rows = [{"yi": 0.3, "vi": 0.05}, {"yi": 0.1, "vi": 0.05}, {"yi": 0.7, "vi": 0.02}]
    for data in (rows, [*rows, bound(0.4, INF)]):
        posterior = fit(data, tau=f"{prior}({scale!r})")
        assert posterior.tau_density.quantile(0.5) == pytest.approx(scale * median, rel=1e-5)


@pytest.mark.parametrize("prior", ["normal({},{})", "student_t(5,{},{})"])
@pytest.mark.parametrize("centre", [0.3, 1.2345, -5.0])
@pytest.mark.parametrize("sd", [1e-5, 1e-7])
def test_a_mean_that_is_next_to_known_stays_where_it_is(fit, prior, centre, sd):
    """The data move it by sd^2 times their slope, below 1e-3 sd here (slope below 100)."""
    rows = [{"yi": 0.3, "vi": 0.05}, {"yi": 0.1, "vi": 0.05}, bound(0.4, INF), bound(-0.5, 0.5)]
    posterior = fit(rows, mu=prior.format(centre, sd))
    assert posterior.mu.quantile(0.5) == pytest.approx(centre, abs=2e-3 * sd)
