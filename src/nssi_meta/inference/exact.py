"""The exact engine: the posterior of one pool by quadrature, bounds included.

Where every row is an exact effect, mu is integrated in closed form (normal or flat prior) and
quadrature runs over tau (and omega) alone, as in bayesmeta (Röver 2020, J Stat Softw 93(6)).
Otherwise mu is one more axis. Both ways return the same `ExactPosterior`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid, integrate
from nssi_meta.inference.densities import (
    Axis,
    Density,
    NormalMixture,
    PanelDensity,
    half_line,
    real_line,
)
from nssi_meta.inference.gaussian import GaussTerms, gauss_terms
from nssi_meta.inference.prediction import predictive_mixture
from nssi_meta.models.blocks import Layout
from nssi_meta.models.bound_blocks import bound_blocks
from nssi_meta.models.likelihood import closed_terms
from nssi_meta.models.ops import numpy_ops
from nssi_meta.models.priors import Prior, PriorError, check_propriety

Floats = NDArray[np.float64]

_TAU_START = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
_MU_START = np.array([-1.0, -0.8, -0.5, -0.25, 0.0, 0.25, 0.5, 0.8, 1.0])
#: Coarser first panels for three axes, by number of edges.
_COARSE = {9: [0, 2, 3, 5, 6, 8], 7: [0, 2, 3, 4, 6]}
_OPS = numpy_ops()
#: Values held at once while the likelihood is evaluated on the grid (memory, not accuracy).
_CHUNK = 2_000_000


@dataclass(frozen=True)
class ExactPosterior:
    """Posterior of (mu, tau[, omega]) of one pool.

    `mu_mean`, `mu_sd`, `tau`, `omega`, `weight` (n,) are the joint posterior as a mixture: given
    node i, mu ~ N(mu_mean, mu_sd^2) (mu_sd is 0 where mu itself is a node). `log_evidence` is
    None when a prior is improper. `error` is the quadrature's estimate of its relative error.
    """

    mu: Density
    tau_density: PanelDensity
    omega_density: PanelDensity | None
    prediction: NormalMixture
    mu_mean: Floats
    mu_sd: Floats
    tau: Floats
    omega: Floats
    weight: Floats
    log_evidence: float | None
    error: float

    def draws(self, n: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
        """n joint draws of mu, tau, omega: systematic resampling of the nodes (low variance).

        Within a node's cell the value is the node's own; mu is drawn from its conditional normal
        where that is known.
        """
        rng = np.random.default_rng(seed)
        cumulative = np.cumsum(self.weight)
        u = (np.arange(n) + rng.random(n)) / n
        index = np.searchsorted(cumulative / cumulative[-1], u)
        index = rng.permutation(np.minimum(index, len(cumulative) - 1))
        mu = self.mu_mean[index] + self.mu_sd[index] * rng.standard_normal(n)
        return mu, self.tau[index], self.omega[index]

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

    `omega_prior` None leaves the within-study component out. Raises `PriorError` for an improper
    posterior and FloatingPointError when quadrature does not resolve it.
    """
    n_exact = int(np.isfinite(layout.y).sum())
    check_propriety(mu_prior, tau_prior, n_exact, n_studies or layout.k)
    priors = (mu_prior, tau_prior, omega_prior)
    proper = all(p.proper for p in priors if p is not None)
    moments = _finite_moments(layout, mu_prior, tau_prior)
    scale = _tau_scale(layout)
    hyper = [_sd_axis(tau_prior, scale)]
    if omega_prior is not None:
        hyper.append(_sd_axis(omega_prior, scale))

    if _conjugate_mu(layout, mu_prior):
        known = _conjugate(mu_prior)

        def closed_form(*sds: Floats) -> Floats:
            tau, omega = _tensor(sds)
            log_p, _, _ = _marginal(gauss_terms(layout, tau, omega), *known)
            return log_p + _log_prior(tau, omega, tau_prior, omega_prior)

        grid = integrate(closed_form, [a for a, _ in hyper], [e for _, e in hyper])
        tau, omega = _tensor(grid.x)
        _, m, v = _marginal(gauss_terms(layout, tau, omega), *known)
        return _assemble(grid, m, np.sqrt(v), tau, omega, proper, moments, None)

    axes = [_mu_axis(layout, mu_prior, scale), *hyper]

    def on_grid(mu: Floats, *sds: Floats) -> Floats:
        tau, omega = _tensor(sds)
        prior = _log_prior(tau, omega, tau_prior, omega_prior)
        lead = (-1, *([1] * prior.ndim))
        at = mu.reshape(lead)
        return _on_grid(layout, at, tau, omega, prior + mu_prior.logpdf(mu).reshape(lead))

    # The tolerance bounds the densities' own error; integrals, of twice the order, are far better.
    n, tol = (12, 1e-6) if len(axes) < 3 else (6, 0.02)
    start = [e if len(axes) < 3 or len(e) not in _COARSE else e[_COARSE[len(e)]] for _, e in axes]
    grid = integrate(on_grid, [a for a, _ in axes], start, n=n, tol=tol)
    tau, omega = _tensor(grid.x[1:])
    mu = grid.x[0].reshape(-1, *([1] * (grid.weight.ndim - 1)))
    return _assemble(grid, mu, np.zeros(1), tau, omega, proper, moments, grid.marginal(0))


