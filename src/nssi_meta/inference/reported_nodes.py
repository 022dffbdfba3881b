"""The density for which the nodes of a cell with selective reporting are laid.

It is the sum of the cell's posteriors at knots of what cells share (`reported`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.block_grid import BlockGrid, null_probability
from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.priors import Prior, parse_prior
from nssi_meta.models.reporting import Reports, reported

Floats = NDArray[np.float64]

#: Nodes whose density is e^-_NEGLIGIBLE of the best at every knot are not evaluated.
_NEGLIGIBLE = 25.0
_CHUNK = 1_000_000
#: Number of knots for which the nodes are laid: of w, and of spread and heterogeneity.
_KNOTS_W, _KNOTS = 4, 3
#: Shared nodes with less of their posterior, relative to the best, are left out of mixtures.
_EMPTY = 1e-11


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


def mu_prior(sd: float) -> Prior:
    """The prior of a cell's mean, given the spread of means on its scale."""
    return parse_prior(f"normal(0,{sd:.17g})", "mu")


def tau_prior(scale: float) -> Prior:
    """The prior of a cell's tau, given its scale."""
    return parse_prior(f"halfnormal({scale:.17g})", "tau")


class Reference:
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
            (mu_prior(s * unit), tau_prior(t * unit))
            for s, t in product(_knots(shared.spread, _KNOTS), _knots(shared.tau, _KNOTS))
        ]
        self.blocks, self.null_blocks = (
            BlockGrid(data) if data.bound_blocks is not None else None
            for data in (layout, reports.null)
        )
        self.base = self.log_density = np.zeros(0)
        self.null = np.zeros((0, 0, 0, 0))

    def __call__(self, *x: Floats) -> Floats:
        shape = tuple(len(v) for v in x)
        mu, tau = x[0], x[1]
        omega = x[2] if len(x) > 2 else np.zeros(1)
        # All are (M, T, O), O = 1 where there is no omega.
        self.null = null_probability(self.reports.null, mu, tau, omega, self.null_blocks)
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
            for _, value in closed_terms(self.layout, mean, tau2, at[2][part, None] ** 2):
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
        assert self.blocks is not None
        # At weak nodes an upper limit, elsewhere the log density itself.
        value, weak = self.blocks.log_terms(*x)
        out = base + value
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
