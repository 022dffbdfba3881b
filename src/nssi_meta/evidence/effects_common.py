"""What every route from a reported statistic to an effect size shares.

A route takes the reported numbers of many rows of one kind and returns :class:`Found`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from nssi_meta.evidence.escalc_common import Array, t_from_p


@dataclass(frozen=True)
class Reported:
    """Rows of one kind of statistic; columns come as float arrays, NaN where absent."""

    rows: pd.DataFrame

    def __getitem__(self, column: str) -> Array:
        """Numbers of a column."""
        if column not in self.rows:
            return np.full(len(self.rows), np.nan)
        return self.rows[column].to_numpy(dtype=float, na_value=np.nan)

    @property
    def sign(self) -> Array:
        """1, -1 or 0 as `direction` says; NaN for anything else."""
        if "direction" not in self.rows:
            return np.full(len(self.rows), np.nan)
        words = self.rows["direction"].astype(str)
        signs = words.map({"+": 1.0, "-": -1.0, "0": 0.0, "0.0": 0.0})
        return np.asarray(signs.to_numpy(dtype=float, na_value=np.nan), dtype=float)


@dataclass(frozen=True)
class Found:
    """Effects of several rows: yi NaN means that only the interval (lower, upper) is known."""

    yi: Array
    vi: Array
    formula: str | np.ndarray
    lower: Array
    upper: Array
    unsigned: np.ndarray


Route = Callable[[Reported], Found]
ROUTES: dict[tuple[str, str], Route] = {}


def route(statistic: str, *estimands: str) -> Callable[[Route], Route]:
    """Enter a function in the table of routes."""

    def enter(function: Route) -> Route:
        for estimand in estimands:
            ROUTES[statistic, estimand] = function
        return function

    return enter


def exact(
    yi: Array, vi: Array, formula: str | np.ndarray, unsigned: np.ndarray | None = None
) -> Found:
    """Effects that are known (`unsigned`: all but their sign)."""
    none = np.full(yi.shape, np.nan)
    never = np.zeros(yi.shape, dtype=bool)
    return Found(yi, vi, formula, none, none, never if unsigned is None else unsigned)


def interval(sign: Array, c: Array, vi: Array, formula: str) -> Found:
    """(c, inf) for +, (-inf, -c) for -, (-c, c) for 0; a sign that is none of these stays NaN."""
    none = np.full(c.shape, np.nan)
    cases = [sign > 0, sign < 0, sign == 0]
    lower = np.select(cases, [c, np.full_like(c, -np.inf), -c], np.nan)
    upper = np.select(cases, [np.full_like(c, np.inf), -c, c], np.nan)
    return Found(none, vi, formula, lower, upper, np.zeros(c.shape, dtype=bool))


def needs_sign(sign: Array) -> Array:
    """A significance bound without a direction says nothing about the sign: no interval."""
    return np.where(sign == 0, np.nan, sign)


def no_sign(sign: Array) -> Array:
    """0 where the direction is 0; any other direction contradicts the statistic."""
    return np.where(sign == 0, 0.0, np.nan)


def same_p(z: Array, df: Array) -> Array:
    """The t that has the p of z: programs that print z made it from t this way."""
    return t_from_p(np.where(z < 0, -1.0, 1.0) * 2 * ndtr(-np.abs(z)), df)
