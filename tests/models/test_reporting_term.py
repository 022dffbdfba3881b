"""Selective reporting in PyMC: the exact engine's probabilities, and the term by hand."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.block_grid import null_probability as on_a_grid
from nssi_meta.models.ops import numpy_ops
from nssi_meta.models.profiles import profile_data, profiles_model
from nssi_meta.models.reporting import reports
from nssi_meta.models.reporting_term import add_reporting, n_silent, null_probability


@pytest.fixture(scope="module")
def with_errors(frame_of):
    def frame(rows):
        made = frame_of(rows)
        return made.assign(sei=np.sqrt(made["vi"]))

    return frame


# Trapezoidal rule against adaptive Gauss-Legendre, whose own error is 2e-5 in the log.
@pytest.mark.parametrize("tau", [0.05, 0.2, 0.5])
def test_the_probability_of_no_significant_row_is_the_exact_engine_s(with_errors, mixed_rows, tau):
    found = reports(with_errors(mixed_rows))
    data = found.null
    mean, omega = np.array([0.25]), np.array([0.1])
    taus = np.array([tau])
    wanted = on_a_grid(found.null, mean, taus, omega)[0, 0, 0]
    terms = null_probability(data, np.full(data.k, 0.25), np.full(data.k, tau), 0.1**2, numpy_ops())
    assert sum(len(first) for first, _ in terms) == found.k
    assert data.bound_blocks is not None
    for first, p in terms:
        np.testing.assert_allclose(p, wanted[data.block_of_row[first]], atol=5e-5)


def density(frame, w):
    """The term's value at mean 0.2, tau 0.3, omega 0.1."""
    with pm.Model() as model:
        k = len(frame)
        add_reporting(reports(frame), pm.math.ones(k) * 0.2, pm.math.ones(k) * 0.3, 0.1)
    return float(pm.do(model, {"w": np.asarray(w)})["reported"].eval())


def test_the_term_by_hand(with_errors):
    """One significant and one null report from abstracts, one null report from elsewhere."""
    frame = with_errors([{"yi": 0.9}, {"yi": 0.1}, {"yi": 0.05}])
    frame["seen_in"] = ["abstract", "abstract", "fulltext"]
    limit = reports(frame).null.upper
    sd = np.sqrt(0.04 + 0.3**2 + 0.1**2)
    p = stats.norm.cdf(limit, 0.2, sd) - stats.norm.cdf(-limit, 0.2, sd)
    w = np.array([0.3, 0.8])
    wanted = np.log(w).sum() - np.log1p(-(1 - w[[0, 0, 1]]) * p).sum()
    assert density(frame, w) == pytest.approx(wanted, rel=1e-10)
    assert density(frame, [1.0, 1.0]) == pytest.approx(0.0, abs=1e-14)


def test_the_number_of_silent_reports_can_be_other_data(with_errors):
    """One compiled model for many data sets: with their numbers in it, it is the other's term."""
    frame = with_errors([{"yi": 0.9}, {"yi": 0.1}, {"yi": 0.05}])
    other = with_errors([{"yi": 0.1}, {"yi": 0.1}, {"yi": 0.05}])
    with pm.Model() as model:
        mean, tau = pm.math.ones(3) * 0.2, pm.math.ones(3) * 0.3
        add_reporting(reports(frame), mean, tau, 0.1, mutable=True)
    assert model["n_silent"].get_value().tolist() == [2.0, 0.0]
    model["n_silent"].set_value(n_silent(reports(other)))
    w = np.array([0.3, 0.8])
    value = float(pm.do(model, {"w": w})["reported"].eval())
    assert value == pytest.approx(density(other, w), rel=1e-12)


def test_the_joint_model_has_the_term_and_a_finite_gradient(with_errors, mixed_rows):
    frame = with_errors([{**r, "condition": "worse" if i % 3 else "ill"}
                      for i, r in enumerate(mixed_rows[:9])])  # fmt: skip
    data = profile_data(frame, ("ill", "worse"), "well", vcalc)
    model = profiles_model(data, tails=4.0, reports=reports(frame))
    names = {v.name for v in model.free_RVs}
    assert {"w", "mixing"} <= names
    assert not {"w", "mixing"} & {v.name for v in profiles_model(data).free_RVs}
    point = model.initial_point()
    assert np.isfinite(model.compile_logp(mode="FAST_COMPILE")(point))
    assert np.isfinite(model.compile_dlogp(mode="FAST_COMPILE")(point)).all()
