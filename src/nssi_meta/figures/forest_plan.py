"""Which line of a forest plot stands where, on how many pages, decided before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from .axis import robust_range
from .columns import INDENT, Columns, column_text, prediction_labels, size_of
from .contrasts import Contrast
from .layouts import Layout
from .printed import Form, Printed, form_for, print_interval, print_range, print_study, state_cell
from .records import Block, Study
from .style import Style
from .text import probability, shorten, text_width, wrap

AXIS_ROOM = 9.0  # mm for ticks and the name of the axis
PAD = 0.3  # lines between the last line of a panel and its axis
HEAD = 1.4  # lines for the titles of the columns

LineKind = Literal["header", "study", "pooled", "prediction", "state", "contrast", "gap"]


@dataclass(frozen=True)
class Line:
    """One line of a panel; `y` is its middle in page mm, `cells` its texts by column."""

    kind: LineKind
    block: Block
    height: float
    y: float = 0.0
    left: str = ""
    cells: tuple[str, ...] = ()
    printed: Printed = field(default_factory=Printed)
    study: Study | None = None
    contrast: Contrast | None = None


@dataclass(frozen=True)
class PanelPlan:
    """One axis on one page: blocks, or parts of blocks, that share a scale."""

    scale: str
    limits: tuple[float, float]
    top: float
    bottom: float
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Frame:
    """The space for panels on every page, in mm; `bottom` is infinite for one long page."""

    top: float
    bottom: float
    axis_room: float


def group_by_scale(blocks: list[Block]) -> dict[str, list[Block]]:
    """Separate what must not share an axis."""
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        groups.setdefault(block.scale, []).append(block)
    return groups


def plan_pages(
    blocks: list[Block],
    contrasts: list[Contrast],
    columns: Columns,
    layout: Layout,
    style: Style,
    frame: Frame,
    *,
    has_shrunken: bool,
    densities: bool = False,
) -> list[list[PanelPlan]]:
    """Stack the lines of all blocks, scale by scale, and break them into pages.

    A header keeps two lines with it, and the summary of a block stays together with its last
    study. A block that is broken has its header repeated.

    Raises
    ------
    ValueError
        A page is too short for one block's summary.
    """
    pages: list[list[PanelPlan]] = [[]]
    y, foot = frame.top, frame.axis_room + PAD * style.row
    for scale, members in group_by_scale(blocks).items():
        differences = [c for c in contrasts if c.scale == scale]
        form = form_for(layout.form, scale, ratios=layout.ratios)
        units = list(_units(members, differences, columns, layout, form, style, has_shrunken))
        if densities:
            units = [_lifted(unit, style) for unit in units]
        limits = panel_limits(members, differences, has_shrunken)
        start, lines = y + HEAD * style.row, list[Line]()
        y = start
        for unit in units:
            need = sum(line.height for line in unit) + foot
            if y + need > frame.bottom and (lines or pages[-1]):
                if lines:
                    pages[-1].append(_panel(scale, limits, start, y, lines, style))
                pages.append([])
                start = y = frame.top + HEAD * style.row
                again = _again(unit[0].block, columns, style) if lines else []
                lines = []
                unit = unit if unit[0].kind in ("header", "gap") else again + unit
                unit = unit[1:] if unit[0].kind == "gap" else unit
                need = sum(line.height for line in unit) + foot
            if y + need > frame.bottom:
                raise ValueError(
                    f"a page of this height has {frame.bottom - frame.top:.0f} mm for the plot, "
                    f"too little for what must stay together ({y - frame.top + need:.0f} mm); "
                    "use taller pages"
                )
            for line in unit:
                lines.append(replace(line, y=y + line.height / 2))
                y += line.height
        pages[-1].append(_panel(scale, limits, start, y, lines, style))
        y = pages[-1][-1].bottom + frame.axis_room
    return pages


def _panel(
    scale: str,
    limits: tuple[float, float],
    top: float,
    y: float,
    lines: list[Line],
    style: Style,
) -> PanelPlan:
    shown = tuple(line for line in lines if line.kind != "gap")
    return PanelPlan(scale, limits, top, y + PAD * style.row, shown)


def _units(
    blocks: list[Block],
    contrasts: list[Contrast],
    columns: Columns,
    layout: Layout,
    form: Form,
    style: Style,
    has_shrunken: bool,
) -> Iterator[list[Line]]:
    """Lines that a page break may not part."""
    for i, block in enumerate(blocks):
        gap = [Line("gap", block, 0.6 * style.row)] if i else []
        head = [*gap, *_header(block, block.title, columns, style)]
        body = [_study_line(s, block, columns, form, style, has_shrunken) for s in block.studies]
        tail = _summary(block, columns, layout, form, style)
        if len(body) < 3:
            yield head + body + tail
            continue
        yield head + body[:2]
        yield from ([line] for line in body[2:-1])
        yield body[-1:] + tail
    if contrasts:
        last = replace(blocks[-1], key=f"contrasts/{blocks[-1].scale}", studies=(), cell=None)
        words = "Differences between blocks"
        lines = [Line("gap", last, 0.6 * style.row), *_header(last, words, columns, style)]
        yield lines + [_contrast_line(c, last, columns, form, style) for c in contrasts]


def _lifted(unit: list[Line], style: Style) -> list[Line]:
    """Room for a density above each diamond."""
    lines: list[Line] = []
    for line in unit:
        if line.kind == "pooled":
            lines.append(Line("gap", line.block, 0.4 * style.row))
        lines.append(line)
    return lines


def _header(block: Block, words: str, columns: Columns, style: Style) -> list[Line]:
    parts = wrap(words, columns.right - columns.left, style, bold=True)
    return [Line("header", block, style.row, left=part) for part in parts]


def _again(block: Block, columns: Columns, style: Style) -> list[Line]:
    """Header of a block that goes on on the next page."""
    return _header(block, f"{block.title} (continued)", columns, style)


def _study_line(
    study: Study, block: Block, columns: Columns, form: Form, style: Style, has_shrunken: bool
) -> Line:
    cells = []
    for column in columns.texts:
        text = column_text(study, column.name)
        size = size_of(column.name, style)
        # numbers are never cut: their columns are as wide as they need
        fits = column.align != "left"
        cells.append(text if fits else shorten(text, column.room, style, size=size))
    return Line(
        "study",
        block,
        style.row + (0.5 if has_shrunken else 0.0),
        cells=tuple(cells),
        printed=print_study(study, block.scale, form),
        study=study,
    )


def _summary(
    block: Block, columns: Columns, layout: Layout, form: Form, style: Style
) -> list[Line]:
    lines = []
    room = columns.label.room
    if block.cell is not None and block.cell.mu.known:
        pooled = print_interval(block.cell.mu, form)
        left = shorten(layout.pooled, room, style, bold=True)
        lines.append(Line("pooled", block, style.row, left=left, printed=pooled))
    if block.cell is not None and block.cell.pred.known:
        new = print_range(block.cell.pred, form)
        names = prediction_labels(style)
        fitting = (name for name in names if text_width(name, style) <= room)
        left = next(fitting, shorten(names[-1], room, style))
        lines.append(Line("prediction", block, 0.9 * style.row, left=left, printed=new))
    wide = columns.right - columns.left - INDENT
    for part in wrap(state_cell(block), wide, style, size=style.small):
        lines.append(Line("state", block, 0.8 * style.row, left=part))
    return lines


def _contrast_line(
    contrast: Contrast, block: Block, columns: Columns, form: Form, style: Style
) -> Line:
    words = f"{contrast.label}; P(> 0) {probability(contrast.p_positive)}"
    # the words may use every text column up to the plot or to the printed numbers
    stop = min(columns.plot[0], columns.value) - columns.left - INDENT - 4.0
    if columns.value < columns.plot[0]:
        stop = columns.value - columns.left - INDENT - 16.0
    return Line(
        "contrast",
        block,
        style.row,
        left=shorten(words, max(stop, columns.label.room), style),
        printed=print_interval(contrast.difference, form),
        contrast=contrast,
    )


def panel_limits(
    blocks: list[Block], contrasts: list[Contrast], has_shrunken: bool
) -> tuple[float, float]:
    """Limits of the axis of one scale, the same on every page."""
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
    for contrast in contrasts:
        points.append(contrast.difference.value)
        ends.append((contrast.difference.low, contrast.difference.high))
    return robust_range(points, ends)
