"""The command line: words, exit codes, formats, and what it must not import."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli

REFERENCE = Path(__file__).parent / "reference"
BCG = str(REFERENCE / "bcg_RR.csv")
PRIORS = ["--mu-prior", "normal(0,4)", "--tau-prior", "halfnormal(0.5)"]
VERBS = (
    "run",
    "check",
    "pool",
    "overlap",
    "claims",
    "gaps",
    "sensitivity",
    "diagnose",
    "moderators",
    "external",
    "forest",
)


def call(*words: object, code: int = 0):
    done = CliRunner().invoke(cli, [str(w) for w in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def shell(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nssi_meta", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def imported_by(*words: object) -> set[str]:
    """Modules loaded after a command, in an interpreter of its own."""
    code = (
        "import sys\nfrom nssi_meta.cli import cli\n"
        f"try: cli({[str(w) for w in words]!r})\nexcept SystemExit: pass\n"
        "print(); print('MODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split("MODULES")[1].split())


# ---------------------------------------------------------------- help and wrong usage


def test_help_lists_the_verbs_and_the_exit_codes():
    text = call("--help").output
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.M)
    for code in ("0 done", "1 the data", "2 wrong", "3 a model"):
        assert code in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("words", [["--help"], *([v, "-h"] for v in VERBS), ["--version"]])
def test_help_answers_without_anything_heavy(words):
    heavy = {"numpy", "pandas", "scipy", "pymc", "pytensor", "arviz", "matplotlib", "pandera"}
    assert not heavy & imported_by(*words)


def test_the_module_is_the_command():
    done = shell("--version")
    assert done.returncode == 0
    assert "nssi-meta" in done.stdout
    assert shell("pull").returncode == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["pull"], "No such command"),
        (["pool", "--sei", "sei"], "--yi"),
        (["pool", "--by", "x", "--study", "y"], "--study, --by need --yi"),
        (["pool", BCG, "--yi", "yi"], "exactly one of vi"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--sei", "sei"], "exactly one of vi"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "-m", "grip"], "use --by"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--doubtful"], "use --by"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "norml(0,1)"], "normal"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--tau-prior", "halfnormal(-1)"], "above 0"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--tau-prior", "halfnormal("], "cannot be read"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--level", "1"], "--level"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--level", "95"], "--level"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--rho", "1"], "--rho"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--delta", "-1"], "--delta"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--delta", "nan"], "delta"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--engine", "stan"], "--engine"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--interval", "hdi"], "--interval"),
        (["run", "--draws", "5"], "--draws"),
        (["overlap", "--threshold", "-0.1"], "--threshold"),
    ],
)
def test_wrong_usage_is_named_and_ends_with_2(words, named):
    assert named in re.sub(r"\s+", " ", call(*words, code=2).stderr)


def test_an_unknown_name_is_wrong_usage_with_the_nearest_one(review):
    text = call("pool", review, "-m", "refelx", code=2).stderr
    assert "refelx" in text
    assert "reflex" in text.replace("refelx", "")
    assert "alpha" in call("pool", review, "-c", "alfa", code=2).stderr
    text = call("forest", "grips", "--data", review, code=2).stderr
    assert "grip" in text.replace("grips", "")


def test_nothing_left_to_pool_says_why(review):
    text = call("pool", review, "-m", "appetite", "-c", "gamma", code=2).stderr
    assert "no rows to pool" in text


# ---------------------------------------------------------------- check


def test_check_of_good_data(review):
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


def test_check_names_every_wrong_cell_and_ends_with_1(bad_review):
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
def test_every_verb_refuses_bad_data_with_every_problem(bad_review, tmp_path, verb):
    words = [verb[0], bad_review, *(str(tmp_path / "r") if w == "OUT" else w for w in verb[1:])]
    text = call(*words, code=1).stderr
    for word in ("refelx", "sixty", "1,5"):
        assert word in text
    assert not (tmp_path / "r").exists()


def test_a_missing_file_is_bad_data(tmp_path):
    assert "gone.csv" in call("check", tmp_path / "gone.csv", code=1).stderr
    assert "gone.csv" in call("pool", tmp_path / "gone.csv", "-m", "grip", code=1).stderr


def test_a_folder_is_bad_data(tmp_path):
    assert tmp_path.name in call("check", tmp_path, code=1).stderr


def test_notes_with_square_brackets_are_printed_as_they_stand(own_review):
    """Brackets are markup to the table printer: a reason must not lose them."""
    text = own_review.read_text(encoding="utf-8")
    own_review.write_text(text.replace("numbers read off a figure", "see [figure 2b]"), "utf-8")
    assert "[figure 2b]" in call("check", own_review).stdout


def test_check_and_pool_import_neither_pymc_nor_arviz(review):
    heavy = {"pymc", "pytensor", "arviz", "nutpie", "matplotlib"}
    assert not heavy & imported_by("check", review)
    assert not heavy & imported_by("pool", review, "-m", "grip")
    loaded = imported_by("pool", BCG, "--yi", "yi", "--sei", "sei")
    assert not (heavy | {"pandera"}) & loaded


# ---------------------------------------------------------------- pool


def pooled(*words):
    return json.loads(call("pool", *words, "--format", "json").stdout)


def test_pool_of_ready_made_effects_agrees_with_the_reference():
    """bayesmeta's exact posterior of BCG log RR; both sides are quadrature."""
    (row,) = pooled(BCG, "--yi", "yi", "--sei", "sei", *PRIORS)
    assert row["mu_mean"] == pytest.approx(-0.7102865953, abs=1e-6)
    assert row["mu_sd"] == pytest.approx(0.1870040424, abs=1e-6)
    assert row["pred_low"] == pytest.approx(-1.9556284423, abs=1e-6)
    assert row["pred_high"] == pytest.approx(0.5187571050, abs=1e-6)
    assert row["tau_low"] == pytest.approx(0.345420495873701, abs=1e-6)
    assert (row["k"], row["engine"], row["estimand"]) == (13, "exact", "given")
    (same,) = pooled(BCG, "--yi", "yi", "--vi", "vi", *PRIORS)
    assert same["mu_mean"] == pytest.approx(row["mu_mean"], abs=1e-12)
    (short,) = pooled(BCG, "--yi", "yi", "--vi", "vi", *PRIORS, "--interval", "shortest")
    assert short["mu_low"] == pytest.approx(-1.0849155349621, abs=1e-6)
    assert short["interval"] == "shortest"


