"""The main job: whole or not at all, and honest about what it was made from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from nssi_meta import beside, pipeline
from nssi_meta.beside import draw_others, gather, pool_all
from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.read import read_effects
from nssi_meta.pipeline import MANIFEST, excluded, run
from nssi_meta.synthesis.overlap import overlap

TABLES = {
    "pools", "rows", "profiles", "correlations", "overlap_mechanisms", "overlap_summary",
    "overlap_thresholds", "overlap_systems", "overlap_stages", "overlap_contrasts",
    "overlap_leave_one_out", "gaps", "estimands", "diagnostics", "flow", "coverage", "excluded",
}  # fmt: skip


@pytest.fixture
def old_results(tmp_path):
    """A folder as an earlier run leaves it."""
    folder = tmp_path / "results"
    folder.mkdir()
    facts = {"package": "nssi-meta", "data": {"sha256": "old"}}
    (folder / MANIFEST).write_text(json.dumps(facts), encoding="utf-8")
    (folder / "old.txt").write_text("last good results", encoding="utf-8")
    return folder


class Boom(Exception):
    """A failure that no code of ours raises."""


def fail(*args, **kwargs):
    raise Boom


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


# ---------------------------------------------------------------- before anything is computed


def test_unusable_data_write_nothing(own_review, tmp_path):
    text = own_review.read_text().replace("0.3,", "0;3,", 1).replace(",reflex,", ",reflx,", 1)
    own_review.write_text(text)
    with pytest.raises(EvidenceError, match="reflx"):
        run(own_review, tmp_path / "results")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize("files", [["notes.txt"], ["manifest.txt", "tables.csv"]])
def test_a_folder_that_is_no_result_is_refused(review, tmp_path, files):
    folder = tmp_path / "results"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("mine")
    with pytest.raises(FileExistsError, match=r"not a folder of results.*--out"):
        run(review, folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted(files)


def test_a_file_in_the_way_is_refused(review, tmp_path):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(FileExistsError):
        run(review, tmp_path / "results")


@pytest.mark.parametrize("content", ['{"name": "My web app"}', "not even JSON", "[]"])
def test_the_manifest_of_another_program_is_no_licence_to_replace(
    review, tmp_path, content, monkeypatch
):
    """Web apps, browser extensions and packages all keep a manifest.json beside their sources."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "manifest.json").write_text(content)
    (folder / "source.js").write_text("years of work")
    monkeypatch.setattr(pipeline, "pool_all", fail)
    with pytest.raises(FileExistsError):
        run(review, folder)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"tau_prior": "flat"}, "at least 2 studies"), ({"mu_prior": "norml(0,1)"}, "normal"),
     ({"level": 2}, "level"), ({"omega_prior": "flat"}, "improper prior on omega")],
)  # fmt: skip
def test_a_wrong_option_is_found_before_anything_is_sampled(
    review, tmp_path, monkeypatch, options, error
):
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", fail)
    with pytest.raises(ValueError, match=error):
        run(review, tmp_path / "results", **options)
    assert not (tmp_path / "results").exists()


# ---------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize(
    "where",
    [
        "nssi_meta.beside.pool",
        "nssi_meta.synthesis.overlap.overlap",
        "nssi_meta.beside.draw",
        "nssi_meta.report.page.build",
        "nssi_meta.synthesis.posterior_file.save_posterior",
        "nssi_meta.report.manifest.write_manifest",
    ],
)
@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
@pytest.mark.slow
def test_a_failure_midway_leaves_the_last_results(
    review, old_results, monkeypatch, no_figures, sampled_before, where, error
):
    def stop(*args, **kwargs):
        raise error

    before = contents(old_results)
    monkeypatch.setattr(where, stop)
    with pytest.raises(error):
        run(review, old_results)
    assert contents(old_results) == before
    assert [p.name for p in old_results.parent.iterdir()] == ["results"]


