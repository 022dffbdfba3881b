"""The exact engine for reported results: posteriors of cells that share unknowns.

Shared are the reporting probabilities w, the spread of mean effects and the scale of their
heterogeneity. A cell's nodes of (mu, tau[, omega]) are laid once, so that they resolve the
posterior all over the shared grid; its evidence there is a sum over nodes. The posterior of what
is shared follows from the product of the cells' evidences, and each cell's own posterior is the
mixture over it: full Bayes without Monte Carlo error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid, integrate
from nssi_meta.inference.axes import mu_axis, sd_axis, tau_scale
from nssi_meta.inference.conditions import LIGHT_TAILS
from nssi_meta.inference.exact import ExactPosterior, assemble, coarse
from nssi_meta.inference.reported_nodes import Reference, Shared, mu_prior, tau_prior
from nssi_meta.models.blocks import Layout
from nssi_meta.models.priors import Prior
from nssi_meta.models.reporting import Reports, reported

#: Evidences are sums in single precision (half the time; 1e-6 of each) unless they come near to
#: the smallest number that it holds.
_SINGLE = 1e-25
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CellGrid:
    """One cell: its nodes and, at each, the likelihood's mass and every report's null probability.

    `keep` are the nodes of (mu, tau, omega) with mass anywhere on the shared grid; `log_mass` has
    their tensor shape, `null` one axis more (the reports).
    """

    layout: Layout
    grid: Grid
    keep: tuple[Ints, Ints, Ints]
    reports: Reports
    unit: float
    log_mass: Floats
    null: NDArray[np.float32]

    def log_evidence(self, shared: Shared) -> Floats:
        """log p(cell | shared), broadcastable to the shape of the shared grid."""
        _, _, table, shift = self._evidence(shared)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(table) + shift[..., None, None])

    def posterior(self, shared: Shared, given: Floats) -> ExactPosterior:
        """The cell's posterior as a mixture over the posterior `given` of what is shared.

        `given` has the shape of the shared grid and sums to 1.
        """
        first, second, table, _ = self._evidence(shared)
        for axis, size in enumerate(table.shape):
            if size == 1:  # a group of reports that this cell does not have
                given = given.sum(axis=axis, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(given > 1e-13 * given.max(), given / table, 0.0)
        of_mu, of_tau = self._priors(shared)
        inner = np.einsum("abst,ms,ut->muab", share, of_mu, of_tau, optimize=True)
        mass = (np.matmul(first, inner) * second).sum(axis=-1)
        weight = np.zeros((*self.grid.weight.shape, 1)[:3])
        weight[np.ix_(*self.keep)] = mass / mass.sum()
        weight = weight.reshape(self.grid.weight.shape)
        grid = replace(self.grid, weight=weight)
        three = weight.ndim == 3
        mu = grid.x[0].reshape(-1, 1, 1) if three else grid.x[0][:, None]
        tau = grid.x[1][:, None] if three else grid.x[1]
        omega = grid.x[2][None, :] if three else np.zeros(1)
        whole = assemble(
            grid, mu, np.zeros(1), tau, omega, (True, three), True, LIGHT_TAILS, grid.marginal(0)
        )
        # Nodes without mass are most of the tensor: hundreds of cells would fill the memory.
        some = whole.weight > 1e-14 * whole.weight.max()
        joint = ("mu_mean", "mu_sd", "tau", "omega", "weight")
        return replace(whole, **{name: getattr(whole, name)[some] for name in joint})

    def _evidence(self, shared: Shared) -> tuple[Floats, Floats, Floats, Floats]:
        """In single precision if that can hold it."""
        found = self._sums(shared, np.float32)
        return found if found[2].min() > _SINGLE else self._sums(shared, np.float64)

    def _sums(self, shared: Shared, kind: Any) -> tuple[Floats, Floats, Floats, Floats]:
        """Factors at nodes (mu, tau, omega, W_1) and (mu, tau, omega, W_2), the first with the
        nodes' mass, each scaled to a maximum of 1 for each w; their sum over nodes with the priors
        (W_1, W_2, S, T); the logs of the scales (W_1, W_2). A group without reports has W = 1.
        """
        peak = self.log_mass.max()
        factors, scales = [], []
        for g, w in enumerate(shared.w):
            here = np.flatnonzero(self.reports.group == g)
            f = np.ones_like(self.log_mass) if g else np.exp(self.log_mass - peak)
            f, silent = f.astype(kind)[..., None], np.zeros(1)
            if here.size:
                # Products of at most a few dozen probabilities, rarely below 0.05: no logs.
                chance = np.ones((*self.log_mass.shape, len(w)), dtype=kind)
                for report in here:
                    chance *= reported(self.null[..., report, None].astype(kind), w.astype(kind))
                f, silent = f / chance, np.log(w) * int(self.reports.silent[here].sum())
            top = f.max(axis=(0, 1, 2))
            f /= top
            factors.append(f)
            scales.append(silent + np.log(top))
        first, second = factors
        if second.shape[-1] == 1 and not (self.reports.group == 1).any():
            # A product with ones is five times as fast as a sum over this axis.
            over_omega = np.matmul(np.ones(first.shape[2], dtype=kind), first)[..., None]
        else:
            over_omega = np.matmul(np.swapaxes(first, -1, -2), second)
        of_mu, of_tau = self._priors(shared)
        table = np.einsum("muab,ms,ut->abst", over_omega, of_mu, of_tau, optimize=True)
        return first, second, table, scales[0][:, None] + scales[1][None, :] + peak

    def _priors(self, shared: Shared) -> tuple[Floats, Floats]:
        """Prior densities of mu (n_mu, S) and tau (n_tau, T) at the nodes."""
        mu, tau = self.grid.x[0][self.keep[0]], self.grid.x[1][self.keep[1]]
        spread = [np.exp(mu_prior(s * self.unit).logpdf(mu)) for s in shared.spread]
        scale = [np.exp(tau_prior(t * self.unit).logpdf(tau)) for t in shared.tau]
        return np.stack(spread, axis=1), np.stack(scale, axis=1)


def lay_cell(
    layout: Layout,
    reports: Reports,
    shared: Shared,
    *,
    unit: float,
    omega_prior: Prior | None,
) -> CellGrid:
    """Lay the nodes of one cell.

    mu ~ N(0, (spread unit)^2), tau ~ half-normal(tau unit); `omega_prior` None leaves the
    within-study component out. Raises FloatingPointError when quadrature does not resolve the
    posterior.
    """
    scale = tau_scale(layout)
    axes = [mu_axis(layout, mu_prior(unit), scale), sd_axis(tau_prior(unit), layout, scale)]
    if omega_prior is not None:
        axes.append(sd_axis(omega_prior, layout, scale))
    density = Reference(layout, reports, shared, unit, omega_prior)
    start, n, tol = coarse([e for _, e in axes], (6, 0.02))
    grid = integrate(density, [a for a, _ in axes], start, n=n, tol=tol, whole=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The grid's weights are those of the reference density, which is divided out again.
        mass = np.log(grid.weight.ravel()) + grid.log_integral + density.base - density.log_density
    mass = np.where(np.isfinite(mass), mass, -np.inf)
    weight = grid.weight.reshape((*grid.weight.shape, 1)[:3])
    some = weight > 1e-12 * weight.max()
    keep = tuple(
        np.flatnonzero(some.any(axis=tuple(j for j in range(3) if j != d))) for d in range(3)
    )
    at = np.ix_(*keep)
    indices = (keep[0], keep[1], keep[2])
    log_mass = mass.reshape(weight.shape)[at]
    # Single precision does for probabilities of reports.
    null = density.null[at].astype(np.float32)
    return CellGrid(layout, grid, indices, reports, unit, log_mass, null)
