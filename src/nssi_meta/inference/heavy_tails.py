"""A pool whose study effects follow Student's t, by quadrature: an outlying study pulls less.

The model is that of `models.robust` with an intercept alone: u_j ~ t_nu(0, tau), which is a normal
of variance tau^2 / lambda_j, lambda_j ~ Gamma(nu/2, nu/2), with the same prior of nu. A study's
likelihood given tau and nu is hence a mixture over lambda of its normal likelihood at
tau' = tau / sqrt(lambda). That is tabulated in log tau' once; every mixture is then a matrix
product, whatever the study's rows are (bounds included).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.axes import mu_axis, sd_axis, tau_scale
from nssi_meta.inference.conditions import bound_priors
from nssi_meta.inference.densities import PanelDensity, gauss_legendre, to_coefficients
from nssi_meta.inference.exact import coarse
from nssi_meta.models.blocks import Layout
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import Prior, PriorError
from nssi_meta.models.robust import NU_LOW, NU_RATE, log_mixing

Floats = NDArray[np.float64]

#: Nodes of nu in its logarithm, and the largest: beyond it lies 5e-8 of the prior.
_N_NU, _NU_MOST = 10, 200.0
#: Panels of log tau' and nodes in each, from this share of the least standard error to this
#: multiple of the scale of the pool: below, tau' changes no likelihood; above, it has no weight.
_PANELS, _N = 24, 8
_LEAST, _MOST = 1e-3, 1e4
_CHUNK = 200_000


class StudyTables:
    """Likelihoods of the studies of one layout, tabulated in log tau'; kept for other priors.

    Raises ValueError where a block holds rows of several studies: one lambda would not do.
    """

    def __init__(self, layout: Layout, study: NDArray[np.object_]) -> None:
        check_rows(layout)
        if any(len(set(study[rows].tolist())) > 1 for rows in layout.block_rows):
            raise ValueError("t-distributed effects need studies that share no people")
        self.layout = layout
        low = np.log(_LEAST * np.sqrt(layout.v.min()))
        high = np.log(_MOST * tau_scale(layout))
        self.edges = np.linspace(low, high, _PANELS + 1)
        x, _ = gauss_legendre(_N)
        half = np.diff(self.edges)[:, None] / 2
        self.tau = np.exp(self.edges[:-1, None] + half * (1 + x)).ravel()
        self._known: dict[tuple[float, ...], tuple[Floats, Floats]] = {}

    def at(self, mu: Floats, omega: Floats, n: int) -> tuple[Floats, Floats]:
        """Likelihoods (B, T, mu, omega), and the logs (B, mu, omega) of what they are multiples of.

        `n` nodes make a panel of mu; a panel is evaluated once.
        """
        parts = []
        for panel in mu.reshape(-1, n):
            key = (panel[0], panel[-1], *omega.tolist())
            if key not in self._known:
                self._known[key] = self._evaluate(panel, omega)
            parts.append(self._known[key])
        value, top = (np.concatenate(a, axis=-2) for a in zip(*parts, strict=True))
        return value, top

    def _evaluate(self, mu: Floats, omega: Floats) -> tuple[Floats, Floats]:
        shape = (len(self.tau), len(mu), len(omega))
        t, m, w = (a.ravel() for a in np.meshgrid(self.tau, mu, omega, indexing="ij"))
        out = np.empty((len(t), len(self.layout.block_rows)))
        step = max(1, _CHUNK // self.layout.k)
        for i in range(0, len(t), step):
            some = slice(i, i + step)
            size = (len(t[some]), self.layout.k)
            mean, tau = (np.broadcast_to(a[some, None], size) for a in (m, t))
            out[some] = log_likelihood(self.layout, mean, tau, w[some, None])
        values = out.T.reshape(-1, *shape)
        top = values.max(axis=1)
        return np.exp(values - top[:, None]), top

    def mixing(self, tau: Floats, nu: Floats) -> Floats:
        """Weights (tau, nu, T) that turn the table into the mixture over lambda."""
        out = np.zeros((len(tau), len(nu), len(self.tau)))
        basis = to_coefficients(_N)
        width = self.edges[1] - self.edges[0]
        row = np.arange(len(tau))[:, None, None]
        with np.errstate(divide="ignore"):
            log_tau = np.log(tau)
        for j, freedom in enumerate(nu):
            log_weight, inflate = log_mixing(freedom)
            s = np.clip(
                log_tau[:, None] + 0.5 * np.log(inflate), self.edges[0], self.edges[-1] - 1e-9
            )
            panel = np.minimum(((s - self.edges[0]) / width).astype(np.int64), _PANELS - 1)
            t = 2 * (s - self.edges[panel]) / width - 1
            value = np.polynomial.legendre.legvander(t, _N - 1) @ basis
            value *= np.exp(log_weight)[None, :, None]
            column = panel[..., None] * _N + np.arange(_N)
            np.add.at(out[:, j], (np.broadcast_to(row, column.shape), column), value)
        return out


def fit_heavy_tails(
    tables: StudyTables,
    *,
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None = None,
    n_nu: int = _N_NU,
) -> PanelDensity:
    """The posterior of mu with t-distributed study effects; tau is their scale.

    `omega_prior` None leaves the within-study component out; `n_nu` is the number of nodes of nu.
    Raises `PriorError` for an improper prior or a tau of zero, and FloatingPointError when
    quadrature does not resolve the posterior.
    """
    layout = tables.layout
    of_tau, of_omega = bound_priors(layout, tau_prior, omega_prior)
    if of_tau is None or not (mu_prior.proper and of_tau.proper):
        raise PriorError("t-distributed study effects need proper priors, and a tau above 0")
    nu, log_nu = _freedom(n_nu)
    scale = tau_scale(layout)
    axes = [mu_axis(layout, mu_prior, scale), sd_axis(of_tau, layout, scale)]
    if of_omega is not None:
        axes.append(sd_axis(of_omega, layout, scale))
    start, n, tol = coarse([e for _, e in axes])

    def density(mu: Floats, tau: Floats, *rest: Floats) -> Floats:
        omega = rest[0] if rest else np.zeros(1)
        weight = tables.mixing(tau, nu).reshape(-1, len(tables.tau))
        shape = (len(tau), len(nu), len(mu), len(omega))
        total = np.zeros(shape)
        for value, top in zip(*tables.at(mu, omega, n), strict=True):
            mixed = (weight @ value.reshape(len(value), -1)).reshape(shape)
            total += np.log(np.maximum(mixed, 1e-300)) + top
        log_f = logsumexp(total + log_nu[:, None, None], axis=1)
        log_f = np.moveaxis(log_f, 0, 1) + mu_prior.logpdf(mu)[:, None, None]
        log_f = log_f + of_tau.logpdf(tau)[:, None]
        if of_omega is None:
            return np.asarray(log_f[..., 0])
        return np.asarray(log_f + of_omega.logpdf(omega))

    return integrate(density, [a for a, _ in axes], start, n=n, tol=tol).marginal(0)


def _freedom(n: int) -> tuple[Floats, Floats]:
    """Nodes of nu and the log of their prior probabilities (gamma, above `NU_LOW`)."""
    x, w = gauss_legendre(n)
    low, high = np.log(NU_LOW), np.log(_NU_MOST)
    nu = np.exp(low + (x + 1) / 2 * (high - low))
    weight = w * nu**2 * np.exp(-NU_RATE * nu)
    return nu, np.log(weight / weight.sum())
