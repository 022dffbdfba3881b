"""Which rows depend on each other: the rows of an analysis sorted into independent blocks.

A row stands alone (`single`), or in a block of exact rows with one joint covariance (same study,
same people, same control group), or in a block of bounds of one study on one contrast, whose
probability is integrated over their common part. Everything the likelihood needs is worked out
here once, in numpy, so that the likelihood itself is plain vectorised arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Correlation assumed between the sampling errors of two effects measured in the same people.
RHO = 0.6


@dataclass(frozen=True)
class ExactBlocks:
    """B blocks of n exact rows each: row positions (B, n), V and G (B, n, n).

    V is the sampling covariance; G the share of tau squared that two rows have in common (1 for
    the same contrast of a study, 1/2 for contrasts that share one arm, 0 across studies). The
    first `n_unsigned` rows of each block have an unknown sign.
    """

    rows: Ints
    V: Floats
    G: Floats
    n_unsigned: int


@dataclass(frozen=True)
class BoundBlocks:
    """B blocks of one study on one contrast with at least one bound among n >= 2 rows.

    `exact` (B, n_exact) and `bounds` (B, n_bounds) hold row positions; the first `n_unsigned`
    exact rows have an unknown sign; `rho` (B,) is the error correlation within a block.
    """

    exact: Ints
    bounds: Ints
    rho: Floats
    n_unsigned: int


@dataclass(frozen=True)
class Layout:
    """All rows of an analysis, sorted into blocks. Arrays of length k follow the frame's order."""

    k: int
    y: Floats
    v: Floats
    lower: Floats
    upper: Floats
    single_exact: Ints
    single_unsigned: Ints
    single_above: Ints
    single_below: Ints
    single_within: Ints
    exact_blocks: tuple[ExactBlocks, ...] = ()
    bound_blocks: tuple[BoundBlocks, ...] = ()
    block_of_row: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    block_rows: tuple[Ints, ...] = ()

    @property
    def gaussian(self) -> bool:
        """True when every row is an exact effect, so that mu can be integrated in closed form."""
        return not (
            self.bound_blocks
            or self.single_unsigned.size
            or self.single_above.size
            or self.single_below.size
            or self.single_within.size
            or any(b.n_unsigned for b in self.exact_blocks)
        )


Vcalc = Callable[[pd.DataFrame], Floats]


def _components(frame: pd.DataFrame, keys: Sequence[str]) -> Ints:
    """Connected components of rows that share a non-empty value in any of `keys`."""
    parent = np.arange(len(frame))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
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


def _shared_tau(frame: pd.DataFrame) -> Floats:
    """G (n, n): arms of one study carry independent effects of variance tau^2 / 2 each.

    Every contrast then varies by tau^2, and two contrasts of a study share +-1/2 for each arm in
    common: the usual homogeneous-variance network model (Higgins & Whitehead 1996).
    """
    study = frame["study_id"].to_numpy()
    case, control = frame["condition"].to_numpy(), frame["comparator"].to_numpy()

    def same(a: NDArray[np.object_], b: NDArray[np.object_]) -> Floats:
        return (a[:, None] == b[None, :]).astype(float)

    # A table of ready-made effects names no arms: then all rows of a study are one contrast.
    named = (case != control).astype(float)
    crossed = (same(case, control) + same(control, case)) * named[:, None] * named[None, :]
    arms = same(case, case) + same(control, control) - crossed
    g: Floats = same(study, study) * arms / 2
    return g


def _bound_rho(frame: pd.DataFrame, rho: float) -> float:
    """Error correlation for rows of one study and contrast: `rho` for the same people, the shared
    controls' part for several case groups, 0 for different people."""
    n = len(frame)
    total, pairs = 0.0, 0
    sample, control = frame["sample_id"].to_numpy(), frame["control_id"].to_numpy()
    s = np.sqrt(frame["vi"].to_numpy(dtype=float))
    n_control = frame["n_control"].to_numpy(dtype=float)
    for i in range(n):
        for j in range(i + 1, n):
            pairs += 1
            if sample[i] and sample[i] == sample[j]:
                total += rho
            elif control[i] and control[i] == control[j] and n_control[i] > 0:
                total += min(1.0 / n_control[i] / (s[i] * s[j]), 0.95)
    return total / pairs


