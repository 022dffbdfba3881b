from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import t as student

from nssi_meta.evidence.bounds import critical_g, critical_z
from nssi_meta.evidence.effects import COLUMNS, derive
from nssi_meta.evidence.effects_common import ROUTES
from nssi_meta.evidence.escalc import escalc
from nssi_meta.evidence.escalc_common import hedges_j

DATA = Path(__file__).parents[2] / "data" / "effects.csv"
CC = {"estimand": "case_control", "n_case": 24.0, "n_control": 31.0}
MEANS = {"mean_case": 12.1, "sd_case": 3.9, "mean_control": 9.8, "sd_control": 4.4}
Z = {"estimand": "association", "n_total": 60.0}
W = {"estimand": "within_person", "n_total": 22.0}
GROUPS = {"estimand": "odds", "n_case": 40.0, "n_control": 55.0}
COUNTS = {"events_case": 12, "total_case": 40, "events_control": 9, "total_control": 55}
OR_CI = {"odds_ratio": 2.0, "ci_low": 1.25, "ci_high": 3.2, "ci_level": 0.95}
P, M, N = {"direction": "+"}, {"direction": "-"}, {"direction": "0"}

ROWS = {
    "means": {**CC, "statistic": "means_sd", **MEANS},
    "t": {**CC, "statistic": "t", "t": 2.4},
    "t_abs": {**CC, "statistic": "t_abs", "t": 0.9, **N},
    "F": {**CC, "statistic": "F", "f": 5.76, **M},
    "F0": {**CC, "statistic": "F", "f": 0.5, **N},
    "z": {**CC, "statistic": "z", "z": 2.1},
    "p": {**CC, "statistic": "p_exact", "p": 0.03, **M},
    "below": {**CC, "statistic": "p_threshold", "p_bound": 0.01, **P},
    "above": {**CC, "statistic": "p_threshold", "p_bound": 0.05, **M},
    "ns": {**CC, "statistic": "ns", "p_bound": 0.05, **N},
    "d": {**CC, "statistic": "d", "d": 0.5},
    "d_ci": {
        **CC, "statistic": "d", "d": 0.5, "ci_low": -0.1, "ci_high": 1.1, "ci_level": 0.95,
    },
    "d_se": {**CC, "statistic": "d", "d": 0.5, "se": 0.3, "ci_low": -0.1, "ci_high": 1.1},
    "g": {**CC, "statistic": "g", "g": 0.5},
    "eta2": {**CC, "statistic": "eta2", "eta2": 0.1, **P},
    "r": {**Z, "statistic": "r", "r": 0.3},
    "beta": {**Z, "statistic": "beta_se", "beta": 0.3, "se": 0.1},
    "z_z": {**Z, "statistic": "z", "z": -2.2},
    "z_p": {**Z, "statistic": "p_exact", "p": 0.02, **P},
    "z_below": {**Z, "statistic": "p_threshold", "p_bound": 0.05, **M},
    "z_ns": {**Z, "statistic": "ns", "p_bound": 0.05, **N},
    "or": {"estimand": "odds", "statistic": "or_ci", **OR_CI},
    "counts": {"estimand": "odds", "statistic": "counts", **COUNTS},
    "counts0": {"estimand": "odds", "statistic": "counts", **COUNTS, "events_case": 0},
    "or_p": {**GROUPS, "statistic": "p_exact", "p": 0.03, **M},
    "or_below": {**GROUPS, "statistic": "p_threshold", "p_bound": 0.05, **P},
    "or_ns": {**GROUPS, "statistic": "ns", "p_bound": 0.05, **N},
    "paired": {**W, "statistic": "t_paired", "t": 3.1},
    "prepost": {
        **W, "statistic": "prepost", "mean_case": 4.4, "mean_control": 6.1, "sd_control": 2.2,
        "r_within": 0.55,
    },
    "w_below": {**W, "statistic": "p_threshold", "p_bound": 0.05, **P},
    "w_ns": {**W, "statistic": "ns", "p_bound": 0.05, **N},
    "yi_vi": {**CC, "statistic": "yi_vi", "yi": 0.4, "vi": 0.09},
    "yi_sei": {**Z, "statistic": "yi_sei", "yi": -0.2, "sei": 0.1},
}  # fmt: skip
SE = {"se_case": 3.9 / np.sqrt(24), "se_control": 4.4 / np.sqrt(31)}
ROWS["means_se"] = {**CC, "statistic": "means_se", **MEANS, **SE}
FRAME = pd.DataFrame.from_dict(ROWS, orient="index")


