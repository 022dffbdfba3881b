"""Selective reporting and others' pools, in sentences and tables for the page."""

from __future__ import annotations

from nssi_meta.report.columns import Table, integer, interval, make_table, real, text
from nssi_meta.report.names import Tables
from nssi_meta.report.values import as_float, as_int, as_text, count, number, records, span

ADJUSTED_COLUMNS = (
    "label", "condition_label", "estimand", "k", "n_bounds", "naive_median", "naive_low",
    "naive_high", "adjusted_median", "adjusted_low", "adjusted_high", "excludes_zero",
)  # fmt: skip
LEARNED_COLUMNS = ("parameter", "median", "low", "high", "n_reports", "n_null")
TOTALS_COLUMNS = (
    "cells with", "pools", "n", "covered", "mean_excess", "se_excess", "expected_excess",
    "mean_width",
)  # fmt: skip


def reporting_sentence(tables: Tables) -> str:
    """How selective reporting is, and what it does to the pools; empty without the tables."""
    learned = records(tables.get("reporting"), LEARNED_COLUMNS, "reporting")
    pools = records(tables.get("pools_adjusted"), ADJUSTED_COLUMNS, "pools_adjusted")
    if not learned or not pools:
        return ""
    w = next(r for r in learned if as_text(r["parameter"]) == "w abstract")
    told = (
        "Studies whose abstract shows no significant result reach the table "
        f"{number(as_float(w['median']))} times as often as others "
        f"({span(as_float(w['low']), as_float(w['high']))}; "
        f"{as_int(w['n_null'])} of {as_int(w['n_reports'])} reports)."
    )
    kinds = [as_text(r["excludes_zero"]) for r in pools]
    lost, kept = kinds.count("naive only"), kinds.count("both")
    naive = count(lost + kept, "pooled effect that excludes", "pooled effects that exclude")
    does = "does" if kept == 1 else "do"
    return f"{told} Of {naive} zero without a correction for that, {kept} {does} so with it."


def external_sentence(tables: Tables) -> str:
    """How our pools stand beside those published by others; empty without the table."""
    rows = records(tables.get("external_totals"), TOTALS_COLUMNS, "external_totals")
    every = {as_text(r["pools"]): r for r in rows if as_text(r["cells with"]) == "all"}
    if not {"naive", "adjusted"} <= set(every):
        return ""
    n = as_int(every["naive"]["n"])
    parts = [
        f"{as_int(r['covered'])} lie inside the intervals of our {name} pools (ours "
        f"{number(abs(as_float(r['mean_excess'])))} standardised mean differences "
        f"{'larger' if as_float(r['mean_excess']) > 0 else 'smaller'} on average, "
        f"{number(as_float(r['expected_excess']))} expected of pools that shrink towards 0)"
        for name, r in every.items()
    ]
    return f"Of {count(n, 'estimate')} that others published, {'; '.join(parts)}."


def adjusted_table(tables: Tables) -> Table | None:
    """Every pool, naive and adjusted."""
    rows = records(tables.get("pools_adjusted"), ADJUSTED_COLUMNS, "pools_adjusted")
    columns = [
        text("Mechanism", "label"),
        text("Condition", "condition_label"),
        text("Evidence", "estimand"),
        integer("Effects", "k"),
        integer("Only bounds", "n_bounds"),
        interval("Pooled effect", "naive_median", "naive_low", "naive_high"),
        interval("Adjusted", "adjusted_median", "adjusted_low", "adjusted_high"),
        text("Excludes zero", "excludes_zero"),
    ]
    return make_table("Pools adjusted for selective reporting", columns, rows) if rows else None


def external_table(tables: Tables) -> Table | None:
    """Coverage and mean difference from published pools, by the size of our cells."""
    rows = records(tables.get("external_totals"), TOTALS_COLUMNS, "external_totals")
    columns = [
        text("Cells with", "cells with"),
        text("Pools", "pools"),
        integer("Published", "n"),
        integer("Inside our interval", "covered"),
        real("Mean difference", "mean_excess"),
        real("its standard error", "se_excess"),
        real("expected", "expected_excess"),
        real("Mean width", "mean_width"),
    ]
    caption = "Our pools beside those that others published"
    return make_table(caption, columns, rows) if rows else None
