"""What is known and what a further study would teach: two maps of mechanism by condition."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .model_nodes import shade
from .page import Page, new_page, rule, write
from .records import Record, as_float, as_int, as_text, require_columns
from .style import BOUND, DOUBLE, INK, POOLED, QUIET, Style
from .text import count, heading, number, shorten, widest, wrap

# fmt: off
GAP_COLUMNS = (
    "rank", "mechanism", "label", "system", "condition", "condition_label", "gain_bits",
    "certainty", "k", "n_studies", "n_participants", "share_bounds",
)
# fmt: on
ROW, HEAD = 3.7, 4.0
MOST = 40
DARK = 0.52  # shade from which white text has more contrast than dark text
TOP = 10  # cells that carry their rank


def gap_map(
    table: pd.DataFrame,
    *,
    order: Sequence[str] = (),
    participants: int = 100,
    most: int = MOST,
    title: str | None = None,
    style: Style = DOUBLE,
) -> Figure:
    """Draw the evidence per mechanism and condition beside what a further study would teach.

    The `most` mechanisms with the largest expected gain in any condition are drawn, by system.

    Parameters
    ----------
    table
        The table `gaps`, columns in `GAP_COLUMNS`, in any order.
    order
        Conditions from left to right; by default in the order of their largest gains.
    participants
        People in the further study, as in the table.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, a cell twice, or a style narrower than 120 mm.
    """
    require_columns(table, GAP_COLUMNS, "gaps")
    if table.empty:
        raise ValueError("nothing to draw: the table `gaps` holds no row")
    if style.narrow:
        raise ValueError("gap_map needs at least 120 mm of width: use the double column")
    if table.duplicated(["mechanism", "condition"]).any():
        raise ValueError("the table `gaps` holds a cell twice")
    best = table.groupby("mechanism")["gain_bits"].max().nlargest(most).index
    shown = table[table["mechanism"].isin(best)].sort_values("rank", kind="stable")
    by_rank = dict.fromkeys(table.sort_values("rank")["condition"])
    conditions = [c for c in order if c in by_rank] or list(by_rank)
    names = table.drop_duplicates("condition").set_index("condition")["condition_label"]
    systems = {
        str(name): list(dict.fromkeys(group["mechanism"]))
        for name, group in shown.groupby("system", sort=False)
    }
    cells = {
        (as_text(r["mechanism"]), as_text(r["condition"])): r for r in shown.to_dict("records")
    }
    notes = wrap(
        _note(participants, len(table["mechanism"].unique()) - len(best)),
        0.95 * (style.width - 2 * style.margin), style, size=style.small,
    )  # fmt: skip
    top = style.margin + 4.2 * style.row
    bottom = top + ROW * len(best) + HEAD * len(systems) + 2.0
    page = new_page(bottom + 0.8 * style.row * len(notes) + style.margin, style)
    title = "What is known, and what a further study would teach" if title is None else title
    write(page, style.margin, style.margin + 0.6 * style.row, title, size=style.size + 2, bold=True)
    longest = widest([as_text(r["label"]) for r in cells.values()], style, size=style.small)
    label_room = min(max(longest + 3.0, 0.2 * style.width), 0.26 * style.width)
    width = (style.width - 2 * style.margin - label_room - 5.0) / (2 * len(conditions))
    known = style.margin + label_room
    gain = known + width * len(conditions) + 5.0
    heads = {
        known: "Evidence: studies · participants",
        gain: f"Gain expected of {participants} more participants, bits",
    }
    for left, words in heads.items():
        write(page, left, top - 1.9 * style.row, words, bold=True)
        for i, condition in enumerate(conditions):
            name = shorten(as_text(names[condition]), width - 0.2, style, size=style.small)
            write(page, left + (i + 0.5) * width, top - 0.8 * style.row, name, align="center",
                  size=style.small, color=QUIET)  # fmt: skip
    largest = max(as_float(v) for v in table["gain_bits"])
    y = top
    for system, mechanisms in systems.items():
        write(
            page,
            style.margin,
            y + HEAD / 2,
            heading(system),
            size=style.small,
            bold=True,
            color=POOLED,
        )
        rule(page, y + HEAD - 0.3, style.margin, style.width - style.margin)
        y += HEAD
        for mechanism in mechanisms:
            record = next(cells[mechanism, c] for c in conditions if (mechanism, c) in cells)
            label = shorten(as_text(record["label"]), label_room - 2.0, style, size=style.small)
            write(page, style.margin, y + ROW / 2, label, size=style.small)
            for i, condition in enumerate(conditions):
                if (mechanism, condition) in cells:
                    cell = cells[mechanism, condition]
                    _known(page, cell, known + i * width, y, width)
                    _gain(page, cell, gain + i * width, y, width, largest)
            y += ROW
    for i, line in enumerate(notes):
        write(page, style.margin, bottom + 0.8 * style.row * (i + 0.5), line, size=style.small,
              color=QUIET)  # fmt: skip
    return page.fig


def _note(participants: int, left_out: int) -> str:
    rest = f" Not drawn: {count(left_out, 'mechanism')} with smaller gains." if left_out else ""
    return (
        "Left: shade from pale to dark is the share of the uncertainty about an unstudied "
        "mechanism that the evidence has removed; the bar under the numbers is the share of rows "
        "that are only bounds; a dash means no study. Right: information about the classes of "
        f"overlap that a study of {participants} people, half of them cases, is expected to give "
        f"(darker is more); the {TOP} largest are framed and carry their rank.{rest}"
    )


def _box(page: Page, x: float, y: float, width: float, fill: str, gid: str) -> Rectangle:
    box = Rectangle((x + 0.2, y + 0.15), width - 0.4, ROW - 0.3, facecolor=fill, linewidth=0)
    box.set_gid(gid)
    page.ax.add_patch(box)
    return box


def _ink(share: float) -> str:
    """Dark text on pale ground, white text on dark."""
    return "#ffffff" if share > DARK else INK


def _known(page: Page, record: Record, x: float, y: float, width: float) -> None:
    key = f"{as_text(record['mechanism'])}/{as_text(record['condition'])}"
    size = page.style.small
    middle = x + width / 2
    if not as_int(record["k"]):
        _box(page, x, y, width, "#ffffff", f"known:{key}")
        write(page, middle, y + ROW / 2, "–", align="center", size=size, color=QUIET)
        return
    certainty = as_float(record["certainty"])
    _box(page, x, y, width, shade(certainty), f"known:{key}")
    people = as_int(record["n_participants"])
    printed = f"{people / 1000:.1f}k" if people >= 10_000 else f"{people}"
    write(page, middle, y + ROW / 2 - 0.2, f"{as_int(record['n_studies'])} · {printed}",
          align="center", size=size, color=_ink(certainty))  # fmt: skip
    share = as_float(record["share_bounds"])
    if math.isfinite(share) and share > 0:
        bar = Rectangle((x + 0.2, y + ROW - 0.65), share * (width - 0.4), 0.5, linewidth=0)
        bar.set_facecolor(BOUND if certainty <= DARK else "#ffb27a")
        bar.set_gid(f"bounds:{key}")
        page.ax.add_patch(bar)


def _gain(page: Page, record: Record, x: float, y: float, width: float, largest: float) -> None:
    key = f"{as_text(record['mechanism'])}/{as_text(record['condition'])}"
    gain, rank = as_float(record["gain_bits"]), as_int(record["rank"])
    share = max(gain, 0.0) / largest if largest > 0 else 0.0
    box = _box(page, x, y, width, shade(share), f"gain:{key}")
    size = page.style.small
    words = number(gain, 2)
    if rank <= TOP:
        box.set_linewidth(0.9)
        box.set_edgecolor(BOUND)
        words = f"{words} #{rank}"
    write(page, x + width / 2, y + ROW / 2, words, align="center", size=size, color=_ink(share),
          bold=rank <= TOP)  # fmt: skip
