"""The report page: one HTML file that works offline, from tables, manifest and figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nssi_meta.figures.text import heading
from nssi_meta.report import tables as tb
from nssi_meta.report.claims_text import claims_sentence, claims_table, gaps_table, next_study
from nssi_meta.report.columns import Table, make_table
from nssi_meta.report.in_short import in_short
from nssi_meta.report.limits import (
    COVERAGE_COLUMNS,
    EXCLUDED_COLUMNS,
    limits,
    selection_notice,
)
from nssi_meta.report.methods import facts_table, methods
from nssi_meta.report.names import Manifest, Names, Tables, read_names
from nssi_meta.report.overlap_text import (
    CORRELATION_COLUMNS,
    FIGURES,
    MECHANISM_COLUMNS,
    SUMMARY_COLUMNS,
    overlap_sentences,
)
from nssi_meta.report.placing import arrange
from nssi_meta.report.robustness_text import (
    adjusted_table,
    external_sentence,
    external_table,
    reporting_sentence,
)
from nssi_meta.report.sentences import (
    MOST_INDEX,
    MOST_OTHER,
    POOL_COLUMNS,
    diagnostics_sentence,
    most_studied,
    pool_sentence,
)
from nssi_meta.report.side_by_side import (
    contrast_sentence,
    contrasts_table,
    estimands_table,
    left_out_table,
)
from nssi_meta.report.values import Record, as_text, date, enumerate_words, first_lower, records

NOT_CONVERGED = "did not converge: not results"
#: A table that `build` is given and no run writes: the review's own mechanisms.csv.
VOCABULARY = "mechanisms"
NOT_CHECKED = "has no record of convergence: not results"


@dataclass(frozen=True)
class Overlap:
    """The overlap of the index condition with one other: a paragraph and its tables."""

    label: str
    sentences: list[str]
    tables: list[Table]


def build(
    tables: Tables,
    manifest: Manifest,
    figures: Mapping[str, str],
    *,
    forests: int = 10,
) -> str:
    """Build the report of a run.

    Parameters
    ----------
    tables
        The tables of a run by name; one that is missing or empty gives a sentence that says so.
        A further table `mechanisms` (rows of mechanisms.csv), if given, tells what signs mean.
    manifest
        What `report.manifest.manifest` returns.
    figures
        SVG text by name: `overview`, `overlap_mechanisms`, `overlap_summary`, `mechanism_model`,
        `gap_map`, `forest_<mechanism>`.
    forests
        How many forest plots stand in the page, those of the mechanisms with the most rows; the
        others are links to `figures/forest_<mechanism>.svg` beside the page.

    Returns
    -------
    str
        A whole HTML document, without scripts and without anything to load.

    Raises
    ------
    ValueError
        A table lacks a column, or a figure is not SVG; the message names it.
    """
    names = read_names(tables, manifest)
    alone = as_text(manifest.get("no_joint_model"))
    pools = records(tables.get("pools"), POOL_COLUMNS, "pools")
    warning = _warning(tables, manifest)
    sampled = any("exact" not in as_text(r["engine"]) for r in pools)
    level = tb.levels_of(pools, names)
    drawn, linked = arrange(figures, tables, names, forests)
    environment = Environment(
        loader=PackageLoader("nssi_meta.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=_title(names, manifest),
        subject=_subject(pools, names),
        manifest=manifest,
        created=as_text(manifest.get("created")),
        date=date(as_text(manifest.get("created"))),
        warning=warning,
        sampled=sampled,
        has_pools=bool(pools),
        notice=selection_notice(tables, manifest),
        in_short=in_short(tables, names, joint=not warning),
        findings=_findings(pools, names),
        alone=alone,
        limits=limits(tables, names, alone),
        overlaps=_overlaps(tables, names, warning),
        contrast=contrast_sentence(tables),
        contrasts=_marked_table(contrasts_table(tables, level), warning),
        left_out=_marked_table(left_out_table(tables, level), warning),
        profiles=_profiles(tables, names, warning),
        claims=claims_sentence(tables),
        claims_rule=_claims_rule(manifest),
        claims_table=_marked_table(claims_table(tables), warning),
        gaps=_marked_table(gaps_table(tables), warning),
        next_study=next_study(tables),
        systems=_systems(pools, names),
        estimands=estimands_table(tables, level),
        reporting=reporting_sentence(tables),
        adjusted=adjusted_table(tables),
        outside=external_sentence(tables),
        external=external_table(tables),
        coverage=_coverage(tables, names),
        flow=_flow(tables),
        excluded=_excluded(tables, names),
        methods=methods(manifest, pools, _has_joint(tables)),
        settings=_settings(manifest),
        diagnostics=_diagnostics(tables, warning),
        reproduce=_reproduce(manifest),
        files=sorted(str(name) for name in tables if name != VOCABULARY),
        figures=drawn,
        linked=linked,
    )


def _claims_rule(manifest: Manifest) -> str:
    """How a claim got its verdict, as the manifest says."""
    models = manifest.get("models")
    return as_text(models.get("claims rule")) if isinstance(models, Mapping) else ""


def _title(names: Names, manifest: Manifest) -> str:
    said = as_text(manifest.get("title"))
    if said:
        return said
    index = names.condition(names.index) if names.index else ""
    return f"{index}: a Bayesian meta-analysis" if index else "A Bayesian meta-analysis"


def _subject(pools: Sequence[Record], names: Names) -> str:
    """Whom the evidence is about, in words."""
    in_pools = list(dict.fromkeys(as_text(r["condition"]) for r in pools))
    ordered = [c for c in names.labels if c in in_pools]
    seen = [names.people(c) for c in ordered + [c for c in in_pools if c not in ordered]]
    if not names.index:
        return enumerate_words(seen) or "the groups of people named below"
    index = names.people(names.index)
    others = [people for people in seen if people != index]
    beside = f", and on what they share with {enumerate_words(others)}" if others else ""
    return index + beside


def _has_joint(tables: Tables) -> bool:
    keys = ("profiles", "overlap_mechanisms", "overlap_summary", "correlations")
    return any(tables.get(key) is not None and not tables[key].empty for key in keys)


def _warning(tables: Tables, manifest: Manifest) -> str:
    """What stands on every section that leans on the joint model; empty if it converged."""
    converged = manifest.get("converged")
    if converged is True:
        return ""
    if converged is False:
        return NOT_CONVERGED
    return NOT_CHECKED if _has_joint(tables) else ""


def _findings(pools: Sequence[Record], names: Names) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sentences by condition, the index condition first; each as its mechanism and the rest."""
    seen = list(dict.fromkeys(as_text(r["condition"]) for r in pools))
    order = [c for c in names.labels if c in seen]
    order.sort(key=lambda c: c != names.index)
    found = []
    for condition in order + [c for c in seen if c not in order]:
        most = MOST_INDEX if condition == names.index or not names.index else MOST_OTHER
        chosen = most_studied(pools, condition, most)
        if chosen:
            told = [(as_text(r["label"]), pool_sentence(r, names)) for r in chosen]
            split = [(label, sentence.removeprefix(label)) for label, sentence in told]
            short = names.short(condition)
            known = f" ({short})" if short.isupper() else ""  # an acronym is told once
            found.append((names.condition(condition) + known, split))
    return found


