"""Which mechanisms conditions share: class probabilities, a bar a mechanism and condition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .page import Page, new_page, panel, rule, set_ticks, unname_marks, write
from .paging import PAGE_HEIGHT, split_pages
from .records import Record, as_float, as_int, as_text, require_columns
from .style import BAND, CLASS_FILLS, DOUBLE, MM_PER_POINT, QUIET, Style
from .text import count, heading, probability, shorten, text_width, widest, wrap

# fmt: off
MECHANISM_COLUMNS = (
    "other", "other_label", "mechanism", "label", "system", "p_shared", "p_opposite",
    "p_index_only", "p_other_only", "p_neither", "verdict", "k_index", "k_other",
)
# fmt: on
BAR, THIN = 2.9, 1.1  # height of a bar in mm, and of one that is uninformative
LEAST = 13.0  # width in mm of the narrowest bars
AXIS_ROOM = 6.0  # mm under the last row for ticks and their labels
OPEN = ("undecided", "uninformative")  # verdicts that the bar itself shows


def class_words(index_label: str, delta: float | None) -> dict[str, str]:
    """Name the five classes; `index_label` is the condition compared with the others."""
    beyond = "" if delta is None else f" (|effect| > {delta:g})"
    return {
        "p_shared": f"both, same direction{beyond}",
        "p_index_only": f"{index_label} only",
        "p_other_only": "the other condition only",
        "p_opposite": "both, opposite directions",
        "p_neither": "neither",
    }


@dataclass(frozen=True)
class Columns:
    """Widths in mm of what stands side by side; `fit` conditions fit on a page."""

    label: float
    k_index: float
    k_other: float
    verdict: float
    fit: int


@dataclass(frozen=True)
class Frame:
    """What every page has around its rows; `top` and `below` in mm."""

    key: list[list[tuple[float, str, str]]]
    notes: list[str]
    columns: Columns
    top: float
    below: float


def overlap_mechanisms(
    table: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw, per mechanism and condition, the probabilities of the five classes of overlap.

    Rows are mechanisms by system, columns are conditions. A verdict stands behind its bar; a bar
    without one is undecided, a thin bar is uninformative. Only mechanisms with evidence in both
    are drawn, however tall that is (`overlap_pages` cuts it); a dash is a condition without.

    Parameters
    ----------
    table
        Columns in `MECHANISM_COLUMNS`; the five probabilities of a row sum to 1.
    index_label
        Name of the condition that is compared with the others.
    delta
        Threshold of the classes, named in the key.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a row twice, probabilities that do not sum to 1, or more
        conditions than fit side by side.
    """
    pages = overlap_pages(
        table, index_label=index_label, delta=delta, page_height=math.inf, title=title, style=style
    )
    if len(pages) > 1:
        raise ValueError(
            f"{table['other'].nunique()} conditions do not fit side by side: use overlap_pages, "
            "or a wider style"
        )
    return pages[0]


def overlap_pages(
    table: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    page_height: float = PAGE_HEIGHT,
    title: str | None = None,
    style: Style = DOUBLE,
) -> list[Figure]:
    """`overlap_mechanisms` on pages of at most `page_height` mm, which `save_pages` writes.

    A system stays on one page where it fits on one. `overlap_parts` tells what each page shows.
    Raises ValueError as `overlap_mechanisms`.
    """
    frame = _frame(table, index_label, delta, style)
    parts = overlap_parts(
        table, index_label=index_label, delta=delta, page_height=page_height, style=style
    )
    title = f"Overlap with {index_label} by mechanism" if title is None else title
    n = len(parts)
    heads = [f"{title}, {i} of {n}" if n > 1 else title for i in range(1, n + 1)]
    return [_draw(part, frame, head, style) for part, head in zip(parts, heads, strict=True)]


def overlap_parts(
    table: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    page_height: float = PAGE_HEIGHT,
    style: Style = DOUBLE,
) -> list[pd.DataFrame]:
    """The rows of `table` that each of the `overlap_pages` shows, of the same arguments.

    Raises ValueError as `overlap_mechanisms`.
    """
    frame = _frame(table, index_label, delta, style)
    shown = _with_evidence(table)
    room = page_height - frame.top - frame.below - style.margin
    parts = []
    others = list(shown["other"].unique())
    for start in range(0, len(others), frame.columns.fit):
        side = shown[shown["other"].isin(others[start : start + frame.columns.fit])]
        first = side.drop_duplicates("mechanism")
        systems = {
            str(name): [(str(m), style.row) for m in group["mechanism"]]
            for name, group in first.groupby("system", sort=False)
        }
        pages = split_pages(systems, room, 1.2 * style.row)
        parts += [side[side["mechanism"].isin(mechanisms)] for mechanisms in pages]
    return parts


