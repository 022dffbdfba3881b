"""Which mechanisms two conditions share: class probabilities, one bar a mechanism."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .page import Page, new_page, panel, rule, set_ticks, unname_marks, write
from .records import Record, as_float, as_int, as_text, require_columns
from .style import CLASS_FILLS, DOUBLE, MM_PER_POINT, QUIET, Style
from .text import probability, shorten, text_width, widest, wrap

# fmt: off
MECHANISM_COLUMNS = (
    "other", "other_label", "mechanism", "label", "system", "p_shared", "p_opposite",
    "p_index_only", "p_other_only", "p_neither", "verdict", "k_index", "k_other",
)
# fmt: on
BAR = 2.9  # height of a bar, mm


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


def overlap_mechanisms(
    table: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw, per condition and mechanism, the probabilities of the five classes of overlap.

    Only mechanisms with evidence in both conditions are drawn; the note counts the others.

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
        Nothing to draw, columns missing, or probabilities that do not sum to 1.
    """
    require_columns(table, MECHANISM_COLUMNS, "overlap_mechanisms")
    shown = table[(table["k_index"] > 0) & (table["k_other"] > 0)]
    if shown.empty:
        raise ValueError("nothing to draw: no mechanism has evidence in both conditions")
    _check_probabilities(shown)
    blocks = {str(k): g.to_dict("records") for k, g in shown.groupby("other", sort=False)}
    words = class_words(index_label, delta)
    note = f"k: rows of evidence for {index_label} and for the other condition."
    if len(table) > len(shown):
        note += f" Without evidence in both, not shown: {len(table) - len(shown)}."

    room = style.width - 2 * style.margin
    title = f"Overlap with {index_label} by mechanism" if title is None else title
    key = _flow(list(words.items()), style)
    key_top = style.margin + 1.7 * style.row
    top = key_top + style.row * len(key) + 0.5 * style.row
    n_lines = len(shown) + sum(1.6 for _ in blocks)
    notes = wrap(note, room, style, size=style.small)
    bottom = top + n_lines * style.row + len(blocks) * 8.0
    page = new_page(bottom + 0.8 * style.row * len(notes) + style.margin, style)

    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    _draw_key(page, key, key_top)
    plot, verdict_at = _plot_range([r for b in blocks.values() for r in b], style)
    y = top
    for records in blocks.values():
        y = _draw_block(page, records, plot, verdict_at, y)
    for i, line in enumerate(notes):
        y = bottom + 0.8 * style.row * (i + 0.5)
        write(page, style.margin, y, line, size=style.small, color=QUIET)
    return page.fig


def overlap_pages(
    table: pd.DataFrame,
    *,
    index_label: str = "NSSI",
    delta: float | None = None,
    page_height: float = 240.0,
    style: Style = DOUBLE,
) -> list[Figure]:
    """`overlap_mechanisms` on pages to print, at most `page_height` mm high where that is possible.

    A condition is never broken over two pages. `save_pages` writes them. Raises ValueError as
    `overlap_mechanisms`.
    """
    require_columns(table, MECHANISM_COLUMNS, "overlap_mechanisms")
    shown = (table["k_index"] > 0) & (table["k_other"] > 0)
    pages: list[list[str]] = [[]]
    around = 2 * style.margin + 6.0 * style.row  # title, key and note
    y = around
    for other, n in table[shown].groupby("other", sort=False).size().items():
        need = (n + 1.6) * style.row + 8.0
        if pages[-1] and y + need > page_height:
            pages.append([])
            y = around
        pages[-1].append(str(other))
        y += need
    figures = []
    for i, others in enumerate(pages, start=1):
        part = f", {i} of {len(pages)}" if len(pages) > 1 else ""
        figures.append(
            overlap_mechanisms(
                table[table["other"].isin(others)], index_label=index_label, delta=delta,
                title=f"Overlap with {index_label} by mechanism{part}", style=style,
            )
        )  # fmt: skip
    return figures


