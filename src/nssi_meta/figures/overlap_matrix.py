"""Every pair of conditions: how alike their profiles are, beside what the prior says."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from . import marks
from .legend import Draw, Entry, draw_key, key_height
from .model_nodes import shade
from .page import Page, new_page, panel, set_ticks, write
from .records import Interval, as_text, interval, records, require_columns
from .style import BOUND, DOUBLE, INK, POOLED, QUIET, RULE, Style
from .text import count, number, percent, shorten, wrap

# fmt: off
MATRIX_COLUMNS = (
    "condition", "other", "median", "low", "high", "prior_median", "prior_low", "prior_high",
)
# fmt: on
ROOM = 1.2  # mm between cells
TICKS = ([-1.0, 0.0, 1.0], ["−1", "0", "1"])

Pair = tuple[Interval, Interval]


def overlap_matrix(
    table: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "How alike the profiles of conditions are",
    level: float = 0.95,
    style: Style = DOUBLE,
) -> Figure:
    """Draw the correlations of profiles: numbers below the diagonal, intervals above it.

    Parameters
    ----------
    table
        The table `correlations`, a row a pair of conditions, columns in `MATRIX_COLUMNS`.
    labels
        Words for the conditions; by default their ids.
    title
        Head line.
    level
        Level of the intervals, printed with the figure.
    style
        Width and font size.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a pair twice or with itself, or a value beyond ±1.
    """
    pairs = _read(table)
    names = list(dict.fromkeys(c for pair in pairs for c in pair))
    words = {c: (labels or {}).get(c, c.replace("_", " ")) for c in names}
    room = style.width - 2 * style.margin
    heads = wrap(title, room, style, size=style.size + 2, bold=True)
    note = (
        "Correlation of the mean effects of two conditions over all mechanisms. Below the "
        f"diagonal: posterior median and {percent(level)} credible interval, darker the farther "
        "from 0, hatched where negative. Above: the same as marks, each axis from −1 to 1."
    )
    notes = wrap(note, room, style, size=style.small)
    entries = [
        Entry(f"posterior, {percent(level)} CrI", _key(POOLED)),
        Entry(f"prior, {percent(level)}", _key(None)),
    ]
    size = room / len(names)
    tall = min(size, 16.0)
    top = style.margin + 1.2 * style.row * len(heads)
    bottom = top + tall * len(names) + 3.0
    below = bottom + key_height(entries, style)
    page = new_page(below + 0.8 * style.row * len(notes) + style.margin, style)
    for i, head in enumerate(heads):
        at = style.margin + 1.2 * style.row * (i + 0.5)
        write(page, style.margin, at, head, size=style.size + 2, bold=True)
    draw_key(page, entries, bottom)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            box = (style.margin + j * size, top + i * tall, size - ROOM, tall - ROOM)
            if i == j:
                _name(page, box, words[row])
                continue
            key = (row, column) if (row, column) in pairs else (column, row)
            if key not in pairs:
                write(page, box[0] + box[2] / 2, box[1] + box[3] / 2, "–", align="center")
            elif i > j:
                _numbers(page, box, key, pairs[key][0])
            else:
                _marks(page, box, key, pairs[key])
    for i, line in enumerate(notes):
        at = below + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, line, size=style.small, color=QUIET)
    return page.fig


def _read(table: pd.DataFrame) -> dict[tuple[str, str], Pair]:
    require_columns(table, MATRIX_COLUMNS, "correlations")
    if table.empty:
        raise ValueError("nothing to draw: the table `correlations` holds no pair of conditions")
    pairs: dict[tuple[str, str], Pair] = {}
    for r in records(table):
        key = (as_text(r["condition"]), as_text(r["other"]))
        if key[0] == key[1] or key in pairs or key[::-1] in pairs:
            raise ValueError(f"the table `correlations` holds the pair {' and '.join(key)} twice")
        posterior = interval(r, "median", "low", "high")
        prior = interval(r, "prior_median", "prior_low", "prior_high")
        if not posterior.known or not -1.0 <= posterior.low <= posterior.high <= 1.0:
            raise ValueError(
                f"the correlation of {' and '.join(key)} is no interval between -1 and 1: "
                f"{posterior.low:g} to {posterior.high:g}"
            )
        pairs[key] = (posterior, prior)
    return pairs


Box = tuple[float, float, float, float]


def _name(page: Page, box: Box, words: str) -> None:
    x, y, width, height = box
    lines = wrap(words, width - 1.0, page.style, bold=True)[:3]
    for i, line in enumerate(lines):
        at = y + height / 2 + (i - (len(lines) - 1) / 2) * 0.85 * page.style.row
        line = shorten(line, width - 1.0, page.style, bold=True)
        write(page, x + width / 2, at, line, align="center", bold=True)


def _numbers(page: Page, box: Box, key: tuple[str, str], x: Interval) -> None:
    left, top, width, height = box
    # at most half dark, so that dark text reads on all
    fill = shade(0.5 * abs(x.value))
    area = Rectangle((left, top), width, height, facecolor=fill, edgecolor=RULE, linewidth=0.4)
    area.set_gid(f"cell:{'/'.join(key)}")
    if x.value < 0.0:
        area.set(hatch="////", edgecolor="#ffffff", linewidth=0.0)
    page.ax.add_patch(area)
    style, middle, name = page.style, left + width / 2, "/".join(key)
    y = top + height / 2
    words = number(x.value)
    write(page, middle, y - 0.45 * style.row, words, align="center", bold=True, gid=f"print:{name}")
    limits = shorten(f"[{number(x.low)}, {number(x.high)}]", width, style, size=style.small)
    write(page, middle, y + 0.5 * style.row, limits, align="center", size=style.small, color=INK)


def _marks(page: Page, box: Box, key: tuple[str, str], pair: Pair) -> None:
    left, top, width, height = box
    posterior, prior = pair
    name = "/".join(key)
    low, high = top + 0.5, top + height - 3.4
    ax = panel(page, left + 1.5, left + width - 1.5, low, high, -1.0, 1.0)
    set_ticks(page, ax, *TICKS)
    middle = (low + high) / 2
    marks.upright(ax, 0.0, low, high, gid=f"null:{name}", color=RULE)
    _interval(ax, posterior, middle - 0.9, name, POOLED)
    if prior.known:
        _interval(ax, prior, middle + 1.2, f"prior:{name}", None)


def _interval(ax: Axes, x: Interval, y: float, name: str, color: str | None) -> None:
    """The posterior is solid with a disc; the prior is dashed with a ring."""
    ink = color or BOUND
    dash = color is None
    marks.span(ax, x.low, x.high, y, gid=f"ci:{name}", color=ink, width=0.9, dash=dash)
    marks.point(ax, x.value, y, gid=f"at:{name}", marker="o", size=2.8, color=ink, hollow=dash)


def _key(color: str | None) -> Draw:
    def draw(ax: Axes, x: float, y: float) -> None:
        _interval(ax, Interval(x + 3.5, x, x + 7.0), y, "key", color)

    return draw


def alt_overlap_matrix(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, level: float = 0.95
) -> str:
    """Describe the correlations of profiles: each with its interval, and where it excludes 0."""
    pairs = _read(table)
    known = labels or {}
    parts = []
    for (a, b), (x, _) in pairs.items():
        names = " and ".join(known.get(c, c.replace("_", " ")) for c in (a, b))
        parts.append(f"{names} {number(x.value)} [{number(x.low)}, {number(x.high)}]")
    clear = sum(x.low > 0.0 or x.high < 0.0 for x, _ in pairs.values())
    return (
        f"Correlations of the profiles of {count(len({c for p in pairs for c in p}), 'condition')}"
        f" with {percent(level)} credible intervals: {'; '.join(parts)}. "
        f"{count(clear, 'interval')} of {len(pairs)} exclude{'s' if clear == 1 else ''} zero."
    )
