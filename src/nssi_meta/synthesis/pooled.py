"""Question 1: how large each effect is, how certain, how variable between studies.

A cell is one mechanism in one condition on one estimand. `pool` fits every cell of what it is
given and returns a `Pools` with the tables that figures and reports read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nssi_meta.evidence.flow import participants
from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.units import Unit, outcome_unit
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.densities import Density, IntervalKind, interval
from nssi_meta.inference.exact import ExactPosterior, fit_exact, has_omega
from nssi_meta.inference.shrinkage import shrunken
from nssi_meta.models.blocks import RHO, Layout, layout
from nssi_meta.models.priors import (
    MU_DEFAULT,
    OMEGA_DEFAULT,
    TAU_DEFAULT,
    Prior,
    PriorError,
    check_propriety,
    parse_prior,
)

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

Engine = Literal["exact", "nuts"]

#: Smallest difference that matters, on the effect-size scale.
DELTA = 0.2
CELL = ["mechanism", "condition", "estimand"]
_ROW_COLUMNS = [
    "effect_id", "study_id", "label", "measure", "stimulus", "year", "n_case", "n_control",
    "n_total", "kind", "bound", "confidence", "yi", "sei", "lower", "upper",
]  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How a pool is computed; texts of priors as `parse_prior` reads them.

    `measure` is the effects' (metafor's names): for one in the outcome's unit, such as MD, priors
    are in units of the outcome's SD. `delta` is in the unit of the effects; without one it is
    `DELTA`, times the outcome's SD where priors are.
    """

    mu_prior: str = MU_DEFAULT
    tau_prior: str = TAU_DEFAULT
    omega_prior: str = OMEGA_DEFAULT
    rho: float = RHO
    level: float = 0.95
    interval: IntervalKind = "central"
    delta: float | None = None
    engine: Engine = "exact"
    seed: int = 20220701
    measure: str | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not 0 < self.level < 1:
            wrong.append(f"level must lie between 0 and 1, got {self.level:g} (0.95 is usual)")
        if not 0 <= self.rho < 1:
            wrong.append(f"rho must be at least 0 and below 1, got {self.rho:g}")
        if self.delta is not None and not self.delta >= 0:
            wrong.append(f"delta must not be negative, got {self.delta:g}")
        if self.interval not in ("central", "shortest"):
            wrong.append(f"interval must be central or shortest, got {self.interval!r}")
        if self.engine not in ("exact", "nuts"):
            wrong.append(f"engine must be exact or nuts, got {self.engine!r}")
        if wrong:
            raise ValueError("; ".join(wrong))

    def priors(self) -> tuple[Prior, Prior, Prior]:
        """Priors of mu, tau and omega; raises `PriorError` where one cannot be read."""
        return (
            parse_prior(self.mu_prior, "mu"),
            parse_prior(self.tau_prior, "tau"),
            parse_prior(self.omega_prior, "tau"),
        )


@dataclass(frozen=True)
class Cell:
    """One fitted pool: its rows, their layout and the posterior (`fit` is set by NUTS)."""

    key: tuple[str, str, str]
    rows: pd.DataFrame
    layout: Layout
    posterior: Any
    converged: bool = True
    problems: tuple[str, ...] = ()
    priors: tuple[Prior, ...] = ()
    unit: Unit = field(default_factory=Unit)


@dataclass(frozen=True)
class Pools:
    """Fitted pools. `table` is the `pools` table, `rows` the rows with their shrunken effects."""

    cells: tuple[Cell, ...]
    table: pd.DataFrame
    options: Options
    meta: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> pd.DataFrame:
        """One row per cell: estimate, intervals, heterogeneity, probabilities, counts."""
        return self.table.copy()

    @property
    def converged(self) -> bool:
        """Whether every fit passed its checks (always true for the exact engine)."""
        return all(cell.converged for cell in self.cells)

    @property
    def rows(self) -> pd.DataFrame:
        """One row per study row: what was reported and its shrunken effect."""
        return rows_table(self)

    def bayes_factors(self, mu: float = 0.0) -> pd.DataFrame:
        """Bayes factors of every cell, against a mean of `mu` and against tau = 0.

        Columns beside the cell's: log_evidence (natural log), bf10_mu and bf10_tau (above 1 speaks
        against the null; infinite above 1e308), log10_bf10_mu, log10_bf10_tau, and `note`, which
        says why a factor is missing.
        """
        from nssi_meta.synthesis.evidence_ratios import cell_ratios

        return pd.DataFrame([cell_ratios(cell, mu) for cell in self.cells])

    @property
    def posterior_data(self) -> xr.DataTree:
        """Joint posterior draws of a single pool as an ArviZ DataTree (imports ArviZ)."""
        if len(self.cells) != 1:
            raise ValueError(
                f"posterior_data needs one pool, this has {len(self.cells)}; select a mechanism "
                "and a condition first"
            )
        return draws_tree(self.cells[0], self.options.seed)

    def forest(self, path: str | Path | None = None, **options: Any) -> matplotlib.figure.Figure:
        """Forest plot of the mechanism (one block a condition); saved if a path is given."""
        from nssi_meta.figures import forest, save

        figure = forest(self.rows, self.table, level=self.options.level, **options)
        if path is not None:
            target = Path(path)
            save(figure, target.with_suffix(""), (target.suffix.lstrip(".").lower() or "pdf",))
        return figure


