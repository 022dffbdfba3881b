"""Meta-regression: which moderators go with larger effects, and what how much they explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.units import outcome_unit
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.densities import IntervalKind, NormalMixture, interval
from nssi_meta.inference.exact import has_omega
from nssi_meta.inference.regression import (
    Regression,
    coefficient_bayes_factors,
    fit_regression,
)
from nssi_meta.models.blocks import RHO, Layout, layout
from nssi_meta.models.design import Design, design
from nssi_meta.models.priors import Prior, parse_prior
from nssi_meta.shown import shown
from nssi_meta.synthesis.cells import SEED, Options
from nssi_meta.synthesis.pooled import comparable_rows

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

#: For a difference between two levels, or one SD of a number, on a standardised scale.
BETA_DEFAULT = "normal(0,1)"
_TEXTS = ("sample_id", "control_id", "mechanism", "condition", "comparator", "measure", "scale")


@dataclass(frozen=True)
class MetaRegression:
    """A fitted meta-regression.

    `table` has a row per coefficient, `fit` the posterior itself. `n_bounds` rows were left out
    because only a bound or a size without its sign is known, `n_missing` because a moderator is.
    `explained` is 1 - (tau with / tau without moderators)^2, of posterior medians; below 0 where
    the moderators explain nothing. `rows` (as laid out), `X` (k, p), `layout`, `coef_priors` (p),
    `tau_prior`, `omega_prior` (None where it is not in the model), `rho` and `seed` are what draws
    are made from.
    """

    table: pd.DataFrame
    fit: Regression
    design: Design
    k: int
    n_studies: int
    n_bounds: int
    n_missing: int
    tau_with: float
    tau_without: float
    level: float
    kind: IntervalKind
    rows: pd.DataFrame
    X: Floats
    layout: Layout
    coef_priors: tuple[Prior, ...]
    tau_prior: Prior
    omega_prior: Prior | None
    rho: float
    seed: int

    def __repr__(self) -> str:
        left = {"bounds or sizes without sign": self.n_bounds, "moderator missing": self.n_missing}
        return shown(
            f"Meta-regression of {self.k} effects in {self.n_studies} studies, {self.level:.0%} "
            f"{self.kind} credible intervals",
            self.table,
            {"tau with moderators": self.tau_with, "without": self.tau_without},
            *(f"left out: {n} rows, {why}" for why, n in left.items() if n),
        )

    @property
    def posterior_data(self) -> xr.DataTree:
        """Joint posterior draws as an ArviZ DataTree, independent of each other.

        Groups `posterior` (coef, tau, omega, mean, contrast and prediction, and theta by effect),
        `log_likelihood` (by study) and `log_prior`, named as those of the sampled `regression`; see
        `synthesis.regression_draws.regression_tree`.
        """
        from nssi_meta.synthesis.regression_draws import regression_tree

        return regression_tree(self)

    @property
    def effects(self) -> list[str]:
        """Names of the rows: `effect_id`, or their numbers where there is none."""
        if "effect_id" in self.rows:
            return self.rows["effect_id"].astype(str).tolist()
        return [f"row {i + 1}" for i in range(self.k)]

    @property
    def explained(self) -> float:
        if self.tau_without == 0:
            return float("nan")
        return 1 - (self.tau_with / self.tau_without) ** 2

    def estimate(self, **moderators: Any) -> pd.Series[Any]:
        """Mean effect and prediction for a new setting at these moderators.

        Numbers not named are at their mean over the rows, categories at their reference level.
        """
        x = self.design.row(moderators)
        new = interval(self.fit.predict(x), self.level, self.kind)
        return pd.Series(
            {**self._describe(self.fit.linear(x)), "pred_low": new[0], "pred_high": new[1]}
        )

    def levels(self, moderator: str) -> pd.DataFrame:
        """Estimated mean of every level of a category, the other moderators as in `estimate`."""
        rows = [{"level": v, **self.estimate(**{moderator: v})} for v in self._levels(moderator)]
        return pd.DataFrame(rows)

    def contrasts(self, moderator: str) -> pd.DataFrame:
        """Differences between every two levels of a category, second minus first."""
        rows = []
        for a, b in combinations(self._levels(moderator), 2):
            x = self.design.row({moderator: b}) - self.design.row({moderator: a})
            rows.append({"contrast": f"{b} - {a}", **self._describe(self.fit.linear(x))})
        return pd.DataFrame(rows)

    def _levels(self, moderator: str) -> tuple[str, ...]:
        categories = [n for n, m in self.design.moderators.items() if m.levels]
        if moderator not in categories:
            raise ValueError(f"{moderator!r} is no category; there are: {', '.join(categories)}")
        return self.design.moderators[moderator].levels

    def _describe(self, density: NormalMixture) -> dict[str, float]:
        low, high = interval(density, self.level, self.kind)
        return {
            "mean": density.mean,
            "sd": density.sd,
            "median": density.quantile(0.5),
            "low": low,
            "high": high,
            "p_positive": float(1 - density.cdf(0.0)),
        }


def regress(
    data: Evidence | pd.DataFrame,
    moderators: Sequence[str],
    *,
    mu_prior: str | None = None,
    beta_prior: str | None = None,
    tau_prior: str | None = None,
    omega_prior: str | None = None,
    measure: str | None = None,
    rho: float = RHO,
    level: float = 0.95,
    kind: IntervalKind = "central",
    seed: int = SEED,
) -> MetaRegression:
    """Bayesian meta-regression on the exact effects of `data`.

    Parameters
    ----------
    data
        Evidence of one estimand, or a frame with yi, vi, the moderators and, where several rows
        belong to one study, study_id (sample_id for the same people).
    moderators
        Names of columns; numbers are centred, texts coded against their first level, "a:b" is
        an interaction.
    mu_prior
        Of the mean at average numbers and reference levels: normal or flat (default as `pool`).
    beta_prior
        Of every other coefficient (default `BETA_DEFAULT`), for one SD of a number or a difference
        between two levels: normal or flat. An interaction counts per SD of each of its numbers.
    tau_prior, omega_prior
        Heterogeneity between and, where a study has several rows, within studies.
    measure
        For effects in the outcome's unit, such as MD: default priors are in units of the outcome's
        SD (columns sd_1, sd_2 or n_total of the frame, as `read_simple` writes them); the numbers
        of a prior that is given are in the outcome's unit.
    seed
        Of the draws in `posterior_data`; nothing else is drawn.

    Returns
    -------
    MetaRegression

    Raises
    ------
    PriorError
        If a prior is not allowed or the posterior would be improper.
    ValueError
        If moderators are unknown, do not vary or are collinear, or too few rows are left.
    """
    frame = comparable_rows(data) if isinstance(data, Evidence) else _plain(data)
    if len(scales := sorted(set(frame["estimand"]))) > 1:
        raise ValueError(f"effects of several kinds do not mix: select one of {', '.join(scales)}")
    exact = frame[frame["kind"] == "exact"]
    mains = [m for m in moderators if ":" not in m and m in exact]
    missing = exact[mains].isna().any(axis=1) | (exact[mains].astype(str) == "").any(axis=1)
    rows = exact[~missing].reset_index(drop=True)
    if rows.empty:
        raise ValueError("no exact effect with all moderators known is left")
    coded = design(rows, moderators)
    # One pool, whose blocks are studies; what was measured still tells outcomes apart.
    outcome = rows["mechanism"].astype(str) + "/" + rows["measure"].astype(str)
    one = rows.assign(mechanism="", measure=outcome)
    laid = layout(one, partial(vcalc, rho=rho), rho)
    X = coded.matrix(rows)
    options = Options.given(mu_prior=mu_prior, tau_prior=tau_prior, omega_prior=omega_prior)
    nested = has_omega(rows["study_id"].to_numpy())
    left = options.left(nested) + ["beta_prior"] * (beta_prior is None)
    unit = outcome_unit(measure, rows, left)
    mu, tau, of_omega = options.in_unit(unit, options.priors())
    omega = of_omega if nested else None
    beta = parse_prior(BETA_DEFAULT if beta_prior is None else beta_prior, "mu")
    whole = unit.scale if beta_prior is None else 1.0
    priors = [mu, *(beta.scaled(whole / s) for s in coded.spread[1:])]
    n_studies = rows["study_id"].nunique()
    fit = fit_regression(
        laid, X, beta_prior=priors, tau_prior=tau, omega_prior=omega, names=coded.names,
        n_studies=n_studies,
    )  # fmt: skip
    without = fit_regression(
        laid, X[:, :1], beta_prior=priors[:1], tau_prior=tau, omega_prior=omega,
        names=coded.names[:1], n_studies=n_studies,
    )  # fmt: skip
    found = MetaRegression(
        pd.DataFrame(), fit, coded, len(rows), n_studies, len(frame) - len(exact),
        int(missing.sum()), fit.tau_density.quantile(0.5), without.tau_density.quantile(0.5),
        level, kind, one, X, laid, tuple(priors), tau, omega, rho, seed,
    )  # fmt: skip
    factors = _factors(fit, laid, X, priors, tau, omega)
    table = [
        {"coefficient": name, **found._describe(density), "log10_bf10": factors.get(name, np.nan),
         "prior": str(prior)}
        for name, density, prior in zip(fit.names, fit.coefficients, priors, strict=True)
    ]  # fmt: skip
    return MetaRegression(**{**vars(found), "table": pd.DataFrame(table)})


def _factors(
    fit: Regression, laid: Layout, X: Any, priors: list[Prior], tau: Prior, omega: Prior | None
) -> Mapping[str, float]:
    """log10 Bayes factors of the coefficients; none under improper priors."""
    if fit.log_evidence is None:
        return {}
    logs = coefficient_bayes_factors(
        laid, X, beta_prior=priors, tau_prior=tau, omega_prior=omega, names=fit.names
    )
    return {name: value / np.log(10) for name, value in logs.items()}


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of effects with the columns that a layout needs."""
    for name in ("yi", "vi"):
        if name not in frame:
            raise ValueError(f"the frame has no column {name!r} (effects in yi, variances in vi)")
    frame = frame.reset_index(drop=True)
    own = pd.Series([f"row {i + 1}" for i in range(len(frame))], dtype="object")
    default: dict[str, Any] = {
        "study_id": own, "estimand": "", "kind": "exact", "lower": np.nan, "upper": np.nan,
        "n_control": np.nan, "n_case": np.nan, **dict.fromkeys(_TEXTS, ""),
    }  # fmt: skip
    frame = frame.assign(**{name: v for name, v in default.items() if name not in frame})
    numbers = frame.loc[frame["kind"] == "exact", ["yi", "vi"]]
    if not (np.isfinite(numbers.to_numpy(dtype=float)).all() and (numbers["vi"] > 0).all()):
        raise ValueError("yi must be finite and vi above 0 in every row")
    return frame
