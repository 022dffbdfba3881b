"""The mean of one pool under many priors at once: the rows are looked at on one grid for all.

The grid is laid for the sum of the posteriors, each divided by its evidence, so that it resolves
all of them; priors of mu and tau being independent, each posterior's marginal in mu is then a
matrix product on the same nodes. Numbers agree with `fit_exact` within the tolerance of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import integrate, node_weights
from nssi_meta.inference.axes import mu_axis, sd_axis, tau_scale
from nssi_meta.inference.conditions import bound_priors
from nssi_meta.inference.densities import Axis, Density, PanelDensity, gauss_legendre
from nssi_meta.inference.exact import coarse, conjugate_mu, fit_exact
from nssi_meta.inference.on_grid import OnGrid
from nssi_meta.models.blocks import Layout
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.priors import Prior, PriorError, check_propriety

Floats = NDArray[np.float64]
Bound = tuple[Prior, Prior | None]

#: A posterior with less of the grid's mass than this share of an equal part is computed alone.
_LEAST_SHARE = 0.01


def fit_priors(
    layout: Layout,
    pairs: Sequence[tuple[Prior, Prior]],
    omega_prior: Prior | None = None,
    n_studies: int | None = None,
) -> list[Density | Exception]:
    """The posterior of mu for each pair of priors of mu and tau, or why there is none.

    Arguments as of `fit_exact`; what that would raise for a pair stands in its place.
    """
    check_rows(layout)
    exact = np.isfinite(layout.y)
    if n_studies is None:
        n_studies = len(set(layout.block_of_row[exact].tolist()))
    out: list[Density | Exception | None] = [None] * len(pairs)
    groups: dict[tuple[bool, bool], list[tuple[int, Bound]]] = {}
    for i, (mu, tau) in enumerate(pairs):
        try:
            check_propriety(mu, tau, int(exact.sum()), n_studies)
            of_tau, of_omega = bound_priors(layout, tau, omega_prior)
        except PriorError as error:
            out[i] = error
            continue
        if not conjugate_mu(layout, mu):
            kind = of_tau is None, of_tau is not None and of_tau.family.log_axis
            groups.setdefault(kind, []).append((i, (mu, of_tau)))
    for members in groups.values():
        if len(members) == 1:
            continue
        try:
            found = _on_one_grid(layout, [pair for _, pair in members], of_omega)
        except FloatingPointError:  # one of them may be the cause: each alone
            continue
        for (i, _), density in zip(members, found, strict=True):
            out[i] = density
    for i, (mu, tau) in enumerate(pairs):
        if out[i] is None:
            try:
                out[i] = fit_exact(
                    layout,
                    mu_prior=mu,
                    tau_prior=tau,
                    omega_prior=omega_prior,
                    n_studies=n_studies,
                ).mu
            except (PriorError, FloatingPointError) as error:
                out[i] = error
    return [one for one in out if one is not None]


def _on_one_grid(
    layout: Layout, pairs: Sequence[Bound], omega_prior: Prior | None
) -> list[Density | None]:
    """Posteriors of mu under priors whose axes are of one kind; None where one has no share."""
    scale = tau_scale(layout)
    axes, start = _axes(layout, pairs, omega_prior, scale)
    start, n, tol = coarse(start)
    mix = _Mixture(layout, pairs, omega_prior, axes, start, n)
    grid = integrate(mix.log_density, axes, start, n=n, tol=tol)
    mass = mix.by_pair(grid.x, grid.weight)
    _, w = gauss_legendre(n)
    half = np.diff(grid.edges[0])[:, None] / 2
    share = mass.sum(axis=1)
    return [
        PanelDensity(axes[0], grid.edges[0], (m / s).reshape(-1, n) / (half * w))
        if s > _LEAST_SHARE / len(pairs)
        else None
        for m, s in zip(mass, share.tolist(), strict=True)
    ]


def _axes(
    layout: Layout, pairs: Sequence[Bound], omega_prior: Prior | None, scale: float
) -> tuple[list[Axis], list[Floats]]:
    """The axes of mu, tau and omega, as far as they are there, and first panels for all priors."""
    of_mu = [mu_axis(layout, mu, scale) for mu in dict.fromkeys(mu for mu, _ in pairs)]
    widest = max(of_mu, key=lambda one: float(np.ptp(one[0].to_x(np.array([-0.5, 0.5])))))
    found = [widest]
    of_tau = [sd_axis(tau, layout, scale) for _, tau in pairs if tau is not None]
    if of_tau:
        found.append(_in_common(of_tau))
    if omega_prior is not None:
        found.append(sd_axis(omega_prior, layout, scale))
    return [axis for axis, _ in found], [edges for _, edges in found]


def _in_common(axes: Sequence[tuple[Axis, Floats]]) -> tuple[Axis, Floats]:
    """The axis of the greatest length, and the first panels of all."""
    widest = max((axis for axis, _ in axes), key=lambda axis: float(axis.to_x(np.array(0.5))))
    same = float(widest.to_x(np.array(0.5)))
    edges = [
        e if float(axis.to_x(np.array(0.5))) == same else widest.to_u(axis.to_x(e[1:-1]))
        for axis, e in axes
    ]
    every = np.unique(np.concatenate(edges))
    return widest, every[np.diff(every, prepend=-np.inf) > 1e-12 * np.abs(every)]


class _Mixture:
    """The sum of posteriors, each divided by its evidence as far as the first nodes tell it."""

    def __init__(
        self,
        layout: Layout,
        pairs: Sequence[Bound],
        omega_prior: Prior | None,
        axes: Sequence[Axis],
        start: Sequence[Floats],
        n: int,
    ) -> None:
        self.omega_prior = omega_prior
        self.of_mu = list(dict.fromkeys(mu for mu, _ in pairs))
        self.of_tau = list(dict.fromkeys(tau for _, tau in pairs))
        self.a = np.array([self.of_mu.index(mu) for mu, _ in pairs])
        self.b = np.array([self.of_tau.index(tau) for _, tau in pairs])
        self.on_grid = OnGrid(layout)
        self.log_axis = any(tau is not None and tau.family.log_axis for tau in self.of_tau)
        #: One over the evidence of each pair of priors; 0 for pairs that are not asked for.
        self.scale = np.zeros((len(self.of_mu), len(self.of_tau)))
        self.scale[self.a, self.b] = 1.0
        weights = [node_weights(axis, edges, n) for axis, edges in zip(axes, start, strict=True)]
        self.first: list[Floats] | None = weights

    def log_density(self, *x: Floats) -> Floats:
        """Log of the sum at the tensor of nodes; the first call settles the evidences."""
        mu, tau, omega = self._three(x)
        log_mix = self._log_mix(mu, tau)
        prior = log_mix[:, :, None]
        if self.omega_prior is not None:
            prior = prior + self.omega_prior.logpdf(omega)
        step = np.log(tau)[:, None] if self.log_axis else np.zeros((1, 1))
        value = self.on_grid(mu[:, None, None], tau[:, None], omega, prior, step)
        if self.first is not None:
            value = self._scaled(mu, tau, value, log_mix)
            self.on_grid.best = float((value + step).max())
        return value.reshape([v.size for v in x])

    def _scaled(self, mu: Floats, tau: Floats, value: Floats, log_mix: Floats) -> Floats:
        """Settle the evidences from the first nodes; `value` (M, T, O) on the scale they give."""
        assert self.first is not None
        some = np.isfinite(log_mix)  # where not, no prior is
        log_f = value - np.where(some, log_mix, 0.0)[:, :, None]
        w = np.ones(1)
        for one in self.first:
            w = np.multiply.outer(w, one)
        of_rows = (np.exp(log_f - log_f.max()) * w.reshape(log_f.shape)).sum(axis=2)
        evidence = self._density(self.of_mu, mu) @ of_rows @ self._density(self.of_tau, tau).T
        self.scale = np.where(self.scale > 0, 1.0 / np.maximum(evidence, 1e-300), 0.0)
        self.first = None
        shift = np.where(some, self._log_mix(mu, tau), 0.0) - np.where(some, log_mix, 0.0)
        return np.asarray(value + shift[:, :, None])

    def by_pair(self, x: tuple[Floats, ...], weight: Floats) -> Floats:
        """Mass (K, M) of the nodes of mu under each pair of priors, out of that of the sum."""
        mu, tau, _ = self._three(x)
        of_rows = weight.reshape(mu.size, tau.size, -1).sum(axis=2)
        mix = np.exp(self._log_mix(mu, tau))
        of_rows = np.divide(of_rows, mix, out=np.zeros_like(of_rows), where=mix > 0)
        over_tau = of_rows @ self._density(self.of_tau, tau).T
        mass = self._density(self.of_mu, mu)[self.a] * over_tau.T[self.b]
        return np.asarray(mass * self.scale[self.a, self.b][:, None])

    def _three(self, x: tuple[Floats, ...]) -> tuple[Floats, Floats, Floats]:
        rest = list(x[1:])
        tau = rest.pop(0) if self.of_tau[0] is not None else np.zeros(1)
        return x[0], tau, rest.pop(0) if rest else np.zeros(1)

    def _log_mix(self, mu: Floats, tau: Floats) -> Floats:
        """Log of the sum of the priors (M, T), each times its scale."""
        total = self._density(self.of_mu, mu).T @ self.scale @ self._density(self.of_tau, tau)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(total))

    def _density(self, priors: Sequence[Prior | None], x: Floats) -> Floats:
        """Density of each prior (P, n)."""
        return np.array([np.ones(x.size) if p is None else np.exp(p.logpdf(x)) for p in priors])
