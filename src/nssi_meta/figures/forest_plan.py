"""Where everything in a forest plot goes, decided before anything is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from .axis import robust_range
from .printed import Printed, print_interval, print_range, print_study, state_cell
from .records import SCALES, Block, Study
from .style import Style
from .text import percent, shorten, text_width, widest, wrap

GAP = 2.0  # mm between columns
INDENT = 1.8  # mm by which study labels stand under their condition
AXIS_ROOM = 9.0  # mm for ticks and the name of the axis

LineKind = Literal["header", "study", "pooled", "prediction", "state", "gap"]


@dataclass(frozen=True)
class Line:
    """One line of a panel; `y` is its middle in page mm."""

    kind: LineKind
    block: Block
    y: float
    left: str = ""
    measure: str = ""
    size: str = ""
    printed: Printed = field(default_factory=Printed)
    study: Study | None = None


@dataclass(frozen=True)
class Columns:
    """Horizontal places in mm: left edges of the first, right edges of the numeric columns."""

    label: float
    measure: float
    size: float
    plot: tuple[float, float]
    value: float
    low: float
    high: float
    measure_room: float
    label_room: float


@dataclass(frozen=True)
class PanelPlan:
    """One axis: the blocks that share a scale."""

    scale: str
    limits: tuple[float, float]
    top: float
    bottom: float
    lines: tuple[Line, ...]


def group_by_scale(blocks: list[Block]) -> dict[str, list[Block]]:
    """Separate what must not share an axis."""
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        groups.setdefault(block.scale, []).append(block)
    return groups


def plan_columns(blocks: list[Block], style: Style, level: float) -> Columns:
    """Set column widths from the measured text; the plot gets what is left, or its minimum."""
    printed = [line for block in blocks for line in _all_printed(block)]
    value, low, high = (
        widest([getattr(p, part) for p in printed], style) for part in ("value", "low", "high")
    )
    header = max(text_width(column_title(b.scale, level), style, bold=True) for b in blocks)
    if any(p.mark for p in printed):
        low = max(low, text_width("†", style))
    value = max(value, header - low - high - 2.0)
    numbers = value + low + high + 2.0

    studies = [study for block in blocks for study in block.studies]
    size = 0.0 if style.narrow else widest([s.size for s in studies] + ["n"], style)
    label = widest([s.label for s in studies] + [prediction_label(style)], style) + INDENT
    measure = 0.0 if style.narrow else widest([s.measure for s in studies], style, size=style.small)

    plot_min = 26.0 if style.narrow else 58.0
    gaps = GAP * (3 if style.narrow else 5)
    room = style.width - 2 * style.margin - numbers - size - gaps - plot_min
    label, measure = _share(room, label, measure)
    x = style.margin
    measure_at = x + label + (GAP if measure else 0.0)
    size_at = measure_at + measure + (GAP + size if size else 0.0)
    right = style.width - style.margin
    return Columns(
        label=x,
        measure=measure_at,
        size=size_at,
        plot=(size_at + GAP, right - numbers - 1.5 * GAP),
        value=right - low - high - 2.0,
        low=right - high - 1.0,
        high=right,
        measure_room=measure,
        label_room=label - INDENT,
    )


def prediction_label(style: Style) -> str:
    """Name of the line of the prediction interval."""
    return "Prediction" if style.narrow else "Prediction, new study"


def _share(room: float, first: float, second: float) -> tuple[float, float]:
    """Divide `room` between two columns: both in full if they fit, else at least 45% each."""
    if first + second <= room:
        return first, second
    if second == 0.0:
        return min(first, room), 0.0
    first = min(first, max(0.5 * room, room - second))
    return first, min(second, room - first)


def _all_printed(block: Block) -> list[Printed]:
    lines = [print_study(study, block.scale) for study in block.studies]
    if block.cell is not None:
        lines += [print_interval(block.cell.mu), print_range(block.cell.pred)]
    return lines


def column_title(scale: str, level: float) -> str:
    """Head of the numeric columns, e.g. `g [95% interval]`."""
    return f"{SCALES.get(scale, (scale, scale))[0]} [{percent(level)} interval]"


def plan_panel(
    blocks: list[Block], columns: Columns, style: Style, top: float, *, has_shrunken: bool
) -> PanelPlan:
    """Stack the lines of all blocks of one scale, starting at `top` mm."""
    lines: list[Line] = []
    y = top
    for i, block in enumerate(blocks):
        if i:
            y += 0.6 * style.row
        for line, height in _block_lines(block, columns, style, has_shrunken):
            lines.append(replace(line, y=y + height / 2))
            y += height
    return PanelPlan(
        scale=blocks[0].scale,
        limits=_limits(blocks, has_shrunken),
        top=top,
        bottom=y + 0.3 * style.row,
        lines=tuple(lines),
    )


def _block_lines(
    block: Block, columns: Columns, style: Style, has_shrunken: bool
) -> list[tuple[Line, float]]:
    row = style.row + (0.5 if has_shrunken else 0.0)
    room = columns.high - columns.label - INDENT
    title = wrap(block.title, columns.high - columns.label, style, bold=True)
    lines = [(Line("header", block, 0.0, left=part), style.row) for part in title]
    for study in block.studies:
        line = Line(
            "study",
            block,
            0.0,
            left=shorten(study.label, columns.label_room, style),
            measure=shorten(study.measure, columns.measure_room, style, size=style.small)
            if columns.measure_room
            else "",
            size="" if style.narrow else study.size,
            printed=print_study(study, block.scale),
            study=study,
        )
        lines.append((line, row))
    if block.cell is not None and block.cell.mu.known:
        pooled = print_interval(block.cell.mu)
        lines.append((Line("pooled", block, 0.0, left="Pooled", printed=pooled), style.row))
    if block.cell is not None and block.cell.pred.known:
        new = print_range(block.cell.pred)
        name = prediction_label(style)
        lines.append((Line("prediction", block, 0.0, left=name, printed=new), 0.9 * style.row))
    for part in wrap(state_cell(block), room, style, size=style.small):
        lines.append((Line("state", block, 0.0, left=part), 0.8 * style.row))
    return lines


def _limits(blocks: list[Block], has_shrunken: bool) -> tuple[float, float]:
    points: list[float] = []
    ends: list[tuple[float, float]] = []
    for block in blocks:
        for study in block.studies:
            points += [study.observed.value, study.lower, study.upper]
            ends.append((study.observed.low, study.observed.high))
            if study.kind == "unsigned":
                points.append(-study.observed.value)
                ends.append((-study.observed.high, -study.observed.low))
            # room for the arrow that starts at an open bound
            points += [1.25 * x for x in (study.lower, study.upper) if math.isfinite(x)]
            if has_shrunken:
                ends.append((study.shrunk.low, study.shrunk.high))
        if block.cell is not None:
            points += [block.cell.mu.value, block.cell.mu.low, block.cell.mu.high]
            ends.append((block.cell.pred.low, block.cell.pred.high))
    return robust_range(points, ends)
