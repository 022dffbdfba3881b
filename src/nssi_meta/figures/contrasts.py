"""Differences between the pools of a forest plot, read from a table."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from .records import Interval, as_float, as_text, interval, records, require_columns

#: Columns of the table `contrasts`: the words printed (e.g. "NSSI − depression"), the estimand and
#: scale of both pools, posterior median and limits of the difference, and P(difference > 0).
CONTRAST_COLUMNS = ("label", "estimand", "scale", "median", "low", "high", "p_positive")


@dataclass(frozen=True)
class Contrast:
    """One difference between two pools."""

    key: str
    label: str
    estimand: str
    scale: str
    difference: Interval
    p_positive: float


def read_contrasts(table: pd.DataFrame | None) -> list[Contrast]:
    """Read the table `contrasts` (columns in `CONTRAST_COLUMNS`); nothing for None.

    Raises
    ------
    ValueError
        A column is missing, or a difference is not a number.
    """
    if table is None:
        return []
    require_columns(table, CONTRAST_COLUMNS, "contrasts")
    found = [
        Contrast(
            key=str(i),
            label=as_text(r["label"]),
            estimand=as_text(r["estimand"]),
            scale=as_text(r["scale"]),
            difference=interval(r, "median", "low", "high"),
            p_positive=as_float(r["p_positive"]),
        )
        for i, r in enumerate(records(table))
    ]
    bad = [c.label for c in found if not c.difference.known]
    if bad:
        raise ValueError(f"differences without median or limits in `contrasts`: {', '.join(bad)}")
    return found
