"""Published pools beside ours: one line a published estimate, positions from the table alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import marks
from .axis import axis_ticks, robust_range
from .legend import Draw, Entry, draw_key, key_height
from .page import Page, new_page, panel, rule, set_ticks, write
from .records import SCALES, Interval, Record, as_float, as_text, interval, records, require_columns
from .style import DOUBLE, INK, POOLED, QUIET, SHRUNKEN, Style
from .text import count, number, percent, shorten, widest, wrap

EXTERNAL_COLUMNS = ("label", "condition_label", "scale", "k", "published")
#: Colour and marker of each kind of pool, in the order given.
_MARKS = ((POOLED, "o"), (SHRUNKEN, "s"), ("#c25200", "D"), ("#00815f", "^"))
_FOOT = 10.5  # mm for ticks and the name of an axis
_HALF = 0.34  # of a line's height: half the published estimate's tick


def external(
    table: pd.DataFrame,
    pools: Mapping[str, str],
    *,
    title: str = "Published pools beside ours",
    level: float = 0.95,
    style: Style = DOUBLE,
) -> Figure:
    """Intervals of our pools and the published estimate, for every comparison.

    Parameters
    ----------
    table
        That of `synthesis.external.external_check`.
    pools
        Which of its pools to draw (such as `naive`) and the words for them, at most four.
    title
        Head line.
    level
        Level of our intervals, printed with the figure.
    style
        Width and font size.

    Raises
    ------
    ValueError
        Nothing is comparable, too many kinds of pools, or a column is missing.
    """
    if not 1 <= len(pools) <= len(_MARKS):
        raise ValueError(f"one to {len(_MARKS)} kinds of pools can be drawn, got {len(pools)}")
    groups = _by_scale(table, pools)
    line = style.row * max(1.0, 0.55 * len(pools) + 0.3)
    room = style.width - 2 * style.margin
    words = [_name(r) for found in groups.values() for r in found]
    wide = min(widest(words, style, size=style.small), 0.42 * room)
    entries = _entries(pools, level)
    heads = wrap(title, room, style, size=style.size + 2, bold=True)
    note = "In brackets: rows in our cell. A published estimate on another scale was converted."
    notes = wrap(note, room, style, size=style.small)
    above = style.margin + 1.2 * style.row * len(heads)
    tops = []
    y = above
    for found in groups.values():
        tops.append(y + 0.5 * style.row)
        y = tops[-1] + line * len(found) + _FOOT
    below = y + key_height(entries, style)
    page = new_page(below + 0.8 * style.row * len(notes) + style.margin, style)
    for i, head in enumerate(heads):
        at = style.margin + 1.2 * style.row * (i + 0.5)
        write(page, style.margin, at, head, size=style.size + 2, bold=True)
    for top, (scale, found) in zip(tops, groups.items(), strict=True):
        _panel(page, found, pools, scale, top, line, wide)
    draw_key(page, entries, y)
    for i, words_ in enumerate(notes):
        at = below + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, words_, size=style.small, color=QUIET)
    return page.fig


def _by_scale(table: pd.DataFrame, pools: Mapping[str, str]) -> dict[str, list[Record]]:
    """Records of each scale in the order of mechanisms; `place` is their row in `table`."""
    ours = [f"{what}_{name}" for name in pools for what in ("median", "low", "high")]
    require_columns(table, [*EXTERNAL_COLUMNS, *ours] if len(table) else [], "external")
    if table.empty:
        raise ValueError("no published pool is comparable: there is nothing to draw")
    order = table.reset_index(drop=True).rename_axis("place").reset_index()
    order = order.sort_values(["scale", "label", "condition_label", "published"], kind="stable")
    groups: dict[str, list[Record]] = {}
    for r in records(order):
        groups.setdefault(as_text(r["scale"]), []).append(r)
    return groups


def _name(r: Record) -> str:
    return f"{as_text(r['label'])}, {as_text(r['condition_label'])} ({as_float(r['k']):.0f})"


def _ours(r: Record, name: str) -> Interval:
    return interval(r, f"median_{name}", f"low_{name}", f"high_{name}")


def _panel(
    page: Page,
    found: list[Record],
    pools: Mapping[str, str],
    scale: str,
    top: float,
    line: float,
    wide: float,
) -> None:
    style = page.style
    right = style.width - style.margin - 1.5
    left = style.margin + wide + 3.0
    bottom = top + line * len(found)
    ours = [_ours(r, name) for r in found for name in pools]
    published = [as_float(r["published"]) for r in found]
    limits = robust_range(
        [*published, *(x.value for x in ours)], [(x.low, x.high) for x in ours if x.known]
    )
    ax = panel(page, left, right, top, bottom, *limits)
    set_ticks(page, ax, *axis_ticks(*limits, right - left, style))
    name = SCALES.get(scale, (scale, scale))[1]
    write(page, (left + right) / 2, bottom + 6.4, name, align="center")
    marks.upright(ax, 0.0, top, bottom, gid=f"null:{scale}", color=QUIET)
    for i, (r, value) in enumerate(zip(found, published, strict=True)):
        y = top + line * (i + 0.5)
        if i:
            rule(page, y - line / 2, style.margin, left - 2.0, color="#e4e4e4")
        words = shorten(_name(r), wide, style, size=style.small)
        write(page, style.margin, y, words, size=style.small)
        for j, kind in enumerate(pools):
            at = y + (j - (len(pools) - 1) / 2) * 0.5 * style.row
            _draw_pool(ax, f"{kind}:{r['place']}", _ours(r, kind), at, _MARKS[j])
        _draw_published(ax, str(r["place"]), value, y, _HALF * line)


def _draw_pool(ax: Axes, key: str, x: Interval, y: float, mark: tuple[str, str]) -> None:
    color, marker = mark
    if x.known:
        marks.span(ax, x.low, x.high, y, gid=f"ci:{key}", color=color, width=0.9)
        marks.off_axis(ax, x.low, x.high, y, gid=key, color=color)
    marks.point(ax, x.value, y, gid=f"at:{key}", marker=marker, size=2.8, color=color)


def _draw_published(ax: Axes, key: str, x: float, y: float, half: float) -> None:
    if math.isfinite(x):
        marks.upright(ax, x, y - half, y + half, gid=f"published:{key}", color=INK)
        ax.lines[-1].set(linewidth=1.4, zorder=4)
        marks.off_axis(ax, x, x, y, gid=f"published:{key}", color=INK)


def _entries(pools: Mapping[str, str], level: float) -> list[Entry]:
    def ours(mark: tuple[str, str]) -> Draw:
        def draw(ax: Axes, x: float, y: float) -> None:
            _draw_pool(ax, "key", Interval(x + 3.5, x, x + 7.0), y, mark)

        return draw

    def published(ax: Axes, x: float, y: float) -> None:
        _draw_published(ax, "key", x + 3.5, y, 1.4)

    kinds = [
        Entry(f"{words}, {percent(level)} CrI", ours(_MARKS[j]))
        for j, words in enumerate(pools.values())
    ]
    return [*kinds, Entry("published estimate", published)]


def alt_external(table: pd.DataFrame, pools: Mapping[str, str]) -> str:
    """Describe the comparison: how many published estimates lie inside our intervals."""
    found = [r for group in _by_scale(table, pools).values() for r in group]
    parts = [f"{count(len(found), 'published pool')} beside ours."]
    for name, words in pools.items():
        ours = [(_ours(r, name), as_float(r["published"])) for r in found]
        inside = sum(x.low <= value <= x.high for x, value in ours)
        parts.append(f"Inside the interval of {words}: {inside} of {len(found)}.")
        gaps = [(abs(value - x.value), r) for (x, value), r in zip(ours, found, strict=True)]
        far, r = max(gaps, key=lambda gap: gap[0])
        said = f"{number(as_float(r['published']))} published, ours {number(_ours(r, name).value)}"
        parts.append(f"Farthest apart, by {number(far)}: {_name(r)}, {said}.")
    return " ".join(parts)
