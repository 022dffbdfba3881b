"""Evidence map: how much there is for each mechanism in each condition, and of what kind."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import marks
from .legend import Draw, Entry, draw_key, key_height
from .page import Page, new_page, rule, write
from .records import (
    Record,
    as_float,
    as_int,
    as_text,
    condition_order,
    records,
    require_columns,
)
from .style import BAND, DOUBLE, INK, MM_PER_POINT, POOLED, QUIET, Style
from .text import count, heading, shorten, widest, wrap

#: One row a cell; the table `pools` has them all. Cells that are absent, or have k = 0, are gaps.
MAP_COLUMNS = (
    "mechanism",
    "label",
    "system",
    "condition",
    "condition_label",
    "k",
    "n_studies",
    "n_participants",
    "n_bounds",
)
PITCH = 4.4  # mm a mechanism
LARGEST = 3.6  # mm, diameter of the disc of the cell with most participants


def evidence_map(
    table: pd.DataFrame,
    *,
    title: str = "Evidence by mechanism and condition",
    style: Style = DOUBLE,
) -> Figure:
    """Draw a disc a cell, its area the number of participants, beside it the number of studies.

    Cells of several estimands are added up. Hollow discs: every row is a bound. Nothing: no row.

    Raises
    ------
    ValueError
        Nothing to draw, or columns missing.
    """
    require_columns(table, MAP_COLUMNS, "evidence_map")
    cells = _add_up(records(table))
    if not cells:
        raise ValueError("nothing to draw: no cell holds a row")
    labels = {as_text(r["condition"]): as_text(r["condition_label"]) for r in records(table)}
    conditions = {c: labels[c] for c in _order(table)}
    lanes: dict[str, dict[str, str]] = {}
    for r in records(table):
        lanes.setdefault(as_text(r["system"]), {})[as_text(r["mechanism"])] = as_text(r["label"])
    names = [name for lane in lanes.values() for name in lane.values()]
    label = min(widest(names, style) + 3.0, 0.42 * style.width)
    width = (style.width - 2 * style.margin - label) / len(conditions)
    room = style.width - 2 * style.margin
    entries = [Entry("with estimates", _disc(False)), Entry("only bounds", _disc(True))]
    most = max(c["n"] for c in cells.values())
    note = (
        f"Area of a disc: participants (largest {most:,.0f}); number: studies. Empty: no evidence."
    )
    notes = wrap(note, room, style, size=style.small)
    heads = {c: wrap(name, width - 1.5, style, bold=True) for c, name in conditions.items()}
    top = style.margin + 1.8 * style.row + 0.85 * style.row * max(map(len, heads.values()))
    n_lines = sum(len(lane) for lane in lanes.values()) + len(lanes)
    bottom = top + PITCH * n_lines + 1.0
    notes_top = bottom + key_height(entries, style) + 1.0
    page = new_page(notes_top + 0.8 * style.row * len(notes) + style.margin, style)
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    middle = {c: style.margin + label + width * (i + 0.5) for i, c in enumerate(conditions)}
    for c, lines in heads.items():
        for i, words in enumerate(lines):
            at = top - 0.5 * style.row - 0.85 * style.row * (len(lines) - 1 - i)
            write(page, middle[c], at, words, bold=True, align="center")
    draw_key(page, entries, bottom + 1.0)
    y = top
    for system, lane in lanes.items():
        write(page, style.margin, y + PITCH / 2, heading(system), bold=True)
        rule(page, y + PITCH * 0.95, style.margin, style.width - style.margin)
        y += PITCH
        for mechanism, name in lane.items():
            name = shorten(name, label - 3.0, style)
            write(page, style.margin + 1.8, y + PITCH / 2, name)
            rule(page, y + PITCH, style.margin, style.width - style.margin, color=BAND)
            for c, x in middle.items():
                if (mechanism, c) in cells:
                    _draw_cell(
                        page, x, y + PITCH / 2, f"{mechanism}/{c}", cells[mechanism, c], most
                    )
            y += PITCH
    for i, words in enumerate(notes):
        at = notes_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, words, size=style.small, color=QUIET)
    return page.fig


def _draw_cell(
    page: Page, x: float, y: float, key: str, cell: dict[str, float], most: float
) -> None:
    diameter = LARGEST * math.sqrt(cell["n"] / most) if most else LARGEST
    size = max(diameter, 0.5) / MM_PER_POINT
    hollow = cell["bounds"] >= cell["k"]
    name = f"disc:{key}"
    marks.point(page.ax, x - 1.0, y, gid=name, marker="o", size=size, color=POOLED, hollow=hollow)
    text, size = f"{cell['studies']:.0f}", page.style.small
    write(page, x + 1.6, y, text, size=size, color=INK, gid=f"studies:{key}")


def _add_up(found: list[Record]) -> dict[tuple[str, str], dict[str, float]]:
    """Rows, studies, participants and bounds of each mechanism and condition."""
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for r in found:
        if as_int(r["k"]) == 0:
            continue
        key = (as_text(r["mechanism"]), as_text(r["condition"]))
        cell = cells.setdefault(key, {"k": 0, "studies": 0, "n": 0, "bounds": 0})
        people = as_float(r["n_participants"])
        cell["k"] += as_int(r["k"])
        cell["studies"] += as_int(r["n_studies"])
        cell["n"] += people if math.isfinite(people) else 0.0
        cell["bounds"] += as_int(r["n_bounds"])
    return cells


def _disc(hollow: bool) -> Draw:
    def draw(ax: Axes, x: float, y: float) -> None:
        marks.point(ax, x + 3.5, y, gid="key", marker="o", size=6.0, color=POOLED, hollow=hollow)

    return draw


def alt_evidence_map(table: pd.DataFrame) -> str:
    """Describe an evidence map: per condition its mechanisms, studies, participants and gaps."""
    require_columns(table, MAP_COLUMNS, "evidence_map")
    cells = _add_up(records(table))
    mechanisms = {as_text(m) for m in table["mechanism"]}
    parts = [f"Evidence map of {count(len(mechanisms), 'mechanism')}."]
    labels = {as_text(r["condition"]): as_text(r["condition_label"]) for r in records(table)}
    for c in _order(table):
        own = {m: v for (m, condition), v in cells.items() if condition == c}
        hollow = sum(v["bounds"] >= v["k"] for v in own.values())
        n = sum(v["n"] for v in own.values())
        parts.append(
            f"{labels[c]}: {count(len(own), 'mechanism')} with "
            f"evidence, {count(n, 'participant')}, {hollow} with bounds only, "
            f"{len(mechanisms) - len(own)} without any."
        )
    return " ".join(parts)


def _order(table: pd.DataFrame) -> list[str]:
    """Conditions from left to right."""
    return condition_order(
        (as_text(r["mechanism"]), as_text(r["condition"])) for r in records(table)
    )
