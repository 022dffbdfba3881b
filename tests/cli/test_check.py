"""The verb `check`, and bad data in every verb."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1] / "reference"
BCG = str(REFERENCE / "bcg_RR.csv")


def test_check_of_good_data(review, call):
    done = call("check", review)
    assert "no problems" in done.stdout
    rows = json.loads(call("check", review, "--format", "json").stdout)
    assert rows[0] == {"step": "rows in the file", "n_rows": 53, "n_studies": 52, "note": ""}
    table = list(csv.DictReader(io.StringIO(call("check", review, "--format", "csv").stdout)))
    assert [r["step"] for r in table] == [r["step"] for r in rows]


@pytest.fixture
def bad_review(own_review):
    """Three wrong cells in three rows."""
    with own_review.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["mechanism"], rows[1]["n_case"], rows[2]["g"] = "refelx", "sixty", "1,5"
    with own_review.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return own_review


def test_check_names_every_wrong_cell_and_ends_with_1(bad_review, call):
    done = call("check", bad_review, code=1)
    assert done.stdout == ""
    for word in ("refelx", "reflex", "sixty", "1,5", "1.5"):
        assert word in done.stderr
    problems = json.loads(call("check", bad_review, "--format", "json", code=1).stdout)
    assert [(p["row"], p["column"]) for p in problems] == [
        (2, "mechanism"), (3, "n_case"), (4, "g"),
    ]  # fmt: skip
    lines = call("check", bad_review, "--format", "csv", code=1).stdout.splitlines()
    assert lines[0].startswith("file,row,column,value,problem")
    assert len(lines) == 4


@pytest.mark.parametrize("verb", [["pool"], ["run", "--out", "OUT"], ["overlap"]])
def test_every_verb_refuses_bad_data_with_every_problem(bad_review, tmp_path, verb, call):
    words = [verb[0], bad_review, *(str(tmp_path / "r") if w == "OUT" else w for w in verb[1:])]
    text = call(*words, code=1).stderr
    for word in ("refelx", "sixty", "1,5"):
        assert word in text
    assert not (tmp_path / "r").exists()


def test_a_missing_file_is_bad_data(tmp_path, call):
    assert "gone.csv" in call("check", tmp_path / "gone.csv", code=1).stderr
    assert "gone.csv" in call("pool", tmp_path / "gone.csv", "-m", "grip", code=1).stderr
    # also where nothing is known of conditions either
    assert "gone.csv" in call("overlap", tmp_path / "gone.csv", code=1).stderr


def test_a_folder_is_bad_data(tmp_path, call):
    assert tmp_path.name in call("check", tmp_path, code=1).stderr


def test_notes_with_square_brackets_are_printed_as_they_stand(own_review, call):
    """Brackets are markup to the table printer: a reason must not lose them."""
    text = own_review.read_text(encoding="utf-8")
    own_review.write_text(text.replace("numbers read off a figure", "see [figure 2b]"), "utf-8")
    assert "[figure 2b]" in call("check", own_review).stdout


def test_check_and_pool_import_neither_pymc_nor_arviz(review, imported_by):
    heavy = {"pymc", "pytensor", "arviz", "nutpie", "matplotlib"}
    assert not heavy & imported_by("check", review)
    assert not heavy & imported_by("pool", review, "-m", "grip")
    loaded = imported_by("pool", BCG, "--yi", "yi", "--sei", "sei")
    assert not (heavy | {"pandera"}) & loaded
