"""Specification curve: the pooled effect under every combination of choices, sorted."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import marks
from .axis import robust_range
from .page import rule, write
from .records import Record, as_float, as_text, records, require_columns
from .sheet import new_sheet, value_ticks
from .style import BAND, DOUBLE, INK, POOLED, QUIET, RULE, Style
from .text import count, number, percent, shorten, widest

#: One row an analysis: its id, posterior median and limits; besides, one column a choice whose
#: name starts with `choice_` and whose cells are the options chosen, e.g. choice_prior = "wide".
SPECIFICATION_COLUMNS = ("spec_id", "median", "low", "high")
PREFIX = "choice_"
CURVE = 55.0  # mm, height of the upper part


def specification_curve(
    table: pd.DataFrame,
    *,
    base: str = "",
    scale: str = "Hedges’ g",
    level: float = 0.95,
    title: str = "The pooled effect under every choice",
    style: Style = DOUBLE,
) -> Figure:
    """Draw all analyses sorted by their median, and under them which choices each made.

    Parameters
    ----------
    table
        One row an analysis (`SPECIFICATION_COLUMNS` and the choices).
    base
        `spec_id` of the main analysis, drawn as a filled diamond.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, no choice, an id twice, or a base that is not there.
    """
    found, choices = _read(table, base)
    lanes = [(c, v) for c, values in choices.items() for v in values]
    names = [_option(v) for _, v in lanes] + [_words(c) for c in choices]
    left = min(widest(names, style, size=style.small) + 4.0, 0.35 * style.width)
    below = style.row * (len(lanes) + len(choices))
    low, high = robust_range(
        [as_float(r["median"]) for r in found],
        [(as_float(r["low"]), as_float(r["high"])) for r in found],
    )
    sheet = new_sheet(
        title=title,
        x=(-0.8, len(found) - 0.2),
        y=(low, high),
        height=CURVE,
        under=below,
        style=style,
        ylabel=scale,
        left=left,
        xlabel=f"{len(found)} analyses, sorted by their median",
        xticks=([], []),
        yticks=value_ticks((low, high), CURVE),
        notes=f"Posterior median and {percent(level)} credible interval."
        + (" Diamond: the main analysis." if base else ""),
    )
    page, ax, (x0, x1, top, _) = sheet.page, sheet.ax, sheet.plot
    ax.axhline(0.0, color=QUIET, linewidth=0.6, zorder=0.5)
    for i, r in enumerate(found):
        key = as_text(r["spec_id"])
        main = key == base
        ends = [as_float(r["low"]), as_float(r["high"])]
        line = Line2D([i, i], ends, color=POOLED if main else RULE, linewidth=0.9)
        line.set_gid(f"ci:{key}")
        ax.add_line(line)
        inset = 0.01 * (high - low)
        for beyond, at, head in (
            (ends[0] < low, low + inset, "v"),
            (ends[1] > high, high - inset, "^"),
        ):
            if beyond:
                marks.point(ax, i, at, gid=f"off-{head}:{key}", marker=head, size=2.6, color=INK)
        marker, size, color = ("D", 4.2, POOLED) if main else ("o", 2.4, INK)
        center = as_float(r["median"])
        marks.point(ax, i, center, gid=f"mu:{key}", marker=marker, size=size, color=color)
    y = top + CURVE
    for choice, values in choices.items():
        rule(page, y, style.margin, x1)
        words = shorten(_words(choice), left - 1.0, style, size=style.small)
        write(page, style.margin, y + style.row / 2, words, size=style.small, color=QUIET)
        y += style.row
        for value in values:
            at = y + style.row / 2
            words = shorten(_option(value), left - 3.0, style, size=style.small)
            write(page, style.margin + 2.0, at, words, size=style.small)
            rule(page, at, x0, x1, color=BAND)
            for i, r in enumerate(found):
                if as_text(r[choice]) == as_text(value):
                    x, _ = sheet.place(i, 0.0)
                    dot = Line2D([x], [at], marker="s", markersize=1.8, linestyle="none", color=INK)
                    dot.set_gid(f"choice:{as_text(r['spec_id'])}:{choice}")
                    page.ax.add_line(dot)
            y += style.row
    return sheet.fig


def _read(table: pd.DataFrame, base: str) -> tuple[list[Record], dict[str, list[str]]]:
    require_columns(table, SPECIFICATION_COLUMNS, "specifications")
    if table.empty:
        raise ValueError("nothing to draw: the table holds no analysis")
    names = [str(c) for c in table.columns if str(c).startswith(PREFIX)]
    if not names:
        raise ValueError(f"the table has no choice: name columns e.g. {PREFIX}prior")
    ids = [as_text(x) for x in table["spec_id"]]
    if len(set(ids)) < len(ids):
        raise ValueError("spec_id must be unique")
    if base and base not in ids:
        raise ValueError(f"no analysis is called {base!r}; the first are {', '.join(ids[:5])}")
    found = sorted(records(table), key=lambda r: as_float(r["median"]))
    return found, {n: list(dict.fromkeys(as_text(v) for v in table[n])) for n in names}


def _words(choice: str) -> str:
    words = choice.removeprefix(PREFIX).replace("_", " ")
    return words[:1].upper() + words[1:] if words.isascii() else words  # ρ stays ρ


def _option(value: str) -> str:
    """An option of a choice in words; a prior (`student_t(3,0,1)`) keeps its notation."""
    text = as_text(value)
    return text if "(" in text else text.replace("_", " ")


def alt_specification(table: pd.DataFrame, *, base: str = "") -> str:
    """Describe a specification curve: range of medians, how many intervals include zero."""
    found, choices = _read(table, base)
    medians = [as_float(r["median"]) for r in found]
    zero = sum(as_float(r["low"]) <= 0.0 <= as_float(r["high"]) for r in found)
    return (
        f"{count(len(found), 'analysis', 'analyses')} over {count(len(choices), 'choice')}: "
        f"medians from {number(medians[0])} to {number(medians[-1])}; {zero} of {len(found)} "
        "intervals include zero."
    )
