"""The review's model with numbers: stages, their mechanisms, and the conditions that share them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrow, FancyBboxPatch, Rectangle

from .model_plan import HEAD, ROW, STAGE_COLUMNS, Node, Plan, Stage, plan
from .page import Page, new_page, write
from .records import Record, as_float, as_int, as_text, interval, require_columns
from .style import DOUBLE, INK, MM_PER_POINT, POOLED, QUIET, RULE, Style
from .text import count, number, shorten, text_width, wrap

LIMIT = 1.5  # effects beyond it end in an arrowhead
BOX = 12.0  # height of a stage's box, mm
NAMES = 13.0  # height of the conditions' upright names
GUTTER = 4.5
CELL = 2.9  # width of a condition's square
LINE = 3.6  # height of a condition's line in the last row
OPPOSITE = "#e9a227"


@dataclass(frozen=True)
class _Places:
    """Where the parts of a column lie, in mm: label, interval, squares."""

    left: float
    plot: tuple[float, float]
    squares: float
    right: float

    def at(self, x: float) -> float:
        """Page position of an effect, kept inside the plot."""
        share = (min(max(x, -LIMIT), LIMIT) + LIMIT) / (2 * LIMIT)
        return self.plot[0] + share * (self.plot[1] - self.plot[0])


def mechanism_model(
    table: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw the review's model: stages in a row, their mechanisms, the conditions that share them.

    Parameters
    ----------
    table
        The table `model`: one row a mechanism and condition, columns in `MODEL_COLUMNS`.
    stages
        The table `overlap_stages`: number of shared mechanisms per condition and stage.
    index_label
        Name of the condition whose model this is.
    delta
        Threshold of sharing, named in the note.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or a style narrower than 120 mm.
    """
    if style.narrow:
        raise ValueError("mechanism_model needs at least 120 mm of width: use the double column")
    require_columns(stages, STAGE_COLUMNS, "overlap_stages")
    what = plan(table)
    tall = max(sum(s.height for s in c) + (BOX + 3.0) * (len(c) - 1) for c in what.columns)
    top = style.margin + 1.6 * style.row
    first = top + BOX + 2.0 + NAMES
    axis = first + tall + 1.5
    third = axis + 9.0
    bottom = third + 5.0 + LINE * len(what.others) + 3.0
    # Small print runs wider on screens than measured: hinting rounds its letters up.
    room = 0.95 * (style.width - 2 * style.margin)
    notes = wrap(_note(index_label, delta), room, style, size=style.small)
    page = new_page(bottom + 0.8 * style.row * len(notes) + style.margin, style)
    title = f"A model of {index_label}, with the evidence" if title is None else title
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    n = len(what.columns)
    width = (style.width - 2 * style.margin - GUTTER * (n - 1)) / n
    for i, column in enumerate(what.columns):
        left = style.margin + i * (width + GUTTER)
        squares = left + width - CELL * len(what.others)
        where = _Places(left, (left + 0.48 * width, squares - 1.5), squares, left + width)
        _box(page, column[0], where, top)
        if i:
            _arrow(page, left - GUTTER + 0.4, left - 0.5, top + BOX / 2)
        _names(page, what, where, first - 1.0)
        y = first
        for stage in column:
            if stage is not column[0]:
                _box(page, stage, where, y + 1.5)
                y += BOX + 3.0
            y = _stage(page, stage, where, y)
        _axis(page, where, first, axis)
        _sharing(page, what, column, stages, where, third)
    for i, line in enumerate(notes):
        y = bottom + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, line, size=style.small, color=QUIET)
    return page.fig


def _note(index_label: str, delta: float | None) -> str:
    beyond = "" if delta is None else f" (both beyond {delta:g}, same direction)"
    return (
        f"Line and dot: posterior median and interval of the mean effect in {index_label}, "
        "standardised (g); right of 0: more than in the reference group. Hollow dot: only "
        "bounds were reported. Diamond: another scale (log odds ratio, Fisher z or standardised "
        "change). Arrowhead: beyond the axis. Square: probability that the mechanism is shared"
        f"{beyond}, from pale (0) to dark (1); hatched: opposite directions more probable than "
        "not; dotted: studied in only one of the two; dash: in neither. Below: shared mechanisms, "
        "median and interval, of those with evidence in both."
    )


