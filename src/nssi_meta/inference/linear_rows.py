"""The linear model given tau and omega: coefficients and marginal likelihood in closed form.

Least squares go through a QR decomposition of the whitened rows, and sums of squares are of
residuals, so that effects of 1e6 with variances of 1e-12 lose no digits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.gaussian import whiten
from nssi_meta.models.blocks import Layout

Floats = NDArray[np.float64]

#: Values held at once (memory, not accuracy).
_CHUNK = 2_000_000


class LinearRows:
    """Rows and prior of the coefficients, ready to be whitened at any tau and omega."""

    def __init__(self, layout: Layout, X: Floats, mean: Floats, sd: Floats) -> None:
        self.k, self.p = X.shape
        proper = np.isfinite(sd)
        # Effects less a first fit: what is left is small, so that no digits are lost later. Of
        # columns that are almost collinear it takes the smallest coefficients, for the same reason.
        length = np.sqrt((X**2).sum(axis=0))
        length = np.where(length > 0, length, 1.0)
        self.start = np.linalg.lstsq(X / length, layout.y, rcond=1e-6)[0] / length
        self.residual = layout.y - X @ self.start
        # Rows of the prior: (b_j - m_j) / s_j.
        self.prior = np.column_stack([np.diag(1.0 / sd), (mean - self.start) / sd])[proper]
        self.const = 0.5 * ((~proper).sum() - self.k) * math.log(2 * math.pi)
        self.const -= float(np.log(sd[proper]).sum())
        both = np.column_stack([X, self.residual])
        self.single, self.v = both[layout.single_exact], layout.v[layout.single_exact]
        self.blocks = []
        if (exact := layout.exact_blocks) is not None:
            size = exact.mask.sum(axis=1).astype(np.int64)
            for n in np.unique(size).tolist():
                b = np.flatnonzero(size == n)
                self.blocks.append(
                    (both[exact.rows[b, :n]], exact.V[b, :n, :n], exact.G[b, :n, :n])
                )

    def at(self, tau: Floats, omega: Floats) -> tuple[Floats, Floats, Floats]:
        """log p(y | tau, omega) (S), mean (S, p) and covariance (S, p, p) of the coefficients."""
        tau, omega = np.broadcast_arrays(tau, omega)
        t2, w2 = tau.ravel() ** 2, omega.ravel() ** 2
        step = max(1, _CHUNK // (self.k * (self.p + 1)))
        parts = [self._nodes(t2[i : i + step], w2[i : i + step]) for i in range(0, t2.size, step)]
        log_p, b, cov = (np.concatenate(x) for x in zip(*parts, strict=True))
        shape = tau.shape
        return (
            log_p.reshape(shape),
            b.reshape(*shape, self.p),
            cov.reshape(*shape, self.p, self.p),
        )

    def _nodes(self, t2: Floats, w2: Floats) -> tuple[Floats, Floats, Floats]:
        n = len(t2)
        total = self.v + (t2 + w2)[:, None]
        log_det = np.log(total).sum(axis=1)
        white = [self.single / np.sqrt(total)[..., None]]
        for rows, V, G in self.blocks:
            z, det = whiten(rows, V, G, t2, w2)
            white.append(z)
            log_det += det
        white.append(np.broadcast_to(self.prior, (n, *self.prior.shape)))
        z = np.concatenate(white, axis=1)
        Z, obs = z[..., :-1], z[..., -1:]
        # Columns at unit length: a moderator in years and an intercept are equally well known.
        length = np.sqrt((Z**2).sum(axis=1, keepdims=True))
        length = np.where(length > 0, length, 1.0)
        q, r = np.linalg.qr(Z / length)
        c = np.linalg.solve(r, np.swapaxes(q, 1, 2) @ obs)
        rss = ((obs - (Z / length) @ c) ** 2).sum(axis=(1, 2))
        inverse = np.linalg.inv(r) / np.swapaxes(length, 1, 2)
        b = self.start + (c / np.swapaxes(length, 1, 2))[..., 0]
        log_r = np.log(np.abs(np.diagonal(r, axis1=1, axis2=2))).sum(axis=1)
        log_r += np.log(length[:, 0]).sum(axis=1)
        log_p = self.const - 0.5 * log_det - log_r - 0.5 * rss
        return log_p, b, inverse @ np.swapaxes(inverse, 1, 2)
