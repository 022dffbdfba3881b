"""Overlap: classes, figures, verdicts and tables against hand-computed examples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.synthesis.overlap import DECIDE, MOVED, THRESHOLDS, distance, overlap, verdict
from nssi_meta.synthesis.overlap_figures import (
    CLASSES,
    classes,
    congruence,
    lkj,
    overlap_figures,
    prior_draws,
)

SHARED, OPPOSITE, INDEX, OTHER, NEITHER = range(5)


# ---------------------------------------------------------------- classes and figures


def test_congruence_is_a_correlation_about_zero():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.4, 1.0, (2, 7, 5))
    for i in range(7):  # the cosine of the angle between the profiles
        cosine = a[i] @ b[i] / (np.linalg.norm(a[i]) * np.linalg.norm(b[i]))
        assert congruence(a, b)[i] == pytest.approx(cosine, rel=1e-12)
    flip = np.array([1, -1, 1, -1, -1])
    np.testing.assert_allclose(congruence(a * flip, b * flip), congruence(a, b), rtol=1e-12)
    assert congruence(a, 3 * a) == pytest.approx(1.0, abs=1e-12)
    assert congruence(np.zeros(3), np.ones(3)) == 0.0


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        (0.5, 0.3, SHARED),
        (-0.5, -0.3, SHARED),
        (0.5, -0.3, OPPOSITE),
        (-0.5, 0.3, OPPOSITE),
        (0.5, 0.1, INDEX),
        (0.5, -0.1, INDEX),
        (0.1, -0.5, OTHER),
        (0.1, 0.1, NEITHER),
        # the threshold itself is not beyond the threshold
        (0.2, 0.5, OTHER),
        (0.5, -0.2, INDEX),
        (0.2, 0.2, NEITHER),
        (np.nextafter(0.2, 1), np.nextafter(0.2, 1), SHARED),
    ],
)
def test_the_class_of_a_pair(a, b, kind):
    assert int(classes(np.array(a), np.array(b), 0.2)) == kind


def test_threshold_zero_classes_by_sign_alone():
    a, b = np.array([1e-9, -1e-9, 1e-9, 0.0]), np.array([2.0, -2.0, -2.0, 0.0])
    assert classes(a, b, 0.0).tolist() == [SHARED, SHARED, OPPOSITE, NEITHER]


def test_figures_of_a_hand_computed_example():
    """Four mechanisms at 0.2: shared, opposite, index only, neither."""
    a = np.array([[0.6, -0.5, 0.4, 0.1]])
    b = np.array([[0.3, 0.5, 0.1, 0.05]])
    got = overlap_figures(a, b, 0.2)
    assert got["n_shared"].tolist() == [1.0]
    assert got["jaccard"].tolist() == [1 / 3]
    # (0.3 + 0 + 0.1 + 0.05) / (0.6 + 0.5 + 0.4 + 0.1)
    assert got["magnitude"][0] == pytest.approx(0.45 / 1.6, rel=1e-14)


def test_figures_at_their_ends():
    a = np.random.default_rng(1).normal(size=(50, 6))
    same, mirrored = overlap_figures(a, a, 0.2), overlap_figures(a, -a, 0.2)
    np.testing.assert_allclose(same["magnitude"], 1.0, rtol=1e-14)
    assert set(same["jaccard"]) == {1.0}
    assert set(mirrored["magnitude"]) == set(mirrored["jaccard"]) == {0.0}
    nothing = overlap_figures(np.zeros((3, 6)), np.zeros((3, 6)), 0.2)
    assert all((v == 0).all() for v in nothing.values())


def test_figures_stay_in_their_ranges_and_ignore_what_must_not_matter():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 500, 7))
    got = overlap_figures(a, b, 0.3)
    for figure in ("jaccard", "magnitude"):
        assert got[figure].min() >= 0
        assert got[figure].max() <= 1
    assert got["n_shared"].max() <= 7
    # swap the two conditions, permute the mechanisms, recode some the other way round
    flip, order = rng.choice([-1, 1], 7), rng.permutation(7)
    for other in ((b, a), (a[:, order], b[:, order]), (a * flip, b * flip)):
        for name, values in overlap_figures(*other, 0.3).items():
            np.testing.assert_allclose(values, got[name], rtol=1e-12)
    # magnitude needs no threshold
    assert (overlap_figures(a, b, 0.0)["magnitude"] == got["magnitude"]).all()


# ---------------------------------------------------------------- prior


@pytest.mark.parametrize("d", [2, 3, 5])
def test_lkj_correlations_have_their_beta_marginal(d):
    """(r + 1) / 2 ~ Beta(eta + d/2 - 1, same) for every pair; KS at a fixed seed."""
    R = lkj(d, 2.0, 20_000, np.random.default_rng(7))
    shape = 2.0 + d / 2 - 1
    for i in range(d):
        np.testing.assert_array_equal(R[:, i, i], 1.0)
        for j in range(i + 1, d):
            np.testing.assert_array_equal(R[:, i, j], R[:, j, i])
            assert stats.kstest((R[:, i, j] + 1) / 2, stats.beta(shape, shape).cdf).pvalue > 1e-3
    assert np.linalg.eigvalsh(R).min() > 0


def test_lkj_determinant_has_the_mean_of_its_density():
    """d = 3: E|R| under det^(eta-1) is Z(eta+1)/Z(eta); Z by quadrature on partial correlations.

    The C-vine's partials are independent Beta: |R| = prod (1 - p^2), so E|R| is a product of
    E(1 - p^2) = 1 - 1/(2b + 1) with b = eta + 1/2 twice and eta once.
    """
    R = lkj(3, 2.0, 40_000, np.random.default_rng(8))
    det = np.linalg.det(R)
    expected = (1 - 1 / 6) ** 2 * (1 - 1 / 5)
    assert det.mean() == pytest.approx(expected, abs=4 * det.std() / 200)


def test_prior_draws_have_the_scales_of_the_model():
    """sigma half-normal(1): E mu^2 = 1, and the correlation's sign is symmetric."""
    mu, R = prior_draws(4, 3)
    assert mu.shape == (4000, 3, 4)
    assert R.shape == (4000, 4, 4)
    squares = mu[:, 0, 1] ** 2
    assert squares.mean() == pytest.approx(1.0, abs=4 * squares.std() / np.sqrt(4000))
    assert abs(R[:, 0, 1].mean()) < 4 * R[:, 0, 1].std() / np.sqrt(4000)
    # the means of a mechanism correlate as R says: on average, the sign of mu_a mu_b is R's
    agree = np.sign(mu[:, :, 0] * mu[:, :, 1]).mean(axis=1)
    assert np.corrcoef(agree, R[:, 0, 1])[0, 1] > 0.3


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ([0.9, 0.0, 0.05, 0.05, 0.0], "shared"),
        ([0.0, 0.9, 0.05, 0.05, 0.0], "opposite"),
        ([0.1, 0.0, 0.5, 0.4, 0.0], "distinct"),  # either condition only
        ([0.1, 0.0, 0.0, 0.0, 0.9], "neither"),
        ([0.8, 0.2, 0.0, 0.0, 0.0], "shared"),  # at the limit
        ([0.79, 0.0, 0.0, 0.21, 0.0], "undecided"),
        ([0.2, 0.2, 0.2, 0.2, 0.2], "uninformative"),
        ([0.3, 0.2, 0.2, 0.2, 0.1], "uninformative"),  # moved by 0.1
        ([0.45, 0.05, 0.2, 0.2, 0.1], "undecided"),  # moved by 0.25, decides nothing
    ],
)
def test_the_verdict_rule(share, expected):
    assert (DECIDE, MOVED) == (0.8, 0.2)
    assert verdict(np.array(share), np.full(5, 0.2)) == expected


