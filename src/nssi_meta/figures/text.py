"""Measure, shorten, wrap and format the text of figures."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from itertools import pairwise

from matplotlib.textpath import text_to_path

from .style import MM_PER_POINT, Style
from .words import MEASURED, font_of

DPI = 300
ELLIPSIS = "…"


class _Steps(dict[tuple[str, str], float]):
    """How far each character takes a line on after the one before it, in mm for a font of 1 pt.

    Laying out a whole text costs 12 microseconds a character and is asked for at every trial of
    `wrap` and `shorten`; a pair of characters is laid out once. The pair holds their kerning, and
    an accent that combines with the letter before it. ("", x) is the width of x alone.
    """

    def __init__(self, families: tuple[str, ...], bold: bool) -> None:
        self.font = font_of(families, MEASURED, bold)

    def __missing__(self, pair: tuple[str, str]) -> float:
        before, char = pair
        step = self._laid_out(before + char) - (self[("", before)] if before else 0.0)
        if before == "f":  # where ff is one glyph, it lacks the kerning of f
            step = max(step, self[("", char)])
        self[pair] = step
        return step

    def _laid_out(self, text: str) -> float:
        with warnings.catch_warnings():
            # A missing glyph is reported once, by `save`, not at every measurement.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            # outlines without hinting, as every format is written: the same at any resolution
            points, _, _ = text_to_path.get_text_width_height_descent(text, self.font, False)
        return float(points) / MEASURED * MM_PER_POINT


@lru_cache(maxsize=16)
def _steps(families: tuple[str, ...], bold: bool) -> _Steps:
    return _Steps(families, bold)


def text_width(text: str, style: Style, *, size: float | None = None, bold: bool = False) -> float:
    """Return the width of one line of text in mm, from the font's outlines."""
    steps = _steps(style.families, bold)
    return (size or style.size) * sum(map(steps.__getitem__, pairwise(("", *text))))


def widest(texts: list[str], style: Style, *, size: float | None = None) -> float:
    """Return the width in mm of the widest of `texts` (0 for none)."""
    return max((text_width(text, style, size=size) for text in texts), default=0.0)


def shorten(
    text: str, room: float, style: Style, *, size: float | None = None, bold: bool = False
) -> str:
    """Cut `text` in its middle until it fits in `room` mm; both ends tell studies apart."""
    if text_width(text, style, size=size, bold=bold) <= room:
        return text
    low, high = 0, len(text) - 1
    while low < high:  # largest number of characters kept that still fits
        keep = (low + high + 1) // 2
        if text_width(_cut(text, keep), style, size=size, bold=bold) <= room:
            low = keep
        else:
            high = keep - 1
    return _cut(text, low)


def _cut(text: str, keep: int) -> str:
    head = math.ceil(keep * 0.6)
    tail = keep - head
    end = text[-tail:].lstrip(" ,.;") if tail else ""
    return text[:head].rstrip(" ,.;") + ELLIPSIS + end


def wrap(
    text: str, room: float, style: Style, *, size: float | None = None, bold: bool = False
) -> list[str]:
    """Break `text` at spaces into lines of at most `room` mm; a longer word is broken.

    A no-break space holds its words together.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        trial = f"{line} {word}" if line else word
        if text_width(trial, style, size=size, bold=bold) <= room:
            line = trial
            continue
        if line:
            lines.append(line)
        while text_width(word, style, size=size, bold=bold) > room and len(word) > 1:
            keep = len(word) - 1
            while keep > 1 and text_width(word[:keep], style, size=size, bold=bold) > room:
                keep -= 1
            lines.append(word[:keep])
            word = word[keep:]
        line = word
    return [*lines, line] if line else lines


def number(value: float, digits: int = 2) -> str:
    """Print a number with a true minus sign; from 10 000 on as `1.0e6`, `n/a` when missing."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1e4:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def probability(value: float) -> str:
    """Print a probability with two decimals, never as a certainty."""
    if math.isnan(value):
        return "n/a"
    if value > 0.995:
        return "> 0.99"
    return "< 0.01" if value < 0.005 else f"{value:.2f}"


def count(value: float, one: str, many: str | None = None) -> str:
    """Print a count with its noun: `1 study`, `12 studies`, `9,120 participants`."""
    noun = one if value == 1 else (many or f"{one}s")
    return f"n/a {noun}" if math.isnan(value) else f"{round(value):,} {noun}"


def percent(level: float) -> str:
    """Print a level as `95%` or `99.5%`."""
    return f"{100 * level:g}%"


def heading(system: str) -> str:
    """A system's id as a heading: underscores become spaces, short ids are abbreviations."""
    words = system.replace("_", " ")
    return (
        words.upper() if len(words) <= 3 and words else words[:1].upper() + words[1:] or "No system"
    )
