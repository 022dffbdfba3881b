import numpy as np
import pandas as pd
import pytest

from nssi_meta.models.design import combinations, design, require_independent

FRAME = pd.DataFrame(
    {
        "age": [15.0, 20.0, 25.0, 30.0, 18.0, 22.0],
        "sample": ["teen", "adult", "adult", "teen", "mixed", "mixed"],
        "constant": 1.0,
        "gap": [1.0, np.nan, 2.0, 3.0, 4.0, 5.0],
    }
)


def test_columns_of_continuous_categorical_and_product():
    d = design(FRAME, ["age", "sample"])
    X = d.matrix(FRAME)
    assert d.names == ("intercept", "age", "sample[mixed]", "sample[teen]")
    assert d.moderators["sample"].levels == ("adult", "mixed", "teen")
    assert X[:, 1] == pytest.approx(FRAME["age"] - FRAME["age"].mean())
    assert X[:, 3].tolist() == [1, 0, 0, 1, 0, 0]
    assert d.spread == pytest.approx([1, FRAME["age"].std(ddof=0), 1, 1])


def test_the_order_of_levels_does_not_hang_on_that_of_rows_and_can_be_chosen():
    mixed = FRAME.iloc[::-1]
    assert design(mixed, ["sample"]).names == design(FRAME, ["sample"]).names
    levels = ["teen", "nobody", "mixed", "adult"]
    chosen = FRAME.assign(sample=pd.Categorical(FRAME["sample"], levels))
    assert design(chosen, ["sample"]).names == ("intercept", "sample[mixed]", "sample[adult]")
    assert design(FRAME.assign(young=FRAME["age"] < 19), ["young"]).names[1] == "young[True]"


def test_means_of_levels_come_from_the_coefficients_of_an_exact_fit():
    """Effects that follow the model exactly: estimated means are the levels' true means."""
    truth = {"teen": 0.1, "adult": 0.5, "mixed": -0.2}
    slope = {"teen": 0.01, "adult": 0.03, "mixed": 0.02}
    frame = pd.DataFrame(
        {"age": np.tile([10.0, 20.0, 31.0], 3), "sample": np.repeat(list(truth), 3)}
    )
    centred = frame["age"] - frame["age"].mean()
    y = frame["sample"].map(truth) + frame["sample"].map(slope) * centred
    d = design(frame, ["age", "sample", "age:sample"])
    coef = np.linalg.solve(d.matrix(frame).T @ d.matrix(frame), d.matrix(frame).T @ y)
    wanted = combinations(d)
    for level, mean in truth.items():
        assert wanted.means[f"sample[{level}]"] @ coef == pytest.approx(mean, abs=1e-12)
    difference = wanted.contrasts["sample[teen] - sample[mixed]"] @ coef
    assert difference == pytest.approx(0.3, abs=1e-12)
    assert len(wanted.contrasts) == 3


def test_without_categories_the_mean_is_that_of_the_average_study():
    wanted = combinations(design(FRAME, ["age"]))
    assert wanted.means["overall"].tolist() == [1.0, 0.0]
    assert not wanted.contrasts


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (["Age"], "no moderator 'Age'; did you mean 'age'"),
        (["gap"], "gap is missing in 1 of 6 rows .first: row 2"),
        (["constant"], "constant is 1.0 in every row: it explains"),
        (["age", "age:sample"], "needs 'sample' as a moderator too"),
        (["age", "sample", "age:sample", "age:age"], "follow from one another"),
    ],
)
def test_what_is_refused(terms, message):
    frame = FRAME.assign(age=[15.0, 20.0, 20.0, 15.0, 15.0, 20.0])
    with pytest.raises(ValueError, match=message):
        require_independent(design(frame, terms).matrix(frame), ["columns"])
