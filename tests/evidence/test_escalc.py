import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import fminbound
from scipy.special import ndtri

from nssi_meta.evidence.escalc import MEASURES, escalc
from nssi_meta.evidence.escalc_common import hedges_j
from nssi_meta.evidence.tetrachoric import bivariate_cdf

RTOL = 1e-10  # see tests/reference/README.md
REFERENCE = Path(__file__).parents[1] / "reference" / "escalc.csv"
CASES = pd.read_csv(REFERENCE, keep_default_na=False).to_dict("records")
DEFINED = [c for c in CASES if c["yi"] != "None"]
CLOSED = [c for c in DEFINED if c["measure"] != "RTET"]
MEANS = {"m1i": [12.1, 30], "sd1i": [3.9, 6], "n1i": [14, 12], "m2i": [9.8, 12], "sd2i": [4.4, 5]}
MEANS["n2i"] = [15, 10]


def run(case):
    vtype = None if "default" in case["vtype"] else case["vtype"]
    options = json.loads(case["options"]) or {}
    return escalc(case["measure"], vtype=vtype, **options, **json.loads(case["inputs"]))


@pytest.mark.parametrize("case", CLOSED, ids=lambda c: c["id"])
def test_agrees_with_metafor(case):
    found = run(case)
    assert float(found["yi"].iloc[0]) == pytest.approx(float(case["yi"]), rel=RTOL, abs=1e-14)
    assert float(found["vi"].iloc[0]) == pytest.approx(float(case["vi"]), rel=RTOL, abs=1e-14)


def test_reference_covers_what_is_claimed():
    assert len(CLOSED) == 230
    assert {c["measure"] for c in CASES} <= set(MEASURES)


@pytest.mark.parametrize(
    "case", [c for c in DEFINED if c["measure"] == "RTET"], ids=lambda c: c["id"]
)
def test_tetrachoric_differs_only_by_the_optimiser_of_metafor(case):
    a, b, c, d = (json.loads(case["inputs"])[k] for k in ("ai", "bi", "ci", "di"))
    n = a + b + c + d
    h, k = np.asarray(ndtri((a + b) / n)), np.asarray(ndtri((a + c) / n))
    rows, columns = (a + b) / n, (a + c) / n

    def cells(r):
        p = float(bivariate_cdf(h, k, np.asarray(r)))
        return np.array([p, rows - p, columns - p, 1 - rows - columns + p])

    def deviance(r):
        return -np.sum(np.array([a, b, c, d]) * np.log(cells(r)))

    ours = run(case)
    # Ours reproduces the table; metafor's digits come from stopping early.
    np.testing.assert_allclose(cells(ours["yi"].iloc[0]) * n, [a, b, c, d], rtol=1e-11)
    early = fminbound(deviance, -1, 1, xtol=np.finfo(float).eps ** 0.25)
    assert early == pytest.approx(float(case["yi"]), rel=1e-12)
    assert ours["yi"].iloc[0] == pytest.approx(float(case["yi"]), rel=1e-4)
    assert ours["vi"].iloc[0] == pytest.approx(float(case["vi"]), rel=1e-4)


@pytest.mark.parametrize("case", [c for c in CASES if c["yi"] == "None"], ids=lambda c: c["id"])
def test_undefined_effect_raises(case):
    with pytest.raises(ValueError, match=r"PHI is undefined.*row 0"):
        run(case)


def test_hedges_j_is_exact():
    # J(2) = Gamma(1)/(1 Gamma(1/2)), J(4) = Gamma(2)/(sqrt(2) Gamma(3/2))
    assert hedges_j(2.0) == pytest.approx(1 / np.sqrt(np.pi), rel=1e-14)
    assert hedges_j(4.0) == pytest.approx(np.sqrt(2 / np.pi), rel=1e-14)


def test_columns_of_a_table_and_append():
    data = pd.DataFrame(MEANS, index=["x", "y"])
    names = dict(zip(MEANS, MEANS, strict=True))
    both = escalc("SMD", data=data, **names)
    assert list(both.columns) == [*MEANS, "yi", "vi"]
    assert list(both.index) == ["x", "y"]
    alone = escalc("SMD", data=data, append=False, **names)
    assert list(alone.columns) == ["yi", "vi"]
    np.testing.assert_array_equal(alone["yi"], escalc("SMD", **MEANS)["yi"])
    assert "yi" not in data


def test_rows_may_mix_what_is_known():
    means = escalc("SMD", **MEANS)
    n1, n2 = np.array(MEANS["n1i"]), np.array(MEANS["n2i"])
    d = means["yi"] / hedges_j(n1 + n2 - 2.0)
    t = d / np.sqrt(1 / n1 + 1 / n2)
    blank = {k: [MEANS[k][0], np.nan] for k in ("m1i", "m2i", "sd1i", "sd2i")}
    mixed = escalc("SMD", **blank, n1i=n1, n2i=n2, ti=[np.nan, t[1]])
    np.testing.assert_allclose(mixed, means, rtol=1e-13)