def _box(page: Page, stage: Stage, where: _Places, top: float) -> None:
    style = page.style
    box = FancyBboxPatch(
        (where.left + 0.6, top + 0.6), where.right - where.left - 1.2, BOX - 1.2,
        boxstyle="round,pad=0.6,rounding_size=1.4", facecolor="#eef2f6", edgecolor=POOLED,
    )  # fmt: skip
    box.set_linewidth(0.9)
    box.set_gid(f"stage:{stage.name}")
    page.ax.add_patch(box)
    words = stage.name[:1].upper() + stage.name[1:]
    lines = wrap(words, where.right - where.left - 3.0, style, size=style.size + 0.3, bold=True)
    middle = (where.left + where.right) / 2
    y = top + 2.6 + (1.4 if len(lines) == 1 else 0.0)
    for line in lines[:2]:
        write(page, middle, y, line, align="center", size=style.size + 0.3, bold=True)
        y += 3.0
    studied = sum(as_text(node.index["evidence"]) != "none" for node in stage.nodes)
    words = f"{studied} of {count(len(stage.nodes), 'mechanism')} studied"
    write(page, middle, top + BOX - 2.3, words, align="center", size=style.small - 0.5, color=QUIET)


def _arrow(page: Page, x0: float, x1: float, y: float) -> None:
    arrow = FancyArrow(
        x0, y, x1 - x0, 0, width=0.55, head_width=2.6, head_length=2.0,
        length_includes_head=True, facecolor=POOLED, linewidth=0,
    )  # fmt: skip
    page.ax.add_patch(arrow)


def _names(page: Page, what: Plan, where: _Places, y: float) -> None:
    """Names of the conditions, upright over their squares."""
    style = page.style
    for i, condition in enumerate(what.others):
        words = shorten(what.labels[condition], NAMES - 1.0, style, size=style.small - 0.5)
        x = where.squares + (i + 0.5) * CELL + 0.35 * style.small * MM_PER_POINT
        text = page.ax.text(x, y, words, rotation=90, ha="right", va="bottom", color=QUIET)
        text.set_rotation_mode("default")
        text.set_fontsize(style.small - 0.5)
        text.set_fontfamily(list(style.families))
        text.set_parse_math(False)


def _stage(page: Page, stage: Stage, where: _Places, y: float) -> float:
    style = page.style
    for system, nodes in stage.systems.items():
        words = system.upper() if len(system) <= 3 else system.replace("_", ", ")
        write(page, where.left, y + HEAD / 2, words, size=style.small, bold=True, color=POOLED)
        rule = Line2D([where.left, where.right], [y + HEAD - 0.3] * 2, color=RULE, linewidth=0.4)
        page.ax.add_line(rule)
        y += HEAD
        for node in nodes:
            _node(page, node, where, y + ROW / 2)
            y += ROW
    return y


def _node(page: Page, node: Node, where: _Places, y: float) -> None:
    style = page.style
    size = style.small - 0.5
    room = where.plot[0] - where.left - 1.0
    label = as_text(node.index["label"])
    if any(text_width(word, style, size=size) > room for word in label.split()):
        label = label.replace("-", "- ")  # a compound that is too long breaks at its hyphen
    lines = wrap(label, room, style, size=size)
    if len(lines) > 2:
        lines = [lines[0], shorten(" ".join(lines[1:]), room, style, size=size)]
    missing = as_text(node.index["evidence"]) == "none"
    ink = QUIET if missing else INK
    for i, line in enumerate(lines):
        at = y + (i - (len(lines) - 1) / 2) * 2.05
        write(page, where.left, at, line, size=size, color=ink)
    if missing:
        middle = sum(where.plot) / 2
        blank = Rectangle((middle - 4.5, y - 1.3), 9.0, 2.6, facecolor="white", linewidth=0)
        page.ax.add_patch(blank)  # the zero line would cross the words
        write(page, middle, y, "no study", align="center", size=size, color=QUIET,
              gid=f"missing:{node.key}")  # fmt: skip
    else:
        _strength(page, node.index, where, y, node.key)
    for i, record in enumerate(node.others):
        _square(page, record, missing, where.squares + i * CELL, y, node.key)


def _strength(page: Page, record: Record, where: _Places, y: float, key: str) -> None:
    """Interval and dot of a mean effect, arrowheads where it leaves the axis."""
    mu = interval(record, "mu_median", "mu_low", "mu_high")
    if not mu.known:
        return
    bounds_only = 0 < as_int(record["k"]) <= as_int(record["n_bounds"])
    line = Line2D([where.at(mu.low), where.at(mu.high)], [y, y], color=POOLED, linewidth=1.0)
    line.set_gid(f"ci:{key}")
    page.ax.add_line(line)
    for beyond, x, marker in ((mu.low < -LIMIT, -LIMIT, "<"), (mu.high > LIMIT, LIMIT, ">")):
        if beyond:
            page.ax.add_line(
                Line2D([where.at(x)], [y], marker=marker, markersize=2.4, color=POOLED)
            )
    dot = Line2D([where.at(mu.value)], [y], linestyle="none", gid=f"mu:{key}", zorder=3)
    dot.set_marker("o" if as_text(record["scale"]) == "g" else "D")
    dot.set_markersize(3.4 if as_text(record["scale"]) == "g" else 2.8)
    dot.set_markeredgecolor(POOLED)
    dot.set_markerfacecolor("white" if bounds_only else POOLED)
    dot.set_markeredgewidth(0.8)
    page.ax.add_line(dot)


