"""From what studies report to effect sizes: one function for each kind of `statistic`.

Scales: Hedges g (case_control), Fisher z (association), log odds ratio (odds), standardised mean
change (within_person). A new kind of statistic is one function decorated with
`@route`, which enters it in the table ROUTES.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from nssi_meta.evidence import effects_groups, effects_others
from nssi_meta.evidence.effects_common import ROUTES, Reported
from nssi_meta.evidence.vocabulary import SIZES

# Importing the two modules fills ROUTES.
ROUTE_MODULES = (effects_groups, effects_others)

SCALES: dict[str, str] = {
    "case_control": "g",
    "association": "z",
    "odds": "log_or",
    "within_person": "d_within",
}
"""Scale on which the effects of an estimand are expressed."""

COLUMNS = ("scale", "kind", "yi", "vi", "sei", "lower", "upper", "formula")
_TEXT = ("scale", "kind", "formula")
_SHOWN = 30


def derive(rows: pd.DataFrame) -> pd.DataFrame:
    """Effect sizes, sampling variances and bounds of every row.

    Parameters
    ----------
    rows
        Checked rows of an effects table: `estimand`, `statistic`, `direction` and the numbers that
        the kind of statistic needs (columns without any number may be absent).

    Returns
    -------
    `rows` with the columns of COLUMNS added (raw `yi`, `vi`, `sei` are replaced), same index:
    `scale`; `kind` (exact, interval, unsigned); `yi`, on its scale (NaN for interval, |y| for
    unsigned); `vi` and `sei` (for interval at the bound); `lower`, `upper` (the interval in which
    the estimate fell, NaN unless interval); `formula`, the route in words.

    Raises
    ------
    ValueError
        Naming every row whose statistic does not fit its estimand, or for which no finite effect
        or bound follows.
    """
    k = len(rows)
    numbers = {c: np.full(k, np.nan) for c in COLUMNS if c not in _TEXT}
    texts = {c: np.full(k, "", dtype=object) for c in _TEXT}
    problems: list[str] = []
    statistic = _text(rows, "statistic")
    estimand = _text(rows, "estimand")
    # Unbracketed sets of pairs are few; each is computed at once.
    for name, target in sorted(set(zip(statistic, estimand, strict=True))):
        here = np.flatnonzero((statistic == name) & (estimand == target))
        route = ROUTES.get((name, target))
        if route is None:
            problems.append(
                f"statistic {name!r} cannot express estimand {target!r}: {_names(rows, here)}"
            )
            continue
        with np.errstate(all="ignore"):  # what is not finite is reported below, by row
            found = route(Reported(rows.iloc[here]))
        numbers["yi"][here] = np.where(found.unsigned, np.abs(found.yi), found.yi)
        numbers["vi"][here] = found.vi
        numbers["lower"][here], numbers["upper"][here] = found.lower, found.upper
        texts["scale"][here] = SCALES[target]
        interval = np.isnan(found.yi) & ~np.isnan(found.lower)
        texts["kind"][here] = np.select(
            [interval, found.unsigned], ["interval", "unsigned"], "exact"
        )
        texts["formula"][here] = found.formula
    with np.errstate(invalid="ignore"):
        numbers["sei"] = np.sqrt(numbers["vi"])
    known = texts["scale"] != ""
    bad = np.flatnonzero(known & ~_finite(numbers, texts["kind"]))
    if bad.size:
        problems.append(
            "no finite effect, bound or variance follows from what is reported (missing or "
            f"impossible numbers): {_names(rows, bad, statistic)}"
        )
    if problems:
        raise ValueError("\n".join(problems))
    return rows.assign(**{c: texts[c].astype(str) if c in texts else numbers[c] for c in COLUMNS})


def _text(rows: pd.DataFrame, column: str) -> np.ndarray:
    if column not in rows:
        if len(rows):
            raise ValueError(f"derive needs the column {column!r}")
        return np.empty(0, dtype=object)
    return cast(np.ndarray, rows[column].astype(object).to_numpy())


def _finite(numbers: dict[str, np.ndarray], kind: np.ndarray) -> np.ndarray:
    """Rows with a variance that can be computed with, and an effect or a bound on some side."""
    vi, (least, most) = numbers["vi"], SIZES["vi"]
    variance = (vi >= least) & (vi <= most)
    lower, upper = numbers["lower"], numbers["upper"]
    bound = (np.isfinite(lower) | np.isfinite(upper)) & (lower < upper)
    return variance & np.where(kind == "interval", bound, np.isfinite(numbers["yi"]))


def _names(rows: pd.DataFrame, where: np.ndarray, statistic: np.ndarray | None = None) -> str:
    labels = []
    for position in where[:_SHOWN]:
        label = f"row {rows.index[position]}"
        if "effect_id" in rows:
            label += f" ({rows['effect_id'].iloc[position]})"
        if statistic is not None:
            label += f" [{statistic[position]}]"
        labels.append(label)
    more = f" and {len(where) - _SHOWN} more" if len(where) > _SHOWN else ""
    return ", ".join(labels) + more
