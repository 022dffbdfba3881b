"""The verb `overlap`: finished results, and when they are not read."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli


@pytest.fixture
def results(review, tmp_path, monkeypatch, finished):
    """Finished results with tables of one's own; sampling is forbidden."""
    folder = tmp_path / "results"
    (folder / "tables").mkdir(parents=True)
    finished(folder, review)
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


def test_overlap_reads_finished_results(review, results, call):
    rows = json.loads(call("overlap", review, "--results", results, "--format", "json").stdout)
    assert rows == [{"other_label": "Beta", "figure": "jaccard", "median": 0.25}]
    text = call("overlap", review, "--results", results, "--mechanisms").stdout
    assert "shared" in text


@pytest.mark.parametrize("words", [["--seed", "1"], ["--results", "none"]])
def test_overlap_samples_where_the_results_do_not_fit(review, results, words, call):
    with pytest.raises(RuntimeError, match="sampled"):
        call("overlap", review, "--results", results, *words)


@pytest.mark.slow
@pytest.mark.parametrize("option", [{"level": 0.5}, {"rho": 0.0}, {"doubtful": True}])
def test_overlap_does_not_read_results_of_another_analysis(
    review, tmp_path, monkeypatch, joint, no_figures, sampled_before, option, call
):
    """Results of `run --level 0.5`, `--rho 0` or `--doubtful` answer another question."""
    from nssi_meta.pipeline import run

    run(review, tmp_path / "r", **option)
    sampled = []

    def sample_again(*args, **kwargs):
        sampled.append(1)
        return joint

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", sample_again)
    call("overlap", review, "--results", tmp_path / "r")
    assert sampled


def test_overlap_of_changed_data_is_not_read(own_review, results, monkeypatch, call):
    own_review.write_text(own_review.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="sampled"):
        call("overlap", own_review, "--results", results)
    done = CliRunner().invoke(cli, ["overlap", str(own_review), "--results", str(results)])
    assert "stale" in done.stderr


def test_overlap_of_results_that_did_not_converge_ends_with_3(review, results, call):
    facts = json.loads((results / "manifest.json").read_text())
    (results / "manifest.json").write_text(json.dumps({**facts, "converged": False}))
    done = call("overlap", review, "--results", results, code=3)
    assert "DID NOT CONVERGE" in done.stdout
    # json has no title: the mark must reach programs too
    done = call("overlap", review, "--results", results, "--format", "json", code=3)
    assert "not converge" in (done.stdout + done.stderr).lower()


@pytest.mark.slow
def test_overlap_computes_what_is_not_there(review, tmp_path, monkeypatch, joint, call):
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: joint)
    words = ["overlap", review, "--results", tmp_path / "none"]
    done = call(*words, "--format", "json")
    assert "no results in" in done.stderr
    assert {r["other"] for r in json.loads(done.stdout)} == {"beta", "gamma"}
    bad = replace(joint, fit=replace(joint.fit, problems=("R-hat 1.2",)))
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: bad)
    assert "Not converged: R-hat 1.2" in call(*words, code=3).stderr
