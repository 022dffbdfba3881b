"""Forest plot of one mechanism: what each study reported, what was pooled, what is predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

import pandas as pd
from matplotlib.figure import Figure

from .blocks import read_blocks
from .columns import check_columns, plan_columns
from .contrasts import read_contrasts
from .forest_draw import Look, draw_panel
from .forest_plan import AXIS_ROOM, Frame, plan_pages
from .key import forest_key, forest_notes
from .layouts import find_layout
from .legend import draw_key, key_height
from .page import Page, new_page, write
from .records import Sort, as_text
from .style import DOUBLE, QUIET, Style
from .text import wrap

FAVOURS_ROOM = 3.4  # mm for the words at both sides of the null


class ForestOptions(TypedDict, total=False):
    """Options of `forest`, explained at `forest_pages`."""

    title: str | None
    layout: str
    columns: Sequence[str] | None
    sort: Sort
    by: str
    contrasts: pd.DataFrame | None
    shrunken: bool | None
    densities: bool
    ratios: bool | None
    delta: float
    favours: tuple[str, str] | None
    level: float
    positive_means: str
    footnotes: Sequence[str]
    style: Style


def forest(rows: pd.DataFrame, pools: pd.DataFrame, **options: Unpack[ForestOptions]) -> Figure:
    """Draw a forest plot on one page, as tall as its content.

    Parameters
    ----------
    rows, pools
        Tables of one mechanism.
    **options
        title, layout, columns, sort, by, contrasts, shrunken, densities, ratios, delta, favours,
        level, positive_means, footnotes, style; `forest_pages` explains each.

    Returns
    -------
    Figure
        Its first axes is the page in millimetres, each further one a panel; `save` writes it.

    Raises
    ------
    ValueError
        As `forest_pages`.
    """
    return forest_pages(rows, pools, page_height=math.inf, **options)[0]


def forest_pages(
    rows: pd.DataFrame,
    pools: pd.DataFrame,
    *,
    title: str | None = None,
    layout: str = "default",
    columns: Sequence[str] | None = None,
    sort: Sort = "year",
    by: str = "condition",
    contrasts: pd.DataFrame | None = None,
    shrunken: bool | None = None,
    densities: bool = False,
    ratios: bool | None = None,
    delta: float = 0.0,
    favours: tuple[str, str] | None = None,
    level: float = 0.95,
    positive_means: str = "",
    footnotes: Sequence[str] = (),
    page_height: float = 240.0,
    style: Style = DOUBLE,
) -> list[Figure]:
    """Draw the forest plot of one mechanism, one block a condition and estimand.

    Estimates are drawn on the scale of their estimand; different scales get different axes, never
    one. Rows that report only a bound are drawn as the interval that they name.

    Parameters
    ----------
    rows
        One row a study row (columns in `records.ROW_COLUMNS`).
    pools
        One row a pooled cell (`records.POOL_COLUMNS`); its order is the order of blocks. With
        `i2_median`, `i2_low`, `i2_high` (shares) I² is printed after τ.
    title
        Head line; the label of the mechanism if None, none if empty.
    layout
        "default", "jama", "bmj", "revman" or "minimal": columns, places, brackets and colours.
    columns
        Text columns at the left, those of the layout if None: study, year, n, cases, controls,
        sample, measure, stimulus, certainty, system, weight, or any other column of `rows`.
    sort
        Order of the studies in a block: by year, effect, precision, study or system.
    by
        Column that makes the blocks: condition, or e.g. a moderator that `pools` has as well.
    contrasts
        Differences between blocks (columns in `contrasts.CONTRAST_COLUMNS`), drawn below them.
    shrunken
        Draw the posterior of each row's true effect under its estimate; None: as the layout does.
    densities
        Draw half-eyes from the quantile columns `shrunk_q05`, ..., `mu_q05`, ... of the tables.
    ratios
        Print log odds ratios as odds ratios on a log axis; None: as the layout does.
    delta
        Half width of the grey band of effects too small to matter; 0 for none.
    favours
        What lies at the left and at the right of the null, written under the axis.
    level
        Level of all intervals in both tables, printed with the figure.
    positive_means
        What a positive effect says, e.g. "larger volume in cases".
    footnotes
        Sentences put under the figure's own notes.
    page_height
        Height in mm at which a long plot goes on on another page.
    style
        Width and font sizes.

    Returns
    -------
    list of Figure
        One a page, all with the same columns and axes; `save_pages` writes them.

    Raises
    ------
    ValueError
        Nothing to draw, several mechanisms, columns missing, an option unknown or out of range,
        columns that do not fit, or `level` differs from the level recorded in `pools`.
    """
    _check_level(pools, level)
    if not delta >= 0.0:
        raise ValueError(f"delta is an effect size of 0 or more; got {delta!r}")
    chosen = find_layout(layout)
    if ratios is not None:
        chosen = replace(chosen, ratios=ratios)
    blocks = read_blocks(rows, pools, sort, by)
    differences = read_contrasts(contrasts)
    names = columns if columns is not None else ("study",) if style.narrow else chosen.columns
    names = check_columns(names, blocks)
    wanted = chosen.shrunken if shrunken is None else shrunken
    has_shrunken = wanted and any(s.shrunk.known for b in blocks for s in b.studies)
    _check_densities(densities, rows, pools)
    look = Look(chosen, level, has_shrunken, delta, densities, favours)

    planned = plan_columns(blocks, differences, chosen, names, style, level)
    room = style.width - 2 * style.margin
    head = _title(rows, pools, by) if title is None else title
    heads = wrap(head, room, style, size=style.size + 2, bold=True)
    entries = forest_key(blocks, look, has_contrasts=bool(differences))
    texts = forest_notes(blocks, pools, look, names, positive_means) if chosen.notes else []
    notes = [
        line for note in [*texts, *footnotes] for line in wrap(note, room, style, size=style.small)
    ]
    below = 0.4 * style.row + key_height(entries, style) + 0.8 * style.row * len(notes)
    frame = Frame(
        top=style.margin + 1.2 * style.row * len(heads),
        bottom=page_height - below - style.margin,
        axis_room=AXIS_ROOM + (FAVOURS_ROOM if favours else 0.0),
    )
    pages = plan_pages(
        blocks,
        differences,
        planned,
        chosen,
        style,
        frame,
        has_shrunken=has_shrunken,
        densities=densities,
    )
    figures = []
    for i, plans in enumerate(pages):
        end = plans[-1].bottom + frame.axis_room
        page = new_page(end + below + style.margin, style)
        part = f"{i + 1} of {len(pages)}" if len(pages) > 1 else ""
        _write_heads(page, heads, part)
        for plan in plans:
            draw_panel(page, plan, planned, look)
        draw_key(page, entries, end + 0.4 * style.row)
        for j, note in enumerate(notes):
            y = end + below - 0.8 * style.row * (len(notes) - j - 0.5)
            write(page, style.margin, y, note, size=style.small, color=QUIET)
        figures.append(page.fig)
    return figures


def _write_heads(page: Page, heads: list[str], part: str) -> None:
    style = page.style
    for i, head in enumerate(heads):
        y = style.margin + 1.2 * style.row * (i + 0.5)
        write(page, style.margin, y, head, size=style.size + 2, bold=True)
    y = 0.5 * style.margin + 0.2 * style.row
    write(page, style.width - style.margin, y, part, size=style.small, align="right", color=QUIET)


def _title(rows: pd.DataFrame, pools: pd.DataFrame, by: str) -> str:
    """What all rows have in common: the mechanism, or its conditions where blocks are those."""
    table, column = (pools, "label") if len(pools) else (rows, "mechanism")
    if by in ("mechanism", "system"):
        table = pools if len(pools) else rows
        column = "condition_label" if "condition_label" in table.columns else "condition"
    return ", ".join(dict.fromkeys(as_text(x) for x in table[column]))


def _check_densities(densities: bool, rows: pd.DataFrame, pools: pd.DataFrame) -> None:
    names = [str(c) for c in [*rows.columns, *pools.columns]]
    if densities and not any(n.startswith(("shrunk_q", "mu_q")) for n in names):
        raise ValueError(
            "densities are drawn from quantiles: add columns such as mu_q05, mu_q50, mu_q95 to "
            "`pools` or shrunk_q05, ... to `rows` (five or more), or leave densities out"
        )


def _check_level(pools: pd.DataFrame, level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is a probability between 0 and 1, e.g. 0.95; got {level!r}")
    if "level" in pools.columns:
        levels = {float(x) for x in pools["level"].dropna()}
        if any(not math.isclose(x, level) for x in levels):
            found = ", ".join(f"{x:g}" for x in sorted(levels))
            raise ValueError(f"the pools were computed at level {found}, not at {level:g}")
