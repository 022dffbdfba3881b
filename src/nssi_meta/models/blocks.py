"""Which rows depend on each other: the rows of an analysis sorted into independent blocks.

A row stands alone (`single`), or in a block of exact rows with one joint covariance (same study,
same people, same control group), or in a block of bounds of one study on one contrast, whose
probability is integrated over their common part. Everything the likelihood needs is worked out
here once, in numpy, so that the likelihood itself is plain vectorised arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.models.grouping import components, groups, plain, shares
from nssi_meta.models.ops import static_shape

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What a row may tell: its effect, in which interval the effect fell, or its size without a sign.
KINDS = ("exact", "interval", "unsigned")
#: Rows with one of these in common depend on each other.
_SHARED = ("study_id", "sample_id", "control_id")
#: What the correlation of two rows' errors is told from.
_ERRORS = ("sample_id", "control_id", "vi", "n_control")
#: Correlation assumed between the sampling errors of two effects measured in the same people.
RHO = 0.6


@dataclass(frozen=True)
class ExactBlocks:
    """B blocks of up to n exact rows, padded: `rows` (B, n) positions, `mask` (B, n) 1 or 0.

    `V` (B, n, n) is the sampling covariance (identity where padded) and `G` (B, n, n) the share of
    tau squared that two rows have in common (1 for the same contrast of a study, 1/2 for contrasts
    that share one arm, 0 across studies). `signs` (B, P, n) lists the sign patterns of rows whose
    sign is unknown, with log weights (B, P): the likelihood is the weighted sum over patterns.
    """

    rows: Ints
    mask: Floats
    V: Floats
    G: Floats
    signs: Floats
    log_weight: Floats


@dataclass(frozen=True)
class BoundBlocks:
    """B blocks of one study on one contrast, two or more rows of which at least one is a bound.

    `exact` (B, E) and `bounds` (B, R) hold row positions with masks of 1 or 0 for padding;
    `signs` (B, P, E) and `log_weight` (B, P) as in `ExactBlocks`. `errors` lists the correlations
    of each block's sampling errors, its exact rows first; `rho` (B,) is their mean over pairs.
    """

    exact: Ints
    exact_mask: Floats
    bounds: Ints
    bounds_mask: Floats
    rho: Floats
    signs: Floats
    log_weight: Floats
    errors: tuple[Floats, ...]

    @property
    def first(self) -> Ints:
        """A row of each block (B,), always a bound."""
        return self.bounds[:, 0]

    @property
    def rows(self) -> Ints:
        """All rows (B, E + R), exact ones first."""
        return np.concatenate([self.exact, self.bounds], axis=1)

    @property
    def mask(self) -> Floats:
        """Mask of `rows`."""
        return np.concatenate([self.exact_mask, self.bounds_mask], axis=1)

    def alone(self, b: int) -> BoundBlocks:
        """Block b without the others' room and patterns."""
        exact, bounds = self.exact_mask[b] > 0, self.bounds_mask[b] > 0
        one = slice(b, b + 1)
        # Patterns repeat with a period of 2^(number of unsigned rows), see `_signs`.
        period = round(float(np.exp(self.log_weight[b, 0])) * self.signs.shape[1])
        return BoundBlocks(
            exact=self.exact[one, exact],
            exact_mask=self.exact_mask[one, exact],
            bounds=self.bounds[one, bounds],
            bounds_mask=self.bounds_mask[one, bounds],
            rho=self.rho[one],
            signs=self.signs[one, :period][..., exact],
            log_weight=np.zeros((1, period)),
            errors=self.errors[one],
        )


