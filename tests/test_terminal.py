"""Printed tables: whole numbers and every column at any width of the terminal."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from nssi_meta import terminal

COLUMNS = {"mechanism": "Mechanism", "k": "k", "median": "Median", "low": "Low", "high": "High",
           "p_positive": "P(mu>0)", "note": "Note"}  # fmt: skip
TABLE = pd.DataFrame(
    {
        "mechanism": ["pain_threshold", "inhibitory_control"],
        "k": pd.array([9, None], dtype="Int64"),
        "median": [0.8312, -1234.5678],
        "low": [-0.25, -2000.0],
        "high": [1.5, float("nan")],
        "p_positive": [0.9999, 0.001],
        "note": ["", "no study reports a size; some thresholds were assumed to be .05"],
        "unlisted": ["not printed", "not printed"],
    }
)


@pytest.fixture
def printed(monkeypatch, capsys):
    """The lines of a table in a terminal of some width."""

    def lines(width, table=TABLE, columns=COLUMNS, title=""):
        monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))
        terminal.show(table, "table", columns, title)
        return capsys.readouterr().out.splitlines()

    return lines


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
def test_nothing_is_cut_at_any_width(printed, width):
    lines = printed(width, title="What this is about, in more words than a narrow terminal holds")
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for cell in ("9", "0.83", "-1234.57", "-0.25", "-2000.00", "1.50", "> 0.99", "< 0.01"):
        assert re.search(rf"(?<![\d.]){re.escape(cell)}(?![\d.])", text), cell
    for word in (*COLUMNS.values(), "pain_threshold", "inhibitory_control", "assumed"):
        assert word in text or word == "Mechanism"  # left out where names stand in their own line
    assert "not printed" not in text
    assert "nan" not in text.casefold()


def test_a_wide_terminal_has_one_line_a_row_and_a_narrow_one_keeps_columns(printed):
    wide = printed(200)
    (row,) = [line for line in wide if "pain_threshold" in line]
    assert "0.83" in row
    narrow = printed(60)
    at = next(i for i, line in enumerate(narrow) if line == "pain_threshold")
    heads = next(line for line in narrow if "Median" in line)
    assert narrow[at + 1].index("0.83") + 4 == heads.index("Median") + len("Median")


def test_a_terminal_too_narrow_for_the_numbers_names_each(printed):
    lines = printed(30)
    assert any(re.search(r"Median +0\.83", line) for line in lines)
    assert any(re.search(r"High +–", line) for line in lines)  # the second row has none


def test_estimates_with_their_intervals_are_numbers_below_their_headings(printed):
    """At 80 columns they stood among the words, without a heading."""
    table = pd.DataFrame(
        {
            "line": ["stimulus: related to self-injury - others", "female: per 10"],
            "k": ["5 (5)", "6 (5)"],
            "estimate": ["-1.03 [-2.47, 0.25]", ""],
            "all": ["[-2.50, 0.31]", ""],
            "note": ["", "too few studies (1 against 3); not known in 1 of 2 rows"],
        }
    )
    heads = {"line": "Level", "k": "k (bounds)", "estimate": "Median [Low, High]",
             "all": "All together", "note": "Note"}  # fmt: skip
    lines = printed(80, table, heads)
    above = next(line for line in lines if "Median [Low, High]" in line)
    below = next(line for line in lines if "-1.03 [-2.47, 0.25]" in line)
    for head, cell in (("High]", "0.25]"), ("together", "0.31]"), ("(bounds)", "5 (5)")):
        assert above.index(head) + len(head) == below.index(cell) + len(cell)


def test_numbers_of_any_size_stay_short(printed):
    table = pd.DataFrame({"H2": [4e10, 1.5], "bf10_mu": [2e30, 1.2e-5]})
    text = "\n".join(printed(80, table, {"H2": "H2", "bf10_mu": "BF"}))
    for cell in ("4e+10", "1.50", "> 10,000", "1.2e-05"):
        assert cell in text


def test_no_minus_zero_no_error_of_zero_and_bayes_factors_of_three_digits(printed):
    table = pd.DataFrame({"shift": [-0.001], "gain_se": [0.002], "bayes_factor": [12001.0]})
    lines = printed(80, table, {c: c for c in table})
    assert lines[-2].split() == ["0.00", "<", "0.01", ">", "10,000"]


@pytest.mark.parametrize("width", [40, 80])
def test_notes_break_between_words(monkeypatch, capsys, width):
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    words = "Default priors are on the scale of the effects, in units of the outcome's SD."
    terminal.note(words)
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(lines) == words


def test_small_effects_keep_two_digits(printed):
    table = pd.DataFrame({"low": [-0.00123], "high": [0.00456], "k": [3]})
    text = "\n".join(printed(80, table, {"k": "k", "low": "Low", "high": "High"}))
    assert "-0.0012" in text
    assert "0.0046" in text


def test_messages_are_wrapped_on_a_terminal_and_whole_in_a_pipe(monkeypatch):
    text = "2 problems:\n" + "a column that is not there, with a long remedy " * 4
    monkeypatch.setenv("COLUMNS", "60")
    screen = terminal.lines(text, SimpleNamespace(isatty=lambda: True)).splitlines()
    assert screen[0] == "2 problems:"
    assert max(map(len, screen)) <= 60
    assert all(line.startswith("  ") for line in screen[2:])  # what belongs together hangs
    assert terminal.lines(text, SimpleNamespace(isatty=lambda: False)) == text
