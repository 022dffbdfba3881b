"""Wald tests and limits of coefficients, shared by the classical models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nssi_meta.inference.checked import Floats


@dataclass(frozen=True)
class Wald:
    """Per coefficient (p): statistic, p-value, limits; and the joint test of moderators."""

    se: Floats
    zval: Floats
    pval: Floats
    ci_lb: Floats
    ci_ub: Floats
    QM: float
    QMdf: tuple[int, int | None]
    QMp: float


def critical(level: float, df: float | None) -> float:
    """Two-sided critical value, normal when `df` is None, else Student's t."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + level) / 2
    return float(ndtri(tail) if df is None else stdtrit(df, tail))


def two_sided(statistic: Floats, df: Floats | float | None) -> Floats:
    """Two-sided p-value, normal when `df` is None, else Student's t."""
    from scipy.special import ndtr, stdtr

    size = -np.abs(statistic)
    return np.asarray(2 * (ndtr(size) if df is None else stdtr(df, size)))


def wald(beta: Floats, vb: Floats, level: float, df: int | None, tested: list[int]) -> Wald:
    """Tests of `beta` (p) with covariance `vb`; `tested` go into the joint test QM."""
    from scipy.special import chdtrc, fdtrc

    se = np.sqrt(np.diag(vb))
    zval = beta / se
    half = critical(level, df) * se
    m = len(tested)
    part = beta[tested]
    QM = float(part @ np.linalg.solve(vb[np.ix_(tested, tested)], part))
    if df is None:
        QMp = float(chdtrc(m, QM))
    else:
        QM /= m
        QMp = float(fdtrc(m, df, QM))
    return Wald(se, zval, two_sided(zval, df), beta - half, beta + half, QM, (m, df), QMp)


def tested_columns(names: tuple[str, ...]) -> list[int]:
    """The moderators; the intercept only where it stands alone."""
    p = len(names)
    return list(range(1, p)) if names[0] == "intrcpt" and p > 1 else list(range(p))


def information_criteria(ll: float, k: int, p: int, n_variances: int, reml: bool) -> Floats:
    """AIC, BIC and AICc of a (restricted) log-likelihood, as metafor counts."""
    parameters = p + n_variances
    n = k - p if reml else k
    aic = -2 * ll + 2 * parameters
    bic = -2 * ll + parameters * np.log(n) if n > 0 else np.nan
    m = max(n, parameters + 2)
    aicc = -2 * ll + 2 * parameters * m / (m - parameters - 1)
    return np.array([aic, bic, aicc])


def table(fit: object) -> pd.DataFrame:
    """Coefficients of any classical fit as a table, one row each: estimate, se, statistic, ..."""
    columns = ["se", "zval", "pval", "ci_lb", "ci_ub"]
    data = {"estimate": getattr(fit, "beta")} | {c: getattr(fit, c) for c in columns}  # noqa: B009
    return pd.DataFrame(data, index=pd.Index(getattr(fit, "names"), name="term"))  # noqa: B009
