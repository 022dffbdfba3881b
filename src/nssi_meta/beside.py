"""What the main job does in other processes, beside compiling and sampling the joint model.

Each job is a function of tables that joblib can send to its workers (or, under another backend,
to a cluster): the pools of one mechanism with its forest plot, and each of the other figures.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.synthesis.cells import CELL
from nssi_meta.synthesis.grid import GRID
from nssi_meta.synthesis.pooled import comparable_rows, pool
from nssi_meta.synthesis.sensitivity import pool_ranges

#: Pixels per inch of a run's png files, which are for screens; journals take the pdf.
RUN_DPI = 150
N_JOBS = 2
#: Figures with a row a mechanism, by the names of their functions of pages.
PAGED = {"overview": "overview", "overlap_mechanisms": "overlap"}


@dataclass(frozen=True)
class Pooled:
    """The pools of a mechanism or of all: `pools` table, `rows` table, what did not converge."""

    table: pd.DataFrame
    rows: pd.DataFrame
    problems: tuple[str, ...]


def pool_all(evidence: Evidence, folder: Path, options: Mapping[str, Any]) -> Iterator[Pooled]:
    """Start pooling and drawing every mechanism in other processes, in the order of the review.

    Returns at once; iterate to wait. `options` are those of `pool`, which the caller has checked
    (`check_options`), so that a wrong one is not found after minutes of sampling.
    """
    rows = comparable_rows(evidence)
    jobs = []
    for mechanism in rows["mechanism"].unique():
        known = evidence.mechanisms["mechanism"] == mechanism
        # Rows that are not used stay: other analyses may take the doubtful ones in.
        part = evidence.rows[evidence.rows["mechanism"] == mechanism]
        alone = replace(evidence, rows=part, mechanisms=evidence.mechanisms[known])
        jobs.append((known.to_numpy().argmax(), alone))
    ordered = [alone for _, alone in sorted(jobs, key=lambda job: job[0])]
    return _parallel((pool_and_draw, alone, folder, dict(options)) for alone in ordered)


def gather(parts: list[Pooled]) -> Pooled:
    """The parts of `pool_all` as one."""
    return Pooled(
        pd.concat([p.table for p in parts], ignore_index=True),
        pd.concat([p.rows for p in parts], ignore_index=True),
        tuple(problem for p in parts for problem in p.problems),
    )


def pool_and_draw(evidence: Evidence, folder: Path, options: Mapping[str, Any]) -> Pooled:
    """Pool the cells of one mechanism and draw its forest plot into `folder`."""
    _step_back()
    pools = pool(evidence, **options)
    rows = pools.rows
    # What other reasonable analyses would have said travels with every estimate.
    others = pool_ranges(evidence, _grid(options), omega_prior=pools.options.omega_prior, n_jobs=1)
    table = pools.table.merge(others, on=CELL, how="left", validate="one_to_one")
    means = str(evidence.mechanisms["positive_means"].iloc[0])
    draw_forest(rows, pools.table, means, pools.options.level, folder)
    return Pooled(table, rows, tuple(p for cell in pools.cells for p in cell.problems))


def _grid(options: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """The usual grid of other analyses around the one that was asked for."""
    grid: dict[str, Sequence[Any]] = dict(GRID)
    for name in ("mu_prior", "tau_prior", "rho", "interval"):
        if name in options:
            grid[name] = tuple(dict.fromkeys([options[name], *grid.get(name, ())]))
    return grid


def _step_back() -> None:
    """Let the process that samples go first: what it does, nobody can do beside it."""
    if hasattr(os, "setpriority") and multiprocessing.parent_process() is not None:
        os.setpriority(os.PRIO_PROCESS, 0, 10)


def draw_forest(
    rows: pd.DataFrame, pools: pd.DataFrame, positive_means: str, level: float, folder: Path
) -> None:
    """Draw and save the forest plot of one mechanism."""
    from nssi_meta.figures import alt_forest, forest_pages, forest_table, save_pages

    mechanism, label = str(pools["mechanism"].iloc[0]), str(pools["label"].iloc[0])
    pages = forest_pages(rows, pools, title=label, positive_means=positive_means, level=level)
    text = alt_forest(rows, pools, level=level)
    save_pages(
        pages, folder / f"forest_{mechanism}", title=label, alt_text=text, dpi=RUN_DPI,
        table=forest_table(rows, pools),
    )  # fmt: skip


def draw_others(
    tables: Mapping[str, pd.DataFrame], index_label: str, threshold: float, folder: Path
) -> Iterator[None]:
    """Start drawing every figure but the forest plots; iterate to wait.

    Figures of the joint model are drawn where there are its tables.
    """
    pools = tables["pools"]
    jobs: list[tuple[Any, ...]] = []
    for estimand in pools["estimand"].unique():
        name = "overview" if estimand == "case_control" else f"overview_{estimand}"
        words = {"estimand": estimand}
        drawn = {**words, "delta": threshold}
        jobs.append(("overview", pools, drawn, words, folder / name, "Overview of pooled effects"))
    named = {"index_label": index_label}
    levelled = {**named, "level": float(pools["level"].iloc[0])}
    if "overlap_mechanisms" in tables and not tables["overlap_mechanisms"].empty:
        shared, drawn = tables["overlap_mechanisms"], {**named, "delta": threshold}
        jobs.append(
            ("overlap_mechanisms", shared, drawn, named, folder / "overlap_mechanisms", "Overlap")
        )
    if "overlap_summary" in tables:
        jobs.append(("overlap_summary", tables["overlap_summary"], levelled, named,
                     folder / "overlap_summary", "Overlap figures"))  # fmt: skip
    if "model" in tables:
        drawn = {**levelled, "stages": tables["overlap_stages"], "delta": threshold}
        jobs.append(("mechanism_model", tables["model"], drawn, named, folder / "mechanism_model",
                     "The review's model"))  # fmt: skip
    if "external" in tables:
        kinds = {"naive": "naive", "adjusted": "adjusted for selection"}
        jobs.append(("external", tables["external"], {"pools": kinds}, {"pools": kinds},
                     folder / "external", "Published pools beside ours"))  # fmt: skip
    if "gaps" in tables:
        order = {"order": tuple(tables["profiles"]["condition"].unique())}
        jobs.append(("gap_map", tables["gaps"], order, {}, folder / "gap_map", "Map of gaps"))
    return _parallel((draw, *job) for job in jobs)


def draw(
    kind: str,
    table: pd.DataFrame,
    options: Mapping[str, Any],
    alt_options: Mapping[str, Any],
    path: Path,
    title: str,
) -> None:
    """Draw and save the figure that `nssi_meta.figures` has under the name `kind`.

    One that grows with the review goes on on another page where it would not fit on one; each
    page has its own alternative text.
    """
    from nssi_meta import figures

    if kind in PAGED:
        pages = getattr(figures, f"{PAGED[kind]}_pages")(table, **options)
        parts = getattr(figures, f"{PAGED[kind]}_parts")(table, **options)
    else:
        pages, parts = [getattr(figures, kind)(table, **options)], [table]
    texts = [getattr(figures, f"alt_{kind}")(part, **alt_options) for part in parts]
    figures.save_pages(pages, path, title=title, alt_text=texts, dpi=RUN_DPI, table=table)


def _parallel(calls: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    from joblib import Parallel, delayed

    jobs = [delayed(call[0])(*call[1:]) for call in calls]
    results: Iterator[Any] = Parallel(n_jobs=N_JOBS, return_as="generator", pre_dispatch="all")(
        jobs
    )
    return results
