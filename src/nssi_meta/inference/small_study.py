"""Classical tests of small-study effects: regression, rank correlation, trim and fill.

As metafor's `regtest`, `ranktest` and `trimfill`. They see asymmetry of the funnel, not its cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from nssi_meta.inference.checked import Floats, check_level, column, refuse
from nssi_meta.inference.frequentist import Rma, rma
from nssi_meta.inference.heterogeneity import Method
from nssi_meta.inference.tests_and_limits import critical, two_sided
from nssi_meta.inference.weighted import design, weighted_fit
from nssi_meta.shown import shown

Predictor = Literal["sei", "vi", "ni", "ninv", "sqrtni", "sqrtninv"]
_PREDICTORS: tuple[str, ...] = get_args(Predictor)


#: Relative differences up to this are rounding.
SAME = 1e-12


@dataclass(frozen=True)
class Regtest:
    """Slope of the effects on their imprecision: statistic `zval` (t with `df`, normal if None).

    `beta`, `se` (2): intercept and slope. `est`, `ci_lb`, `ci_ub`: the effect of a study without
    sampling error, None for predictors that grow with the study.
    """

    model: str
    predictor: str
    zval: float
    df: int | None
    pval: float
    beta: Floats
    se: Floats
    tau2: float
    est: float | None
    ci_lb: float | None
    ci_ub: float | None


def regtest(
    yi: ArrayLike,
    vi: ArrayLike,
    ni: ArrayLike | None = None,
    model: Literal["rma", "lm"] = "rma",
    predictor: Predictor = "sei",
    method: Method = "REML",
    level: float = 0.95,
) -> Regtest:
    """Regression test for funnel asymmetry (Egger et al. 1997, BMJ 315:629; Sterne & Egger 2005).

    Parameters
    ----------
    yi, vi, ni
        Effects (k), sampling variances (k), sample sizes (k; for predictors made of them).
    model
        rma: meta-regression with tau^2 by `method`. lm: weighted regression whose error variance
        is estimated, Egger's own test; its t test has k - 2 degrees of freedom.
    predictor
        sei, vi, ni, ninv (1/ni), sqrtni, sqrtninv (1/sqrt(ni)).

    Raises
    ------
    ValueError
        Bad input; fewer than three studies; a predictor that does not vary.
    """
    problems: list[str] = []
    check_level(level, problems)
    if model not in ("rma", "lm"):
        problems.append(f"model = {model!r} is not known; allowed: rma, lm")
    if predictor not in _PREDICTORS:
        problems.append(f"predictor = {predictor!r}; allowed: {', '.join(_PREDICTORS)}")
    d = design(yi, vi, problems=problems)
    if d.k < 3:
        refuse([f"{d.k} studies; remedy: the regression test needs at least 3, better 10"])
    x = _predictor(d.vi, ni, predictor)
    if np.ptp(x) <= SAME * np.abs(x).max():
        refuse([f"the predictor {predictor} does not vary: no line; remedy: another predictor"])
    limit = predictor in ("sei", "vi", "ninv", "sqrtninv")
    if model == "rma":
        fit = rma(d.yi, d.vi, x, method=method, level=level)
        beta, se, df, tau2 = fit.beta, fit.se, None, fit.tau2
    else:
        line = design(d.yi, d.vi, x)
        w = weighted_fit(line, 1.0 / line.vi)
        df, tau2 = d.k - 2, 0.0
        beta = line.coefficients(w.delta)
        se = np.sqrt(float(w.rss) / df * np.diag(line.covariance(w.A)))
    if model == "lm" and _on_line(d.yi, d.vi, d.yi - beta[0] - beta[1] * x):
        refuse(
            ["the effects lie exactly on a line; remedy: check that yi are not computed from vi"]
        )
    z = float(beta[1] / se[1])
    half = critical(level, df) * float(se[0])
    b0 = float(beta[0])
    est, low, high = (b0, b0 - half, b0 + half) if limit else (None, None, None)
    p = float(two_sided(np.asarray(z), df))
    return Regtest(model, predictor, z, df, p, beta, se, tau2, est, low, high)


def _on_line(yi: Floats, vi: Floats, residual: Floats) -> bool:
    """Whether all that is left of the effects is rounding."""
    return bool(np.max(residual**2 / vi) <= SAME**2 * np.max(yi**2 / vi))


def _predictor(vi: Floats, ni: ArrayLike | None, name: str) -> Floats:
    if name == "vi":
        return vi
    if name == "sei":
        return np.sqrt(vi)
    problems: list[str] = []
    if ni is None:
        refuse([f"predictor={name!r} needs the sample sizes ni; remedy: give ni or use 'sei'"])
    n = column(np.asarray(ni), "ni", problems, positive=True)
    if not problems and len(n) != len(vi):
        problems.append(f"ni has {len(n)} values and vi {len(vi)}; remedy: one of each per study")
    refuse(problems)
    return {"ni": n, "ninv": 1 / n, "sqrtni": np.sqrt(n), "sqrtninv": 1 / np.sqrt(n)}[name]


@dataclass(frozen=True)
class Ranktest:
    """Kendall's tau of effects and variances, and its two-sided p-value."""

    tau: float
    pval: float


