"""The tool that calibrates: resumes where it stopped, and writes what it found."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from nssi_meta.inference.calibration import FAILED, Scenario

ROOT = Path(__file__).resolve().parent.parent.parent
CALLS: list[int] = []


def _uniform(rng):
    CALLS.append(1)
    return {"mu": float(rng.random()), FAILED: 0.0}


def _skewed(rng):
    return {"mu": float(rng.random() ** 3)}


GOOD = Scenario("good", "a good one", 45, _uniform)
BAD = Scenario("bad", "a bad one", 80, _skewed)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("calibrate", ROOT / "tools" / "calibrate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "docs" / "img").mkdir(parents=True)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_a_stopped_run_goes_on_with_what_is_missing(tool, tmp_path):
    tool.compute([GOOD], tmp_path / "c", "threading")
    first = tool.places(GOOD, tmp_path / "c")
    assert len(first) == 45
    sorted((tmp_path / "c" / "good").iterdir())[1].unlink()
    CALLS.clear()
    tool.compute([GOOD], tmp_path / "c", "threading")
    assert len(CALLS) == tool.CHUNK
    assert tool.places(GOOD, tmp_path / "c").equals(first)


def test_the_page_tells_good_from_bad_and_what_is_missing(tool, tmp_path):
    tool.compute([GOOD, BAD], tmp_path / "c", "threading")
    sorted((tmp_path / "c" / "good").iterdir())[0].unlink()
    page = tool.report([GOOD, BAD], tmp_path / "c")
    assert page == (tmp_path / "docs" / "calibration.md").read_text(encoding="utf-8")
    assert "| [a good one](#a-good-one) | 35 of 45 | 1 | 0 |" in page
    assert "| [a bad one](#a-bad-one) | 80 | 1 | 1 |" in page
    assert "1 of them fall below 0.05: those models are not calibrated" in page
    assert "Not all simulations are there yet: a good one." in page
    for name in ("good", "bad"):
        assert (tmp_path / "docs" / "img" / f"calibration_{name}.png").is_file()


def test_without_simulations_there_is_no_page(tool, tmp_path):
    with pytest.raises(SystemExit, match="holds no simulations"):
        tool.report([GOOD], tmp_path / "none")


def test_unknown_models_are_named(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(["--only", "poll"])
    assert "no model poll; allowed: pool, pool_t" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cluster_of_two_workers_computes_the_same(tool, tmp_path, monkeypatch):
    """The places of a model's truths, from a local Dask cluster and from this process."""
    from distributed import LocalCluster

    scenario = replace(tool.scenarios()[0], n=4)
    monkeypatch.setattr(tool, "CHUNK", 2)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        client = tool.connect("dask")
        assert client.scheduler.address == cluster.scheduler_address
        assert len(client.scheduler_info()["workers"]) == 2
        tool.compute([scenario], tmp_path / "dask", "dask")
        client.close()
    tool.compute([scenario], tmp_path / "here", "sequential")
    pd.testing.assert_frame_equal(
        tool.places(scenario, tmp_path / "dask"), tool.places(scenario, tmp_path / "here")
    )
