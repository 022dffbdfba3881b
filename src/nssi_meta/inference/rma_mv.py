"""Multilevel and multivariate meta-analysis with known sampling covariance, as metafor's `rma.mv`.

Model: y = X beta + sum_t Z_t u_t + w + e, u_t ~ N(0, sigma2_t), e ~ N(0, V), and w with covariance
G over the levels of `inner` within each `outer` group. Components by REML or ML, by a gradient
that is exact, from several starts, polished by Newton steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nssi_meta.inference import correlated_blocks
from nssi_meta.inference.checked import Floats, check_level, refuse
from nssi_meta.inference.components_fit import maximise
from nssi_meta.inference.tests_and_limits import (
    information_criteria,
    tested_columns,
    wald,
)
from nssi_meta.inference.variance_structures import (
    STRUCTS,
    Components,
    Ints,
    Struct,
    matrices,
    reported,
)
from nssi_meta.inference.weighted import Design, design
from nssi_meta.shown import coefficients, shown

Labels = tuple[Ints, tuple[str, ...]]
_NOTHING = 1e-12


@dataclass(frozen=True)
class RmaMv:
    """A fitted model; arrays per coefficient in the order of `names`, as in `Rma`.

    `sigma2` by `groups` (terms); `tau2` and `rho` of the inner matrix `G` over `levels` (empty
    without one; in UN rho is NaN for levels that no outer group has both of). `QE` tests
    heterogeneity given V, `QM` the moderators.
    """

    design: Design
    V: Floats
    parts: list[correlated_blocks.Batch]
    components: Components
    method: str
    test: str
    level: float
    groups: tuple[str, ...]
    labels: tuple[Ints, ...]
    group_levels: tuple[tuple[str, ...], ...]
    levels: tuple[str, ...]
    names: tuple[str, ...]
    k: int
    p: int
    beta: Floats
    vb: Floats
    se: Floats
    zval: Floats
    pval: Floats
    ci_lb: Floats
    ci_ub: Floats
    df: int | None
    sigma2: Floats
    tau2: Floats
    rho: Floats
    G: Floats
    QE: float
    QEp: float
    QM: float
    QMdf: tuple[int, int | None]
    QMp: float
    logLik: float
    AIC: float
    BIC: float
    AICc: float

    def __repr__(self) -> str:
        sigma2 = {f"sigma2[{g}]": float(x) for g, x in zip(self.groups, self.sigma2, strict=True)}
        tau2 = {f"tau2[{g}]": float(x) for g, x in zip(self.levels, self.tau2, strict=False)}
        return shown(
            f"{self.method} model of {self.k} effects, test {self.test}, level {self.level:g}",
            coefficients(self),
            *filter(None, [sigma2, tau2]),
            {"QE": self.QE, "QEp": self.QEp, "logLik": self.logLik},
        )


def nested(*columns: ArrayLike) -> list[str]:
    """Labels of levels within levels: ``nested(district, school)`` is metafor's district/school."""
    parts = [pd.Series(np.asarray(c)).astype(str) for c in columns]
    return ["/".join(row) for row in zip(*parts, strict=True)]


