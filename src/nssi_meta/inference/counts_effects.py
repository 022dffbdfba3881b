"""True log odds ratios of single tables, given all tables of their pool: densities and draws.

Given mu and tau theta_i has the density L_i(theta) N(theta; mu, tau^2) / M_i(mu, tau), where L_i is
the table's likelihood and M_i its integral (`curves`). The mixture over the posterior of mu and tau
is that of rows with bounds (`alone`); draws are exact, by rejection.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.alone import Nodes, Row
from nssi_meta.inference.counts import limits
from nssi_meta.inference.curves import Curve, study_curves
from nssi_meta.inference.densities import Density
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.log_concave import log_concave_draws, log_concave_modes
from nssi_meta.models.priors import Prior
from nssi_meta.models.two_by_two import Counts

Floats = NDArray[np.float64]

#: More pairs of mu and a small tau than these are interpolated in mu.
_MANY = 4000


@dataclass(frozen=True)
class Table(Row):
    """What a table says of its log odds ratio: a `Row` whose likelihood is a curve.

    `kind` is interval, with an open end, where the likelihood stays up on that side.
    """

    curve: Curve
    known: dict[float, Floats] = field(default_factory=dict)

    def log_density(self, mean: Floats, more: Floats | float = 0.0) -> Floats:
        """Log likelihood of the table at mu = `mean` and tau^2 = `more`."""
        mu, var = np.broadcast_arrays(np.asarray(mean, dtype=float), more)
        if not var.any():
            return self.curve.at(np.asarray(mean, dtype=float))
        flat, tau = mu.ravel(), np.sqrt(var).ravel()
        out = np.empty(flat.size)
        small = self.curve.is_narrow(tau)
        if small.sum() <= _MANY:
            out = self.curve.integrals(flat, tau)[0]
        else:
            out[~small] = self.curve.integrals(flat[~small], tau[~small])[0]
            values, which = np.unique(tau[small], return_inverse=True)
            found = np.empty(which.size)
            for i, value in enumerate(values.tolist()):
                found[which == i] = self._at_small(value, flat[small][which == i])
            out[small] = found
        return out.reshape(mu.shape)

    def _at_small(self, tau: float, mu: Floats) -> Floats:
        """log M_i(mu, tau) as a function of mu: as smooth as L_i, and so on its panels."""
        if tau not in self.known:
            self.known[tau] = self.curve.fitted(self.curve.narrow(self.curve.theta, np.array(tau)))
        return self.curve.series(self.known[tau], mu)

    def moments(self, mu: Floats, between: Floats) -> tuple[Floats, Floats]:
        """Mean and mean square of the true log odds ratio, given mu and tau^2 = `between`."""
        return self.curve.integrals(mu, np.sqrt(between))[1:]


def table_effects(data: Counts, posterior: ExactPosterior, baseline: Prior) -> list[Density]:
    """Posterior of the true log odds ratio of every table, (k,), by quadrature.

    `posterior` is `fit_counts` of the same counts under the same normal prior of the baselines.
    Raises FloatingPointError where one is not resolved.
    """
    nodes = Nodes.of(posterior) if posterior.tau.any() else None
    if nodes is None:  # the common-effect model: the true effect of every table is mu
        return [posterior.mu] * len(data.a)
    return [nodes.density(table) for table in _tables(data, baseline)]


def _tables(data: Counts, baseline: Prior) -> list[Table]:
    y, v = data.log_odds_ratio()
    said = limits(data)
    ends = np.isfinite(said.y), said.lower, said.upper
    curves = study_curves(data, *baseline.params)
    return [
        Table("exact" if closed else "interval", yi, low, high, vi, curve)
        for closed, low, high, yi, vi, curve in zip(*ends, y, v, curves, strict=True)
    ]


def table_log_likelihood(data: Counts, baseline: Prior, mu: Floats, tau: Floats) -> Floats:
    """Log likelihood (S, k) of every table at draws of mu and tau (S,), theta integrated out."""
    curves = study_curves(data, *baseline.params)
    return np.stack([curve.integrals(mu, tau)[0] for curve in curves], axis=1)


def table_effect_draws(
    data: Counts, baseline: Prior, mu: Floats, tau: Floats, rng: np.random.Generator
) -> Floats:
    """Draws (S, k) of the true log odds ratio of every table at draws of mu and tau (S,)."""
    curves = study_curves(data, *baseline.params)
    if not tau.any():
        return np.repeat(mu[:, None], len(curves), axis=1)
    return np.stack([_draws(curve, mu, tau, rng) for curve in curves], axis=1)


def _draws(curve: Curve, mu: Floats, tau: Floats, rng: np.random.Generator) -> Floats:
    # log L is concave, and the normal is: their product is, and M_i is its integral.
    log_norm = curve.integrals(mu, tau)[0] + np.log(tau) + 0.5 * np.log(2 * np.pi)

    def log_density(theta: Floats, i: NDArray[np.intp]) -> Floats:
        z = (theta - mu[i]) / tau[i]
        return np.asarray(curve.at(theta) - 0.5 * z * z - log_norm[i])

    def slope(theta: Floats, i: NDArray[np.intp]) -> Floats:
        return np.asarray(curve.at(theta, 1) - (theta - mu[i]) / tau[i] ** 2)

    low, high = np.minimum(mu, curve.edges[0]), np.maximum(mu, curve.edges[-1])
    return log_concave_draws(log_density, log_concave_modes(slope, low, high), rng)
