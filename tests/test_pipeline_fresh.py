"""Which finished results answer for a table: made from the same bytes, and whole."""

from __future__ import annotations

import json

import pytest

from nssi_meta.pipeline import MANIFEST, fresh_results, run


def test_results_are_fresh_for_their_own_data_only(own_review, tmp_path):
    import hashlib

    folder = tmp_path / "r"
    assert fresh_results(folder, own_review) == (None, f"no results in {folder}")
    folder.mkdir()
    digest = {
        name: hashlib.sha256(own_review.with_name(name).read_bytes()).hexdigest()
        for name in (own_review.name, "mechanisms.csv", "conditions.csv")
    }
    facts = {"package": "nssi-meta", "hashes": digest, "options": {}, "converged": True, "seed": 1}
    (folder / MANIFEST).write_text(json.dumps(facts))
    facts, why = fresh_results(folder, own_review)
    assert why == ""
    assert facts["seed"] == 1
    own_review.write_text(own_review.read_text() + "\n")
    facts, why = fresh_results(folder, own_review)
    assert facts is None
    assert "stale" in why
    assert fresh_results(folder, tmp_path / "gone.csv")[0] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conditions", "mechanisms"])
def test_results_are_stale_when_a_vocabulary_has_changed(
    own_review, tmp_path, no_figures, sampled_before, name
):
    """Another index condition, or another system of a mechanism, is another analysis."""
    run(own_review, tmp_path / "r")
    assert fresh_results(tmp_path / "r", own_review)[0] is not None
    path = own_review.parent / f"{name}.csv"
    swapped = {"conditions": ("people with alpha,index", "people with alpha,comorbid"),
               "mechanisms": ("Tremor,motor", "Tremor,drive")}[name]  # fmt: skip
    text = path.read_text()
    assert swapped[0] in text
    path.write_text(text.replace(*swapped))
    assert fresh_results(tmp_path / "r", own_review)[0] is None


@pytest.mark.parametrize("content", ["{", "{}", '{"data": {}}'])
def test_a_damaged_manifest_is_no_result(review, tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    facts, why = fresh_results(tmp_path, review)
    assert facts is None
    assert str(tmp_path) in why
