"""What single studies do to a classical fit: leave-one-out, cumulative, influence, shrinkage.

As metafor's `leave1out`, `cumul`, `influence` and `blup` (Viechtbauer and Cheung 2010, Res Synth
Methods 1:112).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.checked import refuse
from nssi_meta.inference.frequentist import Rma, fit_design
from nssi_meta.inference.heterogeneity import COMMON
from nssi_meta.inference.tests_and_limits import critical
from nssi_meta.inference.weighted import prepared, weighted_fit

_FIELDS = ("zval", "pval", "ci_lb", "ci_ub")


def _subset(fit: Rma, keep: NDArray[np.intp]) -> Rma:
    """The same model fitted to the rows `keep`; one study alone is taken as it is."""
    d = fit.design
    X = d.X[keep]
    if len(keep) < fit.p or np.linalg.matrix_rank(X) < fit.p:
        text = f"without study {np.setdiff1d(np.arange(d.k), keep).tolist()} a moderator follows"
        refuse([f"{text} from the others; remedy: fewer moderators"])
    alone = len(keep) <= fit.p
    method, test = ("EE", "z") if alone else (fit.method, fit.test)
    return fit_design(prepared(d.yi[keep], d.vi[keep], X, d.names), method, test, fit.level)


def _without(fit: Rma) -> list[Rma]:
    if fit.k < 2:
        refuse(["there is 1 study: leaving it out leaves none; remedy: give at least 2"])
    return [_subset(fit, np.delete(np.arange(fit.k), i)) for i in range(fit.k)]


def _pooled(fits: Sequence[Rma]) -> pd.DataFrame:
    rows = [
        {"estimate": m.beta[0], "se": m.se[0]}
        | {f: getattr(m, f)[0] for f in _FIELDS}
        | {"Q": m.QE, "Qp": m.QEp, "tau2": m.tau2, "I2": m.I2, "H2": m.H2}
        for m in fits
    ]
    return pd.DataFrame(rows)


def _only_intercept(fit: Rma) -> None:
    if fit.names != ("intrcpt",):
        refuse([f"moderators ({', '.join(fit.names)}) in the model; remedy: fit without X"])


def leave1out(fit: Rma) -> pd.DataFrame:
    """The pooled effect without each study in turn, one row a study left out.

    Columns estimate, se, zval, pval, ci_lb, ci_ub, Q, Qp, tau2, I2, H2. Where one study is left it
    is taken as it is (tau2 = 0, normal limits).
    """
    _only_intercept(fit)
    return _pooled(_without(fit))


def cumul(fit: Rma, order: Sequence[int] | None = None) -> pd.DataFrame:
    """The pooled effect of the first 1, 2, ..., k studies in `order` (places; as given when None).

    Columns as in `leave1out`. The first row is the first study as it is (tau2 = 0, normal limits).
    """
    _only_intercept(fit)
    places = np.arange(fit.k) if order is None else np.asarray(order, dtype=np.intp)
    if sorted(places.tolist()) != list(range(fit.k)):
        refuse([f"order must hold each of 0..{fit.k - 1} once; remedy: numpy.argsort(years)"])
    return _pooled([_subset(fit, places[: i + 1]) for i in range(fit.k)])


def influence(fit: Rma) -> pd.DataFrame:
    """Deletion diagnostics, one row a study.

    Columns rstudent (externally standardised residual), dffits, cook_d, cov_r, tau2_del, QE_del,
    hat, weight (percent).
    """
    d = fit.design
    w = 1.0 / (d.vi + fit.tau2)
    full = weighted_fit(d, w)
    hat = w * np.einsum("ki,ij,kj->k", d.Q, full.A, d.Q)
    rows = []
    inverse, det = np.linalg.inv(fit.vb), np.linalg.slogdet(fit.vb)[1]
    for i, m in enumerate(_without(fit)):
        x, change = d.X[i], fit.beta - m.beta
        total = m.tau2 + d.vi[i]
        rows.append(
            {
                "rstudent": (d.yi[i] - x @ m.beta) / np.sqrt(total + x @ m.vb @ x),
                "dffits": x @ change / np.sqrt(hat[i] * total),
                "cook_d": change @ inverse @ change,
                "cov_r": np.exp(np.linalg.slogdet(m.vb)[1] - det),
                "tau2_del": m.tau2,
                "QE_del": m.QE,
            }
        )
    return pd.DataFrame(rows).assign(hat=hat, weight=100 * w / w.sum())


def blup(fit: Rma) -> pd.DataFrame:
    """Best linear unbiased predictions of the studies' true effects: pred, se, pi_lb, pi_ub."""
    if fit.method in COMMON:
        refuse([f"method {fit.method} has no study effects; remedy: fit with method='REML'"])
    d = fit.design
    kept = fit.tau2 / (fit.tau2 + d.vi)
    pred = kept * d.yi + (1 - kept) * (d.X @ fit.beta)
    mean = np.einsum("ki,ij,kj->k", d.X, fit.vb, d.X)
    se = np.sqrt(kept * d.vi + (1 - kept) ** 2 * mean)
    half = critical(fit.level, fit.df) * se
    return pd.DataFrame({"pred": pred, "se": se, "pi_lb": pred - half, "pi_ub": pred + half})
