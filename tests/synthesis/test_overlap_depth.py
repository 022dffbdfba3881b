"""Overlap in depth: any two conditions, contrasts, leave-one-out, what must not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.read import read_effects
from nssi_meta.synthesis import overlap_variants as ov
from nssi_meta.synthesis.overlap import overlap
from nssi_meta.synthesis.overlap_depth import (
    contrasts_without_one,
    leave_one_out,
    overlap_contrasts,
)
from nssi_meta.synthesis.overlap_figures import heavy
from nssi_meta.synthesis.pair import Pair
from nssi_meta.synthesis.posterior_file import save_posterior
from nssi_meta.synthesis.profiles import joint_data


def with_mu(profiles, mu):
    draws = {**profiles.fit.posterior_data["posterior"], "mu": mu[None]}
    return replace(profiles, fit=replace(profiles.fit, posterior_data={"posterior": draws}))


def numbers(table, *drop):
    return table.drop(columns=list(drop)).select_dtypes("number")


def test_any_two_conditions(quick):
    """beta as the index: with alpha it is the same comparison read from the other side."""
    own = overlap(quick).figures.set_index(["other", "figure"])
    turned = overlap(quick, index="beta").figures.set_index(["other", "figure"])
    assert set(turned.index.get_level_values("other")) == {"alpha", "gamma"}
    for figure in ("n_shared", "jaccard", "magnitude"):
        a, b = own.loc[("beta", figure)], turned.loc[("alpha", figure)]
        assert a[["median", "low", "high"]].tolist() == b[["median", "low", "high"]].tolist()
    mechanisms = [
        overlap(quick, index=i).mechanisms.set_index(["other", "mechanism"]) for i in (None, "beta")
    ]
    a, b = mechanisms[0].loc["beta"], mechanisms[1].loc["alpha"]
    assert a["p_index_only"].tolist() == b["p_other_only"].tolist()
    assert a["contrast_median"].tolist() == pytest.approx((-b["contrast_median"]).tolist())


@pytest.mark.parametrize(
    ("index", "says"), [("delta", "no condition 'delta'"), ("well", "no condition 'well'")]
)
def test_an_unknown_index_is_refused(quick, index, says):
    with pytest.raises(ValueError, match=says):
        overlap(quick, index=index)
    with pytest.raises(ValueError, match="twice"):
        Pair(quick, "beta", "beta")


def test_recoding_measures_changes_nothing(quick):
    """Flip the coding of two mechanisms: every figure, class and contrast size stays."""
    mu = quick.draws("mu").copy()
    mu[:, [0, 2]] *= -1
    one, other = overlap(quick), overlap(with_mu(quick, mu))
    for name in ("figures", "thresholds", "systems", "stages"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), rtol=1e-12)
    shared = [f"p_{c}" for c in ("shared", "opposite", "index_only", "other_only", "neither")]
    pd.testing.assert_frame_equal(one.mechanisms[shared], other.mechanisms[shared])
    assert one.mechanisms["verdict"].tolist() == other.mechanisms["verdict"].tolist()
    pd.testing.assert_frame_equal(
        overlap_contrasts(quick), overlap_contrasts(with_mu(quick, mu)), rtol=1e-12
    )


def test_congruence_is_there_from_three_mechanisms_on(quick):
    table = overlap(quick).systems
    enough = table["n_mechanisms"] >= 3
    assert enough.any()
    assert not enough.all()
    assert table.loc[~enough, "congruence_median"].isna().all()
    ends = table.loc[enough, ["congruence_low", "congruence_median", "congruence_high"]]
    assert (ends.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert ends.abs().max(axis=None) <= 1.0


def test_relabelling_mechanisms_changes_nothing(quick):
    """The order in which mechanisms stand in the model is no information."""
    order = np.array([2, 0, 3, 1])
    data = quick.data
    place = np.argsort(order)
    moved = replace(
        with_mu(quick, quick.draws("mu")[:, order]),
        data=replace(
            data,
            mechanisms=tuple(data.mechanisms[i] for i in order),
            mechanism=place[data.mechanism],
        ),
    )
    one, other = overlap(quick), overlap(moved)
    pd.testing.assert_frame_equal(one.figures, other.figures, rtol=1e-12)
    key = ["other", "mechanism"]
    a, b = (o.mechanisms.sort_values(key).reset_index(drop=True) for o in (one, other))
    pd.testing.assert_frame_equal(a, b, rtol=1e-12)


def test_what_nobody_measured_changes_nothing(quick):
    """appetite in gamma is predicted: whatever its draws, no overlap figure moves."""
    mu = quick.draws("mu").copy()
    mu[:, 3, 2] = 50.0
    one, other = overlap(quick), overlap(with_mu(quick, mu))
    for name in ("figures", "mechanisms", "thresholds", "systems"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    pd.testing.assert_frame_equal(
        leave_one_out(quick).query("other == 'gamma'"),
        leave_one_out(with_mu(quick, mu)).query("other == 'gamma'"),
    )


def test_predictive_overlap_has_its_interval(quick):
    table = overlap(quick).mechanisms
    assert (table["predictive_overlap_low"] <= table["predictive_overlap"]).all()
    assert (table["predictive_overlap"] <= table["predictive_overlap_high"]).all()
    stage = overlap(quick).stages.query("other == 'beta' and stage == 'end'").iloc[0]
    row = table.query("other == 'beta' and mechanism == 'tremor'").iloc[0]
    # one mechanism in the stage: the mean over mechanisms is its own
    assert stage["predictive_overlap_median"] == pytest.approx(row["predictive_overlap"])


def test_contrasts_by_hand(quick):
    table = overlap_contrasts(quick).set_index(["condition", "other", "mechanisms", "figure"])
    row = table.loc[("beta", "gamma", "common", "magnitude")]
    assert row[["n_condition", "n_other"]].tolist() == [3, 3]
    # alpha and beta agree on all mechanisms, alpha and gamma on none: certain in every draw
    assert row["p_more"] == 1.0
    assert row["low"] > 0.5
    # before any data neither is favoured: 4000 draws, 4 standard errors are 0.032
    assert row["prior_p_more"] == pytest.approx(0.5, abs=0.04)
    assert ("beta", "gamma", "common", "correlation") not in table.index


def test_a_contrast_of_a_condition_with_its_double_is_even(quick):
    mu = quick.draws("mu").copy()
    mu[:, :, 2] = mu[:, :, 1]
    table = overlap_contrasts(with_mu(quick, mu)).query("mechanisms == 'common'")
    assert set(table["p_more"]) == {0.5}
    assert set(table["median"]) == {0.0}


def test_leaving_one_out_by_hand(quick):
    table = leave_one_out(quick).set_index(["other", "left_out", "figure"])
    pair = Pair(quick, "gamma")
    assert pair.names == ["reflex", "grip", "tremor"]
    a, b = np.abs(pair.a[:, 1:]), np.abs(pair.b[:, 1:])
    agree = np.where(pair.a[:, 1:] * pair.b[:, 1:] > 0, np.minimum(a, b), 0).sum(axis=1)
    by_hand = np.median(agree / np.maximum(a, b).sum(axis=1))
    assert table.loc[("gamma", "reflex", "magnitude"), "median"] == pytest.approx(by_hand)


def test_contrasts_without_one_mechanism(quick):
    """The extremes over all mechanisms, each left out by itself."""
    table = contrasts_without_one(quick).set_index(["condition", "other", "mechanisms", "figure"])
    whole = overlap_contrasts(quick).set_index(table.index.names)
    assert set(table.index) == {key for key in whole.index if key[3] != "correlation"}
    # gamma against beta on their three common mechanisms: certain whichever is left out
    row = table.loc[("beta", "gamma", "common", "magnitude")]
    assert row[["p_more", "lowest_p_more", "highest_p_more"]].tolist() == [1.0, 1.0, 1.0]
    key = ("beta", "gamma", "own", "jaccard")
    each = [
        overlap_contrasts(quick, without=[m]).set_index(table.index.names).loc[key, "p_more"]
        for m in quick.data.mechanisms
    ]
    row = table.loc[key]
    assert (row["lowest_p_more"], row["highest_p_more"]) == (min(each), max(each))
    assert row["lowest_without"] == quick.data.mechanisms[int(np.argmin(each))]


# ---------------------------------------------------------------- other rows


def test_variants_change_the_rows_that_they_name(evidence):
    used = evidence.used
    left = set(ov.without_system("drive")(evidence).used["mechanism"])
    assert left == {"reflex", "grip", "tremor"}
    assert set(ov.exact_only(evidence).used["kind"]) == {"exact"}
    more = ov.with_doubtful(evidence).used
    assert set(more["effect_id"]) - set(used["effect_id"]) == set(
        evidence.rows.loc[evidence.rows["status"] == "doubtful", "effect_id"]
    )
    apart = ov.controls_apart(evidence).used
    with_controls = apart.loc[apart["control_id"] != "", "control_id"]
    assert with_controls.is_unique
    # a row without a comparison group gets none
    assert (apart["control_id"] == "").sum() == (used["control_id"] == "").sum()
    with pytest.raises(ValueError, match="no system 'dive'"):
        ov.without_system("dive")(evidence)


def test_a_posterior_under_selective_reporting_is_not_saved(quick, tmp_path):
    """The file holds the likelihood of the rows, which is not this posterior's."""
    draws = {**quick.fit.posterior_data["posterior"], "w": np.full((1, 4, 2), 0.5)}
    adjusted = replace(quick, fit=replace(quick.fit, posterior_data={"posterior": draws}))
    with pytest.raises(ValueError, match="selective reporting cannot be saved"):
        save_posterior(adjusted, tmp_path / "p.nc", "abc")


