"""Classical meta-analysis against metafor (tests/reference/README.md), and its refusals."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference import heterogeneity as het
from nssi_meta.inference.frequentist import confint, predict, rma, vif
from nssi_meta.inference.tests_and_limits import table
from nssi_meta.inference.weighted import design

REFERENCE = Path(__file__).parent.parent / "reference"
_SETS = json.loads((REFERENCE / "rma.json").read_text("utf-8"))["sets"]
_REG = json.loads((REFERENCE / "metareg.json").read_text("utf-8"))
_ROOTS = json.loads((REFERENCE / "tau2_roots.json").read_text("utf-8"))
FITS = [(name, i) for name, data in _SETS.items() for i in range(len(data["fits"]))]

#: Relative. The reference iterates to 1e-12 and prints 15 digits; measured: 3e-12.
CLOSE = 1e-10
#: Meta-regression on a year: metafor's own digits end here; measured: 4e-10.
REGRESSION = 1e-8

_SCALARS = {
    "tau2": "tau2", "tau": "tau", "I2": "I2", "H2": "H2", "QE": "QE", "QEp": "QEp",
    "logLik": "logLik", "AIC": "AIC", "BIC": "BIC", "AICc": "AICc",
}  # fmt: skip
_COEFFICIENTS = {
    "beta": "beta", "se": "se", "zval": "stat", "pval": "pval", "ci_lb": "ci.lb", "ci_ub": "ci.ub",
}  # fmt: skip


def close(ours, theirs, rel=CLOSE):
    np.testing.assert_allclose(ours, theirs, rtol=rel, atol=rel * 1e-3)


@pytest.mark.parametrize(
    ("name", "i"), FITS, ids=[f"{n}-{_SETS[n]['fits'][i]['method']}-{i}" for n, i in FITS]
)
def test_pool_agrees_with_metafor(name, i):
    data, theirs = _SETS[name], _SETS[name]["fits"][i]
    fit = rma(data["yi"], data["vi"], method=theirs["method"], test=theirs["test"])
    for ours, key in _COEFFICIENTS.items():
        close(getattr(fit, ours)[0], theirs[key])
    for ours, key in _SCALARS.items():
        close(getattr(fit, ours), theirs[key])
    if theirs["se.tau2"] is None:
        assert fit.se_tau2 is None
    else:
        close(fit.se_tau2, theirs["se.tau2"])
    row = predict(fit).iloc[0]
    for ours, key in (("pi", "pi"), ("pi_riley", "pi_riley")):
        for end in ("lb", "ub"):
            expected = theirs[f"{key}.{end}"]
            close(row[f"{ours}_{end}"], np.nan if expected is None else expected)


@pytest.mark.parametrize("name", ["bcg_RR", "dorn2007_RR", "normand1999_SMD"])
def test_intervals_of_tau2_agree(name):
    data, checked = _SETS[name], 0
    for theirs in data["fits"]:
        fit = rma(data["yi"], data["vi"], method=theirs["method"])
        for row, values in theirs.get("confint_Qprofile", {}).items():
            close(confint(fit).loc[row], values, 1e-7)  # metafor's root, not ours
            checked += 1
        if theirs.get("confint_profilelik_tau2"):
            close(confint(fit, "PL").loc["tau2"], theirs["confint_profilelik_tau2"], 1e-5)
            checked += 1
    assert checked >= 5


def test_q_profile_is_not_capped_at_100():
    """metafor searches tau2 up to 100 unless told otherwise and prints 100 here."""
    from scipy.special import chdtri

    data = _SETS["rubin1981"]
    high = confint(rma(data["yi"], data["vi"])).loc["tau2", "ci_ub"]
    capped = [f["confint_Qprofile"]["tau2"][2] for f in data["fits"] if "confint_Qprofile" in f]
    assert set(capped) == {100}
    assert high > 100
    q = het.generalised_q(design(data["yi"], data["vi"]), high)
    assert q == pytest.approx(float(chdtri(7, 0.975)), rel=1e-12)


def _moderators(key: str, data: pd.DataFrame) -> dict:
    alloc = pd.get_dummies(data["alloc"], dtype=float)
    if "nointercept" in key:
        return {"X": alloc[["alternate", "random", "systematic"]], "intercept": False}
    two = alloc[["random", "systematic"]]
    if "alloc_x" in key:
        return {"X": np.c_[two, data["ablat"], two.mul(data["ablat"], axis=0)]}
    if "alloc" in key:
        return {"X": two}
    if "subgroup" in key:
        return {}
    *_, method, test = key.split("_")
    columns = ["ablat", "year"] if "year" in key else ["ablat"]
    return {"X": data[columns], "method": method, "test": test}


@pytest.mark.parametrize("key", [k for k, v in _REG["results"].items() if "fit" in v])
def test_meta_regression_agrees_with_metafor(key):
    data = pd.DataFrame(_REG["data"])
    bcg = _SETS["bcg_RR"]
    rows = np.ones(len(data), dtype=bool)
    if "subgroup" in key:
        rows = (data["alloc"] == key.split("_")[2]).to_numpy()
    y, v = np.array(bcg["yi"])[rows], np.array(bcg["vi"])[rows]
    options = _moderators(key, data)
    fit, theirs = rma(y, v, **options), _REG["results"][key]["fit"]
    # metafor's Paule-Mandel root stops at a tolerance of 1e-4 (see the tests of roots).
    rel = 5e-4 if options.get("method") == "PM" else REGRESSION
    for ours, name in _COEFFICIENTS.items():
        np.testing.assert_allclose(getattr(fit, ours), theirs[name], rtol=rel, atol=rel * 1e-2)
    for ours in ("tau2", "I2", "H2", "R2", "QE", "QM", "QMp", "logLik", "AIC", "BIC", "vb"):
        if theirs.get(ours) is not None:
            close(getattr(fit, ours), theirs[ours], rel)
    assert [x for x in fit.QMdf if x is not None] == [x for x in theirs["QMdf"] if x is not None]
    if "predict" in _REG["results"][key]:
        expected = _REG["results"][key]["predict"]
        found = predict(fit, np.c_[np.ones(3), expected["ablat"]])
        for name in ("pred", "se", "ci.lb", "ci.ub", "pi.lb", "pi.ub"):
            wanted = np.array(expected[name], dtype=float)  # None, without heterogeneity, is NaN
            close(found[name.replace(".", "_")], wanted, rel)


def test_variance_inflation_agrees_with_metafor():
    data, bcg = pd.DataFrame(_REG["data"]), _SETS["bcg_RR"]
    found = vif(rma(bcg["yi"], bcg["vi"], data[["ablat", "year"]]))
    expected = _REG["results"]["bcg_ablat_year_vif"]["vif"]
    close(found, expected, REGRESSION)
    assert list(found.index) == ["ablat", "year"]
    with pytest.raises(ValueError, match="with moderators"):
        vif(rma(bcg["yi"], bcg["vi"]))


def test_paule_mandel_is_the_root_and_metafor_stops_before_it():
    data, bcg = pd.DataFrame(_REG["data"]), _SETS["bcg_RR"]
    d = design(bcg["yi"], bcg["vi"], data[["ablat", "year"]])
    ours = rma(bcg["yi"], bcg["vi"], data[["ablat", "year"]], method="PM").tau2
    theirs = _REG["results"]["bcg_ablat_year_PM_z"]["fit"]["tau2"]
    assert abs(het.generalised_q(d, ours) - 10) < 1e-12
    assert abs(het.generalised_q(d, theirs) - 10) > 1e-5


def _of_roots(key: str) -> tuple[list, list, pd.DataFrame | None]:
    bcg = "bcg_RR" in key
    data = _SETS["bcg_RR" if bcg else key]
    moderators = pd.DataFrame(_REG["data"])[["ablat", "year"]] if "year" in key else None
    return data["yi"], data["vi"], moderators


@pytest.mark.parametrize(
    ("key", "method"), [(k, m) for k, found in _ROOTS.items() for m in found if m != "QP"]
)
def test_metafor_gives_our_tau2_once_its_own_tolerance_is_tight(key, method):
    """1e-10: metafor's search at tol = 1e-14; by default it is up to 1e-3 away (ML, years)."""
    y, v, X = _of_roots(key)
    ours, theirs = rma(y, v, X, method=method).tau2, _ROOTS[key][method]
    assert ours == pytest.approx(theirs["tight"], rel=1e-10)
    if method != "SJ":  # a closed form
        assert abs(theirs["default"] / theirs["tight"] - 1) > 1e-9


