"""Compiled log likelihood of two-by-two tables and its slopes, against what numpy reports."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.models.binomial import _SINH, _WEIGHT, study_log_likelihood
from nssi_meta.models.binomial_tables import count_tables
from nssi_meta.models.table_kernel import tables

COUNTS = count_tables([4, 0, 30, 0, 12], [20, 15, 90, 9, 12], [9, 3, 31, 0, 2], [21, 18, 80, 8, 30])


@pytest.mark.parametrize(
    ("mu", "tau"), [(0.0, 0.0), (-0.4, 0.3), (2.0, 1.5), (-0.3, 40.0), (25.0, 0.2)]
)
def test_tables_are_what_is_reported(mu, tau):
    def at(point):
        return tables(*point, COUNTS.centre, COUNTS.scale, COUNTS.coef, _SINH, _WEIGHT)

    point = np.array([mu, tau])
    total, d_mu, d_tau = at(point)
    wanted = study_log_likelihood(COUNTS, point[:1], point[1:])
    assert wanted.shape == (1, 5)
    assert total == pytest.approx(wanted.sum(), rel=1e-12)
    # Central differences: the spline's third derivative jumps, step^2 = 1e-10 of it.
    for found, step in ((d_mu, [1e-5, 0.0]), (d_tau, [0.0, 1e-5])):
        ends = [at(point + sign * np.array(step))[0] for sign in (1, -1)]
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-7)
