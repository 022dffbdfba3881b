"""From moderators by name to a design matrix: centred numbers, coded categories, products."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations as pairs

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
INTERCEPT = "intercept"


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
class Moderator:
    """A moderator of one name: `levels` of a category (the first is the reference), or none.

    A number enters as x - `centre`; `spread` is its SD over the rows.
    """

    name: str
    levels: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0

    def columns(self) -> list[str]:
        """Names of the columns: `alloc[random]`, or the moderator's own."""
        return [f"{self.name}[{v}]" for v in self.levels[1:]] if self.levels else [self.name]

    def code(self, values: pd.Series[str]) -> Floats:
        """Columns (rows, number of columns) for values of the moderator."""
        if not self.levels:
            return values.to_numpy(dtype=float)[:, None] - self.centre
        text = values.astype(str)
        if unknown := sorted(set(text) - set(self.levels)):
            raise ValueError(
                f"{self.name} {unknown[0]!r} is not among the levels of the data: "
                f"{', '.join(self.levels)}"
            )
        return np.stack([(text == v).to_numpy(dtype=float) for v in self.levels[1:]], axis=1)


@dataclass(frozen=True)
class Design:
    """Moderators, their terms (tuples of names, two for a product) and the columns' names (p).

    `spread` (p,) is by how much a column moves when its numbers move by one SD: 1 for the
    intercept and for categories.
    """

    moderators: dict[str, Moderator]
    terms: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    spread: Floats

    def matrix(self, frame: pd.DataFrame) -> Floats:
        """Design matrix (rows, p) of a frame with the moderators' columns."""
        coded = {name: m.code(frame[name]) for name, m in self.moderators.items()}
        columns = [np.ones((len(frame), 1))]
        columns += [reduce(_product, [coded[name] for name in term]) for term in self.terms]
        return np.concatenate(columns, axis=1)

    def row(self, values: Mapping[str, object]) -> Floats:
        """One row (p,): numbers not given are at their mean, categories at the reference level."""
        if unknown := sorted(set(values) - set(self.moderators)):
            raise ValueError(
                f"{unknown[0]!r} is no moderator; there are {', '.join(self.moderators) or 'none'}"
            )
        full = {
            name: [values.get(name, m.levels[0] if m.levels else m.centre)]
            for name, m in self.moderators.items()
        }
        frame = pd.DataFrame(full, index=[0])
        return self.matrix(frame)[0]


def design(frame: pd.DataFrame, moderators: Sequence[str]) -> Design:
    """Design, with an intercept, for the rows of `frame`.

    Parameters
    ----------
    frame
        One row an effect. Columns of numbers are continuous and centred at their mean; texts and
        truth values are categories, coded against the first level in alphabetical order (in their
        own order where the column is a `pd.Categorical`).
    moderators
        Names of columns; `a:b` is the product of two, which must be named as well.

    Raises
    ------
    ValueError
        A name that is unknown or given twice, a missing value, a moderator that does not vary, or
        a product without its main effects.
    """
    if isinstance(moderators, str):
        raise TypeError(f"moderators are a list of columns: write [{moderators!r}]")
    if len(set(moderators)) < len(moderators):
        raise ValueError("a moderator is named twice")
    known = {name: _moderator(frame, name) for name in moderators if ":" not in name}
    terms: list[tuple[str, ...]] = [(name,) for name in known]
    for name in (m for m in moderators if ":" in m):
        parts = tuple(part.strip() for part in name.split(":"))
        if missing := [part for part in parts if part not in known]:
            raise ValueError(f"the product {name!r} needs {missing[0]!r} as a moderator too")
        terms.append(parts)
    names, spread = [INTERCEPT], [1.0]
    for term in terms:
        labels, sizes = [""], [1.0]
        for part in term:
            m = known[part]
            labels = [f"{a}:{b}".lstrip(":") for a in labels for b in m.columns()]
            sizes = [a * m.spread for a in sizes for _ in m.columns()]
        names += labels
        spread += sizes
    return Design(known, tuple(terms), tuple(names), np.array(spread))


def require_independent(X: Floats, names: Sequence[str]) -> None:
    """ValueError where columns of a design matrix (k, p) follow from one another."""
    scaled = X / np.maximum(np.abs(X).max(axis=0), 1e-300)
    if np.linalg.matrix_rank(scaled) < X.shape[1]:
        raise ValueError(
            f"the {X.shape[1]} columns of the design ({', '.join(names)}) follow from one another "
            f"in {len(X)} rows: leave out a moderator, or merge rare levels"
        )


def _moderator(frame: pd.DataFrame, name: str) -> Moderator:
    if name not in frame:
        near = difflib.get_close_matches(name, [str(c) for c in frame.columns], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(frame.columns)}"
        raise ValueError(f"the rows have no moderator {name!r}; {hint}")
    values = frame[name]
    empty = np.flatnonzero((values.isna() | (values.astype(object) == "")).to_numpy())
    if len(empty):
        raise ValueError(
            f"{name} is missing in {len(empty)} of {len(frame)} rows (first: row {empty[0] + 1}): "
            "leave these rows out, or fill the cells"
        )
    same = f"{name} is {values.iloc[0]} in every row: it explains no differences"
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name} has values that are not finite")
        if np.ptp(numbers) == 0:
            raise ValueError(same)
        return Moderator(name, (), float(numbers.mean()), float(numbers.std()))
    found = set(values.astype(str))
    ordered = isinstance(values.dtype, pd.CategoricalDtype)
    every = [str(v) for v in values.cat.categories] if ordered else sorted(found)
    levels = tuple(v for v in every if v in found)
    if len(levels) < 2:
        raise ValueError(same)
    return Moderator(name, levels)


def _product(a: Floats, b: Floats) -> Floats:
    """Products (rows, n m) of every column of a (rows, n) with every one of b (rows, m)."""
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)


def combinations(chosen: Design) -> Combinations:
    """Estimated mean at each level of each categorical moderator, and differences of levels.

    Continuous moderators are held at their mean, other categorical ones averaged over their levels
    with equal weights. Without categorical moderators the one mean is that at the moderators' means
    (`overall`).
    """
    means: dict[str, Floats] = {}
    contrasts: dict[str, Floats] = {}
    for term, moderator in chosen.moderators.items():
        at = {level: _weights(chosen, {term: level}) for level in moderator.levels}
        means |= {f"{term}[{level}]": w for level, w in at.items()}
        contrasts |= {f"{term}[{b}] - {term}[{a}]": at[b] - at[a] for a, b in pairs(at, 2)}
    return Combinations(means or {"overall": _weights(chosen, {})}, contrasts)


def _weights(chosen: Design, fixed: Mapping[str, str]) -> Floats:
    """Weights (p,) of the coefficients in the mean at the fixed levels."""
    value: dict[str, Floats] = {}
    for name, m in chosen.moderators.items():
        one = [float(v == fixed[name]) if name in fixed else 1 / len(m.levels) for v in m.levels]
        value[name] = np.array(one[1:]) if m.levels else np.zeros(1)
    parts = [np.ones(1)]
    parts += [reduce(np.outer, [value[n] for n in term]).ravel() for term in chosen.terms]
    return np.concatenate(parts)
