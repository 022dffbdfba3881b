"""Kinds of evidence on one mechanism, side by side; combined only by a model that is asked for.

Side by side is the default: a difference between groups, a correlation with severity, a change
within persons and an odds ratio answer different questions. `combine` is the explicit model. It
puts the pools of one mechanism and condition on the scale of g,

    association (Fisher z):  d = 2 r / sqrt(1 - r^2) = 2 sinh(z)   (Borenstein et al. 2009, ch. 7)
    odds (log odds ratio):   d = log OR sqrt(3) / pi               (Chinn 2000, Stat Med 19:3127),

takes each pool's likelihood as normal, m_e ~ N(mu_e, s_e^2), with m_e and s_e from the pool's
posterior after its normal prior is taken out, and lets the kinds of evidence differ by as much as
they may: mu_e ~ N(mu, kappa^2), kappa ~ half-normal(0.5), mu ~ N(0, 1). A change within persons is
no difference between persons: no formula converts it, and it is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.convert import log_or_to_d
from nssi_meta.evidence.vocabulary import ESTIMANDS
from nssi_meta.inference.densities import NormalMixture
from nssi_meta.models.priors import parse_prior

Floats = NDArray[np.float64]

KAPPA_SCALE = 0.5
_NODES = 200
_NUMBERS = ("mu_median", "mu_low", "mu_high", "p_positive", "k", "n_studies", "n_bounds")
#: Posterior probability of one sign from which a kind of evidence is said to point that way.
POINTS = 0.9


def side_by_side(pools: pd.DataFrame) -> pd.DataFrame:
    """The `pools` table with one row per mechanism and condition, kinds of evidence beside each
    other.

    Columns: mechanism, label, system, condition, condition_label; for each estimand e
    `e_mu_median`, `e_mu_low`, `e_mu_high`, `e_p_positive`, `e_k`, `e_n_studies`, `e_n_bounds`
    (missing where there is no row; each on its own scale); `n_estimands`; and `directions`: `one`
    where all kinds that point anywhere point the same way, `conflict` where they do not, `none`
    where no kind has a probability of 0.9 for a sign.
    """
    names = ["mechanism", "label", "system", "condition", "condition_label"]
    records = []
    for _, group in pools.groupby(["mechanism", "condition"], sort=False):
        record: dict[str, Any] = {n: group[n].iloc[0] for n in names}
        cells = {str(r["estimand"]): r for r in group.to_dict("records")}
        for estimand in ESTIMANDS:
            for n in _NUMBERS:
                record[f"{estimand}_{n}"] = cells.get(estimand, {}).get(n, np.nan)
        signs = {
            1 if p >= POINTS else -1 for p in group["p_positive"] if p >= POINTS or p <= 1 - POINTS
        }
        record["n_estimands"] = len(group)
        record["directions"] = {0: "none", 1: "one", 2: "conflict"}[len(signs)]
        records.append(record)
    return pd.DataFrame(records)


def on_g(estimand: str, median: float, sd: float) -> tuple[float, float]:
    """Mean and SD of a pool on the scale of g (delta method for the SD).

    Raises ValueError for an estimand that no formula converts.
    """
    if estimand == "case_control":
        return median, sd
    if estimand == "association":
        return float(2 * np.sinh(median)), float(2 * np.cosh(median) * sd)
    if estimand == "odds":
        return float(log_or_to_d(median)), float(log_or_to_d(sd))
    raise ValueError(
        f"{estimand} is not converted to g; combine case_control, association and odds"
    )


def combine(
    pools: pd.DataFrame, estimands: tuple[str, ...] = ("case_control", "association", "odds")
) -> pd.DataFrame:
    """Pools of several estimands combined on the scale of g (the model above).

    Only mechanisms and conditions with at least two of these estimands have a row: mu_median,
    mu_low, mu_high (at the pools' level), p_positive, kappa_median (how much the kinds of evidence
    differ), and `combined`, which kinds went in. Every number rests on conversions: it is not
    mixed with the pools.

    Raises ValueError for an estimand that no formula converts, or for pools under another prior of
    mu than a normal one.
    """
    for estimand in estimands:
        on_g(estimand, 0.0, 1.0)
    records = []
    chosen = pools[pools["estimand"].isin(estimands)]
    for _, group in chosen.groupby(["mechanism", "condition"], sort=False):
        terms = [(r["estimand"], *term) for r in group.to_dict("records") if (term := _term(r))]
        if len(terms) < 2:
            continue
        mu, kappa = _fit(np.array([t[1] for t in terms]), np.array([t[2] for t in terms]))
        tail = (1 - float(group["level"].iloc[0])) / 2
        first = group.iloc[0]
        records.append(
            {
                **{n: first[n] for n in ("mechanism", "label", "condition", "condition_label")},
                "mu_median": mu.quantile(0.5),
                "mu_low": mu.quantile(tail),
                "mu_high": mu.quantile(1 - tail),
                "p_positive": float(1 - mu.cdf(0.0)),
                "kappa_median": kappa,
                "combined": ", ".join(t[0] for t in terms),
                "flags": "converted between scales",
            }
        )
    columns = ["mechanism", "label", "condition", "condition_label", "mu_median", "mu_low",
               "mu_high", "p_positive", "kappa_median", "combined", "flags"]  # fmt: skip
    return pd.DataFrame(records, columns=columns)


def _term(record: dict[Any, Any]) -> tuple[float, float] | None:
    """Normal likelihood of one pool on the scale of g; None where its prior alone spoke."""
    prior = parse_prior(str(record["mu_prior"]), "mu")
    if prior.name != "normal":
        raise ValueError(f"combining pools needs a normal prior of mu, this one is {prior}")
    mean, sd = prior.params
    precision = 1 / float(record["mu_sd"]) ** 2 - 1 / sd**2
    # Less than a hundredth of the prior's own information: the difference would be noise.
    if precision <= 0.01 / sd**2:
        return None
    moved = float(record["mu_mean"]) / float(record["mu_sd"]) ** 2 - mean / sd**2
    return on_g(str(record["estimand"]), moved / precision, float(precision**-0.5))


def _fit(m: Floats, s: Floats) -> tuple[NormalMixture, float]:
    """Posterior of mu, as a mixture over kappa, and the median of kappa.

    kappa on the middle of equally probable slices of its prior; given kappa all is normal.
    """
    from scipy.special import ndtri

    kappa = KAPPA_SCALE * ndtri(0.5 + 0.5 * (np.arange(_NODES) + 0.5) / _NODES)
    v = s**2 + kappa[:, None] ** 2
    precision = 1 + (1 / v).sum(axis=1)
    mean = (m / v).sum(axis=1) / precision
    log_w = -0.5 * (np.log(v).sum(axis=1) + np.log(precision) + (m**2 / v).sum(axis=1))
    log_w += 0.5 * precision * mean**2
    weight = np.exp(log_w - log_w.max())
    weight /= weight.sum()
    median = float(kappa[np.searchsorted(np.cumsum(weight), 0.5)])
    return NormalMixture.build(mean, precision**-0.5, weight), median
