"""What single studies do to a pool: exact refits without each study in turn.

Nothing is approximated: every study is left out with all its rows and the posterior is computed
again. The difference of two log marginal likelihoods is the log predictive density of the study
left out given all others, p(y_j | y_-j) = p(y) / p(y_-j): an exact leave-one-out score.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import ExactPosterior, fit_exact, has_omega
from nssi_meta.models.blocks import layout
from nssi_meta.synthesis.cells import Cell, Options
from nssi_meta.synthesis.counts_cell import CountsCell
from nssi_meta.synthesis.kinds import AnyPools, require_pools

#: Mechanism, condition, estimand.
Key = tuple[str, str, str]
#: A study is called influential when mu moves by this many of its posterior SDs without it.
SHIFT = 0.5
#: Or when the prediction interval becomes narrower by this share.
NARROWER = 0.2


def leave_one_out(pools: AnyPools, key: Key | None = None) -> pd.DataFrame:
    """The pool of one cell without each of its studies.

    Parameters
    ----------
    pools
        Fitted by the exact engine: by `pool`, or of two-by-two tables by `pool_counts`.
    key
        Mechanism, condition and estimand of the cell; not needed where there is only one.

    Returns
    -------
    One row a study, with the columns of `figures.leave_one_out` (label, k, median, low, high,
    p_positive; k is the number of rows left) and study_id, rows (left out), pred_low, pred_high,
    tau_median; `shift` of mu's mean in SDs of mu given all, `narrower`, the share by which the
    prediction interval shrinks without the study (negative: it widens), `elpd`, the log predictive
    density of the study given the others (missing under an improper prior), and `influential`,
    in words, empty where a study is not.

    Raises
    ------
    ValueError
        The cell has one study only, was sampled by NUTS, or is not in `pools`.
    PriorError
        A prior leaves no posterior without one of the studies.
    """
    chosen, options = cell_of(pools, key), pools.options
    if options.engine != "exact":
        raise ValueError("leave_one_out refits by the exact engine; pool with engine='exact'")
    studies = list(dict.fromkeys(chosen.rows["study_id"]))
    if len(studies) < 2:
        raise ValueError("leaving out the only study leaves none; the pool needs at least 2")
    names = chosen.rows.groupby("study_id", sort=False)["label"].first()
    full = chosen.posterior
    # The model stays the same: omega is not dropped with the one study that has several rows.
    within = has_omega(chosen.rows["study_id"].to_numpy())
    low, high = interval(full.prediction, options.level, options.interval)
    records = []
    for study in studies:
        rows = chosen.rows[chosen.rows["study_id"] != study]
        post = refit(chosen, rows, options, within)
        record = describe(post, options)
        shift = (post.mu.mean - full.mu.mean) / full.mu.sd
        narrower = 1 - (record["pred_high"] - record["pred_low"]) / (high - low)
        records.append(
            {
                "label": str(study if pd.isna(names[study]) else names[study]),
                "study_id": study,
                "rows": len(chosen.rows) - len(rows),
                "k": len(rows),
                **record,
                "shift": shift,
                "narrower": narrower,
                "elpd": _difference(full, post),
                "influential": _words(shift, narrower),
            }
        )
    return pd.DataFrame(records)


def whole(pools: AnyPools, key: Key | None = None) -> pd.DataFrame:
    """One row in the columns of `figures.leave_one_out`: the pool of all studies."""
    chosen = cell_of(pools, key)
    record = {"label": "all studies", "k": len(chosen.rows)}
    return pd.DataFrame([{**record, **describe(chosen.posterior, pools.options)}])


def cell_of(pools: AnyPools, key: Key | None) -> Cell:
    """The cell of that key, or the only one.

    Raises ValueError that names the keys there are, or says that pools are needed.
    """
    require_pools(pools)
    found: list[Cell] = [c for c in pools.cells if key is None or tuple(c.key) == tuple(key)]
    if len(found) != 1:
        keys = "; ".join(str(tuple(c.key)) for c in pools.cells[:5])
        raise ValueError(
            f"{'no pool' if key else 'which pool'}? key = {key}; allowed: {keys}"
            + (f" and {len(pools.cells) - 5} more" if len(pools.cells) > 5 else "")
        )
    return found[0]


def describe(post: ExactPosterior, options: Options, prediction: bool = True) -> dict[str, float]:
    """Median and interval of mu, P(mu > 0), tau, and the prediction interval if asked for."""
    low, high = interval(post.mu, options.level, options.interval)
    found = {
        "median": post.mu.quantile(0.5),
        "low": low,
        "high": high,
        "p_positive": float(1 - post.mu.cdf(0.0)),
        "tau_median": post.tau_density.quantile(0.5),
    }
    if not prediction:
        return found
    pred_low, pred_high = interval(post.prediction, options.level, options.interval)
    return {**found, "pred_low": pred_low, "pred_high": pred_high}


def refit(cell: Cell, rows: pd.DataFrame, options: Options, within: bool) -> ExactPosterior:
    """The pool of other rows under a cell's priors; `within` says whether omega is in the model."""
    if isinstance(cell, CountsCell):
        return cell.refit(rows)
    mu, tau, omega = cell.priors
    data = layout(rows.reset_index(drop=True), partial(vcalc, rho=options.rho), options.rho)
    n = rows.loc[rows["kind"] != "interval", "study_id"].nunique()
    return fit_exact(
        data, mu_prior=mu, tau_prior=tau, omega_prior=omega if within else None, n_studies=n
    )


def _difference(full: ExactPosterior, without: ExactPosterior) -> float:
    if full.log_evidence is None or without.log_evidence is None:
        return float(np.nan)
    return full.log_evidence - without.log_evidence


def _words(shift: float, narrower: float) -> str:
    out = []
    if abs(shift) > SHIFT:
        out.append(f"mu moves by {shift:+.2f} posterior SDs without it")
    if narrower > NARROWER:
        out.append(f"the prediction interval is {narrower:.0%} narrower without it")
    return "; ".join(out)