@pytest.mark.parametrize("key", _ROOTS)
def test_metafor_gives_our_limits_of_tau2_once_its_own_tolerance_is_tight(key):
    """1e-9: the year of a trial makes the moderators nearly collinear."""
    y, v, X = _of_roots(key)
    row = confint(rma(y, v, X, method="DL")).loc["tau2"]
    np.testing.assert_allclose([row["ci_lb"], row["ci_ub"]], _ROOTS[key]["QP"]["tight"], rtol=1e-9)


@pytest.mark.parametrize("key", _ROOTS)
@pytest.mark.parametrize("method", ["PM", "PMM"])
def test_stopping_where_metafor_stops_gives_its_digits(key, method):
    """R's `uniroot` is Brent's method on (0, 100) until 2^-13; scipy's is the same algorithm."""
    from scipy.optimize import brentq
    from scipy.special import chdtri

    d = design(*_of_roots(key))
    target = float(chdtri(d.k - d.p, 0.5)) if method == "PMM" else d.k - d.p
    stopped = brentq(lambda t: het.generalised_q(d, t) - target, 0, 100, xtol=2.0**-13, rtol=1e-15)
    assert stopped == pytest.approx(_ROOTS[key][method]["default"], rel=1e-9)


@pytest.mark.parametrize("method", [m for m in het.METHODS if m not in het.COMMON])
def test_unit_and_origin_of_the_outcome_do_not_matter(method):
    data = _SETS["dorn2007_RR"]
    y, v = np.array(data["yi"]), np.array(data["vi"])
    one, other = rma(y, v, method=method), rma(1e-6 * y + 1, 1e-12 * v, method=method)
    assert other.tau2 == pytest.approx(1e-12 * one.tau2, rel=1e-8)
    assert other.beta[0] - 1 == pytest.approx(1e-6 * one.beta[0], rel=1e-8)
    assert other.se_tau2 == pytest.approx(1e-12 * one.se_tau2, rel=1e-8)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_likelihood_estimate_is_the_highest_of_several_maxima(method):
    """One precise study far from the others: two maxima, and a local search may take either."""
    y, v = [0.0, 3.0, 3.2, 2.9], [1e-4, 0.5, 0.5, 0.5]
    d = design(y, v)
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 100, 4000)])
    heights = het.log_likelihood(d, grid, method == "REML")
    best = rma(y, v, method=method)
    assert best.logLik >= heights.max() - 1e-12
    assert best.tau2 == pytest.approx(grid[heights.argmax()], rel=0.01)