def test_a_sure_class_that_the_hierarchy_already_gives_is_uninformative():
    share = np.array([0.9, 0.0, 0.1, 0.0, 0.0])
    assert verdict(share, share - np.array([0.1, -0.1, 0, 0, 0])) == "uninformative"


def test_distance_is_the_kolmogorov_smirnov_statistic():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=300), rng.normal(0.4, 1.3, size=500)
    assert distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)
    ties = rng.integers(0, 4, 200).astype(float), rng.integers(1, 5, 300).astype(float)
    assert distance(*ties) == pytest.approx(stats.ks_2samp(*ties).statistic, abs=1e-12)
    assert distance(a, a) == 0.0
    assert distance(np.zeros(5), np.ones(3)) == 1.0


# ---------------------------------------------------------------- tables, from draws of one's own

S = 2000


def fake(a_b_c, evidence, *, R=None, converged=True, level=0.95):
    """Stand-in for fitted profiles: mechanisms x 3 conditions with chosen draws and evidence."""
    mu = np.asarray(a_b_c, dtype=float)
    n_m = mu.shape[1]
    names = tuple(f"m{i}" for i in range(n_m))
    arms = ("index", "one", "two")
    draws = {
        "mu": mu,
        "tau": np.full((S, n_m), 0.3),
        "omega": np.full(S, 0.4),
        "sigma": np.abs(np.random.default_rng(4).normal(size=(S, 3))),
        "R": lkj(3, 2.0, S, np.random.default_rng(5)) if R is None else R,
    }
    cells = pd.DataFrame(
        [
            {"mechanism": m, "condition": c, "k": 2, "k_contrast": 1, "n_studies": 3,
             "n_bounds": 1, "n_participants": 10, "evidence": evidence[i][j],
             # a contrast reaches the reference only through an arm that was compared with it
             "anchored": evidence[i][j] == "direct"
             or (evidence[i][j] == "contrast only" and "direct" in evidence[i])}
            for i, m in enumerate(names)
            for j, c in enumerate(arms)
        ]
    )  # fmt: skip
    frame = pd.DataFrame(
        [
            {"mechanism": m, "condition": c, "comparator": "well", "study_id": f"{m}{c}",
             "sample_id": f"{m}{c}", "control_id": "c", "n_case": 10.0, "n_control": 20.0,
             "n_total": np.nan, "kind": "interval" if c == "one" else "exact"}
            for i, m in enumerate(names)
            for j, c in enumerate(arms)
            if evidence[i][j] == "direct"
        ]
    )  # fmt: skip
    data = SimpleNamespace(mechanisms=names, conditions=arms, frame=frame)
    return SimpleNamespace(
        data=data, index="index", evidence=cells, level=level, converged=converged,
        draws=draws.__getitem__, tails=np.inf,
        mechanisms=pd.DataFrame({"mechanism": names, "label": names, "system": ["x", "y"] * 2}),
        conditions=pd.DataFrame({"id": arms, "label": ["Index", "One", "Two"]}),
    )  # fmt: skip


