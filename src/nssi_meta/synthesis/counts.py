"""Pooling two-by-two tables by their counts: empty cells need no correction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nssi_meta.evidence.simple import GIVEN
from nssi_meta.inference.counts import MU, TAU, counts_bayes_factors
from nssi_meta.inference.densities import IntervalKind
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.models.priors import Prior, parse_prior
from nssi_meta.models.two_by_two import Counts
from nssi_meta.synthesis.cells import Options
from nssi_meta.synthesis.counts_cell import CountsCell, count_rows
from nssi_meta.synthesis.evidence_ratios import ratios
from nssi_meta.synthesis.pool_tables import labelled, pools_shown, rows_table, summarise

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

#: Prior of the baselines: next to nothing said of them (Smith, Spiegelhalter & Thomas 1995).
BASELINE = "normal(0,10)"
#: As in files of counts; from 1e12 on the likelihood of a table is lost in rounding.
MOST = 1e9
CORRECTED = (
    "Estimates of tables with an empty cell are shown with 1/2 added to all four cells; pooled and "
    "shrunken values need no correction."
)


@dataclass(frozen=True)
class CountsPool:
    """A pool of counts: `table`, one row with the columns of the `pools` table, and its cell."""

    cell: CountsCell
    table: pd.DataFrame
    options: Options

    @property
    def cells(self) -> tuple[CountsCell]:
        """The one cell, as `Pools.cells`."""
        return (self.cell,)

    def __repr__(self) -> str:
        return pools_shown(self.table, self.options)

    def summary(self) -> pd.DataFrame:
        """One row: estimate, intervals, heterogeneity, probabilities, counts (log odds ratios)."""
        return self.table.copy()

    @property
    def data(self) -> Counts:
        """The counts."""
        return self.cell.data

    @property
    def baseline(self) -> Prior:
        """Prior of the control groups' log odds."""
        return self.cell.baseline

    @property
    def posterior(self) -> ExactPosterior:
        """Densities of mu, tau and a new setting's effect, log marginal likelihood, draws."""
        post: ExactPosterior = self.cell.posterior
        return post

    @property
    def rows(self) -> pd.DataFrame:
        """One row a study: its counts, its log odds ratio as reported, its shrunken one.

        Columns as `Pools.rows`, and ai, n1i, ci, n2i, `shrunk_mean` and `shrunk_sd`. The shrunken
        log odds ratio is exact, empty cells and all; yi, sei, ci_low and ci_high are for show, with
        1/2 added to the cells of a table of which one is empty.
        """
        return rows_table(self.cells, self.table, self.options)

    def bayes_factors(self, mu: float = 0.0) -> pd.DataFrame:
        """Bayes factors against a mean of `mu` and against tau = 0, as `Pools.bayes_factors`."""
        mu_prior, tau_prior, _ = self.cell.priors
        compute = partial(
            counts_bayes_factors, self.data, mu_prior=mu_prior, tau_prior=tau_prior,
            baseline_prior=self.baseline, mu=mu,
        )  # fmt: skip
        return pd.DataFrame([ratios(self.cell.key, mu, compute)])

    @property
    def posterior_data(self) -> xr.DataTree:
        """Joint posterior draws as an ArviZ DataTree, as `Pools.posterior_data`.

        Groups `posterior` (mu, tau, prediction, and theta, the true log odds ratio of each table),
        `log_likelihood` (by study, theta integrated out) and `log_prior`.
        """
        from nssi_meta.synthesis.draws import draws_tree

        return draws_tree(self.cell, self.options)

    def forest(
        self, path: str | Path | None = None, page_height: float | None = None, **options: Any
    ) -> matplotlib.figure.Figure:
        """Forest plot of the tables, as `Pools.forest`; a note tells how empty cells are shown."""
        from nssi_meta.synthesis.pooled import Pools

        if self.data.has_empty_cell().any():
            options["footnotes"] = [*options.get("footnotes", ()), CORRECTED]
        return Pools(self.cells, self.table, self.options).forest(path, page_height, **options)