def _marked(caption: str, warning: str) -> str:
    return f"{caption} ({warning})" if warning else caption


def _marked_table(table: Table | None, warning: str) -> Table | None:
    return None if table is None else replace(table, caption=_marked(table.caption, warning))


def _overlaps(tables: Tables, names: Names, warning: str) -> list[Overlap]:
    def read(name: str, columns: tuple[str, ...]) -> list[Record]:
        return records(tables.get(name), columns, name)

    by_mechanism = read("overlap_mechanisms", MECHANISM_COLUMNS)
    summary = read("overlap_summary", SUMMARY_COLUMNS)
    correlations = read("correlations", CORRELATION_COLUMNS)
    thresholds = read("overlap_thresholds", tb.THRESHOLD_COLUMNS)
    systems = read("overlap_systems", tb.SYSTEM_COLUMNS)
    level = tb.levels_of([], names)
    told = []
    for other in dict.fromkeys(as_text(r["other"]) for r in [*summary, *by_mechanism]):

        def mine(rows: list[Record], other: str = other) -> list[Record]:
            return [r for r in rows if as_text(r["other"]) == other]

        label = names.condition(other)
        whose = f"with {first_lower(label)}"
        said = overlap_sentences(other, mine(by_mechanism), mine(summary), correlations, names)
        made = []
        if rows := mine(by_mechanism):
            caption = _marked(f"Probability of each class by mechanism, {whose}", warning)
            made.append(make_table(caption, tb.overlap_columns(names, other, level), rows))
        if rows := mine(thresholds):
            caption = _marked(f"Overlap over thresholds, {whose}", warning)
            made.append(tb.threshold_table(caption, rows, FIGURES, level))
        if rows := mine(systems):
            caption = _marked(f"Overlap by system, {whose}", warning)
            made.append(make_table(caption, tb.system_columns(level), rows))
        told.append(Overlap(label, said, made))
    return told


