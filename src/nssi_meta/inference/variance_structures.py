"""Variance components of a multilevel or multivariate model: parameters, matrices, gradients.

Components are optimised without bounds: a variance as the square of its SD, an unstructured matrix
by its Cholesky factor, a correlation through a logistic curve. So the optimum may lie on the
boundary and is still a stationary point. Where SDs are multiplied by each other (HCS) each is a
square itself: a sign would turn a correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.checked import Floats

Ints = NDArray[np.int64]
Struct = Literal["UN", "CS", "HCS", "DIAG", "ID"]
STRUCTS: tuple[str, ...] = get_args(Struct)


@dataclass(frozen=True)
class Components:
    """`n_sigma` intercept terms and, if `m` > 0, a matrix over m inner levels of kind `struct`."""

    n_sigma: int
    m: int = 0
    struct: str = "UN"

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of SDs (or Cholesky entries) and of correlations of the inner matrix."""
        m = self.m
        if m == 0:
            return 0, 0
        if m == 1 or self.struct == "ID":
            return 1, 0
        if self.struct == "UN":
            return m * (m + 1) // 2, 0
        return {"CS": (1, 1), "HCS": (m, 1), "DIAG": (m, 0)}[self.struct]

    @property
    def n(self) -> int:
        """Number of parameters."""
        return self.n_sigma + sum(self.sizes)

    def units(self, scale: float) -> Floats:
        """What every parameter is multiplied by where the outcome's unit is `scale`."""
        unit = np.full(self.n, scale)
        if self.sizes[1]:
            unit[-1] = 1.0
            if self.struct == "HCS":
                unit[self.n_sigma : -1] = np.sqrt(scale)
        return unit


def start(c: Components, sd: float, share: float, rho: float) -> Floats:
    """A start: every SD `sd`, the first term's times `share`, correlations near `rho`."""
    theta = c.units(sd)
    if c.n_sigma or c.struct != "HCS":
        theta[:1] *= share
    if c.m > 1 and c.struct == "UN":
        L = np.linalg.cholesky(sd**2 * (rho * np.ones((c.m, c.m)) + (1 - rho) * np.eye(c.m)))
        theta[c.n_sigma :] = L[np.tril_indices(c.m)]
    elif c.sizes[1]:
        low = -1.0 / (c.m - 1)
        x = (rho - low) / (1 - low)
        theta[-1] = np.log(x / (1 - x))
    return theta


def edge_starts(c: Components, sd: float) -> list[Floats]:
    """Starts with next to no variance at one level of the inner matrix each, and more at others.

    There a higher maximum can lie than is found from levels that are all alike.
    """
    out = []
    for level in range(c.m if c.m > 1 and c.struct in ("UN", "HCS", "DIAG") else 0):
        for rho in (0.3,) if c.struct == "DIAG" else (0.9, -0.9 / (c.m - 1)):
            theta = start(c, 1.5 * sd, 1.0, rho)
            part = theta[c.n_sigma :]
            if c.struct == "UN":
                part[np.tril_indices(c.m)[0] == level] *= 0.03
            else:
                part[level] *= np.sqrt(0.03) if c.struct == "HCS" else 0.03
            out.append(theta)
    return out


def matrices(c: Components, theta: Floats) -> tuple[Floats, Floats]:
    """sigma2 (n_sigma) and the inner matrix G (m, m)."""
    sigma2 = theta[: c.n_sigma] ** 2
    return sigma2, _inner(c, theta[c.n_sigma :])


def _correlation(c: Components, z: float) -> tuple[float, float]:
    """rho in (-1/(m - 1), 1), where a matrix of equal correlations is one; and its derivative."""
    from scipy.special import expit

    low, e = -1.0 / (c.m - 1), float(expit(z))
    return low + (1 - low) * e, (1 - low) * e * (1 - e)


def _inner(c: Components, part: Floats) -> Floats:
    m = c.m
    if m == 0:
        return np.zeros((0, 0))
    if m == 1 or c.struct in ("ID", "DIAG"):
        return np.diag(np.broadcast_to(part**2, m))
    if c.struct == "UN":
        L = _lower(m, part)
        return L @ L.T
    rho, _ = _correlation(c, float(part[-1]))
    sd = _sds(c, part)
    R = rho + (1 - rho) * np.eye(m)
    return sd[:, None] * R * sd[None, :]


def _sds(c: Components, part: Floats) -> Floats:
    return np.asarray(part[:-1] ** 2 if c.struct == "HCS" else np.broadcast_to(part[:-1], c.m))


def _lower(m: int, part: Floats) -> Floats:
    L = np.zeros((m, m))
    L[np.tril_indices(m)] = part
    return L


def chain(c: Components, theta: Floats, d_sigma2: Floats, d_G: Floats) -> Floats:
    """Gradient by theta from the gradients by sigma2 (n_sigma) and by each entry of G (m, m)."""
    head = 2 * theta[: c.n_sigma] * d_sigma2
    part, m = theta[c.n_sigma :], c.m
    if m == 0:
        return head
    S = (d_G + d_G.T) / 2
    if m == 1 or c.struct == "ID":
        tail = 2 * part * np.trace(S)
    elif c.struct == "DIAG":
        tail = 2 * part * np.diag(S)
    elif c.struct == "UN":
        tail = (2 * S @ _lower(m, part))[np.tril_indices(m)]
    else:
        rho, slope = _correlation(c, float(part[-1]))
        sd = _sds(c, part)
        R = rho + (1 - rho) * np.eye(m)
        by_sd = 2 * (S * R) @ sd
        by_rho = float(sd @ (S * (1 - np.eye(m))) @ sd) * slope
        by_sd = 2 * part[:-1] * by_sd if c.struct == "HCS" else np.array([by_sd.sum()])
        tail = np.concatenate([by_sd, [by_rho]])
    return np.concatenate([head, tail])


def reported(c: Components, G: Floats) -> tuple[Floats, Floats]:
    """tau2 and rho as metafor reports them: one of each for CS, else per level and per pair."""
    if c.m == 0:
        return np.zeros(0), np.zeros(0)
    tau2 = np.diag(G).copy()
    if c.struct in ("CS", "ID"):
        tau2 = tau2[:1]
    if c.sizes[1] == 0 and (c.struct != "UN" or c.m == 1):
        return tau2, np.zeros(0)
    sd = np.sqrt(np.diag(G))
    product = np.outer(sd, sd)
    R = np.divide(G, product, out=np.zeros_like(G), where=product > 0)
    above = np.triu_indices(c.m, 1)
    if c.struct == "UN":
        return tau2, R[above]
    # A level without variance has no correlation: the others tell it.
    return tau2, R[above][np.argsort(product[above] == 0, kind="stable")[:1]]
