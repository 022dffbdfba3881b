"""Read the tables `pools` and `rows` into the records that figures draw."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Sort = Literal["year", "effect", "study", "precision", "system"]
Record = dict[Hashable, Any]

# fmt: off
POOL_COLUMNS = (
    "mechanism", "label", "system", "condition", "condition_label", "estimand", "scale", "k",
    "n_studies", "n_bounds", "n_assumed", "mu_median", "mu_low", "mu_high", "tau_median",
    "tau_low", "tau_high", "pred_low", "pred_high", "p_positive",
)
# fmt: on
# fmt: off
ROW_COLUMNS = (
    "mechanism", "condition", "estimand", "scale", "effect_id", "study_id", "label", "measure",
    "year", "n_case", "n_control", "n_total", "kind", "bound", "yi", "ci_low", "ci_high",
    "lower", "upper", "shrunk_median", "shrunk_low", "shrunk_high",
)
# fmt: on

ESTIMANDS = {
    "case_control": "cases compared with another group",
    "association": "association within one sample",
    "within_person": "change within persons",
    "odds": "odds in cases and in another group",
}
SCALES = {  # symbol in text columns, name under the axis
    "g": ("g", "Hedges’ g"),
    "z": ("z", "Fisher’s z"),
    "log_or": ("log OR", "log odds ratio"),
    "d_within": ("d", "standardised mean change"),
}


@dataclass(frozen=True)
class Interval:
    """A median (or estimate) with the limits of its interval; all NaN when there is none."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether all three numbers are finite."""
        return all(math.isfinite(x) for x in (self.value, self.low, self.high))


@dataclass(frozen=True)
class Study:
    """One study row."""

    key: str
    study_id: str
    label: str
    measure: str
    year: float
    size: str
    kind: str
    assumed: bool
    observed: Interval
    lower: float
    upper: float
    shrunk: Interval
    sei: float = math.nan
    source: Record = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> float:
        """A number to sort by: the estimate, or the bound nearest to zero."""
        if self.kind != "interval":
            return self.observed.value
        if math.isfinite(self.lower) and math.isfinite(self.upper):
            return (self.lower + self.upper) / 2
        return self.lower if math.isfinite(self.lower) else self.upper

    @property
    def spread(self) -> float:
        """Standard error to sort by: as given, else from the width of the interval."""
        if math.isfinite(self.sei):
            return self.sei
        return (self.observed.high - self.observed.low) / 4


@dataclass(frozen=True)
class Cell:
    """One pooled cell: a mechanism in a condition under an estimand."""

    mechanism: str
    label: str
    system: str
    condition: str
    condition_label: str
    estimand: str
    scale: str
    k: int
    n_studies: int
    n_bounds: int
    n_assumed: int
    mu: Interval
    tau: Interval
    pred: Interval
    p_positive: float
    flags: str
    source: Record = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> str:
        """Name of the cell in gids."""
        return f"{self.mechanism}/{self.condition}/{self.estimand}"

    @property
    def only_bounds(self) -> bool:
        """Whether no row of the cell is a number."""
        return 0 < self.k <= self.n_bounds


@dataclass(frozen=True)
class Block:
    """A condition (and estimand) of a forest plot: its study rows and its pool, if any."""

    key: str
    title: str
    estimand: str
    scale: str
    studies: tuple[Study, ...]
    cell: Cell | None


def require_columns(table: pd.DataFrame, wanted: Iterable[str], name: str) -> None:
    """Raise ValueError naming the columns that `table` lacks."""
    missing = [column for column in wanted if column not in table.columns]
    if missing:
        raise ValueError(f"the table `{name}` lacks the columns: {', '.join(missing)}")


