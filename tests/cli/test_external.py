"""The verbs `external` and `moderators`, on a part of the shipped table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The rows of two mechanisms, with the vocabularies and published pools beside them."""
    place = tmp_path_factory.mktemp("data")
    for name in ("mechanisms.csv", "conditions.csv", "published_pools.csv"):
        shutil.copy(DATA / name, place / name)
    table = pd.read_csv(DATA / "effects.csv", dtype=str, keep_default_na=False)
    some = table["mechanism"].isin(["drd2_a1_allele", "amygdala_activation"])
    table[some].to_csv(place / "effects.csv", index=False)
    return place


def test_external_prints_totals_and_writes_the_figure(folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["external", str(folder / "effects.csv"), "--out", str(out), "--jobs", "1"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "8 rows or more" in result.output
    assert "expected" in result.output
    svg = (out / "external.svg").read_text(encoding="utf-8")
    assert "published pools beside ours. Inside the interval of naive" in svg
    assert len(pd.read_csv(out / "external.csv")) == 4
    missing = CliRunner().invoke(cli, [*arguments, "--published", "nowhere.csv"])
    assert missing.exit_code == 2
    assert "--published" in missing.output


def test_moderators_prints_levels_and_draws_them(folder, tmp_path):
    data = [str(folder / "effects.csv"), "-c", "nssi", "-e", "case_control"]
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli,
        ["moderators", *data, "-m", "amygdala_activation", "--by", "stimulus", "--by", "age",
         "--format", "csv", "--out", str(out)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "nssi_related - others" in result.output
    assert "too few studies" in result.output
    written = pd.read_csv(out / "moderators.csv")
    assert set(written["moderator"]) == {"stimulus", "age"}
    assert (out / "amygdala_activation_nssi_case_control_stimulus.svg").is_file()
    wrong = CliRunner().invoke(cli, ["moderators", *data, "-m", "amygdala"])
    assert wrong.exit_code == 2
    assert "not a known mechanism" in wrong.output
