"""The verb `sensitivity`: tables, figures with their tables beside, wrong usage."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        'rows = ["all", "exact"]\ntau_prior = ["halfnormal(0.5)", "halfnormal(0.25)"]\n'
    )
    return str(path)


def run(*words: str):
    return CliRunner().invoke(cli, ["sensitivity", *words])


def test_one_line_a_pool_with_its_range(review, grid):
    found = run(str(review), "--grid", grid, "--format", "json")
    assert found.exit_code == 0, found.output
    table = json.loads(found.stdout)
    assert len({(r["mechanism"], r["condition"], r["estimand"]) for r in table}) == len(table) > 1
    for row in table:
        assert (
            row["lowest_low"] <= row["low"] <= row["median"] <= row["high"] <= row["highest_high"]
        )
        assert f"stands in {row['n_stands']} of {row['n_analyses']}" in row["conclusion"]


def test_all_figures_of_a_pool_with_their_tables(review, grid, tmp_path):
    out = tmp_path / "out"
    found = run(
        str(review), "grip", "-c", "alpha", "-e", "case_control", "--grid", grid,
        "--out", str(out), "--influence", "--resume", str(tmp_path / "parts"),
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "Fragility: " in found.output
    assert "Without each study in turn" in found.output
    stems = {p.stem for p in out.glob("*.svg")}
    assert stems >= {"specification_curve", "funnel", "prior_posterior", "leave_one_out", "subsets"}
    assert {p.stem for p in out.glob("*.csv")} == stems == {p.stem for p in out.glob("*.pdf")}
    for svg in out.glob("*.svg"):
        assert "<desc" in svg.read_text(encoding="utf-8")
    # A figure that cannot be drawn is named.
    assert "cumulative" in stems or "No cumulative" in found.output
    assert list((tmp_path / "parts").glob("*.json"))


@pytest.mark.parametrize("option", [("--influence",), ("--out", "x"), ("--figure", "x.pdf")])
def test_figures_of_many_pools_are_refused_before_the_work(review, option):
    found = run(str(review), *option)
    assert found.exit_code == 2
    assert "needs a single pool" in found.output
