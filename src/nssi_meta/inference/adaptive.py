"""Adaptive tensor-product Gauss-Legendre quadrature of a log density in a few dimensions.

Panels are halved where the Legendre coefficients of the integrand have not died away, until the
part still missing is below the tolerance. The log density may be unnormalised and tiny: it is
rescaled by its maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.densities import PanelDensity
from nssi_meta.inference.panels import (
    Axis,
    gauss_legendre,
    highest_coefficients,
    panel_nodes,
)

Floats = NDArray[np.float64]
LogDensity = Callable[..., Floats]

MAX_ROUNDS = 40
MAX_NODES = 4_000_000
#: Share of the mass at a node below which the halves of its panel are not looked at.
_NOTHING = 1e-30
#: Share of a moment at the last node of an axis in log x above which some of it lies beyond.
_CUT_OFF = 1e-7
#: What is missing of a moment counts less: its integral is of twice the order. Rounds after which a
#: moment is given up.
_OF_MOMENT, _PATIENCE = 0.03, 36


@dataclass(frozen=True)
class Grid:
    """A resolved density: nodes of every axis, weights summing to 1, log of the integral.

    `x` are the parameter values at the nodes of each axis, `weight` the tensor of posterior
    probabilities of the nodes, `error` the estimated relative error of the integral. `moments` is
    false where those that the axes ask for could not be resolved.
    """

    axes: tuple[Axis, ...]
    edges: tuple[Floats, ...]
    n: int
    x: tuple[Floats, ...]
    weight: Floats
    log_integral: float
    error: float
    moments: bool = True

    def marginal(self, axis: int) -> PanelDensity:
        """The marginal density of one axis."""
        other = tuple(i for i in range(self.weight.ndim) if i != axis)
        mass = self.weight.sum(axis=other).reshape(-1, self.n)
        _, w = panel_nodes(self.axes[axis], self.edges[axis], self.n)
        return PanelDensity(self.axes[axis], self.edges[axis], mass / w)


def _nodes(axis: Axis, edges: Floats, n: int) -> tuple[Floats, Floats]:
    u, w = panel_nodes(axis, edges, n)
    return u.ravel(), w.ravel()


def node_weights(axis: Axis, edges: Floats, n: int) -> Floats:
    """What each node of an axis stands for, in the parameter: weights of an integral."""
    u, w = _nodes(axis, edges, n)
    return np.asarray(w * axis.slope(u))


def _unresolved(mass: Floats, axes: Sequence[Axis], n: int) -> list[Floats]:
    """L1 size of the two highest Legendre coefficients per panel of each axis, others summed out.

    `mass` holds node probabilities; dividing by the Gauss weight gives the integrand.
    """
    sizes = []
    for d, axis in enumerate(axes):
        moved = np.moveaxis(mass, d, 0)
        tail = highest_coefficients(axis, moved.reshape(len(moved), -1), n)
        sizes.append(np.abs(tail).sum(axis=(1, 2)))
    return sizes


def _with_moments(
    sizes: list[Floats], mass: Floats, axes: Sequence[Axis], x: Sequence[Floats], n: int
) -> list[Floats]:
    """`sizes` of the mass, or of a moment that must be resolved where that is larger."""
    for d, axis in enumerate(axes):
        if axis.moment:
            shape = [-1 if e == d else 1 for e in range(len(axes))]
            moment = mass * axis.towards(x[d]).reshape(shape)
            moment /= moment.sum()
            more = _unresolved(moment, axes, n)
            sizes = [np.maximum(a, _OF_MOMENT * b) for a, b in zip(sizes, more, strict=True)]
    return sizes


def _cut_off(mass: Floats, axes: Sequence[Axis], x: Sequence[Floats]) -> bool:
    """Whether a moment goes on where an axis ends: numbers do, on one in log x."""
    for d, axis in enumerate(axes):
        if axis.moment and axis.open_low:
            of_axis = mass.sum(axis=tuple(e for e in range(len(axes)) if e != d))
            moment = of_axis * axis.towards(x[d])
            if moment[-1] > _CUT_OFF * moment.sum():
                return True
    return False


def integrate(
    log_density: LogDensity,
    axes: Sequence[Axis],
    start: Sequence[Floats],
    n: int = 12,
    tol: float = 1e-9,
    whole: bool = False,
) -> Grid:
    """Resolve `log_density(x_1, ..., x_d)` on the product of `axes`.

    `log_density` takes one 1-d array per axis and returns the tensor of log densities with
    respect to the parameters (not to u). `start` gives each axis' first panel edges in u. Later
    rounds ask for new panels alone, or for all nodes again if the density needs them together
    (`whole`). Raises FloatingPointError when the density cannot be resolved (it does not
    integrate, or is not finite anywhere).
    """
    edges = [np.asarray(e, dtype=float) for e in start]
    shape_error = "the posterior could not be resolved by quadrature"
    nodes = [_nodes(axis, e, n) for axis, e in zip(axes, edges, strict=True)]
    x = [axis.to_x(u) for axis, (u, _) in zip(axes, nodes, strict=True)]
    value = np.asarray(log_density(*x), dtype=float)
    for turn in range(MAX_ROUNDS):
        log_f = value
        for d, (axis, (u, w)) in enumerate(zip(axes, nodes, strict=True)):
            shape = [1] * len(axes)
            shape[d] = -1
            log_f = log_f + np.log(w * axis.slope(u)).reshape(shape)
        if np.isnan(log_f).any() or not np.isfinite(peak := log_f.max()):
            raise FloatingPointError(f"{shape_error}: its log density is not finite")
        # A log density of a million studies is itself rounded: below that nothing is resolved.
        least = max(tol, 8 * np.finfo(float).eps * abs(peak))
        mass = np.exp(log_f - peak)
        total = mass.sum()
        mass /= total
        of_mass = _unresolved(mass, axes, n)
        error = float(sum(size.sum() for size in of_mass))
        enough = error <= least * len(axes)
        patient = turn < _PATIENCE or not enough
        sizes = _with_moments(of_mass, mass, axes, x, n) if patient else of_mass
        whole_error = float(sum(size.sum() for size in sizes))
        split = [size > least / len(size) for size in sizes]
        if len(axes) > 3:  # nodes multiply: only the axes that are worst resolved are split
            worst = max(float(size.sum()) for size in sizes)
            split = [s & (size.sum() > worst / 3) for s, size in zip(split, sizes, strict=True)]
        done = whole_error <= least * len(axes) or not any(s.any() for s in split)
        new = edges if done else [_halve(e, s) for e, s in zip(edges, split, strict=True)]
        too_many = np.prod([float((len(e) - 1) * n) for e in new]) > MAX_NODES
        if done or (too_many and enough):
            # Given up are moments, not the mass: what is told of that is its own error.
            moments = patient and done and not _cut_off(mass, axes, x)
            return Grid(
                tuple(axes), tuple(edges), n, tuple(x), mass, float(peak + np.log(total)),
                whole_error if moments else error, moments,
            )  # fmt: skip
        if too_many:
            raise FloatingPointError(
                f"{shape_error}: more than {MAX_NODES} nodes needed (error {error:.1e}); "
                "usual causes: a prior or likelihood that does not fall off, variances many "
                "orders of magnitude apart"
            )
        edges, old_x = new, x
        nodes = [_nodes(axis, e, n) for axis, e in zip(axes, edges, strict=True)]
        x = [axis.to_x(u) for axis, (u, _) in zip(axes, nodes, strict=True)]
        if whole:
            value = np.asarray(log_density(*x), dtype=float)
        else:
            held = _held(log_f - peak - np.log(total), axes, old_x)
            value = _refined(log_density, x, n, value, held, split)
    raise FloatingPointError(f"{shape_error} in {MAX_ROUNDS} rounds (error {error:.1e})")


def _held(log_mass: Floats, axes: Sequence[Axis], x: Sequence[Floats]) -> Floats:
    """Log share of the mass at each node, or of a moment that must be resolved if that is larger.

    A slow tail may hold 1e-30 of the probability and a tenth of the variance.
    """
    out = log_mass
    for d, axis in enumerate(axes):
        if axis.moment:
            shape = [-1 if e == d else 1 for e in range(len(axes))]
            with np.errstate(divide="ignore"):
                moment = log_mass + np.log(axis.towards(x[d])).reshape(shape)
            out = np.maximum(
                out, moment - np.log(np.exp(moment - moment.max()).sum()) - moment.max()
            )
    return out


def _refined(
    log_density: LogDensity,
    x: Sequence[Floats],
    n: int,
    old: Floats,
    log_mass: Floats,
    split: Sequence[NDArray[np.bool_]],
) -> Floats:
    """The log density at nodes `x` after panels were halved: asked for new panels alone.

    Values (`old`) of panels that stay are kept. Halves of a panel that holds next to nothing
    (`log_mass`, of the nodes) are not asked for: they are taken to hold nothing.
    """
    d = len(split)
    mother = [np.repeat(np.arange(len(s)), 1 + s) for s in split]
    fresh = [np.repeat(s, 1 + s) for s in split]
    if d == 1:
        live = np.ones(len(mother[0]), dtype=bool)
    else:
        live = _at_most(log_mass, n)[np.ix_(*mother)] > np.log(_NOTHING)
    out = np.full([len(v) for v in x], -np.inf)
    stay = [np.flatnonzero(~f) for f in fresh]
    new_places = np.ix_(*(_of_panels(s, n) for s in stay))
    out[new_places] = old[np.ix_(*(_of_panels(m[s], n) for m, s in zip(mother, stay, strict=True)))]
    for axis in range(d):
        # What is new along this axis and old along those before it: each node once.
        chosen = [
            stay[e] if e < axis else np.flatnonzero(fresh[e]) if e == axis else np.arange(len(f))
            for e, f in enumerate(fresh)
        ]
        for box in _boxes(live[np.ix_(*chosen)]):
            kept = [_of_panels(c[p], n) for c, p in zip(chosen, box, strict=True)]
            out[np.ix_(*kept)] = log_density(*(v[k] for v, k in zip(x, kept, strict=True)))
    return out


def _at_most(log_mass: Floats, n: int) -> Floats:
    """What each panel may hold at most, in logs, between its nodes too.

    A density far narrower than a panel shows at its nodes as nothing, but as a steep nothing. Its
    log is taken as concave: then so is its maximum over one axis as a function of the others.
    """
    out = log_mass.reshape([size for s in log_mass.shape for size in (s // n, n)])
    for axis in range(log_mass.ndim - 1, -1, -1):
        out = _crest(np.moveaxis(out, 2 * axis + 1, -1))
    return out


def _crest(f: Floats) -> Floats:
    """The most that a concave function may reach between, before and after its nodes (..., n)."""
    t, _ = gauss_legendre(f.shape[-1])
    gap, f = np.diff(t), np.maximum(f, -1e200)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.diff(f) / gap
        onward = f[..., 1:-1] + slope[..., :-1] * gap[1:]
        back = f[..., 1:-1] - slope[..., 1:] * gap[:-1]
        # Where the lines from both sides meet.
        rise, fall = slope[..., :-2], slope[..., 2:]
        place = (f[..., 2:-1] - f[..., 1:-2] - fall * gap[1:-1]) / (rise - fall)
        between = f[..., 1:-2] + rise * np.clip(place, 0.0, gap[1:-1])
        ends = [
            f[..., 0] - slope[..., 0] * (t[0] + 1),
            f[..., -1] + slope[..., -1] * (1 - t[-1]),
            *(back[..., 0], onward[..., -1], f.max(axis=-1)),
            np.fmax.reduce(between, axis=-1),
        ]
        return np.asarray(np.nan_to_num(np.fmax.reduce(ends, axis=0), nan=-np.inf, posinf=np.inf))


def _boxes(worth: NDArray[np.bool_]) -> list[list[NDArray[np.int64]]]:
    """Boxes of panels that hold all that are worth a look: one, or one a pattern of the first axis.

    A ridge across the axes fills little of the box around it.
    """
    if not worth.any():
        return []
    whole = _box(worth)
    if worth.ndim == 1 or worth.sum() > 0.6 * np.prod([float(len(side)) for side in whole]):
        return [whole]
    flat = worth.reshape(len(worth), -1)
    patterns, which = np.unique(flat, axis=0, return_inverse=True)
    rows = [np.flatnonzero(which.ravel() == i) for i in range(len(patterns))]
    return [
        [first, *_box(worth[first[:1]])[1:]]
        for first, pattern in zip(rows, patterns, strict=True)
        if pattern.any()
    ]


def _box(worth: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Panels of each axis that are worth a look anywhere."""
    axes = range(worth.ndim)
    return [np.flatnonzero(worth.any(axis=tuple(e for e in axes if e != i))) for i in axes]


def _of_panels(panels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Positions of the nodes of `panels`."""
    return np.asarray((panels[:, None] * n + np.arange(n)).ravel(), dtype=np.int64)


def _halve(edges: Floats, split: NDArray[np.bool_]) -> Floats:
    middle = (edges[1:] + edges[:-1]) / 2
    return np.sort(np.concatenate([edges, middle[split]]))
