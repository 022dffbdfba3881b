"""GOSH plot: the pooled effect and the heterogeneity of every subset of the studies."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from . import marks
from .axis import robust_range
from .records import as_float, records, require_columns
from .sheet import new_sheet, value_ticks
from .style import DOUBLE, INK, POOLED, QUIET, Style
from .text import count, number

#: One row a subset of studies: their number, posterior median of mu and of tau.
SUBSET_COLUMNS = ("n_studies", "median", "tau_median")
TALL = 80.0  # mm


def subset_plot(
    table: pd.DataFrame,
    *,
    scale: str = "Hedges’ g",
    title: str = "Every subset of the studies",
    style: Style = DOUBLE,
) -> Figure:
    """Draw one dot a subset (Olkin, Dahabreh and Trikalinos 2012); the last row is the whole pool.

    Two clouds, or an arm that one study pulls away, say that the studies do not estimate one mean.

    Raises
    ------
    ValueError
        Fewer than two subsets, columns missing, or a median that is no number.
    """
    require_columns(table, SUBSET_COLUMNS, "subsets")
    if len(table) < 2:
        raise ValueError("nothing to draw: the table needs two subsets or more")
    found = [(as_float(r["median"]), as_float(r["tau_median"])) for r in records(table)]
    if not all(math.isfinite(v) for pair in found for v in pair):
        raise ValueError("median and tau_median must be numbers in every row")
    low, high = robust_range([m for m, _ in found], [])
    top = 1.08 * max(t for _, t in found) or 1.0
    sheet = new_sheet(
        title=title,
        x=(min(low, 0.0), max(high, 0.0)),
        y=(0.0, top),
        height=TALL,
        style=style,
        xlabel=scale,
        ylabel="τ, between studies",
        yticks=value_ticks((0.0, top), TALL),
        notes=f"Posterior medians of {count(len(found), 'subset')}. Diamond: all studies.",
    )
    marks.upright(sheet.ax, 0.0, 0.0, top, gid="null", color=QUIET)
    for i, (x, y) in enumerate(found[:-1]):
        marks.point(sheet.ax, x, y, gid=f"subset:{i}", marker="o", size=1.6, color=INK)
    x, y = found[-1]
    marks.point(sheet.ax, x, y, gid="whole", marker="D", size=4.5, color=POOLED)
    return sheet.fig


def alt_subset_plot(table: pd.DataFrame) -> str:
    """Describe the subsets: how many, the range of their medians and of tau."""
    require_columns(table, SUBSET_COLUMNS, "subsets")
    last = table.iloc[-1]
    positive = int((table["median"] > 0).sum())
    return (
        f"{count(len(table), 'subset')} of {last['n_studies']:.0f} studies: medians of the pooled "
        f"effect from {number(table['median'].min())} to {number(table['median'].max())}, "
        f"{positive} of them above zero; medians of tau from {number(table['tau_median'].min())} "
        f"to {number(table['tau_median'].max())}. All studies together: "
        f"{number(last['median'])}, tau {number(last['tau_median'])}."
    )