def rma_mv(
    yi: ArrayLike,
    V: ArrayLike,
    X: ArrayLike | pd.DataFrame | None = None,
    groups: Mapping[str, ArrayLike] | None = None,
    inner: ArrayLike | None = None,
    outer: ArrayLike | None = None,
    struct: Struct = "UN",
    method: Literal["REML", "ML"] = "REML",
    test: Literal["z", "t"] = "z",
    level: float = 0.95,
    intercept: bool = True,
) -> RmaMv:
    """Fit effects `yi` (k) with sampling covariance `V`, (k) variances or (k, k) matrix.

    Parameters
    ----------
    X, intercept
        Moderators, as in `rma`.
    groups
        One random intercept a name: labels (k). Three levels (metafor's ``~ 1 | district/school``):
        ``{"district": district, "school": nested(district, school)}``.
    inner, outer, struct
        Correlated effects (metafor's ``~ inner | outer``): levels (k), independent groups (k), and
        UN (any covariance), CS (equal variances and correlations), HCS (equal correlations),
        DIAG (none), ID (none, equal variances). The correlation of m levels in CS and HCS is above
        -1/(m - 1), or they would have no covariance matrix; metafor lets it fall to -1.
    test
        z, or t with k - p degrees of freedom.

    Raises
    ------
    ValueError
        Bad input, every problem at once; V not symmetric or not positive definite; k not above p;
        a variance that REML cannot tell, as with a single group or a level that occurs once and has
        its own coefficient; two terms that divide the effects alike (metafor shares their variance
        out between them).
    """
    problems: list[str] = []
    check_level(level, problems)
    if method not in ("REML", "ML"):
        problems.append(f"method = {method!r} is not known; allowed: REML, ML")
    if test not in ("z", "t"):
        problems.append(f"test = {test!r} is not known; allowed: z, t")
    if struct not in STRUCTS:
        problems.append(f"struct = {struct!r} is not known; allowed: {', '.join(STRUCTS)}")
    if (inner is None) != (outer is None):
        problems.append("inner and outer belong together; remedy: give both or neither")
    k = len(np.atleast_1d(np.asarray(yi)))
    cov = _sampling(V, k, problems)
    diagonal = cov if cov.ndim == 1 else np.diag(cov)
    coded = {n: _codes(x, f"groups[{n!r}]", k, problems) for n, x in (groups or {}).items()}
    none = (np.full(k, -1), ())
    ins = none if inner is None else _codes(inner, "inner", k, problems)
    outs = none if outer is None else _codes(outer, "outer", k, problems)
    d = design(yi, diagonal, X, intercept, problems, "V")
    if d.k <= d.p:
        text = f"the number of effects ({d.k}) must exceed that of coefficients ({d.p})"
        refuse([f"{text}; remedy: more effects or fewer moderators"])
    terms = [codes for codes, _ in coded.values()]
    parts = correlated_blocks.batches(cov, terms, ins[0], outs[0])
    c = Components(len(terms), len(ins[1]), struct)
    restricted = method == "REML"
    refuse(_divided_alike(coded))
    if restricted:
        refuse(_untold(d, coded, ins, outs[0], struct))
    theta, _ = maximise(d, parts, c, restricted)
    sigma2, G = matrices(c, theta)
    # The optimum at 0 is approached, never met.
    sigma2 = np.where(sigma2 < _NOTHING * d.vi.mean(), 0.0, sigma2)
    some = np.diag(G) >= _NOTHING * d.vi.mean()
    G = np.where(np.outer(some, some), G, 0.0)
    s = correlated_blocks.solve(d, parts, sigma2, G, restricted)
    df = None if test == "z" else d.k - d.p
    beta, vb = d.coefficients(s.delta), d.covariance(s.A)
    w = wald(beta, vb, level, df, tested_columns(d.names))
    tau2, rho = reported(c, G)
    if struct == "UN" and c.m > 1:
        rho = np.where(_meet(parts, c.m), rho, np.nan)
    aic, bic, aicc = information_criteria(s.logLik, d.k, d.p, c.n, restricted)
    QE = correlated_blocks.solve(d, parts, 0 * sigma2, 0 * G, False).rss
    from scipy.special import chdtrc

    return RmaMv(
        design=d, V=cov, parts=parts, components=c, method=method, test=test, level=level,
        groups=tuple(coded), labels=tuple(terms), group_levels=tuple(v for _, v in coded.values()),
        levels=ins[1], names=d.names, k=d.k, p=d.p, beta=beta, vb=vb, se=w.se, zval=w.zval,
        pval=w.pval, ci_lb=w.ci_lb, ci_ub=w.ci_ub, df=df, sigma2=sigma2, tau2=tau2, rho=rho, G=G,
        QE=QE, QEp=float(chdtrc(d.k - d.p, QE)), QM=w.QM, QMdf=w.QMdf, QMp=w.QMp,
        logLik=s.logLik, AIC=float(aic), BIC=float(bic), AICc=float(aicc),
    )  # fmt: skip


