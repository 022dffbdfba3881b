"""Classical meta-analysis and meta-regression of independent effects, as metafor's `rma`.

Model: yi = X beta + u_i + e_i, u_i ~ N(0, tau^2), e_i ~ N(0, vi). Coefficients by weighted least
squares with weights 1/(vi + tau^2), tau^2 by one of `heterogeneity.METHODS`. Names of results are
metafor's (Viechtbauer 2010, J Stat Softw 36(3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nssi_meta.inference import heterogeneity as het
from nssi_meta.inference.checked import Floats, check_level, refuse
from nssi_meta.inference.heterogeneity import COMMON, METHODS, Method
from nssi_meta.inference.tests_and_limits import (
    Wald,
    critical,
    information_criteria,
    tested_columns,
    wald,
)
from nssi_meta.inference.weighted import Design, Fit, design, weighted_fit
from nssi_meta.shown import coefficients, shown

Test = Literal["z", "t", "knha", "adhoc"]
TESTS: tuple[str, ...] = get_args(Test)


@dataclass(frozen=True)
class Rma:
    """A fitted model. Arrays `beta`, `se`, ... are per coefficient, in the order of `names`.

    `QE` tests residual heterogeneity, `QM` the moderators (`QMdf` holds the second degrees of
    freedom of an F test, or None). `I2` and `R2` are percentages. `df` is k - p, or None for
    `test="z"`. `se_tau2` is None without heterogeneity in the model, `R2` without moderators or
    where X does not span a constant. `vb` is the covariance of `beta`, `s2w` what Hartung and
    Knapp multiply it by (1 otherwise).
    """

    design: Design
    method: str
    test: str
    level: float
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
    s2w: float
    tau2: float
    se_tau2: float | None
    I2: float
    H2: float
    R2: float | None
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
        tests: dict[str, float | None] = {"QE": self.QE, "QEp": self.QEp}
        if self.p > 1:
            tests |= {"QM": self.QM, "QMp": self.QMp, "R2": self.R2}
        return shown(
            f"{self.method} model of {self.k} effects, test {self.test}, level {self.level:g}",
            coefficients(self),
            {"tau2": self.tau2, "se_tau2": self.se_tau2, "I2": self.I2, "H2": self.H2, **tests},
        )

    @property
    def tau(self) -> float:
        """SD of true effects."""
        return float(np.sqrt(self.tau2))


def rma(
    yi: ArrayLike,
    vi: ArrayLike,
    X: ArrayLike | pd.DataFrame | None = None,
    method: Method = "REML",
    test: Test = "z",
    level: float = 0.95,
    intercept: bool = True,
) -> Rma:
    """Fit effects `yi` (k) with sampling variances `vi` (k), on moderators `X` (k, m) if given.

    Parameters
    ----------
    yi, vi
        Effects and their sampling variances, one a study.
    X
        Moderators as numbers, one row a study; names are taken from a data frame. With `intercept`
        a constant is added unless X holds one.
    method
        Estimator of tau^2: REML (default), ML, DL (DerSimonian-Laird), PM or MP (Paule-Mandel), EB
        (the same root), PMM (its median-unbiased variant), HE (Hedges), HS and HSk
        (Hunter-Schmidt), SJ (Sidik-Jonkman); EE, FE, CE: tau^2 = 0.
    test
        z; t with k - p degrees of freedom; knha: Hartung-Knapp-Sidik-Jonkman; adhoc: the same,
        never narrower than t.
    level
        Of the intervals.

    Raises
    ------
    ValueError
        Bad input (every problem is named at once), or too few studies for tau^2 or for t.
    """
    problems: list[str] = []
    if method not in METHODS:
        problems.append(f"method = {method!r} is not known; allowed: {', '.join(METHODS)}")
    if test not in TESTS:
        problems.append(f"test = {test!r} is not known; allowed: {', '.join(TESTS)}")
    check_level(level, problems)
    return fit_design(design(yi, vi, X, intercept, problems), method, test, level)


def fit_design(d: Design, method: str, test: str, level: float) -> Rma:
    """Fit checked input; `rma` is this after the checks."""
    common = method in COMMON
    df = d.k - d.p
    if df < 1 and (not common or test != "z"):
        refuse([_too_few(d, common)])
    tau2, se_tau2 = (0.0, None) if common else het.tau2_estimate(d, method)
    fit = weighted_fit(d, 1.0 / (d.vi + tau2))
    s2w = _hartung_knapp(d, fit, test)
    beta, vb = d.coefficients(fit.delta), s2w * d.covariance(fit.A)
    w = wald(beta, vb, level, None if test == "z" else df, tested_columns(d.names))
    return _assemble(d, method, test, level, tau2, se_tau2, s2w, beta, vb, w)


def _too_few(d: Design, common: bool) -> str:
    what = "a t test" if common else "the variance of true effects"
    remedy = "test='z'" if common else "method='EE'"
    return (
        f"{what} needs more effects ({d.k}) than coefficients ({d.p}); remedy: {remedy}, more "
        "effects, or the Bayesian pool, whose prior helps"
    )


def _hartung_knapp(d: Design, fit: Fit, test: str) -> float:
    if test not in ("knha", "adhoc"):
        return 1.0
    s2w = float(fit.rss) / (d.k - d.p)
    if test == "adhoc":
        return max(1.0, s2w)
    if s2w <= 1e-24 * float(np.max(fit.w * d.yi**2)):
        refuse(["test='knha' needs effects that differ from their fit; remedy: test='adhoc'"])
    return s2w


def _assemble(
    d: Design,
    method: str,
    test: str,
    level: float,
    tau2: float,
    se_tau2: float | None,
    s2w: float,
    beta: Floats,
    vb: Floats,
    w: Wald,
) -> Rma:
    from scipy.special import chdtrc

    df, common = d.k - d.p, method in COMMON
    QE = het.generalised_q(d, 0.0)
    if df < 1:
        QE, I2, H2 = 0.0, 0.0, 1.0
    elif common:
        I2, H2 = (max(0.0, 100 * (QE - df) / QE) if QE > 0 else 0.0), QE / df
    else:
        typical = het.typical_variance(d)
        I2, H2 = 100 * tau2 / (typical + tau2), tau2 / typical + 1
    reml = method == "REML"
    ll = float(het.log_likelihood(d, tau2, reml))
    aic, bic, aicc = information_criteria(ll, d.k, d.p, 0 if common else 1, reml)
    return Rma(
        design=d, method=method, test=test, level=level, names=d.names, k=d.k, p=d.p,
        beta=beta, vb=vb, se=w.se, zval=w.zval, pval=w.pval, ci_lb=w.ci_lb, ci_ub=w.ci_ub,
        df=None if test == "z" else df, s2w=s2w, tau2=tau2, se_tau2=se_tau2,
        I2=I2, H2=H2, R2=_r2(d, method, tau2, QE),
        QE=QE, QEp=float(chdtrc(df, QE)) if df > 0 else 1.0, QM=w.QM, QMdf=w.QMdf, QMp=w.QMp,
        logLik=ll, AIC=float(aic), BIC=float(bic), AICc=float(aicc),
    )  # fmt: skip


def _r2(d: Design, method: str, tau2: float, QE: float) -> float | None:
    """Share of tau^2 (of the weighted sum of squares without one) that moderators explain, %."""
    if not d.intercept or d.p == 1 or d.k <= d.p:
        return None
    plain = design(d.yi, d.vi)
    if method in COMMON:
        before, after = het.generalised_q(plain, 0.0) / (d.k - 1), QE / (d.k - d.p)
    else:
        before, after = het.tau2_estimate(plain, method)[0], tau2
    return 0.0 if before == 0 else max(0.0, 100 * (before - after) / before)


def confint(fit: Rma, kind: Literal["QP", "PL"] = "QP") -> pd.DataFrame:
    """Intervals of tau2, tau, I2 and H2: Q-profile (QP) or profile likelihood (PL; ML and REML).

    Rows tau2, tau, I2, H2; columns estimate, ci_lb, ci_ub.

    Raises
    ------
    ValueError
        A model without heterogeneity, or PL where tau2 is not a maximum of the likelihood.
    """
    if fit.method in COMMON:
        refuse([f"method {fit.method} has no tau2; remedy: fit with method='REML' first"])
    if kind == "PL" and fit.method not in ("ML", "REML"):
        refuse([f"kind='PL' needs method ML or REML, not {fit.method}; remedy: kind='QP'"])
    if kind == "QP":
        low, high = het.q_profile(fit.design, fit.level)
    else:
        low, high = het.profile_likelihood(fit.design, fit.tau2, fit.method, fit.level)
    tau2 = np.array([fit.tau2, low, high])
    typical = het.typical_variance(fit.design)
    rows = [tau2, np.sqrt(tau2), 100 * tau2 / (typical + tau2), tau2 / typical + 1]
    index = pd.Index(["tau2", "tau", "I2", "H2"], name="parameter")
    return pd.DataFrame(rows, index=index, columns=["estimate", "ci_lb", "ci_ub"])


def predict(fit: Rma, X: ArrayLike | None = None) -> pd.DataFrame:
    """Mean and prediction interval at moderators `X` (n, p), columns as `fit.names`.

    X may be left out where the intercept stands alone. Columns: pred, se, ci_lb, ci_ub; pi_lb and
    pi_ub (normal for `test="z"`, t with k - p degrees of freedom otherwise, as metafor);
    pi_riley_lb and pi_riley_ub (t with k - p - 1; Higgins, Thompson and Spiegelhalter 2009, Riley
    et al. 2011), missing where k - p - 1 < 1. All four are missing without heterogeneity in the
    model.
    """
    if X is None and fit.names != ("intrcpt",):
        refuse([f"X is needed; allowed: columns {', '.join(fit.names)}"])
    rows = np.ones((1, 1)) if X is None else np.atleast_2d(np.asarray(X, dtype=float))
    if rows.shape[1] != fit.p:
        text = f"X has {rows.shape[1]} columns; allowed: {fit.p}, in the order of"
        refuse([f"{text} {', '.join(fit.names)} (the constant included)"])
    pred = rows @ fit.beta
    variance = np.einsum("ki,ij,kj->k", rows, fit.vb, rows)
    se = np.sqrt(variance)
    crit, out = critical(fit.level, fit.df), {"pred": pred, "se": se}
    out |= {"ci_lb": pred - crit * se, "ci_ub": pred + crit * se}
    wide = np.sqrt(variance + fit.tau2) * (np.nan if fit.method in COMMON else 1.0)
    out |= {"pi_lb": pred - crit * wide, "pi_ub": pred + crit * wide}
    left = fit.k - fit.p - 1
    half = critical(fit.level, left) * wide if left > 0 else np.full(len(rows), np.nan)
    return pd.DataFrame(out | {"pi_riley_lb": pred - half, "pi_riley_ub": pred + half})


def vif(fit: Rma) -> pd.Series:
    """Variance inflation of each moderator: by how much the others widen its variance."""
    tested = tested_columns(fit.names)
    if tested == [0]:
        refuse(["one coefficient alone is not inflated; remedy: fit with moderators"])
    part = fit.vb[np.ix_(tested, tested)]
    values = np.diag(part) * np.diag(np.linalg.inv(part))
    return pd.Series(values, index=[fit.names[i] for i in tested], name="vif")
