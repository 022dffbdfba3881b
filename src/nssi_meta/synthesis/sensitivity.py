"""Question 4: what another reasonable analysis would have said.

A grid (`synthesis.grid`) names which rows, which priors, which correlation of errors and which way
to compute are reasonable; every combination is computed for every pool. The first option of each
choice is the main analysis. No p-value is pooled over analyses: they share their data, and the grid
is a choice itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.evidence.problems import require
from nssi_meta.evidence.read import Evidence
from nssi_meta.models.priors import OMEGA_DEFAULT
from nssi_meta.shown import shown
from nssi_meta.synthesis.analyses import COLUMNS, Task, analyse
from nssi_meta.synthesis.cells import CELL
from nssi_meta.synthesis.chunks import name_of, read_part, write_part
from nssi_meta.synthesis.conversion import with_converted
from nssi_meta.synthesis.grid import GRID, ROWS, Grid, complete
from nssi_meta.synthesis.pooled import check_options, comparable_rows
from nssi_meta.synthesis.ranges import judged, ranges

#: Choices that decide which rows a pool has.
_OF_ROWS = ("rows", "convert")
RANGE_COLUMNS = [
    "lowest_median", "highest_median", "lowest_low", "highest_low", "lowest_high", "highest_high",
    "n_analyses", "n_stands", "conclusion", "most_moved_by", "most_moved",
]  # fmt: skip


@dataclass(frozen=True)
class Sensitivity:
    """`analyses`: one row a cell and analysis; `table`: one row a cell, the range over them."""

    analyses: pd.DataFrame
    table: pd.DataFrame

    def __repr__(self) -> str:
        return shown(f"{len(self.analyses)} analyses of {len(self.table)} pools", self.table)

    def summary(self) -> pd.DataFrame:
        """One row a cell: main analysis, range over the others, in how many it stands."""
        return self.table.copy()


def sensitivity(
    evidence: Evidence,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    omega_prior: str = OMEGA_DEFAULT,
    n_jobs: int = 2,
    folder: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Sensitivity:
    """Compute every cell of `evidence` under every combination of the grid.

    Parameters
    ----------
    evidence
        As for `pool`.
    grid
        As `read_grid` returns it; `GRID` if None. The first option of each choice is the main one.
    omega_prior
        Prior of omega in every analysis, as for `pool`.
    n_jobs
        Processes; another joblib backend takes over where one is configured (`parallel_config`).
    folder
        Where finished parts are kept: a second call goes on where the first was stopped. A part is
        used only for the very rows, options and version that it was computed with.
    progress
        Called with the name of a pool, how many analyses are done and how many there are.

    Returns
    -------
    Sensitivity
        `analyses` has a row for each cell and analysis: `spec_id`, one column `choice_*` a choice,
        counts of rows, median, interval and P(mu > 0), and

        - `same_as`: the earlier analysis that is the same one, as its rows are, or as rho does not
          matter to them; empty for an analysis of its own, and only those are counted;
        - `note`: why an analysis cannot be had for this pool; its numbers are missing;
        - `stands`: whether the interval excludes 0 on the same side as the main one (if that does),
          or includes it (if that does).

        Cells that the main analysis has no rows for are left out.

    Raises
    ------
    ValueError
        For an unknown option, or evidence without rows in the main analysis.
    PriorError
        For a prior that cannot be read, or where the main analysis has no proper posterior.
    """
    from joblib import Parallel, delayed

    require(evidence, Evidence, "sensitivity takes what read_effects gives")
    chosen = complete(GRID if grid is None else grid)
    specs = [dict(zip(chosen, values, strict=True)) for values in product(*chosen.values())]
    cells, tasks = _tasks(evidence, chosen, specs, omega_prior)
    where = None if folder is None else Path(folder)
    total = sum(len(task.specs) for task in tasks)
    names = [
        "" if where is None else name_of(t.rows, [t.key, t.specs, t.omega_prior]) for t in tasks
    ]
    known = [None if where is None else read_part(where, name) for name in names]
    results: Iterator[Any] = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(analyse)(t) for t, k in zip(tasks, known, strict=True) if k is None
    )
    done = 0
    for task, name, finished in zip(tasks, names, known, strict=True):
        found = next(results) if finished is None else finished
        if where is not None and finished is None:
            write_part(where, name, found)
        cells[task.key].take(task, found)
        done += len(task.specs)
        if progress is not None:
            progress(" / ".join(p for p in task.key if p), done, total)
    table = pd.DataFrame([r for cell in cells.values() for r in cell.records(chosen, specs)])
    analyses = judged(table)
    return Sensitivity(analyses, ranges(analyses))


def pool_ranges(
    evidence: Evidence,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    omega_prior: str = OMEGA_DEFAULT,
    n_jobs: int = 2,
) -> pd.DataFrame:
    """The range over reasonable analyses that every pooled estimate carries.

    Parameters
    ----------
    evidence, omega_prior, n_jobs
        As for `sensitivity`.
    grid
        `GRID` if None.

    Returns
    -------
    One row a cell: its key and `RANGE_COLUMNS`, to be joined onto the `pools` table by the key.
    """
    found = sensitivity(evidence, grid, omega_prior=omega_prior, n_jobs=n_jobs)
    return found.table[[*CELL, *RANGE_COLUMNS]]


class _CellOf:
    """What is found of one cell, by number of the analysis."""

    def __init__(self, key: tuple[str, str, str]) -> None:
        self.key = key
        self.found: dict[int, dict[str, Any]] = {}
        self.same: dict[int, int] = {}

    def take(self, task: Task, records: list[dict[str, Any]]) -> None:
        rows = task.rows
        counts = {
            "scale": rows["scale"].iloc[0],
            "k": len(rows),
            "n_studies": rows["study_id"].nunique(),
            "n_bounds": int((rows["kind"] == "interval").sum()),
        }
        for record in records:
            self.found[record["spec"]] = {**counts, **record}

    def records(self, chosen: Grid, specs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        width = max(3, len(str(len(specs))))
        for i, spec in enumerate(specs):
            first = self.same.get(i, i)
            record = {**self.found[first]}
            del record["spec"]
            other = record["same_as"] if record["same_as"] >= 0 else first
            record["same_as"] = "" if other == i else f"a{other + 1:0{width}d}"
            record.update({f"choice_{name}": str(spec[name]) for name in chosen})
            yield {
                "spec_id": f"a{i + 1:0{width}d}", **dict(zip(CELL, self.key, strict=True)), **record
            }  # fmt: skip


def _tasks(
    evidence: Evidence, chosen: Grid, specs: list[dict[str, Any]], omega_prior: str
) -> tuple[dict[tuple[str, str, str], _CellOf], list[Task]]:
    """The pools, and what is to be computed of each: every choice of rows once."""
    parts = {name: comparable_rows(_part(evidence, name)) for name in chosen["rows"]}
    main = parts[chosen["rows"][0]]
    if main.empty:
        raise ValueError("no rows to pool in the main analysis; `nssi-meta check` tells why")
    first = {n: specs[0][n] for n in ("mu_prior", "tau_prior", "rho", "interval")}
    check_options(_part(evidence, chosen["rows"][0]), omega_prior=omega_prior, **first)
    groups = {name: _cells(part) for name, part in parts.items()}
    by_rows: dict[tuple[Any, ...], list[tuple[int, dict[str, Any]]]] = {}
    for i, spec in enumerate(specs):
        rest = {name: value for name, value in spec.items() if name not in _OF_ROWS}
        by_rows.setdefault(tuple(spec[n] for n in _OF_ROWS), []).append((i, rest))
    cells, tasks = {}, []
    for key in groups[chosen["rows"][0]]:
        cell = cells[key] = _CellOf(key)
        seen: dict[tuple[Any, ...], list[int]] = {}
        for (name, converted), mine in by_rows.items():
            numbers = [i for i, _ in mine]
            try:
                rows = _rows(parts[name], groups[name], key, converted)
            except ValueError as error:
                cell.found.update({i: _missing(i, str(error)) for i in numbers})
                continue
            same = tuple(sorted(zip(rows["effect_id"], rows["estimand"], strict=True)))
            if same in seen:
                cell.same.update(zip(numbers, seen[same], strict=True))
                continue
            seen[same] = numbers
            tasks.append(Task(key, rows, tuple(mine), omega_prior))
    return cells, tasks


def _cells(rows: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    return dict(iter(rows.groupby(CELL, sort=False, dropna=False)))


def _rows(
    part: pd.DataFrame, cells: Mapping[Any, pd.DataFrame], key: tuple[str, str, str], converted: str
) -> pd.DataFrame:
    """The rows of one pool; ValueError says why there are none."""
    if key not in cells:
        raise ValueError("no such rows")
    rows = cells[key]
    if converted == "yes":
        mechanism, condition, _ = key
        here = (part["mechanism"] == mechanism) & (part["condition"] == condition)
        rows = with_converted(rows, part[here])
    return rows.reindex(columns=list(COLUMNS)).reset_index(drop=True)


def _missing(number: int, note: str) -> dict[str, Any]:
    numbers = dict.fromkeys(("median", "low", "high", "p_positive"), np.nan)
    counts = {"scale": "", "k": 0, "n_studies": 0, "n_bounds": 0}
    return {**counts, "spec": number, "same_as": -1, "note": note, **numbers}


def _part(evidence: Evidence, name: str) -> Evidence:
    if name == "with_doubtful":
        return evidence.select(doubtful=True)
    keep = np.asarray(ROWS[name](evidence.rows), dtype=bool)
    return replace(evidence, rows=evidence.rows[keep])