def _with_evidence(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["k_index"] > 0) & (table["k_other"] > 0)]


def _check(table: pd.DataFrame) -> None:
    require_columns(table, MECHANISM_COLUMNS, "overlap_mechanisms")
    shown = _with_evidence(table)
    if shown.empty:
        raise ValueError("nothing to draw: no mechanism has evidence in both conditions")
    if shown.duplicated(["mechanism", "other"]).any():
        raise ValueError("the table holds a mechanism twice for one condition")
    total = shown[list(CLASS_FILLS)].sum(axis=1)
    bad = shown.loc[(total - 1.0).abs() > 1e-3, "mechanism"]
    if len(bad):
        raise ValueError(f"class probabilities do not sum to 1 for: {', '.join(map(str, bad))}")


def _frame(table: pd.DataFrame, index_label: str, delta: float | None, style: Style) -> Frame:
    _check(table)
    shown = _with_evidence(table)
    room = style.width - 2 * style.margin
    key = _flow(list(class_words(index_label, delta).items()), style)
    note = (
        "A word behind a bar is the verdict; a bar without one is undecided; a thin bar is "
        "uninformative: the evidence has hardly moved it from what is known without any. "
        "k: rows that the joint model uses, comparisons with other patients included, which no "
        f"pool takes; in the first column for {index_label}, before a bar for the other condition; "
        "a dash: none."
    )
    without = table["mechanism"].nunique() - shown["mechanism"].nunique()
    if without:
        note += f" Not shown: {count(without, 'mechanism')} without evidence in both of any two."
    notes = wrap(note, room, style, size=style.small)
    top = style.margin + (1.7 + len(key) + 0.5 + 2.0) * style.row
    below = AXIS_ROOM + 0.8 * style.row * len(notes)
    return Frame(key, notes, _columns(shown, style), top, below)


def _columns(shown: pd.DataFrame, style: Style) -> Columns:
    def width(words: list[str], bold: bool = False) -> float:
        return max(text_width(w, style, size=style.small, bold=bold) for w in words)

    label = min(widest([as_text(x) for x in shown["label"]], style) + 3.0, 0.36 * style.width)
    k_index = width([str(as_int(k)) for k in shown["k_index"]]) + 1.5
    k_other = width([str(as_int(k)) for k in shown["k_other"]]) + 1.0
    verdicts = [str(v) for v in shown["verdict"].unique() if v not in OPEN]
    verdict = width(verdicts, bold=True) + 1.0 if verdicts else 0.0
    room = style.width - 2 * style.margin - label - k_index
    fit = int(room // (k_other + LEAST + verdict + 3.0))
    return Columns(label, k_index, k_other, verdict, max(fit, 1))


def _draw(part: pd.DataFrame, frame: Frame, title: str, style: Style) -> Figure:
    """Draw one page."""
    others = list(part["other"].unique())
    cells = {(str(r["mechanism"]), str(r["other"])): r for r in part.to_dict("records")}
    first = part.drop_duplicates("mechanism")
    systems = {str(k): g.to_dict("records") for k, g in first.groupby("system", sort=False)}
    bottom = frame.top + style.row * (1.2 * len(systems) + len(first))
    page = new_page(bottom + frame.below + style.margin, style)
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    _draw_key(page, frame.key, style.margin + 1.7 * style.row)

    columns, right = frame.columns, style.width - style.margin
    at_k = style.margin + columns.label + columns.k_index
    pitch = (right - at_k) / len(others)
    axes: dict[str, Axes] = {}
    plots: dict[str, tuple[float, float]] = {}
    heads = frame.top - 1.5 * style.row
    write(page, at_k - 0.5, heads, "k", align="right", size=style.small, color=QUIET)
    for i, other in enumerate(others):
        left = at_k + i * pitch + 2.0
        plot = (left + columns.k_other, at_k + (i + 1) * pitch - columns.verdict - 1.0)
        label = as_text(part.loc[part["other"] == other, "other_label"].iloc[0]) or str(other)
        write(page, left, heads, shorten(label, pitch - 3.0, style, bold=True), bold=True)
        ax = panel(page, *plot, frame.top, bottom, 0.0, 1.0)
        ticks = [0.0, 0.5, 1.0]
        set_ticks(page, ax, ticks, ["0", "0.5", "1"])
        axes[str(other)], plots[str(other)] = ax, plot
    y = frame.top
    for system, records in systems.items():
        write(page, style.margin, y + 0.65 * style.row, heading(system), bold=True)
        rule(page, y + 1.15 * style.row, style.margin, right)
        y += 1.2 * style.row
        for i, record in enumerate(records):
            middle = y + 0.5 * style.row
            if i:
                rule(page, y, style.margin, right, color=BAND)
            label = shorten(as_text(record["label"]), columns.label - 2.0, style)
            write(page, style.margin + 1.0, middle, label)
            k = str(as_int(record["k_index"]))
            write(page, at_k - 0.5, middle, k, align="right", size=style.small, color=QUIET)
            for name, ax in axes.items():
                cell = cells.get((str(record["mechanism"]), name))
                _draw_cell(page, ax, cell, middle, plots[name])
            y += style.row
    for i, line in enumerate(frame.notes):
        at = bottom + AXIS_ROOM + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, at, line, size=style.small, color=QUIET)
    return page.fig


