"""Location-scale models: moderators of the mean and of the heterogeneity, as metafor's `scale`.

yi = X beta + u_i + e_i with log var(u_i) = Z alpha (Viechtbauer and Lopez-Lopez 2022, Res Synth
Methods 13:697), by REML or ML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nssi_meta.inference.checked import Floats, check_level, refuse
from nssi_meta.inference.components_fit import hessian, minimum
from nssi_meta.inference.heterogeneity import tau2_estimate
from nssi_meta.inference.tests_and_limits import tested_columns, wald
from nssi_meta.inference.weighted import design, weighted_fit


@dataclass(frozen=True)
class LocationScale:
    """`beta` of the mean, `alpha` of log tau^2 with their errors and limits, `tau2` (k)."""

    names: tuple[str, ...]
    scale_names: tuple[str, ...]
    beta: Floats
    vb: Floats
    se: Floats
    zval: Floats
    pval: Floats
    ci_lb: Floats
    ci_ub: Floats
    alpha: Floats
    va: Floats
    se_alpha: Floats
    zval_alpha: Floats
    pval_alpha: Floats
    ci_lb_alpha: Floats
    ci_ub_alpha: Floats
    tau2: Floats
    logLik: float


def location_scale(
    yi: ArrayLike,
    vi: ArrayLike,
    X: ArrayLike | pd.DataFrame | None = None,
    scale: ArrayLike | pd.DataFrame | None = None,
    method: Literal["REML", "ML"] = "REML",
    level: float = 0.95,
) -> LocationScale:
    """Fit effects `yi` (k) with variances `vi` (k): mean on `X`, log tau^2 on `scale` (k, m).

    Constants are added to both. Normal tests.

    Raises
    ------
    ValueError
        Bad input; too few studies; or heterogeneity that goes to 0 somewhere, where log tau^2 has
        no estimate.
    """
    problems: list[str] = []
    check_level(level, problems)
    if method not in ("REML", "ML"):
        problems.append(f"method = {method!r} is not known; allowed: REML, ML")
    d = design(yi, vi, X, problems=problems)
    s = design(yi, vi, scale)
    if d.k <= d.p + s.p:
        text = f"{d.k} effects for {d.p} + {s.p} coefficients"
        refuse([f"{text}; remedy: more effects or fewer moderators"])
    restricted = method == "REML"
    # Columns of Q of unit mean square, so that one step means the same everywhere.
    Z = s.Q * np.sqrt(d.k)

    def negative(a: Floats) -> tuple[float, Floats]:
        tau2 = np.exp(np.clip(Z @ a, -80, 80))
        total = d.vi + tau2
        fit = weighted_fit(d, 1.0 / total)
        n = d.k - d.p if restricted else d.k
        ll = n * np.log(2 * np.pi) + np.log(total).sum() + fit.rss
        slope = fit.w - (fit.w * fit.resid) ** 2
        if restricted:
            ll += fit.log_det
            slope = slope - fit.w**2 * np.einsum("ki,ij,kj->k", d.Q, fit.A, d.Q)
        return float(ll) / 2, (slope * tau2) @ Z / 2

    guess = max(tau2_estimate(d, method)[0], 0.05 * float(np.median(d.vi)))
    first = np.linalg.lstsq(Z, np.full(d.k, np.log(guess)), rcond=None)[0]
    a, height = minimum(negative, [first, first + 0.5, first - 0.5])
    tau2 = np.exp(Z @ a)
    if float(tau2.min()) < 1e-8 * float(d.vi.min()):
        place = int(tau2.argmin())
        refuse(
            [
                f"tau2 goes to 0 (study {place}): log tau2 has no estimate there; remedy: rma, or "
                "fewer moderators in scale"
            ]
        )
    fit = weighted_fit(d, 1.0 / (d.vi + tau2))
    beta, vb = d.coefficients(fit.delta), d.covariance(fit.A)
    back = np.linalg.inv(s.R) * np.sqrt(d.k)
    alpha, va = back @ a, back @ np.linalg.inv(hessian(negative, a)) @ back.T
    w = wald(beta, vb, level, None, tested_columns(d.names))
    v = wald(alpha, va, level, None, tested_columns(s.names))
    return LocationScale(
        names=d.names, scale_names=s.names, beta=beta, vb=vb, se=w.se, zval=w.zval, pval=w.pval,
        ci_lb=w.ci_lb, ci_ub=w.ci_ub, alpha=alpha, va=va, se_alpha=v.se, zval_alpha=v.zval,
        pval_alpha=v.pval, ci_lb_alpha=v.ci_lb, ci_ub_alpha=v.ci_ub, tau2=tau2, logLik=-height,
    )  # fmt: skip
