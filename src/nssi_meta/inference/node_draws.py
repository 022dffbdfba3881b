"""Draws from a posterior that is known at the nodes of a quadrature, between the nodes too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.densities import Density, PanelDensity
from nssi_meta.inference.point_mass import PointMass

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def drawn_nodes(weight: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Numbers (n,) of nodes, drawn by `weight`: systematic resampling (low variance)."""
    cumulative = np.cumsum(weight)
    u = (np.arange(n) + rng.random(n)) / n
    index = np.searchsorted(cumulative / cumulative[-1], u)
    return rng.permutation(np.minimum(index, len(cumulative) - 1))


def within_cells(
    values: Floats,
    weight: Floats,
    density: Density | PointMass | None,
    index: Ints,
    rng: np.random.Generator,
) -> Floats:
    """Values of an axis anywhere in the cells of the nodes `index`, not at the nodes alone.

    `values` and `weight` are those of all nodes (m,), `density` the axis' marginal. A cell holds
    as much of it as its nodes weigh. What is no axis (`density` has no panels) stays as it is.
    """
    if not isinstance(density, PanelDensity):
        return values[index]
    _, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weight)
    mass /= mass.sum()
    at = place[index]
    return density.quantiles(np.cumsum(mass)[at] - mass[at] * (1.0 - rng.random(len(index))))
