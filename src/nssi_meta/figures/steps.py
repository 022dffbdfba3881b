"""One interval a line: how the pooled effect changes as studies are added or left out."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from . import marks
from .axis import robust_range
from .page import rule, write
from .printed import print_interval
from .records import as_float, as_text, interval, records, require_columns
from .sheet import new_sheet
from .style import DOUBLE, PALETTE, POOLED, QUIET, Style
from .text import count, number, percent, probability, shorten, widest

#: `label`: the study added or left out; `k`: rows behind the estimate; posterior median, limits
#: and P(mu > 0) of the pooled effect then.
STEP_COLUMNS = ("label", "k", "median", "low", "high", "p_positive")
#: Limits of the effect in a new setting, drawn where studies are left out and the table has them.
NEW_COLUMNS = ("pred_low", "pred_high")


def cumulative(
    table: pd.DataFrame,
    *,
    scale: str = "Hedges’ g",
    level: float = 0.95,
    title: str = "Evidence as it came in",
    style: Style = DOUBLE,
) -> Figure:
    """Draw the pooled effect after each study, in the order of `table`.

    Parameters
    ----------
    table
        One row a step (`STEP_COLUMNS`); the first may be the prior (k = 0).
    scale
        Name of the axis.
    level
        Of the intervals.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or an interval that is no number.
    """
    return _draw(
        table, table.iloc[-1:] if len(table) else table, "added", scale, level, title, style
    )


def leave_one_out(
    table: pd.DataFrame,
    pooled: pd.DataFrame,
    *,
    scale: str = "Hedges’ g",
    level: float = 0.95,
    title: str = "Without each study in turn",
    style: Style = DOUBLE,
) -> Figure:
    """Draw the pooled effect without each study; `pooled` is one row of the same columns with all.

    Where both tables have `pred_low` and `pred_high` the prediction interval is a box behind, its
    limits with all studies two dotted lines. Parameters and errors are those of `cumulative`.
    """
    if len(pooled) != 1:
        raise ValueError(f"`pooled` is one row, the pool of all studies; got {len(pooled)}")
    return _draw(table, pooled, "left out", scale, level, title, style)


def _draw(
    table: pd.DataFrame,
    reference: pd.DataFrame,
    what: str,
    scale: str,
    level: float,
    title: str,
    style: Style,
) -> Figure:
    require_columns(table, STEP_COLUMNS, "steps")
    if table.empty:
        raise ValueError("nothing to draw: the table of steps holds no row")
    found = [(r, interval(r, "median", "low", "high")) for r in records(table)]
    bad = [as_text(r["label"]) for r, x in found if not x.known]
    if bad:
        raise ValueError(f"median or limits missing for: {', '.join(bad[:5])}")
    center = as_float(reference["median"].iloc[0])
    new, whole = (_new(t) if what == "left out" else [] for t in (table, reference))
    new = new if whole else []
    printed = [print_interval(x) for _, x in found]
    value, low, high = (
        widest([getattr(p, q) for p in printed], style) for q in ("value", "low", "high")
    )
    side = value + low + high + 2.0 + 17.0
    label = min(widest([as_text(r["label"]) for r, _ in found], style), 0.3 * style.width) + 8.0
    # Letters in bold are wider by a tenth or so; k stands to the right of the head.
    label = max(label, 1.15 * widest([f"Study {what}"], style) + 4.0)
    limits = robust_range(
        [v for _, x in found for v in (x.value, center)], [(x.low, x.high) for _, x in found] + new
    )
    sheet = new_sheet(
        title=title,
        x=limits,
        height=style.row * (len(found) + 0.6),
        style=style,
        xlabel=scale,
        left=label + 2.0,
        right=side + 2.0,
        head=1.3 * style.row,
        notes=(
            f"Posterior median and {percent(level)} credible interval of the pooled effect; "
            f"dotted: {'the last' if what == 'added' else 'with all studies'}. k: rows used."
            + f" Boxes: {percent(level)} prediction interval, of the effect in a new setting."
            * bool(new)
        ),
    )
    page, ax, (_, _, top, bottom) = sheet.page, sheet.ax, sheet.plot
    right = style.width - style.margin
    head = top - 0.7 * style.row
    write(page, style.margin, head, f"Study {what}", bold=True)
    write(page, style.margin + label, head, "k", bold=True, align="right")
    what_is_printed = f"Median [{percent(level)} CrI]"
    write(page, right - 17.0, head, what_is_printed, bold=True, align="right")
    write(page, right, head, "P(μ > 0)", bold=True, align="right")
    rule(page, top, style.margin, right)
    marks.upright(ax, 0.0, top, bottom, gid="null", color=QUIET)
    marks.upright(ax, center, top, bottom, gid="reference", color=POOLED, dash=True)
    for where, limit in zip(("low", "high"), whole[0] if new else (), strict=False):
        marks.upright(ax, limit, top, bottom, gid=f"reference-{where}", color=QUIET, dash=True)
    for i, ((r, x), text) in enumerate(zip(found, printed, strict=True)):
        y = top + style.row * (i + 0.8)
        name = shorten(as_text(r["label"]), label - 8.0, style)
        write(page, style.margin, y, name)
        write(page, style.margin + label, y, f"{as_float(r['k']):.0f}", align="right")
        if new:
            marks.prediction(ax, str(i), *new[i], y, look=PALETTE)
        marks.observed(ax, str(i), x.value, x.low, x.high, y, look=PALETTE)
        end = right - 17.0
        write(page, end - low - high - 2.0, y, text.value, align="right", gid=f"print:{i}")
        write(page, end - high - 1.0, y, text.low, align="right", gid=f"print-low:{i}")
        write(page, end, y, text.high, align="right", gid=f"print-high:{i}")
        write(page, right, y, probability(as_float(r["p_positive"])), align="right")
    return sheet.fig


def _new(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Prediction intervals, a pair a row; none where a limit is not known."""
    if not set(NEW_COLUMNS) <= set(table.columns):
        return []
    ends = [(as_float(r["pred_low"]), as_float(r["pred_high"])) for r in records(table)]
    return ends if all(math.isfinite(v) for pair in ends for v in pair) else []


def alt_steps(table: pd.DataFrame, *, what: str = "added") -> str:
    """Describe a cumulative (`what="added"`) or leave-one-out (`"left out"`) figure."""
    require_columns(table, STEP_COLUMNS, "steps")
    first, last = table.iloc[0], table.iloc[-1]
    low, high = float(table["median"].min()), float(table["median"].max())
    crossing = int(((table["low"] <= 0) & (table["high"] >= 0)).sum())
    include = "includes" if crossing == 1 else "include"
    parts = [
        f"Pooled effect with each study {what} in turn, {count(len(table), 'step')}.",
        f"The median ranges from {number(low)} to {number(high)};",
        f"{crossing} of {count(len(table), 'interval')} {include} zero.",
    ]
    if what == "added" and math.isfinite(float(last["median"])):
        start = print_interval(interval(first.to_dict(), "median", "low", "high"))
        end = print_interval(interval(last.to_dict(), "median", "low", "high"))
        parts.append(f"It starts at {start} and ends at {end}.")
    if what == "left out" and (new := _new(table)):
        width = [b - a for a, b in new]
        words = [
            f"{word} without {as_text(table['label'].iloc[i])}, {number(new[i][0])} to "
            f"{number(new[i][1])}"
            for word, i in (
                ("narrowest", width.index(min(width))), ("widest", width.index(max(width)))
            )
        ]  # fmt: skip
        parts.append(f"The prediction interval is {'; '.join(words)}.")
    return " ".join(parts)
