"""Posterior and evidence of one model of an ensemble: effect x heterogeneity x bias.

Independent studies, y_i ~ N(mu + b x_i, sei_i^2 + tau^2), reported with a probability that depends
on the p-value (`models.selection`), or with a slope b on x = sei (PET) or sei^2 (PEESE). What a
model leaves out is fixed at 0. Without selection, mu is integrated in closed form; with it, mu,
tau and the weights are axes of adaptive quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import Grid, integrate
from nssi_meta.inference.axes import is_wide, wide_axis
from nssi_meta.inference.densities import Axis, Density, NormalMixture, half_line, real_line
from nssi_meta.inference.panels import with_tails
from nssi_meta.models.priors import Prior
from nssi_meta.models.selection import Binned, Critical, Steps, log_normal

Floats = NDArray[np.float64]

_MU_START = np.array([-1.0, -0.7, -0.35, 0.0, 0.35, 0.7, 1.0])
_SD_START = np.array([0.0, 0.15, 0.4, 0.75, 1.0])
_FINE_START = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
_WEIGHT_START = np.array([0.0, 0.3, 1.0])
#: Nodes per panel and falling tolerances of the density by number of axes. The integral is of
#: twice the density's order; its error is measured, and the tolerance falls until it is enough.
_RULE: dict[int, tuple[int, tuple[float, ...]]] = {
    1: (12, (1e-9,)),
    2: (12, (1e-7,)),
    3: (8, (1e-3, 1e-4, 1e-5)),
    4: (6, (0.05, 0.01, 1e-3)),
    5: (6, (1.0, 0.2, 0.05, 0.01)),
}
#: Quantiles of the pilot at which panels begin.
_PILOT = (1e-4, 0.02, 0.3, 0.7, 0.98, 1 - 1e-4)
#: Error of a log evidence that is small beside any Bayes factor of interest.
_ENOUGH = 2e-5
#: Nodes whose density is below e^-_NEGLIGIBLE of the peak are not evaluated.
_NEGLIGIBLE = 25.0
_CHUNK = 400_000
#: Factors multiplied before a logarithm is taken: 1e-300 is far below 0.01^_BATCH.
_BATCH = 24


@dataclass(frozen=True)
class Slope:
    """PET (`power` 1) or PEESE (`power` 2): half-Cauchy prior on the slope on sei^power."""

    power: int
    prior: Prior

    def __str__(self) -> str:
        return f"{'PET' if self.power == 1 else 'PEESE'} {self.prior}"


Bias = Steps | Slope | None


@dataclass(frozen=True)
class Studies:
    """Independent studies: `y`, `s` (k,) and the critical estimates of their own tests."""

    y: Floats
    s: Floats
    critical: Critical


@dataclass(frozen=True)
class Fit:
    """Log evidence with its numerical error, and the posteriors of what is not fixed at 0."""

    log_evidence: float
    error: float
    mu: Density | None
    tau: Density | None


def fit_biased(data: Studies, mu: Prior | None, tau: Prior | None, bias: Bias) -> Fit:
    """Posterior of one model; a prior of None fixes its parameter at 0.

    The prior of mu must be normal. Raises FloatingPointError where quadrature does not resolve
    the posterior.
    """
    if mu is not None and mu.name != "normal":
        raise ValueError(f"the ensemble needs a normal prior on mu, got {mu}")
    if isinstance(bias, Steps):
        return _selected(data, mu, tau, bias)
    return _linear(data, mu, tau, bias)


def _linear(data: Studies, mu: Prior | None, tau: Prior | None, slope: Slope | None) -> Fit:
    """No selection: axes tau and slope, as far as they are free."""
    y, s = data.y, data.s
    x = s**slope.power if slope is not None else np.zeros_like(s)
    mean, var = (0.0, 0.0) if mu is None else (mu.params[0], mu.params[1] ** 2)

    def terms(*free: Floats) -> tuple[Floats, Floats, Floats]:
        """log p(y, tau, b) with mu integrated out; mean and variance of mu given them."""
        at = list(free)
        t = at.pop(0)[:, None] if tau is not None else np.zeros((1, 1))
        b = at.pop(0)[None, :] if slope is not None else np.zeros((1, 1))
        w = 1 / (t[..., None] ** 2 + s**2)
        r = y - b[..., None] * x
        precision = w.sum(axis=-1) + (1 / var if var else 0.0)
        m = ((w * r).sum(axis=-1) + mean / var) / precision if var else np.zeros(r.shape[:2])
        m = np.broadcast_to(m, np.broadcast_shapes(t.shape, b.shape))
        quad = (w * (r - m[..., None]) ** 2).sum(axis=-1)
        log_p = 0.5 * (np.log(w / (2 * np.pi)).sum(axis=-1) - quad)
        if var:
            log_p = log_p - 0.5 * ((m - mean) ** 2 / var + np.log(var * precision))
        if tau is not None:
            log_p = log_p + tau.logpdf(t)
        if slope is not None:
            log_p = log_p + slope.prior.logpdf(b)
        return log_p, m, np.broadcast_to(1 / precision, m.shape)

    axes, start = [], []
    if tau is not None:
        scale = _tau_scale(data)
        if not tau.family.log_axis and is_wide(tau, scale):
            # The likelihood falls as tau^-(k-2) at the least: its tail may make the moments.
            axis, first = wide_axis(tau, scale)
            axes.append(with_tails(axis, np.inf, np.inf, slow=len(y) - 2.0))
            start.append(first)
        else:
            axes.append(half_line(scale))
            start.append(_FINE_START)
    if slope is not None:
        axes.append(half_line(max(float(np.std(y)), float(np.median(s))) / float(np.median(x))))
        start.append(_FINE_START)
    if not axes:
        log_p, m, v = terms()
        known = NormalMixture.build(m, np.sqrt(v), np.ones(1)) if var else None
        return Fit(float(log_p[0, 0]), 0.0, known, None)

    def density(*free: Floats) -> Floats:
        return terms(*free)[0].reshape([len(f) for f in free])

    n, (tol, *_) = _RULE[len(axes)]
    grid = integrate(density, axes, start, n=n, tol=tol)
    _, m, v = terms(*grid.x)
    weight = grid.weight.reshape(m.shape)
    spread = weight * v
    held = (weight > 1e-9 * weight.max()) | (spread > 1e-9 * spread.max())
    weight = np.where(held, weight, 0.0)
    known = NormalMixture.build(m, np.sqrt(v), weight) if var else None
    return Fit(grid.log_integral, grid.error, known, grid.marginal(0) if tau is not None else None)


def _selected(data: Studies, mu: Prior | None, tau: Prior | None, steps: Steps) -> Fit:
    """Axes mu and tau, as far as they are free, and the ratios of successive weights."""
    # With many axes every panel counts: those of mu and tau are laid where the posterior of the
    # model with one cut point has its mass.
    pilot = None
    if steps.n_bins > 2 and (mu is not None or tau is not None):
        pilot = _selected(data, mu, tau, Steps(steps.cuts[:1], steps.side))
    axes, start = [], []
    if mu is not None:
        centre = float(np.average(data.y, weights=1 / data.s**2))
        axes.append(real_line(centre, _tau_scale(data)))
        start.append(_MU_START if pilot is None else _around(axes[0], pilot.mu))
    if tau is not None:
        axes.append(half_line(_tau_scale(data)))
        start.append(_SD_START if pilot is None else _around(axes[-1], pilot.tau))
    axes += [_unit_line()] * (steps.n_bins - 1)
    start += [_WEIGHT_START] * (steps.n_bins - 1)
    density = _Selected(data, mu, tau, steps)
    grid, error = _resolve(density, axes, start)
    return Fit(
        grid.log_integral,
        error,
        grid.marginal(0) if mu is not None else None,
        grid.marginal(1 if mu is not None else 0) if tau is not None else None,
    )


def _around(axis: Axis, pilot: Density | None) -> Floats:
    """Panels of equal order of mass under a pilot posterior, and one for each tail."""
    assert pilot is not None
    inner = [float(axis.to_u(np.asarray(pilot.quantile(p)))) for p in _PILOT]
    return np.array([axis.low, *inner, axis.high])


def _resolve(density: _Selected, axes: list[Axis], start: list[Floats]) -> tuple[Grid, float]:
    """Grid and the measured error of its log integral: tolerances fall until it is small enough."""
    n, tolerances = _RULE[len(axes)]
    found: tuple[Grid, float] | None = None
    for tol in tolerances:
        try:
            grid = integrate(density, axes, start, n=n, tol=tol)
        except FloatingPointError:
            if found is None:
                raise
            break  # out of nodes: the last grid stands, with the error that it has
        found = grid, abs(grid.log_integral - _again(density, grid))
        if found[1] < _ENOUGH:
            break
        start = list(grid.edges)
    assert found is not None
    return found


class _Selected:
    """Log joint density of a selection model on a tensor of nodes."""

    def __init__(self, data: Studies, mu: Prior | None, tau: Prior | None, steps: Steps) -> None:
        self.data, self.mu, self.tau, self.steps = data, mu, tau, steps
        self.binned = Binned.sort(data.y, data.critical, steps)
        self.counts = np.bincount(self.binned.bins, minlength=steps.n_bins)

    def __call__(self, *nodes: Floats) -> Floats:
        at, shape = list(nodes), [len(x) for x in nodes]
        m = at.pop(0) if self.mu is not None else np.zeros(1)
        t = at.pop(0) if self.tau is not None else np.zeros(1)
        omega, weight = self._weights(at)
        y, k = self.data.y, len(self.data.y)
        mean = np.broadcast_to(m[:, None, None], (len(m), len(t), 1)).reshape(-1, 1)
        sd = np.sqrt(t[:, None] ** 2 + self.data.s**2)
        sd = np.broadcast_to(sd, (len(m), len(t), k)).reshape(-1, k)
        base = log_normal(y, mean, sd**2).sum(axis=1)
        if self.mu is not None:
            base += self.mu.logpdf(mean[:, 0])
        if self.tau is not None:
            base += np.tile(self.tau.logpdf(t), len(m))
        share = self.binned.probabilities(mean, sd)
        # Weights fall from bin to bin, so that sum_j omega_j P_j is at least omega_b times the
        # probability of bin b and of all more significant ones.
        with np.errstate(divide="ignore"):
            through = np.cumsum(share, axis=-1)[:, np.arange(k), self.binned.bins]
            of_weights = weight - np.log(omega) @ self.counts
            ceiling = base - np.log(through).sum(axis=1) + of_weights.max()
        best = int(np.argmax(base))
        some = slice(None, None, max(1, len(weight) // 64))
        floor = base[best] + (self._logs(share[best : best + 1], omega[some]) + weight[some]).max()
        live = np.flatnonzero(~(ceiling < floor - _NEGLIGIBLE))
        out = np.full((len(base), len(weight)), -np.inf)
        step = max(1, _CHUNK // len(weight))
        for i in range(0, len(live), step):
            part = live[i : i + step]
            out[part] = base[part, None] + self._logs(share[part], omega) + weight
        return out.reshape(shape)

    def _weights(self, ratios: list[Floats]) -> tuple[Floats, Floats]:
        """Weights of all bins (n, bins) and their log prior plus log omega_b summed over studies.

        The cumulative Dirichlet with parameters 1: the weights below 1 are the order statistics
        of uniform ones, hence successive ratios are independent Beta(j, 1), j counting down.
        """
        mesh = [r.ravel() for r in np.meshgrid(*ratios, indexing="ij")]
        omega = np.cumprod(np.stack([np.ones_like(mesh[0]), *mesh], axis=1), axis=1)
        log_prior = np.zeros(len(omega))
        for j, ratio in zip(range(len(mesh), 0, -1), mesh, strict=True):
            log_prior += np.log(j) + (j - 1) * np.log(ratio)
        return omega, log_prior + np.log(omega) @ self.counts

    def _logs(self, share: Floats, omega: Floats) -> Floats:
        """- sum_i log sum_j omega_j P_ij for points (n, k, bins) and weights (m, bins): (n, m)."""
        total = np.zeros((len(share), len(omega)))
        turned = np.ascontiguousarray(omega.T)
        with np.errstate(divide="ignore"):
            for i in range(0, share.shape[1], _BATCH):
                product = share[:, i] @ turned
                for j in range(i + 1, min(i + _BATCH, share.shape[1])):
                    product *= share[:, j] @ turned
                total -= np.log(product)
        return total


def _again(density: _Selected, grid: Grid) -> float:
    """The log integral on the grid's own panels with one node less in each."""
    x, w = np.polynomial.legendre.leggauss(grid.n - 1)
    points, log_w = [], np.zeros(())
    for d, (axis, edges) in enumerate(zip(grid.axes, grid.edges, strict=True)):
        mid, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        u = (mid[:, None] + half[:, None] * x).ravel()
        points.append(axis.to_x(u))
        shape = [1] * len(grid.axes)
        shape[d] = -1
        log_w = log_w + np.log((half[:, None] * w).ravel() * axis.slope(u)).reshape(shape)
    value = density(*points) + log_w
    peak = value.max()
    return float(peak + np.log(np.exp(value - peak).sum()))


def _tau_scale(data: Studies) -> float:
    return max(float(np.std(data.y)), float(np.median(data.s)))


def _unit_line() -> Axis:
    """[0, 1] as x = u^2: finer towards 0, where weights pile up."""
    return Axis(0.0, 1.0, np.square, np.sqrt, lambda u: 2 * u)
