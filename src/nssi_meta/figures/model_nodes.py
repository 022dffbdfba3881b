"""A column of the model figure: mechanisms, their strength, the conditions that share them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .model_plan import HEAD, ROW, Node, Stage
from .page import Page, write
from .records import Record, as_float, as_int, as_text, interval
from .style import INK, POOLED, QUIET, RULE, Style
from .text import heading, text_width, wrap

LIMIT = 1.5  # effects beyond it end in an arrowhead
LEAD = 2.05  # distance of a label's lines
CELL = 2.9  # width of a condition's square
OPPOSITE = "#e9a227"


@dataclass(frozen=True)
class Places:
    """Where the parts of a column lie, in mm: label, interval, squares."""

    left: float
    plot: tuple[float, float]
    squares: float
    right: float

    def at(self, x: float) -> float:
        """Page position of an effect, kept inside the plot."""
        share = (min(max(x, -LIMIT), LIMIT) + LIMIT) / (2 * LIMIT)
        return self.plot[0] + share * (self.plot[1] - self.plot[0])


def draw_stage(page: Page, stage: Stage, where: Places, y: float) -> float:
    """Draw a stage's mechanisms by system below y; returns the y below them."""
    style = page.style
    for system, nodes in stage.systems.items():
        write(page, where.left, y + HEAD / 2, heading(system), size=style.small, bold=True,
              color=POOLED)  # fmt: skip
        rule = Line2D([where.left, where.right], [y + HEAD - 0.3] * 2, color=RULE, linewidth=0.4)
        page.ax.add_line(rule)
        y += HEAD
        for node in nodes:
            tall = _height(node, where, style)
            _node(page, node, where, y + tall / 2)
            y += tall
    return y


def stage_height(stage: Stage, where: Places, style: Style) -> float:
    """Height in mm of a stage's systems and mechanisms, whose labels are never cut."""
    tall = sum(_height(node, where, style) for node in stage.nodes)
    return HEAD * len(stage.systems) + tall


def _height(node: Node, where: Places, style: Style) -> float:
    return ROW + LEAD * max(len(_label(node, where, style)) - 2, 0)


def _label(node: Node, where: Places, style: Style) -> list[str]:
    """A mechanism's name in lines; a compound that is too long breaks at its hyphen."""
    size, room = style.small - 0.5, where.plot[0] - where.left - 1.0
    label = as_text(node.index["label"])
    if any(text_width(word, style, size=size) > room for word in label.split()):
        label = label.replace("-", "- ")
    return wrap(label, room, style, size=size)


def _node(page: Page, node: Node, where: Places, y: float) -> None:
    style = page.style
    size = style.small - 0.5
    lines = _label(node, where, style)
    missing = as_text(node.index["evidence"]) == "none"
    ink = QUIET if missing else INK
    for i, line in enumerate(lines):
        at = y + (i - (len(lines) - 1) / 2) * LEAD
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


def _strength(page: Page, record: Record, where: Places, y: float, key: str) -> None:
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