D, C, N = "direct", "contrast only", "none: predicted"
EVIDENCE = [[D, D, N], [D, D, N], [D, N, N], [N, D, D]]


@pytest.fixture(scope="module")
def shared():
    rng = np.random.default_rng(6)
    centre = np.array([[0.8, 0.7, 0.0], [0.8, -0.7, 0.0], [0.8, 0.8, 0.0], [0.0, 0.8, 0.8]])
    return overlap(fake(centre + 0.02 * rng.normal(size=(S, 4, 3)), EVIDENCE))


def test_only_mechanisms_with_evidence_in_both_arms_are_listed(shared):
    table = shared.mechanisms
    assert list(zip(table["other"], table["mechanism"], strict=True)) == [
        ("one", "m0"), ("one", "m1"),
    ]  # fmt: skip
    assert table["verdict"].tolist() == ["shared", "opposite"]
    assert table["k_index"].tolist() == [3, 3]


def test_class_probabilities_sum_to_one(shared):
    total = shared.mechanisms[[f"p_{c}" for c in CLASSES]].sum(axis=1)
    np.testing.assert_allclose(total, 1.0, atol=1e-12)


def test_contrast_and_predictive_overlap_by_hand(shared):
    row = shared.mechanisms.iloc[0]
    assert row["contrast_median"] == pytest.approx(0.1, abs=0.005)
    # two normals of SD sqrt(0.3^2 + 0.4^2) = 0.5 whose means lie 0.1 apart
    assert row["predictive_overlap"] == pytest.approx(2 * stats.norm.cdf(-0.1), abs=0.005)


def test_a_condition_without_common_mechanisms_has_only_an_uninformative_correlation(shared):
    row = shared.figures[shared.figures["other"] == "two"]
    assert row["figure"].tolist() == ["correlation"]
    assert row["verdict"].tolist() == ["uninformative"]
    assert row["n_mechanisms"].tolist() == [0]
    assert row["n_studies"].tolist() == [0]
    assert row["share_bounds"].isna().all()
    for table in (shared.mechanisms, shared.thresholds, shared.systems):
        assert set(table["other"]) == {"one"}


