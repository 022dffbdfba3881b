import warnings

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.escalc import escalc
from nssi_meta.evidence.escalc_common import hedges_j
from nssi_meta.evidence.vcalc import aggregate, vcalc

SIZES = {"a": 60, "b": 80, "c": 100, "d": 90}
MEANS = {"a": 0.5, "b": 0.9, "c": 0.0, "d": -0.4}
DRAWS = 400_000


def frame_of(pairs, **columns):
    """Rows comparing groups, each with its true g and large-sample variance."""
    rows = []
    for case, control in pairs:
        g = MEANS[case] - MEANS[control]
        n1, n2 = SIZES[case], SIZES[control]
        vi = 1 / n1 + 1 / n2 + g**2 / (2 * (n1 + n2))
        rows.append((case, control, n1, n2, g, vi))
    names = ["sample_id", "control_id", "n_case", "n_control", "yi", "vi"]
    return pd.DataFrame(rows, columns=names).assign(scale="g", **columns)


def simulated(pairs, groups, common_sd, seed):
    """Covariance of two Hedges g over DRAWS studies, and its Monte Carlo standard error."""
    rng = np.random.default_rng(seed)
    mean = {k: rng.normal(MEANS[k], SIZES[k] ** -0.5, DRAWS) for k in groups}
    square = {k: rng.chisquare(SIZES[k] - 1, DRAWS) for k in groups}
    g = []
    for case, control in pairs:
        used = groups if common_sd else (case, control)
        df = sum(SIZES[k] for k in used) - len(used)
        sd = np.sqrt(sum(square[k] for k in used) / df)
        g.append(hedges_j(float(df)) * (mean[case] - mean[control]) / sd)
    x, y = (v - v.mean() for v in g)
    return float(np.mean(x * y)), float(np.std(x * y) / np.sqrt(DRAWS))


@pytest.mark.parametrize(
    "pairs",
    [(("a", "c"), ("b", "c")), (("a", "c"), ("a", "d")), (("a", "b"), ("b", "c"))],
    ids=["shared controls", "shared cases", "cases are the other's controls"],
)
def test_shared_groups_against_simulation(pairs):
    groups = sorted({g for pair in pairs for g in pair})
    formula = vcalc(frame_of(pairs))[0, 1]
    # Gleser and Olkin's setting, one SD from all groups: formula right to order 1/N (1%).
    found, error = simulated(pairs, groups, common_sd=True, seed=11)
    assert formula == pytest.approx(found, abs=4 * error + 0.01 * abs(found))
    # Each comparison with the SD of its own two groups, as papers print it: within 3% (1.5% seen).
    found, error = simulated(pairs, groups, common_sd=False, seed=12)
    assert formula == pytest.approx(found, abs=4 * error + 0.03 * abs(found))


def test_shared_controls_of_odds_ratios_against_simulation():
    p, n = {"a": 0.4, "b": 0.5, "c": 0.3}, {"a": 150, "b": 180, "c": 200}
    rng = np.random.default_rng(5)
    log_odds = {}
    for k in p:
        x = rng.binomial(n[k], p[k], DRAWS)
        log_odds[k] = np.log(x / (n[k] - x))
    x, y = log_odds["a"] - log_odds["c"], log_odds["b"] - log_odds["c"]
    product = (x - x.mean()) * (y - y.mean())
    found, error = product.mean(), product.std() / np.sqrt(DRAWS)
    cells = {"events_control": [60, 60], "total_control": [200, 200]}
    cells |= {"events_case": [60, 90], "total_case": [150, 180]}
    frame = pd.DataFrame({"sample_id": ["a", "b"], "control_id": "c", "scale": "log_or", **cells})
    effects = escalc("OR", data=frame, ai="events_case", n1i="total_case", ci="events_control",
                     n2i="total_control")  # fmt: skip
    formula = vcalc(effects.assign(n_case=[150, 180], n_control=200))[0, 1]
    assert formula == pytest.approx(1 / 60 + 1 / 140, rel=1e-12)
    # Delta method: 2% at these counts, besides the Monte Carlo error.
    assert formula == pytest.approx(found, abs=4 * error + 0.02 * found)


def test_same_people_two_outcomes():
    frame = frame_of([("a", "c"), ("a", "c"), ("b", "d")], measure=["x", "y", "x"])
    v = vcalc(frame, rho=0.6)
    s = np.sqrt(frame["vi"])
    assert v[0, 1] == pytest.approx(0.6 * s[0] * s[1])
    assert v[0, 2] == 0
    np.testing.assert_array_equal(np.diag(v), frame["vi"])


def test_other_outcomes_share_a_group_by_rho_only():
    one = vcalc(frame_of([("a", "c"), ("b", "c")], measure=["x", "x"]))
    two = vcalc(frame_of([("a", "c"), ("b", "c")], measure=["x", "y"]), rho=0.6)
    assert two[0, 1] == pytest.approx(0.6 * one[0, 1])
    # 1/n_control + g g / (2 N)
    assert one[0, 1] == pytest.approx(1 / 100 + 0.5 * 0.9 / (2 * 240))


def test_exchanged_groups():
    v = vcalc(frame_of([("a", "c"), ("c", "a")]), rho=0.5)
    assert v[0, 1] == pytest.approx(-0.5 * v[0, 0])


