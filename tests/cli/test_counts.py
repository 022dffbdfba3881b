"""`pool --counts`: two-by-two tables of a reviewer's own, by exact binomial likelihoods."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from nssi_meta.synthesis.counts import pool_counts

BCG = str(Path(__file__).parents[2] / "docs" / "models" / "bcg.csv")
NAMED = ["--counts", "--ai", "tpos", "--bi", "tneg", "--ci", "cpos", "--di", "cneg"]


@pytest.fixture
def call(call):
    return partial(call, "pool")


def bcg(**options):
    t = pd.read_csv(BCG)
    return pool_counts(t.tpos, t.tpos + t.tneg, t.cpos, t.cpos + t.cneg, **options)


def test_counts_have_the_output_of_other_pools(call):
    done = call(BCG, *NAMED, "--study", "trial", "--format", "json")
    (row,) = json.loads(done.stdout)
    assert row["mu_median"] == pytest.approx(bcg().table["mu_median"].iloc[0], abs=1e-12)
    assert (row["k"], row["scale"], row["n_bounds"]) == (13, "log_or", 0)
    other = call(BCG, "--yi", "yi", "--vi", "vi", "--format", "json")
    assert list(row) == list(json.loads(other.stdout)[0])
    assert "mu ~ normal(0,2), tau ~ halfnormal(1)" in done.stderr


def test_priors_groups_and_bayes_factors(call):
    words = [
        "--by", "alloc", "--mu-prior", "normal(0,1)", "--tau-prior", "halfcauchy(0.5)",
        "--level", "0.9", "--interval", "shortest", "--delta", "0.1", "--bayes-factors",
    ]  # fmt: skip
    table = pd.read_csv(io.StringIO(call(BCG, *NAMED, *words, "--format", "csv").stdout))
    assert sorted(table["mechanism"]) == ["alternate", "random", "systematic"]
    assert set(table["mu_prior"]) == {"normal(0,1)"}
    t = pd.read_csv(BCG).query("alloc == 'random'")
    alone = pool_counts(
        t.tpos, t.tpos + t.tneg, t.cpos, t.cpos + t.cneg, mu_prior="normal(0,1)",
        tau_prior="halfcauchy(0.5)", level=0.9, interval="shortest", delta=0.1,
    )  # fmt: skip
    row = table.set_index("mechanism").loc["random"]
    for name in ("mu_low", "pred_high", "p_beyond"):
        assert row[name] == pytest.approx(alone.table[name].iloc[0], abs=1e-12)
    factors = alone.bayes_factors().iloc[0]
    assert row["bf10_mu"] == pytest.approx(factors["bf10_mu"], rel=1e-12)
    assert row["bf10_tau"] == pytest.approx(factors["bf10_tau"], rel=1e-12)
    table = pd.read_csv(io.StringIO(
        call(BCG, *NAMED, "--mu-prior", "flat", "--bayes-factors", "--format", "csv").stdout
    ))  # fmt: skip
    assert "improper prior flat" in table["bf_note"].iloc[0]
    assert table["bf10_mu"].isna().all()


def test_empty_cells_are_fine(tmp_path, call):
    path = tmp_path / "rare.csv"
    path.write_text("ai,n1i,ci,n2i\n0,40,3,41\n0,30,0,33\n1,50,4,47\n", encoding="utf-8")
    (row,) = json.loads(call(path, "--counts", "--format", "json").stdout)
    assert row["k"] == 3
    assert row["mu_low"] < row["mu_median"] < 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--counts", "--yi", "yi", "--engine", "nuts"], "no use for --yi, --engine"),
        (["--counts", "--method", "reml"], "no use for --method"),
        (["--counts", "--omega-prior", "halfnormal(1)"], "no use for --omega-prior"),
        (["--ai", "tpos", "--n1i", "n"], "--ai, --n1i need --counts"),
        ([*NAMED, "--tau-prior", "jeffreys"], "counts have none"),
        ([*NAMED, "--mu-prior", "normal(0,-1)"], "above 0"),
    ],
)
def test_wrong_usage(words, named, call):
    assert named in call(BCG, *words, code=2).stderr


def test_bad_tables_are_named(tmp_path, call):
    assert "there is no column 'n1i' (asked for as n1i, or bi)" in (
        call(BCG, "--counts", code=1).stderr
    )
    text = call(BCG, "--counts", "--ai", "tposs", code=1).stderr
    assert "name it with --ai COLUMN (events among the treated or cases), perhaps --ai tpos" in text
    assert "name it with --n2i COLUMN" in text
    assert "or --di COLUMN (no event, controls)" in text
    path = tmp_path / "bad.csv"
    path.write_text("ai,n1i,ci,n2i\n50,40,x,41\n,30,0,33\n", encoding="utf-8")
    text = call(path, "--counts", code=1).stderr
    for cell in ("line 2, column ai", "line 2, column ci", "line 3, column ai"):
        assert cell in text
