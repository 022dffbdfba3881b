"""The frequentist mirror of `pooled`: the same cells by classical methods, exact rows only.

One effect a study: `rma`. Several rows a study, or people shared between rows: under REML or ML
three levels with the known sampling covariance (`rma_mv`), otherwise `rma` with rows as if
independent; both with cluster-robust errors (CR2) beside. Where a cell has too little for a method
its numbers are missing and `note` says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.checked import check_level, refuse
from nssi_meta.inference.frequentist import TESTS, Rma, confint, predict, rma
from nssi_meta.inference.heterogeneity import COMMON, METHODS
from nssi_meta.inference.rma_mv import RmaMv, rma_mv
from nssi_meta.inference.rma_mv_after import i2_levels, predict_mv
from nssi_meta.inference.robust import robust
from nssi_meta.models.grouping import components, shares
from nssi_meta.synthesis.cells import CELL
from nssi_meta.synthesis.pool_tables import labelled
from nssi_meta.synthesis.pooled import rows_to_pool

_PEOPLE = ("sample_id", "control_id")
#: Satterthwaite degrees of freedom below which a cluster-robust test is off (Tipton 2015).
_FEW = 4
#: Numbers of a cell, in the order of the table.
NUMBERS = (
    "estimate", "se", "df", "p", "ci_low", "ci_high", "pred_low", "pred_high", "tau2", "tau2_low",
    "tau2_high", "omega2", "I2", "H2", "Q", "Q_df", "Q_p", "robust_se", "robust_df", "robust_p",
    "robust_low", "robust_high",
)  # fmt: skip


def classical_pools(
    data: Evidence | pd.DataFrame,
    method: str = "REML",
    test: str | None = None,
    level: float = 0.95,
    rho: float = 0.6,
) -> pd.DataFrame:
    """Classical pools of every cell of `data`, one row each.

    Parameters
    ----------
    data
        Evidence or a frame of `read_simple`, as for `pool`.
    method
        Estimator of tau2, one of `heterogeneity.METHODS`, in any case of letters.
    test
        One of `frequentist.TESTS`; without one knha (Hartung-Knapp), and z for a common effect.
        Three levels know z and t: t stands for the others.
    level
        Of all intervals.
    rho
        Correlation assumed between errors of two effects in the same people (three levels).

    Returns
    -------
    DataFrame
        The cell; `k` exact rows used, `n_studies` and `n_clusters` of them; `n_bounds` and
        `n_unsigned`, rows left out; `model`, `method`, `test`; `NUMBERS` (variances on the effects'
        scale squared, I2 in percent, the prediction interval as metafor's `predict`, tau2_low and
        tau2_high by Q-profile); `note`.

    Raises
    ------
    ValueError
        An unknown name, a level or rho out of range, or no row to pool.
    """
    names = {m.lower(): m for m in METHODS}
    problems: list[str] = []
    if method.lower() not in names:
        problems.append(f"method = {method!r} is not known; allowed: {', '.join(METHODS)}")
    if test is not None and test not in TESTS:
        problems.append(f"test = {test!r} is not known; allowed: {', '.join(TESTS)}")
    if not 0 <= rho < 1:
        problems.append(f"rho = {rho:g} is out of range; allowed: at least 0 and below 1")
    check_level(level, problems)
    refuse(problems)
    chosen = names[method.lower()]
    way = test or ("z" if chosen in COMMON else "knha")
    frame, mechanisms, conditions = rows_to_pool(data)
    if frame.empty:
        refuse(["no rows to pool; remedy: select rows that are used (`nssi-meta check`)"])
    cells = [
        _cell(key, rows, chosen, way, level, rho)
        for key, rows in frame.groupby(CELL, sort=False, dropna=False)
    ]
    return labelled(pd.DataFrame(cells), mechanisms, conditions)


def _cell(
    key: Any, rows: pd.DataFrame, method: str, test: str, level: float, rho: float
) -> dict[str, Any]:
    exact = rows[rows["kind"] == "exact"].reset_index(drop=True)
    cluster = components(exact, ("study_id", *_PEOPLE))
    out: dict[str, Any] = {
        **dict(zip(CELL, key, strict=True)),
        "scale": rows["scale"].iloc[0],
        "k": len(exact),
        "n_studies": exact["study_id"].nunique(),
        "n_clusters": len(np.unique(cluster)),
        "n_bounds": int((rows["kind"] == "interval").sum()),
        "n_unsigned": int((rows["kind"] == "unsigned").sum()),
        "model": "",
        "method": method,
        "test": test,
        "level": level,
        **dict.fromkeys(NUMBERS, np.nan),
        "note": "",
    }
    try:
        out |= _numbers(exact, cluster, method, test, level, rho)
    except (ValueError, np.linalg.LinAlgError) as error:
        out["note"] = str(error)
    return out


def _numbers(
    exact: pd.DataFrame, cluster: np.ndarray, method: str, test: str, level: float, rho: float
) -> dict[str, Any]:
    yi, vi = exact["yi"].to_numpy(dtype=float), exact["vi"].to_numpy(dtype=float)
    if not len(exact):
        refuse(["no exact effect: bounds and sizes without a sign have no place in this method"])
    if len(exact) == 1 and (method not in COMMON or test != "z"):
        refuse(["a single exact effect cannot show how studies differ; remedy: method='EE'"])
    clusters = len(np.unique(cluster))
    dependent = clusters < len(exact)
    if dependent and clusters == 1 and method not in COMMON:
        refuse(["the exact rows come from one study: tau2 between studies cannot be estimated"])
    if not dependent:
        fit = rma(yi, vi, method=method, test=test, level=level)  # type: ignore[arg-type]
        narrow = test == "knha" and fit.s2w < 1
        note = "Hartung-Knapp is narrower than z here; test='adhoc' never is" if narrow else ""
        return {"model": _name(method), **_univariate(fit), "note": note}
    if method in ("REML", "ML"):
        several = _three_levels(exact, method, test, level, rho)
        out = {"model": "three levels", "test": several.test, **_multilevel(several)}
        return out | _robust(several, cluster)
    single = rma(yi, vi, method=method, test=test, level=level)  # type: ignore[arg-type]
    note = f"{method} takes rows of a study as independent: go by the cluster-robust interval"
    return {"model": _name(method), **_univariate(single), "note": note} | _robust(single, cluster)


def _name(method: str) -> str:
    return "common effect" if method in COMMON else "random effects"


def _three_levels(exact: pd.DataFrame, method: str, test: str, level: float, rho: float) -> RmaMv:
    """Effects in studies; studies alone where none gives several effects."""
    groups = {"study": exact["study_id"].to_numpy()}
    if exact["study_id"].duplicated().any():
        groups["effect"] = np.arange(len(exact))
    together = shares(exact, _PEOPLE).any()
    V = vcalc(exact, rho) if together else exact["vi"].to_numpy(dtype=float)
    return rma_mv(
        exact["yi"].to_numpy(dtype=float), V, groups=groups,
        method="REML" if method == "REML" else "ML", test="z" if test == "z" else "t", level=level,
    )  # fmt: skip


def _univariate(fit: Rma) -> dict[str, Any]:
    new = predict(fit).iloc[0]
    limits = (np.nan, np.nan)
    if fit.method not in COMMON and fit.k > 1:
        limits = tuple(confint(fit).loc["tau2", ["ci_lb", "ci_ub"]])
    return _shared(fit, new) | {
        "tau2": fit.tau2,
        "tau2_low": limits[0],
        "tau2_high": limits[1],
        "I2": fit.I2,
        "H2": fit.H2,
    }


def _multilevel(fit: RmaMv) -> dict[str, Any]:
    share = float(i2_levels(fit)["total"])
    return _shared(fit, predict_mv(fit).iloc[0]) | {
        "tau2": float(fit.sigma2[0]),
        "omega2": float(fit.sigma2[1]) if len(fit.sigma2) > 1 else np.nan,
        "I2": share,
        "H2": 1 / (1 - share / 100),
    }


def _shared(fit: Rma | RmaMv, new: pd.Series) -> dict[str, Any]:
    return {
        "estimate": float(fit.beta[0]),
        "se": float(fit.se[0]),
        "df": np.nan if fit.df is None else float(fit.df),
        "p": float(fit.pval[0]),
        "ci_low": float(fit.ci_lb[0]),
        "ci_high": float(fit.ci_ub[0]),
        "pred_low": float(new["pi_lb"]),
        "pred_high": float(new["pi_ub"]),
        "Q": fit.QE,
        "Q_df": float(fit.k - fit.p),
        "Q_p": fit.QEp,
    }


def _robust(fit: Rma | RmaMv, cluster: np.ndarray) -> dict[str, Any]:
    if len(np.unique(cluster)) < 2:
        return {"note": "one study alone gives no cluster-robust error"}
    found = robust(fit, cluster)
    df = float(found.df[0])
    few = f"robust error on {df:.1f} df: below {_FEW} trust no p-value"
    return ({"note": few} if df < _FEW else {}) | {
        "robust_se": float(found.se[0]),
        "robust_df": float(found.df[0]),
        "robust_p": float(found.pval[0]),
        "robust_low": float(found.ci_lb[0]),
        "robust_high": float(found.ci_ub[0]),
    }
