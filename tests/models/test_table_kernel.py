"""Compiled log likelihood of two-by-two tables and its slopes, against what numpy reports."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nssi_meta as nm
from nssi_meta.inference.curves import study_curves
from nssi_meta.models import evidence_op
from nssi_meta.models.binomial import study_log_likelihood
from nssi_meta.models.binomial_tables import CELLS, count_tables
from nssi_meta.models.table_kernel import _spline, tables
from nssi_meta.models.two_by_two import Counts, log_likelihood

EMPTY = [(0, 15, 3, 18), (0, 9, 0, 8), (0, 1000, 7, 1000), (12, 12, 2, 30), (4, 20, 9, 21)]

COUNTS = count_tables([4, 0, 30, 0, 12], [20, 15, 90, 9, 12], [9, 3, 31, 0, 2], [21, 18, 80, 8, 30])


@pytest.mark.parametrize(
    ("mu", "tau"), [(0.0, 0.0), (-0.4, 0.3), (2.0, 1.5), (-0.3, 40.0), (25.0, 0.2)]
)
def test_tables_are_what_is_reported(mu, tau):
    def at(point):
        return tables(*point, COUNTS.centre, COUNTS.scale, COUNTS.coef)

    point = np.array([mu, tau])
    total, d_mu, d_tau = at(point)
    wanted = study_log_likelihood(COUNTS, point[:1], point[1:])
    assert wanted.shape == (1, 5)
    assert total == pytest.approx(wanted.sum(), rel=1e-12)
    # Central differences: the spline's third derivative jumps, step^2 = 1e-10 of it.
    for found, step in ((d_mu, [1e-5, 0.0]), (d_tau, [0.0, 1e-5])):
        ends = [at(point + sign * np.array(step))[0] for sign in (1, -1)]
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("tau", [0.3, 2.0, 10.0, 40.0, 300.0])
def test_a_likelihood_that_stays_up_is_followed_as_far_as_tau_goes(tau):
    """Against the exact engine's panels and truncated normals; 1e-4 is the spline's error."""
    data = Counts(*(np.array(x, dtype=float) for x in zip(*EMPTY, strict=True)))
    made = count_tables(*data[:2], *data[2:])
    mu = np.array([-3.0, 0.0, 3.0])
    ours = study_log_likelihood(made, mu, np.full(3, tau))
    wanted = [c.integrals(mu, np.full(3, tau))[0] for c in study_curves(data, 0.0, 10.0)]
    assert ours == pytest.approx(np.transpose(wanted), abs=1e-4)


def test_the_spline_is_as_near_as_it_says():
    """1e-4 within five standard errors, and a likelihood below 1 that falls as far as it goes."""
    rows = [(500, 1000, 400, 1000), (12, 12, 2, 30), (4, 20, 9, 21), (1, 100000, 0, 3)]
    data = Counts(*(np.array(x, dtype=float) for x in zip(*rows, strict=True)))
    made = count_tables(*data)
    for i in range(4):
        z = np.linspace(-5, 5, 301)
        theta = made.centre[i] + made.scale[i] * z
        found = [_spline(x, i * CELLS, made.coef)[0] for x in z]
        assert found == pytest.approx(log_likelihood(data.one(i), theta, 0.0, 10.0), abs=1e-4)
        far = np.array([_spline(x, i * CELLS, made.coef)[0] for x in np.linspace(-600, 600, 999)])
        assert far.max() < 0
        assert np.diff(far, 2).max() < 1e-3  # no ringing: the slope of a log likelihood only falls


def test_the_log_likelihood_has_no_second_derivatives():
    """Refused, where what the loops do not tell would count as 0."""
    rows = pd.DataFrame({"yi": [0.1, 0.5, -0.2, 0.9], "vi": [0.04, 0.05, 0.1, 0.02]})
    model = nm.regression(**nm.model_rows(rows, vi="vi").exact).model()
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        model.compile_d2logp(negate_output=False)


def test_machine_code_on_disk_is_known_by_all_that_it_was_made_of():
    """Whatever module a loop takes numbers or functions from."""
    held = {m.__name__ for m in evidence_op._MODULES}
    for module in evidence_op._MODULES:
        if not module.__name__.endswith("_kernel"):
            continue
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        taken = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        ours = {name for name in taken if name and name.startswith("nssi_meta")}
        assert ours - {"nssi_meta.models.blocks"} <= held, module  # of which a name of a type
