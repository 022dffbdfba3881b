"""Files that are no good tables, and what `Evidence` answers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nssi_meta.evidence.decide import MIXED_COMPARATOR, NOT_DERIVABLE
from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.read import read_effects

DATA = Path(__file__).resolve().parents[2] / "data"


def as_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# ------------------------------------------------------------------ the file itself


def only(evidence, file="effects.csv"):
    (problem,) = evidence.problems
    assert problem.file == file
    return problem


def test_missing_file(write_review):
    path = write_review()
    problem = only(read_effects(path.with_name("efects.csv")), "efects.csv")
    assert "no such file" in problem.problem
    assert problem.remedy == "did you mean effects.csv?"
    assert problem.row is None


def test_missing_vocabulary(write_review):
    problem = only(read_effects(write_review(mechanisms=None)), "mechanisms.csv")
    assert "no such file" in problem.problem


def test_folder(write_review):
    # Elsewhere than the vocabularies, which are then named.
    home = write_review().parent
    folder = home / "folder"
    folder.mkdir()
    names = (home / name for name in ("mechanisms.csv", "conditions.csv"))
    evidence = read_effects(folder, *names)
    assert "a folder, not a file" in only(evidence, "folder").problem


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_empty_file(text, write_review):
    assert only(read_effects(write_review(text=text))).problem == "the file is empty"


def test_header_only(write_review):
    text = as_text(write_review()).splitlines()[0]
    problem = only(read_effects(write_review(text=text)))
    assert (problem.row, problem.problem) == (1, "the file has a header and no rows")


def test_spreadsheet(write_review):
    problem = only(read_effects(write_review(text=b"PK\x03\x04 and more")))
    assert "spreadsheet" in problem.problem
    assert "CSV UTF-8" in problem.remedy


@pytest.mark.parametrize(
    ("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
def test_wrong_delimiter_is_named_and_reading_goes_on(delimiter, name, write_review, rows_by_kind):
    rows_by_kind["t"]["n_case"] = "1"
    text = as_text(write_review(list(rows_by_kind.values()))).replace(",", delimiter)
    first, second = read_effects(write_review(text=text)).problems
    assert (first.row, first.value) == (1, delimiter)
    assert name in first.problem
    assert "comma-separated" in first.remedy
    assert (second.row, second.column, second.value) == (4, "n_case", "1")


@pytest.mark.parametrize(
    ("codec", "label", "author"),
    [
        ("cp1252", "Windows-1252", "Müller“"),
        ("latin-1", "Windows-1252 (Latin-1)", "Müller"),
        ("gb18030", "GB 18030", "自伤行为"),
        ("utf-16", "UTF-16", "Müller"),
        ("utf-16-le", "UTF-16", "Müller"),
    ],
)
def test_encoding_is_recognised(codec, label, author, write_review, rows_by_kind):
    rows_by_kind["t"]["authors"] = author
    text = as_text(write_review(list(rows_by_kind.values())))
    data = text.encode(codec)
    evidence = read_effects(write_review(text=data))
    problem = only(evidence)
    assert label in problem.problem
    assert "CSV UTF-8" in problem.remedy
    assert evidence.rows["authors"][2] == author  # read all the same, for the other checks
    if not codec.startswith("utf"):
        offset = len(text[: text.index(author)].encode()) + (1 if author[0] == "M" else 0)
        assert f"byte {offset} (" in problem.problem
        assert problem.row == 4


def test_byte_order_mark_is_accepted(write_review):
    assert read_effects(write_review(text="\ufeff" + as_text(write_review()))).problems == ()


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"])
def test_line_ends_of_every_system(ending, write_review):
    text = as_text(write_review()).replace("\r\n", "\n").replace("\n", ending)
    evidence = read_effects(write_review(text=text))
    assert evidence.problems == ()
    assert evidence.rows["line"].tolist() == list(range(2, 22))


def test_row_with_too_many_cells(write_review):
    lines = as_text(write_review()).splitlines()
    lines[3] += ",stray"
    problem = only(read_effects(write_review(text="\n".join(lines))))
    assert (problem.row, problem.value) == (4, "stray")
    assert "quotation marks" in problem.remedy


def test_row_with_too_few_cells(write_review):
    lines = as_text(write_review()).splitlines()
    width = lines[0].count(",") + 1
    lines[3] = lines[3].removesuffix(",")
    problem = only(read_effects(write_review(text="\n".join(lines))))
    assert problem.row == 4
    assert problem.problem == f"the row has {width - 1} cells, the header {width}"


def test_open_quotation_mark(write_review):
    lines = as_text(write_review()).splitlines()
    lines[3] = f'"{lines[3]}'
    problem = only(read_effects(write_review(text="\n".join(lines))))
    assert problem.row == 4
    assert "quotation marks" in problem.problem


def test_lines_are_those_of_the_file(write_review, rows_by_kind):
    # A quoted cell over three lines, and an empty line, move what comes after.
    rows_by_kind["means_sd"]["note"] = "one\ntwo\nthree"
    rows_by_kind["t"]["n_case"] = "1"
    text = as_text(write_review(list(rows_by_kind.values())))
    text = text.replace("\n", "\n\n", 1)
    problem = only(read_effects(write_review(text=text)))
    assert problem.row == 7
    assert text.splitlines()[problem.row - 1].startswith("e2,")


def test_column_twice_and_column_without_name(write_review):
    lines = as_text(write_review()).splitlines()
    lines = [f"{lines[0]},t,", *(f"{line},9,9" for line in lines[1:])]
    nameless, twice = read_effects(write_review(text="\n".join(lines))).problems
    assert (twice.row, twice.column) == (1, "t")
    assert "stands twice" in twice.problem
    assert "has no name" in nameless.problem


def test_empty_columns_and_rows_of_spreadsheets_are_dropped(write_review):
    lines = [f"{line},,," for line in as_text(write_review()).splitlines()]
    lines += ["," * lines[0].count(",")] * 3
    evidence = read_effects(write_review(text="\n".join(lines)))
    assert evidence.problems == ()
    assert len(evidence.rows) == 20


# ------------------------------------------------------------------ evidence with problems


def test_problems_leave_raw_rows_and_forbid_use(write_review, rows_by_kind):
    rows_by_kind["t"].update(n_case="1", df="NA")
    evidence = read_effects(write_review(list(rows_by_kind.values())))
    assert evidence.rows["df"][2] == "NA"
    assert "used" not in evidence.rows
    for use in (evidence.require_usable, lambda: evidence.used, evidence.select):
        with pytest.raises(EvidenceError) as caught:
            use()
        assert caught.value.problems == evidence.problems
        lines = str(caught.value).splitlines()
        assert lines == ["2 problems in the evidence:", *map(str, evidence.problems)]


# ------------------------------------------------------------------ evidence without problems


def test_hash_is_of_the_bytes(write_review):
    path = write_review()
    assert read_effects(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_rows_are_derived_and_typed(write_review):
    rows = read_effects(write_review()).rows.set_index("statistic")
    assert rows["used"].all()
    assert rows.loc["means_sd", "n_case"] == 20
    assert rows.loc["yi_vi", ["yi", "vi"]].tolist() == [0.4, 0.09]
    assert rows.loc["yi_sei", "vi"] == pytest.approx(0.09, rel=1e-12)  # 0.3 squared
    assert np.isnan(rows.loc["ns", "yi"])
    assert rows.loc["p_threshold", "lower"] == -np.inf
    assert rows["use_as"].to_dict() == {
        **dict.fromkeys(rows.index, "exact effect"),
        "p_threshold": "bound (stated)",
        "ns": "bound (assumed)",
        "t_abs": "size without sign",
        "eta2": "size without sign",
    }


def excluded(rows_by_kind):
    rows_by_kind["t"].update(status="doubtful", exclude_reason="sign unclear")
    rows_by_kind["z"].update(status="doubtful", exclude_reason="no sizes", n_case="")
    rows_by_kind["F"].update(status="duplicate", exclude_reason="duplicate: same as e2")
    rows_by_kind["g"].update(status="overlap", exclude_reason="people of e9", n_control="")
    rows_by_kind["d"].update(comparator="assorted")
    return list(rows_by_kind.values())


def test_why_rows_are_not_used(write_review, rows_by_kind):
    rows = read_effects(write_review(excluded(rows_by_kind))).rows.set_index("statistic")
    left_out = rows[~rows["used"]]
    assert left_out["why_not"].to_dict() == {
        "t": "doubtful: sign unclear",
        "F": "duplicate: same as e2",
        "z": "doubtful: no sizes",
        "d": MIXED_COMPARATOR,
        "g": "overlap: people of e9",
    }
    assert (rows.loc[rows["used"], "why_not"] == "").all()
    # Excluded rows are derived where they can be, so that they can be looked at.
    assert left_out["yi"].notna().to_dict() == {
        "t": True, "F": True, "z": False, "d": True, "g": False,
    }  # fmt: skip


def test_doubtful_rows_are_used_on_demand(write_review, rows_by_kind):
    chosen = read_effects(write_review(excluded(rows_by_kind))).select(doubtful=True)
    rows = chosen.rows.set_index("statistic")
    assert rows.loc["t", "used"]
    assert rows.loc["z", ["used", "why_not"]].tolist() == [False, NOT_DERIVABLE]
    assert not rows.loc["F", "used"]


def test_mixed_comparator_is_used_when_named(write_review, rows_by_kind):
    evidence = read_effects(write_review(excluded(rows_by_kind)))
    assert evidence.select(comparator="assorted").used["statistic"].tolist() == ["d"]
    assert "d" not in set(evidence.select(condition="alpha").used["statistic"])


def test_select_by_names(write_review):
    evidence = read_effects(write_review())
    assert set(evidence.select(mechanism="grip_force").rows["mechanism"]) == {"grip_force"}
    assert len(evidence.select(condition=["alpha", "beta_ill"]).rows) == 20
    assert evidence.select(estimand="odds").used["statistic"].tolist() == ["or_ci", "counts"]
    assert evidence.select(comparator="beta_ill").used["statistic"].tolist() == ["z"]
    both = evidence.select(condition="beta_ill", estimand="case_control")
    assert both.used["statistic"].tolist() == ["p_exact"]
    assert len(evidence.select(mechanism="grip_force", condition="beta_ill").rows) == 0
    assert evidence.select(mechanism="grip_force").sha256 == evidence.sha256


@pytest.mark.parametrize(
    ("asked", "column", "value", "remedy"),
    [
        ({"mechanism": "grip_froce"}, "mechanism", "grip_froce", "write 'grip_force'"),
        ({"condition": ["alpha", "beta"]}, "condition", "beta", "write 'beta_ill'"),
        ({"estimand": "cases_control"}, "estimand", "cases_control", "write 'case_control'"),
        ({"comparator": "wells"}, "comparator", "wells", "write 'well'"),
    ],
)
def test_unknown_names_are_refused(asked, column, value, remedy, write_review):
    with pytest.raises(EvidenceError) as caught:
        read_effects(write_review()).select(**asked)
    (problem,) = caught.value.problems
    assert (problem.column, problem.value, problem.remedy) == (column, value, remedy)


def test_rows_without_an_effect_size_are_named(write_review, rows_by_kind):
    # Fisher's z has variance 1 / (n - 3): three people are enough for no rule, and for no effect.
    rows_by_kind["r"]["n_total"] = "3"
    problem = only(read_effects(write_review(list(rows_by_kind.values()))))
    assert (problem.row, problem.column, problem.value) == (14, "statistic", "r")
    assert "no effect size follows" in problem.problem
    rows_by_kind["r"].update(status="overlap", exclude_reason="people of e1")
    rows = read_effects(write_review(list(rows_by_kind.values()))).rows.set_index("statistic")
    assert np.isnan(rows.loc["r", "yi"])
    assert rows["yi"].isna().sum() == 3  # and the two bounds


def test_importing_does_not_load_pandera():
    code = (
        "import sys, json; import nssi_meta.evidence.read, nssi_meta.evidence.simple, "
        "nssi_meta.evidence.flow; "
        "print(json.dumps([m for m in ('pandera', 'pymc', 'scipy') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_shipped_evidence_has_no_problem():
    evidence = read_effects(DATA / "effects.csv")
    assert list(map(str, evidence.problems)) == []
    assert len(evidence.used) > 0


@pytest.mark.parametrize(
    ("kind", "column", "value", "says"),
    [
        ("yi_vi", "vi", "1e-61", "too small"), ("yi_vi", "yi", "1e13", "too large"),
        ("yi_sei", "sei", "1e-31", "too small"),
    ],
)  # fmt: skip
def test_sizes_that_lose_digits_are_refused_by_cell(
    kind, column, value, says, write_review, rows_by_kind
):
    rows_by_kind[kind][column] = value
    problem = only(read_effects(write_review(list(rows_by_kind.values()))))
    assert (problem.column, problem.value) == (column, value)
    assert says in problem.problem


def test_a_variance_that_follows_is_held_to_the_same_limit(write_review, rows_by_kind):
    rows_by_kind["beta_se"]["se"] = "1e-40"
    problem = only(read_effects(write_review(list(rows_by_kind.values()))))
    assert problem.value == "beta_se"
    assert "no finite effect, bound or variance" in problem.problem
