"""Pools behind claims: any part of a cell's rows, fitted by the exact engine when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from nssi_meta.evidence.catalogue import with_role
from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.subset import Clause
from nssi_meta.evidence.vocabulary import COMPARATOR_WORDS
from nssi_meta.synthesis.pooled import Cell, Pools, pool

WAYS = ("all", "exact", "doubtful")


class CellPools:
    """Pools of parts of the evidence, each computed once.

    `pools`: already fitted cells (of the same evidence and options), taken where they answer.
    """

    def __init__(self, evidence: Evidence, rho: float, pools: Pools | None = None) -> None:
        self.rho = rho
        self.evidence = dict.fromkeys(WAYS, evidence)
        self.evidence["doubtful"] = evidence.select(doubtful=True)
        self.plain = (*with_role(evidence.conditions, "reference"), *COMPARATOR_WORDS)
        self._done: dict[tuple[str, ...], Cell] = {}
        for cell in pools.cells if pools is not None else ():
            self._done[self._key(cell.rows)] = cell

    def rows(
        self,
        mechanism: str,
        condition: str,
        estimand: str | None = None,
        clauses: Sequence[Clause] = (),
        way: str = "all",
    ) -> pd.DataFrame:
        """Rows of a cell that measure the distance to the reference group.

        `way`: all used rows, `exact` ones only, or the `doubtful` ones too.
        """
        used = self.evidence[way].used
        keep = (used["mechanism"] == mechanism) & (used["condition"] == condition)
        keep &= used["comparator"].isin(self.plain)
        if estimand is not None:
            keep &= used["estimand"] == estimand
        if way == "exact":
            keep &= used["kind"] == "exact"
        for clause in clauses:
            keep &= clause.mask(used)
        return used[keep]

    def fit(self, rows: pd.DataFrame) -> Cell:
        """The pool of these rows (of one mechanism, condition and estimand)."""
        key = self._key(rows)
        if key not in self._done:
            part = replace(self.evidence["all"], rows=rows, comparators=())
            self._done[key] = pool(part, rho=self.rho).cells[0]
        return self._done[key]

    @staticmethod
    def _key(rows: pd.DataFrame) -> tuple[str, ...]:
        return tuple(sorted(rows["effect_id"]))
