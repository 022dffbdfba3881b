"""Question 1: how large each effect is, how certain, how variable between studies.

A cell is one mechanism in one condition on one estimand. `pool` fits every cell of what it is
given and returns a `Pools` with the tables that figures and reports read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.units import outcome_unit
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.conditions import check_omega
from nssi_meta.inference.exact import fit_exact, has_omega
from nssi_meta.models.blocks import Layout, layout
from nssi_meta.models.priors import (
    Prior,
    PriorError,
    check_propriety,
)
from nssi_meta.synthesis.cells import CELL, Cell, Options, cell_name
from nssi_meta.synthesis.pool_tables import (
    ROW_COLUMNS,
    labelled,
    pools_shown,
    rows_table,
    study_labels,
    summarise,
)

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

#: Probabilities at which a posterior is known to a figure that draws its half-eye.
HALF_EYE = (0.005, 0.025, *(round(0.05 * i, 2) for i in range(1, 20)), 0.975, 0.995)


@dataclass(frozen=True)
class Pools:
    """Fitted pools. `table` is the `pools` table, `rows` the rows with their shrunken effects."""

    cells: tuple[Cell, ...]
    table: pd.DataFrame
    options: Options
    meta: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        problems = [text for cell in self.cells for text in cell.problems]
        return pools_shown(self.table, self.options, problems)

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
        return rows_table(self.cells, self.table, self.options)

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
        """Joint posterior draws of a single pool as an ArviZ DataTree.

        Groups `posterior` (mu, tau, omega, prediction, and theta by effect), `log_likelihood` (by
        study) and `log_prior`; see `synthesis.draws.draws_tree`.
        """
        from nssi_meta.synthesis.draws import draws_tree

        if len(self.cells) != 1:
            raise ValueError(
                f"posterior_data needs one pool, this has {len(self.cells)}; select a mechanism "
                "and a condition first"
            )
        return draws_tree(self.cells[0], self.options)

    def forest(
        self, path: str | Path | None = None, page_height: float | None = None, **options: Any
    ) -> matplotlib.figure.Figure:
        """Forest plot of the mechanism (one block a condition); saved if a path is given.

        Options are those of `nssi_meta.figures.forest`. With `page_height` (mm) a long plot goes on
        over several pages of a pdf, or numbered svg and png files; the first is returned. The
        numbers drawn are put beside the file, as `<name>_data.csv`; pdf, svg and png carry the
        alternative text.
        """
        from nssi_meta.figures import alt_forest, forest_pages, forest_table, save_pages

        height = float("inf") if page_height is None else page_height
        options = {"level": self.options.level, "page_height": height, **options}
        rows, table = self.rows, self.table
        if options.get("densities"):
            rows = rows_table(self.cells, self.table, self.options, HALF_EYE)
            table = self.table.join(self._quantiles(), on=CELL)
        pages = forest_pages(rows, table, **options)
        if path is not None:
            target = Path(path)
            by = options.get("by", "condition")
            form = (target.suffix.lstrip(".").lower() or "pdf",)
            title = options.get("title") or str(table["label"].iloc[0])
            words = alt_forest(rows, table, level=options["level"], by=by)
            save_pages(pages, target.with_suffix(""), form, title=title, alt_text=words)
            drawn = forest_table(rows, table, sort=options.get("sort", "year"), by=by)
            drawn.to_csv(target.with_name(f"{target.stem}_data.csv"), index=False)
        return pages[0]

    def _quantiles(self) -> pd.DataFrame:
        """Quantiles of mu, a row a cell, in columns such as `mu_q2.5`."""
        found = [
            {f"mu_q{100 * p:g}": cell.posterior.mu.quantile(p) for p in HALF_EYE}
            for cell in self.cells
        ]
        keys = pd.MultiIndex.from_tuples([cell.key for cell in self.cells], names=CELL)
        return pd.DataFrame(found, index=keys)


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
        measure. With a measure in the outcome's unit (MD) default priors are in units of the
        outcome's SD, and the numbers of a prior that is given are in the outcome's unit; the column
        `flags` says so. Without an SD every prior must be given.

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
    chosen = Options.given(**options)
    priors = chosen.priors()
    if chosen.measure is not None and not isinstance(data, pd.DataFrame):
        raise ValueError("measure is for ready-made effects; this evidence knows its own scales")
    frame, mechanisms, conditions = rows_to_pool(data)
    if frame.empty:
        raise ValueError(
            "no rows to pool: every row of the selection is excluded or compares with other "
            "patients; `nssi-meta check` tells why"
        )
    cells = []
    for key, rows in frame.groupby(CELL, sort=False, dropna=False):
        if progress is not None:
            progress(cell_name(key))
        cells.append(fit_cell(key, rows, priors, chosen))
    table = pd.DataFrame([summarise(cell, chosen) for cell in cells])
    return Pools(tuple(cells), labelled(table, mechanisms, conditions), chosen)


def check_options(evidence: Evidence, **options: Any) -> Options:
    """The options of `pool`, checked against the evidence before anything is computed.

    Raises what `pool` would raise: ValueError for an option out of range, `PriorError` for a prior
    that cannot be read or leaves a cell without a proper posterior.
    """
    chosen = Options.given(**options)
    mu, tau, omega = chosen.priors()
    for key, rows in comparable_rows(evidence).groupby(CELL, sort=False, dropna=False):
        try:
            sizes = rows.loc[rows["kind"] != "interval", "study_id"]
            check_propriety(mu, tau, len(sizes), sizes.nunique())
            check_omega(omega if has_omega(rows["study_id"].to_numpy()) else None)
        except PriorError as error:
            raise _named(key, error) from error
    return chosen


def _named(key: Any, error: Exception) -> Exception:
    """The same error with the pool's name in front, if it has one."""
    name = cell_name(key)
    return type(error)(f"{name}: {error}") if name else error