def log_evidence(
    layout: Layout,
    *,
    mu_prior: Prior | None,
    tau_prior: Prior | None,
    omega_prior: Prior | None = None,
) -> float:
    """Log marginal likelihood; a prior of None pins its parameter to 0.

    Bayes factors for mu = 0 and tau = 0 are differences of this value. Raises `PriorError` when a
    prior is improper: there is no evidence then.
    """
    for prior in (mu_prior, tau_prior, omega_prior):
        if prior is not None and not prior.proper:
            raise PriorError(f"no marginal likelihood exists under the improper prior {prior}")
    if mu_prior is not None and tau_prior is not None:
        value = fit_exact(
            layout, mu_prior=mu_prior, tau_prior=tau_prior, omega_prior=omega_prior
        ).log_evidence
        return float("nan") if value is None else value
    scale = _tau_scale(layout)
    conjugate = mu_prior is None or _conjugate_mu(layout, mu_prior)
    mu_axis = mu_prior is not None and not (layout.gaussian and conjugate)
    axes = [_mu_axis(layout, mu_prior, scale)] if mu_axis and mu_prior is not None else []
    axes += [_sd_axis(p, scale) for p in (tau_prior, omega_prior) if p is not None]

    def density(*x: Floats) -> Floats:
        parts = [v.reshape([-1 if i == d else 1 for i in range(len(x))]) for d, v in enumerate(x)]
        zero = np.zeros([1] * max(len(x), 1))
        mu = parts.pop(0) if mu_axis else zero
        tau = parts.pop(0) if tau_prior is not None else zero
        omega = parts.pop(0) if omega_prior is not None else zero
        if layout.gaussian and conjugate:
            known = (0.0, 0.0) if mu_prior is None else _conjugate(mu_prior)
            value = _marginal(gauss_terms(layout, tau, omega), *known)[0]
        else:
            shape = np.broadcast_shapes(mu.shape, tau.shape, omega.shape)
            value = _on_grid(layout, mu, tau, omega, np.zeros(shape))
        for prior, at in ((tau_prior, tau), (omega_prior, omega)):
            value = value + (prior.logpdf(at) if prior is not None else 0.0)
        return value + (mu_prior.logpdf(mu) if mu_axis and mu_prior is not None else 0.0)

    if not axes:
        return float(density()[0])
    return integrate(density, [a for a, _ in axes], [e for _, e in axes]).log_integral


def _finite_moments(layout: Layout, mu_prior: Prior, tau_prior: Prior) -> int:
    """How many of mean and SD of tau exist, from the tail of its posterior density.

    For tau -> inf the likelihood falls as 1/tau for each study with a size or a closed interval
    (one study less under a flat mu), the prior by its own power.
    """
    power = {
        "halfcauchy": 2.0,
        "flat": 0.0,
        "halft": tau_prior.params[0] + 1 if tau_prior.params else 0,
        "invgamma": tau_prior.params[0] + 1 if tau_prior.params else 0,
    }
    tail = power.get(tau_prior.name, np.inf)
    if tau_prior.name == "uniform":
        tail = np.inf if tau_prior.proper else 0.0
    closed = np.isfinite(layout.y) | (np.isfinite(layout.lower) & np.isfinite(layout.upper))
    tail += len(set(layout.block_of_row[closed].tolist())) - (not mu_prior.proper)
    return int(tail > 2) + int(tail > 3)


def _conjugate_mu(layout: Layout, prior: Prior) -> bool:
    return layout.gaussian and prior.name in ("normal", "flat")


def _sd_axis(prior: Prior, scale: float) -> tuple[Axis, Floats]:
    """Axis of a standard deviation and its first panels; edges of the prior's support are edges."""
    axis = half_line(scale)
    start = _TAU_START
    if prior.name == "uniform":
        ends = [axis.to_u(np.asarray(p)) for p in prior.params if np.isfinite(p)]
        start = np.unique([*start, *(float(u) for u in ends)])
    return axis, start


def _tensor(sds: tuple[Floats, ...]) -> tuple[Floats, Floats]:
    """tau and omega at the nodes, shaped to broadcast to the tensor of the hyperparameters."""
    if len(sds) == 1:
        return sds[0], np.zeros(1)
    return sds[0][:, None], sds[1][None, :]


def _log_prior(tau: Floats, omega: Floats, tau_prior: Prior, omega_prior: Prior | None) -> Floats:
    value = tau_prior.logpdf(tau)
    return value if omega_prior is None else value + omega_prior.logpdf(omega)


