"""From moderators by name to a design matrix: centred numbers, coded categories, interactions."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
INTERCEPT = "intercept"


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
    """Moderators, their terms (tuples of names, two for an interaction) and the columns' names.

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
        columns += [_product([coded[name] for name in term]) for term in self.terms]
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


def build_design(frame: pd.DataFrame, moderators: Sequence[str]) -> Design:
    """Design for the rows of `frame`; "a:b" is the interaction of two moderators named as well.

    Columns of numbers are continuous; texts and truth values are categories, coded against the
    first level in alphabetical order. Raises ValueError for unknown names, a moderator that does
    not vary, and an interaction without its main effects.
    """
    mains = [m for m in moderators if ":" not in m]
    if len(set(moderators)) < len(moderators):
        raise ValueError("a moderator is named twice")
    for name in mains:
        if name not in frame:
            near = difflib.get_close_matches(name, [str(c) for c in frame.columns], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(frame.columns)}"
            raise ValueError(f"the rows have no moderator {name!r}; {hint}")
    known = {name: _moderator(frame[name]) for name in mains}
    terms: list[tuple[str, ...]] = [(name,) for name in mains]
    for name in moderators:
        if ":" not in name:
            continue
        parts = tuple(part.strip() for part in name.split(":"))
        if missing := [part for part in parts if part not in known]:
            raise ValueError(f"the interaction {name!r} needs {missing[0]!r} as a moderator too")
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


def _moderator(values: pd.Series[str]) -> Moderator:
    name = str(values.name)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name} has values that are not finite")
        spread = float(numbers.std())
        if spread == 0:
            raise ValueError(f"{name} is {numbers[0]:g} in every row: it explains no differences")
        return Moderator(name, (), float(numbers.mean()), spread)
    levels = tuple(sorted(set(values.astype(str))))
    if len(levels) < 2:
        raise ValueError(f"{name} is {levels[0]!r} in every row: it explains no differences")
    return Moderator(name, levels)


def _product(parts: list[Floats]) -> Floats:
    out = parts[0]
    for part in parts[1:]:
        out = (out[:, :, None] * part[:, None, :]).reshape(len(out), -1)
    return out
