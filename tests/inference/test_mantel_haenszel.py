"""Mantel-Haenszel and Peto: metafor's own test values, and identities where no number is at hand.

The rounded values are those in the tests of metafor (rma.mh and rma.peto on dat.bcg and Rothman's
example, compared there with Stata's metan and the book).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nssi_meta.inference.mantel_haenszel import rma_mh, rma_peto

_DATA = json.loads(
    (Path(__file__).parent.parent / "reference" / "metareg.json").read_text("utf-8")
)["data"]
BCG = [np.array(_DATA[c]) for c in ("tpos", "tneg", "cpos", "cneg")]


def test_peto_of_the_vaccine_trials():
    fit = rma_peto(*BCG)
    found = [round(x, 3) for x in (fit.beta, fit.ci_lb, fit.ci_ub)]
    assert found == [-0.474, -0.554, -0.395]
    assert (round(fit.zval, 2), round(fit.QE, 2)) == (-11.67, 167.73)
    without = rma_peto(*(x[1:] for x in BCG))
    assert (round(without.beta, 4), round(without.QE, 4)) == (-0.4722, 167.2005)


def test_mantel_haenszel_of_the_vaccine_trials():
    fit = rma_mh(*BCG, measure="RR")
    found = np.exp([fit.beta, fit.ci_lb, fit.ci_ub])
    np.testing.assert_allclose(found, [0.6353, 0.5881, 0.6862], atol=5e-5)
    without = rma_mh(*(x[1:] for x in BCG), measure="RR")
    found = [round(x, 4) for x in (without.beta, without.se, without.zval, without.QE)]
    assert found == [-0.4514, 0.0394, -11.4462, 151.9153]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("RD", (0.0349, -0.0176, 0.0874, 0.0017, 0.9669)),
        ("RR", (0.2818, -0.1442, 0.7078, 0.4472, 0.5037)),
        ("OR", (0.3387, -0.1731, 0.8505, 0.3474, 0.5556)),
    ],
)
def test_two_age_groups(measure, expected):
    """Rothman et al. (2008), table 15-1; 90% limits."""
    fit = rma_mh([8, 22], [98, 76], [5, 16], [115, 69], measure, level=0.9)
    found = (fit.beta, fit.ci_lb, fit.ci_ub, fit.QE, fit.QEp)
    np.testing.assert_allclose(found, expected, atol=5e-5 + 1e-9)
    if measure == "OR":
        np.testing.assert_allclose([fit.TA, fit.TAp], [0.3489, 0.5547], atol=5.1e-5)


def test_one_table_gives_its_own_effect_and_woolf_error():
    a, b, c, d = 7, 93, 21, 79
    odds, risk = rma_mh([a], [b], [c], [d]), rma_mh([a], [b], [c], [d], "RR")
    assert odds.beta == pytest.approx(np.log(a * d / (b * c)))
    assert odds.se == pytest.approx(np.sqrt(1 / a + 1 / b + 1 / c + 1 / d))
    assert risk.beta == pytest.approx(np.log(a / c))
    assert risk.se == pytest.approx(np.sqrt(1 / a - 1 / 100 + 1 / c - 1 / 100))
    assert rma_mh([a], [b], [c], [d], "RD").beta == pytest.approx((a - c) / 100)
    assert (odds.QE, odds.QEp, odds.TAp) == (0.0, 1.0, 1.0)


def test_equal_tables_are_homogeneous_and_shrink_the_error():
    a, b, c, d = (np.full(9, x) for x in (7, 93, 21, 79))
    many, one = rma_mh(a, b, c, d), rma_mh(a[:1], b[:1], c[:1], d[:1])
    assert many.beta == pytest.approx(one.beta)
    assert many.se == pytest.approx(one.se / 3)
    assert pytest.approx(0, abs=1e-12) == many.TA
    # Cochran-Mantel-Haenszel: hypergeometric mean and variance of the cases' events.
    variance = 9 * 28 * 172 * 100 * 100 / (200**2 * 199)
    assert pytest.approx((9 * (14 - 7) - 0.5) ** 2 / variance) == many.MH


def test_exchanging_the_groups_changes_the_sign():
    for measure in ("OR", "RR", "RD"):
        one = rma_mh(*BCG, measure=measure)
        other = rma_mh(BCG[2], BCG[3], BCG[0], BCG[1], measure=measure)
        assert other.beta == pytest.approx(-one.beta)
        assert other.se == pytest.approx(one.se)
        assert pytest.approx(one.QE) == other.QE
    assert rma_peto(BCG[2], BCG[3], BCG[0], BCG[1]).beta == pytest.approx(-rma_peto(*BCG).beta)


def test_tables_without_events_do_not_count():
    a, b, c, d = (np.append(x, y) for x, y in zip(BCG, (0, 50, 0, 50), strict=True))
    for function in (rma_mh, rma_peto):
        one, other = function(*BCG), function(a, b, c, d)
        assert (other.k, other.beta, other.QE) == (one.k, pytest.approx(one.beta), one.QE)


def test_bad_counts_are_named():
    with pytest.raises(ValueError, match=r"ai\[1\] = -1 is below 0"):
        rma_mh([1, -1], [1, 2], [3, 4], [5, 6])
    with pytest.raises(ValueError, match="unequal lengths"):
        rma_peto([1], [1, 2], [3, 4], [5, 6])
    with pytest.raises(ValueError, match="table 0 has an empty group"):
        rma_mh([0], [0], [3], [4])
    with pytest.raises(ValueError, match="measure='RD'"):
        rma_mh([0, 0], [9, 8], [3, 4], [5, 6])
    with pytest.raises(ValueError, match="no table has both"):
        rma_peto([0], [5], [0], [5])


def test_events_near_their_expectation():
    """metafor 3.8.1: rma.mh(ai=c(5,6), bi=c(5,7), ci=c(5,6), di=c(5,6))$MH, printed to 7 digits."""
    assert pytest.approx(0.02300737, abs=5e-9) == rma_mh([5, 6], [5, 7], [5, 6], [5, 6]).MH
