"""Meta-regression by name of moderator: coding, estimates, contrasts, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.models.design import design
from nssi_meta.synthesis.regression import regress

_DATA = json.loads(
    (Path(__file__).parent.parent / "reference" / "bmr_exact.json").read_text("utf-8")
)


@pytest.fixture
def bcg():
    return pd.DataFrame(_DATA["data"])


def test_numbers_agree_with_the_reference(bcg):
    """The slope is that of any centring; the reference is good to 1e-13."""
    found = regress(bcg, ["ablat"], mu_prior="flat", beta_prior="flat")
    theirs = _DATA["results"]["bcg_ablat_flat_HN0.5"]["exact"]["beta"]["ablat_c"]
    row = found.table.set_index("coefficient").loc["ablat"]
    assert row["mean"] == pytest.approx(theirs["mean"], rel=1e-10)
    assert [row["low"], row["high"]] == pytest.approx(theirs["central95"], rel=1e-9)
    assert np.isnan(row["log10_bf10"])
    assert (found.k, found.n_bounds, found.n_missing) == (13, 0, 0)
    assert 0.3 < found.explained < 1


def test_group_means_are_the_levels(bcg):
    """Treatment coding and one mean per group are one model under flat priors."""
    found = regress(bcg, ["alloc"], mu_prior="flat", beta_prior="flat").levels("alloc")
    theirs = _DATA["results"]["bcg_alloc_groupmeans_flat_HN0.5"]["exact"]["beta"]
    for row in found.itertuples():
        assert row.mean == pytest.approx(theirs[row.level]["mean"], rel=1e-9)
        assert row.sd == pytest.approx(theirs[row.level]["sd"], rel=1e-9)


def test_contrasts_are_differences_of_levels(bcg):
    fit = regress(bcg, ["alloc", "ablat"])
    level = fit.levels("alloc").set_index("level")["mean"]
    for row in fit.contrasts("alloc").itertuples():
        second, first = row.contrast.split(" - ")
        assert row.mean == pytest.approx(level[second] - level[first], abs=1e-12)
    new = fit.estimate(alloc="random", ablat=50)
    assert new["pred_low"] < new["low"] < new["high"] < new["pred_high"]


def test_interactions(bcg):
    fit = regress(bcg, ["ablat", "alloc", "ablat:alloc"])
    assert list(fit.table["coefficient"]) == [
        "intercept", "ablat", "alloc[random]", "alloc[systematic]", "ablat:alloc[random]",
        "ablat:alloc[systematic]",
    ]  # fmt: skip
    x = fit.design.row({"alloc": "random", "ablat": 40})
    centred = 40 - bcg["ablat"].mean()
    np.testing.assert_allclose(x, [1, centred, 1, 0, centred, 0], rtol=1e-14)
    assert np.isfinite(fit.table["log10_bf10"]).all()


def test_the_unit_of_a_moderator_does_not_matter(bcg):
    one = regress(bcg, ["ablat"]).table.set_index("coefficient")
    other = regress(bcg.assign(ablat=bcg["ablat"] * 60), ["ablat"]).table.set_index("coefficient")
    assert 60 * other.loc["ablat", "mean"] == pytest.approx(one.loc["ablat", "mean"], rel=1e-10)
    np.testing.assert_allclose(other["log10_bf10"], one["log10_bf10"], atol=1e-10)


def test_what_is_left_out_is_counted(bcg):
    frame = bcg.assign(kind="exact", lower=np.nan, upper=np.nan)
    frame.loc[0, "kind"], frame.loc[0, "lower"] = "interval", 0.1
    frame.loc[1, "ablat"] = np.nan
    found = regress(frame, ["ablat"])
    assert (found.k, found.n_bounds, found.n_missing) == (11, 1, 1)


def test_rows_of_one_study_share_their_study_effect(bcg):
    """Copies of a study inside it say less than as many studies would."""
    twice = pd.concat([bcg.assign(study_id=[f"s{i}" for i in range(13)])] * 2)
    inside = regress(twice, ["ablat"])
    apart = regress(twice.assign(study_id=[f"s{i}" for i in range(26)]), ["ablat"])
    assert inside.n_studies == 13
    assert inside.fit.omega_density is not None
    assert inside.fit.coefficients[1].sd > 1.1 * apart.fit.coefficients[1].sd


@pytest.mark.parametrize(
    ("moderators", "says"),
    [
        (["ablatt"], "did you mean 'ablat'"),
        (["ablat:alloc"], "needs 'ablat' as a moderator too"),
        (["ablat", "ablat"], "named twice"),
        (["same"], "explains no differences"),
        (["ablat", "twice"], "ablat, twice are collinear"),
    ],
)
def test_moderators_that_cannot_be_used(bcg, moderators, says):
    frame = bcg.assign(same="x", twice=2 * bcg["ablat"] + 1)
    with pytest.raises(ValueError, match=says):
        regress(frame, moderators, beta_prior="flat")


def test_unusable_effects_are_refused(bcg):
    with pytest.raises(ValueError, match="vi above 0"):
        regress(bcg.assign(vi=0.0), ["ablat"])
    with pytest.raises(ValueError, match="no column 'vi'"):
        regress(bcg.drop(columns="vi"), ["ablat"])


def test_a_level_that_nobody_has_is_refused(bcg):
    chosen = design(bcg, ["alloc"])
    with pytest.raises(ValueError, match="'coin' is not among the levels"):
        chosen.row({"alloc": "coin"})
    with pytest.raises(ValueError, match="'year' is no moderator"):
        chosen.row({"year": 1990})


@pytest.mark.parametrize("own", [False, True])
def test_days_and_weeks(bcg, own):
    """Default priors follow the outcome's SD; own numbers are in its unit, and so rescaled."""
    found = []
    for unit in (1.0, 7.0):
        frame = bcg.assign(yi=bcg["yi"] * unit, vi=bcg["vi"] * unit**2, sd_1=1.7 * unit)
        priors = {
            "mu_prior": f"normal(0,{2.0 * unit})",
            "beta_prior": f"normal(0,{0.7 * unit})",
            "tau_prior": f"halfnormal({0.4 * unit})",
        }
        fit = regress(frame, ["ablat"], measure="MD", **(priors if own else {}))
        found.append(fit.table[["mean", "sd", "low", "high"]].to_numpy() / unit)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


def test_an_own_prior_keeps_its_numbers(bcg):
    one, other = (
        regress(bcg.assign(sd_1=5.0), ["ablat"], measure=m, mu_prior="normal(0,2)",
                beta_prior="normal(0,0.7)", tau_prior="halfnormal(0.4)")
        for m in ("MD", None)
    )  # fmt: skip
    assert one.table["mean"].tolist() == other.table["mean"].tolist()
