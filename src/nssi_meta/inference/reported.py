"""The exact engine for reported results: a cell's posterior and evidence at every value of what
all cells share (the reporting probabilities w and the spread of mean effects).

A cell's nodes of (mu, tau[, omega]) are laid once, so that they resolve the posterior at every
point of the shared grid; its evidence there is then a sum over nodes. The posterior of what is
shared follows from the product of the cells' evidences, and each cell's own posterior is the
mixture over it: full Bayes without Monte Carlo error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid, integrate
from nssi_meta.inference.exact import (
    _COARSE,
    ExactPosterior,
    _assemble,
    _finite_moments,
    _mu_axis,
    _sd_axis,
    _tau_scale,
)
from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.ops import numpy_ops
from nssi_meta.models.priors import Prior, parse_prior
from nssi_meta.models.reporting import GROUPS, Reports, log_reported

Floats = NDArray[np.float64]

#: Nodes whose density is e^-_NEGLIGIBLE of the best at every shared value are not evaluated.
_NEGLIGIBLE = 25.0
_CHUNK = 1_000_000
#: Shared values at which the nodes must resolve the posterior, beside the ends of their ranges.
_KNOTS = 4
_OPS = numpy_ops()


@dataclass(frozen=True)
class Shared:
    """The grid of what all cells share, with its prior.

    `w` one array of nodes per group of reports, `scale` (S,) of SDs of mean effects (in units of
    a standardised mean difference); `prior` (W_1, ..., W_G, S) sums to 1.
    """

    w: tuple[Floats, ...]
    scale: Floats
    prior: Floats


@dataclass(frozen=True)
class CellGrid:
    """One cell: its nodes and, at each, the likelihood and the null probability of each report."""

    grid: Grid
    layout: Layout
    reports: Reports
    unit: float
    tau_prior: Prior
    mu: Floats
    log_mass: Floats
    null: Floats

    def log_evidence(self, shared: Shared) -> Floats:
        """log p(cell | w, scale), shape of the shared grid."""
        first, second, spread, shift = self._factors(shared)
        table = _table(first, second, spread)
        with np.errstate(divide="ignore"):
            return np.asarray(np.broadcast_to(np.log(table) + shift, shared.prior.shape))

    def posterior(self, shared: Shared, given: Floats) -> ExactPosterior:
        """The cell's posterior as a mixture over the posterior `given` of what is shared.

        `given` has the shape of the shared grid and sums to 1.
        """
        first, second, spread, _ = self._factors(shared)
        table = _table(first, second, spread)
        for axis, size in enumerate(table.shape):
            if size == 1:  # a group of reports that this cell does not have
                given = given.sum(axis=axis, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(given > 1e-12 * given.max(), given / table, 0.0)
        mass = np.zeros(self.grid.weight.size)
        total = np.zeros(len(self._live))
        if table.shape[1] == 1 or table.shape[0] == 1:
            inner = (first * second) @ share.reshape(-1, share.shape[2])
            total = (inner * spread).sum(axis=1)
        else:
            for s in np.flatnonzero(share.any(axis=(0, 1))):
                total += ((first @ share[:, :, s]) * second).sum(axis=1) * spread[:, s]
        mass[self._live] = total
        grid = replace(self.grid, weight=(mass / mass.sum()).reshape(self.grid.weight.shape))
        shape = self.grid.weight.ndim
        tau = grid.x[1] if shape == 2 else grid.x[1][:, None]
        omega = np.zeros(1) if shape == 2 else grid.x[2][None, :]
        mu = grid.x[0].reshape(-1, *([1] * (shape - 1)))
        moments = _finite_moments(self.layout, _mu_prior(1.0), self.tau_prior)
        return _assemble(grid, mu, np.zeros(1), tau, omega, True, moments, grid.marginal(0))

    @property
    def _live(self) -> NDArray[np.intp]:
        """Nodes with mass somewhere on the shared grid."""
        weight = self.grid.weight.ravel()
        return np.flatnonzero(np.isfinite(self.log_mass) & (weight > 1e-13 * weight.max()))

    def _factors(self, shared: Shared) -> tuple[Floats, Floats, Floats, Floats]:
        """Factors of the evidence at live nodes (n, W_1), (n, W_2), (n, S), and a log shift.

        The first carries the nodes' mass. Each column is scaled by its maximum; a group without
        reports has one column of ones.
        """
        live = self._live
        per_group, shifts = [], []
        for g, w in enumerate(shared.w):
            here = self.reports.group == g
            if not here.any():
                per_group.append(np.zeros((len(live), 1)))
                continue
            log_f = np.zeros((len(live), len(w)))
            for column in np.flatnonzero(here):
                log_f -= log_reported(self.null[live, column][:, None], w)
            log_f += np.log(w) * int(self.reports.silent[here].sum())
            per_group.append(log_f)
        per_group[0] = per_group[0] + self.log_mass[live, None]
        spread = np.stack(
            [_mu_prior(s * self.unit).logpdf(self.mu[live]) for s in shared.scale], axis=1
        )
        factors = []
        for log_f in (*per_group, spread):
            top = log_f.max(axis=0)
            factors.append(np.exp(log_f - top))
            shifts.append(top)
        shift = shifts[0][:, None, None] + shifts[1][None, :, None] + shifts[2][None, None, :]
        return factors[0], factors[1], factors[2], shift


def _table(first: Floats, second: Floats, spread: Floats) -> Floats:
    """Sum over nodes of the three factors: (W_1, W_2, S)."""
    if second.shape[1] == 1 or first.shape[1] == 1:
        table = (first * second).T @ spread
        return table[:, None] if second.shape[1] == 1 else table[None]
    parts = [(first * spread[:, [s]]).T @ second for s in range(spread.shape[1])]
    return np.stack(parts, axis=-1)


def _mu_prior(sd: float) -> Prior:
    return parse_prior(f"normal(0,{sd:.17g})", "mu")


def lay_cell(
    layout: Layout,
    reports: Reports,
    shared: Shared,
    *,
    unit: float,
    tau_prior: Prior,
    omega_prior: Prior | None,
) -> CellGrid:
    """Lay the nodes of one cell.

    mu ~ N(0, (scale unit)^2); `omega_prior` None leaves the within-study component out. Raises
    FloatingPointError when quadrature does not resolve the posterior.
    """
    scale = _tau_scale(layout)
    axes = [_mu_axis(layout, _mu_prior(unit), scale), _sd_axis(tau_prior, scale)]
    if omega_prior is not None:
        axes.append(_sd_axis(omega_prior, scale))
    density = _Reference(layout, reports, shared, unit, tau_prior, omega_prior)
    n, tol = (12, 1e-6) if len(axes) < 3 else (6, 0.02)
    start = [e if len(axes) < 3 or len(e) not in _COARSE else e[_COARSE[len(e)]] for _, e in axes]
    grid = integrate(density, [a for a, _ in axes], start, n=n, tol=tol)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The grid's weights are those of the reference density; its own log density leaves again.
        mass = np.log(grid.weight.ravel()) + grid.log_integral + density.base - density.log_density
    mass = np.where(np.isfinite(mass), mass, -np.inf)
    return CellGrid(grid, layout, reports, unit, tau_prior, density.mu, mass, density.null)


class _Reference:
    """The density that nodes are laid for: the sum of the posteriors over knots of the shared grid.

    Each is scaled by its maximum, so that none is left unresolved because another has far more
    evidence. The last evaluation is kept: it is the one of the grid that `integrate` returns.
    """

    def __init__(
        self,
        layout: Layout,
        reports: Reports,
        shared: Shared,
        unit: float,
        tau_prior: Prior,
        omega_prior: Prior | None,
    ) -> None:
        self.layout, self.reports, self.unit = layout, reports, unit
        self.tau_prior, self.omega_prior = tau_prior, omega_prior
        self.knots_w = [_knots(w) for w in shared.w]
        self.knots_scale = _knots(shared.scale)
        self.mu = self.base = self.log_density = np.zeros(0)
        self.null = np.zeros((0, 0))

    def __call__(self, *x: Floats) -> Floats:
        shape = tuple(len(v) for v in x)
        mesh = [m.ravel() for m in np.meshgrid(*x, indexing="ij")]
        mu, tau = mesh[0], mesh[1]
        omega = mesh[2] if len(mesh) > 2 else np.zeros_like(mu)
        base = self.tau_prior.logpdf(tau)
        if self.omega_prior is not None:
            base = base + self.omega_prior.logpdf(omega)
        ceiling = np.empty((len(mu), self.reports.k))
        for part in _parts(len(mu), _CHUNK // self.layout.k):
            base[part] += self._closed(mu[part], tau[part], omega[part])
            ceiling[part] = self.reports.log_null_ceiling(mu[part], tau[part], omega[part])
        block = self.layout.bound_blocks
        dear = block is not None or self.reports.null.bound_blocks is not None
        live = self._worth(mu, tau, omega, base, ceiling) if dear else np.arange(len(mu))
        null = ceiling
        width = 32 * max(self.layout.k, 1)
        for part in _parts(len(live), _CHUNK // width):
            some = live[part]
            at = mu[some], tau[some], omega[some]
            if block is not None:
                base[some] += self._bound_blocks(*at)
            null[some] = self.reports.log_null(ceiling[some], *at)
        if len(live) < len(mu):
            left = np.full(len(mu), -np.inf)
            left[live] = base[live]
            base = left
        self.mu, self.base, self.null = mu, base, null
        self.log_density = self._over_knots(mu, base, null)
        return self.log_density.reshape(shape)

    def _closed(self, mu: Floats, tau: Floats, omega: Floats) -> Floats:
        size = (len(mu), self.layout.k)
        mean, spread = (np.broadcast_to(a[:, None], size) for a in (mu, tau**2))
        terms = closed_terms(self.layout, mean, spread, omega[:, None] ** 2, _OPS)
        return np.asarray(sum((v.sum(axis=-1) for _, v in terms), np.zeros(len(mu))))

    def _bound_blocks(self, mu: Floats, tau: Floats, omega: Floats) -> Floats:
        block = self.layout.bound_blocks
        assert block is not None
        size = (len(mu), self.layout.k)
        mean, spread = (np.broadcast_to(a[:, None], size) for a in (mu, tau))
        return bound_blocks(self.layout, block, mean, spread, omega[:, None]).sum(axis=-1)

    def _over_knots(self, mu: Floats, base: Floats, null: Floats) -> Floats:
        """log of the sum over knots of the scaled posteriors."""
        out = np.full(len(mu), -np.inf)
        # The groups move together: few cells have both.
        for values in zip(*self.knots_w, strict=True):
            log_f = base - self._log_reported(null, values)
            for s in self.knots_scale:
                value = log_f + _mu_prior(s * self.unit).logpdf(mu)
                out = np.logaddexp(out, value - value.max())
        return out

    def _worth(
        self, mu: Floats, tau: Floats, omega: Floats, base: Floats, ceiling: Floats
    ) -> NDArray[np.intp]:
        """Nodes that may matter at some knot, by an upper limit of their density: bounds of one
        study have at most probability 1, null probabilities are at most at their ceiling.
        """
        block = self.layout.bound_blocks
        if block is not None and block.exact.size > 0:  # a density has no upper limit of 1
            return np.arange(len(mu))
        keep = np.zeros(len(mu), dtype=bool)
        for values in zip(*self.knots_w, strict=True):
            upper = base - self._log_reported(ceiling, values)
            for s in self.knots_scale:
                value = upper + _mu_prior(s * self.unit).logpdf(mu)
                best = [int(np.argmax(value))]
                at = mu[best], tau[best], omega[best]
                null = self.reports.log_null(ceiling[best], *at)
                drop = self._log_reported(null, values) - self._log_reported(ceiling[best], values)
                floor = value[best] - drop + (self._bound_blocks(*at) if block else 0.0)
                keep |= value > floor - _NEGLIGIBLE
        return np.flatnonzero(keep)

    def _log_reported(self, null: Floats, w: tuple[float, ...]) -> Floats:
        """log of the relative probability (n,) that all reports were made, w one per group."""
        out = np.zeros(len(null))
        for g, value in enumerate(w):
            here = self.reports.group == g
            out += log_reported(null[:, here], np.asarray(value)).sum(axis=1)
        return out


def _knots(values: Floats) -> Floats:
    """The ends of a range and points between, evenly over its nodes."""
    at = np.unique(np.linspace(0, len(values) - 1, _KNOTS).round().astype(int))
    return np.asarray(values[at])


def _parts(n: int, step: int) -> list[slice]:
    step = max(1, step)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


__all__ = ["GROUPS", "CellGrid", "Shared", "lay_cell"]
