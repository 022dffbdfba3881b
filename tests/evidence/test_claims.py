"""The table of claims: read as text, every bad cell named with its remedy."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from nssi_meta.evidence.claims import KINDS, REQUIRED, read_claims
from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.subset import Clause, parse_subset

GOOD = {
    "claim_id": "C1", "kind": "direction", "mechanism": "reflex", "condition": "alpha",
    "other_condition": "", "expected": "+", "subset": "", "statement": "Faster",
}  # fmt: skip


@pytest.fixture(scope="module")
def evidence(review):
    return read_effects(review)


@pytest.fixture
def read(tmp_path, evidence):
    """Read claims that are GOOD but for some cells."""

    def reader(*changes, columns=REQUIRED):
        path = tmp_path / "claims.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(GOOD | change for change in changes)
        return read_claims(path, evidence)

    return reader


def test_a_claim_of_each_kind(read):
    two = {"other_condition": "beta"}
    rows = [
        {"kind": "direction"}, {"kind": "contested", "expected": "?"},
        {"kind": "moderator", "subset": "measure=task vs other"},
        {"kind": "shared", **two}, {"kind": "opposite", **two, "expected": "-"},
        {"kind": "specific", **two},
        {"kind": "system_overlap", **two, "mechanism": "", "subset": "system=motor|drive"},
        {"kind": "ranking", **two, "mechanism": ""},
    ]  # fmt: skip
    claims = read(*({**r, "claim_id": f"C{i}"} for i, r in enumerate(rows)))
    assert claims["kind"].tolist() == list(KINDS[:2]) + [r["kind"] for r in rows[2:]]
    assert claims["line"].tolist() == list(range(2, 10))
    # columns that may be left out are there, empty
    assert set(claims["disputed_by_review"]) == {""}


@pytest.mark.parametrize(
    ("change", "column", "says"),
    [
        ({"kind": "directon"}, "kind", "write 'direction'"),
        ({"mechanism": "reflexx"}, "mechanism", "write 'reflex'"),
        ({"condition": "well"}, "condition", "not a known condition"),
        ({"condition": ""}, "condition", "condition is empty"),
        ({"expected": "up"}, "expected", "write + (higher), - (lower) or ?"),
        ({"expected": ""}, "expected", "expected is empty"),
        ({"other_condition": "beta"}, "other_condition", "names no other_condition"),
        ({"kind": "shared"}, "other_condition", "other_condition is empty"),
        ({"kind": "shared", "other_condition": "alpha"}, "other_condition", "with itself"),
        ({"statement": " "}, "statement", "fill it in"),
        ({"claim_id": ""}, "claim_id", "claim_id is empty"),
        ({"subset": "measure"}, "subset", "column=a|b"),
        ({"subset": "measur=task"}, "subset", "write 'measure'"),
        ({"subset": "measure=taks"}, "subset", "write 'task'"),
        ({"subset": "measure>task"}, "subset", "write measure=word"),
        ({"subset": "year>old"}, "subset", "one number"),
        ({"subset": "measure=task vs other"}, "subset", "has none"),
        ({"kind": "moderator"}, "subset", "one contrast"),
        ({"kind": "moderator", "subset": "year>2000 vs 1999"}, "subset", "vs other"),
        ({"kind": "moderator", "subset": "measure=a vs b vs c"}, "subset", "more than one"),
        ({"kind": "ranking", "other_condition": "beta", "mechanism": ""}, None, ""),
        ({"kind": "ranking", "other_condition": "beta", "mechanism": "", "expected": "?"},
         "expected", "the most overlap"),
        ({"kind": "ranking", "other_condition": "beta"}, "mechanism", "names no mechanism"),
        ({"kind": "ranking", "other_condition": "beta", "mechanism": "",
          "subset": "system=moto"}, "subset", "write 'motor'"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_named_with_its_remedy(read, change, column, says):
    if column is None:
        assert len(read(change)) == 1
        return
    with pytest.raises(EvidenceError) as caught:
        read(change)
    (problem,) = caught.value.problems
    assert (problem.file, problem.row, problem.column) == ("claims.csv", 2, column)
    assert says in str(problem)


def test_every_problem_of_the_file_is_listed_at_once(read):
    with pytest.raises(EvidenceError) as caught:
        read({"kind": "x"}, {"expected": "x", "condition": "y"})
    found = [(p.row, p.column) for p in caught.value.problems]
    # the id stands twice, too
    assert found == [(2, "kind"), (3, "claim_id"), (3, "condition"), (3, "expected")]


def test_a_missing_column_and_a_missing_file(read, tmp_path, evidence):
    with pytest.raises(EvidenceError, match="column 'expected' is missing"):
        read({}, columns=[c for c in REQUIRED if c != "expected"])
    with pytest.raises(EvidenceError, match="no such file"):
        read_claims(tmp_path / "none.csv", evidence)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3]),
        ("stimulus=pain", [0]),
        ("stimulus!=pain", [1, 2]),  # an empty cell is on no side
        ("stimulus=pain|food", [0, 1]),
        ("mean_age>20", [1]),
        ("mean_age<20; stimulus!=food", [0]),
    ],
)
def test_subsets_choose_rows(text, rows):
    frame = pd.DataFrame(
        {"stimulus": ["pain", "food", "drug", ""], "mean_age": [15.0, 30.0, float("nan"), 20.0]}
    )
    keep = pd.Series(True, index=frame.index)
    for clause in parse_subset(text):
        keep &= clause.mask(frame)
    assert frame.index[keep].tolist() == rows


def test_the_two_sides_of_a_contrast():
    frame = pd.DataFrame({"stimulus": ["pain", "food", "drug", ""]})
    (other,) = parse_subset("stimulus=pain vs other")
    (named,) = parse_subset("stimulus=pain vs food|drug")
    assert other == Clause("stimulus", "=", ("pain",), ("other",))
    for clause in (other, named):
        assert clause.mask(frame).tolist() == [True, False, False, False]
        assert clause.against(frame).tolist() == [False, True, True, False]
    (old,) = parse_subset("mean_age>20 vs other")
    ages = pd.DataFrame({"mean_age": [15.0, 30.0, float("nan")]})
    assert old.against(ages).tolist() == [True, False, False]
