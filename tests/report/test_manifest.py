"""The manifest: plain JSON, the same bytes for the same run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nssi_meta.report.manifest import data_facts, to_json, version, versions, write_manifest


def test_runs_differ_in_nothing_but_the_time(make_manifest_facts):
    one = make_manifest_facts(created=datetime(2026, 1, 1, tzinfo=UTC))
    two = make_manifest_facts(created=datetime(2026, 1, 2, tzinfo=UTC))
    assert {k for k in one if one[k] != two[k]} == {"created"}
    assert to_json(one | {"created": ""}) == to_json(two | {"created": ""})
    assert to_json(one) == to_json(dict(reversed(one.items())))


def test_numpy_values_and_missing_numbers_become_plain_json(make_manifest_facts, tmp_path):
    sampler = {"draws": np.int64(500), "e_bfmi_min": np.float64(math.nan), "ok": np.bool_(True)}
    facts = make_manifest_facts(sampler=sampler, models={"order": np.array([1, 2])})
    back = json.loads(write_manifest(facts, tmp_path / "manifest.json").read_text("utf-8"))
    assert back["sampler"] == {"draws": 500, "e_bfmi_min": None, "ok": True}
    assert back["models"] == {"order": [1, 2]}
    assert back == facts


def test_what_json_cannot_hold_is_refused(make_manifest_facts):
    with pytest.raises(TypeError, match="set"):
        make_manifest_facts(priors={"mu": {1, 2}})


def test_time_is_in_utc(make_manifest_facts):
    east = datetime(2026, 7, 1, 8, 30, tzinfo=timezone(timedelta(hours=8)))
    assert make_manifest_facts(created=east)["created"] == "2026-07-01T00:30:00+00:00"


def test_versions_are_read_without_importing_the_packages():
    code = (
        "import sys; from nssi_meta.report.manifest import versions; v = versions(); "
        "assert v['pymc'] and v['python'], v; "
        "heavy = {'pymc', 'arviz', 'nutpie', 'scipy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    path = str(Path(__file__).parents[2] / "src")
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert versions()["numpy"] == np.__version__
    assert version("no-such-package-anywhere") == "not installed"


def test_paths_of_one_machine_stay_out_of_the_manifest(tmp_path, monkeypatch):
    evidence = SimpleNamespace(
        path=tmp_path / "data" / "effects.csv", sha256="ab", rows=[1, 2], used=[1]
    )
    assert data_facts(evidence)["path"] == "effects.csv"
    monkeypatch.chdir(tmp_path)
    expected = {"path": "data/effects.csv", "sha256": "ab", "rows": 2, "used": 1}
    assert data_facts(evidence) == expected
