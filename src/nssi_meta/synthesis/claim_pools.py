"""Pools behind claims: any part of a cell's rows, fitted by the exact engine when asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nssi_meta.evidence.catalogue import with_role
from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.subset import Clause
from nssi_meta.evidence.vocabulary import COMPARATOR_WORDS
from nssi_meta.models.priors import parse_prior
from nssi_meta.synthesis.cells import CELL, Cell, Options
from nssi_meta.synthesis.pooled import Pools, fit_cell


class CellPools:
    """Pools of parts of the evidence, each computed once.

    `pools`: already fitted cells of the same evidence, taken where they answer; not used when they
    were fitted under other priors, another rho or by NUTS.
    """

    def __init__(self, evidence: Evidence, rho: float, pools: Pools | None = None) -> None:
        chosen = self.options = Options(rho=rho)
        self.priors = (
            parse_prior(chosen.mu_prior, "mu"),
            parse_prior(chosen.tau_prior, "tau"),
            parse_prior(chosen.omega_prior, "tau"),
        )
        plain = (*with_role(evidence.conditions, "reference"), *COMPARATOR_WORDS)
        used = evidence.used[evidence.used["comparator"].isin(plain)]
        more = evidence.select(doubtful=True).used
        self.nothing = used.iloc[:0]
        self._cells = {
            "all": _cells(used),
            "exact": _cells(used[used["kind"] == "exact"]),
            "doubtful": _cells(more[more["comparator"].isin(plain)]),
        }
        self._done: dict[tuple[str, ...], Cell] = {}
        if pools is not None and _same_model(pools.options, chosen):
            self._done |= {_ids(cell.rows): cell for cell in pools.cells}

    def rows(
        self,
        mechanism: str,
        condition: str,
        estimand: str,
        clauses: Sequence[Clause] = (),
        way: str = "all",
    ) -> pd.DataFrame:
        """Rows of a cell that measure the distance to the reference group.

        `way`: `all` used rows, `exact` ones only, or with the `doubtful` ones.
        """
        rows = self._cells[way].get((mechanism, condition, estimand), self.nothing)
        for clause in clauses:
            rows = rows[clause.mask(rows)]
        return rows

    def fit(self, rows: pd.DataFrame) -> Cell:
        """The pool of these rows (of one mechanism, condition and estimand)."""
        key = _ids(rows)
        if key not in self._done:
            cell = tuple(rows[CELL].iloc[0])
            self._done[key] = fit_cell(cell, rows, self.priors, self.options)
        return self._done[key]


def _same_model(a: Options, b: Options) -> bool:
    """Whether pools fitted with these options have the same posterior."""
    names = ("mu_prior", "tau_prior", "omega_prior", "rho", "engine")
    return all(getattr(a, n) == getattr(b, n) for n in names)


def _ids(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(rows["effect_id"]))


def _cells(rows: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    return {tuple(map(str, key)): part for key, part in rows.groupby(CELL, sort=False)}
