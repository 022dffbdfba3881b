"""Draws of the true effect of each row, one for each draw of mu, tau and omega.

theta_i = mu + u_j + w_i. A draw from the prior of theta and of its estimate, given mu, tau and
omega, is moved by T Sigma^-1 times the difference to the estimate that was reported (Durbin and
Koopman 2002, Biometrika 89:603): exact, with no covariance to take apart where omega is 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.shrinkage import (
    drawn_estimates,
    estimates,
    sampling_covariance,
    stratified,
)
from nssi_meta.models.blocks import RHO, Layout, Vcalc, shared_tau

Floats = NDArray[np.float64]


def effect_draws(
    frame: pd.DataFrame,
    data: Layout,
    mu: Floats,
    tau: Floats,
    omega: Floats,
    vcalc: Vcalc,
    rho: float = RHO,
    seed: int = 0,
) -> Floats:
    """Draws (S, k) of theta at S draws of mu, tau and omega (S,).

    `frame` is that which `data` was laid out from. Rows that are all exact effects may have means
    of their own: `mu` (S, k). An estimate known as a bound, or without its
    sign, is drawn first (`shrinkage`): exactly where the row stands alone, by 25 Gibbs sweeps
    within a study.
    """
    frame = frame.reset_index(drop=True)
    rng = np.random.default_rng([seed, 3])
    exact = (frame["kind"] == "exact").to_numpy()
    y, v = frame["yi"].to_numpy(dtype=float), frame["vi"].to_numpy(dtype=float)
    between = tau**2 + omega**2
    means = np.broadcast_to(mu.reshape(len(mu), -1), (len(mu), len(frame)))
    if mu.ndim > 1 and not exact.all():
        raise ValueError("a mean for each row is for exact effects alone")
    out = np.empty((len(mu), len(frame)))
    for rows in data.block_rows:
        if len(rows) > 1:
            mean = means[:, rows] if mu.ndim > 1 else mu
            out[:, rows] = _block(frame.iloc[rows], mean, tau, omega, vcalc, rho, rng)
            continue
        i = int(rows[0])
        centre = means[:, i]
        total = between + v[i]
        if exact[i]:
            estimate = np.full(len(mu), y[i])
        else:
            u = stratified(len(mu), rng)[:, None]
            at = centre[:, None], total[:, None]
            estimate = drawn_estimates(frame.iloc[[i]], *at, u)[:, 0]
        mean = centre + between / total * (estimate - centre)
        out[:, i] = mean + np.sqrt(between * v[i] / total) * rng.standard_normal(len(mu))
    return out


def _block(
    part: pd.DataFrame,
    mu: Floats,
    tau: Floats,
    omega: Floats,
    vcalc: Vcalc,
    rho: float,
    rng: np.random.Generator,
) -> Floats:
    """theta (S, n) of the rows of one block; `mu` (S,), of exact rows (S, n) too."""
    n = len(part)
    V, shares = sampling_covariance(part, vcalc, rho), shared_tau(part)
    between = tau[:, None, None] ** 2 * shares + omega[:, None, None] ** 2 * np.eye(n)
    sigma = between + V
    reported = estimates(part, mu, sigma, rng)
    value, vector = np.linalg.eigh(shares)
    root = vector * np.sqrt(np.maximum(value, 0.0))
    common, own, error = rng.standard_normal((3, len(mu), n))
    theta = mu.reshape(len(mu), -1) + tau[:, None] * (common @ root.T) + omega[:, None] * own
    other = theta + error @ np.linalg.cholesky(V).T
    moved = np.linalg.solve(sigma, (reported - other)[..., None])
    return np.asarray(theta + (between @ moved)[..., 0])