def _check_probabilities(table: pd.DataFrame) -> None:
    total = table[list(CLASS_FILLS)].sum(axis=1)
    bad = table.loc[(total - 1.0).abs() > 1e-3, "mechanism"]
    if len(bad):
        raise ValueError(f"class probabilities do not sum to 1 for: {', '.join(map(str, bad))}")


def _plot_range(records: list[Record], style: Style) -> tuple[tuple[float, float], float]:
    label = min(widest([as_text(r["label"]) for r in records], style) + 2.0, 0.36 * style.width)
    verdict = min(widest([as_text(r["verdict"]) for r in records] + ["Verdict"], style) + 1.0, 30.0)
    counts = widest([_counts(r) for r in records] + ["k"], style, size=style.small) + 2.0
    right = style.width - style.margin - verdict
    return (style.margin + label + 2.0, right - counts - 2.0), right


def _counts(record: Record) -> str:
    return f"{as_int(record['k_index'])} / {as_int(record['k_other'])}"


def _draw_block(
    page: Page,
    records: list[Record],
    plot: tuple[float, float],
    verdict_at: float,
    top: float,
) -> float:
    """Draw one condition from `top` mm down; return where the next one starts."""
    style = page.style
    y = top + 0.8 * style.row
    right = style.width - style.margin
    room = plot[1] - style.margin
    name = as_text(records[0]["other_label"]) or as_text(records[0]["other"])
    write(page, style.margin, y, shorten(name, room, style, bold=True), bold=True)
    write(page, verdict_at - 1.5, y, "k", align="right", size=style.small, color=QUIET)
    write(page, verdict_at, y, "Verdict", size=style.small, color=QUIET)
    rule(page, y + 0.55 * style.row, style.margin, right)
    first = top + 1.6 * style.row
    bottom = first + style.row * len(records)
    ax = panel(page, *plot, first, bottom, 0.0, 1.0)
    for i, record in enumerate(records):
        y = first + style.row * (i + 0.5)
        label = shorten(as_text(record["label"]), plot[0] - style.margin - 3.0, style)
        write(page, style.margin + 1.0, y, label)
        draw_bar(page, ax, record, y, plot)
        counts = _counts(record)
        write(page, verdict_at - 1.5, y, counts, align="right", size=style.small, color=QUIET)
        write(page, verdict_at, y, shorten(as_text(record["verdict"]), right - verdict_at, style))
    set_ticks(page, ax, [0.0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.50", "0.75", "1"])
    return bottom + 8.0


def draw_bar(page: Page, ax: Axes, record: Record, y: float, plot: tuple[float, float]) -> None:
    """Stack the five class probabilities; those wide enough carry their number."""
    left = 0.0
    name = f"{as_text(record['mechanism'])}/{as_text(record['other'])}"
    for column, (fill, hatch, ink) in CLASS_FILLS.items():
        p = as_float(record[column])
        _box(ax, left, p, y, fill, hatch, f"{column}:{name}")
        words = probability(p)
        length = p * (plot[1] - plot[0])
        if length >= text_width(words, page.style, size=page.style.small) + 1.5:
            # hatching would cross the number out
            _number(page, ax, left + p / 2, y, words, ink, fill if hatch else None)
        left += p


def _number(
    page: Page, ax: Axes, x: float, y: float, words: str, ink: str, ground: str | None
) -> None:
    baseline = y + 0.36 * page.style.small * MM_PER_POINT
    text = ax.text(x, baseline, words, ha="center", va="baseline", color=ink)
    text.set_fontsize(page.style.small)
    text.set_fontfamily(list(page.style.families))
    if ground is not None:
        text.set_bbox({"facecolor": ground, "edgecolor": "none", "pad": 0.8})


def _box(ax: Axes, left: float, width: float, y: float, fill: str, hatch: str, gid: str) -> None:
    box = Rectangle((left, y - BAR / 2), width, BAR, facecolor=fill, hatch=hatch or None, gid=gid)
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
            _box(page.ax, x, 5.0, y, fill, hatch, "key")
            write(page, x + 6.5, y, words, size=page.style.small)
    unname_marks(page)
