"""Which rows yield an effect size, which of them are used, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.catalogue import with_role
from nssi_meta.evidence.problems import Problem

MIXED_COMPARATOR = "comparator is a mixed clinical group"
NOT_DERIVABLE = "no effect size follows (sample sizes not reported)"

_TEXTS_DERIVED = ("scale", "kind", "formula")
_STATUS_PREFIX = rf"^\s*(?:{'|'.join(vo.STATUSES)})\s*:"
_USE_AS = {"exact": "exact effect", "unsigned": "size without sign"}


def derived(
    values: pd.DataFrame, conditions: pd.DataFrame, file: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """Rows with effect sizes and the decision whether they are used; rows that yield none."""
    rows = values.reset_index()
    rows["year"] = rows["year"].astype("Int64")
    effects, failed = _derive(rows[_derivable(rows)])
    effects = effects.reindex(rows.index)
    for column in vo.DERIVED_COLUMNS:
        rows[column] = effects[column].fillna("") if column in _TEXTS_DERIVED else effects[column]
    used = rows["status"] == "use"
    problems = [
        Problem(
            file,
            int(rows["line"][i]),
            "statistic",
            str(rows.loc[i, "statistic"]),
            f"no effect size follows from this row: {why}",
            "",
            "look for a number that is too small or too large, or exclude the row with a reason",
        )
        for i, why in failed.items()
        if used[i]
    ]
    return decide(rows, conditions), problems


def _derive(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, str]]:
    """Derived frame of the rows that yield an effect size, and why the others do not."""
    from nssi_meta.evidence.effects import derive

    try:
        return derive(rows), {}
    except ValueError:
        # Rare (a sample of three for Fisher's z, say): one by one, to name every such row.
        good, failed = [rows.iloc[:0]], {}
        for i in rows.index.to_list():
            try:
                derive(rows.loc[[i]])
            except ValueError as error:
                failed[i] = str(error)
            else:
                good.append(rows.loc[[i]])
        return derive(pd.concat(good)), failed


def _derivable(rows: pd.DataFrame) -> pd.Series[bool]:
    """Mask: the sample sizes that the kind of statistic needs are there."""
    ready = pd.Series(True, index=rows.index)
    for estimand in vo.ESTIMANDS.values():
        sized = [s.name for s in vo.STATISTICS.values() if s.sizes]
        needs = (rows["estimand"] == estimand.name) & rows["statistic"].isin(sized)
        ready &= ~needs | rows[list(estimand.sizes)].notna().all(axis=1)
    return ready


def decide(
    rows: pd.DataFrame,
    conditions: pd.DataFrame,
    doubtful: bool = False,
    comparators: Sequence[str] = (),
) -> pd.DataFrame:
    """Rows with `used`, `use_as` and `why_not`; the first reason that applies is given."""
    # Some reasons begin with their status, and would stammer.
    stated = rows["exclude_reason"].str.replace(_STATUS_PREFIX, "", regex=True).str.strip()
    reason = rows["status"] + ": " + stated
    out = ~rows["status"].isin(["use", "doubtful"] if doubtful else ["use"])
    mixed = set(with_role(conditions, "mixed")) - set(comparators)
    why = pd.Series("", index=rows.index, dtype="str")
    why = why.mask(rows["kind"] == "", NOT_DERIVABLE)
    why = why.mask(rows["comparator"].isin(mixed), MIXED_COMPARATOR)
    why = why.mask(out, reason)
    as_bound = "bound (" + rows["bound"] + ")"
    use_as = rows["kind"].map(_USE_AS).fillna("").mask(rows["kind"] == "interval", as_bound)
    return rows.assign(used=why == "", use_as=use_as, why_not=why)
