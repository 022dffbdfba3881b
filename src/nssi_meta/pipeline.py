"""The main job: from the table of effects to a folder of results, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nssi_meta.evidence.flow import coverage, flow
from nssi_meta.evidence.read import Evidence, read_effects
from nssi_meta.synthesis.pooled import Pools, pool

#: Written last; a folder that holds it is a finished run and may be replaced by the next.
MANIFEST = "manifest.json"
#: Pixels per inch of a run's png files, which are for screens; journals take the pdf.
RUN_DPI = 150
Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class RunResult:
    """What a run left: its folder, its tables, whether the joint model converged, what did not."""

    folder: Path
    tables: dict[str, pd.DataFrame]
    converged: bool
    problems: tuple[str, ...]


def run(
    data: str | Path,
    out: str | Path = "results",
    *,
    threshold: float = 0.2,
    seed: int = 20220701,
    draws: int | None = None,
    doubtful: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> RunResult:
    """Check, derive, pool, fit the joint model, compute overlap, draw, report.

    Parameters
    ----------
    data
        effects.csv, with mechanisms.csv and conditions.csv beside it.
    out
        Folder of results; replaced when the run is complete, untouched when it fails.
    threshold
        Smallest difference that matters (delta), on the effect-size scale.
    seed, draws
        Of the joint model's sampler; the same data and seed give the same numbers.
    doubtful
        Whether rows of status doubtful are used.
    progress
        Called with the step and a detail whenever either changes.
    **options
        Further options of `pool`.

    Raises
    ------
    EvidenceError
        If the data has problems; nothing is written.
    FileExistsError
        If `out` exists and is not the result of a run.
    """
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.synthesis.overlap import overlap
    from nssi_meta.synthesis.profiles import fit_profiles

    tell = progress or (lambda step, detail: None)
    target = Path(out)
    _may_replace(target)
    tell("check", str(data))
    evidence = read_effects(data)
    evidence.require_usable()
    if doubtful:
        evidence = evidence.select(doubtful=True)

    with _whole(target) as folder:
        for name in ("tables", "figures", "posterior"):
            (folder / name).mkdir()
        pools = pool(
            evidence, delta=threshold, seed=seed, progress=lambda d: tell("pools", d), **options
        )
        tell("pools", "shrunken effects")
        tables: dict[str, pd.DataFrame] = {"pools": pools.table, "rows": pools.rows}
        forests = _draw_forests(tables, pools, evidence, folder / "figures")
        profiles = fit_profiles(
            evidence,
            seed=seed,
            level=pools.options.level,
            rho=pools.options.rho,
            delta=threshold,
            settings=Settings() if draws is None else Settings(draws=draws),
            progress=lambda d: tell("profiles", d),
        )
        tell("overlap", "")
        shared = overlap(profiles, threshold)
        tables |= {
            "profiles": profiles.summary(),
            "correlations": profiles.correlations(),
            "overlap_mechanisms": shared.mechanisms,
            "overlap_summary": shared.figures,
            "overlap_thresholds": shared.thresholds,
            "overlap_systems": shared.systems,
            "diagnostics": profiles.fit.diagnostics,
            "flow": flow(evidence),
            "coverage": coverage(evidence),
            "excluded": excluded(evidence),
        }
        tell("figures", "overview and overlap")
        _draw_overlap(tables, profiles, pools, threshold, folder / "figures")
        for _ in forests:
            pass  # finish the forest plots that were drawn beside the sampling
        tell("report", "")
        facts = _manifest(evidence, pools, profiles, threshold, seed, data)
        _write(folder, tables, facts, profiles, evidence)
    return RunResult(target, tables, profiles.converged, profiles.fit.problems)


def excluded(evidence: Evidence) -> pd.DataFrame:
    """Rows that are not used, each with its line in the file and the reason."""
    columns = ["effect_id", "study_id", "mechanism", "condition", "line", "why_not"]
    return evidence.rows.loc[~evidence.rows["used"], columns].reset_index(drop=True)


def fresh_results(folder: str | Path, data: str | Path) -> tuple[dict[str, Any] | None, str]:
    """The manifest of finished results made from exactly this data, or None with the reason."""
    import hashlib

    path = Path(folder) / MANIFEST
    if not path.is_file():
        return None, f"no results in {folder}"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    digest = hashlib.sha256(Path(data).read_bytes()).hexdigest() if Path(data).is_file() else ""
    if facts["data"]["sha256"] != digest:
        return None, f"the results in {folder} are stale: {data} has changed since"
    return facts, ""


def _may_replace(target: Path) -> None:
    if target.exists() and not (target.is_dir() and _ours(target)):
        raise FileExistsError(
            f"{target} exists and is not a folder of results (it has no {MANIFEST}); name another "
            "folder with --out, or move it away"
        )


def _ours(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or not any(folder.iterdir())


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the target's place when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    os.chmod(work, 0o755)
    try:
        yield work
        if target.exists():
            old = work.with_name(work.name + ".old")
            target.rename(old)
            work.rename(target)
            shutil.rmtree(old)
        else:
            work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _draw_forests(
    tables: Mapping[str, pd.DataFrame], pools: Pools, evidence: Evidence, folder: Path
) -> Iterator[None]:
    """Draw one forest plot per mechanism in other processes; exhaust the result to wait."""
    from joblib import Parallel, delayed

    means = dict(
        zip(evidence.mechanisms["mechanism"], evidence.mechanisms["positive_means"], strict=True)
    )
    rows = dict(iter(tables["rows"].groupby("mechanism", sort=False)))
    jobs = (
        delayed(draw_forest)(rows[m], part, str(means.get(m, "")), pools.options.level, folder)
        for m, part in pools.table.groupby("mechanism", sort=False)
    )
    drawn: Iterator[None] = Parallel(n_jobs=2, return_as="generator_unordered", pre_dispatch="all")(
        jobs
    )
    return drawn


def draw_forest(
    rows: pd.DataFrame, pools: pd.DataFrame, positive_means: str, level: float, folder: Path
) -> None:
    """Draw and save the forest plot of one mechanism."""
    from nssi_meta.figures import alt_forest, forest, save

    mechanism, label = str(pools["mechanism"].iloc[0]), str(pools["label"].iloc[0])
    figure = forest(rows, pools, title=label, positive_means=positive_means, level=level)
    text = alt_forest(rows, pools, level=level)
    save(figure, folder / f"forest_{mechanism}", title=label, alt_text=text, dpi=RUN_DPI)


def _draw_overlap(
    tables: Mapping[str, pd.DataFrame],
    profiles: Any,
    pools: Pools,
    threshold: float,
    folder: Path,
) -> None:
    from nssi_meta import figures as fig

    conditions = profiles.conditions.set_index("id")
    index_label = str(conditions.loc[profiles.index, "short"])
    for estimand in pools.table["estimand"].unique():
        name = "overview" if estimand == "case_control" else f"overview_{estimand}"
        picture = fig.overview(pools.table, delta=threshold, estimand=estimand)
        text = fig.alt_overview(pools.table, estimand=estimand)
        fig.save(
            picture, folder / name, title="Overview of pooled effects", alt_text=text, dpi=RUN_DPI
        )
    if not tables["overlap_mechanisms"].empty:
        table = tables["overlap_mechanisms"]
        picture = fig.overlap_mechanisms(table, index_label=index_label, delta=threshold)
        text = fig.alt_overlap_mechanisms(table, index_label=index_label)
        fig.save(
            picture, folder / "overlap_mechanisms", title="Overlap", alt_text=text, dpi=RUN_DPI
        )
    table = tables["overlap_summary"]
    picture = fig.overlap_summary(table, index_label=index_label)
    text = fig.alt_overlap_summary(table, index_label=index_label)
    fig.save(
        picture, folder / "overlap_summary", title="Overlap figures", alt_text=text, dpi=RUN_DPI
    )


def _manifest(
    evidence: Evidence,
    pools: Pools,
    profiles: Any,
    threshold: float,
    seed: int,
    data: str | Path,
) -> dict[str, Any]:
    from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES
    from nssi_meta.report.manifest import data_facts, manifest
    from nssi_meta.synthesis.overlap import DECIDE, MOVED, RULE

    options = pools.options
    return manifest(
        data=data_facts(evidence),
        seed=seed,
        priors={
            "mu": options.mu_prior,
            "tau": options.tau_prior,
            "omega": options.omega_prior,
            **{f"joint {name}": f"half-normal({s:g})" for name, s in PRIOR_SCALES.items()},
            "joint R": f"LKJ({LKJ_ETA:g})",
            "rho": options.rho,
        },
        thresholds={"delta": threshold, "decide": DECIDE, "moved": MOVED},
        level=options.level,
        interval=options.interval,
        models={
            "pools": "exact quadrature"
            if options.engine == "exact"
            else "NUTS (nutpie), one model a pool",
            "profiles": "joint mechanism x condition model, NUTS (nutpie)",
            "verdict rule": RULE,
        },
        sampler=profiles.fit.facts,
        converged=profiles.converged and pools.converged,
        problems=[*profiles.fit.problems, *(p for c in pools.cells for p in c.problems)],
        conditions=evidence.conditions,
        command=f"nssi-meta run {Path(data).as_posix()} --seed {seed} --threshold {threshold:g}",
    )


def _write(
    folder: Path,
    tables: dict[str, pd.DataFrame],
    facts: dict[str, Any],
    profiles: Any,
    evidence: Evidence,
) -> None:
    from nssi_meta.report.manifest import write_manifest
    from nssi_meta.report.page import build
    from nssi_meta.report.tables import write_tables
    from nssi_meta.synthesis.posterior_file import save_posterior

    write_tables(tables, folder / "tables")
    save_posterior(profiles, folder / "posterior" / "profiles.nc", facts["data"]["sha256"])
    svgs = {p.stem: p.read_text(encoding="utf-8") for p in (folder / "figures").glob("*.svg")}
    page = build({**tables, "mechanisms": evidence.mechanisms}, facts, svgs)
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_manifest(facts, folder / MANIFEST)


__all__ = ["MANIFEST", "RunResult", "draw_forest", "excluded", "fresh_results", "run"]
