"""All pools at once: the joint mechanism x condition model fitted, with its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.flow import participants
from nssi_meta.evidence.problems import require
from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.compiled import sample
from nssi_meta.inference.nuts import Fit, Settings
from nssi_meta.models.blocks import RHO
from nssi_meta.models.profiles import ProfileData, profile_data, profiles_model
from nssi_meta.models.reporting import GROUPS, reports
from nssi_meta.shown import shown
from nssi_meta.synthesis.overlap_figures import overlap_figures

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
#: What to do where chains do not agree, at the command line and in Python.
REMEDY = (
    "more draws (`nssi-meta run --draws`, "
    "`fit_profiles(..., settings=nm.Settings(draws={draws}, tune={tune}))`)"
)


@dataclass(frozen=True)
class Profiles:
    """The fitted joint model. Draws have shape (S, ...) with chains one after the other.

    `tails` are the degrees of freedom of the mechanisms' means, infinite where they are normal.
    """

    data: ProfileData
    fit: Fit
    index: str
    mechanisms: pd.DataFrame
    conditions: pd.DataFrame
    level: float = 0.95
    tails: float = np.inf

    def __repr__(self) -> str:
        m, c = len(self.data.mechanisms), len(self.data.conditions)
        what = f"Joint model of {m} mechanisms in {c} conditions"
        return shown(what, self.summary(), *self.fit.problems)

    @property
    def converged(self) -> bool:
        return self.fit.converged

    @property
    def posterior_data(self) -> xr.DataTree:
        """ArviZ DataTree: posterior, sample_stats, log_likelihood (per block), log_prior."""
        return self.fit.posterior_data

    def draws(self, name: str) -> Floats:
        """Draws of mu (S, M, C), tau (S, M), omega (S,), sigma (S, C) or R (S, C, C)."""
        values = np.asarray(self.fit.posterior_data["posterior"][name])
        return values.reshape(-1, *values.shape[2:])

    def summary(self) -> pd.DataFrame:
        """The `profiles` table: one row per mechanism and condition, predicted cells marked."""
        return self._table.copy()

    @cached_property
    def evidence(self) -> pd.DataFrame:
        """Evidence per cell: k, k_contrast, n_studies, n_bounds, n_participants, evidence.

        `anchored`: the cell is linked to the reference group by rows of its mechanism, directly or
        through other conditions. A contrast alone tells a difference, not a distance.
        """
        return _cell_evidence(self.data)

    @cached_property
    def _table(self) -> pd.DataFrame:
        mu, tau = self.draws("mu"), self.draws("tau")
        tail = (1 - self.level) / 2
        low, median, high = np.quantile(mu, [tail, 0.5, 1 - tail], axis=0)
        cells = [(m, c) for m in self.data.mechanisms for c in self.data.conditions]
        table = pd.DataFrame(cells, columns=["mechanism", "condition"])
        for name, values in {
            "mu_median": median,
            "mu_mean": mu.mean(axis=0),
            "mu_sd": mu.std(axis=0, ddof=1),
            "mu_low": low,
            "mu_high": high,
            "p_positive": (mu > 0).mean(axis=0),
        }.items():
            table[name] = values.ravel()
        table["tau_median"] = np.repeat(np.median(tau, axis=0), len(self.data.conditions))
        table = table.merge(self.evidence, on=["mechanism", "condition"], how="left")
        for column, source, key in (
            ("label", self.mechanisms, "mechanism"),
            ("system", self.mechanisms, "mechanism"),
            ("condition_label", self.conditions, "id"),
        ):
            names = dict(zip(source[key], source[column.split("_")[-1]], strict=True))
            table[column] = table["condition" if key == "id" else key].map(names)
        predicted = table["evidence"] == "none: predicted"
        bounds = ~predicted & (table["n_bounds"] == table["k"] + table["k_contrast"])
        table["flags"] = np.select(
            [predicted, bounds],
            ["no evidence: predicted by the model", "only bounds: no study reports a size"],
            "",
        )
        if not self.converged:
            table["flags"] = "did not converge: not a result"
        return table

    def correlations(self) -> pd.DataFrame:
        """Correlation of the conditions' profiles, beside its prior: the `correlations` table."""
        from nssi_meta.synthesis.overlap_figures import prior_draws

        R, names = self.draws("R"), self.data.conditions
        tail = (1 - self.level) / 2
        at = [tail, 0.5, 1 - tail]
        prior = np.quantile(prior_draws(len(names), 1, 20_000)[1][:, 0, 1], at)
        records = []
        for i, a in enumerate(names):
            for j in range(i + 1, len(names)):
                q = np.quantile(R[:, i, j], at)
                records.append((a, names[j], q[1], q[0], q[2], prior[1], prior[0], prior[2]))
        columns = ["condition", "other", "median", "low", "high"]
        return pd.DataFrame(records, columns=[*columns, "prior_median", "prior_low", "prior_high"])


