"""From a data frame to what the sampled models take: effects, errors, studies, design matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.simple import read_simple
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import RHO, Layout, layout
from nssi_meta.models.bounded_rows import BoundedRows, bounded_rows
from nssi_meta.models.design import Combinations, Design, combinations, design, require_independent
from nssi_meta.models.priors import MU_DEFAULT, PriorError, parse_prior
from nssi_meta.models.study_rows import StudyRows, study_rows
from nssi_meta.shown import shown
from nssi_meta.synthesis.pooled import comparable_rows

Floats = NDArray[np.float64]

#: Of a coefficient on a standardised scale: for one SD of a number, the difference of two levels.
BETA_DEFAULT = "normal(0,1)"


#: Columns of rows that the package has read, from which it knows all it needs.
_READ = {
    "study_id",
    "sample_id",
    "control_id",
    "condition",
    "comparator",
    "kind",
    "vi",
    "n_control",
}


@dataclass(frozen=True)
class ModelRows:
    """Checked rows of a frame with their design matrix.

    `exact` and `bounded` are the first arguments of the models by name: `exact` of `regression`,
    `robust_regression` and `location_scale` for exact effects, `bounded` of `bounded_regression`
    and `location_scale` where bounds are among them; `rows` is that of `horseshoe` for both. `X`
    (k, p) and `names` (p,) are the design matrix with its columns, `priors` (p,) those of the
    coefficients, `frame` (k rows) what was read.
    """

    frame: pd.DataFrame
    layout: Layout
    X: Floats
    design: Design
    priors: tuple[str, ...]
    rho: float

    def __repr__(self) -> str:
        told = [f"{name} ~ {prior}" for name, prior in zip(self.names, self.priors, strict=True)]
        n = self.frame["study_id"].nunique()
        title = f"{len(self.frame)} rows of {n} studies with their design matrix X"
        return shown(title, f"coefficients: {', '.join(told)}")

    @property
    def names(self) -> tuple[str, ...]:
        return self.design.names

    @property
    def combinations(self) -> Combinations:
        """Means at each level and differences of levels, which the models report beside."""
        return combinations(self.design)

    @property
    def V(self) -> Floats:
        """Sampling variances (k,), or their covariance (k, k) where rows share people."""
        if (self.frame[["sample_id", "control_id"]] == "").all(axis=None):
            return self.frame["vi"].to_numpy(dtype=float)
        return vcalc(self.frame, self.rho)

    @property
    def rows(self) -> StudyRows | BoundedRows:
        """Rows grouped by study, or with a bound or a size without sign among them by block."""
        return self._bounded if self._bounds.size else self._exact

    @property
    def exact(self) -> dict[str, Any]:
        """Arguments of the models of exact effects. Raises ValueError where a row is none."""
        if self._bounds.size:
            first = self.frame.iloc[self._bounds[0]]
            what = "a bound" if first["kind"] == "interval" else "a size without sign"
            raise ValueError(
                f"{first['effect_id']} is {what}, and this takes exact effects only: leave out "
                f"bounds and sizes without sign (here {self._bounds.size}), or use **rows.bounded "
                "with a model that takes them, as bounded_regression(**rows.bounded)"
            )
        return {"rows": self._exact, **self._described}

    @property
    def bounded(self) -> dict[str, Any]:
        """Arguments of the models in which bounds count."""
        return {"rows": self._bounded, **self._described}

    @property
    def _bounds(self) -> NDArray[np.intp]:
        return np.flatnonzero((self.frame["kind"] != "exact").to_numpy())

    @property
    def _exact(self) -> StudyRows:
        return study_rows(self.frame["yi"], self.V, self.frame["study_id"], self.X)

    @property
    def _bounded(self) -> BoundedRows:
        return bounded_rows(self.layout, self.frame["kind"].to_numpy(), self.X)

    @property
    def _described(self) -> dict[str, Any]:
        return {"names": self.names, "coef_priors": self.priors, "combinations": self.combinations}


def model_rows(
    data: Evidence | pd.DataFrame,
    moderators: Sequence[str] = (),
    *,
    yi: str = "yi",
    vi: str | None = None,
    sei: str | None = None,
    study: str | None = None,
    sample: str | None = None,
    lower: str | None = None,
    upper: str | None = None,
    unsigned: str | None = None,
    mu_prior: str = MU_DEFAULT,
    beta_prior: str = BETA_DEFAULT,
    rho: float = RHO,
) -> ModelRows:
    """Rows of a data frame for the sampled models.

    Parameters
    ----------
    data
        A frame with one row an effect, whose columns are named below; or evidence of one estimand,
        which knows them (its used rows, as `pool` takes them), or such rows as a frame.
    moderators
        Names of columns: numbers are centred at their mean, texts and truth values are coded
        against their first level in alphabetical order, `a:b` is a product. None leaves the
        intercept, the mean effect, alone.
    yi, vi, sei, study, sample, lower, upper, unsigned
        Names of columns as for `read_simple`: a row with a bound in place of an effect, or with a
        size whose sign is not known, is taken by the models with bounds alone; rows of one sample
        have errors correlated by `rho`.
    mu_prior
        Of the intercept: the mean effect at average numbers and reference levels; normal or flat.
    beta_prior
        Of every other coefficient, for one SD of a number or a difference of two levels: normal or
        flat. A product counts per SD of each of its numbers.

    Raises
    ------
    EvidenceError
        With every problem of the cells, named by the frame's index.
    ValueError
        A moderator that is unknown, missing in a row or without variation; columns that follow
        from one another; neither or both of `vi` and `sei`.
    PriorError
        A prior that cannot be read or is neither normal nor flat.
    """
    table = comparable_rows(data) if isinstance(data, Evidence) else data
    unnamed = not any((vi, sei, study, sample, lower, upper, unsigned))
    if isinstance(data, Evidence) or (unnamed and set(data) >= _READ):
        frame = _one_pool(table.reset_index(drop=True))
    else:
        frame = read_simple(
            table, yi, vi=vi, sei=sei, study=study, sample=sample, lower=lower, upper=upper,
            unsigned=unsigned,
        ).assign(measure="", n_case=np.nan, n_control=np.nan)  # fmt: skip
    found = design(table.reset_index(drop=True), moderators)
    mu, beta = parse_prior(mu_prior, "mu"), parse_prior(beta_prior, "mu")
    for prior in (mu, beta):
        if prior.name not in ("normal", "flat"):
            raise PriorError(f"{prior} is not possible for a coefficient: normal(mean,sd) or flat")
    X = found.matrix(table)
    require_independent(X, found.names)
    priors = (str(mu), *(str(beta.scaled(1 / s)) for s in found.spread[1:]))
    return ModelRows(frame, layout(frame, partial(vcalc, rho=rho), rho), X, found, priors, rho)


def _one_pool(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a review's table as one pool, whose blocks are studies, as `regress` has them."""
    if rows.empty:
        raise ValueError("no rows: every row of the selection is excluded")
    for column in ("scale", "estimand"):
        if len(kinds := sorted(set(rows[column]))) > 1:
            raise ValueError(f"{column} differs, and kinds do not mix: select {' or '.join(kinds)}")
    # What was measured still tells outcomes of the same people apart.
    outcome = rows["mechanism"].astype(str) + "/" + rows["measure"].astype(str)
    return rows.assign(mechanism="", measure=outcome)
