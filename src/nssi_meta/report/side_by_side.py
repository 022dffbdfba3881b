"""What stands beside what on the page: one overlap and another, one kind of evidence and others."""

from __future__ import annotations

from nssi_meta.report.columns import Column, Table, chance, integer, interval, make_table, text
from nssi_meta.report.names import Tables
from nssi_meta.report.values import (
    Record,
    as_float,
    as_int,
    as_text,
    count,
    estimate,
    first_lower,
    probability,
    records,
)

CONTRAST_COLUMNS = (
    "condition_label", "other_label", "mechanisms", "figure", "p_more", "prior_p_more", "median",
    "low", "high", "n_condition",
)  # fmt: skip
LEFT_OUT_COLUMNS = (
    "other",
    "other_label",
    "label",
    "figure",
    "median",
    "low",
    "high",
    "median_with_all",
)
KINDS = {
    "case_control": "Groups compared (g)",
    "association": "Association (Fisher z)",
    "within_person": "Change within persons (d)",
    "odds": "Odds (log ratio)",
}
ESTIMAND_COLUMNS = (
    "label", "condition_label", "n_estimands", "directions",
    *(f"{k}_{n}" for k in KINDS for n in ("mu_median", "mu_low", "mu_high", "k")),
)  # fmt: skip
DIRECTIONS = {"one": "the same", "conflict": "they conflict", "none": "none is sure"}


def _contrasts(tables: Tables) -> list[Record]:
    """Contrasts of the magnitude overlap on mechanisms known in both, the surest first."""
    rows = records(tables.get("overlap_contrasts"), CONTRAST_COLUMNS, "overlap_contrasts")
    rows = [r for r in rows if r["figure"] == "magnitude" and r["mechanisms"] == "common"]
    return sorted(rows, key=lambda r: -abs(as_float(r["p_more"]) - 0.5))


def contrast_sentence(tables: Tables) -> str:
    """With which of two conditions the overlap is larger, where that is surest; or empty."""
    rows = _contrasts(tables)
    if not rows:
        return ""
    best = rows[0]
    p = as_float(best["p_more"])
    more, less = as_text(best["condition_label"]), as_text(best["other_label"])
    if p < 0.5:
        more, less, p = less, more, 1.0 - p
    return (
        f"The magnitude overlap is larger with {first_lower(more)} than with {first_lower(less)} "
        f"with probability {probability(p)}, on the "
        f"{count(as_int(best['n_condition']), 'mechanism')} known in both; no other two conditions "
        "differ more surely."
    )


def contrasts_table(tables: Tables, level: str) -> Table | None:
    """Whether the overlap with one condition is larger than with another."""
    rows = _contrasts(tables)
    columns = [
        text("More overlap with", "condition_label"),
        text("than with", "other_label"),
        integer("Mechanisms known in both", "n_condition"),
        chance("Probability", "p_more"),
        chance("before the data", "prior_p_more"),
        interval(f"Difference [{level} CrI]", "median", "low", "high"),
    ]
    caption = "With which condition the magnitude overlap is larger"
    return make_table(caption, columns, rows) if rows else None


def left_out_table(tables: Tables, level: str) -> Table | None:
    """Per condition the mechanism without which the magnitude overlap changes most."""
    rows = records(tables.get("overlap_leave_one_out"), LEFT_OUT_COLUMNS, "overlap_leave_one_out")
    rows = [r for r in rows if r["figure"] == "magnitude"]
    most: dict[str, Record] = {}
    for r in rows:
        known = most.setdefault(as_text(r["other"]), r)
        if _shift(r) > _shift(known):
            most[as_text(r["other"])] = r
    columns = [
        text("Overlap with", "other_label"),
        text("Without", "label"),
        interval(f"Magnitude overlap [{level} CrI]", "median", "low", "high"),
        Column("with all", lambda r: f"{as_float(r['median_with_all']):.2f}"),
    ]
    caption = "The one mechanism without which the magnitude overlap changes most"
    return make_table(caption, columns, list(most.values())) if most else None


def _shift(row: Record) -> float:
    return abs(as_float(row["median"]) - as_float(row["median_with_all"]))


def estimands_table(tables: Tables, level: str) -> Table | None:
    """Mechanisms on which there are several kinds of evidence, each on its own scale."""
    rows = records(tables.get("estimands"), ESTIMAND_COLUMNS, "estimands")
    rows = [r for r in rows if as_int(r["n_estimands"]) > 1]
    columns = [
        text("Mechanism", "label"),
        text("Condition", "condition_label"),
        *(_kind(kind, f"{words} [{level} CrI], effects") for kind, words in KINDS.items()),
        text("Directions", "directions", lambda said: DIRECTIONS.get(said, said)),
    ]
    caption = "Several kinds of evidence on one mechanism, side by side"
    return make_table(caption, columns, rows) if rows else None


def _kind(kind: str, header: str) -> Column:
    def cell(r: Record) -> str:
        if not as_float(r[f"{kind}_k"]) > 0:
            return ""
        value, low, high = (as_float(r[f"{kind}_mu_{n}"]) for n in ("median", "low", "high"))
        return f"{estimate(value, low, high)}, {as_int(r[f'{kind}_k'])}"

    return Column(header, cell)