def test_pool_in_a_shell_of_its_own():
    done = shell("pool", BCG, "--yi", "yi", "--sei", "sei", *PRIORS, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)[0]["mu_mean"] == pytest.approx(-0.7102865953, abs=1e-6)


def test_pool_with_flat_priors():
    (row,) = pooled(BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "flat")
    assert row["mu_mean"] == pytest.approx(-0.711860008181819, abs=1e-6)
    (row,) = pooled(
        BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "normal(0,4)", "--tau-prior", "uniform(0,5)"
    )
    assert row["mu_mean"] == pytest.approx(-0.715113287070701, abs=1e-6)


def test_pool_with_repeated_studies_has_three_levels():
    path = REFERENCE / "konstantopoulos2011.csv"
    (row,) = pooled(path, "--yi", "yi", "--vi", "vi", "--study", "district")
    assert row["mu_mean"] == pytest.approx(0.181992168898811, abs=1e-5)
    assert row["omega_median"] is not None
    (single,) = pooled(path, "--yi", "yi", "--vi", "vi")
    assert single["omega_median"] is None


def test_pool_by_groups(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("y,v,g\n0.1,0.04,b\n0.3,0.04,a\n0.5,0.04,b\n")
    rows = pooled(path, "--yi", "y", "--vi", "v", "--by", "g")
    assert {r["mechanism"]: r["k"] for r in rows} == {"a": 1, "b": 2}


def test_bad_cells_of_a_ready_made_table_end_with_1(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("y,v\n0.1,0.04\nNA,0.04\n0.3,-1\n")
    text = call("pool", path, "--yi", "y", "--vi", "v", code=1).stderr
    assert "NA" in text
    assert "-1" in text
    text = call("pool", path, "--yi", "y", "--vi", "w", code=1).stderr
    assert "no column 'w'" in text


def test_pool_selects(review):
    rows = pooled(review, "-m", "grip", "-m", "tremor", "-c", "alpha", "-e", "case_control")
    assert [(r["mechanism"], r["condition"], r["estimand"]) for r in rows] == [
        ("grip", "alpha", "case_control"), ("tremor", "alpha", "case_control"),
    ]  # fmt: skip
    (row,) = pooled(review, "-m", "reflex", "--comparator", "beta")
    assert (row["comparator"], row["k"]) == ("beta", 1)
    (with_doubtful,) = pooled(review, "-m", "tremor", "-c", "beta", "--doubtful")
    (without,) = pooled(review, "-m", "tremor", "-c", "beta")
    assert (with_doubtful["k"], without["k"]) == (5, 4)


def test_pool_prints_a_table_for_people_and_csv_for_programs(review):
    text = call("pool", review, "-m", "reflex").stdout
    assert "Median" in text
    assert "some thresholds assumed" in re.sub(r"\s+", " ", text)
    table = pd.read_csv(io.StringIO(call("pool", review, "-m", "reflex", "--format", "csv").stdout))
    assert table["k"].tolist() == [7, 4, 4]


# ---------------------------------------------------------------- a model that did not converge


def test_a_pool_that_did_not_converge_ends_with_3_and_is_marked(monkeypatch):
    from nssi_meta.inference.nuts import Fit

    def sampler(model, reported, **options):
        rng = np.random.default_rng(1)
        draws = {"mu": rng.normal(size=(4, 200)), "tau": np.abs(rng.normal(size=(4, 200)))}
        return Fit({"posterior": draws}, pd.DataFrame(), {}, ("R-hat 1.2 is too large",))

    monkeypatch.setattr("nssi_meta.inference.sampled._structure", lambda *a: None)
    monkeypatch.setattr("nssi_meta.inference.sampled.pool_model", lambda *a: None)
    monkeypatch.setattr("nssi_meta.inference.sampled.sample", sampler)
    words = ["pool", BCG, "--yi", "yi", "--vi", "vi", "--engine", "nuts"]
    done = call(*words, "--format", "json", code=3)
    assert "Not converged: R-hat 1.2 is too large" in done.stderr
    (row,) = json.loads(done.stdout)
    assert row["engine"] == "nuts"
    assert "did not converge: not a result" in row["flags"]
    assert "did not converge" in re.sub(r"\s+", " ", call(*words, code=3).stdout)


def fake_run(converged):
    def run(data, out, **options):
        options["progress"]("check", str(data))
        return SimpleNamespace(
            folder=Path(out), converged=converged, problems=() if converged else ("R-hat 1.2",)
        )

    return run


@pytest.mark.parametrize(("converged", "code"), [(True, 0), (False, 3)])
def test_run_tells_where_the_report_is_and_whether_it_converged(
    review, tmp_path, monkeypatch, converged, code
):
    monkeypatch.setattr("nssi_meta.pipeline.run", fake_run(converged))
    done = call("run", review, "--out", tmp_path / "r", code=code)
    assert str(tmp_path / "r" / "report.html") in done.stdout
    assert ("Not converged: R-hat 1.2" in done.stderr) != converged


def test_run_refuses_a_foreign_folder_as_wrong_usage(review, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    text = call("run", review, "--out", tmp_path, code=2).stderr
    assert "--out" in text
    assert (tmp_path / "mine.txt").read_text() == "mine"


# ---------------------------------------------------------------- overlap


@pytest.fixture
def results(review, tmp_path, monkeypatch):
    """Finished results with tables of one's own; sampling is forbidden."""
    import hashlib

    folder = tmp_path / "results"
    (folder / "tables").mkdir(parents=True)
    files = [review, review.with_name("mechanisms.csv"), review.with_name("conditions.csv")]
    facts = {
        "package": "nssi-meta", "converged": True,
        "hashes": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        "options": {"threshold": 0.2, "seed": 20220701, "level": 0.95, "rho": 0.6,
                    "doubtful": False},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(facts))
    pd.DataFrame([{"other_label": "Beta", "figure": "jaccard", "median": 0.25}]).to_csv(
        folder / "tables" / "overlap_summary.csv", index=False
    )
    pd.DataFrame([{"other_label": "Beta", "label": "Grip", "verdict": "shared"}]).to_csv(
        folder / "tables" / "overlap_mechanisms.csv", index=False
    )

    def sampled(*args, **kwargs):
        raise RuntimeError("sampled")

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", sampled)
    return folder


def test_overlap_reads_finished_results(review, results):
    rows = json.loads(call("overlap", review, "--results", results, "--format", "json").stdout)
    assert rows == [{"other_label": "Beta", "figure": "jaccard", "median": 0.25}]
    text = call("overlap", review, "--results", results, "--mechanisms").stdout
    assert "shared" in text


@pytest.mark.parametrize("words", [["--seed", "1"], ["--results", "none"]])
def test_overlap_samples_where_the_results_do_not_fit(review, results, words):
    with pytest.raises(RuntimeError, match="sampled"):
        call("overlap", review, "--results", results, *words)


@pytest.mark.slow
@pytest.mark.parametrize("option", [{"level": 0.5}, {"rho": 0.0}, {"doubtful": True}])
def test_overlap_does_not_read_results_of_another_analysis(
    review, tmp_path, monkeypatch, joint, option
):
    """Results of `run --level 0.5`, `--rho 0` or `--doubtful` answer another question."""
    from nssi_meta import beside, pipeline

    monkeypatch.setattr(beside, "draw_forest", lambda *a: None)
    monkeypatch.setattr(beside, "draw", lambda *a: None)
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: joint)
    with joblib.parallel_config(backend="sequential"):
        pipeline.run(review, tmp_path / "r", **option)
    sampled = []

    def sample_again(*args, **kwargs):
        sampled.append(1)
        return joint

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", sample_again)
    call("overlap", review, "--results", tmp_path / "r")
    assert sampled


def test_overlap_of_changed_data_is_not_read(own_review, results, monkeypatch):
    own_review.write_text(own_review.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="sampled"):
        call("overlap", own_review, "--results", results)
    done = CliRunner().invoke(cli, ["overlap", str(own_review), "--results", str(results)])
    assert "stale" in done.stderr


def test_overlap_of_results_that_did_not_converge_ends_with_3(review, results):
    facts = json.loads((results / "manifest.json").read_text())
    (results / "manifest.json").write_text(json.dumps({**facts, "converged": False}))
    done = call("overlap", review, "--results", results, code=3)
    assert "DID NOT CONVERGE" in done.stdout
    # json has no title: the mark must reach programs too
    done = call("overlap", review, "--results", results, "--format", "json", code=3)
    assert "not converge" in (done.stdout + done.stderr).lower()


@pytest.mark.slow
def test_overlap_computes_what_is_not_there(review, tmp_path, monkeypatch, joint):
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: joint)
    words = ["overlap", review, "--results", tmp_path / "none"]
    done = call(*words, "--format", "json")
    assert "no results in" in done.stderr
    assert {r["other"] for r in json.loads(done.stdout)} == {"beta", "gamma"}
    bad = replace(joint, fit=replace(joint.fit, problems=("R-hat 1.2",)))
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: bad)
    assert "Not converged: R-hat 1.2" in call(*words, code=3).stderr


