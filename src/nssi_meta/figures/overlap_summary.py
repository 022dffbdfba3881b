"""How much two conditions share in all: each overlap figure beside its prior."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from . import marks
from .axis import axis_ticks
from .page import Page, new_page, panel, rule, set_ticks, write
from .printed import NBSP
from .records import Interval, Record, as_float, as_text, interval, require_columns
from .style import DOUBLE, POOLED, QUIET, Style
from .text import count, number, percent, text_width, wrap

# fmt: off
SUMMARY_COLUMNS = (
    "other", "other_label", "figure", "median", "low", "high", "prior_median", "prior_low",
    "prior_high", "n_mechanisms", "n_studies", "n_participants", "share_bounds", "verdict",
)
# fmt: on
FIGURES = {  # name over the column, natural limits
    "n_shared": ("Shared mechanisms", (0.0, math.nan)),
    "jaccard": ("Jaccard index", (0.0, 1.0)),
    "magnitude": ("Magnitude overlap", (math.nan, 1.0)),
    "correlation": ("Profile correlation", (-1.0, 1.0)),
}
PRIOR_FILL = "#d9d9d9"
ROW = 12.5  # mm a condition


def overlap_summary(
    table: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    level: float = 0.95,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw every overall overlap figure per condition: posterior interval beside its prior.

    The prior is a grey bar with a tick at its median; an interval as wide as its prior says that
    the evidence decides nothing. Coverage stands at the right, the verdict under each interval.

    Parameters
    ----------
    table
        Columns in `SUMMARY_COLUMNS`, one row a condition and figure.
    index_label
        Name of the condition that is compared with the others.
    level
        Level of all intervals in the table, printed with the figure.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a narrow style, or a figure twice for one condition.
    """
    require_columns(table, SUMMARY_COLUMNS, "overlap_summary")
    if table.empty:
        raise ValueError("nothing to draw: the table `overlap_summary` holds no row")
    if style.narrow:
        raise ValueError("overlap_summary needs at least 120 mm of width: use the double column")
    if table.duplicated(["other", "figure"]).any():
        raise ValueError("the table `overlap_summary` holds a figure twice for one condition")
    names = list(dict.fromkeys([f for f in FIGURES if f in set(table["figure"])]))
    names += [f for f in dict.fromkeys(map(as_text, table["figure"])) if f not in FIGURES]
    blocks = {str(k): g.to_dict("records") for k, g in table.groupby("other", sort=False)}
    note = (
        f"Line and dot: posterior median and {percent(level)} interval, printed below. Grey bar "
        "with tick: those of the prior. Where the two agree, the evidence decides nothing."
    )
    room = style.width - 2 * style.margin
    notes = wrap(note, room, style, size=style.small)
    title = f"Overlap with {index_label} in all" if title is None else title
    top = style.margin + 3.4 * style.row
    bottom = top + ROW * len(blocks)
    notes_top = bottom + 7.0
    page = new_page(notes_top + 0.8 * style.row * len(notes) + style.margin, style)
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    label_room, coverage_room = 0.17 * style.width, 0.19 * style.width
    start = style.margin + label_room + 2.0
    pitch = (style.width - style.margin - coverage_room - start) / len(names)
    _draw_rows(page, blocks, top, label_room, coverage_room)
    for i, name in enumerate(names):
        plot = (start + i * pitch, start + (i + 1) * pitch - 4.0)
        _draw_column(page, name, blocks, plot, top, bottom)
    for i, line in enumerate(notes):
        y = notes_top + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, line, size=style.small, color=QUIET)
    return page.fig


def coverage(record: Record) -> str:
    """Say on what evidence a condition's overlap rests."""
    share = as_float(record["share_bounds"])
    parts = [
        count(as_float(record["n_mechanisms"]), "mechanism"),
        count(as_float(record["n_studies"]), "study", "studies"),
        count(as_float(record["n_participants"]), "participant"),
        f"{100 * share:.0f}% bounds" if math.isfinite(share) else "",
    ]
    return ", ".join(part.replace(" ", NBSP) for part in parts if part)


def _draw_rows(
    page: Page,
    blocks: dict[str, list[Record]],
    top: float,
    label_room: float,
    coverage_room: float,
) -> None:
    style = page.style
    right = style.width - style.margin
    at = right - coverage_room + 1.0
    write(page, at, top - 0.9 * style.row, "Evidence in both", bold=True)
    for i, records in enumerate(blocks.values()):
        y = top + ROW * i
        rule(page, y, style.margin, right)
        name = as_text(records[0]["other_label"]) or as_text(records[0]["other"])
        _stack(page, style.margin, y + ROW / 2, wrap(name, label_room, style), style.size)
        words = wrap(coverage(records[0]), coverage_room - 1.0, style, size=style.small)
        _stack(page, at, y + ROW / 2, words, style.small, color=QUIET)


