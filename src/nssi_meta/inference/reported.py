"""The exact engine for reported results: posteriors of cells that share unknowns.

Shared are the reporting probabilities w, the spread of mean effects and the scale of their
heterogeneity. A cell's nodes of (mu, tau[, omega]) are laid once, so that they resolve the
posterior all over the shared grid; its evidence there is a sum over nodes. The posterior of what
is shared follows from the product of the cells' evidences, and each cell's own posterior is the
mixture over it: full Bayes without Monte Carlo error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid, integrate
from nssi_meta.inference.axes import mu_axis, sd_axis, tau_scale
from nssi_meta.inference.exact import _COARSE, ExactPosterior, assemble
from nssi_meta.models.block_grid import LEAST, grid_blocks, null_probability
from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.ops import numpy_ops
from nssi_meta.models.priors import Prior, parse_prior
from nssi_meta.models.reporting import Reports, reported

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Nodes whose density is e^-_NEGLIGIBLE of the best at every knot are not evaluated.
_NEGLIGIBLE = 25.0
_CHUNK = 1_000_000
#: Evidences are sums in single precision (half the time; 1e-6 of each) unless they come near to
#: the smallest number that it holds.
_SINGLE = 1e-25
#: Number of knots for which the nodes are laid: of w, and of spread and heterogeneity.
_KNOTS_W, _KNOTS = 4, 3
#: Shared nodes with less of their posterior, relative to the best, are left out of mixtures.
_EMPTY = 1e-11
_OPS = numpy_ops()


@dataclass(frozen=True)
class Shared:
    """The grid of what all cells share, with its prior.

    `w` nodes (W_1,), (W_2,) of the two groups of reports; `spread` (S,) SDs of mean effects and
    `tau` (T,) scales of the half-normal prior of tau, both in units of a standardised mean
    difference; `prior` (W_1, W_2, S, T) sums to 1.
    """

    w: tuple[Floats, Floats]
    spread: Floats
    tau: Floats
    prior: Floats

    def within(self, posterior: Floats) -> tuple[Shared, Floats]:
        """The box of nodes that hold all but about 1e-8 of `posterior`, and that part of it."""
        some = posterior > _EMPTY * posterior.max()
        at = [np.flatnonzero(some.any(axis=tuple(j for j in range(4) if j != d))) for d in range(4)]
        box = np.ix_(*at)
        part = Shared(
            (self.w[0][at[0]], self.w[1][at[1]]),
            self.spread[at[2]],
            self.tau[at[3]],
            self.prior[box],
        )
        return part, posterior[box] / posterior[box].sum()


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
            grid, mu, np.zeros(1), tau, omega, (True, three), True, 2, grid.marginal(0)
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
        spread = [np.exp(_mu_prior(s * self.unit).logpdf(mu)) for s in shared.spread]
        scale = [np.exp(_tau_prior(t * self.unit).logpdf(tau)) for t in shared.tau]
        return np.stack(spread, axis=1), np.stack(scale, axis=1)


def _mu_prior(sd: float) -> Prior:
    return parse_prior(f"normal(0,{sd:.17g})", "mu")


def _tau_prior(scale: float) -> Prior:
    return parse_prior(f"halfnormal({scale:.17g})", "tau")


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
    axes = [mu_axis(layout, _mu_prior(unit), scale), sd_axis(_tau_prior(unit), layout, scale)]
    if omega_prior is not None:
        axes.append(sd_axis(omega_prior, layout, scale))
    density = _Reference(layout, reports, shared, unit, omega_prior)
    n, tol = (12, 1e-6) if len(axes) < 3 else (6, 0.02)
    start = [e if len(axes) < 3 or len(e) not in _COARSE else e[_COARSE[len(e)]] for _, e in axes]
    grid = integrate(density, [a for a, _ in axes], start, n=n, tol=tol)
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


class _Reference:
    """The density that nodes are laid for: the sum of the posteriors at knots of the shared grid.

    Each is scaled by its maximum, so that none is left unresolved because another has far more
    evidence. The last evaluation is kept: it is that of the grid which `integrate` returns.
    """

    def __init__(
        self,
        layout: Layout,
        reports: Reports,
        shared: Shared,
        unit: float,
        omega_prior: Prior | None,
    ) -> None:
        self.layout, self.reports, self.omega_prior = layout, reports, omega_prior
        # The two groups of reports move together: few cells have both.
        self.knots_w = list(zip(*(_knots(w, _KNOTS_W) for w in shared.w), strict=True))
        self.priors = [
            (_mu_prior(s * unit), _tau_prior(t * unit))
            for s, t in product(_knots(shared.spread, _KNOTS), _knots(shared.tau, _KNOTS))
        ]
        self.base = self.log_density = np.zeros(0)
        self.null = np.zeros((0, 0, 0, 0))

    def __call__(self, *x: Floats) -> Floats:
        shape = tuple(len(v) for v in x)
        mu, tau = x[0], x[1]
        omega = x[2] if len(x) > 2 else np.zeros(1)
        # All are (M, T, O), O = 1 where there is no omega.
        self.null = null_probability(self.reports.null, mu, tau, omega)
        log_reported = [self._log_reported(w) for w in self.knots_w]
        prior = [_over(a.logpdf(mu), b.logpdf(tau)) for a, b in self.priors]
        base = self._closed(mu, tau, omega)
        if self.omega_prior is not None:
            base = base + self.omega_prior.logpdf(omega)
        if self.layout.bound_blocks is not None:
            base = self._with_blocks((mu, tau, omega), base, log_reported, prior)
        self.base = base.ravel()
        out = np.full(base.shape, -np.inf)
        for chosen in log_reported:
            log_f = base - chosen
            over = np.logaddexp.reduce(_scaled(prior, log_f))
            out = np.logaddexp(out, log_f + over[..., None])
        self.log_density = out.ravel()
        return out.reshape(shape)

    def _closed(self, mu: Floats, tau: Floats, omega: Floats) -> Floats:
        """Log likelihood of the rows that need no integral (M, T, O)."""
        at = [m.ravel() for m in np.meshgrid(mu, tau, omega, indexing="ij")]
        out = np.zeros(len(at[0]))
        for part in _parts(len(out), _CHUNK // self.layout.k):
            size = (len(out[part]), self.layout.k)
            mean, tau2 = (np.broadcast_to(a[part, None], size) for a in (at[0], at[1] ** 2))
            for _, value in closed_terms(self.layout, mean, tau2, at[2][part, None] ** 2, _OPS):
                out[part] += value.sum(axis=-1)
        return out.reshape(len(mu), len(tau), len(omega))

    def _with_blocks(
        self,
        x: tuple[Floats, Floats, Floats],
        base: Floats,
        log_reported: list[Floats],
        prior: list[Floats],
    ) -> Floats:
        """`base` with the blocks of bounds: by tables, and where those are too coarse (small
        values) and the node may matter, by the integral.
        """
        block = self.layout.bound_blocks
        assert block is not None
        value, scale = grid_blocks(self.layout, *x)
        weak = value.min(axis=0) < LEAST
        # At weak nodes an upper limit, elsewhere the log density itself.
        out = base + scale
        for one in value:
            out = out + np.log(np.maximum(one, LEAST))
        if not weak.any():
            return out
        keep = np.zeros(weak.shape, dtype=bool)
        for chosen in log_reported:
            log_f = out - chosen
            best = np.max(_scaled(prior, np.where(weak, -np.inf, log_f)), axis=0)
            keep |= log_f + best[..., None] > -_NEGLIGIBLE
        out[weak & ~keep] = -np.inf
        index = np.nonzero(weak & keep)
        for part in _parts(len(index[0]), _CHUNK // (32 * self.layout.k)):
            at = tuple(i[part] for i in index)
            mu, tau, omega = (a[i][:, None] for a, i in zip(x, at, strict=True))
            size = (len(mu), self.layout.k)
            mean, spread = np.broadcast_to(mu, size), np.broadcast_to(tau, size)
            exact = bound_blocks(self.layout, block, mean, spread, omega)
            out[at] = base[at] + exact.sum(axis=-1)
        return out

    def _log_reported(self, w: tuple[float, ...]) -> Floats:
        """log of the relative probability (M, T, O) that all reports were made, w one a group."""
        chance = np.ones(self.null.shape[:-1])
        for report, group in enumerate(self.reports.group):
            chance *= reported(self.null[..., report], w[group])
        return np.asarray(np.log(chance))


def _over(of_mu: Floats, of_tau: Floats) -> Floats:
    """Sum of a function of mu and one of tau (M, T)."""
    return np.asarray(of_mu[:, None] + of_tau[None, :])


def _scaled(prior: list[Floats], log_f: Floats) -> list[Floats]:
    """Each log prior (M, T) less the maximum of its log posterior; as it is where that is 0."""
    best = log_f.max(axis=2)
    tops = [float((best + p).max()) for p in prior]
    return [p - (top if np.isfinite(top) else 0.0) for p, top in zip(prior, tops, strict=True)]


def _knots(values: Floats, n: int) -> Floats:
    """Points over the inner three quarters of a range of nodes; beyond, tails overlap enough."""
    if len(values) == 1:
        return values
    at = np.linspace(0.12, 0.88, n) * (len(values) - 1)
    return np.asarray(values[at.round().astype(int)])


def _parts(n: int, step: int) -> list[slice]:
    step = max(1, step)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
