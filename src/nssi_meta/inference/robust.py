"""Cluster-robust tests of classical fits: CR0, CR1 and CR2 with Satterthwaite degrees of freedom.

As clubSandwich's `vcovCR` and `coef_test` with the fitted model as working model (Pustejovsky and
Tipton 2018, J Bus Econ Stat 36:672), and metafor's `robust`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nssi_meta.inference.checked import Floats, refuse
from nssi_meta.inference.correlated_blocks import Batch, covariance
from nssi_meta.inference.frequentist import Rma
from nssi_meta.inference.rma_mv import RmaMv
from nssi_meta.inference.tests_and_limits import two_sided
from nssi_meta.shown import coefficients, shown

Kind = Literal["CR0", "CR1", "CR1S", "CR1p", "CR2"]
_EIGEN = 1e-12


@dataclass(frozen=True)
class Robust:
    """Coefficients with cluster-robust errors; `df` (p) of the t tests, `m` clusters."""

    names: tuple[str, ...]
    vcov: str
    m: int
    beta: Floats
    vb: Floats
    se: Floats
    zval: Floats
    df: Floats
    pval: Floats
    ci_lb: Floats
    ci_ub: Floats

    def __repr__(self) -> str:
        table = coefficients(self).assign(df=self.df)
        return shown(f"{self.vcov} errors robust to {self.m} clusters", table)


def robust(
    fit: Rma | RmaMv,
    cluster: ArrayLike,
    vcov: Kind = "CR2",
    dof: Literal["satterthwaite", "residual"] = "satterthwaite",
    level: float | None = None,
) -> Robust:
    """Cluster-robust tests of a fit; `cluster` (k) labels, within which anything may be correlated.

    Parameters
    ----------
    vcov
        CR2 (bias-reduced; use it), CR0 (none), CR1 times m/(m - 1), CR1p times m/(m - p), CR1S
        times m (k - 1)/((m - 1)(k - p)).
    dof
        satterthwaite, or residual: m - p. metafor's `robust` is ``vcov="CR1p", dof="residual"``
        and, with clubSandwich, ``vcov="CR2"``.
    level
        Of the intervals; that of the fit when None.

    Raises
    ------
    ValueError
        Not one label an effect, fewer clusters than p + 1, effects that the model correlates in
        different clusters, or an unknown name.
    """
    problems = []
    if vcov not in ("CR0", "CR1", "CR1S", "CR1p", "CR2"):
        problems.append(f"vcov = {vcov!r} is not known; allowed: CR0, CR1, CR1S, CR1p, CR2")
    if dof not in ("satterthwaite", "residual"):
        problems.append(f"dof = {dof!r} is not known; allowed: satterthwaite, residual")
    labels = pd.Series(np.asarray(cluster))
    d, p = fit.design, fit.p
    if len(labels) != d.k:
        problems.append(f"cluster has {len(labels)} labels for {d.k} effects; remedy: one each")
    elif labels.isna().any():
        place = int(np.flatnonzero(labels.isna())[0])
        problems.append(f"cluster[{place}] is missing; remedy: give every effect a label")
    refuse(problems)
    codes, values = pd.factorize(labels)
    m = len(values)
    if m <= p:
        refuse([f"{m} clusters for {p} coefficients; remedy: at least {p + 1} clusters are needed"])
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    thetas = [_working(fit, rows, codes) for rows in members]
    weights = [np.linalg.inv(theta) for theta in thetas]
    A = np.linalg.inv(
        sum(
            (d.Q[r].T @ W @ d.Q[r] for r, W in zip(members, weights, strict=True)),
            start=np.zeros((p, p)),
        )
    )
    resid = d.yi - d.X @ fit.beta
    inverse = np.linalg.inv(d.R)
    meat, inner, diagonal, square = np.zeros((p, p)), np.zeros((p, p, p)), [], np.zeros(p)
    for r, theta, W in zip(members, thetas, weights, strict=True):
        Q = d.Q[r]
        adjust = _adjustment(theta, Q, A) if vcov == "CR2" else np.eye(len(r))
        half = adjust.T @ W @ Q  # a = half A c for the coefficient c
        score = half.T @ resid[r]
        meat += np.outer(score, score)
        a = half @ A @ inverse.T  # one column a coefficient
        u = Q.T @ a
        own = np.einsum("ic,ij,jc->c", a, theta, a)
        shared = np.einsum("ic,ij,jc->c", u, A, u)
        diagonal.append(own - shared)
        square += (own - shared) ** 2 - shared**2
        inner += np.einsum("ic,jc->cij", u, u)
    # Sum over pairs of clusters of squared cross terms u_i' A u_j, without an m x m matrix.
    square += np.einsum("ij,cjk,kl,cli->c", A, inner, A, inner)
    satterthwaite = np.sum(diagonal, axis=0) ** 2 / square
    factor = {"CR1": m / (m - 1), "CR1p": m / (m - p)}.get(vcov, 1.0)
    if vcov == "CR1S":
        factor = m * (d.k - 1) / ((m - 1) * (d.k - p))
    vb = factor * inverse @ A @ meat @ A @ inverse.T
    df = satterthwaite if dof == "satterthwaite" else np.full(p, float(m - p))
    se = np.sqrt(np.diag(vb))
    if not (se > 1e-12 * fit.se).all():  # rounding alone
        refuse(["the effects of every cluster lie on their fit: no robust error; remedy: fit.se"])
    z = fit.beta / se
    from scipy.special import stdtrit

    half_width = stdtrit(df, (1 + (fit.level if level is None else level)) / 2) * se
    return Robust(
        names=fit.names, vcov=vcov, m=m, beta=fit.beta, vb=vb, se=se, zval=z, df=df,
        pval=two_sided(z, df), ci_lb=fit.beta - half_width, ci_ub=fit.beta + half_width,
    )  # fmt: skip


def _working(fit: Rma | RmaMv, rows: np.ndarray, codes: np.ndarray) -> Floats:
    """Covariance of the rows of one cluster under the model."""
    if isinstance(fit, Rma):
        return np.diag(fit.design.vi[rows] + fit.tau2)
    out = np.zeros((len(rows), len(rows)))
    place = np.full(fit.k, -1)
    place[rows] = np.arange(len(rows))
    for b in fit.parts:
        here = np.flatnonzero((place[b.rows] >= 0).any(axis=1))
        for i in here:
            if (place[b.rows[i]] < 0).any():
                inside = int(b.rows[i][place[b.rows[i]] >= 0][0])
                outside = int(b.rows[i][place[b.rows[i]] < 0][0])
                text = f"effects {inside} and {outside} are correlated in the model"
                refuse([f"{text} but in different clusters; remedy: wider clusters"])
            at = place[b.rows[i]]
            out[np.ix_(at, at)] = covariance(_one(b, int(i)), fit.sigma2, fit.G)[0]
    return out


def _one(b: Batch, i: int) -> Batch:
    from dataclasses import replace

    cut = slice(i, i + 1)
    same = tuple(s[cut] for s in b.same)
    return replace(
        b, rows=b.rows[cut], V=b.V[cut], same=same, inner=b.inner[cut], outer=b.outer[cut]
    )


def _adjustment(theta: Floats, Q: Floats, A: Floats) -> Floats:
    """CR2's matrix: makes the variance unbiased where the working model holds."""
    C = np.linalg.cholesky(theta).T
    inner = C @ (theta - Q @ A @ Q.T) @ C.T
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    kept = values > _EIGEN * values.max()
    power = np.where(kept, np.abs(np.where(kept, values, 1.0)) ** -0.5, 0.0)
    return np.asarray(C.T @ (vectors * power) @ vectors.T @ C)