def test_genes_are_not_in_the_joint_model_of_the_shipped_table():
    """They are odds ratios: a variant without them would be the same fit."""
    shipped = read_effects(Path(__file__).resolve().parents[2] / "data" / "effects.csv")
    rest = ov.without_system("genes")(shipped)
    assert len(rest.used) < len(shipped.used)
    one, other = (joint_data(e)[0].frame for e in (shipped, rest))
    pd.testing.assert_frame_equal(one, other)


def test_variants_of_the_model_keep_the_rows(evidence, quick, monkeypatch):
    asked = []

    def fit(changed, **options):
        asked.append((changed.used.equals(evidence.used), options))
        return quick

    monkeypatch.setattr(ov, "fit_profiles", fit)
    ov.overlap_variants(evidence, ["heavy tails", "selective reporting"])
    assert [same for same, _ in asked] == [True, True]
    assert asked[0][1]["tails"] == ov.TAILS
    assert "selective" not in asked[0][1]
    assert asked[1][1]["selective"] is True


def test_heavy_tails_are_those_of_a_t_distribution(quick):
    """t with 4 degrees of freedom: quantiles of 200,000 draws, standard error below 0.03."""
    rng = np.random.default_rng(1)
    draws = rng.standard_normal(200_000) * heavy(4.0, (200_000,), rng)
    at = [0.01, 0.1, 0.5, 0.9, 0.99]
    np.testing.assert_allclose(np.quantile(draws, at), stats.t.ppf(at, 4), atol=0.06)
    assert (heavy(np.inf, (3,), rng) == 1.0).all()


