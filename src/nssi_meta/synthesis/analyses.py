"""The analyses of one pool under one choice of rows: all that differ in priors, rho, how, interval.

They share their layout and their likelihood: what one has evaluated, the others do not evaluate
again. Every number is that of the single engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.densities import Density, interval
from nssi_meta.inference.exact import has_omega
from nssi_meta.inference.many_priors import fit_priors
from nssi_meta.models.blocks import Layout, layout
from nssi_meta.models.priors import OMEGA_DEFAULT, Prior, PriorError, parse_prior

LEVEL = 0.95
#: Columns that an analysis needs; a task carries no others.
COLUMNS = (
    "effect_id", "mechanism", "condition", "comparator", "estimand", "study_id", "sample_id",
    "control_id", "label", "measure", "modality", "stimulus", "year", "n_case", "n_control",
    "n_total", "events_case", "total_case", "events_control", "total_control", "seen_in", "scale",
    "kind", "bound", "confidence", "yi", "vi", "sei", "lower", "upper",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """`specs` of one pool on one choice of rows: their number and their other choices.

    All have one prior of omega.
    """

    key: tuple[str, str, str]
    rows: pd.DataFrame
    specs: tuple[tuple[int, Mapping[str, Any]], ...]
    omega_prior: str = OMEGA_DEFAULT


def analyse(task: Task) -> list[dict[str, Any]]:
    """One record an analysis: `spec`, median, low, high, p_positive, `same_as`, `note`.

    `same_as` is the number of the analysis that is the same one (rho does not matter where nobody
    gives two rows), else -1. `note` says why an analysis cannot be had (its numbers are missing),
    or how its assumed correlations were changed where they contradict each other.
    """
    rows = task.rows.reset_index(drop=True)
    records = []
    laid: list[tuple[float, Layout]] = []
    for rho in dict.fromkeys(spec["rho"] for _, spec in task.specs):
        mine = [(i, s) for i, s in task.specs if s["rho"] == rho]
        # A contradiction between assumed correlations belongs to the analyses that assume them.
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            data = layout(rows, partial(vcalc, rho=rho), rho)
            said = "; ".join(dict.fromkeys(str(w.message) for w in told))
        twin = next((r for r, other in laid if _same(data, other)), None)
        if twin is None:
            laid.append((rho, data))
            fits = _fits(rows, data, rho, mine, task.omega_prior)
            records += [{**r, "note": "; ".join(n for n in (r["note"], said) if n)} for r in fits]
            continue
        like = {_rest(s): i for i, s in task.specs if s["rho"] == twin}
        done = {r["spec"]: r for r in records}
        for i, s in mine:
            first = like[_rest(s)]
            records.append({**done[first], "spec": i, "same_as": first})
    return records


def _rest(spec: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(v) for name, v in sorted(spec.items()) if name != "rho")


def _same(a: Layout, b: Layout) -> bool:
    """Whether two layouts of the same rows differ in no covariance."""
    pairs: list[tuple[Any, Any]] = []
    if a.exact_blocks is not None and b.exact_blocks is not None:
        pairs.append((a.exact_blocks.V, b.exact_blocks.V))
    if a.bound_blocks is not None and b.bound_blocks is not None:
        pairs += zip(a.bound_blocks.errors, b.bound_blocks.errors, strict=True)
    return all(x.shape == y.shape and np.array_equal(x, y) for x, y in pairs)


def _fits(
    rows: pd.DataFrame,
    data: Layout,
    rho: float,
    specs: Sequence[tuple[int, Mapping[str, Any]]],
    omega: str,
) -> list[dict[str, Any]]:
    within = parse_prior(omega, "tau") if has_omega(rows["study_id"].to_numpy()) else None
    engines = {"robust": _robust(rows, data, within), "selection": _selection(rows, rho, omega)}
    fitted = _normal(rows, data, specs, within)
    records = []
    for i, spec in specs:
        choice = spec["how"], spec["mu_prior"], spec["tau_prior"]
        if choice not in fitted:
            try:
                fitted[choice] = engines[choice[0]](choice[1], choice[2])
            except (PriorError, FloatingPointError, ValueError) as error:
                fitted[choice] = error
        records.append(_record(i, fitted[choice], spec["interval"]))
    return records


def _record(number: int, mu: Density | Exception, kind: Any) -> dict[str, Any]:
    record = {"spec": number, "same_as": -1, "note": ""}
    if isinstance(mu, Exception):
        missing = dict.fromkeys(("median", "low", "high", "p_positive"), np.nan)
        return {**record, **missing, "note": str(mu)}
    low, high = interval(mu, LEVEL, kind)
    positive = float(1 - mu.cdf(0.0))
    return {
        **record, "median": mu.quantile(0.5), "low": low, "high": high, "p_positive": positive
    }  # fmt: skip


Engine = Callable[[str, str], Density]


def _normal(
    rows: pd.DataFrame,
    data: Layout,
    specs: Sequence[tuple[int, Mapping[str, Any]]],
    omega: Prior | None,
) -> dict[tuple[str, str, str], Density | Exception]:
    """The means under every pair of priors of `specs`: the main one as `pool` has it, the others
    on one grid.
    """
    normal = {i: (s["mu_prior"], s["tau_prior"]) for i, s in specs if s["how"] == "normal"}
    main = [pair for i, pair in normal.items() if i == 0]
    others = [pair for pair in dict.fromkeys(normal.values()) if pair not in main]
    n = rows.loc[rows["kind"] != "interval", "study_id"].nunique()
    found: list[Density | Exception] = []
    try:
        for some in (main, others):
            priors = [(parse_prior(mu, "mu"), parse_prior(tau, "tau")) for mu, tau in some]
            found += fit_priors(data, priors, omega, n)
    except ValueError as error:  # the rows are no evidence, whatever the prior
        found = [error] * len(main + others)
    return {("normal", *pair): mu for pair, mu in zip(main + others, found, strict=True)}


def _robust(rows: pd.DataFrame, data: Layout, omega: Prior | None) -> Engine:
    tables: list[Any] = []

    def fit(mu: str, tau: str) -> Density:
        from nssi_meta.inference.heavy_tails import StudyTables, fit_heavy_tails

        if not tables:
            tables.append(StudyTables(data, rows["study_id"].to_numpy()))
        return fit_heavy_tails(
            tables[0],
            mu_prior=parse_prior(mu, "mu"),
            tau_prior=parse_prior(tau, "tau"),
            omega_prior=omega,
        )

    return fit


def _selection(rows: pd.DataFrame, rho: float, omega: str) -> Engine:
    def fit(mu: str, tau: str) -> Density:
        from nssi_meta.synthesis.reporting import UNIT, Selection, adjusted_pools

        of_mu, of_tau = parse_prior(mu, "mu"), parse_prior(tau, "tau")
        if of_mu.name != "normal" or of_mu.params[0] != 0 or of_tau.name != "halfnormal":
            raise ValueError(
                "selection needs priors normal(0, sd) of mu and halfnormal(scale) of tau"
            )
        unit = UNIT.get(str(rows["scale"].iloc[0]), 1.0)
        selection = Selection(spread=of_mu.params[1] / unit, tau=of_tau.params[0] / unit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # told once, by `analyse`
            found = adjusted_pools(rows, selection, rho=rho, omega_prior=omega, n_jobs=1)
        mu_density: Density = found.pools.cells[0].posterior.mu
        return mu_density

    return fit