@dataclass(frozen=True)
class Layout:
    """All rows of an analysis, sorted into blocks. Arrays of length k follow the frame's order.

    `study` numbers the studies (k,): a block may hold several (that share people), and a study may
    have rows in several blocks (bounds on different contrasts).
    """

    k: int
    y: Floats
    v: Floats
    lower: Floats
    upper: Floats
    single_exact: Ints
    single_unsigned: Ints
    single_beyond: Ints
    single_within: Ints
    exact_blocks: ExactBlocks | None = None
    bound_blocks: BoundBlocks | None = None
    block_of_row: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    block_rows: tuple[Ints, ...] = ()
    study: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def gaussian(self) -> bool:
        """True when every row is an exact effect, so that mu can be integrated in closed form."""
        blocks = self.exact_blocks
        return not (
            self.bound_blocks is not None
            or self.single_unsigned.size
            or self.single_beyond.size
            or self.single_within.size
            or (blocks is not None and blocks.signs.shape[1] > 1)
        )


Vcalc = Callable[[pd.DataFrame], Floats]


def independent(y: Floats, v: Floats) -> Layout:
    """The layout of exact effects (k,) that are studies of their own, without a frame."""
    rows, none = np.arange(len(y)), np.zeros(0, dtype=np.int64)
    return Layout(
        k=len(y),
        y=y,
        v=v,
        lower=np.full(len(y), np.nan),
        upper=np.full(len(y), np.nan),
        single_exact=rows,
        single_unsigned=none,
        single_beyond=none,
        single_within=none,
        block_of_row=rows,
        block_rows=tuple(rows[:, None]),
        study=rows,
    )