def _square(page: Page, record: Record, missing: bool, x: float, y: float, key: str) -> None:
    """Probability of sharing with one condition, or which side lacks evidence."""
    p, against = as_float(record["p_shared"]), as_float(record["p_opposite"])
    name = f"{key}/{as_text(record['condition'])}"
    side = CELL - 0.5
    box = Rectangle((x + 0.25, y - side / 2), side, side, linewidth=0.4, edgecolor="#404040")
    if math.isfinite(p):
        box.set_gid(f"shared:{name}")
        opposite = against > 0.5
        box.set_facecolor(OPPOSITE if opposite else shade(p))
        box.set_hatch("//////" if opposite else "")
    elif missing and as_text(record["evidence"]) == "none":
        page.ax.add_line(
            Line2D([x + 1.0, x + CELL - 1.0], [y, y], color=QUIET, linewidth=0.5,
                   gid=f"neither:{name}")
        )  # fmt: skip
        return
    else:
        box.set_gid(f"one-sided:{name}")
        box.set_facecolor("white")
        box.set_edgecolor(QUIET)
        box.set_linestyle((0, (1, 1.2)))
    page.ax.add_patch(box)


def shade(p: float) -> str:
    """Colour of a probability: from pale to dark, so that a greyscale print says the same."""
    pale, dark = (0xF4, 0xF7, 0xFA), (0x10, 0x30, 0x52)
    return "#" + "".join(f"{round(a + p * (b - a)):02x}" for a, b in zip(pale, dark, strict=True))


def _axis(page: Page, where: _Places, top: float, y: float) -> None:
    """Zero line through the column and a small axis under it."""
    zero = Line2D([where.at(0.0)] * 2, [top, y], color=QUIET, linewidth=0.5, zorder=0.5)
    zero.set_linestyle((0, (1, 1.6)))
    page.ax.add_line(zero)
    page.ax.add_line(Line2D(list(where.plot), [y, y], color=QUIET, linewidth=0.6))
    for x in (-1.0, 0.0, 1.0):
        page.ax.add_line(Line2D([where.at(x)] * 2, [y, y + 0.9], color=QUIET, linewidth=0.6))
        write(page, where.at(x), y + 2.3, number(x, 0), align="center",
              size=page.style.small - 0.5)  # fmt: skip
    write(page, sum(where.plot) / 2, y + 5.0, "effect (g)", align="center",
          size=page.style.small - 0.5, color=QUIET)  # fmt: skip


def _sharing(
    page: Page,
    what: Plan,
    column: tuple[Stage, ...],
    stages: pd.DataFrame,
    where: _Places,
    top: float,
) -> None:
    """Third row: for the stage of this column, how many mechanisms each condition shares."""
    style = page.style
    size = style.small - 0.3
    write(page, where.left, top + 1.0, "Shared by", size=size, bold=True, color=POOLED)
    found = stages[stages["stage"].map(as_text) == column[0].name]
    records = {as_text(r["other"]): r for r in found.to_dict("records")}
    bar = where.left + 0.46 * (where.right - where.left)
    room = where.right - bar - 15.5
    for i, condition in enumerate(what.others):
        y = top + 4.2 + LINE * (i + 0.3)
        write(page, where.left, y, shorten(what.labels[condition], bar - where.left - 1.0, style,
                                           size=size), size=size)  # fmt: skip
        record = records.get(condition)
        if record is None:
            write(page, where.right, y, "none known in both", align="right", size=size, color=QUIET)
            continue
        n = as_int(record["n_mechanisms"])
        shared = interval(record, "n_shared_median", "n_shared_low", "n_shared_high")
        frame = Rectangle((bar, y - 1.1), room, 2.2, facecolor="white", edgecolor=QUIET)
        frame.set_linewidth(0.4)
        page.ax.add_patch(frame)
        full = Rectangle((bar, y - 1.1), room * shared.value / max(n, 1), 2.2, facecolor=POOLED)
        full.set_linewidth(0)
        full.set_gid(f"shared-by:{column[0].name}/{condition}")
        page.ax.add_patch(full)
        words = f"{shared.value:.0f} [{shared.low:.0f}, {shared.high:.0f}] of {n}"
        write(page, where.right, y, words, align="right", size=size)