def test_a_failure_without_earlier_results_leaves_nothing(review, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "pool_all", fail)
    with pytest.raises(Boom):
        run(review, tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_the_last_move_puts_the_old_results_back(old_results, monkeypatch):
    """The new folder cannot take the place (disk, permissions): the old one must be there."""
    before = contents(old_results)
    rename = Path.rename

    def fail_into_place(self, target):
        if Path(target) == old_results and not self.name.endswith(".old"):
            raise OSError("no space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_into_place)
    with pytest.raises(OSError, match="no space"), pipeline._whole(old_results) as work:
        (work / "new.txt").write_text("new")
    assert old_results.is_dir()
    assert contents(old_results) == before


def test_results_behind_a_symbolic_link_are_replaced(old_results, tmp_path):
    """results -> a folder on the big disk."""
    link = tmp_path / "link"
    link.symlink_to(old_results, target_is_directory=True)
    with pipeline._whole(link) as work:
        (work / MANIFEST).write_text("{}")
    assert (link / MANIFEST).read_text() == "{}"
    assert not (link / "old.txt").exists()
    assert {p.name for p in tmp_path.iterdir()} <= {"link", "results"}


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "a" / "b"):
        pipeline._may_replace(target)
        with pipeline._whole(target) as work:
            (work / "x").write_text("1")
        assert (target / "x").read_text() == "1"
        assert target.stat().st_mode & 0o777 == 0o755


# ---------------------------------------------------------------- a whole run


@pytest.mark.slow
def test_a_run_replaces_the_last_results_with_every_promised_table(
    review, old_results, no_figures, sampled_before
):
    told = []
    result = run(review, old_results, draws=123, seed=9, threshold=0.3, level=0.9,
                 progress=lambda *step: told.append(step))  # fmt: skip
    assert set(result.tables) == TABLES
    assert not (old_results / "old.txt").exists()
    written = {p.stem for p in (old_results / "tables").glob("*.csv")}
    assert written >= TABLES
    assert (old_results / "report.html").stat().st_size > 10_000
    assert (old_results / "posterior" / "profiles.nc").is_file()
    assert result.converged
    (asked,) = sampled_before
    assert asked["settings"].draws == 123
    assert (asked["seed"], asked["delta"], asked["level"], asked["rho"]) == (9, 0.3, 0.9, 0.6)
    steps = list(dict.fromkeys(step for step, _ in told))
    assert steps == ["check", "overlap", "gaps", "pools", "figures", "report"]
    pools = pd.read_csv(old_results / "tables" / "pools.csv")
    assert len(pools) == 12
    pd.testing.assert_frame_equal(
        pools[["mechanism", "mu_mean"]], result.tables["pools"][["mechanism", "mu_mean"]],
        check_dtype=False, rtol=1e-12,
    )  # fmt: skip


@pytest.mark.slow
def test_the_manifest_says_what_the_run_was_made_from(review, tmp_path, no_figures, sampled_before):
    import hashlib

    run(review, tmp_path / "r", seed=9, threshold=0.3, level=0.9, interval="shortest")
    facts = json.loads((tmp_path / "r" / MANIFEST).read_text())
    digest = hashlib.sha256(review.read_bytes()).hexdigest()
    assert facts["data"]["sha256"] == digest
    assert (facts["data"]["rows"], facts["data"]["used"]) == (53, 50)
    assert facts["seed"] == 9
    assert facts["thresholds"] == {"delta": 0.3, "decide": 0.8, "moved": 0.2}
    assert (facts["level"], facts["interval"]) == (0.9, "shortest")
    assert facts["converged"] is True
    assert facts["problems"] == []
    assert {"python", "pymc", "arviz", "nutpie", "numpy", "pandas", "scipy"} <= set(
        facts["versions"]
    )
    assert {"divergences", "e_bfmi_min", "draws", "chains", "seed", "attempts"} <= set(
        facts["sampler"]
    )
    assert facts["priors"]["joint R"] == "LKJ(2)"
    assert facts["created"].startswith("20")


@pytest.mark.slow
def test_the_command_in_the_manifest_repeats_the_run(review, tmp_path, no_figures, sampled_before):
    """Every option that changes a number must be in it."""
    run(review, tmp_path / "r", seed=9, threshold=0.3, level=0.9, interval="shortest",
        doubtful=True, draws=500, mu_prior="normal(0,4)", tau_prior="halfcauchy(0.5)",
        omega_prior="halfnormal(0.3)", rho=0.3)  # fmt: skip
    command = json.loads((tmp_path / "r" / MANIFEST).read_text())["command"]
    missing = [
        option
        for option in ("--seed 9", "--threshold 0.3", "--level 0.9", "--interval shortest",
                       "--doubtful", "--draws 500", "normal(0,4)", "halfcauchy(0.5)", "--rho 0.3",
                       "--omega-prior 'halfnormal(0.3)'")
        if option not in command
    ]  # fmt: skip
    assert missing == []


@pytest.mark.slow
def test_the_same_data_and_seed_give_the_same_tables(review, tmp_path, no_figures, sampled_before):
    run(review, tmp_path / "a")
    run(review, tmp_path / "b")
    first, second = contents(tmp_path / "a" / "tables"), contents(tmp_path / "b" / "tables")
    assert first == second
    assert len(first) >= len(TABLES)


@pytest.mark.slow
def test_a_model_that_did_not_converge_marks_the_run(
    review, tmp_path, no_figures, monkeypatch, joint
):
    bad = replace(joint, fit=replace(joint.fit, problems=("R-hat too large",)))
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", lambda *a, **k: bad)
    result = run(review, tmp_path / "r")
    assert not result.converged
    assert result.problems == ("R-hat too large",)
    facts = json.loads((tmp_path / "r" / MANIFEST).read_text())
    assert facts["converged"] is False
    assert facts["problems"] == ["R-hat too large"]
    assert "R-hat too large" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_pool_that_did_not_converge_marks_the_run(
    review, tmp_path, no_figures, sampled_before, monkeypatch
):
    """What the manifest says and what the caller gets must be the same."""
    real = beside.pool

    def pool(*args, **kwargs):
        pools = real(*args, **kwargs)
        first = replace(pools.cells[0], converged=False, problems=("pool stuck",))
        return replace(pools, cells=(first, *pools.cells[1:]))

    monkeypatch.setattr(beside, "pool", pool)
    result = run(review, tmp_path / "r")
    assert json.loads((tmp_path / "r" / MANIFEST).read_text())["converged"] is False
    assert not result.converged
    assert "pool stuck" in result.problems


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keep"),
    [("mechanisms", ["mechanism", "label", "system"]), ("conditions", ["id", "label", "role"])],
)
def test_a_review_with_the_required_columns_only(
    own_review, tmp_path, joint, in_process, name, keep
):
    """Nothing but what the checks ask for: what passes `check` must run, figures included."""
    path = own_review.parent / f"{name}.csv"
    pd.read_csv(path)[keep].to_csv(path, index=False)
    evidence = read_effects(own_review)
    assert evidence.problems == ()
    profiles = replace(joint, mechanisms=evidence.mechanisms, conditions=evidence.conditions)
    pools = gather(list(pool_all(evidence.select(mechanism="grip"), tmp_path, {})))
    shared = overlap(profiles)
    tables = {"pools": pools.table, "overlap_summary": shared.figures,
              "overlap_mechanisms": shared.mechanisms}  # fmt: skip
    list(draw_others(tables, "index", 0.2, tmp_path))
    assert (tmp_path / "overview.svg").is_file()
    assert (tmp_path / "forest_grip.svg").is_file()


@pytest.mark.slow
def test_the_figures_of_a_whole_run(review, tmp_path, sampled_before):
    run(review, tmp_path / "r")
    names = {p.name for p in (tmp_path / "r" / "figures").iterdir()}
    stems = [f"forest_{m}" for m in ("reflex", "grip", "tremor", "appetite")]
    stems += ["overview", "overview_association", "overlap_mechanisms", "overlap_summary"]
    assert {f"{s}.{kind}" for s in stems for kind in ("pdf", "svg", "png")} <= names


# ---------------------------------------------------------------- small parts


def test_every_unused_row_is_listed_with_its_line_and_reason(review):
    evidence = read_effects(review)
    table = excluded(evidence).set_index("study_id")
    assert set(table.index) == {"mixed", "maybe", "twice"}
    assert len(table) + len(evidence.used) == len(evidence.rows)
    assert table["why_not"].str.len().min() > 0
    assert table.loc["mixed", "why_not"] == "comparator is a mixed clinical group"
    assert table.loc["maybe", "why_not"] == "doubtful: numbers read off a figure"
    lines = review.read_text().splitlines()
    for name, row in table.iterrows():
        assert f",{name}," in lines[row["line"] - 1]
