"""The main job on reviews that have no second condition to compare, or hardly one."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.pipeline import MANIFEST, fresh_results, run
from nssi_meta.synthesis.profiles import joint_data


def fail(*args, **kwargs):
    raise AssertionError("nothing should be sampled")


def _rows_of(review, **wanted):
    rows = pd.read_csv(review, dtype=str, keep_default_na=False)
    for column, values in wanted.items():
        rows = rows[rows[column].isin(values)]
    return rows


@pytest.fixture
def unsampled(monkeypatch):
    """Fails if anything tries to fit the joint model."""
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", fail)


CLAIMS = """claim_id,kind,mechanism,condition,other_condition,expected,subset,statement
A,direction,reflex,alpha,,+,,Reflexes are faster
B,shared,reflex,alpha,beta,+,,Faster reflexes are shared
"""


def test_a_review_of_one_condition_runs_without_overlap(
    own_review, tmp_path, no_figures, unsampled
):
    alone = _rows_of(own_review, condition=["alpha"], comparator=["well", "none"])
    alone[alone["mechanism"].isin(["reflex", "tremor"])].to_csv(own_review, index=False)
    own_review.with_name("claims.csv").write_text(CLAIMS, encoding="utf-8")
    folder = tmp_path / "r"
    result = run(own_review, folder)
    assert result.converged
    assert result.problems == ()
    assert set(result.tables) == {
        "pools", "rows", "flow", "coverage", "excluded", "estimands", "claims", "claim_readings",
    }  # fmt: skip
    verdicts = result.tables["claims"].set_index("claim_id")["verdict"]
    assert verdicts.to_dict() == {"A": "supported", "B": "no evidence"}
    facts = json.loads((folder / MANIFEST).read_text())
    why = "the joint model needs rows of estimand case_control for alpha and at least one other"
    assert facts["no_joint_model"].startswith(why)
    assert facts["converged"] is None
    assert not {"joint R", "joint sigma"} & set(facts["priors"])
    assert not (folder / "posterior").exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count(why) == 3  # the head, what could not be said, methods
    assert 'id="overlap"' not in page
    assert 'id="gaps"' not in page
    assert 'href="#overlap"' not in page
    assert "Every mean of the joint model" not in page
    assert "supported and 1 without evidence" in page
    assert fresh_results(folder, own_review)[0] is not None


def test_verbs_that_need_the_joint_model_say_why_there_is_none(
    own_review, tmp_path, no_figures, capsys
):
    from nssi_meta.cli.finished import finished

    alone = _rows_of(own_review, condition=["alpha"], comparator=["well"], mechanism=["grip"])
    alone.to_csv(own_review, index=False)
    run(own_review, tmp_path / "r")
    assert finished(str(tmp_path / "r"), str(own_review)) is None
    assert capsys.readouterr().err == ""


def test_conditions_without_comparable_rows_have_no_joint_model(
    own_review, tmp_path, no_figures, unsampled
):
    """Two conditions, but only associations."""
    rows = _rows_of(own_review, estimand=["association"])
    other = rows.assign(effect_id="x", study_id="y", sample_id="y-cases", condition="beta")
    pd.concat([rows, other]).to_csv(own_review, index=False)
    result = run(own_review, tmp_path / "r")
    assert len(result.tables["pools"]) == 2
    facts = json.loads((tmp_path / "r" / MANIFEST).read_text())
    assert facts["no_joint_model"].endswith("found none")


def test_patients_compared_with_patients_alone_leave_nothing_to_pool(
    own_review, tmp_path, unsampled
):
    _rows_of(own_review, comparator=["beta"]).to_csv(own_review, index=False)
    with pytest.raises(ValueError, match="nothing to pool: no usable row compares patients"):
        run(own_review, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_two_conditions_of_one_mechanism_run(own_review, tmp_path, no_figures, joint, monkeypatch):
    """The posterior is a part of the one of the whole review: what is made of it is tested."""
    rows = _rows_of(own_review, condition=["alpha", "beta"], mechanism=["grip"])
    rows[rows["comparator"] == "well"].to_csv(own_review, index=False)
    data, index = joint_data(read_effects(own_review))
    assert (data.mechanisms, data.conditions, index) == (("grip",), ("alpha", "beta"), "alpha")
    tree = joint.fit.posterior_data
    some = {"mechanism": ["grip"], "condition": ["alpha", "beta"], "condition_b": ["alpha", "beta"]}
    posterior = tree["posterior"].dataset.sel(some)
    part = type(tree).from_dict(
        {"/posterior": posterior, "/sample_stats": tree["sample_stats"].dataset}
    )
    profiles = replace(joint, data=data, fit=replace(joint.fit, posterior_data=part))
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: profiles)
    monkeypatch.setattr("nssi_meta.synthesis.posterior_file.save_posterior", lambda *a: None)
    result = run(own_review, tmp_path / "r")
    shared = result.tables["overlap_summary"].set_index("figure")
    assert (shared["n_mechanisms"] == 1).all()
    assert result.tables["overlap_leave_one_out"].empty
    assert result.tables["overlap_contrasts"].empty
    assert 'id="overlap"' in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