def test_large_effects_with_tiny_variances():
    fit = rma([1e6, 1e6 + 1, 1e6 - 2], [1e-12] * 3)
    assert fit.tau2 == pytest.approx(7 / 3, rel=1e-12)
    assert fit.beta[0] == pytest.approx(1e6 - 1 / 3, rel=1e-15)


def test_one_study_that_outweighs_all_others():
    """DerSimonian-Laird in exact fractions; a plain sum loses twelve digits here."""
    y, v = [1.0, 2.0, -3.0], [1e-12, 1.0, 1.0]
    w, effects = [1 / Fraction(x) for x in v], [Fraction(x) for x in y]
    S, S2, S3 = (sum(x**n for x in w) for n in (1, 2, 3))
    mean = sum(a * b for a, b in zip(w, effects, strict=True)) / S
    Q = sum(a * (b - mean) ** 2 for a, b in zip(w, effects, strict=True))
    trace, square = S - S2 / S, S2 - 2 * S3 / S + (S2 / S) ** 2
    tau2 = (Q - 2) / trace
    variance = (4 + 4 * tau2 * trace + 2 * tau2**2 * square) / trace**2
    fit = rma(y, v, method="DL")
    assert fit.tau2 == pytest.approx(float(tau2), rel=1e-14)
    assert fit.se_tau2 == pytest.approx(float(variance) ** 0.5, rel=1e-13)
    assert pytest.approx(float(Q), rel=1e-14) == fit.QE
    # The same study as a level of its own: the others fit as without it.
    dummy, alone = rma(y, v, [1, 0, 0]), rma(y[1:], v[1:])
    assert dummy.tau2 == pytest.approx(alone.tau2, rel=1e-10)


