"""Regression, rank and trim-and-fill tests against metafor (tests/reference/README.md)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import nssi_meta as nm
from nssi_meta.inference.small_study import ranktest, regtest, trimfill

REFERENCE = Path(__file__).parent.parent / "reference"
_SETS = json.loads((REFERENCE / "rma.json").read_text("utf-8"))["sets"]
_BIAS = json.loads((REFERENCE / "small_study.json").read_text("utf-8"))
KEYS = list(_BIAS["results"])

#: metafor at its default tolerance of 1e-5 in tau2; measured: 5e-6, and 1e-14 where tau2 is none.
TOLERANCE = 3e-5


def _data(key):
    name = "_".join(key.split("_")[:2])
    return _SETS[name]["yi"], _SETS[name]["vi"], _BIAS["ni"][name]


def close(ours, theirs, rel=TOLERANCE):
    if theirs is None:
        assert ours is None
    else:
        np.testing.assert_allclose(ours, theirs, rtol=rel, atol=1e-9)


@pytest.mark.parametrize("key", [k for k in KEYS if "regtest" in k])
def test_regression_test(key):
    *_, model, predictor = key.split("_")
    yi, vi, ni = _data(key)
    found, expected = regtest(yi, vi, ni, model, predictor), _BIAS["results"][key]["r"]
    rel = TOLERANCE if model == "rma" else 1e-10
    for ours, theirs in (
        ("zval", "stat"), ("df", "df"), ("pval", "pval"), ("beta", "fit_beta"),
        ("est", "limit_est"), ("ci_lb", "limit_ci.lb"), ("ci_ub", "limit_ci.ub"),
    ):  # fmt: skip
        close(getattr(found, ours), expected[theirs], rel)


@pytest.mark.parametrize("key", [k for k in KEYS if "ranktest" in k])
def test_rank_test(key):
    yi, vi, _ = _data(key)
    found = ranktest(yi, vi)
    close(found.tau, _BIAS["results"][key]["tau"], 1e-12)
    close(found.pval, _BIAS["results"][key]["pval"], 1e-12)


@pytest.mark.parametrize("key", [k for k in KEYS if "trimfill" in k])
def test_trim_and_fill(key):
    *_, model, estimator, side = key.split("_")
    yi, vi, _ = _data(key)
    method = "EE" if model == "FE" else "REML"
    found, expected = trimfill(yi, vi, method, side, estimator), _BIAS["results"][key]
    assert found.k0 == expected["k0"] == len(found.yi_fill)
    close(found.se_k0, expected["se.k0"], 1e-12 if model == "FE" else TOLERANCE)
    for ours, theirs in (("beta", "beta"), ("se", "se"), ("ci_lb", "ci.lb"), ("ci_ub", "ci.ub")):
        close(getattr(found.fit, ours)[0], expected[theirs])
    close(found.fit.tau2, expected["tau2"])


def test_filled_studies_mirror_the_trimmed_ones():
    yi, vi, _ = _data("bcg_RR_x")
    left = trimfill(yi, vi, "EE", "right")
    right = trimfill([-y for y in yi], vi, "EE", "left")
    assert left.k0 == right.k0 == 4
    np.testing.assert_allclose(np.sort(left.yi_fill), np.sort(-right.yi_fill))
    chosen = trimfill(yi, vi, "EE")  # effects fall with their standard error: right
    assert chosen.side == "right"


def test_ties_and_refusals():
    # Two pairs tied in both: S = 5 of 6 pairs, var S with R's tie correction (cor.test).
    var = (4 * 3 * 13 - 18 - 18) / 18 + (2 * 2) / (2 * 4 * 3)
    expected = math.erfc(5 / math.sqrt(var) / math.sqrt(2))
    assert ranktest([1, 2, 3, 1], [0.1, 0.2, 0.3, 0.1]).pval == pytest.approx(expected)
    for function in (regtest, ranktest, trimfill):
        with pytest.raises(ValueError, match="at least 3"):
            function([1, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="all equal"):
        ranktest([1, 2, 3], [0.1] * 3)
    with pytest.raises(ValueError, match="does not vary"):
        regtest([1, 2, 3], [0.1] * 3)
    with pytest.raises(ValueError, match="needs the sample sizes"):
        regtest([1, 2, 3], [0.1, 0.2, 0.3], predictor="ninv")
    with pytest.raises(ValueError, match="allowed: L0, R0, Q0"):
        trimfill([1, 2, 3], [0.1, 0.2, 0.3], estimator="X")


def test_q0_without_a_value_is_refused():
    """One precise study with all others on its one side: metafor's Q0 is NaN there and stops."""
    yi, vi = [-2.0, -1.8, -1.5, -1.2, -1.0, -0.8, 0.06], [1.0] * 6 + [0.001]
    for side in ("right", None):
        with pytest.raises(ValueError, match=r"Q0 has no value.*'L0' or 'R0'"):
            trimfill(yi, vi, method="EE", side=side, estimator="Q0")
    assert trimfill(yi, vi, method="EE", side="left", estimator="Q0").k0 == 0


#: Effects all equal: what is left of them is rounding.
SAME, VI = [0.3] * 6, [0.03, 0.04, 0.05, 0.02, 0.1, 0.03]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ranktest(SAME, VI), "all equal"),
        (lambda: ranktest([0.1, 0.4, -0.2, 0.8], [1e-18, 0.04, 0.05, 0.02]), "is the estimate"),
        (lambda: regtest(SAME, VI, model="lm"), "exactly on a line"),
        (lambda: regtest([0.1, 0.4, -0.2], [0.04] * 3), "does not vary"),
        (lambda: nm.pet_peese(SAME, np.sqrt(VI)), "exactly on a line"),
        (lambda: nm.pet_peese([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]), "exactly on a line"),
        (lambda: nm.robust(nm.rma(SAME, VI), [1, 1, 2, 2, 3, 3]), "no robust error"),
    ],
)
def test_rounding_is_no_evidence(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_equal_effects_miss_no_study():
    """As metafor has it."""
    assert trimfill(SAME, VI).k0 == 0
