"""Help, versions, wrong usage, and what the command line must not import."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest

from nssi_meta.cli import options

REFERENCE = Path(__file__).parents[1] / "reference"
BCG = str(REFERENCE / "bcg_RR.csv")
VERBS = (
    "run",
    "check",
    "pool",
    "overlap",
    "claims",
    "gaps",
    "sensitivity",
    "diagnose",
    "moderators",
    "external",
    "forest",
)


def test_help_lists_the_verbs_and_the_exit_codes(call):
    text = call("--help").output
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.M)
    for code in ("0 done", "1 the data", "2 wrong", "3 a model"):
        assert code in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("words", [["--help"], *([v, "-h"] for v in VERBS), ["--version"]])
def test_help_answers_without_anything_heavy(words, imported_by):
    heavy = {"numpy", "pandas", "scipy", "pymc", "pytensor", "arviz", "matplotlib", "pandera"}
    assert not heavy & imported_by(*words)


def test_the_module_is_the_command(shell):
    done = shell("--version")
    assert done.returncode == 0
    assert "nssi-meta" in done.stdout
    assert shell("pull").returncode == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["pull"], "No such command"),
        (["pool", "--sei", "sei"], "--yi"),
        (["pool", "--by", "x", "--study", "y"], "--study, --by need --yi"),
        (["pool", BCG, "--yi", "yi"], "exactly one of vi"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--sei", "sei"], "exactly one of vi"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "-m", "grip"], "use --by"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--doubtful"], "use --by"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--mu-prior", "norml(0,1)"], "normal"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--tau-prior", "halfnormal(-1)"], "above 0"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--tau-prior", "halfnormal("], "cannot be read"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--level", "1"], "--level"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--level", "95"], "--level"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--rho", "1"], "--rho"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--delta", "-1"], "--delta"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--delta", "nan"], "delta"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--engine", "stan"], "--engine"),
        (["pool", BCG, "--yi", "yi", "--vi", "vi", "--interval", "hdi"], "--interval"),
        (["run", "--draws", "5"], "--draws"),
        (["overlap", "--threshold", "-0.1"], "--threshold"),
    ],
)
def test_wrong_usage_is_named_and_ends_with_2(words, named, call):
    assert named in re.sub(r"\s+", " ", call(*words, code=2).stderr)


def test_an_unknown_name_is_wrong_usage_with_the_nearest_one(review, call):
    text = call("pool", review, "-m", "refelx", code=2).stderr
    assert "refelx" in text
    assert "reflex" in text.replace("refelx", "")
    assert "alpha" in call("pool", review, "-c", "alfa", code=2).stderr
    text = call("forest", review, "grips", code=2).stderr
    assert "grip" in text.replace("grips", "")
    text = call("pool", review, "reflex", "alpha", code=2).stderr
    assert "'alpha' is a condition: write -c alpha" in re.sub(r"\s+", " ", text)


def test_nothing_left_to_pool_says_why(review, call):
    text = call("pool", review, "-m", "appetite", "-c", "gamma", code=2).stderr
    assert "no rows to pool" in text


@pytest.mark.parametrize("verb", ["pool", "sensitivity", "diagnose", "moderators", "forest"])
def test_verbs_about_pools_take_the_same_words(verb, review, call):
    """Whoever learnt one of them can guess the others."""
    usage = re.sub(r"\s+", " ", call(verb, "-h").output)
    assert f"{verb} [OPTIONS] [DATA] [MECHANISM]" in usage
    for option in ("-m, --mechanism", "-c, --condition", "-e, --estimand"):
        assert option in usage
    for words in ([review, "grips"], [review, "-m", "grips"], ["grips", "--data", review]):
        assert "write 'grip'" in re.sub(r"\s+", " ", call(verb, *words, code=2).stderr)
    assert "one table at a time" in call(verb, review, "other.csv", code=2).stderr


@pytest.mark.parametrize("verb", ["moderators", "forest"])
def test_a_verb_for_one_mechanism_takes_one(verb, review, call):
    assert "name one MECHANISM" in call(verb, review, code=2).stderr
    assert "not grip, reflex" in call(verb, review, "grip", "-m", "reflex", code=2).stderr
    # The same mechanism said twice is one.
    assert "write 'grip'" in call(verb, review, "grips", "-m", "grips", code=2).stderr


def test_a_word_beside_ready_made_effects_is_a_table(call):
    assert "mine: no such file" in call("pool", "mine", "--yi", "yi", "--vi", "vi", code=1).stderr


@pytest.mark.parametrize("words", ["a sentence of many words " * 8, "/a/path" * 15 + " and more"])
def test_wrong_usage_fits_a_terminal_with_what_is_printed_before_it(words, monkeypatch):
    screen = StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(options.sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    text = f"Error: {options.wrong_usage(words).format_message()}"
    assert text.split() == f"Error: {words}".split()
    assert "Error: \n" not in text
    assert len(text.splitlines()) > 1
    assert all(len(line) <= 80 or "/" in line for line in text.splitlines())
