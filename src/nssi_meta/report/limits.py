"""What could not be said, and why: gaps, bounds, exclusions, selective reporting."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nssi_meta.report.columns import words
from nssi_meta.report.names import Manifest, Names, Tables
from nssi_meta.report.overlap_text import FIGURES, MECHANISM_COLUMNS, SUMMARY_COLUMNS
from nssi_meta.report.sentences import POOL_COLUMNS
from nssi_meta.report.values import (
    Record,
    as_float,
    as_int,
    as_text,
    count,
    percent,
    records,
)

COVERAGE_COLUMNS = ("mechanism", "condition", "k", "n_bounds")
EXCLUDED_COLUMNS = ("effect_id", "study_id", "mechanism", "condition", "line", "why_not")


@dataclass(frozen=True)
class Limit:
    """One thing that the evidence cannot say; `items` are the cells or rows concerned."""

    title: str
    text: str
    items: tuple[str, ...] = ()


def limits(tables: Tables, names: Names, alone: str = "") -> list[Limit]:
    """All limits of a run, the most consequential first.

    `alone`: why there is no joint model, where there is none.
    """
    pools = records(tables.get("pools"), POOL_COLUMNS, "pools")
    found = [
        _without_evidence(tables, names),
        _only_bounds(pools, names),
        _single_study(pools, names),
        _assumed(pools),
        *(
            [Limit("No joint model", f"What is shared between conditions cannot be said: {alone}.")]
            if alone
            else [_overlap(tables, names), _predicted(tables, names)]
        ),
        _left_out(tables),
    ]
    return [limit for limit in found if limit is not None]


def selection_notice(tables: Tables, manifest: Manifest) -> list[str]:
    """Sentences of the notice on selective reporting; it stands before every finding.

    Says what corrects for it if `manifest["bias_model"]` names something, else that nothing does.
    """
    pools = records(tables.get("pools"), POOL_COLUMNS, "pools")
    k = sum(as_int(r["k"]) for r in pools)
    bounds = sum(as_int(r["n_bounds"]) for r in pools)
    said = []
    if k:
        said.append(
            f"{bounds:,} of the {count(k, 'effect')} behind the pools ({percent(bounds / k)}) are "
            f"only bounds: the source says that a result was significant or that it was not, but "
            f"not how large it is.{_sides(tables)}"
        )
    said.append(
        "Abstracts print what is significant, so bounds of that kind are themselves a selection: "
        "results that were not significant are often not mentioned at all."
    )
    model = as_text(manifest.get("bias_model"))
    if model:
        said.append(
            f"The pools are corrected for this by {model}; the correction rests on assumptions of "
            "its own and cannot recover what nobody reported."
        )
    else:
        adjusted = tables.get("pools_adjusted")
        where = (
            ""
            if adjusted is None or adjusted.empty
            else " The section on selective reporting has pools that are corrected for it."
        )
        said.append(
            "This is not corrected for: the estimates on this page are likely too large, and "
            f"their intervals do not show it.{where}"
        )
    return said


def _sides(tables: Tables) -> str:
    """How many bounds say `significant`, how many `not significant`."""
    rows = records(tables.get("rows"), ("kind", "lower", "upper"), "rows")
    bounds = [r for r in rows if as_text(r["kind"]) == "interval"]
    if not bounds:
        return ""
    open_ended = sum(
        not (math.isfinite(as_float(r["lower"])) and math.isfinite(as_float(r["upper"])))
        for r in bounds
    )
    return f" Of these bounds, {open_ended:,} say significant and {len(bounds) - open_ended:,} not."


def _by_condition(rows: Sequence[Record], names: Names) -> tuple[str, ...]:
    """Mechanisms listed per condition."""
    listed: dict[str, dict[str, None]] = {}
    for row in rows:
        mechanism = as_text(row.get("label")) or names.mechanism(as_text(row["mechanism"]))
        kind = as_text(row.get("estimand"))
        if kind not in ("", "case_control"):
            mechanism += f" ({words(kind)})"
        listed.setdefault(as_text(row["condition"]), {})[mechanism] = None
    return tuple(f"{names.condition(c)}: {'; '.join(listed[c])}" for c in _in_order(listed, names))


def _in_order(conditions: Iterable[str], names: Names) -> list[str]:
    """Conditions in the order in which a reader meets them."""
    order = list(names.labels)
    return sorted(conditions, key=lambda c: order.index(c) if c in order else len(order))


def _without_evidence(tables: Tables, names: Names) -> Limit | None:
    title = "Cells without evidence"
    rows = records(tables.get("coverage"), COVERAGE_COLUMNS, "coverage")
    if not rows:
        return Limit(title, "The coverage of mechanisms and conditions was not recorded.")
    empty = [r for r in rows if not as_int(r["k"])]
    if not empty:
        return None
    by = Counter(as_text(r["condition"]) for r in empty)
    per = "; ".join(f"{names.condition(c)} {by[c]}" for c in _in_order(by, names))
    text = (
        f"{len(empty):,} of {count(len(rows), 'cell')} (mechanism by condition) have no effect "
        "that could be used; nothing is said about them"
    )
    return Limit(title, f"{text}{f' ({per})' if per else ''}.", _by_condition(empty, names))


def _only_bounds(pools: Sequence[Record], names: Names) -> Limit | None:
    mine = [r for r in pools if as_int(r["k"]) and as_int(r["n_bounds"]) == as_int(r["k"])]
    if not mine:
        return None
    text = (
        f"In {len(mine):,} of {count(len(pools), 'pooled cell')} no study reports a size: the "
        "pooled effect is inferred from significance, the sizes of the groups and the prior."
    )
    return Limit("Cells with only bounds", text, _by_condition(mine, names))


def _single_study(pools: Sequence[Record], names: Names) -> Limit | None:
    mine = [r for r in pools if as_int(r["n_studies"]) == 1]
    if not mine:
        return None
    text = (
        f"{count(len(mine), 'pooled cell')} {'rests' if len(mine) == 1 else 'rest'} on a single "
        "study: how much results differ between studies cannot be learned from it, the prior says "
        "it."
    )
    return Limit("Cells with a single study", text, _by_condition(mine, names))


def _assumed(pools: Sequence[Record]) -> Limit | None:
    n = sum(as_int(r["n_assumed"]) for r in pools)
    if not n:
        return None
    text = (
        f"For {count(n, 'effect')} of those in the pools the source says that the result was (or "
        "was not) significant, but not at which threshold; the threshold was assumed."
    )
    return Limit("Assumed thresholds", text)


def _overlap(tables: Tables, names: Names) -> Limit:
    title = "Overlap that cannot be judged"
    by_mechanism = records(
        tables.get("overlap_mechanisms"), MECHANISM_COLUMNS, "overlap_mechanisms"
    )
    summary = records(tables.get("overlap_summary"), SUMMARY_COLUMNS, "overlap_summary")
    if not by_mechanism and not summary:
        return Limit(title, "No mechanism has evidence in two conditions that were compared.")
    open_cells = [r for r in by_mechanism if as_text(r["verdict"]) == "uninformative"]
    open_totals = [r for r in summary if as_text(r["verdict"]) == "uninformative"]
    text = (
        f"{len(open_cells):,} of {count(len(by_mechanism), 'comparison')} of a mechanism between "
        f"two conditions, and {len(open_totals):,} of {count(len(summary), 'overall figure')}, are "
        "uninformative: the evidence hardly moves them from the prior."
    )
    named = [{"condition": r["other"], "label": r["label"]} for r in open_cells]
    for r in open_totals:
        figure = as_text(r["figure"])
        named.append({"condition": r["other"], "label": FIGURES.get(figure, figure)})
    return Limit(title, text, _by_condition(named, names))


def _predicted(tables: Tables, names: Names) -> Limit | None:
    rows = records(tables.get("profiles"), ("label", "condition", "evidence"), "profiles")
    mine = [r for r in rows if as_text(r["evidence"]).startswith("none")]
    if not mine:
        return None
    text = (
        f"The joint model predicts {count(len(mine), 'cell')} without evidence of "
        f"{'its' if len(mine) == 1 else 'their'} own; such cells are marked and left out of every "
        "overlap figure."
    )
    return Limit("Cells that are only predicted", text, _by_condition(mine, names))


def _left_out(tables: Tables) -> Limit:
    rows = records(tables.get("excluded"), EXCLUDED_COLUMNS, "excluded")
    causes = Counter(as_text(r["why_not"]).split(": ")[0] or "no reason given" for r in rows)
    per = "; ".join(f"{cause} {n:,}" for cause, n in causes.most_common())
    text = f"{count(len(rows), 'row')} of the evidence table {'is' if len(rows) == 1 else 'are'} "
    text += f"not used{f' ({per})' if per else ''}. Each is listed below with its reason."
    return Limit("Rows left out", text if rows else "No row was left out.")
