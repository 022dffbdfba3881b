"""A reviewer's own CSV of ready-made effects."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.simple import COLUMNS, read_simple

GOOD = "author,effect,variance,team\nAbe,0.5,0.04,x\nBea,-0.25,0.09,y\nAbe,0.1,0.01,x\n"


@pytest.fixture
def write(tmp_path):
    def to_file(text: str, name: str = "mine.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def test_good_file(write):
    frame = read_simple(write(GOOD), "effect", vi="variance", study="author", sample="team")
    assert tuple(frame.columns) == COLUMNS
    assert frame["yi"].tolist() == [0.5, -0.25, 0.1]
    assert frame["sei"].tolist() == pytest.approx([0.2, 0.3, 0.1], rel=1e-15)
    assert frame["study_id"].tolist() == frame["label"].tolist() == ["Abe", "Bea", "Abe"]
    assert frame["sample_id"].tolist() == ["x", "y", "x"]
    assert frame["effect_id"].tolist() == ["row 2", "row 3", "row 4"]
    assert set(frame["scale"]) == {"given"}
    assert set(frame["kind"]) == {"exact"}
    assert frame[["lower", "upper"]].isna().all(axis=None)


def test_standard_errors_and_no_names(write):
    frame = read_simple(write(GOOD), yi="effect", sei="variance")
    assert frame["vi"].tolist() == pytest.approx([0.0016, 0.0081, 0.0001], rel=1e-12)
    assert frame["study_id"].tolist() == ["row 2", "row 3", "row 4"]
    assert (frame[["sample_id", "control_id", "mechanism", "condition"]] == "").all(axis=None)


def test_bounds(write):
    text = "y,se,lo,hi\n0.3,0.1,,\n,0.2,0.4,\n,0.2,,-0.4\n,0.2,-0.4,0.4\n"
    frame = read_simple(write(text), "y", sei="se", lower="lo", upper="hi")
    assert frame["kind"].tolist() == ["exact", "interval", "interval", "interval"]
    np.testing.assert_array_equal(frame["lower"], [np.nan, 0.4, -np.inf, -0.4])
    np.testing.assert_array_equal(frame["upper"], [np.nan, np.inf, -0.4, 0.4])
    assert np.isnan(frame["yi"][1])


def test_texts_by_column(write):
    text = "m,c,g,y,v,name\npain,a,b,1,1,One\npain,a,b,1,1,\n"
    frame = read_simple(
        write(text), "y", vi="v", mechanism="m", condition="c", comparator="g", label="name"
    )
    assert frame.loc[0, ["mechanism", "condition", "comparator"]].tolist() == ["pain", "a", "b"]
    assert frame["label"].tolist() == ["One", "row 3"]


@pytest.mark.parametrize("spread", [{}, {"vi": "variance", "sei": "variance"}])
def test_variance_or_error_has_to_be_declared(spread, write):
    with pytest.raises(ValueError, match=r"exactly one of vi .* and sei"):
        read_simple(write(GOOD), "effect", **spread)


@pytest.mark.parametrize(
    ("text", "names", "row", "column", "value", "problem", "remedy"),
    [
        (GOOD, {"vi": "varience"}, None, "varience", None, "asked for as vi", "'variance'"),
        (GOOD, {"vi": "qqq"}, None, "qqq", None, "no column", "name one of its columns"),
        ("effect,variance\n1,0\n", {}, 2, "variance", "0", "out of range", "variance"),
        ("effect,variance\n1,-1\n", {}, 2, "variance", "-1", "out of range", "variance"),
        ("effect,sei\n1,0\n", {"vi": None, "sei": "sei"}, 2, "sei", "0", "out of", "standard"),
        ("effect,variance\n1,1\n,1\n", {}, 3, "effect", "", "missing", "delete the row"),
        ("effect,variance\n1,1\n1,\n", {}, 3, "variance", "", "variance is missing", "fill"),
        ("effect,variance\nNA,1\n", {}, 2, "effect", "NA", "missing number", "delete the row"),
        ("effect,variance\n1,nan\n", {}, 2, "variance", "nan", "missing number", "delete the"),
        ("effect,variance\n1,inf\n", {}, 2, "variance", "inf", "not finite", "delete the row"),
        (
            "effect,variance,lo\nnan,1,1\n", {"lower": "lo"}, 2, "effect", "nan", "missing number",
            "leave the cell empty and give a bound",
        ),
        (
            "effect,variance,n\n1,1,NA\n", {"ni": "n"}, 2, "n", "NA", "missing number",
            "leave the cell empty",
        ),
        ("effect,variance\nhigh,1\n", {}, 2, "effect", "high", "not a number", "plain number"),
        ('effect,variance\n"0,5",1\n', {}, 2, "effect", "0,5", "decimal comma", "'0.5'"),
        ("effect;variance\n1;1\n", {}, 1, None, ";", "semicolons", "comma-separated"),
        ("effect,variance\n1,1,1\n", {}, 2, None, "1", "3 cells, the header 2", "quotation"),
        ("effect,variance\n", {}, 1, None, None, "no rows", "add one row"),
        ("", {}, None, None, None, "empty", "header"),
        (
            "effect,variance,who\n1,1,\n", {"study": "who"}, 2, "who", "", "is empty", "fill it in",
        ),
        (
            "effect,variance,lo\n1,1,0\n", {"lower": "lo"}, 2, "effect", "1", "both an effect and",
            "empty the bound",
        ),
        (
            "effect,variance,lo,hi\n,1,2,1\n", {"lower": "lo", "upper": "hi"}, 2, "lo", "2",
            "not below", "swap",
        ),
        (
            "effect,variance,lo\n,1,\n", {"lower": "lo"}, 2, "effect", "", "missing",
            "or give a bound",
        ),
    ],
)  # fmt: skip
def test_bad_files(text, names, row, column, value, problem, remedy, write):
    with pytest.raises(EvidenceError) as caught:
        read_simple(write(text), "effect", **{"vi": "variance", **names})
    (found,) = caught.value.problems
    assert found.file == "mine.csv"
    assert (found.row, found.column, found.value) == (row, column, value)
    assert problem in found.problem
    assert remedy in found.remedy


FRAME = pd.DataFrame(
    {"author": ["Abe", "Bea", "Abe"], "effect": [0.5, -0.25, 0.1], "variance": [0.04, 0.09, 0.01]}
)


def test_a_frame_reads_as_its_file(write, tmp_path):
    own = FRAME.assign(lo=[np.nan, np.nan, 1 / 3], effect=[0.1 + 0.2, np.nan, np.nan])
    own.loc[1, "lo"] = 1e-7
    own.to_csv(tmp_path / "same.csv", index=False)
    names = {"yi": "effect", "vi": "variance", "study": "author", "lower": "lo"}
    left, right = read_simple(own, **names), read_simple(tmp_path / "same.csv", **names)
    assert left["effect_id"].tolist() == ["row 0", "row 1", "row 2"]
    pd.testing.assert_frame_equal(
        left.drop(columns="effect_id"), right.drop(columns="effect_id"), check_exact=True
    )
    assert left.loc[0, "yi"] == 0.1 + 0.2


def test_numbers_that_name_studies_stay_whole():
    some = FRAME.assign(author=[1.0, 2.0, 3.0])
    assert read_simple(some, "effect", vi="variance", study="author")["study_id"].tolist() == [
        "1", "2", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "names", "says"),
    [
        ({"variance": [1, -1, 1]}, {}, "the data frame, index b, column variance: '-1' is out of"),
        ({"effect": [1, 2, None]}, {}, "the data frame, index c, column effect: the effect is mi"),
        ({"effect": ["x", 1, 1]}, {}, "index a, column effect: 'x' is not a number"),
        ({"effect": [np.inf, 1, 1]}, {}, "index a, column effect: 'inf' is not finite"),
        ({"author": ["a", None, "c"]}, {"study": "author"}, "index b, column author: author is e"),
        ({}, {"study": "autor"}, "no column 'autor' .*did you mean 'author'"),
    ],
)
def test_bad_frames(change, names, says):
    frame = FRAME.assign(**change).set_index(pd.Index(["a", "b", "c"]))
    with pytest.raises(EvidenceError, match=says):
        read_simple(frame, "effect", **{"vi": "variance", **names})


def test_frames_without_rows_or_with_a_column_twice():
    with pytest.raises(EvidenceError, match="no rows"):
        read_simple(FRAME.iloc[:0], "effect", vi="variance")
    twice = pd.concat([FRAME, FRAME[["effect"]]], axis=1)
    with pytest.raises(EvidenceError, match="'effect' stands twice"):
        read_simple(twice, "effect", vi="variance")


def test_missing_file_names_its_neighbour(write):
    path = write(GOOD)
    with pytest.raises(EvidenceError, match=r"did you mean mine\.csv"):
        read_simple(path.with_name("mime.csv"), "effect", vi="variance")


def test_all_problems_at_once(write):
    text = "y,v,s\nNA,1,a\n1,-1,b\n1,1,\n1,,c\n"
    with pytest.raises(EvidenceError) as caught:
        read_simple(write(text), "y", vi="v", study="s")
    found = [(p.row, p.column) for p in caught.value.problems]
    assert found == [(2, "y"), (3, "v"), (4, "s"), (5, "v")]


def test_columns_that_nobody_asked_for_do_not_matter(write):
    # The names of R's row numbers, a slip for another column, a column that stands twice.
    text = ",y,v,vv,note,note\n1,0.5,0.1,x,NA,\n"
    assert read_simple(write(text), "y", vi="v")["yi"].tolist() == [0.5]


def test_reading_does_not_load_pandera(write):
    path = write(GOOD)
    code = (
        "import sys; from nssi_meta.evidence.simple import read_simple; "
        f"read_simple({str(path)!r}, 'effect', vi='variance'); "
        "sys.exit('pandera' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sizes_without_a_sign(write):
    text = "y,v,sign,hi\n-0.5,0.04,yes,\n0.3,0.04,No,\n,0.04,,0.2\n0.1,0.04,,\n"
    frame = read_simple(write(text), "y", vi="v", upper="hi", unsigned="sign")
    assert frame["kind"].tolist() == ["unsigned", "exact", "interval", "exact"]
    assert frame["yi"].tolist()[:2] == [0.5, 0.3]  # the size, whatever sign was printed
    assert tuple(frame.columns) == COLUMNS


def test_what_is_wrong_with_sizes_without_a_sign(write):
    text = "y,v,sign,hi\n0.5,0.04,maybe,\n,0.04,yes,0.2\n"
    with pytest.raises(EvidenceError) as caught:
        read_simple(write(text), "y", vi="v", upper="hi", unsigned="sign")
    first, second = map(str, caught.value.problems)
    assert "line 2, column sign: 'maybe' is not clear; allowed: yes, no" in first
    assert "line 3, column sign: a bound has no size" in second
