"""Rows of other kinds of evidence on a pool's own scale, for a reading that takes them in.

All go through the standardised mean difference d: Fisher's z by d = 2 sinh(z) (Borenstein et al.
2009, ch. 7), log odds ratios by d = log OR sqrt(3) / pi (Chinn 2000). Both are monotone, so that a
bound is converted by its ends; standard errors follow by the delta method, for a bound at its end
(or between its two).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Curve = tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]

_ODDS = float(np.sqrt(3) / np.pi)
#: Scale -> to d, its slope; from d, its slope.
_TO_D: dict[str, Curve] = {
    "g": (lambda x: x, np.ones_like),
    "z": (lambda x: 2 * np.sinh(x), lambda x: 2 * np.cosh(x)),
    "log_or": (lambda x: _ODDS * x, lambda x: np.full_like(x, _ODDS)),
}
_FROM_D: dict[str, Curve] = {
    "g": (lambda d: d, np.ones_like),
    "z": (lambda d: np.arcsinh(d / 2), lambda d: 1 / np.sqrt(4 + d**2)),
    "log_or": (lambda d: d / _ODDS, lambda d: np.full_like(d, 1 / _ODDS)),
}


def with_converted(cell: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of a cell and those of `others`, the latter on the cell's scale.

    Raises ValueError where the scale has no formula or no row of `others` can be converted.
    """
    scale, estimand = str(cell["scale"].iloc[0]), cell["estimand"].iloc[0]
    if scale not in _FROM_D:
        raise ValueError(f"no formula converts to the scale {scale}")
    usable = others[others["scale"].isin(list(_TO_D)) & (others["scale"] != scale)]
    if usable.empty:
        raise ValueError("no rows of another estimand that could be converted")
    parts = [convert(part, str(name), scale) for name, part in usable.groupby("scale", sort=False)]
    added = pd.concat(parts).assign(scale=scale, estimand=estimand)
    return pd.concat([cell, added], ignore_index=True)


def convert(rows: pd.DataFrame, scale: str, to: str) -> pd.DataFrame:
    """Rows on one scale with yi, sei, vi, lower and upper on another."""
    (to_d, slope), (from_d, slope_back) = _TO_D[scale], _FROM_D[to]

    def curve(x: Floats) -> Floats:
        return from_d(to_d(x))

    yi, lower, upper = (rows[c].to_numpy(dtype=float) for c in ("yi", "lower", "upper"))
    ends = np.where(np.isfinite(np.stack([lower, upper])), [lower, upper], np.nan)
    count = np.isfinite(ends).sum(axis=0)
    middle = np.nansum(ends, axis=0) / np.maximum(count, 1)
    at = np.where((rows["kind"] == "interval").to_numpy(), middle, yi)
    sei = rows["sei"].to_numpy(dtype=float) * slope(at) * slope_back(to_d(at))
    return rows.assign(yi=curve(yi), sei=sei, vi=sei**2, lower=curve(lower), upper=curve(upper))