def layout(frame: pd.DataFrame, vcalc: Vcalc, rho: float = RHO) -> Layout:
    """Sort the rows of a derived frame into independent blocks.

    `frame` has the columns of `nssi_meta.evidence.effects.derive` plus study_id, sample_id,
    control_id, mechanism, condition, comparator. `vcalc` gives the sampling covariance of exact
    rows (`nssi_meta.evidence.vcalc.vcalc`). Blocks never cross mechanisms.
    """
    frame = frame.reset_index(drop=True)
    kind = frame["kind"].to_numpy()
    is_bound = kind == "interval"
    lower = frame["lower"].to_numpy(dtype=float)
    upper = frame["upper"].to_numpy(dtype=float)
    contrast = frame.groupby(
        ["mechanism", "condition", "comparator", "study_id"], sort=False, dropna=False
    ).ngroup()
    taken = np.zeros(len(frame), dtype=bool)
    bound_groups: dict[tuple[int, int, int], list[tuple[Ints, Ints, float]]] = {}
    block_rows: list[Ints] = []
    for _, rows in frame.groupby(contrast, sort=False).groups.items():
        index = np.asarray(rows, dtype=np.int64)
        if len(index) < 2 or not is_bound[index].any():
            continue
        taken[index] = True
        exact, bounds = _unsigned_first(index[~is_bound[index]], kind), index[is_bound[index]]
        n_unsigned = int((kind[exact] == "unsigned").sum())
        key = (len(exact), len(bounds), n_unsigned)
        bound_groups.setdefault(key, []).append(
            (exact, bounds, _bound_rho(frame.iloc[index], rho))
        )
        block_rows.append(index)

    exact_groups: dict[tuple[int, int], list[tuple[Ints, Floats, Floats]]] = {}
    single = np.flatnonzero(~taken & is_bound).tolist()
    rest = np.flatnonzero(~taken & ~is_bound)
    for _, part in frame.iloc[rest].groupby("mechanism", sort=False, dropna=False):
        comp = _components(part, ["study_id", "sample_id", "control_id"])
        for _, local in part.groupby(comp, sort=False):
            index = local.index.to_numpy(dtype=np.int64)
            if len(index) == 1:
                single.append(int(index[0]))
                continue
            index = _unsigned_first(index, kind)
            rows_frame = frame.loc[index]
            n_unsigned = int((kind[index] == "unsigned").sum())
            exact_groups.setdefault((len(index), n_unsigned), []).append(
                (index, vcalc(rows_frame), _shared_tau(rows_frame))
            )
            block_rows.append(index)
    singles = np.array(sorted(single), dtype=np.int64)
    block_rows = [singles[i : i + 1] for i in range(len(singles))] + block_rows
    block_of_row = np.empty(len(frame), dtype=np.int64)
    for b, index in enumerate(block_rows):
        block_of_row[index] = b

    one_kind = kind[singles]
    lo_open, hi_open = np.isneginf(lower[singles]), np.isposinf(upper[singles])
    interval = one_kind == "interval"
    return Layout(
        k=len(frame),
        y=frame["yi"].to_numpy(dtype=float),
        v=frame["vi"].to_numpy(dtype=float),
        lower=lower,
        upper=upper,
        single_exact=singles[one_kind == "exact"],
        single_unsigned=singles[one_kind == "unsigned"],
        single_above=singles[interval & hi_open],
        single_below=singles[interval & lo_open & ~hi_open],
        single_within=singles[interval & ~lo_open & ~hi_open],
        exact_blocks=tuple(
            ExactBlocks(
                rows=np.stack([g[0] for g in groups]),
                V=np.stack([g[1] for g in groups]),
                G=np.stack([g[2] for g in groups]),
                n_unsigned=n_unsigned,
            )
            for (_, n_unsigned), groups in exact_groups.items()
        ),
        bound_blocks=tuple(
            BoundBlocks(
                exact=np.stack([g[0] for g in groups]),
                bounds=np.stack([g[1] for g in groups]),
                rho=np.array([g[2] for g in groups]),
                n_unsigned=n_unsigned,
            )
            for (_, _, n_unsigned), groups in bound_groups.items()
        ),
        block_of_row=block_of_row,
        block_rows=tuple(block_rows),
    )


def _unsigned_first(index: Ints, kind: NDArray[np.object_]) -> Ints:
    order = np.argsort(kind[index] != "unsigned", kind="stable")
    return index[order]