def _stack(
    page: Page, x: float, y: float, lines: list[str], size: float, color: str = "#1c1c1c"
) -> None:
    pitch = min(0.75 * page.style.row, (ROW - 1.0) / max(len(lines), 1))
    for i, line in enumerate(lines):
        write(page, x, y + (i - (len(lines) - 1) / 2) * pitch, line, size=size, color=color)


def _draw_column(
    page: Page,
    name: str,
    blocks: dict[str, list[Record]],
    plot: tuple[float, float],
    top: float,
    bottom: float,
) -> None:
    style = page.style
    words, natural = FIGURES.get(name, (name.replace("_", " "), (math.nan, math.nan)))
    heads = wrap(words, plot[1] - plot[0], style, bold=True)
    for i, head in enumerate(heads):
        y = top - (0.9 + 0.75 * (len(heads) - 1 - i)) * style.row
        write(page, sum(plot) / 2, y, head, align="center", bold=True)
    found = {other: r for other, rs in blocks.items() for r in rs if as_text(r["figure"]) == name}
    limits = _limits(list(found.values()), natural)
    ax = panel(page, *plot, top, bottom, *limits)
    for i, other in enumerate(blocks):
        y = top + ROW * i
        if limits[0] < 0.0 < limits[1]:
            marks.upright(ax, 0.0, y, y + 4.4, gid=f"null:{name}/{other}", color=QUIET, dash=True)
        if other in found:
            draw_figure(ax, found[other], f"{name}/{other}", y + 2.6)
            _print_figure(page, found[other], sum(plot) / 2, y, f"{name}/{other}", plot)
    set_ticks(page, ax, *axis_ticks(*limits, plot[1] - plot[0], style))


def _limits(records: list[Record], natural: tuple[float, float]) -> tuple[float, float]:
    names = ("median", "low", "high", "prior_median", "prior_low", "prior_high")
    values = [v for r in records for v in (as_float(r[n]) for n in names) if math.isfinite(v)]
    values += [v for v in natural if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(values), max(values)
    pad = 0.05 * ((high - low) or 1.0)
    return low - pad, high + pad


def draw_figure(ax: Axes, record: Record, key: str, y: float) -> None:
    """Draw one overlap figure: the prior as a grey bar, the posterior as a line with a dot."""
    prior = interval(record, "prior_median", "prior_low", "prior_high")
    if prior.known:
        low, high = prior.low, prior.high
        box = Rectangle((low, y - 1.3), high - low, 2.6, facecolor=PRIOR_FILL, linewidth=0)
        box.set_gid(f"prior:{key}")
        ax.add_patch(box)
        tick = Line2D([prior.value] * 2, [y - 1.3, y + 1.3], color=QUIET, linewidth=0.7)
        tick.set_gid(f"prior-at:{key}")
        ax.add_line(tick)
    posterior = interval(record, "median", "low", "high")
    if posterior.known:
        line = Line2D([posterior.low, posterior.high], [y, y], color=POOLED, linewidth=1.3)
        line.set_gid(f"ci:{key}")
        ax.add_line(line)
        marks.point(ax, posterior.value, y, gid=f"mu:{key}", marker="o", size=3.6, color=POOLED)


def _print_figure(
    page: Page,
    record: Record,
    x: float,
    y: float,
    key: str,
    plot: tuple[float, float],
) -> None:
    size = page.style.small
    posterior = interval(record, "median", "low", "high")
    printed = print_figure(posterior, as_text(record["figure"]))
    write(page, x, y + 5.7, printed, align="center", size=size, gid=f"print:{key}")
    verdict = as_text(record["verdict"])
    while verdict and text_width(verdict, page.style, size=size) > plot[1] - plot[0] + 3.0:
        verdict = verdict[:-2].rstrip("… ") + "…"
    write(page, x, y + 8.7, verdict, align="center", size=size, color=QUIET)


def print_figure(x: Interval, figure: str) -> str:
    """Print a figure with its interval; a number of mechanisms without decimals if it is whole."""
    digits = 0 if figure == "n_shared" else 2
    if not x.known:
        return "n/a"
    # As they are printed: quantiles between two whole numbers of draws are 17.98 and the like.
    whole = all(round(float(v), 1).is_integer() for v in (x.value, x.low, x.high))
    places = digits if whole or digits else 1
    return f"{number(x.value, places)} [{number(x.low, places)}, {number(x.high, places)}]"