def rows_to_pool(data: Evidence | pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Used rows that measure the distance to the reference group, and the vocabularies."""
    if isinstance(data, pd.DataFrame):
        needed = [*CELL, "study_id", "kind", "yi", "vi", "lower", "upper"]
        if missing := [name for name in needed if name not in data]:
            raise ValueError(
                f"the frame has no column {missing[0]!r}: name the columns of a table of your own "
                'by read_simple, as in pool(read_simple(frame, yi="yi", vi="vi", study="study"))'
            )
        empty = pd.DataFrame(columns=["mechanism", "label", "system"])
        frame = data.reindex(columns=[*dict.fromkeys([*data.columns, *ROW_COLUMNS, "n_control"])])
        return frame, empty, pd.DataFrame(columns=["id", "label", "role"])
    if not isinstance(data, Evidence):
        raise ValueError(
            f"data must be what read_effects or read_simple gives, not {type(data).__name__}"
        )
    return comparable_rows(data), data.mechanisms, data.conditions


def comparable_rows(data: Evidence) -> pd.DataFrame:
    """Used rows that measure the distance to the reference group, with the studies' labels."""
    used = data.used
    reference = data.conditions.loc[data.conditions["role"] == "reference", "id"].tolist()
    plain = used["comparator"].isin([*reference, "none", "within"])
    frame = used if data.comparators else used[plain]
    return frame.assign(label=study_labels(frame))


def fit_cell(
    key: Any, rows: pd.DataFrame, priors: tuple[Prior, Prior, Prior], options: Options
) -> Cell:
    """The pool of one cell's rows; `priors` of mu, tau and omega."""
    rows = rows.reset_index(drop=True)
    nested = has_omega(rows["study_id"].to_numpy())
    unit = outcome_unit(options.measure, rows, options.left(nested))
    mu, tau, omega = options.in_unit(unit, priors)
    data = layout(rows, partial(vcalc, rho=options.rho), options.rho)
    within = omega if nested else None
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
