"""The columns of a forest plot: what stands in them and how wide each may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .contrasts import Contrast
from .layouts import Layout
from .printed import (
    Printed,
    form_for,
    print_interval,
    print_range,
    print_study,
    scale_words,
)
from .records import Block, Study, as_float, as_text
from .style import Style
from .text import number, percent, text_width, widest

GAP = 2.0  # mm between columns
INDENT = 1.8  # mm by which study labels stand under their condition
EDGE = 1.5  # mm for half a tick label beside the plot
DISC = 3.4  # mm for a letter of certainty
NARROWEST = 8.0  # mm of a text column below which nothing can be read

Align = Literal["left", "right", "center"]
KNOWN: dict[str, tuple[str, Align]] = {  # head of the column, side on which it is aligned
    "study": ("Study", "left"),
    "year": ("Year", "right"),
    "n": ("n", "right"),
    "cases": ("Cases", "right"),
    "controls": ("Controls", "right"),
    "sample": ("Sample", "left"),
    "measure": ("Measure", "left"),
    "stimulus": ("Stimulus", "left"),
    "certainty": ("Cert.", "center"),
    "system": ("System", "left"),
    "weight": ("Weight", "right"),
}
SOURCES = {  # column of `rows` behind a column of the figure
    "year": "year",
    "cases": "n_case",
    "controls": "n_control",
    "sample": "sample_id",
    "stimulus": "stimulus",
    "certainty": "confidence",
    "system": "system",
    "weight": "weight",
}


@dataclass(frozen=True)
class Column:
    """One text column; `x` is its left edge, right edge or middle in mm, as it is aligned."""

    name: str
    title: str
    align: Align
    x: float
    room: float


@dataclass(frozen=True)
class Columns:
    """Horizontal places in mm; `value`, `low` and `high` are right edges of printed numbers."""

    left: float
    right: float
    texts: tuple[Column, ...]
    plot: tuple[float, float]
    value: float
    low: float
    high: float

    @property
    def label(self) -> Column:
        """The column of study names."""
        return next(c for c in self.texts if c.name == "study")


def check_columns(names: Sequence[str], blocks: list[Block]) -> tuple[str, ...]:
    """Return `names` if the rows can fill them.

    Raises
    ------
    ValueError
        `study` is missing, a name occurs twice, or no column of `rows` is behind a name.
    """
    if isinstance(names, str) or "study" not in names or len(set(names)) < len(names):
        raise ValueError(
            "columns is a list of different names that holds 'study', e.g. "
            f"['study', 'year', 'n']; got {names!r}"
        )
    first = next((s for b in blocks for s in b.studies), None)
    if first is None:
        return tuple(names)
    for name in names:
        if name in ("study", "n", "measure"):
            continue
        source = SOURCES.get(name, name)
        if source in first.source:
            continue
        if name == "weight":
            raise ValueError(
                "`rows` has no column `weight`: in a posterior over τ, with bounds beside "
                "estimates, no row has one fixed weight. Add a column `weight` of shares that sum "
                "to 1 (e.g. how far the pooled mean follows each estimate), or leave it out"
            )
        known = ", ".join([*KNOWN, *sorted(set(map(str, first.source)) - set(SOURCES.values()))])
        raise ValueError(f"`rows` has no column {source!r} for {name!r}; to choose from: {known}")
    return tuple(names)


def column_head(name: str) -> tuple[str, Align]:
    """Title and alignment of a column; others than the known ones are text under their name."""
    words = name.replace("_", " ")
    return KNOWN.get(name, (words[:1].upper() + words[1:], "left"))


def column_text(study: Study, name: str) -> str:
    """Print what a study has in a column."""
    if name == "study":
        return study.label
    if name == "n":
        return study.size
    if name == "measure":
        return study.measure
    value = study.source.get(SOURCES.get(name, name))
    if name == "certainty":
        return as_text(value)[:1].upper() or "?"
    if name == "weight":
        share = as_float(value)
        return f"{100 * share:.1f}%" if math.isfinite(share) else ""
    if isinstance(value, float):
        whole = math.isfinite(value) and value.is_integer()
        return "" if math.isnan(value) else f"{value:.0f}" if whole else number(value)
    text = as_text(value)
    return "" if text == "none" else text


def size_of(name: str, style: Style) -> float:
    """Font size of a column in points: secondary text is smaller."""
    return style.size if name in ("study", "n", "year", "cases", "controls") else style.small


def plan_columns(
    blocks: list[Block],
    contrasts: Sequence[Contrast],
    layout: Layout,
    names: tuple[str, ...],
    style: Style,
    level: float,
) -> Columns:
    """Set column widths from the measured text; the plot gets what is left, or its minimum.

    Raises
    ------
    ValueError
        The columns leave no room that can be read.
    """
    numbers = _number_widths(blocks, contrasts, layout, style, level)
    studies = [study for block in blocks for study in block.studies]
    wanted, stiff = {}, 0.0
    for name in names:
        head, align = column_head(name)
        texts = [column_text(s, name) for s in studies]
        width = max(
            widest(texts, style, size=size_of(name, style)), text_width(head, style, bold=True)
        )
        if name == "study":
            others = [layout.pooled, *prediction_labels(style)]
            wanted[name] = max(width, widest(others, style)) + INDENT
        elif align == "left":
            wanted[name] = width
        else:
            wanted[name] = max(width, DISC if name == "certainty" else 0.0)
            stiff += wanted[name]
    soft = [n for n in names if column_head(n)[1] == "left"]
    plot_min = 26.0 if style.narrow else 58.0 if len(names) < 5 else 46.0
    gaps = GAP * (len(names) + 2.0) + EDGE
    room = style.width - 2 * style.margin - sum(numbers) - 2.0 - stiff - gaps - plot_min
    widths = share_room(room, [wanted[n] for n in soft])
    need = min(NARROWEST, min((wanted[n] for n in soft), default=NARROWEST))
    if min(widths, default=NARROWEST) < need - 1e-9:
        raise ValueError(
            f"{len(names)} columns leave {max(room, 0):.0f} mm for text in a figure "
            f"{style.width:g} mm wide; choose fewer columns or a wider style"
        )
    wanted |= dict(zip(soft, widths, strict=True))
    return _place(names, wanted, numbers, layout, style)


def _number_widths(
    blocks: list[Block],
    contrasts: Sequence[Contrast],
    layout: Layout,
    style: Style,
    level: float,
) -> tuple[float, float, float]:
    printed = [line for block in blocks for line in _all_printed(block, layout)]
    for c in contrasts:
        form = form_for(layout.form, c.scale, ratios=layout.ratios)
        printed.append(print_interval(c.difference, form))
    value, low, high = (
        widest([getattr(p, part) for p in printed], style) for part in ("value", "low", "high")
    )
    titles = {column_title(b.scale, level, layout) for b in blocks}
    header = max(text_width(title, style, bold=True) for title in titles)
    if any(p.mark for p in printed):
        low = max(low, text_width("†", style))
    return max(value, header - low - high - 2.0), low, high


def _all_printed(block: Block, layout: Layout) -> list[Printed]:
    form = form_for(layout.form, block.scale, ratios=layout.ratios)
    lines = [print_study(study, block.scale, form) for study in block.studies]
    if block.cell is not None:
        lines += [print_interval(block.cell.mu, form), print_range(block.cell.pred, form)]
    return lines


def share_room(room: float, wanted: list[float]) -> list[float]:
    """Divide `room` between columns: narrow ones in full, the others what is left in equal parts.

    The first column, which names the studies, is served before the rest up to 45% of the room.
    """
    if sum(wanted) <= room or not wanted:
        return wanted
    first = min(wanted[0], max(0.45 * room, room - sum(wanted[1:])))
    widths = [first]
    left, todo = room - first, sorted(range(1, len(wanted)), key=lambda i: wanted[i])
    given: dict[int, float] = {}
    for place, i in enumerate(todo):
        given[i] = min(wanted[i], left / (len(todo) - place))
        left -= given[i]
    return widths + [given[i] for i in range(1, len(wanted))]


def _place(
    names: tuple[str, ...],
    widths: dict[str, float],
    numbers: tuple[float, float, float],
    layout: Layout,
    style: Style,
) -> Columns:
    x, texts = style.margin, []
    for name in names:
        title, align = column_head(name)
        width = widths[name]
        at = x if align == "left" else x + width if align == "right" else x + width / 2
        texts.append(Column(name, title, align, at, width - (INDENT if name == "study" else 0.0)))
        x += width + GAP
    right = style.width - style.margin
    value, low, high = numbers
    total = value + low + high + 2.0
    if layout.numbers == "left":
        end = x + total
        plot = (end + 2.0 * GAP, right)
    else:
        end = right
        plot = (x + EDGE, right - total - 1.5 * GAP)
    return Columns(
        left=style.margin,
        right=right,
        texts=tuple(texts),
        plot=plot,
        value=end - low - high - 2.0,
        low=end - high - 1.0,
        high=end,
    )


def prediction_labels(style: Style) -> tuple[str, ...]:
    """Names of the line of the prediction interval, the longer one first."""
    return ("Prediction",) if style.narrow else ("Prediction, new study", "Prediction")


def column_title(scale: str, level: float, layout: Layout) -> str:
    """Head of the numeric columns, e.g. `g [95% interval]`."""
    form = layout.form
    symbol = scale_words(scale, ratio=layout.ratios)[0]
    return f"{symbol} {form.opening}{percent(level)} interval{form.closing}"