def _cell_evidence(data: ProfileData) -> pd.DataFrame:
    frame = data.frame
    direct = data.comparator < 0
    records = []
    for m in data.mechanisms:
        in_m = (frame["mechanism"] == m).to_numpy()
        anchored = _anchored(data, in_m)
        for c in data.conditions:
            case = in_m & (frame["condition"] == c).to_numpy()
            touches = case | (in_m & (frame["comparator"] == c).to_numpy())
            rows = frame[touches]
            k, k_contrast = int((case & direct).sum()), int((touches & ~direct).sum())
            kind = "direct" if k else "contrast only" if k_contrast else "none: predicted"
            n_bounds = int((rows["kind"] == "interval").sum())
            n_studies = rows["study_id"].nunique()
            row = (
                m,
                c,
                k,
                k_contrast,
                n_studies,
                n_bounds,
                participants(rows),
                kind,
                c in anchored,
            )
            records.append(row)
    columns = ["mechanism", "condition", "k", "k_contrast", "n_studies", "n_bounds"]
    return pd.DataFrame(records, columns=[*columns, "n_participants", "evidence", "anchored"])


def _anchored(data: ProfileData, rows: NDArray[np.bool_]) -> set[str]:
    """Conditions that the rows of one mechanism link to the reference group."""
    arms = [
        (data.conditions[a], data.conditions[b] if b >= 0 else "")
        for a, b in zip(data.case[rows], data.comparator[rows], strict=True)
    ]
    reached = {""}
    while new := {x for pair in arms if reached & set(pair) for x in pair} - reached:
        reached |= new
    return reached - {""}


def joint_data(
    evidence: Evidence, estimand: str = "case_control", rho: float = RHO
) -> tuple[ProfileData, str]:
    """The rows that the joint model is fitted to, indexed, and the index condition.

    Raises EvidenceError when the evidence has problems, ValueError when too little is left.
    """
    if why := not_comparable(evidence, estimand):
        raise ValueError(why)
    frame, conditions, index, reference = _joint_rows(evidence, estimand)
    order = {m: i for i, m in enumerate(evidence.mechanisms["mechanism"])}
    frame = frame.sort_values("mechanism", key=lambda m: m.map(order), kind="stable")
    data = profile_data(frame, conditions, reference, partial(vcalc, rho=rho), rho)
    return data, index


def comparable(evidence: Evidence, estimand: str = "case_control") -> bool:
    """Whether the joint model has what it compares: the index condition and another one."""
    return not not_comparable(evidence, estimand)


def not_comparable(evidence: Evidence, estimand: str = "case_control") -> str:
    """Why there is no joint model of this evidence; empty where there can be one."""
    _, conditions, index, _ = _joint_rows(evidence, estimand)
    if len(conditions) > 1 and index in conditions:
        return ""
    return (
        f"the joint model needs rows of estimand {estimand} for {index} and at least one other "
        f"condition; found {', '.join(conditions) or 'none'}"
    )


