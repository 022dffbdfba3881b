"""Design matrix of a meta-regression: continuous and categorical moderators and their products."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations as pairs

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combinations:
    """Linear combinations of p coefficients to report: `means` and `contrasts`, each (p,)."""

    means: Mapping[str, Floats] = field(default_factory=dict)
    contrasts: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def mean_weights(self) -> Floats:
        return np.array(list(self.means.values()))

    @property
    def contrast_weights(self) -> Floats:
        return np.array(list(self.contrasts.values()))


@dataclass(frozen=True)
class Design:
    """Design matrix X (k, p), the columns' `names`, and how each moderator was coded.

    `levels` lists a categorical moderator's levels, the reference first; `centre` the mean that was
    subtracted from a continuous one. `terms` are the moderators and products in order.
    """

    X: Floats
    names: tuple[str, ...]
    terms: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    centre: Mapping[str, float]


def design(frame: pd.DataFrame, terms: Sequence[str]) -> Design:
    """Design matrix with an intercept for the rows of `frame`.

    Parameters
    ----------
    frame
        One row an effect. Numeric and boolean columns are continuous and centred at their mean;
        all others are categorical, their first level (in order of appearance, or the categories'
        own order) being the reference.
    terms
        Moderators by column name; `a:b` is the product of two (their main effects must be terms
        too). No term gives the intercept alone.

    Raises
    ------
    ValueError
        Unknown column, missing value, a moderator without variation, a product without its main
        effects, or columns that follow from one another.
    """
    single = [t for t in terms if ":" not in t]
    coded: dict[str, tuple[Floats, list[str]]] = {}
    levels: dict[str, tuple[str, ...]] = {}
    centre: dict[str, float] = {}
    for term in single:
        _refuse(frame, term)
        coded[term] = _code(frame[term], term, levels, centre)
    columns, names = [np.ones((len(frame), 1))], ["intercept"]
    for term in terms:
        parts = term.split(":")
        missing = [p for p in parts if p not in coded]
        if missing:
            raise ValueError(
                f"the product {term} needs its main effects: add {', '.join(missing)} to the terms"
            )
        block, label = coded[parts[0]]
        for part in parts[1:]:
            other, other_label = coded[part]
            block = np.einsum("ka,kb->kab", block, other).reshape(len(frame), -1)
            label = [f"{a}:{b}" for a in label for b in other_label]
        columns.append(block)
        names += label
    X = np.concatenate(columns, axis=1)
    scaled = X / np.maximum(np.abs(X).max(axis=0), 1e-300)
    if np.linalg.matrix_rank(scaled) < X.shape[1]:
        raise ValueError(
            f"the {X.shape[1]} columns of the design ({', '.join(names)}) follow from one another "
            f"in {len(frame)} rows: leave out a moderator, or merge rare levels"
        )
    return Design(X, tuple(names), tuple(terms), levels, centre)


def _refuse(frame: pd.DataFrame, term: str) -> None:
    if term not in frame:
        near = difflib.get_close_matches(term, frame.columns.astype(str), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"there is no column {term}.{hint}")
    empty = np.flatnonzero((frame[term].isna() | (frame[term].astype(object) == "")).to_numpy())
    if len(empty):
        raise ValueError(
            f"{term} is missing in {len(empty)} of {len(frame)} rows (first: row {empty[0] + 1}): "
            "leave these rows out, or fill the cells"
        )
    if frame[term].nunique() < 2:
        raise ValueError(f"{term} has the same value in every row: it can explain nothing")


def _code(
    column: pd.Series, term: str, levels: dict[str, tuple[str, ...]], centre: dict[str, float]
) -> tuple[Floats, list[str]]:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        x = column.to_numpy(dtype=float)
        if not np.isfinite(x).all():
            raise ValueError(f"{term} holds a value that is not finite")
        centre[term] = float(x.mean())
        return (x - centre[term])[:, None], [term]
    found = (
        [c for c in column.cat.categories if (column == c).any()]
        if isinstance(column.dtype, pd.CategoricalDtype)
        else list(dict.fromkeys(column))
    )
    levels[term] = tuple(map(str, found))
    block = np.stack([(column == level).to_numpy(dtype=float) for level in found[1:]], axis=1)
    return block, [f"{term}[{level}]" for level in levels[term][1:]]


def combinations(chosen: Design) -> Combinations:
    """Estimated mean at each level of each categorical moderator, and differences of levels.

    Continuous moderators are held at their mean, other categorical ones averaged over their levels
    with equal weights. Without categorical moderators the one mean is that at the moderators' means
    (`overall`).
    """
    means: dict[str, Floats] = {}
    contrasts: dict[str, Floats] = {}
    for term, levels in chosen.levels.items():
        at = {level: _weights(chosen, {term: level}) for level in levels}
        means |= {f"{term}[{level}]": w for level, w in at.items()}
        contrasts |= {f"{term}[{b}] - {term}[{a}]": at[b] - at[a] for a, b in pairs(levels, 2)}
    return Combinations(means or {"overall": _weights(chosen, {})}, contrasts)


def _weights(chosen: Design, fixed: Mapping[str, str]) -> Floats:
    """Weights (p,) of the coefficients in the mean at the fixed levels."""
    value: dict[str, Floats] = {term: np.zeros(1) for term in chosen.centre}
    for term, levels in chosen.levels.items():
        rest = levels[1:]
        one = [float(level == fixed[term]) if term in fixed else 1 / len(levels) for level in rest]
        value[term] = np.array(one)
    parts = [np.ones(1)]
    for term in chosen.terms:
        block = np.ones(1)
        for part in term.split(":"):
            block = np.outer(block, value[part]).ravel()
        parts.append(block)
    return np.concatenate(parts)
