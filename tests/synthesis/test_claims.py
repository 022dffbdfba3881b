"""The claims audit: events by hand, the rule, every kind of claim on the made-up review."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.claims import OPTIONAL, REQUIRED
from nssi_meta.evidence.read import read_effects
from nssi_meta.synthesis.claim_events import Normal, draws_in, event, probability, share_of_draws
from nssi_meta.synthesis.claim_pools import CellPools
from nssi_meta.synthesis.claims import bayes_factors, claims, sensitivity_text, verdict
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.profiles import comparable

# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("kind", "expected", "means", "holds"),
    [
        ("direction", "+", [0.3], True),
        ("direction", "-", [0.3], False),
        ("direction", "?", [-0.3], True),
        ("direction", "+", [0.1], False),
        ("shared", "+", [0.3, 0.4], True),
        ("shared", "-", [-0.3, -0.4], True),
        ("shared", "+", [0.3, -0.4], False),
        ("shared", "?", [0.3, -0.4], True),  # no direction named: both beyond, either way
        ("shared", "?", [0.3, 0.1], False),
        ("opposite", "+", [0.3, -0.4], True),
        ("opposite", "-", [0.3, -0.4], False),
        ("opposite", "?", [-0.3, 0.4], True),
        ("specific", "+", [0.3, 0.1], True),
        ("specific", "+", [0.3, 0.3], False),
        ("specific", "?", [-0.3, -0.1], True),
    ],
)
def test_what_a_claim_says(kind, expected, means, holds):
    got = draws_in(event(kind, expected), 0.2, *(np.array([m]) for m in means))
    assert got.tolist() == [holds]


def test_events_of_independent_means_agree_with_draws():
    """Closed form against 200 000 draws: 4 standard errors are below 0.0045."""
    rng = np.random.default_rng(1)
    a, b = Normal(0.3, 0.5), Normal(-0.2, 0.8)
    draws = [0.3 + 0.5 * rng.standard_normal(200_000), -0.2 + 0.8 * rng.standard_normal(200_000)]
    for kind in ("shared", "opposite", "specific"):
        for expected in "+-?":
            what = event(kind, expected)
            hits = draws_in(what, 0.2, *draws)
            assert probability(what, 0.2, [a, b]) == pytest.approx(hits.mean(), abs=0.0045)
    assert probability(event("direction", "+"), 0.0, [a]) == pytest.approx(stats.norm.cdf(0.6))


def test_an_unknown_kind_has_no_event():
    with pytest.raises(ValueError, match="ranking"):
        event("ranking", "+")


def test_draws_never_show_certainty():
    assert share_of_draws(np.ones(999, dtype=bool)) == pytest.approx(1 - 0.5 / 1000)
    assert share_of_draws(np.zeros(999, dtype=bool)) == pytest.approx(0.5 / 1000)


# ---------------------------------------------------------------- rule


def test_bayes_factors_by_hand():
    encompassing, negation = bayes_factors(0.9, 0.25)
    assert encompassing == pytest.approx(0.9 / 0.25)
    assert negation == pytest.approx((0.9 / 0.1) / (0.25 / 0.75))
    assert all(np.isnan(bayes_factors(0.5, prior)).all() for prior in (0.0, 1.0, np.nan))


@pytest.mark.parametrize(
    ("p", "prior", "expected"),
    [
        (0.95, 0.5, "supported"),
        (0.9, 0.5, "supported"),  # at the limit
        (0.89, 0.5, "open"),
        (0.05, 0.5, "contradicted"),
        (0.95, 0.9, "open"),  # the prior said so already
        (0.05, 0.08, "open"),
        (np.nan, np.nan, "open"),
    ],
)
def test_the_rule(p, prior, expected):
    assert verdict(p, bayes_factors(p, prior)[1]) == expected


def test_sensitivity_in_words():
    def reading(name, says, estimand="case_control"):
        return {"reading": name, "verdict": says, "estimand": estimand}

    same = [reading("joint model", "open"), reading("pool", "open")]
    assert sensitivity_text(same) == "the same in 1 further readings"
    assert sensitivity_text(same[:1]) == "one reading only"
    assert sensitivity_text([]) == ""
    found = [
        *same, reading("threshold 0.4", "contradicted"), reading("threshold 0.5", "contradicted"),
        reading("exact rows only", "supported"), reading("pool", "supported", "odds"),
    ]  # fmt: skip
    assert sensitivity_text(found) == (
        "changes in 3 of 4 (contradicted: threshold 0.4, 0.5 | supported: exact rows only)"
    )


# ---------------------------------------------------------------- claims on the made-up review


def claim(**cells):
    blank = dict.fromkeys([*REQUIRED, *OPTIONAL], "")
    return blank | {"claim_id": "C1", "condition": "alpha", "statement": "s"} | cells


@pytest.fixture(scope="module")
def audit(evidence, quick):
    def run(*rows, **options):
        return claims(pd.DataFrame(rows), evidence, quick, **options)

    return run


ONE = {"kind": "direction", "mechanism": "reflex", "expected": "+"}
TWO = {"mechanism": "reflex", "other_condition": "beta"}


CASES = [
        (ONE, "supported"),
        (ONE | {"expected": "-"}, "contradicted"),
        (ONE | {"mechanism": "appetite"}, "open"),  # its true mean is 0
        ({"kind": "shared", "expected": "+", **TWO}, "supported"),
        ({"kind": "shared", "expected": "-", **TWO}, "contradicted"),
        ({"kind": "shared", "expected": "?", **TWO}, "supported"),
        ({"kind": "opposite", "expected": "+", **TWO, "other_condition": "gamma"}, "supported"),
        ({"kind": "opposite", "expected": "+", **TWO}, "contradicted"),
        ({"kind": "specific", "expected": "+", "mechanism": "tremor", "other_condition": "gamma"},
         "supported"),
        ({"kind": "specific", "expected": "+", **TWO}, "contradicted"),
        # appetite in gamma was never studied: predicted, hence no evidence
        ({"kind": "shared", "expected": "+", "mechanism": "appetite", "other_condition": "gamma"},
         "no evidence"),
        ({"kind": "system_overlap", "expected": "+", "other_condition": "beta",
          "subset": "system=motor"}, "supported"),
        ({"kind": "system_overlap", "expected": "+", "other_condition": "gamma",
          "subset": "system=motor"}, "contradicted"),
        ({"kind": "system_overlap", "expected": "+", "other_condition": "gamma",
          "subset": "system=drive"}, "no evidence"),
        ({"kind": "ranking", "expected": "+", "other_condition": "beta"}, "supported"),
        ({"kind": "ranking", "expected": "-", "other_condition": "beta"}, "contradicted"),
        ({"kind": "ranking", "expected": "+", "other_condition": "gamma"}, "contradicted"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def audited(audit):
    """All cases in one audit: their pools are fitted once."""
    return audit(*(claim(**cells) | {"claim_id": str(i)} for i, (cells, _) in enumerate(CASES)))


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_verdict_of_each_kind_is_that_of_the_truth(audited, case):
    row, expected = audited.table.iloc[case], CASES[case][1]
    assert row["verdict"] == expected
    if expected == "no evidence":
        assert row["k"] == 0
        assert np.isnan(row["probability"])
    else:
        assert row["k"] > 0
        assert row["studies"]


def test_a_direction_claim_by_hand(audit, quick):
    row = audit(claim(**ONE)).table.iloc[0]
    mu = quick.draws("mu")[:, 0, 0]
    assert row["probability"] == share_of_draws(mu > 0)
    assert row["estimate"] == pytest.approx(np.median(mu))
    # the prior is symmetric: 4000 x 4 draws, 4 standard errors are 0.016
    assert row["prior"] == pytest.approx(0.5, abs=0.016)
    assert row["bayes_factor"] == pytest.approx(row["probability"] / row["prior"])


def test_readings_are_side_by_side_and_marked(audit, evidence):
    """tremor in alpha: exact group comparisons, and one correlation, which is never mixed in."""
    found = audit(claim(**ONE | {"mechanism": "tremor"}))
    readings = found.sensitivity.set_index(["reading", "estimand"])
    assert set(readings.index.get_level_values("estimand")) == {"case_control", "association"}
    r = readings.loc[("pool", "association")]
    assert r["k"] == 1
    posterior = pool(evidence.select("tremor", "alpha", "association")).table.iloc[0]
    assert r["probability"] == pytest.approx(posterior["p_positive"], abs=1e-9)
    assert found.table["other_estimands"].iloc[0].startswith("association")
    thresholds = [n for n in found.sensitivity["reading"] if n.startswith("threshold")]
    assert thresholds == [f"threshold {t:g}" for t in (0.1, 0.2, 0.3, 0.4, 0.5)]


def test_exact_rows_alone_are_a_reading_where_there_are_bounds(audit):
    """reflex in alpha has three bounds; grip in alpha has none."""
    names = {
        m: set(audit(claim(**ONE | {"mechanism": m})).sensitivity["reading"])
        for m in ("reflex", "grip")
    }
    assert "exact rows only" in names["reflex"]
    assert "exact rows only" not in names["grip"]


def test_doubtful_rows_are_a_reading_beside_the_verdict(audit):
    found = audit(claim(**ONE | {"mechanism": "tremor", "condition": "beta"}))
    by_name = found.sensitivity.set_index("reading")
    assert by_name.loc["with doubtful rows", "k"] == by_name.loc["pool", "k"] + 1


def test_a_subset_is_pooled_alone(audit, evidence):
    found = audit(claim(**ONE, subset="measure=other task"))
    assert found.table["reading"].tolist() == ["pool"]
    assert found.table["k"].tolist() == [1]
    assert "joint model" not in set(found.sensitivity["reading"])


def test_a_moderator_with_too_few_studies_has_no_number(audit):
    row = audit(claim(kind="moderator", mechanism="reflex", expected="+",
                      subset="measure=other task vs other")).table.iloc[0]  # fmt: skip
    assert row["verdict"] == "open"
    assert np.isnan(row["probability"])
    assert row["note"] == "too few studies: 1 against 6"


def two_groups():
    """Four studies with a loud stimulus and a mean of 1, four with a quiet one and a mean of 0."""
    noise = [0.1, 0.02, 0.05, 0.01]
    return [
        {"effect_id": f"e{i}", "study_id": f"s{i}", "sample_id": f"s{i}", "control_id": f"s{i}:c",
         "condition": "alpha", "comparator": "well", "estimand": "case_control",
         "mechanism": "grip", "measure": "task", "n_case": 60, "n_control": 60, "status": "use",
         "authors": "A", "year": 2001, "statistic": "g", "direction": "+",
         "stimulus": "loud" if i < 4 else "quiet", "g": (1.0 if i < 4 else 0.0) + noise[i % 4]}
        for i in range(8)
    ]  # fmt: skip


def test_a_moderator_contrast_is_the_difference_of_subgroup_pools(write_rows, quick):
    """Two groups of four large studies 1.0 apart: the contrast finds it."""
    evidence = read_effects(write_rows(two_groups()))
    found = claims(
        pd.DataFrame([claim(kind="moderator", mechanism="grip", expected="+",
                            subset="stimulus=loud vs other")]),
        evidence, quick,
    )  # fmt: skip
    row = found.table.iloc[0]
    assert row["verdict"] == "supported"
    # 4 studies of 60 + 60 a group: SE of the difference about 0.13 plus tau, shrunk a little
    assert row["estimate"] == pytest.approx(1.0, abs=0.25)
    assert row["k"] == 8


def test_claims_that_contradict_each_other_are_marked(audit):
    rows = [
        claim(**ONE), claim(**ONE | {"expected": "-", "claim_id": "C2"}),
        claim(**ONE | {"claim_id": "C3", "mechanism": "grip"}),
        claim(**ONE | {"claim_id": "C4", "kind": "contested", "mechanism": "tremor"}),
        claim(**ONE | {"claim_id": "C5", "mechanism": "appetite", "disputed_by_review": "both"}),
    ]  # fmt: skip
    assert audit(*rows).table["disputed"].tolist() == [
        "C2 says the opposite", "C1 says the opposite", "", "the review calls it contested",
        "both",
    ]  # fmt: skip


def test_pools_that_are_there_are_not_fitted_again(evidence, monkeypatch):
    pools = pool(evidence.select("grip", "alpha"))
    cells = CellPools(evidence, 0.6, pools)
    monkeypatch.setattr("nssi_meta.synthesis.claim_pools.fit_cell", lambda *a: 1 / 0)
    rows = cells.rows("grip", "alpha", "case_control")
    assert cells.fit(rows) is pools.cells[0]
    assert cells.rows("grip", "nobody", "case_control").empty
    other = CellPools(evidence, 0.6, pool(evidence.select("grip", "alpha"), mu_prior="normal(0,2)"))
    with pytest.raises(ZeroDivisionError):  # pools under another prior answer another question
        other.fit(rows)


def test_a_threshold_that_is_no_distance_is_refused(audit):
    with pytest.raises(ValueError, match="threshold"):
        audit(claim(**ONE), threshold=-0.1)


def test_recoding_a_measure_turns_every_verdict_round(evidence, quick):
    """The sign of a mechanism's coding is a convention: + on one coding is - on the other."""
    turned = replace(quick, fit=replace(quick.fit, posterior_data={
        "posterior": {**quick.fit.posterior_data["posterior"],
                      "mu": -quick.fit.posterior_data["posterior"]["mu"]}}))  # fmt: skip
    for cells in (
        {"kind": "shared", **TWO},
        {"kind": "opposite", **TWO},
        {"kind": "specific", **TWO},
    ):
        one = claims(pd.DataFrame([claim(**cells, expected="+")]), evidence, quick)
        other = claims(pd.DataFrame([claim(**cells, expected="-")]), evidence, turned)
        assert one.table["probability"].tolist() == other.table["probability"].tolist()


def test_without_a_joint_model_claims_are_read_from_pools(audit, evidence):
    """Single means keep the numbers of their pools; what compares many has no evidence."""
    mean = claim(**ONE)
    ranked = claim(claim_id="C2", kind="ranking", expected="+", other_condition="beta")
    without = claims(pd.DataFrame([mean, ranked]), evidence, None)
    assert without.converged
    first = without.table.set_index("claim_id")
    assert first["verdict"].to_dict() == {"C1": "supported", "C2": "no evidence"}
    assert first.loc["C1", "reading"] == "pool"
    beside = audit(mean).sensitivity
    pooled = beside[(beside["reading"] == "pool") & (beside["estimand"] == "case_control")]
    assert first.loc["C1", "probability"] == pytest.approx(pooled["probability"].item(), rel=1e-12)
    assert first.loc["C1", "estimate"] == pytest.approx(pooled["estimate"].item(), rel=1e-12)


def test_one_condition_is_not_comparable(evidence):
    assert comparable(evidence)
    alone = evidence.rows[evidence.rows["condition"] == "alpha"]
    assert not comparable(replace(evidence, rows=alone[alone["comparator"] == "well"]))
