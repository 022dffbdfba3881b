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

from nssi_meta.inference.densities import Axis, PanelDensity, gauss_legendre, to_coefficients

Floats = NDArray[np.float64]
LogDensity = Callable[..., Floats]

MAX_ROUNDS = 40
MAX_NODES = 4_000_000


@dataclass(frozen=True)
class Grid:
    """A resolved density: nodes of every axis, weights summing to 1, log of the integral.

    `x` are the parameter values at the nodes of each axis, `weight` the tensor of posterior
    probabilities of the nodes, `error` the estimated relative error of the integral.
    """

    axes: tuple[Axis, ...]
    edges: tuple[Floats, ...]
    n: int
    x: tuple[Floats, ...]
    weight: Floats
    log_integral: float
    error: float

    def marginal(self, axis: int) -> PanelDensity:
        """The marginal density of one axis."""
        other = tuple(i for i in range(self.weight.ndim) if i != axis)
        mass = self.weight.sum(axis=other).reshape(-1, self.n)
        _, w = gauss_legendre(self.n)
        half = np.diff(self.edges[axis])[:, None] / 2
        return PanelDensity(self.axes[axis], self.edges[axis], mass / (half * w))


def _nodes(edges: Floats, n: int) -> tuple[Floats, Floats]:
    x, w = gauss_legendre(n)
    mid, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (mid[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def _unresolved(mass: Floats, axis: int, n: int) -> Floats:
    """L1 size of the two highest Legendre coefficients per panel of one axis, others summed out.

    `mass` holds node probabilities; dividing by the Gauss weight gives the integrand.
    """
    _, w = gauss_legendre(n)
    moved = np.moveaxis(mass, axis, 0)
    values = moved.reshape(-1, n, moved.size // moved.shape[0]) / w[None, :, None]
    tail = np.einsum("kn,pno->pko", to_coefficients(n)[-2:], values)
    size: Floats = np.abs(tail).sum(axis=(1, 2))
    return size


def integrate(
    log_density: LogDensity,
    axes: Sequence[Axis],
    start: Sequence[Floats],
    n: int = 12,
    tol: float = 1e-9,
) -> Grid:
    """Resolve `log_density(x_1, ..., x_d)` on the product of `axes`.

    `log_density` takes one 1-d array per axis and returns the tensor of log densities with
    respect to the parameters (not to u). `start` gives each axis' first panel edges in u. Raises
    FloatingPointError when the density cannot be resolved (it does not integrate, or is not
    finite anywhere).
    """
    edges = [np.asarray(e, dtype=float) for e in start]
    if len(axes) == 1:
        log_density = _remembering(log_density, n)
    shape_error = "the posterior could not be resolved by quadrature"
    for _ in range(MAX_ROUNDS):
        nodes = [_nodes(e, n) for e in edges]
        x = [axis.to_x(u) for axis, (u, _) in zip(axes, nodes, strict=True)]
        log_f = np.asarray(log_density(*x), dtype=float)
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
        sizes = [_unresolved(mass, d, n) for d in range(len(axes))]
        error = float(sum(size.sum() for size in sizes))
        split = [size > least / len(size) for size in sizes]
        if len(axes) > 3:  # nodes multiply: only the axes that are worst resolved are split
            worst = max(float(size.sum()) for size in sizes)
            split = [s & (size.sum() > worst / 3) for s, size in zip(split, sizes, strict=True)]
        done = error <= least * len(axes)
        if done or not any(s.any() for s in split):
            return Grid(
                tuple(axes), tuple(edges), n, tuple(x), mass, float(peak + np.log(total)), error
            )
        new = [_halve(e, s) for e, s in zip(edges, split, strict=True)]
        if np.prod([float((len(e) - 1) * n) for e in new]) > MAX_NODES:
            raise FloatingPointError(
                f"{shape_error}: more than {MAX_NODES} nodes needed (error {error:.1e}); "
                "a prior or likelihood that does not fall off is the usual cause"
            )
        edges = new
    raise FloatingPointError(f"{shape_error} in {MAX_ROUNDS} rounds (error {error:.1e})")


def _remembering(log_density: LogDensity, n: int) -> LogDensity:
    """`log_density` of one axis, called for new panels of n nodes alone."""
    known: dict[float, Floats] = {}

    def values(x: Floats) -> Floats:
        panels = x.reshape(-1, n)
        first = panels[:, 0].tolist()
        new = [i for i, at in enumerate(first) if at not in known]
        if new:
            found = np.asarray(log_density(panels[new].ravel()), dtype=float).reshape(-1, n)
            known.update((first[i], value) for i, value in zip(new, found, strict=True))
        return np.concatenate([known[at] for at in first])

    return values


def _halve(edges: Floats, split: NDArray[np.bool_]) -> Floats:
    middle = (edges[1:] + edges[:-1]) / 2
    return np.sort(np.concatenate([edges, middle[split]]))
