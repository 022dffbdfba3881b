"""Numbers in text cells: parsed strictly, and explained where they are none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from nssi_meta.evidence.problems import Problem
from nssi_meta.evidence.vocabulary import Range

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MISSING = {"na", "n/a", "nan", "none", "null", "nil", "missing", "-", "--", ".", "?", "#n/a"}
MOST = 1e24
"""Larger numbers are slips, and their squares are nothing to compute with."""
EMPTY = "leave the cell empty"
"""The remedy for a number that is not known, where a cell may be empty."""
BOUND = "use statistic p_threshold (or ns) and put the number in p_bound"
"""The remedy for a bound, where a column says what kind of statistic a row has."""
_INFINITE = {"inf", "+inf", "-inf", "infinity", "-infinity", "+infinity", "#div/0!"}


def numbers(
    file: str, column: str, cells: pd.Series[str], instead: str = EMPTY, bound: str = BOUND
) -> tuple[pd.Series[float], list[Problem]]:
    """Cells of one column as floats, with a problem for each that is not a plain number.

    Parameters
    ----------
    file, column
        Names for the messages.
    cells
        Text, shape (n,); the index is the line in the file.
    instead
        What can be done where the number is not known.
    bound
        What can be done with a bound such as "<0.05".

    Returns
    -------
    values
        Floats of shape (n,); NaN where the cell is empty or not a number.
    problems
        One for each cell that holds something else than a decimal number up to `MOST`.
    """
    values = np.full(len(cells), np.nan)
    problems = []
    for i, cell in enumerate(cells.tolist()):
        text = cell.strip()
        if not text:
            continue
        if _NUMBER.fullmatch(text) and abs(value := float(text)) <= MOST:
            values[i] = value
        else:
            line, (what, remedy) = int(cells.index[i]), _explain(text, instead, bound)
            problems.append(Problem(file, line, column, cell, what, "a number", remedy))
    return pd.Series(values, index=cells.index, name=column), problems


def outside(values: pd.Series[float], limits: Range) -> pd.Series[bool]:
    """Mask of shape (n,): numbers outside `limits` (NaN is inside)."""
    bad = pd.Series(False, index=values.index)
    if limits.above is not None:
        bad |= values <= limits.above
    if limits.below is not None:
        bad |= values >= limits.below
    if limits.least is not None:
        bad |= values < limits.least
    if limits.most is not None:
        bad |= values > limits.most
    if limits.whole:
        bad |= values.notna() & (values % 1 != 0)
    return bad


def out_of_range(file: str, line: int, column: str, cell: str, limits: Range) -> Problem:
    """The problem of a number outside its range."""
    whole = limits.whole and float(cell) % 1 != 0
    what = f"'{cell}' is not a whole number" if whole else f"'{cell}' is out of range"
    return Problem(file, line, column, cell, what, limits.allowed(), limits.remedy)


def too_far(
    file: str,
    column: str,
    values: pd.Series[float],
    cells: pd.Series[str],
    sizes: tuple[float, float],
) -> Iterator[Problem]:
    """A problem for each size below the first of `sizes` but not 0, or above the second.

    Digits would be lost there.
    """
    least, most = sizes
    size = values.abs()
    for line in values.index[(size > most) | ((size < least) & (size > 0))]:
        what, unit = ("large", "larger") if size[line] > most else ("small", "smaller")
        yield Problem(file, int(line), column, cells[line], f"'{cells[line]}' is too {what}",
                      f"sizes up to {most:g}" if what == "large" else f"sizes from {least:g} on",
                      f"write the outcome in a {unit} unit")  # fmt: skip


def _explain(text: str, instead: str, bound: str) -> tuple[str, str]:
    """What is wrong with a cell that is no number, and the remedy."""
    lowered = text.lower()
    if lowered in _MISSING:
        return f"'{text}' stands for a missing number", instead
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return f"'{text}' is too large", f"write it in a larger unit, or {instead}"
    if lowered in _INFINITE or _NUMBER.fullmatch(text):
        return f"'{text}' is not finite", f"give the number, or {instead}"
    if _THOUSANDS.fullmatch(text) and not text.lstrip("+-").startswith("0"):
        plain = text.replace(",", "")
        dotted = text.replace(",", ".", 1)
        return (
            f"'{text}' has a comma",
            f"write '{plain}' (separator of thousands) or '{dotted}' (decimal comma)",
        )
    if _COMMA.fullmatch(text):
        return f"'{text}' has a decimal comma", f"write '{text.replace(',', '.')}'"
    if "−" in text or "–" in text:
        dashed = text.replace("−", "-").replace("–", "-")
        if _NUMBER.fullmatch(dashed):
            return f"'{text}' has a typographic minus", f"write '{dashed}'"
    if text[0] in "<>≤≥":
        return f"'{text}' is a bound, not a number", bound
    if text.endswith("%"):
        return f"'{text}' has a percent sign", "write the number alone"
    return f"'{text}' is not a number", f"write a plain number such as 0.25, or {instead}"
