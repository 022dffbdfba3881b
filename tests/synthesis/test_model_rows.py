"""From a data frame to the sampled models, without sampling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import nssi_meta as nm
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.study_rows import study_rows
from nssi_meta.synthesis.pooled import comparable_rows

#: Both sides are the same sums in another order.
TOLERANCE = 1e-10
FRAME = pd.DataFrame(
    {
        "g": [0.4, 0.1, 0.35, -0.2, 0.6, 0.3],
        "se": [0.2, 0.25, 0.2, 0.3, 0.15, 0.2],
        "trial": ["a", "a", "b", "c", "d", "e"],
        "age": [20, 25, 31, 44, 18, 60],
        "kind": ["x", "y", "x", "x", "y", "y"],
    }
)
NAMES = {"yi": "g", "sei": "se", "study": "trial"}
DRAWS = {
    "coef": np.array([[0.2, 0.01], [0.3, -0.02]]),
    "tau": np.array([0.1, 0.5]),
    "omega": np.array([0.2, 0.05]),
}


def test_rows_are_those_made_by_hand():
    rows = nm.model_rows(FRAME, ["age"], **NAMES)
    centred = FRAME["age"] - FRAME["age"].mean()
    X = np.c_[np.ones(6), centred]
    by_hand = study_rows(FRAME["g"], FRAME["se"] ** 2, FRAME["trial"], X)
    other = nm.regression(by_hand, ["intercept", "age"], ["normal(0,1)", "flat"])
    ours = nm.regression(**rows.exact)
    np.testing.assert_allclose(
        ours.log_likelihood(DRAWS), other.log_likelihood(DRAWS), rtol=TOLERANCE
    )
    assert ours.studies == ("a", "b", "c", "d", "e")
    assert ours.labels["coef"] == ("intercept", "age")


@pytest.mark.parametrize("unit", [1.0, 12.0])
def test_a_slope_s_prior_is_for_one_sd_whatever_the_unit(unit):
    rows = nm.model_rows(
        FRAME.assign(age=FRAME["age"] * unit), ["age", "kind", "age:kind"],
        beta_prior="normal(0,0.5)", mu_prior="normal(0.1,2)", **NAMES,
    )  # fmt: skip
    sd = FRAME["age"].std(ddof=0) * unit
    assert rows.names == ("intercept", "age", "kind[y]", "age:kind[y]")
    found = [[float(n) for n in p[7:-1].split(",")] for p in rows.priors]
    np.testing.assert_allclose(found, [[0.1, 2], [0, 0.5 / sd], [0, 0.5], [0, 0.5 / sd]])


def test_without_bounds_both_models_are_the_same():
    rows = nm.model_rows(FRAME, ["age"], **NAMES)
    exact, bounded = nm.regression(**rows.exact), nm.bounded_regression(**rows.bounded)
    np.testing.assert_allclose(
        exact.log_likelihood(DRAWS).sum(axis=1), bounded.log_likelihood(DRAWS).sum(axis=1),
        rtol=TOLERANCE,
    )  # fmt: skip


def test_a_bound_counts_by_its_probability():
    frame = FRAME.assign(low=np.nan, high=np.nan, study=list("abcdef"))
    frame.loc[3, ["g", "low", "high"]] = [np.nan, -0.6, 0.6]
    names = {**NAMES, "study": "study", "lower": "low", "upper": "high"}
    rows = nm.model_rows(frame, ["age"], **names)
    model = nm.bounded_regression(**rows.bounded)
    draws = {k: v for k, v in DRAWS.items() if k != "omega"}
    found = model.log_likelihood(draws)[:, list(model.studies).index("rows 4")]
    mean = draws["coef"] @ [1, 44 - FRAME["age"].mean()]
    sd = np.sqrt(0.3**2 + draws["tau"] ** 2)
    want = np.log(stats.norm.cdf((0.6 - mean) / sd) - stats.norm.cdf((-0.6 - mean) / sd))
    np.testing.assert_allclose(found, want, rtol=TOLERANCE)
    with pytest.raises(ValueError, match=r"row 3 is a bound.*bounded_regression"):
        rows.exact  # noqa: B018


def test_a_size_without_sign_counts_both_ways():
    frame = FRAME.assign(lost=["", "no", "yes", "", None, "no"], trial=list("abcdef"))
    rows = nm.model_rows(frame, ["age"], unsigned="lost", **NAMES)
    assert rows.frame["kind"].tolist() == ["exact", "exact", "unsigned", "exact", "exact", "exact"]
    model = nm.bounded_regression(**rows.bounded)
    draws = {k: v for k, v in DRAWS.items() if k != "omega"}
    found = model.log_likelihood(draws)[:, list(model.studies).index("rows 3")]
    normal = stats.norm(draws["coef"] @ [1, 31 - FRAME["age"].mean()], np.hypot(0.2, draws["tau"]))
    want = np.log(normal.pdf(0.35) + normal.pdf(-0.35))
    np.testing.assert_allclose(found, want, rtol=TOLERANCE)
    with pytest.raises(ValueError, match=r"row 2 is a size without sign.*\(here 1\).*bounded_reg"):
        rows.exact  # noqa: B018
    with pytest.raises(ValueError, match="index 3, column lost: 'maybe'"):
        nm.model_rows(frame.assign(lost=["", "", "", "maybe", "", ""]), unsigned="lost", **NAMES)


def test_models_with_bounds_take_the_same_rows():
    frame = FRAME.assign(low=np.nan, high=np.nan, early=[1.0, 1, 0, 0, 0, 1])
    frame.loc[3, ["g", "low", "high"]] = [np.nan, -0.6, 0.6]
    names = {**NAMES, "lower": "low", "upper": "high"}
    rows = nm.model_rows(frame, ["age", "kind"], **names)
    plain = nm.bounded_regression(**rows.bounded)
    spread = nm.model_rows(frame, ["early"], **names)
    model = nm.location_scale(**rows.bounded, Z=spread.X, scale_names=spread.names)
    draws = {**DRAWS, "coef": np.array([[0.2, 0.01, 0.1], [0.3, -0.02, 0.0]])}
    same = draws | {"scale": np.c_[np.log(draws["tau"]), [0.0, 0.0]]}
    np.testing.assert_allclose(
        model.log_likelihood(same), plain.log_likelihood(draws), rtol=TOLERANCE
    )
    many = nm.horseshoe(rows.rows, rows.names, expected=1)
    np.testing.assert_allclose(
        many.log_likelihood(draws), plain.log_likelihood(draws), rtol=TOLERANCE
    )
    assert many.labels["coef"] == rows.names
    for refuses in (nm.regression, nm.robust_regression):
        with pytest.raises(ValueError, match=r"exact effects only: use bounded_regression"):
            refuses(rows.rows, rows.names, rows.priors)


def test_rows_of_the_same_people_have_correlated_errors():
    rows = nm.model_rows(FRAME.assign(team=list("xxyzuv")), sample="team", rho=0.4, **NAMES)
    assert rows.V[0, 1] == pytest.approx(0.4 * 0.2 * 0.25, rel=TOLERANCE)
    assert np.count_nonzero(rows.V) == 6 + 2
    assert nm.model_rows(FRAME, **NAMES).V.shape == (6,)


def test_other_models_take_the_same_rows():
    rows = nm.model_rows(FRAME, ["age"], **NAMES)
    spread = nm.model_rows(FRAME.assign(wave=FRAME["trial"].eq("a") * 1.0), ["wave"], **NAMES)
    assert nm.robust_regression(**rows.exact).studies == rows.rows.names
    model = nm.location_scale(**rows.exact, Z=spread.X, scale_names=spread.names)
    assert model.labels["scale"] == ("intercept", "wave")
    many = nm.model_rows(FRAME, ["age", "kind"], **NAMES)
    assert nm.horseshoe(many.rows, many.names, expected=1).labels["coef"] == many.names


def test_evidence_makes_the_rows_of_its_pool(evidence):
    cell = evidence.select(mechanism="grip", condition="gamma")
    rows = nm.model_rows(cell)
    (fitted,) = nm.pool(cell).cells
    k, one = len(rows.frame), np.ones((1, len(rows.frame)))
    want = log_likelihood(fitted.layout, 0.3 * one, 0.2 * one, np.array([[0.1]]))
    draws = {"coef": np.array([[0.3]]), "tau": np.array([0.2]), "omega": np.array([0.1])}
    found = nm.bounded_regression(**rows.bounded).log_likelihood(draws)
    assert k == fitted.layout.k
    assert found.sum() == pytest.approx(want.sum(), rel=TOLERANCE)
    again = nm.model_rows(comparable_rows(cell)).frame
    pd.testing.assert_frame_equal(rows.frame, again)
    with pytest.raises(ValueError, match="no rows"):
        nm.model_rows(comparable_rows(cell).iloc[:0])


@pytest.mark.parametrize(
    ("change", "moderators", "names", "says"),
    [
        ({"se": [0, 1, 1, 1, 1, 1]}, ["age"], {}, "index 0, column se: '0' is out of range"),
        ({"g": [1, None, 1, 1, 1, 1]}, [], {}, "index 1, column g: the effect is missing"),
        ({"age": [1, None, 1, 2, 1, 1]}, ["age"], {}, "age is missing in 1 of 6 rows"),
        ({}, ["agee"], {}, "no moderator 'agee'; did you mean 'age'"),
        ({}, ["age"], {"vi": "se"}, "exactly one of vi"),
        ({}, ["age"], {"beta_prior": "student_t(3,0,1)"}, r"not possible.*normal\(mean,sd\)"),
        ({}, ["age"], {"study": "trail"}, "did you mean 'trial'"),
    ],
)
def test_what_cannot_be_read_is_named(change, moderators, names, says):
    with pytest.raises(ValueError, match=says):
        nm.model_rows(FRAME.assign(**change), moderators, **{**NAMES, **names})


def _of(moderators):
    rows = nm.model_rows(FRAME, moderators, **NAMES)
    return rows.rows, rows.names


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nm.binomial_normal([1, 2]), r"type list, .*count_tables\(events_t"),
        (lambda: nm.regression([1], ["a"], ["flat"]), r"type list, .*model_rows"),
        (lambda: nm.horseshoe(FRAME, ["a"], 1), r"type DataFrame, .*model_rows"),
        (lambda: nm.horseshoe(*_of(["age"]), 1), r"at least 2, here 1: use regression\(\*\*rows"),
        (lambda: nm.horseshoe(*_of(["age", "kind"]), 2), "at least 1 and below 2"),
        (lambda: nm.location_scale([1], ["a"], ["flat"], [[1]], ["b"]), "type list"),
        (lambda: nm.model_rows([1, 2], vi="vi"), "a data frame, not list"),
        (lambda: nm.read_simple([1, 2], "yi", vi="vi"), "a data frame, not list"),
        (lambda: nm.pool([1, 2]), "read_effects or read_simple gives, not list"),
        (lambda: nm.pool(FRAME), r"no column 'mechanism'.*read_simple\(frame"),
    ],
)
def test_what_is_no_data_for_a_model_is_told_what_to_do(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("what", [[1], FRAME, None])
def test_only_models_are_sampled(what):
    with pytest.raises(TypeError, match=rf"not {type(what).__name__}: rows = model_rows\(frame"):
        nm.refit(what, seed=1)
    with pytest.raises(TypeError, match="seed"):
        nm.refit(what)