@pytest.fixture(scope="module")
def derived():
    return derive(FRAME)


def effect(derived, name):
    return derived.loc[name, ["yi", "vi"]].to_numpy(dtype=float)


def metafor(measure, **inputs):
    return escalc(measure, **inputs).iloc[0].to_numpy(dtype=float)


SIZES = {"n1i": 24, "n2i": 31}
SAME = {
    "means": ("SMD", {"m1i": 12.1, "sd1i": 3.9, "m2i": 9.8, "sd2i": 4.4, **SIZES}),
    "means_se": ("SMD", {"m1i": 12.1, "sd1i": 3.9, "m2i": 9.8, "sd2i": 4.4, **SIZES}),
    "t": ("SMD", {"ti": 2.4, **SIZES}),
    "F": ("SMD", {"ti": -2.4, **SIZES}),
    "p": ("SMD", {"pi": -0.03, **SIZES}),
    "d": ("SMD", {"di": 0.5, **SIZES}),
    "r": ("ZCOR", {"ri": 0.3, "ni": 60}),
    "z_p": ("ZCOR", {"pi": 0.02, "ni": 60}),
    "counts": ("OR", {"ai": 12, "n1i": 40, "ci": 9, "n2i": 55}),
    "counts0": ("OR", {"ai": 0, "n1i": 40, "ci": 9, "n2i": 55}),
    "paired": ("SMCC", {"ti": 3.1, "ni": 22}),
    "prepost": ("SMCR", {"m1i": 4.4, "m2i": 6.1, "sd1i": 2.2, "ri": 0.55, "ni": 22}),
}


@pytest.mark.parametrize("name", SAME)
def test_same_as_escalc(derived, name):
    measure, inputs = SAME[name]
    np.testing.assert_allclose(effect(derived, name), metafor(measure, **inputs), rtol=1e-12)


def test_every_route_is_exercised(derived):
    covered = set(zip(FRAME["statistic"], FRAME["estimand"], strict=True))
    ready = {(s, e) for s, e in ROUTES if s in ("yi_vi", "yi_sei")}
    assert set(ROUTES) - ready == covered - ready
    assert (derived["formula"] != "").all()
    assert list(derived.index) == list(FRAME.index)


def test_kinds_and_scales(derived):
    kinds = derived["kind"].to_dict()
    unsigned = {k for k, v in kinds.items() if v == "unsigned"}
    assert unsigned == {"t_abs", "F0"}
    intervals = {k for k, v in kinds.items() if v == "interval"}
    assert intervals == set(FRAME.index[FRAME["statistic"].isin(["p_threshold", "ns"])])
    assert set(derived.loc[list(intervals), "yi"].isna()) == {True}
    exact = derived.index.difference(list(intervals))
    assert derived.loc[exact, ["lower", "upper"]].isna().all(axis=None)
    scales = derived.groupby("estimand")["scale"].unique().str.join(",").to_dict()
    assert scales == {
        "case_control": "g", "association": "z", "odds": "log_or", "within_person": "d_within",
    }  # fmt: skip
    np.testing.assert_allclose(derived["sei"] ** 2, derived["vi"], rtol=1e-14)


def test_bounds(derived):
    c01, v01 = critical_g(0.01, 24, 31)
    c05, v05 = critical_g(0.05, 24, 31)
    # The formula of the statistics page, with the t distribution from another library.
    by_hand = hedges_j(53.0) * student.ppf(0.995, 53) * np.sqrt(1 / 24 + 1 / 31)
    assert c01 == pytest.approx(by_hand, rel=1e-10)
    assert v01 == pytest.approx(1 / 24 + 1 / 31 + by_hand**2 / 110, rel=1e-10)
    limits = derived[["lower", "upper", "vi"]]
    assert list(limits.loc["below"]) == [c01, np.inf, v01]
    assert list(limits.loc["above"]) == [-np.inf, -c05, v05]
    assert list(limits.loc["ns"]) == [-c05, c05, v05]
    z, v = critical_z(0.05, 60)
    assert list(limits.loc["z_ns"]) == [-z, z, v]


