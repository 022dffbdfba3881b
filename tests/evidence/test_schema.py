"""Every kind of bad cell is named with its line, column, value and remedy, and nothing else is."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.problems import Problem
from nssi_meta.evidence.read import read_effects


class Case(NamedTuple):
    kind: str  # the good row that is spoiled
    changes: dict[str, str]
    column: str
    problem: str  # part of the text
    remedy: str  # part of the text


CASES = {
    # words
    "unknown mechanism": Case(
        "t", {"mechanism": "reflex_sped"}, "mechanism", "not a known", "write 'reflex_speed'"
    ),
    "mechanism far from any": Case(
        "t", {"mechanism": "xyz"}, "mechanism", "not a known", "add it there"
    ),
    "unknown condition": Case("t", {"condition": "Alpha"}, "condition", "not a known", "'alpha'"),
    "unknown comparator": Case("t", {"comparator": "wel"}, "comparator", "not a known", "'well'"),
    "unknown statistic": Case("t", {"statistic": "mean_sd"}, "statistic", "known", "'means_sd'"),
    "unknown estimand": Case(
        "t", {"estimand": "case-control"}, "estimand", "known", "'case_control'"
    ),
    "unknown status": Case("t", {"status": "used"}, "status", "not a known", "write 'use'"),
    "unknown direction": Case("F", {"direction": "up"}, "direction", "known", "write one of"),
    "unknown bound": Case("ns", {"bound": "assume"}, "bound", "not a known", "write 'assumed'"),
    "empty condition": Case("t", {"condition": ""}, "condition", "is empty", "conditions.csv"),
    "white space in a word": Case("t", {"status": "use "}, "status", "'use '", "write 'use'"),
    # sizes
    "n missing": Case("t", {"n_case": ""}, "n_case", "n_case is empty", "number of people"),
    "n total missing": Case("r", {"n_total": ""}, "n_total", "statistic r needs it", "people"),
    "n not whole": Case("t", {"n_case": "20.5"}, "n_case", "not a whole", "number of people"),
    "n below two": Case("t", {"n_case": "1"}, "n_case", "out of range", "number of people"),
    "n total contradicts": Case(
        "t", {"n_total": "51"}, "n_total", "20 + 30", "leave n_total empty"
    ),
    # ranges
    "negative SD": Case("means_sd", {"sd_case": "-2"}, "sd_case", "out of range", "copy"),
    "zero SD": Case("means_sd", {"sd_control": "0"}, "sd_control", "out of range", "copy"),
    "zero variance": Case("yi_vi", {"vi": "0"}, "vi", "out of range", "squared standard error"),
    "negative SE": Case("yi_sei", {"sei": "-0.3"}, "sei", "out of range", "standard error"),
    "p of zero": Case("p_exact", {"p": "0"}, "p", "out of range", "p_threshold"),
    "p of one": Case("p_exact", {"p": "1"}, "p", "out of range", "p_threshold"),
    "p in percent": Case("p_threshold", {"p_bound": "5"}, "p_bound", "out of range", "p_bound"),
    "r of one": Case("r", {"r": "1"}, "r", "out of range", "beta_se"),
    "r within below minus one": Case(
        "t_paired", {"r_within": "-1.2"}, "r_within", "out of range", "correlation"
    ),
    "negative F": Case("F", {"f": "-4.2"}, "f", "out of range", "statistic t"),
    "eta squared above one": Case("eta2", {"eta2": "6"}, "eta2", "out of range", "share"),
    "odds ratio of zero": Case(
        "or_ci",
        {"odds_ratio": "0"},
        "odds_ratio",
        "out of range",
        "not its logarithm",
    ),
    "level in percent": Case("d", {"ci_level": "95"}, "ci_level", "out of range", "0.95"),
    "year of two digits": Case("t", {"year": "19"}, "year", "out of range", "four digits"),
    # text where a number should be
    "decimal comma": Case("t", {"t": "2,5"}, "t", "decimal comma", "write '2.5'"),
    "thousands": Case("r", {"n_total": "1,080"}, "n_total", "comma", "write '1080'"),
    "NA": Case("t", {"df": "NA"}, "df", "missing number", "leave the cell empty"),
    "NaN": Case("t", {"t": "NaN"}, "t", "missing number", "leave the cell empty"),
    "inf": Case("t", {"t": "inf"}, "t", "not finite", "leave the cell empty"),
    "overflow": Case("t", {"t": "1e999"}, "t", "not finite", "leave the cell empty"),
    "text": Case("t", {"t": "two"}, "t", "not a number", "plain number"),
    "bound as number": Case("p_exact", {"p": "<.05"}, "p", "is a bound", "p_threshold"),
    "typographic minus": Case("z", {"z": "−1.5"}, "z", "typographic minus", "write '-1.5'"),
    "percent": Case("t", {"pct_female": "55%"}, "pct_female", "percent sign", "number alone"),
    # across cells
    "CI without its estimate": Case(
        "d", {"ci_low": "0.6"}, "d", "does not contain d = 0.5", "copy all three"
    ),
    "CI bounds swapped": Case(
        "d", {"ci_low": "1.1", "ci_high": "-0.1"}, "ci_low", "wrong way round", "swap"
    ),
    "half a CI": Case("d", {"ci_low": ""}, "ci_low", "although ci_high is 1.1", "fill it in"),
    "CI of log odds": Case("or_ci", {"ci_low": "-0.1"}, "ci_low", "cannot reach", "logarithm"),
    "direction against t": Case("t", {"direction": "-"}, "direction", "t = 2.5", "which group"),
    "direction against means": Case(
        "means_sd", {"direction": "-"}, "direction", "mean_control = 4.5", "which group"
    ),
    "direction against odds": Case(
        "or_ci", {"direction": "-"}, "direction", "odds_ratio = 1.6", "which group"
    ),
    "direction against counts": Case(
        "counts", {"direction": "+"}, "direction", "events_case = 4", "which group"
    ),
    "direction against yi": Case("yi_vi", {"direction": "-"}, "direction", "yi = 0.4", "group"),
    "bound without direction": Case(
        "p_threshold", {"direction": ""}, "direction", "needs a direction", "statistic ns"
    ),
    "bound of direction 0": Case(
        "p_threshold", {"direction": "0"}, "direction", "needs a direction", "statistic ns"
    ),
    "ns with a direction": Case("ns", {"direction": "+"}, "direction", "direction 0", "write 0"),
    "F without direction": Case("F", {"direction": ""}, "direction", "no sign", "write +"),
    "t_abs with a sign": Case("t_abs", {"direction": "-"}, "direction", "0", "statistic t"),
    "t_abs negative": Case("t_abs", {"t": "-0.9"}, "t", "without sign", "statistic t"),
    "bound not said": Case("ns", {"bound": ""}, "bound", "bound is empty", "write stated"),
    "bound of no bound": Case("t", {"bound": "stated"}, "bound", "not a bound", "empty the cell"),
    "yi beside raw": Case("t", {"yi": "0.4"}, "yi", "both raw statistics and a ready", "yi_vi"),
    "raw beside yi": Case("yi_vi", {"d": "0.4"}, "d", "both raw statistics and a ready", "to d"),
    "vi and sei": Case("yi_vi", {"sei": "0.3"}, "sei", "does not belong", "yi_sei"),
    "cell of another kind": Case("means_sd", {"t": "2"}, "t", "t = 2", "t_paired"),
    "required cell empty": Case(
        "means_sd", {"sd_case": ""}, "sd_case", "means_sd needs it", "really reports"
    ),
    "estimand of another kind": Case(
        "or_ci", {"statistic": "counts", "odds_ratio": "", "ci_low": "", "ci_high": "",
        "ci_level": "", "events_case": "4", "total_case": "9", "events_control": "3",
        "total_control": "9", "estimand": "case_control"},
        "statistic", "cannot express", "set estimand to odds",
    ),
    "more events than people": Case(
        "counts", {"events_control": "39"}, "events_control", "39 events among 30", "exchanged"
    ),
    "SE given as variance": Case(
        "yi_vi", {"vi": "0.29"}, "vi", "what sei would be", "yi_sei"
    ),
    "variance given as SE": Case(
        "yi_sei", {"sei": "0.085"}, "sei", "what vi would be", "yi_vi"
    ),
    # ids and groups
    "comparator is condition": Case(
        "t", {"comparator": "alpha"}, "comparator", "both 'alpha'", "compared with"
    ),
    "condition is a control group": Case(
        "t", {"condition": "well", "comparator": "assorted"}, "condition", "comparison group",
        "comparator",
    ),
    "association with group": Case(
        "r", {"comparator": "well", "control_id": "x"}, "comparator", "no comparison group",
        "write 'none'",
    ),
    "case-control without group": Case(
        "t", {"comparator": "none", "control_id": ""}, "comparator", "does not go", "compared"
    ),
    "control_id missing": Case("t", {"control_id": ""}, "control_id", "is empty", "share the id"),
    "control_id without group": Case(
        "r", {"control_id": "x"}, "control_id", "comparator is 'none'", "empty the cell"
    ),
    "own controls": Case(
        "t", {"control_id": "s1-cases"}, "control_id", "own controls", "within_person"
    ),
    "effect_id twice": Case("t", {"effect_id": "e0"}, "effect_id", "line 2", "of its own"),
    "effect_id empty": Case("t", {"effect_id": ""}, "effect_id", "is empty", "fill it in"),
    "sample_id empty": Case("t", {"sample_id": ""}, "sample_id", "is empty", "fill it in"),
    "white space in an id": Case("t", {"study_id": " s1"}, "study_id", "white space", "'s1'"),
    # status
    "excluded without reason": Case(
        "t", {"status": "overlap"}, "exclude_reason", "is empty", "say in a few words"
    ),
    "used with reason": Case(
        "t", {"exclude_reason": "old"}, "exclude_reason", "'old'", "set status"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_cell_is_named_with_its_remedy(case, rows_by_kind, write_review):
    line = list(rows_by_kind).index(case.kind) + 2
    rows_by_kind[case.kind].update(case.changes)
    evidence = read_effects(write_review(list(rows_by_kind.values())))
    # One bad cell is one problem: a reviewer should not have to guess which of several to mend.
    assert len(evidence.problems) == 1, list(map(str, evidence.problems))
    (problem,) = evidence.problems
    assert problem.file == "effects.csv"
    assert problem.row == line
    assert problem.value == rows_by_kind[case.kind].get(case.column, "")
    assert case.problem in problem.problem
    assert case.remedy in problem.remedy
    assert f"line {line}, column {case.column}" in str(problem)


def test_the_good_rows_have_no_problem(write_review):
    assert read_effects(write_review()).problems == ()


def test_good_rows_cover_every_kind(rows_by_kind):
    assert set(rows_by_kind) == set(vo.STATISTICS)


def test_several_problems_come_at_once(rows_by_kind, write_review):
    rows_by_kind["t"].update(mechanism="nowhere", n_case="1", df="NA")
    rows_by_kind["ns"].update(direction="+")
    rows_by_kind["d"].update(ci_low="2", ci_high="3")
    problems = read_effects(write_review(list(rows_by_kind.values()))).problems
    assert [(p.row, p.column) for p in problems] == [
        (4, "mechanism"),
        (4, "n_case"),
        (4, "df"),
        (10, "direction"),
        (11, "d"),
    ]


def test_sizes_may_be_missing_where_the_row_is_not_used(rows_by_kind, write_review):
    rows_by_kind["t"].update(n_case="", status="doubtful", exclude_reason="sizes not given")
    assert read_effects(write_review(list(rows_by_kind.values()))).problems == ()


def test_missing_columns_are_named_once(write_review, rows_by_kind):
    header = [c for c in _header(rows_by_kind) if c not in ("study_id", "sd_case")]
    problems = read_effects(write_review(list(rows_by_kind.values()), header=header)).problems
    assert [(p.row, p.column) for p in problems] == [(None, "study_id"), (None, "sd_case")]
    assert "add a column named 'study_id'" in problems[0].remedy
    assert "lines that need it: 2" in problems[1].problem


@pytest.mark.parametrize("name", ["sd_cases", "SD_case", "sd case", " sd_case"])
def test_near_miss_of_a_column_name(name, write_review, rows_by_kind):
    header = [name if c == "sd_case" else c for c in _header(rows_by_kind)]
    rows = [{(name if c == "sd_case" else c): v for c, v in row.items()}
            for row in rows_by_kind.values()]  # fmt: skip
    by_column = {p.column: p for p in read_effects(write_review(rows, header=header)).problems}
    assert set(by_column) == {name, "sd_case"}  # and lines that need sd_case do not have it
    assert by_column[name].row == 1
    assert by_column[name].value == name
    assert "rename it to 'sd_case'" in by_column[name].remedy


def test_other_extra_columns_are_kept(write_review, rows_by_kind):
    rows_by_kind["t"]["laterality"] = "left"
    evidence = read_effects(write_review(list(rows_by_kind.values())))
    assert evidence.problems == ()
    assert evidence.rows["laterality"].tolist()[2] == "left"


@pytest.mark.parametrize("name", ["used", "scale", "kind", "line"])
def test_names_of_derived_columns_are_reserved(name, write_review, rows_by_kind):
    rows_by_kind["t"][name] = "x"
    (problem,) = read_effects(write_review(list(rows_by_kind.values()))).problems
    assert problem.column == name
    assert "rename" in problem.remedy


@pytest.mark.parametrize(
    ("mechanisms", "column", "row", "text"),
    [
        ("mechanism,label,system\na,A,x\nreflex_speed,R,m\na,B,x\n", "mechanism", 4, "line 2"),
        ("mechanism,label,system\nreflex_speed,,m\n", "label", 2, "is empty"),
        ("mechanism,label\nreflex_speed,R\n", "system", None, "is missing"),
        ("mechanism,label,system\nreflex_speed,R,m\n a,A,m\n", "mechanism", 3, "white space"),
    ],
)
def test_mechanisms_are_checked(mechanisms, column, row, text, write_review, rows_by_kind):
    rows = [r for r in rows_by_kind.values() if r["mechanism"] == "reflex_speed"]
    (problem,) = read_effects(write_review(rows, mechanisms=mechanisms)).problems
    assert (problem.file, problem.row, problem.column) == ("mechanisms.csv", row, column)
    assert text in problem.problem


HEAD = "id,label,role\nalpha,Alpha,index\nbeta_ill,Beta,comorbid\nassorted,As,mixed\n"


@pytest.mark.parametrize(
    ("conditions", "column", "row", "text", "remedy"),
    [
        (f"{HEAD}well,W,refrence\n", "role", 5, "'refrence'", "write 'reference'"),
        (f"{HEAD}well,W,reference\nw2,W,reference\n", "role", None, "2 cond", "exactly one"),
        (f"{HEAD}well,W,mixed\n", "role", None, "0 cond", "role reference to exactly one"),
        (f"{HEAD}well,W,reference\ng,G,index\n", "role", None, "2 cond", "role index"),
        (f"{HEAD}well,W,reference\nwell,W,mixed\n", "id", 6, "line 5", "of its own"),
        (f"{HEAD}well,W,reference\nnone,N,mixed\n", "id", 6, "without a comparison", "another"),
    ],
)
def test_conditions_are_checked(conditions, column, row, text, remedy, write_review):
    problems = read_effects(write_review(conditions=conditions)).problems
    found = [p for p in problems if (p.file, p.column, p.row) == ("conditions.csv", column, row)]
    assert len(found) == 1, problems
    assert text in found[0].problem
    assert remedy in found[0].remedy


def test_a_problem_reads_as_a_sentence():
    problem = Problem("f.csv", 7, "t", "x", "'x' is not a number", "a number", "write one")
    assert str(problem) == (
        "f.csv, line 7, column t: 'x' is not a number; allowed: a number; remedy: write one."
    )


def _header(rows_by_kind):
    return list(dict.fromkeys(column for row in rows_by_kind.values() for column in row))
