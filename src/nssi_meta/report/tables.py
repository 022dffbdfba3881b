"""The tables of the report, and the tables of a run as CSV files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from nssi_meta.figures.text import heading
from nssi_meta.report.columns import (
    Column,
    Table,
    chance,
    integer,
    interval,
    limits_only,
    real,
    text,
    words,
)
from nssi_meta.report.names import Names
from nssi_meta.report.overlap_text import figure_span, figure_value
from nssi_meta.report.sentences import back_transformed
from nssi_meta.report.values import (
    Record,
    as_float,
    as_int,
    as_text,
    estimate,
    first_upper,
    level_text,
    number,
    percent,
)

_SAFE = re.compile(r"[a-z0-9][a-z0-9_]*")


def pool_columns(names: Names, level: str, ranges: bool = False) -> list[Column]:
    """Columns of the table of pools; with `ranges`, what other analyses would have said."""
    beyond = number(names.delta) if math.isfinite(names.delta) else "threshold"
    return [
        text("Mechanism", "label"),
        text("Condition", "condition", names.short),
        text("Scale", "scale", scale_name),
        integer("Effects", "k"),
        integer("Only bounds", "n_bounds"),
        integer("Studies", "n_studies"),
        integer("People", "n_participants"),
        interval(f"Mean [{level} CrI]", "mu_median", "mu_low", "mu_high"),
        Column("Back-transformed", _back),
        limits_only(f"New study [{level}]", "pred_low", "pred_high"),
        interval("SD between studies τ", "tau_median", "tau_low", "tau_high"),
        chance("P(mean > 0)", "p_positive"),
        chance(f"P(|mean| > {beyond})", "p_beyond"),
        Column(f"Settings beyond {beyond}", lambda r: percent(as_float(r["share_beyond"]))),
        *(
            [
                limits_only("Mean over other analyses", "lowest_median", "highest_median"),
                text("Conclusion", "conclusion", lambda said: said.removesuffix(" analyses")),
            ]
            if ranges
            else []
        ),
        text("Flags", "flags", short_flags),
    ]


def profile_columns(names: Names, level: str) -> list[Column]:
    """Columns of the table of the joint model."""
    return [
        text("Mechanism", "label"),
        text("Condition", "condition", names.condition),
        text("Evidence", "evidence"),
        integer("Effects", "k"),
        integer("Contrasts", "k_contrast"),
        integer("Only bounds", "n_bounds"),
        integer("Studies", "n_studies"),
        interval(f"Mean g [{level} CrI]", "mu_median", "mu_low", "mu_high"),
        chance("P(mean > 0)", "p_positive"),
        text("Flags", "flags", short_flags),
    ]


PROFILE_COLUMNS = (
    "label", "condition", "evidence", "k", "k_contrast", "n_bounds", "n_studies", "mu_median",
    "mu_low", "mu_high", "p_positive", "flags",
)  # fmt: skip


def overlap_columns(names: Names, other: str, level: str) -> list[Column]:
    """Columns of the class probabilities per mechanism."""
    index, there = names.short(names.index), names.short(other)
    return [
        text("Mechanism", "label"),
        text("Verdict", "verdict"),
        Column(f"Effects, {index} / {there}", lambda r: f"{as_int(r['k_index'])} / "
               f"{as_int(r['k_other'])}"),
        chance("Shared", "p_shared"),
        chance("Opposite", "p_opposite"),
        chance(f"{index} only", "p_index_only"),
        chance(f"{there} only", "p_other_only"),
        chance("Neither", "p_neither"),
        interval(f"{index} minus {there} [{level} CrI]",
                 "contrast_median", "contrast_low", "contrast_high"),
        real("Overlap of predictions", "predictive_overlap"),
        text("System", "system", heading),
    ]  # fmt: skip


THRESHOLD_COLUMNS = ("other", "threshold", "figure", "median", "low", "high")
SYSTEM_COLUMNS = (
    "other", "system", "n_mechanisms", "n_shared_median", "n_shared_low", "n_shared_high",
    "magnitude_median", "magnitude_low", "magnitude_high", "predictive_overlap_median",
    "predictive_overlap_low", "predictive_overlap_high",
)  # fmt: skip
#: Figures of overlap that are the same at every threshold.
WITHOUT_THRESHOLD = ("magnitude", "correlation")
DIAGNOSTIC_COLUMNS = ("quantity", "r_hat", "ess_bulk", "ess_tail", "ok")


def threshold_table(
    caption: str, rows: Sequence[Record], figures: Mapping[str, str], level: str
) -> Table:
    """Overlap by threshold: one line a threshold, one column a figure that depends on it."""
    rows = [r for r in rows if as_text(r["figure"]) not in WITHOUT_THRESHOLD]
    cells = {(as_text(r["figure"]), as_float(r["threshold"])): _figure(r) for r in rows}
    shown = list(dict.fromkeys(f for f, _ in cells))
    lines = tuple(
        (number(t), *(cells.get((f, t), "n/a") for f in shown))
        for t in sorted({t for _, t in cells})
    )
    headers = ("Threshold", *(f"{first_upper(figures.get(f, f))} [{level} CrI]" for f in shown))
    return Table(caption, headers, tuple(True for _ in headers), lines)


def system_columns(level: str) -> list[Column]:
    """Columns of overlap by system."""
    return [
        text("System", "system", heading),
        integer("Mechanisms", "n_mechanisms"),
        Column(f"Shared [{level} CrI]", lambda r: _figure(_as_figure(r, "n_shared"))),
        Column(f"Magnitude overlap [{level} CrI]", lambda r: _figure(_as_figure(r, "magnitude"))),
        Column(
            f"Overlap of predictions, mean [{level} CrI]",
            lambda r: _figure(_as_figure(r, "predictive_overlap")),
        ),
    ]


def diagnostic_columns() -> list[Column]:
    """Columns of the convergence checks."""
    return [
        text("Quantity", "quantity"),
        real("R-hat", "r_hat", 3),
        real("ESS, bulk", "ess_bulk", 0),
        real("ESS, tails", "ess_tail", 0),
        Column("Passes", lambda r: "yes" if bool(r["ok"]) else "no", numeric=False),
    ]


def flow_columns() -> list[Column]:
    """Columns of the flow of rows (PRISMA 2020)."""
    return [
        text("Step", "step", words),
        integer("Rows", "n_rows"),
        integer("Studies", "n_studies"),
        text("Note", "note"),
    ]


def excluded_columns(names: Names) -> list[Column]:
    """Columns of the rows that were left out."""
    return [
        text("Row", "effect_id"),
        text("Study", "study_id"),
        text("Mechanism", "mechanism", names.mechanism),
        text("Condition", "condition", names.condition),
        integer("Line in the file", "line"),
        text("Reason", "why_not"),
    ]


def coverage_table(caption: str, rows: Sequence[Record], names: Names) -> Table:
    """Mechanisms by conditions: `5 (3)` is five effects, three of them bounds; 0 is a gap."""
    cells = {
        (as_text(r["mechanism"]), as_text(r["condition"])): (as_int(r["k"]), as_int(r["n_bounds"]))
        for r in rows
    }
    mechanisms = list(dict.fromkeys(m for m, _ in cells))
    conditions = list(dict.fromkeys(c for _, c in cells))
    lines = []
    for m in mechanisms:
        found = [cells.get((m, c), (0, 0)) for c in conditions]
        lines.append((names.mechanism(m), *(f"{k} ({b})" if k else "0" for k, b in found)))
    headers = ("Mechanism", *(names.condition(c) for c in conditions))
    return Table(caption, headers, (False, *(True for _ in conditions)), tuple(lines))


def short_flags(flags: str) -> str:
    """The flags without what the columns show and without explanations, which the page gives."""
    told = [flag.split(":")[0] for flag in flags.split("; ")]
    return "; ".join(flag for flag in told if flag != "only bounds")


def scale_name(scale: str) -> str:
    """Short name of a scale."""
    return {"log_or": "log OR", "d_within": "d, within"}.get(scale, scale)


def levels_of(rows: Sequence[Record], names: Names) -> str:
    """The level of the intervals of a table, from its own column where it has one."""
    levels = sorted({level_text(as_float(r["level"])) for r in rows if "level" in r})
    return " or ".join(levels) or level_text(names.level)


def write_tables(tables: Mapping[str, pd.DataFrame], folder: str | Path) -> list[Path]:
    """Write `folder/<key>.csv` for each table, sorted by key, and return the paths.

    UTF-8, LF line ends, the shortest decimals that read back as the same float, empty for missing:
    equal tables give equal bytes.

    Raises
    ------
    ValueError
        A key cannot be a file name (small letters, digits and `_`).
    """
    bad = sorted(key for key in tables if not _SAFE.fullmatch(key))
    if bad:
        raise ValueError(f"table names must be small letters, digits and _; got: {', '.join(bad)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for key in sorted(tables):
        path = folder / f"{key}.csv"
        content = tables[key].to_csv(index=False, lineterminator="\n")
        path.write_text(content, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def _back(row: Record) -> str:
    back = back_transformed(row, "mu_median", "mu_low", "mu_high")
    if back is None or math.isnan(back[1]):
        return ""
    return f"{'OR' if back[0] == 'odds ratio' else 'r'} {estimate(*back[1:])}"


def _as_figure(row: Record, figure: str) -> Record:
    parts = {p: row[f"{figure}_{p}"] for p in ("median", "low", "high")}
    return {"figure": figure, **parts}


def _figure(row: Record) -> str:
    if math.isnan(as_float(row["median"])):
        return "n/a"
    return f"{figure_value(row)} [{figure_span(row, 'low', 'high').replace(' to ', ', ')}]"
