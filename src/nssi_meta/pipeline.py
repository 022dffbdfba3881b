"""The main job: from the table of effects to a folder of results, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nssi_meta.beside import draw_others, gather, pool_all
from nssi_meta.evidence.flow import coverage, flow
from nssi_meta.evidence.read import Evidence, read_effects
from nssi_meta.synthesis.cells import Options
from nssi_meta.synthesis.pooled import check_options, comparable_rows

if TYPE_CHECKING:
    from nssi_meta.synthesis.overlap import Overlap
    from nssi_meta.synthesis.profiles import Profiles

#: Written last; a folder that holds it is a finished run and may be replaced by the next.
MANIFEST = "manifest.json"
#: Options of the pools that a manifest records under these names.
RECORDED = ("mu_prior", "tau_prior", "omega_prior", "interval", "level", "rho")
#: Those that pools under selective reporting share; they have priors of mu and tau of their own.
SHARED = ("omega_prior", "interval", "level", "rho")
Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class RunResult:
    """What a run left: its folder, its tables, whether all that was sampled converged, what did
    not.
    """

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
    robustness: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> RunResult:
    """Check, derive, pool, fit the joint model, compute overlap, draw, report.

    A review without two conditions to compare (`profiles.not_comparable`) has no joint model:
    everything that rests on it is left out, and the report says so.

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
    robustness
        Whether every pool is also adjusted for selective reporting, and both kinds are compared
        with the pools of published_pools.csv beside the data, if there are any. Takes as long
        again as half of the rest.
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
    ValueError
        If an option is out of range, or no row is left to pool.
    """
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.report.tables import write_tables
    from nssi_meta.synthesis.claims import claims
    from nssi_meta.synthesis.estimands import side_by_side
    from nssi_meta.synthesis.gaps import gaps
    from nssi_meta.synthesis.model_table import model_table
    from nssi_meta.synthesis.overlap import overlap
    from nssi_meta.synthesis.posterior_file import save_posterior
    from nssi_meta.synthesis.profiles import fit_profiles, not_comparable
    from nssi_meta.synthesis.ranges import with_one_more

    tell = progress or (lambda step, detail: None)
    target = Path(out)
    _may_replace(target)
    tell("check", str(data))
    evidence = read_effects(data)
    evidence.require_usable()
    if doubtful:
        evidence = evidence.select(doubtful=True)
    pool_options = {"delta": threshold, "seed": seed, **options}
    if comparable_rows(evidence).empty:
        raise ValueError(
            "nothing to pool: no usable row compares patients with the reference group, or is an "
            "association or a change within persons; `nssi-meta check` tells why rows are left out"
        )
    chosen = check_options(evidence, **pool_options)
    listed = _claims(Path(data), evidence)
    alone = not_comparable(evidence)

    with _whole(target) as folder:
        for name in ("tables", "figures", *(() if alone else ("posterior",))):
            (folder / name).mkdir()
        # The pools and their forest plots are made by other processes while this one compiles and
        # samples the joint model.
        pooling = pool_all(evidence, folder / "figures", pool_options)
        tables = {
            "flow": flow(evidence),
            "coverage": coverage(evidence),
            "excluded": excluded(evidence),
        }
        profiles, shared = None, None
        if not alone:
            profiles = fit_profiles(
                evidence,
                seed=seed,
                level=chosen.level,
                rho=chosen.rho,
                delta=threshold,
                settings=Settings() if draws is None else Settings(draws=draws),
                progress=lambda d: tell("profiles", d),
            )
            tell("overlap", "")
            shared = overlap(profiles, threshold)
            tables |= _joint_tables(profiles, shared)
            tell("gaps", "")
            tables["gaps"] = gaps(profiles, evidence, threshold=threshold)
        if listed is not None:
            tell("claims", f"{len(listed)} claims")
            found = claims(listed, evidence, profiles, threshold=threshold, rho=chosen.rho)
            tables |= {"claims": found.table, "claim_readings": found.sensitivity}
        tell("pools", "and forest plots")
        pools = gather(list(pooling))
        tables = {"pools": pools.table, "rows": pools.rows, **tables}
        tables["estimands"] = side_by_side(pools.table)
        if robustness:
            tell("robustness", "")
            tables |= _robustness(Path(data), evidence, pools.table, chosen, tell)
            tables["pools"] = with_one_more(pools.table, tables["pools_adjusted"])
        if profiles is not None and shared is not None and "stage" in profiles.mechanisms:
            tables["model"] = model_table(profiles, shared, pools.table)
        tell("figures", "overview" if alone else "overview, overlap, model and gaps")
        index = evidence.conditions["role"] == "index"
        index_label = str(evidence.conditions.loc[index, "short"].iloc[0])
        drawing = draw_others(tables, index_label, threshold, folder / "figures")
        facts = _manifest(evidence, chosen, pools.problems, profiles, threshold, seed)
        facts["hashes"] = _hashes(Path(data))
        facts["options"] = {
            "threshold": threshold,
            "seed": seed,
            "draws": draws,
            "doubtful": doubtful,
            "robustness": robustness,
            **{n: getattr(chosen, n) for n in RECORDED},
        }
        facts["command"] = _command(data, facts["options"])
        facts["no_joint_model"] = alone
        if profiles is not None:
            path = folder / "posterior" / "profiles.nc"
            save_posterior(profiles, path, facts["data"]["sha256"])
        for _ in drawing:
            pass  # the page holds the figures
        tell("report", "")
        write_tables(tables, folder / "tables")
        _write_page(folder, tables, facts, evidence)
    problems = tuple(facts["problems"])
    return RunResult(target, tables, facts["converged"] is not False, problems)


def _joint_tables(profiles: Profiles, shared: Overlap) -> dict[str, pd.DataFrame]:
    """The tables of the joint model and of the overlap that follows from it."""
    from nssi_meta.synthesis.overlap_depth import leave_one_out, overlap_contrasts

    return {
        "profiles": profiles.summary(),
        "correlations": profiles.correlations(),
        "overlap_mechanisms": shared.mechanisms,
        "overlap_summary": shared.figures,
        "overlap_thresholds": shared.thresholds,
        "overlap_systems": shared.systems,
        "overlap_stages": shared.stages,
        "overlap_contrasts": overlap_contrasts(profiles, shared.threshold),
        "overlap_leave_one_out": leave_one_out(profiles, shared.threshold),
        "diagnostics": profiles.fit.diagnostics,
    }


def _claims(data: Path, evidence: Evidence) -> pd.DataFrame | None:
    """The claims of claims.csv beside the data, if it is there; checked before sampling."""
    path = data.with_name("claims.csv")
    if not path.is_file():
        return None
    from nssi_meta.evidence.claims import read_claims

    return read_claims(path, evidence)


def _robustness(
    data: Path, evidence: Evidence, pools: pd.DataFrame, options: Options, tell: Progress
) -> dict[str, pd.DataFrame]:
    """Pools under selective reporting, and both kinds beside those published by others."""
    from nssi_meta.synthesis.published import read_published
    from nssi_meta.synthesis.robustness import robustness

    path = data.with_name("published_pools.csv")
    published = read_published(path) if path.is_file() else None
    same = {name: getattr(options, name) for name in SHARED}
    return robustness(
        evidence, pools, published, progress=lambda detail: tell("robustness", detail), **same
    )


def _command(data: str | Path, options: Mapping[str, Any]) -> str:
    """What to type to repeat the run: every option that is not at its default."""
    default = {n: getattr(Options(), n) for n in RECORDED}
    words = ["nssi-meta", "run", Path(data).as_posix()]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif value not in (None, False) and value != default.get(name):
            words += [flag, shlex.quote(str(value))]
    return " ".join(words)


def excluded(evidence: Evidence) -> pd.DataFrame:
    """Rows that are not used, each with its line in the file and the reason."""
    columns = ["effect_id", "study_id", "mechanism", "condition", "line", "why_not"]
    return evidence.rows.loc[~evidence.rows["used"], columns].reset_index(drop=True)


def fresh_results(folder: str | Path, data: str | Path) -> tuple[dict[str, Any] | None, str]:
    """The manifest of finished results made from exactly this data, or None with the reason."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return None, f"no results in {folder}"
    facts = _read_manifest(path)
    if facts is None or not {"hashes", "options", "converged"} <= set(facts):
        return None, f"{path} is no manifest of this program, or is damaged"
    changed = [n for n, digest in _hashes(Path(data)).items() if facts["hashes"].get(n) != digest]
    if changed:
        return None, f"the results in {folder} are stale: {', '.join(changed)} changed since"
    return facts, ""


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """A manifest that this package wrote, or None."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.get("package") == "nssi-meta" else None


def _hashes(data: Path) -> dict[str, str]:
    """SHA-256 of the table of effects and of the vocabularies beside it."""
    beside = ("mechanisms.csv", "conditions.csv")
    files = [data, *(data.with_name(name) for name in beside)]
    return {
        f.name: hashlib.sha256(f.read_bytes()).hexdigest() if f.is_file() else "" for f in files
    }


def _may_replace(target: Path) -> None:
    if target.exists() and not (target.is_dir() and _ours(target)):
        raise FileExistsError(
            f"{target} exists and is not a folder of results (it has no {MANIFEST} of this "
            "program); name another folder with --out, or move it away"
        )


def _ours(folder: Path) -> bool:
    return _read_manifest(folder / MANIFEST) is not None or not any(folder.iterdir())


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the target's place when the block ends without an error."""
    target = target.resolve()  # behind a link: the folder itself is replaced, not the link
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    os.chmod(work, 0o755)
    try:
        yield work
        if target.exists():
            old = work.with_name(work.name + ".old")
            target.rename(old)
            try:
                work.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _manifest(
    evidence: Evidence,
    options: Options,
    pool_problems: tuple[str, ...],
    profiles: Profiles | None,
    threshold: float,
    seed: int,
) -> dict[str, Any]:
    from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES
    from nssi_meta.report.manifest import data_facts, manifest
    from nssi_meta.synthesis.claims import RULE as CLAIMS_RULE
    from nssi_meta.synthesis.overlap import DECIDE, MOVED, RULE

    priors = {"mu": options.mu_prior, "tau": options.tau_prior, "omega": options.omega_prior}
    thresholds, models = {"delta": threshold}, {}
    if profiles is not None:
        priors |= {f"joint {name}": f"half-normal({s:g})" for name, s in PRIOR_SCALES.items()}
        priors["joint R"] = f"LKJ({LKJ_ETA:g})"
        thresholds |= {"decide": DECIDE, "moved": MOVED}
        models["profiles"] = "joint mechanism x condition model, NUTS (nutpie)"
        models["verdict rule"] = RULE
    # Without a joint model only sampled pools can fail to converge.
    converged = None if profiles is None else profiles.converged
    found = () if profiles is None else profiles.fit.problems
    return manifest(
        data=data_facts(evidence),
        seed=seed,
        priors={**priors, "rho": options.rho},
        thresholds=thresholds,
        level=options.level,
        interval=options.interval,
        models={
            "pools": "exact quadrature"
            if options.engine == "exact"
            else "NUTS (nutpie), one model a pool",
            **models,
            "claims rule": CLAIMS_RULE,
        },
        sampler={} if profiles is None else profiles.fit.facts,
        converged=False if pool_problems else converged,
        problems=[*found, *pool_problems],
        conditions=evidence.conditions,
    )


def _write_page(
    folder: Path, tables: dict[str, pd.DataFrame], facts: dict[str, Any], evidence: Evidence
) -> None:
    from nssi_meta.report.manifest import write_manifest
    from nssi_meta.report.page import build

    svgs = {p.stem: p.read_text(encoding="utf-8") for p in (folder / "figures").glob("*.svg")}
    page = build({**tables, "mechanisms": evidence.mechanisms}, facts, svgs)
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_manifest(facts, folder / MANIFEST)


__all__ = ["MANIFEST", "RunResult", "excluded", "fresh_results", "run"]
