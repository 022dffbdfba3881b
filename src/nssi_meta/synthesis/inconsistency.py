"""I² of a pool: how much of the variance of its estimates is between and within studies."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from nssi_meta.inference.checked import Floats
from nssi_meta.inference.densities import PanelDensity, interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.panels import gauss_legendre, panel_coefficients, panel_nodes
from nssi_meta.inference.point_mass import PointMass
from nssi_meta.synthesis.cells import Cell, Options

#: Angles of the integral over tau^2 + omega^2.
_ANGLES = 96


def typical_variance(sei: Floats) -> float:
    """Typical sampling variance of standard errors (k,): Higgins and Thompson 2002, eq. 9.

    NaN for fewer than two estimates.
    """
    w = 1.0 / np.square(sei)
    if w.size < 2:
        return float("nan")
    # sum(w)^2 - sum(w^2) as a sum of products, without cancellation
    return float((w.size - 1) * w.sum() / (2.0 * (w[1:] * np.cumsum(w)[:-1]).sum()))


def inconsistency(cell: Cell, options: Options) -> dict[str, float]:
    """Posterior of I² of a cell: `i2_median`, `i2_low`, `i2_high`, shares between 0 and 1.

    I² is (tau² + omega²) / (tau² + omega² + s²) with the typical variance s² of the rows that
    report an estimate; bounds have none. It grows with tau, so its limits without omega are those
    of tau. With omega they are central. NaN where fewer than two rows report an estimate, and for
    tables of counts, whose likelihood knows no variances.
    """
    if "sei" not in cell.rows:
        return dict.fromkeys(("i2_median", "i2_low", "i2_high"), float("nan"))
    exact = cell.rows["kind"] != "interval"
    s2 = typical_variance(cell.rows.loc[exact, "sei"].to_numpy(dtype=float))
    post: ExactPosterior = cell.posterior
    if post.omega_density is None:
        tau = post.tau_density
        ends = interval(tau, options.level, options.interval, low=0.0)
        square = np.square([tau.quantile(0.5), *ends])
    else:
        alpha = 1.0 - options.level
        square = total_quantiles(post, np.array([0.5, alpha / 2, 1 - alpha / 2]))
    names = ("i2_median", "i2_low", "i2_high")
    return dict(zip(names, (float(x) for x in square / (square + s2)), strict=True))


def total_quantiles(post: ExactPosterior, p: Floats) -> Floats:
    """Quantiles (m,) of tau^2 + omega^2 at probabilities `p` (m,), good to 1e-6 in probability.

    The distribution function at r^2 is an integral over omega = r sin(angle), smooth in the angle,
    of the mass below tau = r cos(angle); both axes by the polynomials of their panels.
    """
    tau, omega = post.tau_density, post.omega_density
    if not (isinstance(tau, PanelDensity) and isinstance(omega, PanelDensity)):
        known = tau if omega is None or isinstance(omega, PointMass) else omega
        return np.square([known.quantile(float(x)) for x in p])
    n_tau, n_omega = tau.values.size, omega.values.size
    place = _number(omega, post.omega) * n_tau + _number(tau, post.tau)
    mass = np.bincount(place, post.weight, n_omega * n_tau).reshape(n_omega, n_tau)
    by_omega = _series(omega, mass / mass.sum())
    panels, order = by_omega.shape[:2]
    by_both = np.moveaxis(_series(tau, by_omega.reshape(-1, n_tau).T), -1, 0)
    half = np.diff(tau.edges)[:, None] / 2
    below = (legendre.legint(by_both, lbnd=-1, axis=2) * half).reshape(panels, order, len(half), -1)
    before = np.zeros((panels, order, len(half) + 1))
    before[..., 1:] = np.cumsum(below.sum(axis=-1), axis=-1)  # at 1 all the polynomials are 1
    x, w = gauss_legendre(_ANGLES)
    angle, w = np.pi / 4 * (1 + x), np.pi / 4 * w

    def share(r: Floats) -> Floats:
        here, at, slope = _place(omega, (r[:, None] * np.sin(angle)).ravel())
        there, to, _ = _place(tau, (r[:, None] * np.cos(angle)).ravel())
        of_omega, of_tau = (legendre.legvander(a, n) for a, n in ((at, order - 1), (to, tau_order)))
        value = np.einsum("ik,ikl,il->i", of_omega, below[here, :, there], of_tau)
        value += np.einsum("ik,ik->i", of_omega, before[here, :, there])
        return np.asarray((value / slope).reshape(len(r), -1) @ (w * np.cos(angle)) * r)

    tau_order = below.shape[-1] - 1
    # Bisection in v, where the root of the sum is scale v / (1 - v).
    scale = float(np.hypot(tau.quantile(0.5), omega.quantile(0.5)))
    low, high = np.zeros(len(p)), np.ones(len(p))
    for _ in range(40):
        middle = (low + high) / 2
        under = share(scale * middle / (1.0 - middle)) < p
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return np.square(scale * low / (1.0 - low))


def _number(density: PanelDensity, x: Floats) -> NDArray[np.intp]:
    """Which node of an axis each value x (N,) is: a posterior may have left nodes out."""
    u, _ = panel_nodes(density.axis, density.edges, density.values.shape[1])
    nodes = density.axis.to_x(u).ravel()
    return np.searchsorted((nodes[1:] + nodes[:-1]) / 2, x)


def _series(density: PanelDensity, mass: Floats) -> Floats:
    """Legendre coefficients (P, n, m) in u of masses (P n, m) at an axis' nodes."""
    _, w = panel_nodes(density.axis, density.edges, density.values.shape[1])
    return panel_coefficients(density.axis, mass.reshape(*w.shape, -1) / w[..., None])


def _place(density: PanelDensity, x: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Panel of each x (N,), its place there from -1 to 1, and the slope dx/du."""
    u, edges = density.axis.to_u(x), density.edges
    panel = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, len(edges) - 2)
    low, high = edges[panel], edges[panel + 1]
    return panel, np.clip((2 * u - low - high) / (high - low), -1.0, 1.0), density.axis.slope(u)