def ranktest(yi: ArrayLike, vi: ArrayLike) -> Ranktest:
    """Rank correlation test (Begg and Mazumdar 1994, Biometrics 50:1088).

    Effects are standardised about the common-effect estimate. The p-value is exact without ties
    and normal with them, as R's `cor.test` gives it.

    Raises
    ------
    ValueError
        Bad input; fewer than three studies; variances or effects all equal.
    """
    d = design(yi, vi)
    if d.k < 3:
        refuse([f"{d.k} studies; remedy: the rank test needs at least 3, better 10"])
    fit = rma(d.yi, d.vi, method="EE")
    if np.ptp(d.yi) <= SAME * np.abs(d.yi).max() or np.ptp(d.vi) <= SAME * d.vi.max():
        refuse(["vi (or the effects) are all equal: nothing to rank; remedy: use another test"])
    rest = d.vi - fit.vb[0, 0]
    if not (rest > SAME * d.vi).all():
        refuse(["one vi is so small that its study is the estimate; remedy: leave that study out"])
    z = (d.yi - fit.beta[0]) / np.sqrt(rest)
    ties = len(np.unique(z)) < d.k or len(np.unique(d.vi)) < d.k
    from scipy.stats import kendalltau

    found = kendalltau(z, d.vi, method="asymptotic" if ties else "exact")
    return Ranktest(float(found.statistic), min(1.0, float(found.pvalue)))


@dataclass(frozen=True)
class Trimfill:
    """`k0` studies thought missing on `side`, with `se_k0` (None where the formula has none).

    `fit` is the model with them filled in; `yi_fill`, `vi_fill` (k0) are the filled studies.
    """

    k0: int
    se_k0: float | None
    side: str
    estimator: str
    fit: Rma
    yi_fill: Floats
    vi_fill: Floats

    def __repr__(self) -> str:
        se = "" if self.se_k0 is None else f" (se {self.se_k0:.4g})"
        title = f"{self.k0} studies{se} thought missing on the {self.side}, {self.estimator}"
        return shown(title, repr(self.fit))