def shared_tau(frame: pd.DataFrame) -> Floats:
    """G (n, n) of `ExactBlocks`: arms of a study carry independent effects of variance tau^2 / 2.

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


def error_correlation(frame: pd.DataFrame, rho: float) -> Floats:
    """Correlations (n, n) of sampling errors assumed for the rows of a study with bounds.

    `rho` for the same people, the shared controls' part (1 / n_control) for several case groups,
    0 for different people.
    """
    sample, control = frame["sample_id"].to_numpy(), frame["control_id"].to_numpy()
    s = np.sqrt(frame["vi"].to_numpy(dtype=float))
    n_control = frame["n_control"].to_numpy(dtype=float)
    out: Floats = np.eye(len(frame))
    for i in range(len(frame)):
        for j in range(i):
            if sample[i] and sample[i] == sample[j]:
                out[i, j] = out[j, i] = rho
            elif control[i] and control[i] == control[j] and n_control[i] > 0:
                out[i, j] = out[j, i] = min(1.0 / n_control[i] / (s[i] * s[j]), 0.95)
    return out


def _mean_correlation(errors: Floats) -> float:
    """The mean over the pairs of rows of a block of bounds."""
    n = len(errors)
    return float((errors.sum() - n) / (n * (n - 1)))


def common_part(t2: Any, v: Any, mask: Any, rho: Any, sqrt: Callable[[Any], Any]) -> Any:
    """Squared loads l_i^2 (..., B, n) of a block's rows on their common part f.

    The block's covariance c_ij = tau^2 + rho s_i s_j is matched by l_i l_j = kappa sqrt(T_i T_j)
    with T_i = tau^2 + rho v_i and kappa the mean of c_ij / sqrt(T_i T_j) over pairs: exact for two
    rows and for equal variances. `t2` (..., B), `v` and `mask` (B, n), `rho` (B,).
    """
    share = rho[:, None] + 1e-12  # keeps tau = rho = 0 defined, in the unit of v
    whole = t2[..., None] + share * v
    i, j = np.tril_indices(static_shape(v)[1], -1)
    both = mask[:, i] * mask[:, j]
    c = t2[..., None] + share * sqrt(v[:, i] * v[:, j])
    kappa = (both * c / sqrt(whole[..., i] * whole[..., j])).sum(axis=-1)
    return whole * (kappa / both.sum(axis=-1))[..., None]


def _contrasts(frame: pd.DataFrame) -> Ints:
    """Rows (n,) of one contrast of one study have the same number."""
    out = np.zeros(len(frame), dtype=np.int64)
    for name in ("mechanism", "condition", "comparator", "study_id"):
        found, names = pd.factorize(frame[name].to_numpy(dtype=object), use_na_sentinel=False)
        out = pd.factorize(out * len(names) + found)[0].astype(np.int64)
    return out


def check_kinds(kind: NDArray[np.object_]) -> None:
    """ValueError for a kind of row (k,) that is none of `KINDS`."""
    if unknown := sorted(map(str, set(kind.tolist()) - set(KINDS))):
        raise ValueError(f"kind {unknown[0]!r} is not known; allowed: {', '.join(KINDS)}")


def layout(frame: pd.DataFrame, vcalc: Vcalc, rho: float = RHO) -> Layout:
    """Sort the rows of a derived frame into independent blocks.

    `frame` has the columns of `nssi_meta.evidence.effects.derive` plus study_id, sample_id,
    control_id, mechanism, condition, comparator. `vcalc` gives the sampling covariance of exact
    rows (`nssi_meta.evidence.vcalc.vcalc`). Blocks never cross mechanisms. Raises ValueError for a
    kind that is none of `KINDS`.
    """
    frame = frame.reset_index(drop=True)
    kind = frame["kind"].to_numpy()
    check_kinds(kind)
    is_bound = kind == "interval"
    lower = frame["lower"].to_numpy(dtype=float)
    upper = frame["upper"].to_numpy(dtype=float)
    code = _contrasts(frame)
    with_bounds = (np.bincount(code) > 1) & (np.bincount(code, is_bound) > 0)
    taken = with_bounds[code]
    bound_list: list[tuple[Ints, Ints, Floats]] = []
    block_rows: list[Ints] = []
    errors = plain(frame[list(_ERRORS)]) if taken.any() else frame
    for index in groups(np.flatnonzero(taken), code[taken]):
        exact, bounds = index[~is_bound[index]], index[is_bound[index]]
        ordered = errors.iloc[np.concatenate([exact, bounds])]
        bound_list.append((exact, bounds, error_correlation(ordered, rho)))
        block_rows.append(index)

    exact_list: list[tuple[Ints, Floats, Floats]] = []
    alone = taken | is_bound
    rest = np.flatnonzero(~alone)
    for index in groups(rest, pd.factorize(frame["mechanism"].to_numpy(dtype=object)[rest])[0]):
        linked_rows = shares(frame.loc[index, list(_SHARED)], _SHARED)
        alone[index[~linked_rows]] = True
        if not linked_rows.any():
            continue
        linked = plain(frame.iloc[index[linked_rows]])
        at = np.arange(len(linked))
        for local_rows in groups(at, components(linked, _SHARED)):
            local = linked.iloc[local_rows]
            index = local.index.to_numpy(dtype=np.int64)
            exact_list.append((index, vcalc(local), shared_tau(local)))
            block_rows.append(index)
    singles = np.flatnonzero(alone & ~taken)
    block_of_row = np.empty(len(frame), dtype=np.int64)
    block_of_row[singles] = np.arange(len(singles))
    for b, index in enumerate(block_rows, start=len(singles)):
        block_of_row[index] = b
    block_rows = [*singles[:, None], *block_rows]

    return Layout(
        k=len(frame),
        y=frame["yi"].to_numpy(dtype=float),
        v=frame["vi"].to_numpy(dtype=float),
        lower=lower,
        upper=upper,
        **_by_kind(singles, kind, lower, upper),
        exact_blocks=_pad_exact(exact_list, kind) if exact_list else None,
        bound_blocks=_pad_bounds(bound_list, kind) if bound_list else None,
        block_of_row=block_of_row,
        block_rows=tuple(block_rows),
        study=_codes_of_studies(frame),
    )


def _codes_of_studies(frame: pd.DataFrame) -> Ints:
    study = frame["study_id"].to_numpy(dtype=object)
    return pd.factorize(study, use_na_sentinel=False)[0].astype(np.int64)


def _by_kind(
    rows: Ints, kind: NDArray[np.object_], lower: Floats, upper: Floats
) -> dict[str, Ints]:
    """Rows that stand alone, by the form of their likelihood; `beyond` has one open end."""
    one = kind[rows]
    is_open = np.isinf(lower[rows]) | np.isinf(upper[rows])
    return {
        "single_exact": rows[one == "exact"],
        "single_unsigned": rows[one == "unsigned"],
        "single_beyond": rows[(one == "interval") & is_open],
        "single_within": rows[(one == "interval") & ~is_open],
    }


def given_common_part(data: Layout, kind: NDArray[np.object_]) -> Layout:
    """The layout with the common part f of each block of bounds held fixed, for NUTS.

    Given f the rows of such a block are independent and stand alone.
    """
    blocks = data.bound_blocks
    if blocks is None:
        return data
    alone = [
        data.single_exact,
        data.single_unsigned,
        data.single_beyond,
        data.single_within,
        blocks.exact[blocks.exact_mask > 0],
        blocks.bounds[blocks.bounds_mask > 0],
    ]
    rows = np.sort(np.concatenate(alone))
    changes: dict[str, Any] = {**_by_kind(rows, kind, data.lower, data.upper)}
    return replace(data, bound_blocks=None, **changes)


def _pad(index: Sequence[Ints], width: int) -> tuple[Ints, Floats]:
    """Row positions (B, width) and their mask; padding repeats position 0 with mask 0."""
    rows = np.zeros((len(index), width), dtype=np.int64)
    mask = np.zeros((len(index), width))
    for b, part in enumerate(index):
        rows[b, : len(part)] = part
        mask[b, : len(part)] = 1.0
    return rows, mask


def _signs(rows: Ints, mask: Floats, kind: NDArray[np.object_]) -> tuple[Floats, Floats]:
    """Sign patterns (B, P, n) of unsigned rows; fewer patterns are repeated with less weight."""
    unsigned = (kind[rows] == "unsigned") & (mask > 0)
    n_patterns = 2 ** int(unsigned.sum(axis=1).max(initial=0))
    signs = np.ones((len(rows), n_patterns, rows.shape[1]))
    for p in range(n_patterns):
        for b in range(len(rows)):
            for bit, column in enumerate(np.flatnonzero(unsigned[b])):
                signs[b, p, column] = -1.0 if p >> bit & 1 else 1.0
    repeats = n_patterns / 2.0 ** unsigned.sum(axis=1)
    return signs, np.repeat(-np.log(repeats)[:, None], n_patterns, axis=1)


def _pad_exact(
    blocks: Sequence[tuple[Ints, Floats, Floats]], kind: NDArray[np.object_]
) -> ExactBlocks:
    n = max(len(index) for index, _, _ in blocks)
    rows, mask = _pad([index for index, _, _ in blocks], n)
    V = np.repeat(np.eye(n)[None], len(blocks), axis=0)
    G = np.zeros((len(blocks), n, n))
    for b, (index, v, g) in enumerate(blocks):
        size = len(index)
        V[b, :size, :size], G[b, :size, :size] = v, g
    signs, log_weight = _signs(rows, mask, kind)
    return ExactBlocks(rows, mask, V, G, signs, log_weight)


def _pad_bounds(
    blocks: Sequence[tuple[Ints, Ints, Floats]], kind: NDArray[np.object_]
) -> BoundBlocks:
    exact, exact_mask = _pad([e for e, _, _ in blocks], max(len(e) for e, _, _ in blocks))
    bounds, bounds_mask = _pad([r for _, r, _ in blocks], max(len(r) for _, r, _ in blocks))
    signs, log_weight = _signs(exact, exact_mask, kind)
    errors = tuple(r for _, _, r in blocks)
    rho = np.array([_mean_correlation(r) for r in errors])
    return BoundBlocks(exact, exact_mask, bounds, bounds_mask, rho, signs, log_weight, errors)
