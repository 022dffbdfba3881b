"""The exact engine: the posterior of one pool by quadrature, bounds included.

Where every row is an exact effect, mu is integrated in closed form (normal or flat prior) and
quadrature runs over tau (and omega) alone, as in bayesmeta (Röver 2020, J Stat Softw 93(6)).
Otherwise mu is one more axis. Both ways return the same `ExactPosterior`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid, integrate
from nssi_meta.inference.axes import heavy_mu_axis, heavy_sd_axis, mu_axis, sd_axis, tau_scale
from nssi_meta.inference.conditions import Tails, bound_priors, limiting, naming_variances, tails
from nssi_meta.inference.densities import Density, NormalMixture, PanelDensity
from nssi_meta.inference.gaussian import GaussTerms, gauss_terms, order_of
from nssi_meta.inference.node_draws import drawn_nodes, within_cells
from nssi_meta.inference.on_grid import OnGrid
from nssi_meta.inference.panels import LIGHT_FALL, tail_rule
from nssi_meta.inference.point_mass import PointMass
from nssi_meta.inference.prediction import Predictive
from nssi_meta.models.blocks import Layout
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.priors import Prior, PriorError, check_propriety

Floats = NDArray[np.float64]

#: Coarser first panels for three axes, by number of edges.
_COARSE = {9: [0, 2, 3, 5, 6, 8], 7: [0, 2, 3, 4, 6]}
#: Order and tolerance of three axes: 3e-6 of a posterior SD in a quantile at most (seen).
_THREE = (10, 1e-4)
#: Values held at once where mu is integrated in closed form: about a processor's cache.
_CACHE = 100_000


@dataclass(frozen=True)
class ExactPosterior:
    """Posterior of (mu, tau[, omega]) of one pool.

    `mu_mean`, `mu_sd`, `tau`, `omega`, `weight` (n,) are the joint posterior as a mixture: given
    node i, mu ~ N(mu_mean, mu_sd^2) (mu_sd is 0 where mu itself is a node). `log_evidence` is None
    when a prior is improper. `error` is the quadrature's estimate of its relative error.
    In the fixed-effect model (tau prior `zero`) tau is a `PointMass` at 0.
    """

    mu: Density
    tau_density: PanelDensity | PointMass
    omega_density: PanelDensity | None
    predict: Callable[[], Density]
    mu_mean: Floats
    mu_sd: Floats
    tau: Floats
    omega: Floats
    weight: Floats
    log_evidence: float | None
    error: float

    def __repr__(self) -> str:
        mu, tau = self.mu, self.tau_density
        return f"ExactPosterior(mu median {mu.quantile(0.5):.4g}, tau {tau.quantile(0.5):.4g})"

    def draws(self, n: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
        """n joint draws of mu, tau, omega, from the continuous posterior.

        A node is drawn, and within its cell every axis by that axis' own distribution function, so
        that each margin is that of its density; mu comes from its conditional normal where that
        is known.
        """
        rng = np.random.default_rng(seed)
        index = self.drawn_nodes(n, rng)
        z = rng.standard_normal(n)
        tau, omega = (
            within_cells(values, self.weight, density, index, rng)
            for values, density in (
                (self.tau, self.tau_density),
                (self.omega, self.omega_density),
            )
        )
        mu = within_cells(self.mu_mean, self.weight, self.mu, index, rng)
        return mu + self.mu_sd[index] * z, tau, omega

    def drawn_nodes(self, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Numbers (n,) of nodes, drawn by weight: systematic resampling (low variance)."""
        return drawn_nodes(self.weight, n, rng)

    @cached_property
    def prediction(self) -> Density:
        """The effect in a new setting, computed when it is asked for."""
        return self.predict()

    @cached_property
    def p_positive(self) -> float:
        return float(1.0 - self.mu.cdf(0.0))


def has_omega(study: NDArray[np.object_]) -> bool:
    """Within-study heterogeneity is in the model where some study gives several effects."""
    return len(set(study.tolist())) < len(study)


