"""What subsets of studies say of a pool: all subsets or a sample, years, and fragility.

Refits by the exact engine, bounds included. A subset is a subset of studies; priors and the
presence of omega are those of the whole pool, so that nothing but the studies changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.synthesis.cells import Cell, Options
from nssi_meta.synthesis.kinds import require_effects
from nssi_meta.synthesis.leave_one_out import Key, cell_of, describe, refit
from nssi_meta.synthesis.pooled import Pools

#: Subsets that are all looked at; of more, as many are drawn.
MOST_SUBSETS = 500
#: Null studies that are added before it is said that even they do not move the answer.
MOST_NULL = 200


def subsets(
    pools: Pools,
    key: Key | None = None,
    *,
    most: int = MOST_SUBSETS,
    seed: int = 20220701,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """The pool of every subset of its studies (Olkin, Dahabreh and Trikalinos 2012, GOSH).

    Parameters
    ----------
    pools, key
        As for `leave_one_out`.
    most
        Where there are more subsets (of one study or more), this many are drawn without repeats.
    seed
        Of the drawing.
    progress
        Called with how many are done, and of how many.

    Returns
    -------
    One row a subset: `n_studies`, `k`, median, low, high, `tau_median`, p_positive, `studies` (ids
    with semicolons) and `sampled`, whether subsets were drawn. The last row is the whole pool.

    Raises ValueError as `leave_one_out`, and for `most` below 2.
    """
    chosen, options = _exact(pools, key), pools.options
    studies = list(dict.fromkeys(chosen.rows["study_id"]))
    if most < 2:
        raise ValueError(f"most must be 2 or more, got {most}")
    n = len(studies)
    if n < 2:
        raise ValueError("a single study has no subsets; the pool needs at least 2")
    sampled = 2**n - 1 > most
    picked: Iterable[tuple[int, ...]]
    if sampled:
        picked = _drawn(n, most - 1, np.random.default_rng(seed))
    else:
        picked = (c for size in range(1, n) for c in combinations(range(n), size))
    sets = [*picked, tuple(range(n))]
    records = []
    for i, some in enumerate(sets):
        names = [studies[j] for j in some]
        rows = chosen.rows[chosen.rows["study_id"].isin(names)]
        records.append(
            {
                "n_studies": len(names),
                **_answer(chosen, rows, options),
                "studies": ";".join(map(str, names)),
                "sampled": sampled,
            }
        )
        if progress is not None:
            progress(i + 1, len(sets))
    return pd.DataFrame(records)


def _drawn(n: int, most: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Proper subsets of n studies, each as likely as any other, none twice."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < most:
        some = tuple(np.flatnonzero(rng.random(n) < 0.5).tolist())
        if 0 < len(some) < n:
            found.setdefault(some)
    return list(found)


def cumulative(pools: Pools, key: Key | None = None) -> pd.DataFrame:
    """The pool as it stood after each year: descriptive, not a test (no look is corrected for).

    Studies of one year come in together; the first row is the prior (k = 0). Columns are those of
    `figures.cumulative` (label, k, median, low, high, p_positive), and `n_studies`, `tau_median`.

    Raises ValueError as `leave_one_out`, and where a study names no year.
    """
    chosen, options = _exact(pools, key), pools.options
    require_effects(pools, "two-by-two tables name no year, and a cumulative pool needs one")
    rows = chosen.rows
    year = pd.to_numeric(rows["year"], errors="coerce")
    if year.isna().any():
        unknown = ", ".join(dict.fromkeys(rows.loc[year.isna(), "study_id"].astype(str)))
        raise ValueError(f"no cumulative pool: {unknown} names no year; fill the column year")
    prior = chosen.priors[0]
    records: list[dict[str, Any]] = []
    if prior.name == "normal":
        from scipy.special import ndtr, ndtri

        mean, sd = prior.params
        half = float(ndtri(0.5 + options.level / 2)) * sd
        positive = float(ndtr(mean / sd))
        start = {"median": mean, "low": mean - half, "high": mean + half, "p_positive": positive}
        records.append({"label": "prior", "k": 0, "n_studies": 0, **start})
    for at in sorted(year.unique()):
        before = rows[year <= at]
        new = len(dict.fromkeys(rows.loc[year == at, "study_id"]))
        label = f"{at:.0f} ({new} {'study' if new == 1 else 'studies'})"
        count = before["study_id"].nunique()
        answer = _answer(chosen, before, options)
        records.append({"label": label, "n_studies": count, **answer})
    return pd.DataFrame(records)


def fragility(pools: Pools, key: Key | None = None, *, most: int = MOST_NULL) -> dict[str, Any]:
    """How many null studies of median size would move the pool's answer across zero.

    A null study has an estimate of 0 with the median standard error of the pool's studies (the
    most precise row of each). They are added until the interval of mu includes 0.

    Returns
    -------
    `needed` (missing where the interval includes 0 already, or where `most` do not move it),
    `sei` of a null study, `n_studies`, and `sentence`, which says it in words.

    Raises ValueError as `leave_one_out`.
    """
    chosen, options = _exact(pools, key), pools.options
    require_effects(pools, "a null study is one of a standard error, and counts have none")
    rows = chosen.rows
    sei = float(rows.groupby("study_id")["sei"].min().median())
    found: dict[str, Any] = {"sei": sei, "n_studies": rows["study_id"].nunique()}
    low, high = interval(chosen.posterior.mu, options.level, options.interval)
    if low <= 0 <= high:
        words = "the interval includes 0 already: no answer to move"
        return {**found, "needed": None, "sentence": words}

    def crosses(n: int) -> bool:
        post = _fit(chosen, _with_null(rows, n, sei), options)
        low, high = interval(post.mu, options.level, options.interval)
        return low <= 0 <= high

    last, step = 0, 1
    while not crosses(last + step):
        last += step
        step *= 2
        if last + step > most:
            words = f"{last} null studies of median size leave the interval on its side of 0"
            return {**found, "needed": None, "sentence": words}
    first = last + step
    while first - last > 1:
        middle = (first + last) // 2
        first, last = (middle, last) if crosses(middle) else (first, middle)
    noun = "study" if first == 1 else "studies"
    words = (
        f"{first} null {noun} of median size (standard error {sei:.2f}) would make the interval "
        f"include 0; the pool has {found['n_studies']}"
    )
    return {**found, "needed": first, "sentence": words}


def _with_null(rows: pd.DataFrame, n: int, sei: float) -> pd.DataFrame:
    new = rows.iloc[[0] * n].copy()
    names = [f"null study {i + 1}" for i in range(n)]
    new = new.assign(
        study_id=names, label=names, effect_id=names, sample_id="", control_id="", kind="exact",
        yi=0.0, sei=sei, vi=sei**2, lower=np.nan, upper=np.nan, bound="",
    )  # fmt: skip
    return pd.concat([rows, new], ignore_index=True)


def prior_posterior(pools: Pools, key: Key | None = None, n: int = 201) -> pd.DataFrame:
    """Densities of mu and tau before and after the data, as `figures.prior_posterior` draws them.

    Raises ValueError as `leave_one_out`, and for an improper prior, which has no density.
    """
    chosen = _exact(pools, key)
    post, parts = chosen.posterior, []
    for name, density, prior in (
        ("mu", post.mu, chosen.priors[0]),
        ("tau", post.tau_density, chosen.priors[1]),
    ):
        if prior.name == "zero":
            continue
        if not prior.proper:
            raise ValueError(f"the improper prior {prior} of {name} has no density to draw")
        low, high = (density.quantile(p) for p in (0.0005, 0.9995))
        low, high = (0.0, high) if name == "tau" else (low - 0.2 * (high - low), high)
        # tau = 0 is an end of the axis, where some priors have no finite density.
        x = np.linspace(low if name == "mu" else 1e-3 * high, high + 0.2 * (high - low), n)
        before, after = np.exp(prior.logpdf(x)), density.pdf(x)
        parts.append(
            pd.DataFrame(
                {"quantity": name, "label": {"mu": "μ", "tau": "τ"}[name], "x": x,
                 "prior": before, "posterior": after}
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _exact(pools: Pools, key: Key | None) -> Cell:
    chosen = cell_of(pools, key)
    if pools.options.engine != "exact":
        raise ValueError("influence refits by the exact engine; pool with engine='exact'")
    return chosen


def _fit(cell: Cell, rows: pd.DataFrame, options: Options) -> ExactPosterior:
    return refit(cell, rows, options, bool(cell.posterior.omega_density is not None))


def _answer(cell: Cell, rows: pd.DataFrame, options: Options) -> dict[str, Any]:
    found = describe(_fit(cell, rows, options), options, prediction=False)
    return {"k": len(rows), **found}
