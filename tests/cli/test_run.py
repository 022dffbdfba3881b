"""A model that did not converge, and the verb `run`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

REFERENCE = Path(__file__).parents[1] / "reference"
BCG = str(REFERENCE / "bcg_RR.csv")


def test_a_pool_that_did_not_converge_ends_with_3_and_is_marked(monkeypatch, call):
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
    review, tmp_path, monkeypatch, converged, code, call
):
    monkeypatch.setattr("nssi_meta.pipeline.run", fake_run(converged))
    done = call("run", review, "--out", tmp_path / "r", code=code)
    assert str(tmp_path / "r" / "report.html") in done.stdout
    assert ("Not converged: R-hat 1.2" in done.stderr) != converged


def test_run_refuses_a_foreign_folder_as_wrong_usage(review, tmp_path, call):
    (tmp_path / "mine.txt").write_text("mine")
    text = call("run", review, "--out", tmp_path, code=2).stderr
    assert "--out" in text
    assert (tmp_path / "mine.txt").read_text() == "mine"