def fit_exact(
    layout: Layout,
    *,
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None = None,
    n_studies: int | None = None,
) -> ExactPosterior:
    """Posterior of one pool by quadrature.

    `omega_prior` None leaves the within-study component out; the tau prior `zero` is the
    fixed-effect model. `n_studies` is the number of studies with an effect size, if it is not that
    of the layout's independent blocks. Raises
    `PriorError` for an improper posterior, ValueError for rows that are no evidence, and
    FloatingPointError when quadrature does not resolve it.
    """
    check_rows(layout)
    exact = np.isfinite(layout.y)
    if n_studies is None:
        n_studies = len(set(layout.block_of_row[exact].tolist()))
    check_propriety(mu_prior, tau_prior, int(exact.sum()), n_studies)
    of_tau, of_omega = bound_priors(layout, tau_prior, omega_prior)
    free = (of_tau is not None, of_omega is not None)
    priors = [p for p in (of_tau, of_omega) if p is not None]
    proper = all(p.proper for p in (mu_prior, *priors))
    fall = tails(layout, mu_prior, of_tau, of_omega)
    scale = tau_scale(layout)
    studies, rows = limiting(layout)
    hyper = [
        heavy_sd_axis(p, layout, scale, power, own - 1)
        for p, power, own in ((of_tau, fall.tau, studies), (of_omega, fall.omega, rows))
        if p is not None
    ]

    if conjugate_mu(layout, mu_prior):
        known = closed_prior(mu_prior)

        def closed_form(*sds: Floats) -> Floats:
            tau, omega = _tensor(sds, free)
            log_p, _, _ = _integrated(layout, tau, omega, known)
            return log_p + _log_prior(tau, omega, of_tau, of_omega)

        if not hyper:
            log_p, m, v = _marginal(gauss_terms(layout, np.zeros(1), np.zeros(1)), *known)
            return _fixed_effect(m, np.sqrt(v), float(log_p[0]) if proper else None)
        # On two axes 1e-7 leaves 1e-12 in a quantile: integrals are of twice the order.
        tol = 1e-9 if len(hyper) == 1 else 1e-7
        grid = integrate(closed_form, [a for a, _ in hyper], [e for _, e in hyper], tol=tol)
        tau, omega = _tensor(grid.x, free)
        _, m, v = _integrated(layout, tau, omega, known)
        return assemble(grid, m, np.sqrt(v), tau, omega, free, proper, fall)

    axes = [heavy_mu_axis(layout, mu_prior, priors, scale, fall), *hyper]
    start, n, tol = coarse([e for _, e in axes], _THREE)
    heavy = [axis for axis, _ in axes]
    log_density = OnGrid(layout)

    def on_grid(mu: Floats, *sds: Floats) -> Floats:
        tau, omega = _tensor(sds, free)
        lead = (-1, *([1] * len(sds)))
        prior = (_log_prior(tau, omega, of_tau, of_omega) if sds else 0.0) + mu_prior.logpdf(
            mu
        ).reshape(lead)
        log_step = _log_step(of_tau, tau) + _log_step(of_omega, omega)
        # Where a tail makes a moment, a node counts as much as it adds to that.
        for d, (axis, x) in enumerate(zip(heavy, (mu, *sds), strict=True)):
            if axis.moment:
                shape = [-1 if e == d else 1 for e in range(1 + len(sds))]
                far = np.maximum(axis.towards(x) / scale**axis.moment, 1.0)
                log_step = log_step + np.log(far).reshape(shape)
        return log_density(mu.reshape(lead), tau, omega, prior, log_step)

    with naming_variances(layout, mu_prior):
        grid = integrate(on_grid, [a for a, _ in axes], start, n=n, tol=tol)
    tau, omega = _tensor(grid.x[1:], free)
    mu = grid.x[0].reshape(-1, *([1] * (grid.weight.ndim - 1)))
    return assemble(grid, mu, np.zeros(1), tau, omega, free, proper, fall, grid.marginal(0))


def _fixed_effect(m: Floats, sd: Floats, log_evidence: float | None) -> ExactPosterior:
    """tau = omega = 0: mu is normal, and so is the effect in a new setting."""
    one, zero = np.ones(1), np.zeros(1)
    mu = NormalMixture.build(m, sd, one)
    return ExactPosterior(
        mu, PointMass(), None, lambda: mu, m, sd, zero, zero, one, log_evidence, 0.0
    )