def test_empty_ids_and_other_scales_share_nobody():
    frame = frame_of([("a", "c"), ("a", "c"), ("b", "c")])
    for nothing in ("", np.nan, None):
        blank = frame.assign(sample_id=nothing, control_id=nothing)
        np.testing.assert_array_equal(vcalc(blank), np.diag(frame["vi"]))
    mixed = frame.assign(scale=["g", "log_or", "z"])
    np.testing.assert_array_equal(vcalc(mixed), np.diag(frame["vi"]))


def test_unknown_counts_and_sizes_give_nothing():
    frame = frame_of([("a", "c"), ("b", "c")])
    np.testing.assert_array_equal(vcalc(frame.assign(scale="log_or")), np.diag(frame["vi"]))
    np.testing.assert_array_equal(vcalc(frame.assign(n_control=np.nan)), np.diag(frame["vi"]))


CHAIN = [("a", "c"), ("a", "c"), ("b", "c"), ("b", "c"), ("a", "d"), ("c", "d"), ("a", "b")]
OUTCOMES = ["x", "y", "x", "y", "x", "x", "y"]


def test_permuting_rows():
    frame = frame_of(CHAIN, measure=OUTCOMES)
    v = vcalc(frame)
    order = np.random.default_rng(2).permutation(len(frame))
    np.testing.assert_allclose(vcalc(frame.iloc[order]), v[np.ix_(order, order)], rtol=1e-13)


def test_turning_all_comparisons_round_keeps_the_covariances():
    frame = frame_of(CHAIN, measure=OUTCOMES)
    turned = frame.rename(
        columns={
            "sample_id": "control_id", "control_id": "sample_id",
            "n_case": "n_control", "n_control": "n_case",
        }
    )  # fmt: skip
    turned["yi"] = -turned["yi"]
    np.testing.assert_allclose(vcalc(turned), vcalc(frame), rtol=1e-13)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_a_mechanism_coded_the_other_way_round_changes_nothing_else(rho):
    frame = frame_of([("a", "c"), ("b", "c"), ("b", "d")], mechanism=["x", "y", "y"])
    flipped = frame.assign(yi=frame["yi"] * [1, -1, -1])
    one, two = vcalc(frame, rho), vcalc(flipped, rho)
    np.testing.assert_allclose(one[1:, 1:], two[1:, 1:], rtol=1e-13)
    assert np.linalg.eigvalsh(two)[0] > 0


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_positive_definite_without_shrinking_in_a_full_design(rho):
    pairs = [(case, "c") for case in "abd" for _ in range(3)]
    frame = frame_of(pairs, measure=["x", "y", "z"] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        v = vcalc(frame, rho)
    assert np.linalg.eigvalsh(v)[0] > 0


def test_contradictions_are_shrunk_and_said():
    # A printed variance far below what the shared controls alone would give.
    frame = frame_of([("a", "c"), ("b", "c"), ("b", "d")])
    frame["vi"] = [0.004, 0.004, 0.03]
    with pytest.warns(UserWarning, match="3 connected rows contradict each other"):
        v = vcalc(frame)
    assert np.linalg.eigvalsh(v)[0] > 0
    np.testing.assert_array_equal(np.diag(v), frame["vi"])


def test_shrinking_leaves_other_rows_alone():
    tight = frame_of([("a", "c"), ("b", "c")]).assign(vi=0.004)
    other = frame_of([("d", "c"), ("d", "c")]).assign(sample_id="e", control_id="f")
    both = pd.concat([tight, other], ignore_index=True)
    with pytest.warns(UserWarning, match="2 connected rows"):
        v = vcalc(both)
    np.testing.assert_allclose(v[2:, 2:], vcalc(other), rtol=1e-13)


def test_wrong_input():
    frame = frame_of([("a", "c")])
    with pytest.raises(ValueError, match="rho must be in"):
        vcalc(frame, rho=1.0)
    with pytest.raises(ValueError, match="finite vi above 0"):
        vcalc(frame.assign(vi=np.nan))
    assert vcalc(frame.iloc[:0]).shape == (0, 0)
    with pytest.raises(ValueError, match="no column 'vi'"):
        vcalc(frame.drop(columns="vi"))
    with pytest.raises(ValueError, match="neither 'sample_id' nor 'control_id'"):
        vcalc(frame.drop(columns=["sample_id", "control_id"]))
    with pytest.raises(ValueError, match="column 'scale'"):
        vcalc(frame.drop(columns="scale"))


def test_variances_and_samples_are_enough():
    """metafor: vcalc(vi, cluster=sample_id, obs=1:4, rho=0.3)."""
    s = np.array([0.2, 0.3, 0.5, 0.1])
    found = vcalc(pd.DataFrame({"vi": s**2, "sample_id": ["a", "a", "b", "a"]}), rho=0.3)
    same = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]])
    expected = np.outer(s, s) * np.where(np.eye(4, dtype=bool), 1.0, 0.3 * same)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_aggregate_with_covariance():
    # Two equally precise effects with correlation r: their mean, variance v (1 + r) / 2.
    v = np.array([[0.04, 0.02], [0.02, 0.04]])
    found = aggregate([0.2, 0.6], v, ["s", "s"])
    assert found.loc["s"].tolist() == [pytest.approx(0.4), pytest.approx(0.03)]
