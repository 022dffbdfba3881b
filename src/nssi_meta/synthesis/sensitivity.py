"""Question 4: what another reasonable analysis would have said.

A grid names which rows, which priors and which correlation of errors are reasonable; every
combination is pooled by the exact engine. The first option of each choice is the main analysis.
No p-value is pooled over analyses: they share their data, and the grid is a choice itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.synthesis.cells import CELL
from nssi_meta.synthesis.pool_tables import summarise
from nssi_meta.synthesis.pooled import check_options, comparable_rows, pool

#: Rows by name: what they are, and which of a frame's rows they keep.
ROWS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "all": lambda rows: np.ones(len(rows), dtype=bool),
    "exact": lambda rows: rows["kind"] != "interval",
    "high_confidence": lambda rows: rows["confidence"] == "high",
    "stated_thresholds": lambda rows: rows["bound"] != "assumed",
    "adolescents": lambda rows: rows["age_group"].astype(str).str.startswith("adolescent"),
    "pure_samples": lambda rows: rows["pure_sample"].astype(str) == "yes",
    "with_doubtful": lambda rows: np.ones(len(rows), dtype=bool),
}
#: What is taken for reasonable where no grid is given.
GRID: dict[str, tuple[Any, ...]] = {
    "rows": ("all", "exact", "high_confidence", "stated_thresholds", "with_doubtful"),
    "mu_prior": ("normal(0,1)", "normal(0,0.5)"),
    "tau_prior": ("halfnormal(0.5)", "halfcauchy(0.5)", "halfnormal(0.25)"),
    "rho": (0.6, 0.0),
}
_SHOWN = ["scale", "k", "n_studies", "n_bounds", "mu_median", "mu_low", "mu_high", "p_positive"]


@dataclass(frozen=True)
class Sensitivity:
    """`analyses`: one row a cell and analysis; `table`: one row a cell, the range over them."""

    analyses: pd.DataFrame
    table: pd.DataFrame

    def summary(self) -> pd.DataFrame:
        """One row a cell: main analysis, range over the others, in how many it stands."""
        return self.table.copy()


def read_grid(path: str | Path) -> dict[str, tuple[Any, ...]]:
    """A grid from a TOML file: rows, mu_prior, tau_prior, rho, each a list, the main one first.

    A choice that the file leaves out has its main option only. Raises ValueError naming every
    unknown choice and option.
    """
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    wrong = [f"{name!r} is no choice; allowed: {', '.join(GRID)}" for name in given.keys() - GRID]
    for name, options in given.items():
        if name in GRID and not (isinstance(options, list) and options):
            wrong.append(f'{name} must be a list of options, such as {name} = ["{GRID[name][0]}"]')
    if wrong:
        raise ValueError(f"{path}: " + "; ".join(wrong))
    return {name: tuple(given.get(name, options[:1])) for name, options in GRID.items()}


def sensitivity(
    evidence: Evidence,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Sensitivity:
    """Pool every cell of `evidence` under every combination of the grid.

    Parameters
    ----------
    evidence
        As for `pool`.
    grid
        As `read_grid` returns it; `GRID` if None. The first option of each choice is the main one.
    n_jobs
        Processes; another joblib backend takes over where one is configured.
    progress
        Called with the name of each analysis when it is done.

    Returns
    -------
    Sensitivity
        `analyses` has a row for each cell and analysis: `spec_id`, one column `choice_*` a choice,
        counts of rows, median, interval and P(mu > 0). An analysis without rows is left out, and
        so is one that differs in rho alone where no two rows share people. `stands` says whether
        the interval excludes 0 on the same side as the main one (if that does), or includes it
        (if that does).

    Raises
    ------
    ValueError
        For unknown rows, an option out of range, or evidence without rows.
    PriorError
        For a prior that cannot be read or gives a cell no proper posterior.
    """
    from joblib import Parallel, delayed

    chosen = {name: tuple((grid or GRID).get(name, o[:1])) for name, o in GRID.items()}
    unknown = [r for r in chosen["rows"] if r not in ROWS]
    if unknown:
        raise ValueError(f"unknown rows {', '.join(unknown)}; allowed: {', '.join(ROWS)}")
    specs = [dict(zip(chosen, values, strict=True)) for values in product(*chosen.values())]
    parts = {name: _part(evidence, name) for name in chosen["rows"]}
    if comparable_rows(parts[chosen["rows"][0]]).empty:
        raise ValueError("no rows to pool in the main analysis; `nssi-meta check` tells why")
    jobs = []
    for i, spec in enumerate(specs):
        part = parts[spec["rows"]]
        rows = comparable_rows(part)
        if rows.empty or (spec["rho"] != chosen["rho"][0] and not _shared_people(rows)):
            continue
        options = {k: v for k, v in spec.items() if k != "rows"}
        check_options(part, **options)
        jobs.append((i, spec, part, options))
    results = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_pooled)(part, options) for _, _, part, options in jobs
    )
    found = []
    for (i, spec, _, _), table in zip(jobs, results, strict=True):
        table.insert(0, "spec_id", f"a{i + 1:03d}")
        for name, value in spec.items():
            table[f"choice_{name}"] = str(value)
        found.append(table)
        if progress is not None:
            progress(", ".join(str(v) for v in spec.values()))
    analyses = _judged(pd.concat(found, ignore_index=True))
    return Sensitivity(analyses, _ranges(analyses))


def _part(evidence: Evidence, name: str) -> Evidence:
    if name == "with_doubtful":
        return evidence.select(doubtful=True)
    keep = np.asarray(ROWS[name](evidence.rows), dtype=bool)
    return replace(evidence, rows=evidence.rows[keep])


def _shared_people(rows: pd.DataFrame) -> bool:
    """Whether rho can matter: some people give several rows of one cell."""
    return bool(rows.duplicated([*CELL, "study_id"]).any())


def _pooled(part: Evidence, options: Mapping[str, Any]) -> pd.DataFrame:
    pools = pool(part, **options)
    table = pd.DataFrame([summarise(cell, pools.options) for cell in pools.cells])
    return table[[*CELL, *_SHOWN]].rename(
        columns={"mu_median": "median", "mu_low": "low", "mu_high": "high"}
    )


def _judged(analyses: pd.DataFrame) -> pd.DataFrame:
    side = np.where(analyses["low"] > 0, 1, np.where(analyses["high"] < 0, -1, 0))
    main = analyses.assign(side=side).drop_duplicates(CELL).set_index(CELL)["side"]
    keys = pd.MultiIndex.from_frame(analyses[CELL])
    stands = side == main.reindex(keys).to_numpy()
    return analyses.assign(stands=stands)


def _ranges(analyses: pd.DataFrame) -> pd.DataFrame:
    records = []
    for key, rows in analyses.groupby(CELL, sort=False):
        main = rows.iloc[0]
        n, stands = len(rows), int(rows["stands"].sum())
        records.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "k": main["k"],
                "n_bounds": main["n_bounds"],
                "median": main["median"],
                "low": main["low"],
                "high": main["high"],
                "lowest_median": rows["median"].min(),
                "highest_median": rows["median"].max(),
                "lowest_low": rows["low"].min(),
                "highest_high": rows["high"].max(),
                "n_analyses": n,
                "n_stands": stands,
                "conclusion": f"stands in {stands} of {n} analyses",
            }
        )
    return pd.DataFrame(records)