def log_evidence(
    layout: Layout,
    *,
    mu_prior: Prior | None,
    tau_prior: Prior | None,
    omega_prior: Prior | None = None,
    mu: float = 0.0,
) -> float:
    """Log marginal likelihood; a prior of None pins its parameter: tau and omega to 0, mu to `mu`.

    Log Bayes factors are differences of this value. Raises `PriorError` when a prior is improper:
    there is no evidence then.
    """
    check_rows(layout)
    for prior in (mu_prior, tau_prior, omega_prior):
        if prior is not None and not prior.proper:
            raise PriorError(f"no marginal likelihood exists under the improper prior {prior}")
    tau_prior, omega_prior = bound_priors(layout, tau_prior, omega_prior)
    if mu_prior is not None and tau_prior is not None:
        value = fit_exact(
            layout, mu_prior=mu_prior, tau_prior=tau_prior, omega_prior=omega_prior
        ).log_evidence
        return float("nan") if value is None else value
    scale = tau_scale(layout)
    conjugate = mu_prior is None or conjugate_mu(layout, mu_prior)
    on_axis = mu_prior if mu_prior is not None and not (layout.gaussian and conjugate) else None
    axes = [mu_axis(layout, on_axis, scale)] if on_axis is not None else []
    axes += [sd_axis(p, layout, scale) for p in (tau_prior, omega_prior) if p is not None]

    log_density = OnGrid(layout)

    def density(*x: Floats) -> Floats:
        parts = [v.reshape([-1 if i == d else 1 for i in range(len(x))]) for d, v in enumerate(x)]
        one = np.ones([1] * max(len(x), 1))
        at = parts.pop(0) if on_axis is not None else mu * one
        tau = parts.pop(0) if tau_prior is not None else 0.0 * one
        omega = parts.pop(0) if omega_prior is not None else 0.0 * one
        prior = _log_prior(tau, omega, tau_prior, omega_prior)
        if on_axis is not None:
            prior = prior + on_axis.logpdf(at)
        if layout.gaussian and conjugate:
            known = (mu, 0.0) if mu_prior is None else closed_prior(mu_prior)
            return _integrated(layout, tau, omega, known)[0] + prior
        # With the prior: what counts decides at which nodes the bounds are worth their price.
        prior = prior + np.zeros(np.broadcast_shapes(at.shape, tau.shape, omega.shape))
        log_step = _log_step(tau_prior, tau) + _log_step(omega_prior, omega)
        return log_density(at, tau, omega, prior, log_step)

    if not axes:
        return float(density().ravel()[0])
    # Blocks of bounds are integrals themselves, exact to 1e-8: finer than that nothing is resolved.
    tol = 1e-9 if layout.bound_blocks is None else 1e-7
    with naming_variances(layout, mu_prior):
        return integrate(density, [a for a, _ in axes], [e for _, e in axes], tol=tol).log_integral


def coarse(
    edges: list[Floats], three: tuple[int, float] = (8, 2e-3)
) -> tuple[list[Floats], int, float]:
    """First panels, order and tolerance where mu is an axis; three axes begin coarser.

    The tolerance bounds the densities' own error; integrals, of twice the order, are far better.
    `three` are order and tolerance for three axes: what is asked for leaves up to 1e-4 of a
    posterior SD in a quantile, enough where many pools are compared.
    """
    if len(edges) < 3:
        return edges, 12, 1e-6
    return [e[_COARSE[len(e)]] if len(e) in _COARSE else e for e in edges], *three


def conjugate_mu(layout: Layout, prior: Prior) -> bool:
    """Whether mu is integrated in closed form."""
    return layout.gaussian and prior.name in ("normal", "flat")


def _tensor(sds: tuple[Floats, ...], free: tuple[bool, bool]) -> tuple[Floats, Floats]:
    """tau and omega at the nodes, shaped to broadcast to the tensor of those that are free."""
    zero = np.zeros(1)
    if all(free):
        return sds[0][:, None], sds[1][None, :]
    return (sds[0] if free[0] else zero), (sds[0] if free[1] else zero)


def _log_step(prior: Prior | None, sd: Floats) -> Floats:
    """Log of what a step of the axis is in the parameter, up to a constant."""
    return np.log(sd) if prior is not None and prior.family.log_axis else np.zeros(1)


def _log_prior(
    tau: Floats, omega: Floats, tau_prior: Prior | None, omega_prior: Prior | None
) -> Floats:
    value = np.zeros(1) if tau_prior is None else tau_prior.logpdf(tau)
    return value if omega_prior is None else value + omega_prior.logpdf(omega)


