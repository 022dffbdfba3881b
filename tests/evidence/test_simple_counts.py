"""Two-by-two tables with column names of the reviewer's own: every problem named at once."""

from __future__ import annotations

import pandas as pd
import pytest

from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.simple_counts import COUNT_COLUMNS, read_counts


@pytest.fixture
def write(tmp_path):
    def file(text):
        path = tmp_path / "tables.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return file


def test_sizes_or_their_parts_under_any_name(write):
    sizes = read_counts(write("ai,n1i,ci,n2i\n2,40,0,41\n1,30,6,33\n"))
    assert list(sizes.columns) == list(COUNT_COLUMNS)
    assert sizes["study"].tolist() == ["row 2", "row 3"]
    parts = read_counts(write("ai,bi,ci,di\n2,38,0,41\n1,29,6,27\n"))
    pd.testing.assert_frame_equal(parts, sizes)
    text = "trial,x,ev,no,size\nA,a,2,38,41\nB,b,1,29,33\n"
    own = read_counts(
        write(text.replace("size", "size,cev").replace("41", "41,0").replace("33", "33,6")),
        study="trial", group="x", ai="ev", bi="no", ci="cev", n2i="size",
    )  # fmt: skip
    assert own["study"].tolist() == ["A", "B"]
    assert own["group"].tolist() == ["a", "b"]
    assert own[["ai", "n1i", "ci", "n2i"]].equals(sizes[["ai", "n1i", "ci", "n2i"]])


def test_a_frame_reads_as_its_file(write):
    path = write("trial,ai,n1i,ci,n2i\nA,2,40,0,41\nB,1,30,6,33\n")
    pd.testing.assert_frame_equal(
        read_counts(pd.read_csv(path), study="trial"), read_counts(path, study="trial")
    )


def test_every_problem_is_named_with_its_cell(write):
    text = (
        "trial,ai,bi,n1i,ci,n2i\n"
        "A,41,0,40,0,41\n"  # more events than people
        "B,1,28,30,6,33\n"  # no sum
        "C,1.5,10,11,x,12\n"
        "D,-1,10,9,,12\n"
        "A,2,38,40,0,0\n"  # a study twice, nobody
        "E,NaN,1,2,3,4\n"
    )
    with pytest.raises(EvidenceError) as caught:
        read_counts(write(text), study="trial")
    found = {(p.row, p.column): str(p) for p in caught.value.problems}
    assert list(found) == [
        (2, "ai"), (3, "n1i"), (4, "ai"), (4, "ci"), (5, "ai"), (5, "ci"), (6, "n2i"),
        (6, "trial"), (7, "ai"),
    ]  # fmt: skip
    assert "more events than people (n1i is 40)" in found[2, "ai"]
    assert "ai and bi do not add up to n1i; allowed: 29" in found[3, "n1i"]
    assert "'1.5' is not a whole number" in found[4, "ai"]
    assert "the count is missing" in found[5, "ci"]
    assert "study 'A' has a row already" in found[6, "trial"]


def test_missing_columns_say_what_would_do(write):
    with pytest.raises(EvidenceError) as caught:
        read_counts(write("ai,control_events\n1,2\n"), ai="treated")
    texts = [str(p) for p in caught.value.problems]
    assert [p.column for p in caught.value.problems] == ["treated", "n1i", "ci", "n2i"]
    assert "(asked for as n1i, or bi)" in texts[1]
    with pytest.raises(ValueError, match="cells are named ai"):
        read_counts(write("ai\n1\n"), ei="a")
