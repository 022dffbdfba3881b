"""The effect in a new setting, where mu is a quadrature axis: a mixture of normals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid
from nssi_meta.inference.densities import NormalMixture, to_coefficients

Floats = NDArray[np.float64]


def predictive_mixture(
    grid: Grid, total: Floats, n_groups: int = 80, fine: int = 4
) -> NormalMixture:
    """Mixture for a new setting's effect where mu is a quadrature axis.

    Nodes are grouped by their total heterogeneity (groups of equal mass, cut again at equal steps;
    weighted mean per group, so the error is of second order in a group's width), and the
    conditional density of mu is interpolated to `fine` times as many nodes, so that a
    heterogeneity near zero leaves no steps. The kernel is never narrower than the node spacing.
    """
    n_mu = grid.weight.shape[0]
    flat_total = total[0].ravel()
    weight = grid.weight.reshape(n_mu, -1)
    mass_of = weight.sum(axis=0)
    order = np.argsort(flat_total)
    share = np.cumsum(mass_of[order]) / mass_of.sum()
    top = flat_total[order][np.searchsorted(share, 1 - 1e-6)]
    steps = np.minimum(flat_total[order] / top * n_groups, n_groups)
    pair = np.floor(share * n_groups) * (n_groups + 2) + np.floor(steps)
    _, group = np.unique(pair, return_inverse=True)
    mass = np.zeros((group.max() + 1, n_mu))
    np.add.at(mass, group, weight[:, order].T)
    filled = mass.sum(axis=1) > 0
    mass, sums = mass[filled], np.bincount(group, (mass_of * flat_total)[order])[filled]
    t = sums / mass.sum(axis=1)
    mass = mass.T

    n, axis = grid.n, grid.axes[0]
    x, w = np.polynomial.legendre.leggauss(n)
    xf, wf = np.polynomial.legendre.leggauss(n * fine)
    refine = np.polynomial.legendre.legvander(xf, n - 1) @ to_coefficients(n)
    density = mass.reshape(-1, n, mass.shape[1]) / w[None, :, None]
    # Panels without mass hold only rounding noise, which far from the centre would add up.
    density[density.sum(axis=(1, 2)) < 1e-9 * density.sum()] = 0.0
    mid, half = (grid.edges[0][1:] + grid.edges[0][:-1]) / 2, np.diff(grid.edges[0]) / 2

    def nodes(at: Floats) -> tuple[Floats, Floats]:
        mu = axis.to_x(mid[:, None] + half[:, None] * at)
        return mu, np.gradient(mu.ravel()).reshape(mu.shape)

    # A kernel wider than the node spacing needs no finer nodes.
    mu, spacing = nodes(x)
    wide = (t > 2 * np.median(spacing[density.sum(axis=2) > 0])) if density.any() else t > 0
    parts, shares = [], []
    if wide.any():
        coarse = density[..., wide] * w[None, :, None]
        parts.append(NormalMixture.build(mu[:, :, None], t[wide], coarse))
        shares.append(float(mass[:, wide].sum() / mass.sum()))
    if wide.all():
        return parts[0]
    finer = np.maximum(np.einsum("fn,png->pfg", refine, density[..., ~wide]), 0.0)
    mu, spacing = nodes(xf)
    sd = np.maximum(t[~wide], 0.5 * spacing[:, :, None])
    parts.append(NormalMixture.build(mu[:, :, None], sd, finer * wf[None, :, None]))
    shares.append(1.0 - sum(shares))
    return NormalMixture(
        np.concatenate([p.means for p in parts]),
        np.concatenate([p.sds for p in parts]),
        np.concatenate([s * p.weights for s, p in zip(shares, parts, strict=True)]),
    )
