"""The review's model with numbers: stages, their mechanisms, and the conditions that share them."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrow, FancyBboxPatch, Rectangle

from .legend import draw_key, key_height
from .model_key import model_key
from .model_nodes import CELL, Places, draw_stage, stage_height
from .model_plan import STAGE_COLUMNS, Plan, Stage, plan
from .page import Page, new_page, write
from .records import as_int, as_text, interval, require_columns
from .style import DOUBLE, MM_PER_POINT, POOLED, QUIET, Style
from .text import count, number, shorten, wrap

BOX = 12.0  # height of a stage's box, mm
NAMES = 13.0  # height of the conditions' upright names
GUTTER = 4.0
LINE = 3.6  # height of a condition's line in the last row


def mechanism_model(
    table: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    level: float = 0.95,
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
        Threshold of sharing, named in the key.
    level
        Level of all intervals in both tables, named in the key.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or a style narrower than 120 mm.
    """
    if style.narrow:
        raise ValueError("mechanism_model needs at least 120 mm of width: use the double column")
    require_columns(stages, STAGE_COLUMNS, "overlap_stages")
    what = plan(table)
    n = len(what.columns)
    width = (style.width - 2 * style.margin - GUTTER * (n - 1)) / n
    columns = [_places(style.margin + i * (width + GUTTER), width, what) for i in range(n)]
    tall = max(
        sum(stage_height(s, where, style) for s in column) + (BOX + 3.0) * (len(column) - 1)
        for column, where in zip(what.columns, columns, strict=True)
    )
    top = style.margin + 1.6 * style.row
    first = top + BOX + 2.0 + NAMES
    axis = first + tall + 1.5
    third = axis + 9.0
    bottom = third + 5.0 + LINE * len(what.others) + 3.0
    # Small print runs wider on screens than measured: hinting rounds its letters up.
    room = 0.95 * (style.width - 2 * style.margin)
    below = any(len(column) > 1 for column in what.columns)
    notes = wrap(_note(below), room, style, size=style.small)
    key = model_key(index_label, delta, level)
    notes_top = bottom + key_height(key, style)
    page = new_page(notes_top + 0.8 * style.row * len(notes) + style.margin, style)
    draw_key(page, key, bottom)  # first: it takes the names off what is drawn by then
    title = f"A model of {index_label}, with the evidence" if title is None else title
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    for i, (column, where) in enumerate(zip(what.columns, columns, strict=True)):
        _box(page, column[0], where, top)
        if i:
            _arrow(page, where.left - GUTTER + 0.4, where.left - 0.5, top + BOX / 2)
        _names(page, what, where, first - 1.0)
        y = first
        for stage in column:
            if stage is not column[0]:
                _box(page, stage, where, y + 1.5)
                y += BOX + 3.0
            y = draw_stage(page, stage, where, y)
        _axis(page, where, first, axis)
        _sharing(page, what, column, stages, where, third)
    for i, line in enumerate(notes):
        y = notes_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, line, size=style.small, color=QUIET)
    return page.fig


def _places(left: float, width: float, what: Plan) -> Places:
    squares = left + width - CELL * len(what.others)
    return Places(left, (left + 0.49 * width, squares - 1.5), squares, left + width)


def _note(below: bool) -> str:
    return (
        "Right of 0 (dotted line): more than in the reference group; arrowhead: beyond the axis. "
        "Uninformative: the evidence has hardly moved the probabilities from those of a mechanism "
        "that nobody has studied. Other scales: log odds ratio, Fisher z, standardised change. "
        "Shared by: number of shared mechanisms, median and interval, of those with evidence in "
        "both" + (", for the stage at the top of the column." if below else ".")
    )


def _box(page: Page, stage: Stage, where: Places, top: float) -> None:
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
    write(page, middle, top + BOX - 2.3, words, align="center", size=style.small, color=QUIET)


def _arrow(page: Page, x0: float, x1: float, y: float) -> None:
    arrow = FancyArrow(
        x0, y, x1 - x0, 0, width=0.55, head_width=2.6, head_length=2.0,
        length_includes_head=True, facecolor=POOLED, linewidth=0,
    )  # fmt: skip
    page.ax.add_patch(arrow)


def _names(page: Page, what: Plan, where: Places, y: float) -> None:
    """Names of the conditions, upright over their squares."""
    style = page.style
    for i, condition in enumerate(what.others):
        words = shorten(what.labels[condition], NAMES - 1.0, style, size=style.small)
        x = where.squares + (i + 0.5) * CELL + 0.35 * style.small * MM_PER_POINT
        text = page.ax.text(x, y, words, rotation=90, ha="right", va="bottom", color=QUIET)
        text.set_rotation_mode("default")
        text.set_fontsize(style.small)
        text.set_fontfamily(list(style.families))
        text.set_parse_math(False)


def _axis(page: Page, where: Places, top: float, y: float) -> None:
    """Zero line through the column and a small axis under it."""
    zero = Line2D([where.at(0.0)] * 2, [top, y], color=QUIET, linewidth=0.5, zorder=0.5)
    zero.set_linestyle((0, (1, 1.6)))
    page.ax.add_line(zero)
    page.ax.add_line(Line2D(list(where.plot), [y, y], color=QUIET, linewidth=0.6))
    for x in (-1.0, 0.0, 1.0):
        page.ax.add_line(Line2D([where.at(x)] * 2, [y, y + 0.9], color=QUIET, linewidth=0.6))
        if x:  # three numbers would touch; the dotted line is 0
            write(page, where.at(x), y + 2.3, number(x, 0), align="center",
                  size=page.style.small)  # fmt: skip
    write(page, sum(where.plot) / 2, y + 5.0, "effect (g)", align="center",
          size=page.style.small, color=QUIET)  # fmt: skip


def _sharing(
    page: Page,
    what: Plan,
    column: tuple[Stage, ...],
    stages: pd.DataFrame,
    where: Places,
    top: float,
) -> None:
    """Third row: for the stage of this column, how many mechanisms each condition shares."""
    style = page.style
    size = style.small
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