def _profiles(tables: Tables, names: Names, warning: str) -> Table | None:
    rows = records(tables.get("profiles"), tb.PROFILE_COLUMNS, "profiles")
    if not rows:
        return None
    caption = _marked(
        "Every mean of the joint model; cells without evidence are predicted", warning
    )
    return make_table(caption, tb.profile_columns(names, tb.levels_of(rows, names)), rows)


def _systems(pools: Sequence[Record], names: Names) -> list[tuple[str, Table]]:
    ranges = all("conclusion" in r for r in pools)
    columns = tb.pool_columns(names, tb.levels_of(pools, names), ranges)
    found = []
    for system in dict.fromkeys(as_text(r["system"]) for r in pools):
        rows = [r for r in pools if as_text(r["system"]) == system]
        name = heading(system)
        found.append((name, make_table(f"Pooled effects: {name}", columns, rows)))
    return found


def _coverage(tables: Tables, names: Names) -> Table | None:
    rows = records(tables.get("coverage"), COVERAGE_COLUMNS, "coverage")
    caption = "Effects per mechanism and condition; in parentheses those that are only bounds"
    return tb.coverage_table(caption, rows, names) if rows else None


def _flow(tables: Tables) -> Table | None:
    rows = records(tables.get("flow"), ("step", "n_rows", "n_studies", "note"), "flow")
    caption = "From the rows of the evidence table to those used (after PRISMA 2020)"
    return make_table(caption, tb.flow_columns(), rows) if rows else None


def _excluded(tables: Tables, names: Names) -> Table | None:
    rows = records(tables.get("excluded"), EXCLUDED_COLUMNS, "excluded")
    caption = "Rows of the evidence table that were not used"
    return make_table(caption, tb.excluded_columns(names), rows) if rows else None


def _diagnostics(tables: Tables, warning: str) -> tuple[str, Table | None]:
    rows = records(tables.get("diagnostics"), tb.DIAGNOSTIC_COLUMNS, "diagnostics")
    rows = sorted(rows, key=lambda r: bool(r["ok"]))
    caption = _marked("Convergence of every reported quantity, failures first", warning)
    table = make_table(caption, tb.diagnostic_columns(), rows) if rows else None
    return diagnostics_sentence(rows), table


def _pairs(caption: str, facts: Mapping[str, Any] | None) -> Table | None:
    rows = facts_table(facts)
    return Table(caption, ("What", "Value"), (False, False), tuple(rows)) if rows else None


def _settings(manifest: Manifest) -> Table | None:
    parts = ("priors", "thresholds", "models", "sampler")
    return _pairs("Settings", {part: manifest[part] for part in parts if manifest.get(part)})


def _reproduce(manifest: Manifest) -> list[Table]:
    run = {
        "command": as_text(manifest.get("command")) or None,
        "created": manifest.get("created"),
        "seed": manifest.get("seed"),
        "package version": manifest.get("version"),
    }
    parts = (
        ("Run", run),
        ("Data", manifest.get("data")),
        ("Versions", manifest.get("versions")),
    )
    made = [_pairs(caption, facts) for caption, facts in parts]
    return [table for table in made if table is not None]
