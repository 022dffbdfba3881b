"""The frequentist mirror: the table's numbers are metafor's, and what it cannot say it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.classical import NUMBERS, classical_pools

REFERENCE = Path(__file__).parent.parent / "reference"
_RMA = json.loads((REFERENCE / "rma.json").read_text("utf-8"))["sets"]
_MV = json.loads((REFERENCE / "rma_mv.json").read_text("utf-8"))["results"]
#: Column of the table -> name in the reference.
THEIRS = {
    "estimate": "beta", "se": "se", "p": "pval", "ci_low": "ci.lb", "ci_high": "ci.ub",
    "tau2": "tau2", "I2": "I2", "H2": "H2", "Q": "QE", "Q_p": "QEp",
    "pred_low": "pi.lb", "pred_high": "pi.ub",
}  # fmt: skip


def write(tmp_path, frame):
    path = tmp_path / "effects.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def schools():
    path = REFERENCE / "konstantopoulos2011.csv"
    return read_simple(path, "yi", vi="vi", study="district")


@pytest.mark.parametrize("method", ["REML", "DL", "PM", "ML", "SJ", "EE"])
def test_every_number_is_metafors(tmp_path, method):
    data = _RMA["bcg_RR"]
    frame = read_simple(write(tmp_path, pd.DataFrame({n: data[n] for n in ("yi", "vi")})),
                        "yi", vi="vi")  # fmt: skip
    fits = [f for f in data["fits"] if f["method"] == method]
    assert fits
    for theirs in fits:
        row = classical_pools(frame, method.lower(), theirs["test"]).iloc[0]
        for ours, name in THEIRS.items():
            expected = np.nan if theirs[name] is None else theirs[name]
            # those of tests/inference/test_frequentist.py; measured 3e-12
            np.testing.assert_allclose(row[ours], expected, rtol=1e-10, atol=1e-13)
        assert (row["k"], row["Q_df"], row["method"]) == (13, 12, method)
        assert pd.isna(row["robust_se"])  # one effect a study: nothing to cluster


@pytest.mark.parametrize(("method", "test"), [("REML", "z"), ("REML", "t"), ("ML", "z")])
def test_several_rows_a_study_are_three_levels(schools, method, test):
    row = classical_pools(schools, method, test).iloc[0]
    theirs = _MV[f"konstantopoulos3L_{method}_{test}"]
    fit = theirs["fit"]
    # those of tests/inference/test_rma_mv.py: metafor's optimiser
    for ours, expected in (
        ("estimate", fit["beta"]["intrcpt"]), ("se", fit["se"]), ("p", fit["pval"]),
        ("ci_low", fit["ci.lb"]), ("ci_high", fit["ci.ub"]), ("tau2", fit["sigma2"][0]),
        ("omega2", fit["sigma2"][1]), ("Q", fit["QE"]), ("I2", theirs["I2"]["I2_total"]),
        ("pred_low", theirs["pred"]["pi.lb"]), ("pred_high", theirs["pred"]["pi.ub"]),
    ):  # fmt: skip
        np.testing.assert_allclose(row[ours], expected, rtol=1e-6)
    assert row["model"] == "three levels"
    assert (row["k"], row["n_studies"], row["n_clusters"]) == (56, 11, 11)


def test_their_errors_by_cluster_are_clubsandwichs(schools):
    row = classical_pools(schools).iloc[0]
    theirs = _MV["konstantopoulos3L_RVE"]["clubSandwich"]["CR2"]
    wanted = theirs["table"] | {"low": theirs["CI_L"], "high": theirs["CI_U"]}
    for ours, name in (("se", "SE"), ("df", "df_Satt"), ("p", "p_Satt"), ("low", "low"),
                       ("high", "high")):  # fmt: skip
        np.testing.assert_allclose(row[f"robust_{ours}"], wanted[name], rtol=1e-6)
    assert row["test"] == "t"  # three levels have no Hartung-Knapp


def test_a_moment_estimator_says_that_rows_are_taken_as_independent(schools):
    row = classical_pools(schools, "DL").iloc[0]
    assert row["model"] == "random effects"
    assert "cluster-robust" in row["note"]
    alone = classical_pools(schools.assign(study_id=np.arange(56).astype(str)), "DL").iloc[0]
    assert row["estimate"] == alone["estimate"]
    assert row["robust_se"] != pytest.approx(row["se"], rel=0.05)


def test_bounds_are_left_out_and_counted(review):
    evidence = read_effects(review).select(mechanism="reflex", condition="alpha")
    table = classical_pools(evidence)
    row = table.iloc[0]
    # four exact studies against healthy people; onebound and twobounds give three bounds
    assert (row["k"], row["n_bounds"], row["n_unsigned"]) == (4, 3, 0)
    exact = evidence.used.query("kind == 'exact' and comparator == 'well'")
    weights = 1 / (exact["vi"] + row["tau2"])
    assert row["estimate"] == pytest.approx((weights * exact["yi"]).sum() / weights.sum(), 1e-9)
    assert row["label"] == "Reflex speed"


def test_people_shared_between_studies_are_not_taken_as_independent(tmp_path):
    values = {"yi": [0.1, 0.5, 0.9, 0.3, 0.6], "vi": [0.04] * 5}
    frame = pd.DataFrame({**values, "people": ["a", "a", "b", "c", "d"]})
    path = write(tmp_path, frame)
    row = classical_pools(read_simple(path, "yi", vi="vi", sample="people"), rho=0.6).iloc[0]
    assert (row["n_studies"], row["n_clusters"], row["model"]) == (5, 4, "three levels")
    # the two correlated effects weigh less together than two others
    assert row["estimate"] > np.mean(values["yi"])
    none = classical_pools(read_simple(path, "yi", vi="vi", sample="people"), rho=0.0).iloc[0]
    assert none["se"] < row["se"]


@pytest.mark.parametrize(
    ("yi", "method", "test", "says"),
    [
        ([0.3], "REML", None, "single exact effect"),
        ([0.3, 0.3], "REML", "knha", "differ"),
        ([0.300, 0.301], "REML", None, "narrower than z"),
    ],
)
def test_too_little_is_a_word_not_a_number(tmp_path, yi, method, test, says):
    path = write(tmp_path, pd.DataFrame({"yi": yi, "vi": [0.05] * len(yi)}))
    row = classical_pools(read_simple(path, "yi", vi="vi"), method, test).iloc[0]
    assert says in row["note"]
    if says != "narrower than z":
        assert row[list(NUMBERS)].isna().all()


def test_one_effect_has_a_common_effect_interval(tmp_path):
    path = write(tmp_path, pd.DataFrame({"yi": [0.3], "vi": [0.04]}))
    row = classical_pools(read_simple(path, "yi", vi="vi"), "ee").iloc[0]
    assert row["ci_low"] == pytest.approx(0.3 - 1.959963984540054 * 0.2)
    assert pd.isna(row["pred_low"])


def test_rows_of_one_study_alone_say_nothing_about_studies(tmp_path):
    path = write(tmp_path, pd.DataFrame({"yi": [0.3, 0.5], "vi": 0.04, "s": "x"}))
    row = classical_pools(read_simple(path, "yi", vi="vi", study="s")).iloc[0]
    assert "one study" in row["note"]
    assert pd.isna(row["estimate"])


def test_wrong_names_are_answered_with_the_right_ones(schools):
    with pytest.raises(ValueError, match=r"(?s)REML.*knha") as error:
        classical_pools(schools, "remel", "hk", level=2, rho=1)
    for word in ("remel", "'hk'", "level", "rho"):
        assert word in str(error.value)