def _on_grid(layout: Layout, mu: Floats, tau: Floats, omega: Floats, prior: Floats) -> Floats:
    """Log joint density on the tensor of nodes (the shape of `prior`).

    Blocks of bounds are integrals and dear. Their log probability is at most 0, so nodes that
    the rest already puts e^-25 below the best node found so far are left without them.
    """
    shape = prior.shape
    mu, tau, omega = (np.broadcast_to(a, shape).ravel() for a in (mu, tau, omega))
    out = prior.ravel().copy()

    def rows(part: Any) -> tuple[Floats, Floats, Floats]:
        size = (len(mu[part]), layout.k)
        mean, spread = (np.broadcast_to(a[part][:, None], size) for a in (mu, tau))
        return mean, spread, omega[part][:, None]

    step = max(1, _CHUNK // layout.k)
    for i in range(0, out.size, step):
        part = slice(i, i + step)
        mean, spread, w = rows(part)
        for _, value in closed_terms(layout, mean, spread**2, w**2, _OPS):
            out[part] += value.sum(axis=-1)
    block = layout.bound_blocks
    if block is None:
        return out.reshape(shape)
    live = np.arange(out.size)
    if block.exact.size == 0:
        best = [int(np.argmax(out))]
        at_best = bound_blocks(layout, block, *rows(best)).sum()
        live = np.flatnonzero(out > out[best] + at_best - 25.0)
    step = max(1, _CHUNK // (32 * block.bounds.size))
    for i in range(0, live.size, step):
        some = live[i : i + step]
        out[some] += bound_blocks(layout, block, *rows(some)).sum(axis=-1)
    return out.reshape(shape)


def _tau_scale(layout: Layout) -> float:
    """A length for the tau axis: the typical standard error, or the spread if that is larger."""
    y = layout.y[np.isfinite(layout.y)]
    spread = float(np.std(y)) if len(y) > 1 else 0.0
    return max(spread, float(np.sqrt(np.median(layout.v))))


def _mu_axis(layout: Layout, prior: Prior, tau_scale: float) -> tuple[Axis, Floats]:
    """Axis of mu and its first panels, from the exact effects and the bounds' finite ends.

    A size without sign has a mode on either side of 0: both are panel edges, so that neither can
    be missed.
    """
    ends = np.concatenate([layout.y, layout.lower, layout.upper])
    ends = ends[np.isfinite(ends)]
    unsigned = _unsigned_sizes(layout)
    if unsigned.size:
        ends = np.concatenate([ends, -ends])
    spread = max(float(np.std(ends)), tau_scale)
    if prior.name == "normal":
        spread = min(spread, max(prior.params[1], tau_scale))
    axis = real_line(float(np.median(ends)), spread)
    if not unsigned.size:
        return axis, _MU_START
    modes = np.unique(unsigned)[:: max(1, len(unsigned) // 8)]
    return axis, np.unique([*_MU_START, *axis.to_u(np.concatenate([-modes, modes]))])


def _unsigned_sizes(layout: Layout) -> Floats:
    """Sizes of the rows whose sign is unknown, wherever they stand."""
    index = [layout.single_unsigned]
    for block, rows in (
        (layout.exact_blocks, None if layout.exact_blocks is None else layout.exact_blocks.rows),
        (layout.bound_blocks, None if layout.bound_blocks is None else layout.bound_blocks.exact),
    ):
        if block is not None and rows is not None and rows.size:
            index.append(rows[(block.signs < 0).any(axis=1)])
    return np.abs(layout.y[np.concatenate(index)])


def _conjugate(prior: Prior) -> tuple[float, float]:
    """Prior mean and variance of mu for the closed form (variance inf = flat)."""
    return (0.0, np.inf) if prior.name == "flat" else (prior.params[0], prior.params[1] ** 2)


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


def _assemble(
    grid: Grid,
    m: Floats,
    sd: Floats,
    tau: Floats,
    omega: Floats,
    proper: bool,
    finite_moments: int,
    mu_density: PanelDensity | None,
) -> ExactPosterior:
    shape = grid.weight.shape
    m, sd, tau, omega = (np.broadcast_to(a, shape) for a in (m, sd, tau, omega))
    tau_axis = 0 if mu_density is None else 1
    total = np.sqrt(tau**2 + omega**2)
    if mu_density is None:
        mu: Density = NormalMixture.build(m, sd, grid.weight)
        prediction = NormalMixture.build(m, np.sqrt(sd**2 + total**2), grid.weight)
    else:
        mu = mu_density
        prediction = predictive_mixture(grid, total)
    return ExactPosterior(
        mu=mu,
        tau_density=replace(grid.marginal(tau_axis), finite_moments=finite_moments),
        omega_density=grid.marginal(tau_axis + 1) if len(shape) > tau_axis + 1 else None,
        prediction=prediction,
        mu_mean=m.ravel(),
        mu_sd=sd.ravel(),
        tau=tau.ravel(),
        omega=omega.ravel(),
        weight=grid.weight.ravel(),
        log_evidence=grid.log_integral if proper else None,
        error=grid.error,
    )
