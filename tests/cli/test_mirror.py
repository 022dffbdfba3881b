"""`pool --method`: the classical analysis from the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1] / "reference"
BCG = [str(REFERENCE / "bcg_RR.csv"), "--yi", "yi", "--vi", "vi"]


@pytest.fixture
def call(call):
    return partial(call, "pool")


@pytest.mark.parametrize("test", ["knha", "z"])
def test_numbers_are_metafors(test, call):
    data = json.loads((REFERENCE / "rma.json").read_text("utf-8"))["sets"]["bcg_RR"]["fits"]
    (theirs,) = [f for f in data if (f["method"], f["test"]) == ("REML", test)]
    done = call(*BCG, "--method", "reml", "--test", test, "--format", "json")
    (row,) = json.loads(done.stdout)
    for ours, name in (("estimate", "beta"), ("ci_low", "ci.lb"), ("pred_high", "pi.ub"),
                       ("tau2", "tau2"), ("I2", "I2"), ("H2", "H2"), ("Q", "QE")):  # fmt: skip
        # JSON carries 15 decimals
        assert row[ours] == pytest.approx(theirs[name], rel=1e-10), ours
    assert "13 used, left out 0 bounds" in done.stderr


def test_hartung_knapp_is_the_default(call):
    plain = call(*BCG, "--method", "REML", "--format", "csv").stdout
    assert plain == call(*BCG, "--method", "reml", "--test", "knha", "--format", "csv").stdout


def test_a_table_for_people(review, call):
    done = call(review, "-m", "reflex", "-c", "alpha", "--method", "dl")
    for word in ("Bounds out", "Estimate", "New low", "tau2", "I2 %", "H2"):
        assert word in done.stdout
    assert "4 used, left out 3 bounds" in done.stderr
    assert "Note: priors" not in done.stderr


def test_pools_too_small_are_counted_not_shown(review, call):
    done = call(review, "--method", "reml")
    assert "1 of " in done.stderr  # the single correlation
    table = call(review, "--method", "reml", "--format", "csv").stdout
    assert "--method ee --test z" in table


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*BCG, "--test", "z"], "--method"),
        ([*BCG, "--method", "reml", "--mu-prior", "flat"], "--mu-prior"),
        ([*BCG, "--method", "reml", "--engine", "exact"], "--engine"),
        ([*BCG, "--method", "lm"], "reml"),
        ([*BCG, "--method", "reml", "--test", "hk"], "knha"),
    ],
)
def test_wrong_usage(words, says, call):
    assert says in call(*words, code=2).stderr


def test_nothing_but_a_single_effect_is_refused(review, call):
    text = call(review, "-m", "tremor", "-e", "association", "--method", "pm", code=2).stderr
    assert "single exact effect" in text
    assert "Without --method" in text
