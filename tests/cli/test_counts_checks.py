"""`diagnose --counts` and `forest --counts`: the columns of `pool --counts`."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from nssi_meta.synthesis.counts import pool_counts

BCG = str(Path(__file__).parents[2] / "docs" / "models" / "bcg.csv")
NAMED = ["--counts", "--ai", "tpos", "--bi", "tneg", "--ci", "cpos", "--di", "cneg"]


def test_diagnose_takes_the_same_columns(call, tmp_path):
    path, out = tmp_path / "rare.csv", tmp_path / "checks"
    path.write_text("trial,x,n1i,ci,n2i\nA,0,40,3,41\nB,1,30,2,33\nC,2,50,4,47\n", "utf-8")
    words = [path, "--counts", "--ai", "x", "--study", "trial", "--mu-prior", "normal(0,1)"]
    done = call("diagnose", *words, "--format", "csv", "--out", out)
    table = pd.read_csv(io.StringIO(done.stdout))
    left = table[table["check"] == "leave_one_out"]
    assert list(left["study_id"]) == ["A", "B", "C"]
    rest = pool_counts([1, 2], [30, 50], [2, 4], [33, 47], mu_prior="normal(0,1)")
    assert left["median"].iloc[0] == pytest.approx(rest.table["mu_median"].iloc[0], abs=1e-12)
    assert set(table["check"]) == {
        "leave_one_out", "prior_sensitivity", "predictive", "bayes_factors",
    }  # fmt: skip
    assert "mu ~ normal(0,1), tau ~ halfnormal(1)" in done.stderr
    assert (out / "leave_one_out_given.pdf").is_file()
    assert (out / "predictive_given.svg").is_file()
    assert "empty" in set(pd.read_csv(out / "predictive.csv")["statistic"])


def test_forest_takes_the_same_columns(call, tmp_path):
    path = tmp_path / "plot.svg"
    call("forest", BCG, *NAMED, "--study", "trial", "-o", path)
    drawn = pd.read_csv(tmp_path / "plot_data.csv")
    shown = drawn[drawn["label"].astype(str) == "12"]
    assert len(shown) == 1
    assert path.read_text("utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["diagnose", BCG, "--counts", "--yi", "yi"], 2, "no use for --yi"),
        (["diagnose", BCG, "--ai", "tpos"], 2, "--ai need --counts"),
        (["forest", BCG, "--counts", "--doubtful"], 2, "no use for --doubtful"),
        (["forest", "x", "--study", "trial"], 2, "--study needs --counts"),
        (["forest", BCG, "--counts"], 1, "--ai COLUMN"),
    ],
)
def test_other_verbs_refuse_what_counts_cannot_use(call, words, code, named):
    assert named in " ".join(call(*words, code=code).stderr.split())