def test_figures_carry_their_coverage(shared):
    one = shared.figures[shared.figures["other"] == "one"].set_index("figure")
    assert list(one.index) == ["n_shared", "jaccard", "magnitude", "correlation"]
    assert set(one["n_mechanisms"]) == {2}
    assert set(one["n_studies"]) == {4}
    assert set(one["share_bounds"]) == {0.5}
    assert set(one["n_participants"]) == {4 * 10 + 20}  # one control group for all
    assert one.loc["n_shared", ["low", "median", "high"]].tolist() == [1, 1, 1]
    assert one.loc["jaccard", "median"] == 0.5
    assert one.loc["magnitude", "median"] == pytest.approx(0.7 / 1.6, abs=0.01)
    # R was drawn from its prior: nothing was learnt about it
    assert one.loc["correlation", "verdict"] == "uninformative"
    assert one.loc["n_shared", "verdict"] == "informative"


def test_every_threshold_is_tabulated(shared):
    table = shared.thresholds
    assert sorted(set(table["threshold"])) == list(THRESHOLDS)
    assert len(table) == 3 * len(THRESHOLDS)
    counts = table[table["figure"] == "n_shared"]["median"]
    assert (counts.diff().dropna() <= 0).all()
    assert (table["low"] <= table["median"]).all()
    assert (table["median"] <= table["high"]).all()


def test_systems_add_up(shared):
    assert shared.systems["system"].tolist() == ["x", "y", "all mechanisms"]
    assert shared.systems["n_mechanisms"].tolist() == [1, 1, 2]
    assert shared.systems["n_shared_median"].tolist() == [1, 0, 1]
    own = shared.mechanisms["predictive_overlap"]
    every = shared.systems["predictive_overlap_median"]
    assert own.min() <= every.iloc[-1] <= own.max()
    # two mechanisms agree or disagree by chance: no figure is given
    assert shared.systems["congruence_median"].isna().all()
    figures = shared.figures.set_index("figure")["median"]
    for name in ("n_shared", "jaccard", "magnitude"):
        assert shared.systems[f"{name}_median"].iloc[-1] == figures[name]


def test_no_mechanism_in_common_anywhere_leaves_empty_tables():
    nothing = [[D, N, N], [N, D, D], [D, N, N], [N, D, D]]
    got = overlap(fake(np.zeros((S, 4, 3)), nothing))
    assert got.mechanisms.empty
    assert got.thresholds.empty
    assert got.systems.empty
    assert got.figures["figure"].tolist() == ["correlation"] * 2
    assert set(got.figures["verdict"]) == {"uninformative"}


def test_a_mechanism_known_only_by_the_contrast_of_both_is_not_evidence_in_both():
    """Index versus one says nothing about either's distance to the reference group.

    The difference is known, both means are predicted: neither 'shared' nor any other class follows.
    """
    contrast = [[C, C, N], [D, D, N], [D, N, N], [N, D, D]]
    got = overlap(fake(np.zeros((S, 4, 3)), contrast))
    assert got.mechanisms["mechanism"].tolist() == ["m1"]


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_a_threshold_that_is_no_distance_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        overlap(fake(np.zeros((S, 4, 3)), EVIDENCE), threshold)


def test_level_reaches_the_intervals():
    rng = np.random.default_rng(9)
    mu = rng.normal(size=(S, 4, 3))
    wide, narrow = (overlap(fake(mu, EVIDENCE, level=level)).mechanisms for level in (0.95, 0.5))
    assert (wide["contrast_low"] < narrow["contrast_low"]).all()
    assert (narrow["contrast_high"] < wide["contrast_high"]).all()


def test_convergence_is_passed_on_and_the_summary_is_a_copy():
    got = overlap(fake(np.zeros((S, 4, 3)), EVIDENCE, converged=False))
    assert not got.converged
    mine = got.summary()
    mine.loc[:, "median"] = -1.0
    assert (got.figures["n_mechanisms"] >= 0).all()
    assert (got.figures["median"] != -1).all()
