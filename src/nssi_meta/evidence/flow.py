"""From the rows of the file to the rows that are used, counted step by step (PRISMA 2020)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.catalogue import with_role
from nssi_meta.evidence.problems import require
from nssi_meta.evidence.read import Evidence

COVERAGE_COLUMNS = ("mechanism", "condition", "k", "n_studies", "n_bounds", "n_participants")
_MOST_REASONS = 3


def flow(evidence: Evidence) -> pd.DataFrame:
    """Flow of rows through the review.

    Parameters
    ----------
    evidence
        Evidence without problems, whole or selected.

    Returns
    -------
    DataFrame
        Columns step, n_rows, n_studies, note. The rows of the file; those left out, by reason;
        those used; then the used rows by estimand, by kind, by comparator and by condition (each
        of these groups adds up to the used rows). A study with several rows may count in several
        steps, so that `n_studies` need not add up.

    Raises
    ------
    EvidenceError
        If the evidence has problems.
    """
    require(evidence, Evidence, "flow takes what read_effects gives")
    evidence.require_usable()
    rows = evidence.rows
    used = rows[rows["used"]]
    steps = [_step("rows in the file", rows)]
    left_out = rows[~rows["used"]]
    # "duplicate: same as e0123" counts as duplicate; the texts go into the note.
    cause = left_out["why_not"].str.split(": ").str[0]
    for name in sorted(cause.unique()):
        group = left_out[cause == name]
        steps.append(_step(f"not used: {name}", group, _reasons(group["why_not"], name)))
    steps.append(_step("used", used))
    steps += _groups("estimand", used, used["estimand"], tuple(vo.ESTIMANDS))
    kinds = ("exact effect", "bound (stated)", "bound (assumed)", "size without sign")
    steps += _groups("reported as", used, used["use_as"], kinds)
    steps += _groups("compared with", used, *_comparators(evidence, used))
    conditions = evidence.conditions
    labels = dict(zip(conditions[vo.CONDITION_KEY], conditions["label"], strict=True))
    cases = with_role(conditions, *vo.CASE_ROLES)
    steps += [
        {**step, "note": labels[name]}
        for name, step in zip(
            cases, _groups("condition", used, used["condition"], cases), strict=True
        )
    ]
    return pd.DataFrame(steps, columns=["step", "n_rows", "n_studies", "note"])


def coverage(evidence: Evidence) -> pd.DataFrame:
    """How much evidence each cell of mechanism and condition has; empty cells are listed too.

    Returns
    -------
    DataFrame
        Columns mechanism, condition, k (used rows), n_studies, n_bounds (rows that are bounds),
        n_participants: people, each `sample_id` and `control_id` once in a cell, at the largest
        size that any of its rows reports. Estimands are counted together: select one first to
        count it alone.

    Raises
    ------
    EvidenceError
        If the evidence has problems.
    """
    require(evidence, Evidence, "coverage takes what read_effects gives")
    used = evidence.used
    cell = ["mechanism", "condition"]
    cells = pd.MultiIndex.from_product(
        [
            evidence.mechanisms[vo.MECHANISM_KEY],
            with_role(evidence.conditions, *vo.CASE_ROLES),
        ],
        names=cell,
    )
    table = (
        used.assign(bound_row=(used["kind"] == "interval").astype("int64"))
        .groupby(cell)
        .agg(
            k=("effect_id", "size"),
            n_studies=("study_id", "nunique"),
            n_bounds=("bound_row", "sum"),
        )
    )
    table["n_participants"] = pd.Series({key: participants(g) for key, g in used.groupby(cell)})
    whole = table.reindex(cells).fillna(0).astype("int64").reset_index()
    return whole[list(COVERAGE_COLUMNS)]


def participants(rows: pd.DataFrame) -> int:
    """Number of people in rows, each `sample_id` and `control_id` counted once.

    Rows without sample sizes add nobody. Where rows give the same people different sizes (because
    some were lost to one measure), the largest counts.
    """
    if rows.empty:  # perhaps without columns
        return 0
    n_case, n_control, n_total = (
        rows[c].to_numpy(dtype=float) for c in ("n_case", "n_control", "n_total")
    )
    cases, control = rows["sample_id"].to_numpy(), rows["control_id"].to_numpy()
    grouped = control != ""
    both = np.nan_to_num(n_case) + np.nan_to_num(n_control)
    everybody = np.where(np.isnan(n_total), both, n_total)
    # A row with a comparison group but only the total: everybody under the id of the cases.
    known = np.isfinite(n_case)
    sizes = np.where(grouped & known, n_case, everybody)
    largest: dict[str, float] = {}
    for who, n in [
        *zip(cases, sizes, strict=True),
        *zip(control[grouped & known], n_control[grouped & known], strict=True),
    ]:
        largest[who] = max(largest.get(who, 0.0), float(np.nan_to_num(n)))
    return int(sum(largest.values()))


def _step(name: str, rows: pd.DataFrame, note: str = "") -> dict[str, object]:
    return {
        "step": name,
        "n_rows": len(rows),
        "n_studies": rows["study_id"].nunique(),
        "note": note,
    }


def _groups(
    name: str, rows: pd.DataFrame, by: pd.Series[str], order: tuple[str, ...]
) -> list[dict[str, object]]:
    """One step for each value of `order`, the empty ones too: a gap is a finding."""
    return [_step(f"{name}: {value}", rows[by == value]) for value in order]


def _comparators(evidence: Evidence, used: pd.DataFrame) -> tuple[pd.Series[str], tuple[str, ...]]:
    """What each row was compared with, in classes, and the classes in order."""
    conditions = evidence.conditions
    reference = conditions.loc[conditions["role"] == "reference", "label"].iloc[0]
    classes = {
        **dict.fromkeys(with_role(conditions, "reference"), reference),
        **dict.fromkeys(with_role(conditions, *vo.CASE_ROLES), "another condition"),
        **dict.fromkeys(with_role(conditions, "mixed"), "a mixed clinical group"),
        **dict.fromkeys(vo.COMPARATOR_WORDS, "nobody (within one sample or person)"),
    }
    return used["comparator"].map(classes), tuple(dict.fromkeys(classes.values()))


def _reasons(why_not: pd.Series[str], cause: str) -> str:
    """The commonest reasons in words, with their counts."""
    texts = why_not.str.removeprefix(cause).str.removeprefix(": ")
    # Counts first, then the alphabet, so that the order of the rows does not matter.
    counts = (
        texts[texts != ""].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    )
    shown = [f"{text} ({n})" for text, n in counts.head(_MOST_REASONS).items()]
    rest = len(counts) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")