def test_one_study_and_equal_effects():
    with pytest.raises(ValueError, match=r"effects \(1\) than coefficients \(1\).*method='EE'"):
        rma([0.3], [0.1])
    alone = rma([0.3], [0.1], method="EE")
    assert (alone.beta[0], alone.QEp, alone.I2) == (pytest.approx(0.3), 1.0, 0.0)
    assert rma([1, 1, 1], [0.1, 0.2, 0.3]).tau2 == 0
    with pytest.raises(ValueError, match="remedy: test='adhoc'"):
        rma([1, 1, 1], [0.1, 0.2, 0.3], test="knha")
    two = predict(rma([1.0, 2.0], [0.1, 0.2], test="t")).iloc[0]
    assert np.isfinite(two["pi_lb"])
    assert np.isnan(two["pi_riley_lb"])


def test_every_problem_is_named_at_once():
    with pytest.raises(ValueError, match="is not a finite number") as error:
        rma([1, np.nan, 3], [-1, 0, 2], X=[[1], [2]], method="XX", level=95)
    text = str(error.value)
    for part in ("method = 'XX'", "level = 95", "yi[1] = nan", "vi[0] = -1", "vi[1] = 0", "X has"):
        assert part in text
    assert "remedy" in text
    with pytest.raises(ValueError, match=r"'b' follows from 'intrcpt' and 'a'.*drop it"):
        rma([1, 2, 3, 4], [1] * 4, X=pd.DataFrame({"a": [1, 2, 3, 5], "b": [2, 4, 6, 10]}))
    with pytest.raises(ValueError, match="2 values and vi 3"):
        rma([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="kind='QP'"):
        confint(rma([1, 2, 4], [1, 1, 1], method="DL"), "PL")


def test_a_constant_column_counts_as_the_intercept_and_the_table_is_labelled():
    y, v, x = [1, 2, 4, 3], [0.1, 0.2, 0.1, 0.3], np.arange(4.0)
    with_one = table(rma(y, v, np.c_[x, np.ones(4)]))
    without = table(rma(y, v, x))
    pd.testing.assert_frame_equal(with_one, without)
    assert list(without.index) == ["intrcpt", "x1"]


def test_a_hundred_thousand_studies():
    """Linear in k: a k x k matrix would need 80 GB."""
    rng = np.random.default_rng(0)
    v = rng.gamma(2, 0.05, 100_000) + 0.01
    y = rng.normal(0.3, np.sqrt(v + 0.04))
    fit = rma(y, v)
    assert abs(fit.tau2 - 0.04) < 5 * fit.se_tau2
    assert abs(fit.beta[0] - 0.3) < 5 * fit.se[0]


def test_without_a_constant_metafor_estimates_from_centred_effects():
    """metafor 3.8.1, `rma(yi, vi, mods = ~ ablat - 1)`: tau2 and QE; its `rma.mv` gives ours."""
    data = {name: np.array(x) for name, x in _REG["data"].items() if name != "alloc"}
    n1, n2 = data["tpos"] + data["tneg"], data["cpos"] + data["cneg"]
    yi = np.log(data["tpos"] / n1) - np.log(data["cpos"] / n2)
    vi = 1 / data["tpos"] - 1 / n1 + 1 / data["cpos"] - 1 / n2
    X = data["ablat"][:, None]
    fit = rma(yi, vi, X, intercept=False)
    assert (round(fit.tau2, 6), round(fit.QE, 4)) == (0.086450, 48.7021)
    centred = rma(yi - yi.mean(), vi, X, intercept=False)
    assert pytest.approx(209.685615288003, rel=1e-10) == centred.QE
    assert centred.tau2 == pytest.approx(0.298635323750546, rel=1e-9)