def pool(
    data: Evidence | pd.DataFrame,
    *,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Pools:
    """Pool every cell of `data`.

    Parameters
    ----------
    data
        Evidence (its used rows; comparisons with other patients are left out unless the evidence
        was selected by comparator), or a frame of `read_simple`.
    progress
        Called with the name of each cell before it is fitted.
    **options
        Fields of `Options`: mu_prior, tau_prior, omega_prior, rho, level, interval, delta, engine,
        measure.

    Returns
    -------
    Pools

    Raises
    ------
    EvidenceError
        If the evidence has problems.
    PriorError
        If a prior cannot be read or gives no proper posterior.
    ValueError
        If nothing is left to pool, or an option is out of range.
    """
    chosen = Options(**options)
    priors = chosen.priors()
    if chosen.measure is not None and not isinstance(data, pd.DataFrame):
        raise ValueError("measure is for ready-made effects; this evidence knows its own scales")
    frame, mechanisms, conditions = _rows(data)
    if frame.empty:
        raise ValueError(
            "no rows to pool: every row of the selection is excluded or compares with other "
            "patients; `nssi-meta check` tells why"
        )
    cells = []
    for key, rows in frame.groupby(CELL, sort=False, dropna=False):
        if progress is not None:
            progress(" / ".join(p for p in map(str, key) if p))
        cells.append(_fit(key, rows, priors, chosen))
    table = pd.DataFrame([summarise(cell, chosen) for cell in cells])
    return Pools(tuple(cells), _labelled(table, mechanisms, conditions), chosen)


def poolable(evidence: Evidence) -> pd.DataFrame:
    """Used rows that `pool` takes: those that measure the distance to the reference group."""
    return _rows(evidence)[0]


def check_options(evidence: Evidence, **options: Any) -> Options:
    """The options of `pool`, checked against the evidence before anything is computed.

    Raises what `pool` would raise: ValueError for an option out of range, `PriorError` for a prior
    that cannot be read or leaves a cell without a proper posterior.
    """
    chosen = Options(**options)
    mu, tau, _ = chosen.priors()
    for key, rows in poolable(evidence).groupby(CELL, sort=False, dropna=False):
        try:
            sizes = rows.loc[rows["kind"] != "interval", "study_id"]
            check_propriety(mu, tau, len(sizes), sizes.nunique())
        except PriorError as error:
            raise _named(key, error) from error
    return chosen


def _named(key: Any, error: Exception) -> Exception:
    """The same error with the pool's name in front."""
    name = " / ".join(str(part) for part in key if part) or "the pool"
    return type(error)(f"{name}: {error}")


def _rows(data: Evidence | pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Used rows that measure the distance to the reference group, and the vocabularies."""
    if isinstance(data, pd.DataFrame):
        empty = pd.DataFrame(columns=["mechanism", "label", "system"])
        frame = data.reindex(columns=[*dict.fromkeys([*data.columns, *_ROW_COLUMNS, "n_control"])])
        return frame, empty, pd.DataFrame(columns=["id", "label", "role"])
    return comparable_rows(data), data.mechanisms, data.conditions


def comparable_rows(data: Evidence) -> pd.DataFrame:
    """Used rows that measure the distance to the reference group, with the studies' labels."""
    used = data.used
    reference = data.conditions.loc[data.conditions["role"] == "reference", "id"].tolist()
    plain = used["comparator"].isin([*reference, "none", "within"])
    frame = used if data.comparators else used[plain]
    return frame.assign(label=study_labels(frame))


def study_labels(frame: pd.DataFrame) -> pd.Series[str]:
    """Labels such as "Hooley 2020"; the study id where the authors are unknown."""

    def label(authors: Any, year: Any, study: Any) -> str:
        first = re.split(r"[;,&]| et al| and ", str(authors or "").strip(), maxsplit=1)[0]
        words = [w for w in first.split() if not re.fullmatch(r"[A-Z]{1,3}|(?:[A-Z]\.-?)+", w)]
        surname = " ".join(words)
        # Curators' remarks such as "(authors not seen)" are no names.
        named = re.match(r"[^\W\d_]", surname) and not re.match(r"not |unknown", surname, re.I)
        when = "" if pd.isna(year) or year == "" else str(int(float(str(year))))
        return f"{surname} {when}".strip() if named and len(words) <= 3 else str(study)

    values = [
        label(a, y, s)
        for a, y, s in zip(frame["authors"], frame["year"], frame["study_id"], strict=True)
    ]
    return pd.Series(values, index=frame.index, dtype="object")


def _fit(
    key: Any, rows: pd.DataFrame, priors: tuple[Prior, Prior, Prior], options: Options
) -> Cell:
    rows = rows.reset_index(drop=True)
    unit = outcome_unit(options.measure, rows)
    mu, tau, omega = (p.scaled(unit.scale) for p in priors) if unit.source else priors
    data = layout(rows, partial(vcalc, rho=options.rho), options.rho)
    within = omega if has_omega(rows["study_id"].to_numpy()) else None
    try:
        if options.engine == "nuts":
            fitted = _fit_nuts(key, rows, data, (mu, tau, within), options)
            return replace(fitted, priors=(mu, tau, omega), unit=unit)
        n = rows.loc[rows["kind"] != "interval", "study_id"].nunique()
        posterior = fit_exact(data, mu_prior=mu, tau_prior=tau, omega_prior=within, n_studies=n)
    except (PriorError, FloatingPointError) as error:
        raise _named(key, error) from error
    return Cell(key, rows, data, posterior, priors=(mu, tau, omega), unit=unit)


def _fit_nuts(
    key: Any,
    rows: pd.DataFrame,
    data: Layout,
    priors: tuple[Prior, Prior, Prior | None],
    options: Options,
) -> Cell:
    from nssi_meta.inference.sampled import fit_pool_nuts

    fit, posterior = fit_pool_nuts(data, rows["kind"].to_numpy(), *priors, seed=options.seed)
    return Cell(key, rows, data, posterior, fit.converged, fit.problems)


def summarise(cell: Cell, options: Options) -> dict[str, Any]:
    """The `pools` table's row of one cell.

    `p_beyond` is P(|mu| > delta); `share_beyond` is the probability that the effect in a new
    setting exceeds delta in the direction of mu's median (the expected share of such settings).
    """
    post: ExactPosterior = cell.posterior
    rows = cell.rows
    mu, tau, new = post.mu, post.tau_density, post.prediction
    low, high = interval(mu, options.level, options.interval)
    tau_low, tau_high = interval(tau, options.level, options.interval, low=0.0)
    pred_low, pred_high = interval(new, options.level, options.interval)
    median = mu.quantile(0.5)
    delta = DELTA * cell.unit.scale if options.delta is None else options.delta
    above, below = 1 - float(new.cdf(delta)), float(new.cdf(-delta))
    mu_prior, tau_prior, _ = cell.priors
    is_bound = rows["kind"] == "interval"
    return {
        **dict(zip(CELL, cell.key, strict=True)),
        "comparator": "/".join(sorted({str(c) for c in rows["comparator"]})),
        "scale": rows["scale"].iloc[0],
        "k": len(rows),
        "n_studies": rows["study_id"].nunique(),
        "n_bounds": int(is_bound.sum()),
        "n_assumed": int((is_bound & (rows["bound"] == "assumed")).sum()),
        "share_bounds": float(is_bound.mean()),
        "n_participants": _people(rows),
        "mu_median": median,
        "mu_mean": mu.mean,
        # Under a flat prior mu varies as tau does: no SD of tau, no SD of mu.
        "mu_sd": mu.sd if mu_prior.proper or np.isfinite(tau.sd) else np.inf,
        "mu_low": low,
        "mu_high": high,
        "tau_median": tau.quantile(0.5),
        "tau_low": tau_low,
        "tau_high": tau_high,
        "omega_median": post.omega_density.quantile(0.5) if post.omega_density else np.nan,
        "pred_low": pred_low,
        "pred_high": pred_high,
        "p_positive": float(1 - mu.cdf(0.0)),
        "p_beyond": float(1 - mu.cdf(delta) + mu.cdf(-delta)),
        "share_beyond": above if median >= 0 else below,
        "level": options.level,
        "interval": options.interval,
        "engine": options.engine,
        "mu_prior": str(mu_prior),
        "tau_prior": str(tau_prior),
        "flags": _flags(cell),
    }


def _people(rows: pd.DataFrame) -> float:
    sizes = ["n_case", "n_control", "n_total"]
    if not set(sizes) <= set(rows.columns) or rows[sizes].isna().all(axis=None):
        return np.nan
    # Rows without a sample id are people of their study, not all the same people.
    sample = rows["sample_id"].where(rows["sample_id"] != "", "study " + rows["study_id"])
    people = participants(rows.assign(all_rows=0, sample_id=sample), ["all_rows"])
    return float(people.sum())


def _flags(cell: Cell) -> str:
    """What a reader must know about a cell, in words separated by semicolons."""
    rows, flags = cell.rows, []
    if len(rows) == 1:
        flags.append("a single effect: between-study variation comes from the prior")
    elif len(set(rows["study_id"])) == 1:
        flags.append("a single study: between-study variation comes from the prior")
    if (rows["kind"] == "interval").all():
        flags.append("only bounds: no study reports a size")
    if (rows["bound"] == "assumed").any():
        flags.append("some thresholds assumed to be .05")
    if not cell.converged:
        flags.append("did not converge: not a result")
    return "; ".join(flags)


def _labelled(
    table: pd.DataFrame, mechanisms: pd.DataFrame, conditions: pd.DataFrame
) -> pd.DataFrame:
    """Labels and systems beside the ids, in the review's own order."""
    label = dict(zip(mechanisms["mechanism"], mechanisms["label"], strict=True))
    system = dict(zip(mechanisms["mechanism"], mechanisms["system"], strict=True))
    condition = dict(zip(conditions["id"], conditions["label"], strict=True))
    table.insert(1, "label", [label.get(m, m) for m in table["mechanism"]])
    table.insert(2, "system", [system.get(m, "") for m in table["mechanism"]])
    table.insert(4, "condition_label", [condition.get(c, c) for c in table["condition"]])
    if not label:
        return table
    order = {m: i for i, m in enumerate(label)}, {c: i for i, c in enumerate(condition)}
    return table.sort_values(
        ["mechanism", "condition", "estimand"],
        key=lambda column: (
            column.map(order[0])
            if column.name == "mechanism" and order[0]
            else column.map(order[1])
            if column.name == "condition" and order[1]
            else column
        ),
        kind="stable",
    ).reset_index(drop=True)


def rows_table(pools: Pools) -> pd.DataFrame:
    """The `rows` table: reported effect with its interval or bound, and the shrunken effect."""
    options = pools.options
    parts = []
    for cell in pools.cells:
        rows = cell.rows
        table = rows[[*CELL, "scale", *_ROW_COLUMNS]].copy()
        half = _normal_quantile(0.5 + options.level / 2) * rows["sei"].to_numpy(dtype=float)
        exact = (rows["kind"] == "exact").to_numpy()
        yi = rows["yi"].to_numpy(dtype=float)
        table["ci_low"] = np.where(exact, yi - half, np.nan)
        table["ci_high"] = np.where(exact, yi + half, np.nan)
        theta: list[Density] = list(
            shrunken(
                rows,
                cell.layout,
                cell.posterior,
                partial(vcalc, rho=options.rho),
                options.rho,
                options.seed,
            )
        )
        table["shrunk_median"] = [t.quantile(0.5) for t in theta]
        ends = [interval(t, options.level, options.interval) for t in theta]
        table["shrunk_low"], table["shrunk_high"] = zip(*ends, strict=True)
        parts.append(table)
    out = pd.concat(parts, ignore_index=True)
    keep = ["mechanism", "label", "system", "condition", "condition_label", "estimand"]
    cells = pools.table[keep].rename(columns={"label": "mechanism_label"})
    return out.merge(cells, on=CELL, how="left", sort=False)


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))


def draws_tree(cell: Cell, seed: int, n_chains: int = 4, n_draws: int = 1000) -> xr.DataTree:
    """Independent joint draws of a cell's posterior as a DataTree with group `posterior`."""
    import arviz_base

    mu, tau, omega = cell.posterior.draws(n_chains * n_draws, seed)
    values = {"mu": mu, "tau": tau}
    if cell.posterior.omega_density is not None:
        values["omega"] = omega
    shaped = {name: v.reshape(n_chains, n_draws) for name, v in values.items()}
    tree: xr.DataTree = arviz_base.from_dict({"posterior": shaped})
    return tree