def trimfill(
    yi: ArrayLike,
    vi: ArrayLike,
    method: Method = "REML",
    side: Literal["left", "right"] | None = None,
    estimator: Literal["L0", "R0", "Q0"] = "L0",
    level: float = 0.95,
) -> Trimfill:
    """Trim and fill (Duval and Tweedie 2000, Biometrics 56:455 and J Am Stat Assoc 95:89).

    `side` is where studies are thought missing; None: right where effects fall with their standard
    error, else left. `method` is that of the model trimmed and filled (EE, REML, ...).

    Raises
    ------
    ValueError
        Bad input; fewer than three studies; trimming that does not settle; Q0 without a value.
    """
    problems: list[str] = []
    check_level(level, problems)
    if side not in ("left", "right", None):
        problems.append(f"side = {side!r} is not known; allowed: left, right, None")
    if estimator not in ("L0", "R0", "Q0"):
        problems.append(f"estimator = {estimator!r} is not known; allowed: L0, R0, Q0")
    d = design(yi, vi, problems=problems)
    if d.k < 3:
        refuse([f"{d.k} studies; remedy: trim and fill needs at least 3, better 10"])
    if side is None:
        flat = len(np.unique(d.vi)) == 1
        side = "right" if not flat and _slope(d.yi, d.vi, method) < 0 else "left"
    sign = -1.0 if side == "right" else 1.0
    order = np.argsort(sign * d.yi, kind="stable")
    y, v = sign * d.yi[order], d.vi[order]
    k, k0 = d.k, 0
    for _ in range(100):
        if k - k0 < 2 and method not in ("EE", "FE", "CE"):
            refuse([f"{k0} of {k} studies trimmed: too few left; remedy: method='EE'"])
        b = float(rma(y[: k - k0], v[: k - k0], method=method).beta[0])
        before = k0
        centred = y - b
        centred[np.abs(centred) <= SAME * np.abs(y).max()] = 0.0  # rounding is no side
        k0, se_k0 = _missing(centred, k0, estimator)
        if k0 == before:
            break
    else:
        refuse(["trimming goes round in circles; remedy: another estimator (L0, R0, Q0)"])
    y_fill, v_fill = sign * (2 * b - y[k - k0 :]), v[k - k0 :]
    all_y, all_v = np.concatenate([d.yi, y_fill]), np.concatenate([d.vi, v_fill])
    fit = rma(all_y, all_v, method=method, level=level)
    return Trimfill(k0, se_k0, side, estimator, fit, y_fill, v_fill)


def _slope(yi: Floats, vi: Floats, method: Method) -> float:
    return float(rma(yi, vi, np.sqrt(vi), method=method).beta[1])


def _missing(centred: Floats, before: int, estimator: str) -> tuple[int, float | None]:
    """Number of missing studies and its standard error, from effects about the trimmed mean."""
    k = len(centred)
    ranks = np.empty(k)
    ranks[np.argsort(np.abs(centred), kind="stable")] = np.arange(1, k + 1)
    if estimator == "R0":
        longest = float(ranks[centred < 0].max(initial=0.0))
        k0 = max(0, round(k - longest - 1))
        # metafor: from the estimate before rounding, which is whole here.
        return min(k0, k - 1), float(np.sqrt(2 * max(0.0, k - longest - 1) + 2))
    positive = float(ranks[centred > 0].sum())
    if estimator == "L0":
        raw = (4 * positive - k * (k + 1)) / (2 * k - 1)
    else:
        root = 2 * k**2 - 4 * positive + 0.25
        if root < 0:
            refuse(["Q0 has no value: a root of less than 0; remedy: estimator='L0' or 'R0'"])
        raw = k - 0.5 - float(np.sqrt(root))
    spread = (
        k * (k + 1) * (2 * k + 1) + 10 * raw**3 + 27 * raw**2 + 17 * raw
        - 18 * k * raw**2 - 18 * k * raw + 6 * k**2 * raw
    ) / 24  # fmt: skip
    k0 = min(max(0, round(raw)), k - 1)
    bottom = (k - 0.5) ** 2 - raw * (2 * k - raw - 1)
    if spread < 0 or (estimator == "Q0" and bottom <= 0):
        return k0, None
    scale = 4 / (2 * k - 1) if estimator == "L0" else 2 / float(np.sqrt(bottom))
    return k0, scale * float(np.sqrt(spread))
