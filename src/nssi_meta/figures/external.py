"""Published pools beside ours: one line a published estimate, positions from the table alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import DOUBLE, INK, MM_PER_INCH, POOLED, RULE, SHRUNKEN, Style
from .text import count, number

#: Colour and marker of each kind of pool, in the order given.
_MARKS = ((SHRUNKEN, "o"), (POOLED, "s"), ("#c25200", "D"), ("#00815f", "^"))
_SCALES = {
    "g": "Hedges g",
    "log_or": "log odds ratio",
    "z": "Fisher's z",
    "d_within": "standardised mean change",
}
#: Length of one standardised mean difference on each scale.
_UNITS = {"g": 1.0, "d_within": 1.0, "z": 0.5, "log_or": float(np.pi / np.sqrt(3))}


def external(table: pd.DataFrame, pools: Mapping[str, str], style: Style = DOUBLE) -> Figure:
    """Intervals of our pools and the published estimate, for every comparison.

    Parameters
    ----------
    table
        That of `synthesis.external.external_check`.
    pools
        Which of its pools to draw (such as `naive`) and the words for them, at most four.
    style
        Width and font size.

    Raises
    ------
    ValueError
        Nothing is comparable, or too many kinds of pools.
    """
    if table.empty:
        raise ValueError("no published pool is comparable: there is nothing to draw")
    if not 1 <= len(pools) <= len(_MARKS):
        raise ValueError(f"one to {len(_MARKS)} kinds of pools can be drawn, got {len(pools)}")
    order = table.sort_values(["scale", "label", "condition_label", "published"], kind="stable")
    scales = list(dict.fromkeys(order["scale"]))
    counts = [int((order["scale"] == s).sum()) for s in scales]
    height = style.row * sum(counts) + 14.0 * len(scales) + 8.0
    fonts: Any = {"font.family": list(style.families), "font.size": style.size}
    with rc_context({**fonts, "axes.edgecolor": RULE, "text.color": INK, "axes.linewidth": 0.6}):
        figure = Figure(
            figsize=(style.width / MM_PER_INCH, height / MM_PER_INCH), layout="constrained"
        )
        axes = figure.subplots(
            len(scales), 1, squeeze=False, gridspec_kw={"height_ratios": counts}
        )[:, 0]
        for axis, scale in zip(axes, scales, strict=True):
            _panel(axis, order[order["scale"] == scale], pools, scale)
        handles, words = axes[0].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside upper left", ncols=len(words), frameon=False)
    return figure


def _panel(axis: Axes, part: pd.DataFrame, pools: Mapping[str, str], scale: str) -> None:
    y = np.arange(len(part))[::-1].astype(float)
    shift = np.linspace(0.2, -0.2, len(pools)) if len(pools) > 1 else np.zeros(1)
    for (name, words), (color, marker), move in zip(
        pools.items(), _MARKS[: len(pools)], shift, strict=True
    ):
        axis.hlines(y + move, part[f"low_{name}"], part[f"high_{name}"], color=color, lw=1.0)
        axis.plot(part[f"median_{name}"], y + move, marker, color=color, ms=2.8, ls="", label=words)
    axis.plot(part["published"], y, "|", color=INK, ms=8, mew=1.5, label="published")
    axis.axvline(0, color=RULE, lw=0.6, zorder=0)
    axis.set_yticks(
        y,
        [
            f"{label}, {condition} ({k})"
            for label, condition, k in zip(
                part["label"], part["condition_label"], part["k"], strict=True
            )
        ],
    )
    axis.tick_params(length=0)
    axis.set_ylim(-0.7, len(part) - 0.3)
    axis.set_xlabel(f"{_SCALES.get(scale, scale)}; in brackets: rows in our cell")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def alt_external(table: pd.DataFrame, pools: Mapping[str, str]) -> str:
    """Describe the figure: how many published pools lie inside ours, and how far off they are."""
    unit = table["scale"].map(_UNITS).fillna(1.0)
    parts = [
        f"{count(len(table), 'pooled estimate')} published by others beside our pools of the same "
        f"mechanism and condition, in {count(table['scale'].nunique(), 'panel')} by scale."
    ]
    for name, words in pools.items():
        inside = int(table[f"covered_{name}"].sum())
        width = float(((table[f"high_{name}"] - table[f"low_{name}"]) / unit).mean())
        excess = float(table[f"excess_{name}"].mean())
        parts.append(
            f"Pools {words}: {inside} of {len(table)} published estimates lie inside our interval; "
            f"ours are {number(abs(excess))} standardised mean differences "
            f"{'larger' if excess > 0 else 'smaller'} on average, intervals {number(width)} wide."
        )
    return " ".join(parts)