def test_the_unstudied_mechanism_has_the_fit_s_tails(quick):
    """Sigma is 0.6 in these draws: its mean is 0.6 t_4, its partner's too."""
    pair = Pair(replace(quick, tails=4.0), "beta")
    for draws in pair.unstudied(200_000):
        got = np.mean(np.abs(draws) > 1.2)
        assert got == pytest.approx(2 * stats.t.sf(2.0, 4), abs=0.004)
    normal = Pair(quick, "beta").unstudied(200_000)[0]
    assert np.mean(np.abs(normal) > 1.2) == pytest.approx(2 * stats.norm.sf(2.0), abs=0.004)


def test_each_variant_is_one_fit(evidence, quick, monkeypatch):
    asked = []

    def fit(changed, **options):
        asked.append((len(changed.used), options["delta"]))
        return quick

    monkeypatch.setattr(ov, "fit_profiles", fit)
    table = ov.overlap_variants(evidence, ["exact rows only"], threshold=0.3)
    assert set(table["variant"]) == {"exact rows only"}
    assert asked == [(int((evidence.used["kind"] == "exact").sum()), 0.3)]
    table = ov.overlap_variants(evidence, {"no drive": ov.without_system("drive")})
    assert set(table["variant"]) == {"no drive"}
    with pytest.raises(ValueError, match="no variant 'genes'"):
        ov.overlap_variants(evidence, ["genes"])


def test_verdicts_that_change_are_listed():
    def table(variant, **verdicts):
        rows = [{"variant": variant, "m": m, "verdict": v} for m, v in verdicts.items()]
        return pd.DataFrame(rows)

    found = pd.concat([table("main", a="shared", b="neither", c="undecided"),
                       table("same", a="shared", b="neither", c="undecided"),
                       table("other", a="undecided", b="neither", d="shared")])  # fmt: skip
    changed = ov.changed_verdicts(found, ["m"], "main")
    assert changed.to_numpy().tolist() == [
        ["other", "a", "shared", "undecided"],
        ["other", "c", "undecided", ""],
        ["other", "d", "", "shared"],
    ]
    assert ov.changed_verdicts(found.query("variant == 'main'"), ["m"], "main").empty
