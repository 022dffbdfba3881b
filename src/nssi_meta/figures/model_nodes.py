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
LEAD = 2.3  # distance of a label's lines
BETWEEN = 1.4  # between the labels of two mechanisms
CELL = 2.7  # width of a condition's square
SIDE, SMALL_SIDE = 2.3, 1.2  # of a square, and of one that is uninformative
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
    return max(ROW, LEAD * len(_label(node, where, style)) + BETWEEN)


def _label(node: Node, where: Places, style: Style) -> list[str]:
    """A mechanism's name in lines; a compound that is too long breaks at its hyphen."""
    size, most = style.small, where.plot[0] - where.left - 0.7
    label = as_text(node.index["label"])
    if any(text_width(word, style, size=size) > most for word in label.split()):
        label = label.replace("-", "- ")
    # Some air before the marks, but for a long word.
    longest = max((text_width(word, style, size=size) for word in label.split()), default=0.0)
    return wrap(label, min(most, max(most - 0.8, longest)), style, size=size)


def _node(page: Page, node: Node, where: Places, y: float) -> None:
    style = page.style
    size = style.small
    lines = _label(node, where, style)
    missing = as_text(node.index["evidence"]) == "none"
    ink = QUIET if missing else INK
    for i, line in enumerate(lines):
        at = y + (i - (len(lines) - 1) / 2) * LEAD
        write(page, where.left, at, line, size=size, color=ink)
    if missing:
        x, room = where.plot[0], text_width("no study", style, size=size)
        blank = Rectangle((x, y - 1.3), room, 2.6, facecolor="white", linewidth=0)
        page.ax.add_patch(blank)  # the zero line would cross the words
        write(page, x, y, "no study", size=size, color=QUIET, gid=f"missing:{node.key}")
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
    mark = median(where.at(mu.value), y, other_scale=as_text(record["scale"]) != "g",
                  hollow=bounds_only)  # fmt: skip
    mark.set_gid(f"mu:{key}")
    page.ax.add_line(mark)


def median(x: float, y: float, *, other_scale: bool = False, hollow: bool = False) -> Line2D:
    """The dot of a mean effect, at page mm; a diamond on another scale."""
    mark = Line2D([x], [y], linestyle="none", zorder=3)
    mark.set_marker("D" if other_scale else "o")
    mark.set_markersize(2.8 if other_scale else 3.4)
    mark.set_markeredgecolor(POOLED)
    mark.set_markerfacecolor("white" if hollow else POOLED)
    mark.set_markeredgewidth(0.8)
    return mark


def _square(page: Page, record: Record, missing: bool, x: float, y: float, key: str) -> None:
    """Probability of sharing with one condition, or which side lacks evidence."""
    p, against = as_float(record["p_shared"]), as_float(record["p_opposite"])
    name = f"{key}/{as_text(record['condition'])}"
    if math.isfinite(p):
        box = square(x, y, small=as_text(record["verdict"]) == "uninformative")
        box.set_gid(f"shared:{name}")
        fill(box, p, against)
    elif missing and as_text(record["evidence"]) == "none":
        page.ax.add_line(
            Line2D([x + 1.0, x + CELL - 1.0], [y, y], color=QUIET, linewidth=0.5,
                   gid=f"neither:{name}")
        )  # fmt: skip
        return
    else:
        box = square(x, y)
        box.set_gid(f"one-sided:{name}")
        dot(box)
    page.ax.add_patch(box)


def square(x: float, y: float, *, small: bool = False) -> Rectangle:
    """A condition's square in the cell that begins at `x`, its middle at `y`, in mm."""
    side = SMALL_SIDE if small else SIDE
    box = Rectangle((x + (CELL - side) / 2, y - side / 2), side, side)
    box.set_linewidth(0.4)
    box.set_edgecolor("#404040")
    return box


def fill(box: Rectangle, p_shared: float, p_opposite: float) -> None:
    """Shade a square by the probability of sharing; hatched: opposite is more likely than not."""
    opposite = p_opposite > 0.5
    box.set_facecolor(OPPOSITE if opposite else shade(p_shared))
    box.set_hatch("//////" if opposite else "")


def dot(box: Rectangle) -> None:
    """Make a square one of a condition, or of an index condition, without a study."""
    box.set_facecolor("white")
    box.set_edgecolor(QUIET)
    box.set_linestyle((0, (1, 1.2)))


def shade(p: float) -> str:
    """Colour of a probability: from pale to dark, so that a greyscale print says the same."""
    pale, dark = (0xF4, 0xF7, 0xFA), (0x10, 0x30, 0x52)
    return "#" + "".join(f"{round(a + p * (b - a)):02x}" for a, b in zip(pale, dark, strict=True))
