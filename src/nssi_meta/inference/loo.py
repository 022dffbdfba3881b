"""Comparing models by how well they foresee a study that they have not seen.

The unit is the study, since it is a study that a review gains next. For draws: Pareto-smoothed
importance sampling (Vehtari, Gelman & Gabry 2017, Stat Comput 27:1413) and WAIC (Watanabe 2010).
For pools by the exact engine see `synthesis.leave_one_out`, which needs no approximation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

#: Above this the importance weights are not to be trusted (for 2,000 draws or more).
MAX_K = 0.7


def psis_loo(
    log_likelihood: Floats, studies: Sequence[str], posterior: xr.Dataset | None = None
) -> pd.DataFrame:
    """Log predictive density of each study given all others, from draws given all.

    Parameters
    ----------
    log_likelihood
        (chain, draw, J): log likelihood of each study, its rows summed, study effects integrated
        out.
    studies
        Their names (J,).
    posterior
        Draws (chain, draw) of what was sampled: their relative efficiency decides how many weights
        are smoothed. Without it that of the first study's log likelihood does.

    Returns
    -------
    study, elpd, p (effective parameters it costs), pareto_k, flag (a sentence where k-hat is above
    0.7: refit without that study). Raises ValueError for values that are not finite.
    """
    _check(log_likelihood, studies)
    import warnings

    import arviz_base
    from arviz_stats.loo import loo

    dims = {"study": ["name"]}
    tree = arviz_base.from_dict(
        {"posterior": {"any": log_likelihood[..., 0]}, "log_likelihood": {"study": log_likelihood}},
        dims=dims,
        coords={"name": list(studies)},
    )
    if posterior is not None:
        tree["posterior"].dataset = posterior
    with warnings.catch_warnings():
        # ArviZ warns of high k-hat; the column `flag` names the studies.
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto")
        found = loo(tree, pointwise=True)
    elpd, k = np.asarray(found.elpd_i), np.asarray(found.pareto_k)
    flat = log_likelihood.reshape(-1, len(studies))
    lppd = logsumexp(flat, axis=0) - np.log(len(flat))
    flag = [
        f"k-hat {value:.2f} is above {MAX_K}: too influential for this approximation; refit "
        "without the study"
        if value > MAX_K
        else ""
        for value in k
    ]
    return pd.DataFrame(
        {"study": list(studies), "elpd": elpd, "p": lppd - elpd, "pareto_k": k, "flag": flag}
    )


def waic(log_likelihood: Floats, studies: Sequence[str]) -> pd.DataFrame:
    """Widely applicable information criterion on the elpd scale: study, elpd, p, flag.

    `log_likelihood` as in `psis_loo`. A variance above 0.4 of a study's log likelihood is flagged,
    for WAIC is not reliable there (Vehtari et al. 2017).
    """
    _check(log_likelihood, studies)
    flat = log_likelihood.reshape(-1, len(studies))
    lppd = logsumexp(flat, axis=0) - np.log(len(flat))
    p = flat.var(axis=0, ddof=1)
    flag = [
        f"variance {v:.2f} is above 0.4: WAIC is not reliable; use `psis_loo`" if v > 0.4 else ""
        for v in p
    ]
    return pd.DataFrame({"study": list(studies), "elpd": lppd - p, "p": p, "flag": flag})


def by_study(
    log_likelihood: Floats, block_studies: Sequence[Sequence[str]]
) -> tuple[Floats, list[str]]:
    """Log likelihood per study from that per block (..., blocks).

    `block_studies` names the studies of each block. Studies that share people stand in one block
    and are foreseen together, under a joint name.
    """
    names: list[set[str]] = []
    for block in block_studies:
        together = set(block)
        for other in [n for n in names if n & together]:
            names.remove(other)
            together |= other
        names.append(together)
    labels = ["+".join(sorted(n)) for n in names]
    out = np.zeros((*log_likelihood.shape[:-1], len(names)))
    for b, block in enumerate(block_studies):
        j = next(i for i, n in enumerate(names) if block[0] in n)
        out[..., j] += log_likelihood[..., b]
    return out, labels


def compare(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Models ranked by the sum over studies of `elpd`, differences with their standard errors.

    `scores` are tables with study and elpd by the models' names. Columns model, elpd, se, diff (to
    the best), se_diff, words. Raises ValueError where models saw different studies, naming them.
    """
    tables = {name: t.set_index("study")["elpd"].astype(float) for name, t in scores.items()}
    whole, first = next(iter(tables.items()))
    for name, values in tables.items():
        if twice := values.index[values.index.duplicated()].tolist():
            raise ValueError(f"{name} names a study twice: {twice[0]}; give each a name of its own")
        lacks, has = first.index.difference(values.index), values.index.difference(first.index)
        told = [f"{_few(lacks.tolist())} in {whole} alone"] * bool(len(lacks))
        told += [f"{_few(has.tolist())} in {name} alone"] * bool(len(has))
        if told:
            raise ValueError(
                f"{name} was fitted to other studies than {whole} ({'; '.join(told)}): compare "
                "models of the same rows"
            )
        if values.isna().any():
            raise ValueError(
                f"{name} has no elpd for {values.index[values.isna()][0]}: an improper prior gives "
                "no marginal likelihood; use proper priors"
            )
    k = len(first)
    order = sorted(tables, key=lambda name: -float(tables[name].sum()))
    best = tables[order[0]]
    records = []
    for name in order:
        values = tables[name].reindex(best.index)
        gap = (best - values).to_numpy(dtype=float)
        se, se_gap = (float(np.sqrt(k) * np.std(v, ddof=1)) for v in (values, gap))
        diff = 0.0 - float(gap.sum())
        records.append((name, float(values.sum()), se, diff, se_gap, _words(diff, se_gap, k)))
    columns = ["model", "elpd", "se", "diff", "se_diff", "words"]
    return pd.DataFrame(records, columns=columns)


def _few(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more


def _words(diff: float, se: float, k: int) -> str:
    """What a difference is worth (Sivula et al. 2020: below 4 nothing can be said)."""
    if diff == 0:
        return "best"
    if -diff < 4:
        return "no better and no worse than the best: the difference is below 4"
    few = f"; with {k} studies the standard error is itself a guess" if k < 100 else ""
    if -diff < 2 * se:
        return f"perhaps worse: the difference is below two standard errors{few}"
    return f"worse than the best{few}"


def _check(log_likelihood: Floats, studies: Sequence[str]) -> None:
    if log_likelihood.ndim != 3 or log_likelihood.shape[2] != len(studies):
        raise ValueError(
            f"log_likelihood has shape {log_likelihood.shape}; needed: (chain, draw, "
            f"{len(studies)}), a column a study"
        )
    if len(studies) < 2:
        raise ValueError("comparing models by studies left out needs at least 2 studies")
    if not np.isfinite(log_likelihood).all():
        chain, draw, j = np.argwhere(~np.isfinite(log_likelihood))[0]
        raise ValueError(
            f"the log likelihood of {studies[j]} is not finite in chain {chain + 1}, draw "
            f"{draw + 1}; look for a study that contradicts a prior's limits"
        )