def test_an_effect_at_the_bound_has_that_p():
    exact = derive(pd.DataFrame([{**CC, "statistic": "p_exact", "p": 0.05, **P}]))
    assert exact["yi"][0] == pytest.approx(float(critical_g(0.05, 24, 31)[0]), rel=1e-12)
    assert exact["vi"][0] == pytest.approx(float(critical_g(0.05, 24, 31)[1]), rel=1e-12)
    same_z = derive(pd.DataFrame([{**CC, "statistic": "z", "z": ndtri(0.975)}]))
    assert same_z["yi"][0] == pytest.approx(exact["yi"][0], rel=1e-12)


def test_standard_errors_of_a_given_d(derived):
    j = float(hedges_j(53.0))
    assert derived.loc["d", "yi"] == pytest.approx(j * 0.5)
    assert derived.loc["d_ci", "sei"] == pytest.approx(j * 1.2 / (2 * ndtri(0.975)))
    assert derived.loc["d_se", "sei"] == pytest.approx(j * 0.3)
    assert derived.loc["g", "yi"] == 0.5
    said = derived["formula"]
    assert "LS variance" in said["d"]
    assert "SE from the 95% CI" in said["d_ci"]
    assert "reported SE" in said["d_se"]


def test_d_without_sizes_needs_an_interval(derived):
    lone = {"estimand": "case_control", "statistic": "d", "d": 0.5}
    with_ci = derive(pd.DataFrame([{**lone, "ci_low": 0.1, "ci_high": 0.9, "ci_level": 0.9}]))
    assert with_ci["sei"][0] == pytest.approx(0.8 / (2 * ndtri(0.95)))
    assert "J = 1" in with_ci["formula"][0]
    with pytest.raises(ValueError, match=r"row 0 \[d\]"):
        derive(pd.DataFrame([lone]))


def test_odds_ratio_and_its_approximation(derived):
    assert derived.loc["or", "yi"] == pytest.approx(np.log(2))
    assert derived.loc["or", "sei"] == pytest.approx(np.log(3.2 / 1.25) / (2 * ndtri(0.975)))
    approx = np.pi / np.sqrt(3) * np.sqrt(1 / 40 + 1 / 55)
    assert derived.loc["or_p", "sei"] == pytest.approx(approx)
    assert derived.loc["or_p", "yi"] == pytest.approx(ndtri(0.015) * approx)
    assert "approximate" in derived.loc["or_p", "formula"]
    assert "1/2 added" in derived.loc["counts0", "formula"]
    assert "1/2" not in derived.loc["counts", "formula"]


def test_reported_degrees_of_freedom_set_the_correction():
    rows = pd.DataFrame([{**CC, "statistic": "F", "f": 5.76, "df": df, **P} for df in (53, 40)])
    found = derive(rows)
    ratio = float(hedges_j(40.0) / hedges_j(53.0))
    assert found["yi"][1] / found["yi"][0] == pytest.approx(ratio, rel=1e-12)


def test_t_route_equals_the_means_route(derived):
    pooled = np.sqrt((23 * 3.9**2 + 30 * 4.4**2) / 53)
    t = 2.3 / (pooled * np.sqrt(1 / 24 + 1 / 31))
    eta2 = t**2 / (t**2 + 53)
    rows = [
        {**CC, "statistic": "t", "t": t},
        {**CC, "statistic": "F", "f": t**2, **P},
        {**CC, "statistic": "eta2", "eta2": eta2, **P},
        {**CC, "statistic": "d", "d": 2.3 / pooled},
        {**CC, "statistic": "p_exact", "p": 2 * student.sf(t, 53), **P},
    ]
    found = derive(pd.DataFrame(rows))[["yi", "vi"]]
    for i in range(len(rows)):
        np.testing.assert_allclose(found.iloc[i], effect(derived, "means"), rtol=1e-10)