def _divided_alike(groups: Mapping[str, Labels]) -> list[str]:
    """Pairs of terms whose groups are the same: the likelihood knows the sum of their variances."""
    return [
        f"groups {one!r} and {other!r} divide the effects alike, so that their variances cannot "
        "be told apart; remedy: leave one out"
        for (one, a), (other, b) in combinations(groups.items(), 2)
        if len(set(zip(a[0].tolist(), b[0].tolist(), strict=True))) == len(a[1]) == len(b[1])
    ]


def _untold(
    d: Design, groups: Mapping[str, Labels], inner: Labels, outer: Ints, struct: str
) -> list[str]:
    """Variances that REML cannot tell: the coefficients take up all that they would explain."""
    everywhere = np.ones(d.k, dtype=bool)
    asked = [(f"groups[{name!r}]", codes, everywhere) for name, (codes, _) in groups.items()]
    codes, levels = inner
    if levels and struct in ("CS", "ID"):
        asked.append(("inner", outer * len(levels) + codes, everywhere))
    elif levels:
        asked += [(f"inner level {name!r}", outer, codes == i) for i, name in enumerate(levels)]
    out = []
    for name, at, rows in asked:
        _, place = np.unique(at[rows], return_inverse=True)
        sums = np.zeros((place.max() + 1, d.p))
        np.add.at(sums, place, d.Q[rows])
        # What of each group's indicator lies outside the span of the moderators.
        if (1.0 - (sums**2).sum(axis=1) / np.bincount(place)).max() < 1e-10:
            why = "the coefficients take up all differences between its groups"
            remedy = "leave out the term or moderators, merge rare levels, or use CS or ID"
            out.append(f"{name}: REML cannot tell its variance, as {why}; remedy: {remedy}")
    return out


def _meet(parts: list[correlated_blocks.Batch], m: int) -> NDArray[np.bool_]:
    """Pairs of inner levels, in the order of `rho`, that some outer group has both of."""
    together = np.zeros((m, m))
    for b in parts:
        one = np.eye(m)[b.inner]
        together += np.einsum("bil,bij,bjn->ln", one, b.outer, one)
    return np.asarray(together[np.triu_indices(m, 1)] > 0)


def _sampling(V: ArrayLike, k: int, problems: list[str]) -> Floats:
    try:
        cov = np.asarray(V, dtype=float)
    except (TypeError, ValueError):
        problems.append("V must hold numbers; remedy: variances (k) or a matrix (k, k)")
        return np.ones(k)
    if cov.ndim == 1:
        return cov
    if cov.shape != (k, k):
        problems.append(f"V has shape {cov.shape}; allowed: ({k},) or ({k}, {k}), as yi")
        return np.ones(k)
    if not np.isfinite(cov).all():
        i, j = np.argwhere(~np.isfinite(cov))[0]
        problems.append(f"V[{i}, {j}] = {cov[i, j]:g} is not finite; remedy: 0 for no covariance")
        return np.ones(k)
    gap = np.abs(cov - cov.T)
    if gap.max(initial=0.0) > 1e-8 * np.abs(cov).max(initial=1e-300):
        i, j = np.unravel_index(int(gap.argmax()), gap.shape)
        text = f"V[{i}, {j}] = {cov[i, j]:g} but V[{j}, {i}] = {cov[j, i]:g}"
        problems.append(f"{text}; remedy: a covariance matrix is symmetric")
        return np.ones(k)
    if (np.diag(cov) > 0).all():
        try:
            np.linalg.cholesky(cov)
        except np.linalg.LinAlgError:
            text = (
                "V is not positive definite; remedy: check correlations, e.g. build it with vcalc"
            )
            problems.append(text)
    return (cov + cov.T) / 2


def _codes(
    labels: ArrayLike, name: str, k: int, problems: list[str]
) -> tuple[Ints, tuple[str, ...]]:
    series = pd.Series(np.asarray(labels))
    if len(series) != k:
        problems.append(f"{name} has {len(series)} labels and yi {k} effects; remedy: one each")
        return np.zeros(k, dtype=np.int64), ("",)
    missing = np.flatnonzero(series.isna())
    if len(missing):
        problems.append(f"{name}[{missing[0]}] is missing; remedy: give every effect a label")
        return np.zeros(k, dtype=np.int64), ("",)
    codes, values = pd.factorize(series, sort=True)
    return codes.astype(np.int64), tuple(map(str, values))
