"""Selective reporting in PyMC: the exact engine's probabilities, and the term by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.block_grid import null_probability as on_a_grid
from nssi_meta.models.ops import numpy_ops
from nssi_meta.models.profiles import profile_data, profiles_model
from nssi_meta.models.reporting import reports
from nssi_meta.models.reporting_term import (
    add_reporting,
    null_nodes,
    null_probability,
    null_rows,
    reporting_key,
    reporting_values,
)
from nssi_meta.models.structure import data_nodes, pack


@pytest.fixture(scope="module")
def with_errors(frame_of):
    def frame(rows):
        made = frame_of(rows)
        return made.assign(sei=np.sqrt(made["vi"]))

    return frame


# Tables of the exact engine (1e-11) against the trapezoidal rule (1e-5 up to tau of 0.5) with one
# common part, which is the covariance but for blocks of three rows or more; measured 5e-6.
@pytest.mark.parametrize("tau", [0.05, 0.2, 0.5])
def test_the_probability_of_no_significant_row_is_the_exact_engine_s(with_errors, mixed_rows, tau):
    found = reports(with_errors(mixed_rows))
    data = found.null
    mean, omega = np.array([0.25]), np.array([0.1])
    taus = np.array([tau])
    # The term gives all pairs of a block their mean error correlation.
    blocks = data.bound_blocks
    alike = [np.full_like(e, r) for e, r in zip(blocks.errors, blocks.rho, strict=True)]
    for errors in alike:
        np.fill_diagonal(errors, 1.0)
    same = replace(data, bound_blocks=replace(blocks, errors=tuple(alike)))
    wanted = on_a_grid(same, mean, taus, omega)[0, 0, 0]
    as_it_is = on_a_grid(data, mean, taus, omega)[0, 0, 0]
    np.testing.assert_allclose(wanted, as_it_is, atol=2e-4)  # what that costs: seen 1.6e-4
    null = null_rows(found)
    at = np.full(data.k, 0.25), np.full(data.k, tau**2), 0.1**2
    terms = null_probability(null, *at, numpy_ops())
    assert data.bound_blocks is not None
    first = (null.row, null.first)
    assert sum(len(rows) for rows in first) == found.k
    for rows, (group, p) in zip(first, terms, strict=True):
        block = data.block_of_row[rows]
        np.testing.assert_allclose(p, wanted[block], atol=1e-5)
        np.testing.assert_array_equal(group, found.group[block])


def term(found, k):
    """The term at mean 0.2, tau 0.3, omega 0.1 in a model of its own."""
    values = reporting_values(found)
    with pm.Model() as model:
        null = null_nodes(data_nodes(values), values)
        add_reporting(null, pm.math.ones(k) * 0.2, pm.math.ones(k) * 0.3**2, 0.1**2)
    return model


def density(frame, w):
    """The term's value."""
    model = term(reports(frame), len(frame))
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


def test_the_reports_can_be_other_data(with_errors, mixed_rows):
    """One compiled model for many data sets: with their numbers in it, it is the other's term."""
    frame, other = with_errors(mixed_rows), with_errors(mixed_rows[3:])
    found, wanted = (reports(f) for f in (frame, other))
    model = term(found, len(frame))
    values = [reporting_values(r) for r in (found, wanted)]
    assert reporting_key(values[0]) == reporting_key(values[1])
    for name, value in pack(values[1]).items():
        model[name].set_value(value)
    w = np.array([0.3, 0.8])
    value = float(pm.do(model, {"w": w})["reported"].eval())
    assert value == pytest.approx(density(other, w), rel=1e-12)


def test_the_joint_model_has_the_term_and_a_finite_gradient(with_errors, mixed_rows):
    frame = with_errors([{**r, "condition": "worse" if i % 3 else "ill"}
                      for i, r in enumerate(mixed_rows[:9])])  # fmt: skip
    data = profile_data(frame, ("ill", "worse"), "well", vcalc)
    model = profiles_model(data, tails=4.0, reports=reports(frame)).model()
    names = {v.name for v in model.free_RVs}
    assert "w" in names
    assert "w" not in {v.name for v in profiles_model(data).model().free_RVs}
    point = model.initial_point()
    assert np.isfinite(model.compile_logp(mode="FAST_COMPILE")(point))
    assert np.isfinite(model.compile_dlogp(mode="FAST_COMPILE")(point)).all()