def test_swapping_case_and_control_flips_signs(derived):
    flip = {"+": "-", "-": "+", "0": "0"}
    parts = [("_case", "_control"), ("_control", "_case")]
    names = {c: c.replace(a, b) for a, b in parts for c in FRAME if c.endswith(a)}
    names |= {"total_case": "total_control", "total_control": "total_case"}
    swapped = FRAME.rename(columns=names)
    for column in ("t", "z", "d", "g", "r", "beta", "yi"):
        swapped[column] = -swapped[column]
    swapped.loc["t_abs", "t"] = FRAME.loc["t_abs", "t"]
    swapped["direction"] = swapped["direction"].map(flip)
    swapped["odds_ratio"] = 1 / swapped["odds_ratio"]
    low, high = FRAME["ci_low"], FRAME["ci_high"]
    odds = FRAME["statistic"] == "or_ci"
    swapped["ci_low"] = np.where(odds, 1 / high, -high)
    swapped["ci_high"] = np.where(odds, 1 / low, -low)
    # The time points of prepost are no groups, and its SD belongs to one of them.
    keep = FRAME.index != "prepost"
    found, original = derive(swapped[keep]), derived[keep]
    signed = original["kind"] != "unsigned"
    np.testing.assert_allclose(found.loc[signed, "yi"], -original.loc[signed, "yi"], rtol=1e-12)
    np.testing.assert_allclose(found.loc[~signed, "yi"], original.loc[~signed, "yi"], rtol=1e-12)
    np.testing.assert_allclose(found["vi"], original["vi"], rtol=1e-12)
    np.testing.assert_allclose(found["lower"], -original["upper"], rtol=1e-12)


def test_permuting_rows_permutes_results(derived):
    order = np.random.default_rng(3).permutation(len(FRAME))
    shuffled = derive(FRAME.iloc[order])
    pd.testing.assert_frame_equal(shuffled, derived.iloc[order])


def test_units_of_the_means_do_not_matter(derived):
    scaled = FRAME.copy()
    columns = ["mean_case", "mean_control", "sd_case", "sd_control", "se_case", "se_control"]
    scaled[columns] *= 1000
    shifted = scaled.copy()
    shifted[["mean_case", "mean_control"]] += 50_000
    for frame in (scaled, shifted):
        np.testing.assert_allclose(derive(frame)["yi"], derived["yi"], rtol=1e-10)


def test_deriving_twice_changes_nothing(derived):
    ready = derived[derived["statistic"].isin(["yi_vi", "yi_sei"])]
    pd.testing.assert_frame_equal(derive(ready), ready)
    pd.testing.assert_frame_equal(derive(FRAME), derived)


def test_what_has_no_answer_is_named():
    rows = pd.DataFrame(
        [
            {**CC, "effect_id": "a", "statistic": "t", "t": 1.0, "n_case": np.nan},
            {**CC, "effect_id": "b", "statistic": "t", "t": 1.0},
            {**CC, "effect_id": "c", "statistic": "p_threshold", "p_bound": 0.05, **N},
            {**CC, "effect_id": "d", "statistic": "r", "r": 0.2},
            {**Z, "effect_id": "e", "statistic": "beta_se", "beta": 1.2, "se": 0.1},
            {**CC, "effect_id": "f", "statistic": "F", "f": 3.0, "direction": "up"},
        ]
    )
    with pytest.raises(ValueError, match="cannot express") as error:
        derive(rows)
    text = str(error.value)
    assert "statistic 'r' cannot express estimand 'case_control': row 3 (d)" in text
    for name in ("row 0 (a)", "row 2 (c)", "row 4 (e)", "row 5 (f)"):
        assert name in text
    assert "(b)" not in text


def test_no_rows():
    empty = derive(FRAME.iloc[:0])
    assert empty.empty
    assert set(COLUMNS) <= set(empty.columns)
    assert derive(pd.DataFrame()).empty


@pytest.mark.skipif(not DATA.exists(), reason="the effects table is not part of this copy")
def test_the_effects_table_can_be_derived():
    rows = pd.read_csv(DATA, dtype={"direction": str})
    found = derive(rows)
    exact = found["kind"] != "interval"
    assert np.isfinite(found.loc[exact, "yi"]).all()
    assert (found["vi"] > 0).all()
    assert (found.loc[~exact, "lower"] < found.loc[~exact, "upper"]).all()
    # No two-group effect is more precise than its people allow, unless it is the paper's own SE.
    own = found["formula"].str.contains("SE|given")
    g = found[(found["scale"] == "g") & ~own]
    assert (g["vi"] >= 1 / g["n_case"] + 1 / g["n_control"] - 1e-12).all()
    signs = rows.loc[exact, "direction"].map({"+": 1, "-": -1})
    known = signs.notna() & (found.loc[exact, "kind"] == "exact") & (found.loc[exact, "yi"] != 0)
    assert (np.sign(found.loc[exact, "yi"][known]) == signs[known]).all()
