"""Numbers and texts as the report prints them; every number on the page goes through here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

Record = Mapping[str, Any]
# Not strftime: its names of months follow the locale of the machine.
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
MISSING = "n/a"
MINUS = "−"


def records(table: pd.DataFrame | None, columns: Iterable[str], name: str) -> list[Record]:
    """Rows of a table as dicts; none for a table that is missing or empty.

    Raises
    ------
    ValueError
        The table has rows but lacks some of `columns`.
    """
    if table is None or table.empty:
        return []
    absent = [c for c in columns if c not in table.columns]
    if absent:
        raise ValueError(f"the table `{name}` lacks the columns: {', '.join(absent)}")
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def as_float(value: Any) -> float:
    """Read a number; missing is NaN."""
    return math.nan if value is None or pd.isna(value) else float(value)


def as_int(value: Any) -> int:
    """Read a count; missing is 0."""
    x = as_float(value)
    return round(x) if math.isfinite(x) else 0


def as_text(value: Any) -> str:
    """Read a text; missing is empty, and any white space is one space."""
    return "" if value is None or pd.isna(value) else " ".join(str(value).split())


def number(value: float, digits: int = 2) -> str:
    """Print a number with a true minus sign, never as minus zero; `n/a` when missing."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{abs(value):,.{digits}f}"
    zero = not text.strip("0.,")
    return f"{MINUS}{text}" if value < 0 and not zero else text


def whole(value: float) -> str:
    """Print a count with thousands separated, to the nearest half: a median may lie between two.

    Ends of intervals are interpolated between draws, so that 7.98 stands for 8.
    """
    halves = round(2 * value) / 2 if math.isfinite(value) else value
    return number(halves, 0 if math.isfinite(halves) and halves == round(halves) else 1)


def factor(value: float) -> str:
    """Print a Bayes factor: three digits tell all that it can, and it may be very large."""
    if math.isnan(value):
        return MISSING
    if value >= 10_000:
        return "> 10,000"
    return number(value, 0 if value >= 99.95 else 1 if value >= 9.995 else 2)


def probability(value: float) -> str:
    """Print a probability with two decimals, never as a certainty."""
    if math.isnan(value):
        return MISSING
    if value > 0.995:
        return "> 0.99"
    return "< 0.01" if value < 0.005 else f"{value:.2f}"


def percent(share: float) -> str:
    """Print a share of a whole: 0% and 100% only where they are exact."""
    if math.isnan(share):
        return MISSING
    if 0.0 < share < 0.005:
        return "< 1%"
    if 0.995 < share < 1.0:
        return "> 99%"
    return f"{100 * share:.0f}%"


def level_text(level: float) -> str:
    """Print the level of an interval as `95%` or `99.5%`."""
    return MISSING if math.isnan(level) else f"{100 * level:g}%"


def count(n: int, one: str, many: str | None = None) -> str:
    """Print a count with its noun: `1 study`, `9,120 participants`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def span(low: float, high: float, digits: int = 2) -> str:
    """Print the limits of an interval in a sentence: `0.55 to 1.31`."""
    return f"{number(low, digits)} to {number(high, digits)}"


def bracket(low: float, high: float, digits: int = 2) -> str:
    """Print the limits of an interval in a table: `[0.55, 1.31]`."""
    if math.isnan(low) and math.isnan(high):
        return MISSING
    return f"[{number(low, digits)}, {number(high, digits)}]"


def estimate(value: float, low: float, high: float, digits: int = 2) -> str:
    """Print `0.93 [0.55, 1.31]`."""
    if math.isnan(value):
        return MISSING
    return f"{number(value, digits)} {bracket(low, high, digits)}"


def enumerate_words(words: Sequence[str]) -> str:
    """Join words as in a sentence: `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def first_upper(text: str) -> str:
    """Give a sentence its capital and leave the rest alone (`NSSI` stays)."""
    return text[:1].upper() + text[1:]


def first_lower(text: str) -> str:
    """Let a label stand inside a sentence; an acronym (`NSSI`, `N2`) keeps its capitals."""
    word = text.split(" ")[0]
    return (
        text
        if word[1:] != word[1:].lower() or word[1:2].isdigit()
        else word.lower() + text[len(word) :]
    )


def date(iso: str) -> str:
    """Print an ISO date-time for readers: `14 July 2026, 12:00 UTC`."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso or "a date that was not recorded"
    zone = f" {moment.tzname()}" if moment.tzname() else ""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M}{zone}"
