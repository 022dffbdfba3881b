"""The pages of the models: each has an example, and the output shown is that of the code."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODELS = sorted((ROOT / "docs" / "models").glob("*.md"))
SHOWN = re.compile(
    r"^```(python[a-z ]*)\n(.*?)^```\n\n```text\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def examples(kind):
    """(page, code, output) of every example of a kind in the pages of the models."""
    return [
        pytest.param(code, shown, id=f"{page.stem}{i}")
        for page in MODELS
        for i, (k, code, shown) in enumerate(SHOWN.findall(page.read_text(encoding="utf-8")))
        if k == kind
    ]


@pytest.mark.parametrize("page", MODELS, ids=lambda p: p.stem)
def test_every_model_has_an_example_priors_and_a_use(page):
    text = page.read_text(encoding="utf-8")
    assert SHOWN.search(text), "no example with its output"
    for part in ("\n    ", "**Priors", "**Use it**", "**Checked"):
        assert part in text, part
    index = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"](models/{page.name})" in index


def run(code, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(code, "example", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.parametrize(("code", "shown"), examples("python"))
def test_what_is_computed_prints_what_is_shown(code, shown, capsys, monkeypatch):
    assert run(code, capsys, monkeypatch) == shown


@pytest.mark.slow
@pytest.mark.parametrize(("code", "shown"), examples("python sampled"))
def test_what_is_sampled_prints_what_is_shown(code, shown, capsys, monkeypatch):
    same_but_for_noise(run(code, capsys, monkeypatch), shown)


def same_but_for_noise(printed, shown):
    """The same words, and in a line `name mean sd low high` numbers within Monte Carlo error.

    An effective sample size of 400, which every quantity has, leaves an error of 0.05 SD in a mean
    and of 0.1 SD in the ends of an 89% interval: 0.25 SD, and a unit of the last of two digits.
    """
    ours, theirs = printed.splitlines(), shown.splitlines()
    assert [words(line) for line in ours] == [words(line) for line in theirs]
    for one, other in zip(ours, theirs, strict=True):
        a, b = numbers(one), numbers(other)
        if len(b) != 4:
            assert a == b
            continue
        sd = float(b[1])
        for x, y in zip(a, b, strict=True):
            assert abs(float(x) - float(y)) <= 0.25 * sd + last_digit(x) + last_digit(y), other


def words(line):
    return line.split()[:1] if len(numbers(line)) == 4 else line.split()


def numbers(line):
    """Numbers that stand alone, not in names."""
    return [word for word in line.split() if NUMBER.fullmatch(word)]


def last_digit(text):
    return 10.0 ** (math.floor(math.log10(abs(float(text)) or 1.0)) - 1)


@pytest.mark.parametrize(
    "printed",
    ["True\ntau  0.9 0.14 0.38 0.82\n", "True\nmu  0.57 0.14 0.38 0.82\n", "False\n"],
)
def test_another_answer_is_noticed(printed):
    with pytest.raises(AssertionError):
        same_but_for_noise(printed, "True\ntau  0.57 0.14 0.38 0.82\n")