def _draw_cell(
    page: Page, ax: Axes, record: Record | None, y: float, plot: tuple[float, float]
) -> None:
    """Draw the count, the bar and the verdict of one pair; a dash where there is none."""
    small = page.style.small
    if record is None:
        write(page, plot[0] - 0.8, y, "–", align="right", size=small, color=QUIET)
        return
    k = str(as_int(record["k_other"]))
    write(page, plot[0] - 0.8, y, k, align="right", size=small, color=QUIET)
    verdict = as_text(record["verdict"])
    thin = verdict == "uninformative"
    left = 0.0
    name = f"{as_text(record['mechanism'])}/{as_text(record['other'])}"
    for column, (fill, hatch, ink) in CLASS_FILLS.items():
        p = as_float(record[column])
        _box(ax, left, p, y, fill, hatch, f"{column}:{name}", THIN if thin else BAR)
        words = probability(p)
        length = p * (plot[1] - plot[0])
        if not thin and length >= text_width(words, page.style, size=small) + 1.5:
            # hatching would cross the number out
            _number(page, ax, left + p / 2, y, words, ink, fill if hatch else None)
        left += p
    if verdict not in OPEN:
        write(page, plot[1] + 1.0, y, verdict, size=small, bold=True)


def _number(
    page: Page, ax: Axes, x: float, y: float, words: str, ink: str, ground: str | None
) -> None:
    baseline = y + 0.36 * page.style.small * MM_PER_POINT
    text = ax.text(x, baseline, words, ha="center", va="baseline", color=ink)
    text.set_fontsize(page.style.small)
    text.set_fontfamily(list(page.style.families))
    if ground is not None:
        text.set_bbox({"facecolor": ground, "edgecolor": "none", "pad": 0.8})


def _box(
    ax: Axes, left: float, width: float, y: float, fill: str, hatch: str, gid: str, tall: float
) -> None:
    box = Rectangle((left, y - tall / 2), width, tall, facecolor=fill, hatch=hatch or None, gid=gid)
    box.set_edgecolor("#404040")
    box.set_linewidth(0.4)
    ax.add_patch(box)


def _flow(items: list[tuple[str, str]], style: Style) -> list[list[tuple[float, str, str]]]:
    lines: list[list[tuple[float, str, str]]] = [[]]
    x = style.margin
    for column, words in items:
        width = 6.5 + text_width(words, style, size=style.small)
        if lines[-1] and x + width > style.width - style.margin:
            lines.append([])
            x = style.margin
        lines[-1].append((x, column, words))
        x += width + 4.0
    return lines


def _draw_key(page: Page, lines: list[list[tuple[float, str, str]]], top: float) -> None:
    for i, line in enumerate(lines):
        y = top + page.style.row * (i + 0.5)
        for x, column, words in line:
            fill, hatch, _ = CLASS_FILLS[column]
            _box(page.ax, x, 5.0, y, fill, hatch, "key", BAR)
            write(page, x + 6.5, y, words, size=page.style.small)
    unname_marks(page)