def closed_prior(prior: Prior) -> tuple[float, float]:
    """Prior mean and variance of mu for the closed form (variance inf = flat)."""
    return (0.0, np.inf) if prior.name == "flat" else (prior.params[0], prior.params[1] ** 2)


def _integrated(
    layout: Layout, tau: Floats, omega: Floats, known: tuple[float, float]
) -> tuple[Floats, Floats, Floats]:
    """`_marginal` on the tensor of nodes of `tau` and `omega`, a few nodes at a time."""
    shape = np.broadcast_shapes(tau.shape, omega.shape)
    t, w = tau.reshape(-1, 1), omega.reshape(1, -1)
    order, out = order_of(layout), np.empty((3, t.size, w.size))
    step = min(t.size, max(1, _CACHE // layout.k))
    wide = max(1, _CACHE // (layout.k * step))
    for i in range(0, t.size, step):
        for j in range(0, w.size, wide):
            terms = gauss_terms(layout, t[i : i + step], w[:, j : j + wide], order)
            out[:, i : i + step, j : j + wide] = _marginal(terms, *known)
    log_p, m, v = out.reshape(3, *shape)
    return log_p, m, v


def _marginal(terms: GaussTerms, mean: float, var: float) -> tuple[Floats, Floats, Floats]:
    """log p(y | tau, omega) with mu integrated out, and mean and variance of mu given them."""
    const = -0.5 * (terms.k * np.log(2 * np.pi) + terms.log_det)
    if var == 0.0:
        m = np.full_like(terms.precision, mean)
        return const - 0.5 * terms.quad(m), m, np.zeros_like(m)
    if np.isinf(var):
        m = terms.mean
        shift = 0.5 * (np.log(2 * np.pi) - np.log(terms.precision))
        return const - 0.5 * terms.quad(m) + shift, m, 1 / terms.precision
    total = terms.precision + 1 / var
    m = (terms.precision * terms.mean + mean / var) / total
    quad = terms.quad(m) + (m - mean) ** 2 / var
    return const - 0.5 * (quad + np.log(var * total)), m, 1 / total


def assemble(
    grid: Grid,
    m: Floats,
    sd: Floats,
    tau: Floats,
    omega: Floats,
    free: tuple[bool, bool],
    proper: bool,
    fall: Tails,
    mu_density: PanelDensity | None = None,
) -> ExactPosterior:
    """The posterior from a grid; `m` and `sd` are mean and SD of mu at its nodes.

    `free` tells whether tau and omega are axes, `fall` which moments exist; where mu is an axis,
    `mu_density` is its marginal.
    """
    if not grid.moments:
        # Which tail it was is not known: no moment that one of them makes is told.
        light = np.inf if any(axis.wide for axis in grid.axes) else LIGHT_FALL
        fall = Tails(*(0.0 if power <= light else power for power in astuple(fall)))
    shape = grid.weight.shape
    m, sd, tau, omega = (np.broadcast_to(a, shape) for a in (m, sd, tau, omega))
    first = 0 if mu_density is None else 1
    total = np.sqrt(tau**2 + omega**2)
    if mu_density is None:
        mu: Density = NormalMixture.build(m, sd, grid.weight, fall.of_mu)
        spread = np.sqrt(sd**2 + total**2)
        predict: Callable[[], Density] = partial(
            NormalMixture.build, m, spread, grid.weight, fall.of_new
        )
    else:
        mu = known = replace(mu_density, finite_moments=fall.of_mu)
        if any(free):
            predict = partial(Predictive.build, grid, total, fall.of_new)
        else:
            predict = lambda: known  # noqa: E731
    tau_density: PanelDensity | PointMass = PointMass()
    if free[0]:
        tau_density = replace(grid.marginal(first), finite_moments=fall.of_tau)
    omega_density = None
    if free[1]:
        of_omega = tail_rule(fall.omega)[1]
        omega_density = replace(grid.marginal(first + free[0]), finite_moments=of_omega)
    return ExactPosterior(
        mu=mu,
        tau_density=tau_density,
        omega_density=omega_density,
        predict=predict,
        mu_mean=m.ravel(),
        mu_sd=sd.ravel(),
        tau=tau.ravel(),
        omega=omega.ravel(),
        weight=grid.weight.ravel(),
        log_evidence=grid.log_integral if proper else None,
        error=grid.error,
    )
