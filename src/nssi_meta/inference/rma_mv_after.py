"""After a multilevel fit: prediction, I^2 by level, random effects, intervals, Cook's distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nssi_meta.inference import correlated_blocks
from nssi_meta.inference.checked import refuse
from nssi_meta.inference.components_fit import maximise
from nssi_meta.inference.rma_mv import RmaMv, rma_mv
from nssi_meta.inference.tests_and_limits import critical


def predict_mv(fit: RmaMv, X: ArrayLike | None = None, inner: str | None = None) -> pd.DataFrame:
    """Mean and prediction interval at moderators `X` (n, p), columns as `fit.names`.

    The interval is for a new effect in a new group: the variances of all terms are added, and that
    of the level `inner` where the model has an inner matrix with several variances. Columns pred,
    se, ci_lb, ci_ub, pi_lb, pi_ub.
    """
    if X is None and fit.names != ("intrcpt",):
        refuse([f"X is needed; allowed: columns {', '.join(fit.names)}"])
    rows = np.ones((1, 1)) if X is None else np.atleast_2d(np.asarray(X, dtype=float))
    if rows.shape[1] != fit.p:
        text = f"X has {rows.shape[1]} columns; allowed: {fit.p}, in the order of"
        refuse([f"{text} {', '.join(fit.names)} (the constant included)"])
    refuse(
        [
            f"X[{i}, {j}] = {rows[i, j]:g} is not finite; remedy: give {fit.names[j]}"
            for i, j in np.argwhere(~np.isfinite(rows)).tolist()
        ]
    )
    extra = float(fit.sigma2.sum())
    if len(fit.tau2) == 1:
        extra += float(fit.tau2[0])
    elif len(fit.tau2) > 1:
        if inner not in fit.levels:
            refuse([f"inner = {inner!r} is not a level; allowed: {', '.join(fit.levels)}"])
        extra += float(fit.tau2[fit.levels.index(str(inner))])
    pred = rows @ fit.beta
    variance = np.einsum("ki,ij,kj->k", rows, fit.vb, rows)
    crit, se, wide = critical(fit.level, fit.df), np.sqrt(variance), np.sqrt(variance + extra)
    limits = {"ci_lb": pred - crit * se, "ci_ub": pred + crit * se}
    limits |= {"pi_lb": pred - crit * wide, "pi_ub": pred + crit * wide}
    return pd.DataFrame({"pred": pred, "se": se} | limits)


def i2_levels(fit: RmaMv) -> pd.Series:
    """I^2 in percent: total, and the share of each term of `groups`.

    The typical sampling variance is (k - p)/tr(P) with P from V (Higgins and Thompson 2002;
    Nakagawa and Santos 2012 for levels).
    """
    if fit.components.m:
        refuse(["I2 by level is for models with groups only; remedy: fit without inner"])
    d = fit.design
    s = correlated_blocks.solve(d, fit.parts, 0 * fit.sigma2, fit.G, False)
    trace = 0.0
    for b, W in zip(fit.parts, s.inverse, strict=True):
        WQ = W @ d.Q[b.rows]
        trace += float(np.trace(W, axis1=1, axis2=2).sum())
        trace -= float(np.einsum("bip,pq,biq->", WQ, s.A, WQ))
    typical = (fit.k - fit.p) / trace
    whole = float(fit.sigma2.sum()) + typical
    shares = dict(zip(fit.groups, 100 * fit.sigma2 / whole, strict=True))
    return pd.Series({"total": 100 * (1 - typical / whole)} | shares, name="I2")


def ranef(fit: RmaMv) -> dict[str, pd.DataFrame]:
    """Predicted random effects of each term of `groups`: intrcpt, se, pi_lb, pi_ub a label."""
    d = fit.design
    s = correlated_blocks.solve(d, fit.parts, fit.sigma2, fit.G, fit.method == "REML")
    crit = critical(fit.level, fit.df)
    out = {}
    for t, (name, codes, labels) in enumerate(
        zip(fit.groups, fit.labels, fit.group_levels, strict=True)
    ):
        n, variance = len(labels), float(fit.sigma2[t])
        sums, WQs, own = np.zeros(n), np.zeros((n, fit.p)), np.zeros(n)
        for b, W in zip(fit.parts, s.inverse, strict=True):
            at = codes[b.rows]
            np.add.at(sums, at, np.einsum("bij,bj->bi", W, s.resid[b.rows]))
            np.add.at(WQs, at, W @ d.Q[b.rows])
            np.add.at(own, at, (W * b.same[t]).sum(axis=2))
        lost = own - np.einsum("np,pq,nq->n", WQs, s.A, WQs)
        effect, se = variance * sums, np.sqrt(np.maximum(variance - variance**2 * lost, 0.0))
        data = {"intrcpt": effect, "se": se}
        data |= {"pi_lb": effect - crit * se, "pi_ub": effect + crit * se}
        out[name] = pd.DataFrame(data, index=pd.Index(labels, name=name))
    return out


def confint_mv(fit: RmaMv) -> pd.DataFrame:
    """Profile likelihood intervals of each variance of `groups`: estimate, ci_lb, ci_ub.

    The lower limit is 0 where the likelihood does not fall far enough towards 0.
    """
    from scipy.optimize import brentq
    from scipy.special import chdtri

    if not fit.groups:
        refuse(["there is no variance of groups; remedy: fit with groups"])
    restricted, c = fit.method == "REML", fit.components
    theta, top = maximise(fit.design, fit.parts, c, restricted)
    drop = float(chdtri(1, 1 - fit.level)) / 2

    def limits(j: int) -> tuple[float, float]:
        warm = [theta]

        def gap(sd: float) -> float:
            found = maximise(fit.design, fit.parts, c, restricted, (j, sd), warm[0])
            warm[0] = found[0]
            return found[1] - top + drop

        best, error = abs(float(theta[j])), float(np.sqrt(fit.design.vi.mean()))
        xtol = 1e-11 * error
        low = 0.0 if gap(0.0) >= 0 else float(brentq(gap, 0.0, best, xtol=xtol, rtol=1e-9))
        high = 2 * best + 0.1 * error
        while gap(high) > 0:
            high *= 2
        return low**2, float(brentq(gap, best, high, xtol=xtol, rtol=1e-9)) ** 2

    bounds = np.array([limits(j) for j in range(c.n_sigma)]).reshape(c.n_sigma, 2)
    data = {"estimate": fit.sigma2, "ci_lb": bounds[:, 0], "ci_ub": bounds[:, 1]}
    return pd.DataFrame(data, index=pd.Index(fit.groups, name="sigma2"))


def cooks_distance(fit: RmaMv, cluster: ArrayLike) -> pd.Series:
    """Cook's distance of each cluster (k labels): the model is fitted again without it.

    Raises ValueError for a label that is missing, and by name for a cluster without which the model
    cannot be fitted.
    """
    labels = pd.Series(np.asarray(cluster))
    if len(labels) != fit.k:
        refuse([f"cluster has {len(labels)} labels for {fit.k} effects; remedy: one each"])
    refuse([f"cluster[{i}] is missing; remedy: give one" for i in np.flatnonzero(labels.isna())])
    inverse = np.linalg.inv(fit.vb)
    out: dict[object, float] = {}
    for name in sorted(labels.unique()):
        try:
            other = _refit(fit, np.flatnonzero((labels != name).to_numpy()))
        except ValueError as error:
            raise ValueError(f"without the cluster {name!r} there is no fit: {error}") from error
        change = fit.beta - other.beta
        out[name] = float(change @ inverse @ change)
    return pd.Series(out, name="cook_d")


def _refit(fit: RmaMv, keep: NDArray[np.intp]) -> RmaMv:
    d, c = fit.design, fit.components
    groups = {n: codes[keep] for n, codes in zip(fit.groups, fit.labels, strict=True)}
    inner = outer = None
    if c.m:
        inner, outer = np.empty(fit.k, dtype=int), np.empty(fit.k, dtype=int)
        for b in fit.parts:
            inner[b.rows] = b.inner
            # Rows of one outer group carry the least of their row numbers.
            mates = np.where(b.outer > 0, b.rows[:, None, :], fit.k)
            outer[b.rows] = mates.min(axis=2)
        inner, outer = inner[keep], outer[keep]
    V = fit.V[keep] if fit.V.ndim == 1 else fit.V[np.ix_(keep, keep)]
    X = pd.DataFrame(d.X[keep], columns=list(d.names))
    names: Any = {"struct": c.struct, "method": fit.method, "test": fit.test}
    return rma_mv(d.yi[keep], V, X, groups, inner, outer, level=fit.level, intercept=False, **names)