def pool_counts(
    ai: ArrayLike,
    n1i: ArrayLike,
    ci: ArrayLike,
    n2i: ArrayLike,
    *,
    mu_prior: str = MU,
    tau_prior: str = TAU,
    baseline_prior: str = BASELINE,
    level: float = 0.95,
    interval: IntervalKind = "central",
    delta: float | None = None,
    study: Sequence[str] | None = None,
    name: str = "",
) -> CountsPool:
    """Pool odds ratios by the exact binomial likelihood.

    ci ~ Binomial(n2i, expit(alpha_i)), ai ~ Binomial(n1i, expit(alpha_i + theta_i)), alpha_i under
    `baseline_prior`, theta_i ~ N(mu, tau^2). All alpha_i and theta_i are integrated by quadrature.
    Tables with empty cells need no correction, and tables without any event take part.

    Parameters
    ----------
    ai, ci
        Events among the treated (or cases) and among the controls, (k,).
    n1i, n2i
        People in the two groups, (k,).
    mu_prior, tau_prior, baseline_prior
        Priors of the mean log odds ratio, of its SD between studies, and of a study's control log
        odds (normal).
    level, interval
        Probability and kind (central or shortest) of the intervals.
    delta
        Smallest log odds ratio that matters; 0.2 without one.
    study
        Names of the studies, (k,), none twice; `row 1`, `row 2` and so on without them.
    name
        What stands as mechanism in the table, where there are several pools.

    Raises
    ------
    ValueError
        If lengths differ, a study is named twice, or a count is no whole number, negative or above
        its group's size.
    PriorError
        If a prior cannot be read or gives no proper posterior.
    FloatingPointError
        If quadrature does not resolve the posterior.
    """
    options = Options(
        mu_prior=mu_prior, tau_prior=tau_prior, level=level, interval=interval, delta=delta
    )
    mu, tau = parse_prior(mu_prior, "mu"), parse_prior(tau_prior, "tau")
    baseline = parse_prior(baseline_prior, "mu")
    data = _counts(ai=ai, n1i=n1i, ci=ci, n2i=n2i)
    rows = count_rows(data, _studies(study, len(data.a)), name)
    cell = CountsCell.fit((name, "", GIVEN), rows, (mu, tau, tau), baseline)
    table = pd.DataFrame([summarise(cell, options)])
    nothing = pd.DataFrame(columns=["mechanism", "label", "system", "id", "role"])
    return CountsPool(cell, labelled(table, nothing, nothing), options)


def _studies(given: Sequence[str] | None, k: int) -> list[str]:
    if given is None:
        return [f"row {i + 1}" for i in range(k)]
    names = [str(name) for name in given]
    if len(names) != k:
        raise ValueError(f"study names {len(names)} studies, and there are {k} tables")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(
            f"study {twice[0]!r} has several tables, which would count as independent: one table a "
            "study; or pool log odds ratios with their variances by pool, where rows may share one"
        )
    return names


def _counts(**given: ArrayLike) -> Counts:
    """The four columns of counts; ValueError names every entry that is none."""
    columns = {name: np.atleast_1d(np.asarray(x, dtype=object)) for name, x in given.items()}
    shapes = {name: x.shape for name, x in columns.items()}
    if len(set(shapes.values())) > 1 or len(shapes["ai"]) != 1 or not len(columns["ai"]):
        raise ValueError(f"counts must be rows of one length, one entry a study; got {shapes}")
    arrays: dict[str, Any] = {
        name: pd.to_numeric(pd.Series(x), errors="coerce").to_numpy(dtype=float)
        for name, x in columns.items()
    }
    wrong = []
    for name, x in arrays.items():
        bad = ~(np.isfinite(x) & (x >= 0) & (x == np.round(x)) & (x <= MOST))
        wrong += [
            f"{name}[{i}] is {columns[name][i]!r}: counts are whole numbers from 0 to {MOST:g}"
            for i in np.flatnonzero(bad)
        ]
    for events, people in (("ai", "n1i"), ("ci", "n2i")):
        bad = (arrays[events] > arrays[people]) | (arrays[people] < 1)
        wrong += [
            f"{events}[{i}] = {arrays[events][i]:g} of {people}[{i}] = {arrays[people][i]:g}: "
            f"{people} counts all people of the group, with and without the event, at least 1"
            for i in np.flatnonzero(bad & (arrays[events] >= 0) & (arrays[people] >= 0))
        ]
    if wrong:
        raise ValueError("; ".join(wrong))
    return Counts(*arrays.values())
