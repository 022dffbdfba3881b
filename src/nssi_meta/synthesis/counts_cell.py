"""A fitted pool of two-by-two tables, in the form that tables, checks and figures of pools read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.simple import GIVEN
from nssi_meta.inference.counts import fit_counts, limits
from nssi_meta.inference.counts_effects import (
    table_effect_draws,
    table_effects,
    table_log_likelihood,
)
from nssi_meta.inference.densities import Density, interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.models.priors import Prior
from nssi_meta.models.two_by_two import Counts
from nssi_meta.synthesis.cells import Cell, Options

Floats = NDArray[np.float64]

#: Columns of the counts.
COUNTS = ["ai", "n1i", "ci", "n2i"]


@dataclass(frozen=True, kw_only=True)
class CountsCell(Cell):
    """A `Cell` whose rows are two-by-two tables (columns ai, n1i, ci, n2i).

    `baseline` is the prior of the control log odds.
    """

    baseline: Prior

    @classmethod
    def fit(
        cls,
        key: tuple[str, str, str],
        rows: pd.DataFrame,
        priors: tuple[Prior, ...],
        baseline: Prior,
    ) -> CountsCell:
        """The pool of tables as `count_rows` gives them, by quadrature. Raises as `fit_counts`."""
        data = _counts(rows)
        posterior = fit_counts(
            data, mu_prior=priors[0], tau_prior=priors[1], baseline_prior=baseline
        )
        return cls(key, rows, limits(data), posterior, priors=priors, baseline=baseline)

    @property
    def data(self) -> Counts:
        """The counts (k,) each."""
        return _counts(self.rows)

    def refit(self, rows: pd.DataFrame) -> ExactPosterior:
        """The posterior of some of the tables under the same priors."""
        posterior: ExactPosterior = CountsCell.fit(
            self.key, rows, self.priors, self.baseline
        ).posterior
        return posterior

    @cached_property
    def effects(self) -> list[Density]:
        """Posterior of the true log odds ratio of every table."""
        return table_effects(self.data, self.posterior, self.baseline)

    def effect_quantiles(self, p: Sequence[float]) -> Floats:
        """Quantiles (k, len(p)) of the true log odds ratios."""
        return np.array([[effect.quantile(x) for x in p] for effect in self.effects])

    def effect_intervals(self, options: Options) -> Floats:
        """Intervals (k, 2) of the true log odds ratios."""
        return np.array([interval(e, options.level, options.interval) for e in self.effects])

    def effect_draws(self, mu: Floats, tau: Floats, seed: int) -> Floats:
        """True log odds ratios (S, k) at draws of mu and tau (S,)."""
        rng = np.random.default_rng([seed, 3])
        return table_effect_draws(self.data, self.baseline, mu, tau, rng)

    def log_likelihood(self, mu: Floats, tau: Floats) -> Floats:
        """Log likelihood (S, k) of every table at draws of mu and tau (S,)."""
        return table_log_likelihood(self.data, self.baseline, mu, tau)

    def reported(self) -> pd.DataFrame:
        """`rows` with the log odds ratio as it is usually reported: yi and sei.

        Where a cell is empty 1/2 is added to the four cells of the table, as metafor does (Haldane
        1956, Ann Hum Genet 20:309): to be shown, for the posterior needs no correction.
        """
        data = self.data
        cells = np.stack([data.a, data.n1 - data.a, data.c, data.n2 - data.c])
        cells = cells + 0.5 * data.has_empty_cell()
        a, b, c, d = np.log(cells)
        return self.rows.assign(
            kind="exact", yi=a - b - c + d, sei=np.sqrt((1 / cells).sum(axis=0)), lower=np.nan,
            upper=np.nan, measure="OR", stimulus="", year=np.nan, confidence="",
        )  # fmt: skip


def count_rows(data: Counts, studies: Sequence[str], name: str = "") -> pd.DataFrame:
    """Tables as rows of a pool: no effect stands in them, only counts and people."""
    return pd.DataFrame(
        {
            "mechanism": name,
            "condition": "",
            "estimand": GIVEN,
            "effect_id": list(studies),
            "study_id": list(studies),
            "sample_id": list(studies),
            "label": list(studies),
            "control_id": "",
            "comparator": "",
            "scale": "log_or",
            "kind": "counts",
            "bound": "",
            **dict(zip(COUNTS, data, strict=True)),
            "n_case": data.n1,
            "n_control": data.n2,
            "n_total": data.n1 + data.n2,
        }
    )


def _counts(rows: pd.DataFrame) -> Counts:
    return Counts(*(rows[name].to_numpy(dtype=float) for name in COUNTS))