# ---------------------------------------------------------------- forest


@pytest.mark.parametrize(
    ("name", "start"), [("a.pdf", b"%PDF"), ("b.svg", b"<?xml"), ("c.v2.png", b"\x89PNG")]
)
def test_forest_writes_the_format_asked_for(review, tmp_path, name, start):
    done = call("forest", "reflex", "--data", review, "-o", tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert str(tmp_path / name) in done.stdout
    table = f"{name[:-4]}_data.csv"
    assert table in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {name, table}


def test_forest_accepts_an_ending_in_capitals(review, tmp_path):
    call("forest", "grip", "--data", review, "-o", tmp_path / "A.PDF")
    assert {p.name for p in tmp_path.iterdir()} == {"A.pdf", "A_data.csv"}


def test_forest_refuses_another_ending(review, tmp_path):
    text = call("forest", "grip", "--data", review, "-o", tmp_path / "a.docx", code=2).stderr
    assert ".pdf, .svg or .png" in text


def test_forest_options(review, tmp_path):
    for words in (["--sort", "effect"], ["--no-shrunken"], ["-c", "alpha"], ["--level", "0.8"]):
        call("forest", "grip", "--data", review, "-o", tmp_path / "a.svg", *words)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "Grip force" in text


def test_forest_shows_samples_densities_and_inconsistency(review, tmp_path):
    words = ("--columns", "study,sample,n", "--density", "-o", tmp_path / "a.svg")
    call("forest", "grip", "--data", review, *words)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ">Sample<" in text
    assert 'id="density:grip/alpha/case_control"' in text
    tau, share = text.find("τ\N{NO-BREAK SPACE}0."), text.find("I²\N{NO-BREAK SPACE}")
    assert 0 < tau < share  # how large the variation is comes before its share
    assert 'role="img"' in text  # with title and description
    assert "Forest plot of Grip force" in text


def test_forest_of_a_review_without_optional_columns(own_review, tmp_path):
    path = own_review.parent / "mechanisms.csv"
    pd.read_csv(path)[["mechanism", "label", "system"]].to_csv(path, index=False)
    call("forest", "grip", "--data", own_review, "-o", tmp_path / "a.svg")