def read_cells(pools: pd.DataFrame, by: str = "condition") -> list[Cell]:
    """Turn the table `pools` into cells, in its order; `by` may tell cells apart as well.

    Raises
    ------
    ValueError
        Columns are missing or a cell occurs twice.
    """
    require_columns(pools, POOL_COLUMNS, "pools")
    cells = [_cell(record) for record in pools.to_dict("records")]
    keys = [(cell.key, as_text(cell.source.get(by))) for cell in cells]
    twice = sorted({key[0] for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the table `pools` holds a cell twice: {', '.join(twice)}")
    return cells


def _cell(r: Record) -> Cell:
    pred = (as_float(r["pred_low"]), as_float(r["pred_high"]))
    return Cell(
        mechanism=as_text(r["mechanism"]),
        label=as_text(r["label"]),
        system=as_text(r["system"]),
        condition=as_text(r["condition"]),
        condition_label=as_text(r["condition_label"]) or as_text(r["condition"]),
        estimand=as_text(r["estimand"]),
        scale=as_text(r["scale"]),
        k=as_int(r["k"]),
        n_studies=as_int(r["n_studies"]),
        n_bounds=as_int(r["n_bounds"]),
        n_assumed=as_int(r["n_assumed"]),
        mu=interval(r, "mu_median", "mu_low", "mu_high"),
        tau=interval(r, "tau_median", "tau_low", "tau_high"),
        pred=Interval((pred[0] + pred[1]) / 2, *pred),
        p_positive=as_float(r["p_positive"]),
        flags=as_text(r.get("flags")),
        source=r,
    )


def read_studies(rows: pd.DataFrame) -> list[tuple[str, str, Study]]:
    """Turn the table `rows` into (estimand, scale, study).

    Raises
    ------
    ValueError
        Columns are missing, an effect_id occurs twice, a kind is unknown, or an interval ends
        before it starts.
    """
    require_columns(rows, ROW_COLUMNS, "rows")
    twice = rows["effect_id"][rows["effect_id"].duplicated()].astype(str).unique()
    if len(twice):
        raise ValueError(f"effect_id must be unique in `rows`; repeated: {', '.join(twice[:5])}")
    unknown = sorted(set(rows["kind"]) - {"exact", "interval", "unsigned"})
    if unknown:
        raise ValueError(f"unknown kind in `rows`: {', '.join(map(str, unknown))}")
    for low, high in (("ci_low", "ci_high"), ("lower", "upper"), ("shrunk_low", "shrunk_high")):
        bad = rows.loc[rows[low] > rows[high], "effect_id"].astype(str).tolist()
        if bad:
            raise ValueError(
                f"{low} is above {high} in `rows`: {', '.join(bad[:5])}; exchange the two columns"
            )
    return [(as_text(r["estimand"]), as_text(r["scale"]), _study(r)) for r in records(rows)]


def records(table: pd.DataFrame) -> list[Record]:
    """Rows of a table as dictionaries."""
    return table.to_dict("records")


def _study(r: Record) -> Study:
    case, control, total = (as_float(r[name]) for name in ("n_case", "n_control", "n_total"))
    if math.isfinite(case) and math.isfinite(control):
        size = f"{case:.0f}/{control:.0f}"
    else:
        size = f"{total:.0f}" if math.isfinite(total) else ""
    return Study(
        key=as_text(r["effect_id"]),
        study_id=as_text(r["study_id"]),
        label=as_text(r["label"]) or as_text(r["study_id"]),
        measure=as_text(r["measure"]),
        year=as_float(r["year"]),
        size=size,
        kind=as_text(r["kind"]),
        assumed=as_text(r["bound"]) == "assumed",
        observed=interval(r, "yi", "ci_low", "ci_high"),
        lower=as_float(r["lower"]),
        upper=as_float(r["upper"]),
        shrunk=interval(r, "shrunk_median", "shrunk_low", "shrunk_high"),
        sei=as_float(r.get("sei")),
        source=r,
    )


def condition_order(cells: Iterable[tuple[str, str]]) -> list[str]:
    """The order of conditions within mechanisms, from cells (mechanism, condition) in any number.

    A table names no condition where a mechanism has none of its rows; a condition that the first
    mechanism lacks still stands where the others put it, not at the end.
    """
    listed: dict[str, list[str]] = {}
    for mechanism, condition in cells:
        listed.setdefault(mechanism, []).append(condition)
    before: dict[str, set[str]] = {}
    for conditions in listed.values():
        for i, condition in enumerate(conditions):
            before.setdefault(condition, set()).update(conditions[:i])
    order: list[str] = []
    while left := [c for c in before if c not in order]:
        # Where mechanisms disagree none is first: then the one that the table names first.
        order.append(next((c for c in left if before[c] <= {c, *order}), left[0]))
    return order


def interval(r: Record, value: str, low: str, high: str) -> Interval:
    """Read three columns of a record as an interval."""
    return Interval(as_float(r[value]), as_float(r[low]), as_float(r[high]))


def as_float(value: Any) -> float:
    """Read a number; missing is NaN."""
    return math.nan if value is None or pd.isna(value) else float(value)


def as_int(value: Any) -> int:
    """Read a count; missing is 0."""
    number = as_float(value)
    return 0 if math.isnan(number) else round(number)


def as_text(value: Any) -> str:
    """Read a text; missing is empty, and any white space is one space."""
    return "" if value is None or pd.isna(value) else " ".join(str(value).split())