def _joint_rows(
    evidence: Evidence, estimand: str
) -> tuple[pd.DataFrame, tuple[str, ...], str, str]:
    """Rows of the joint model, conditions that they touch, the index and the reference."""
    used = evidence.used
    roles = evidence.conditions.set_index("id")["role"]
    reference = str(roles.index[roles == "reference"][0])
    index = str(roles.index[roles == "index"][0])
    arms = [c for c in roles.index if roles[c] in ("index", "comorbid")]
    frame = used[
        (used["estimand"] == estimand)
        & used["condition"].isin(arms)
        & used["comparator"].isin([*arms, reference])
    ]
    conditions = tuple(c for c in arms if c in set(frame["condition"]) | set(frame["comparator"]))
    return frame, conditions, index, reference


def fit_profiles(
    evidence: Evidence,
    *,
    estimand: str = "case_control",
    rho: float = RHO,
    seed: int = 20220701,
    settings: Settings | None = None,
    level: float = 0.95,
    delta: float = 0.2,
    cores: int | None = None,
    progress: Callable[[str], None] | None = None,
    tails: float = np.inf,
    selective: bool = False,
) -> Profiles:
    """Fit the joint model to all used rows of one estimand (statistics: mechanism x condition).

    Compiles and samples a PyMC model (about a minute). Comparisons with other conditions inform
    contrasts; rows whose comparator is a mixed clinical group are not used. Convergence is checked
    for every cell, correlation, variance and overlap figure at `delta`; look at `.converged`.

    `tails`: degrees of freedom of a t distribution of mechanisms' means, instead of the normal
    one. `selective`: reports without a significant row reach the table with a probability that is
    learned (`models.reporting_term`); the posterior's `w` holds it.
    Raises EvidenceError when the evidence has problems, ValueError when too little is left.
    """
    require(evidence, Evidence, "fit_profiles takes what read_effects gives")
    data, index = joint_data(evidence, estimand, rho)
    known = _known(data)
    fit = sample(
        profiles_model(data, tails, reports(data.frame, rho) if selective else None),
        partial(
            _reported,
            data=data,
            index=data.conditions.index(index),
            known=known,
            delta=delta,
        ),
        seed=seed,
        settings=settings,
        cores=cores,
        progress=progress,
        remedy=REMEDY,
    )
    return Profiles(data, fit, index, evidence.mechanisms, evidence.conditions, level, tails)


def _known(data: ProfileData) -> NDArray[np.bool_]:
    """Cells (M, C) whose distance to the reference group is informed by rows."""
    table = _cell_evidence(data)
    shape = (len(data.mechanisms), len(data.conditions))
    known: NDArray[np.bool_] = table["anchored"].to_numpy(dtype=bool).reshape(shape)
    return known


def _reported(
    posterior: Any, *, data: ProfileData, index: int, known: NDArray[np.bool_], delta: float
) -> Mapping[str, Floats]:
    """Everything that the tables print, by name, each (chain, draw)."""
    mu, tau, R = (np.asarray(posterior[n]) for n in ("mu", "tau", "R"))
    out: dict[str, Floats] = {"omega": np.asarray(posterior["omega"])}
    out["tau_0"] = np.asarray(posterior["tau_0"])
    sigma = np.asarray(posterior["sigma"])
    for j, c in enumerate(data.conditions):
        out[f"sigma[{c}]"] = sigma[..., j]
        for i, m in enumerate(data.mechanisms):
            out[f"mu[{m},{c}]"] = mu[..., i, j]
        for k in range(j):
            out[f"R[{data.conditions[k]},{c}]"] = R[..., k, j]
        both = known[:, index] & known[:, j]
        if j != index and both.any():
            figures = overlap_figures(mu[..., both, index], mu[..., both, j], delta)
            out |= {f"{name}[{c}]": value for name, value in figures.items()}
    for i, m in enumerate(data.mechanisms):
        out[f"tau[{m}]"] = tau[..., i]
    if "w" in posterior:
        out |= {f"w {g}": np.asarray(posterior["w"])[..., i] for i, g in enumerate(GROUPS)}
    return out
