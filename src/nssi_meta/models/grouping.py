"""Rows grouped by what they have in common, in time that grows with the rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def shares(frame: pd.DataFrame, keys: Sequence[str]) -> NDArray[np.bool_]:
    """Rows (n,) that have a non-empty value in one of `keys` in common with another row."""
    out = np.zeros(len(frame), dtype=bool)
    for key in keys:
        filled = frame[key].notna() & (frame[key] != "")
        out |= (filled & frame[key].duplicated(keep=False)).to_numpy(dtype=bool)
    return out


def components(frame: pd.DataFrame, keys: Sequence[str]) -> Ints:
    """Connected components (n,) of rows that share a non-empty value in any of `keys`."""
    parent = list(range(len(frame)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for key in keys:
        first: dict[object, int] = {}
        for i, value in enumerate(frame[key].tolist()):
            if value is None or value == "" or value != value:
                continue
            if value in first:
                parent[root(i)] = root(first[value])
            else:
                first[value] = i
    return np.array([root(i) for i in range(len(frame))], dtype=np.int64)


def groups(rows: NDArray[np.integer[Any]], code: Ints) -> list[Ints]:
    """`rows` (n,) by their `code` (n,), groups in the order in which they first appear."""
    if not len(rows):
        return []
    group, _ = pd.factorize(code)
    order = np.argsort(group, kind="stable")
    return np.split(rows[order].astype(np.int64), np.cumsum(np.bincount(group))[:-1])