def test_vtype_by_row():
    ls, ub = (escalc("SMD", vtype=v, **MEANS)["vi"] for v in ("LS", "UB"))
    mixed = escalc("SMD", vtype=["LS", "UB"], **MEANS)["vi"]
    assert list(mixed) == [ls[0], ub[1]]
    assert ls[1] != ub[1]


def test_zero_cells():
    cells = {"ai": [0, 6], "bi": [20, 8], "ci": [5, 3], "di": [15, 9]}
    only0, everywhere = escalc("OR", **cells), escalc("OR", to="all", **cells)
    if0all = escalc("OR", to="if0all", **cells)
    untouched = {k: [v[1]] for k, v in cells.items()}
    assert only0["yi"][1] == pytest.approx(np.log(6 * 9 / (8 * 3)))
    assert only0["yi"][0] == everywhere["yi"][0]
    pd.testing.assert_frame_equal(if0all, everywhere)
    assert escalc("OR", to="if0all", **untouched)["yi"][0] == pytest.approx(only0["yi"][1])
    with pytest.raises(ValueError, match=r"OR is undefined.*row 0"):
        escalc("OR", to="none", **cells)


def test_totals_stand_for_the_other_cells():
    whole = escalc("RR", ai=[4], bi=[119], ci=[11], di=[128])
    pd.testing.assert_frame_equal(escalc("RR", ai=4, n1i=123, ci=11, n2i=139), whole)
    share = escalc("PLO", xi=[7], ni=[40])
    pd.testing.assert_frame_equal(escalc("PLO", xi=[7], mi=[33]), share)


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_every_measure_says_what_it_is_and_needs(measure):
    entry = MEASURES[measure]
    assert entry.about.endswith(".")
    with pytest.raises(ValueError, match=f"measure {measure} needs {entry.needs[0][0]}"):
        escalc(measure, sei=[1.0])


def test_swapping_the_groups_flips_the_sign():
    swapped = {k.translate(str.maketrans("12", "21")): v for k, v in MEANS.items()}
    for measure in ("MD", "SMD", "SMDH", "ROM", "VR", "CVR", "D2ORL"):
        names = MEASURES[measure].needs[0]
        one = escalc(measure, **{k: v for k, v in MEANS.items() if k in names})
        two = escalc(measure, **{k: v for k, v in swapped.items() if k in names})
        np.testing.assert_allclose(two["yi"], -one["yi"], rtol=1e-13)
        np.testing.assert_allclose(two["vi"], one["vi"], rtol=1e-13)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown measure 'SMDD'; nearest: .*SMD"):
        escalc("SMDD", **MEANS)
    with pytest.raises(ValueError, match=r"unknown argument 'n1'; nearest: .*n1i"):
        escalc("SMD", n1=[3])
    with pytest.raises(ValueError, match="no column of `data`; nearest: weight"):
        escalc("MN", data=pd.DataFrame({"weight": [1.0]}), mi="wieght")
    with pytest.raises(ValueError, match="vtype XX unknown for MD; allowed: LS, HO"):
        escalc("MD", vtype="XX", **MEANS)


def test_all_bad_values_are_named_at_once():
    bad = {**MEANS, "sd1i": [-1, 6], "n2i": [15, 0], "m2i": [9.8, np.nan]}
    with pytest.raises(ValueError, match="SMD") as error:
        escalc("SMD", **bad)
    text = str(error.value)
    assert "sd1i must be a standard deviation, 0 or more: row 0" in text
    assert "n2i must be a size above 0: row 1" in text
    assert "m2i is missing in row 1" in text
    with pytest.raises(ValueError, match="ai is above n1i: row 1"):
        escalc("OR", ai=[3, 9], n1i=[5, 5], ci=[1, 1], n2i=[5, 5])
    with pytest.raises(ValueError, match="ri must be a correlation"):
        escalc("ZCOR", ri=[1.2], ni=[30])


def test_given_effects_and_empty_tables():
    assert list(escalc("GEN", yi=[0.3], sei=[0.2])["vi"]) == [pytest.approx(0.04)]
    with pytest.raises(ValueError, match="yi needs vi or sei"):
        escalc("GEN", yi=[0.3])
    empty = escalc("SMD", data=pd.DataFrame(MEANS).iloc[:0], **dict(zip(MEANS, MEANS, strict=True)))
    assert empty.empty
    assert {"yi", "vi"} <= set(empty.columns)
