"""Effect sizes and sampling variances with the arguments and rules of metafor 5.0's ``escalc``.

Differences on purpose: a row for which no finite answer exists raises instead of giving NA,
and every bad row and argument is named at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nssi_meta.evidence import escalc_change, escalc_other, escalc_tables, escalc_two_groups
from nssi_meta.evidence.escalc_common import MEASURES, Array, Measure, Options

__all__ = ["ARGUMENTS", "MEASURES", "escalc"]

# Importing the families fills MEASURES; naming them here keeps the imports from being idle.
FAMILIES = (escalc_two_groups, escalc_tables, escalc_change, escalc_other)

ARGUMENTS = (
    *("ai", "bi", "ci", "di", "n1i", "n2i", "x1i", "x2i", "t1i", "t2i", "m1i", "m2i"),
    *("sd1i", "sd2i", "xi", "mi", "ri", "ti", "pi", "sdi", "r2i", "ni", "yi", "vi", "sei"),
)
_TO = ("only0", "all", "if0all", "none")
_SHOWN = 20


def escalc(
    measure: str,
    *,
    data: pd.DataFrame | None = None,
    vtype: str | Sequence[str] | None = None,
    add: float | None = None,
    to: str | None = None,
    correct: bool = True,
    append: bool = True,
    **columns: object,
) -> pd.DataFrame:
    """Effect sizes `yi` and sampling variances `vi` for a metafor measure.

    Parameters
    ----------
    measure
        Name as in metafor ("SMD", "OR", "ZCOR", ...), or "GEN" for given `yi` with `vi` or `sei`.
    data
        Table in which column names given as strings are looked up.
    vtype
        Kind of sampling variance, one name or one for each row; None is the measure's default.
    add, to
        Amount added to counts, and when: "only0" (rows with a zero), "all", "if0all" (all rows as
        soon as one has a zero), "none". None is metafor's default: 1/2 to "only0", but nothing for
        RD, AS, PHI, ZPHI, MPRD, IRSD, PAS, PFT, IRS, IRFT, where a zero does no harm.
    correct
        Small-sample or second-order bias correction of the estimate.
    append
        Return `data` with the two columns appended (True) or the two columns alone.
    **columns
        metafor's arguments (see ARGUMENTS), each an array, a number, or a column name of `data`.

    Returns
    -------
    DataFrame with `yi` and `vi` (on the measure's own scale), rows and index as given.

    Raises
    ------
    ValueError
        Unknown measure, argument, column, vtype or `to`; missing arguments; invalid or missing
        values; rows whose effect is undefined. Each problem is one line of the message.
    """
    index, args = _gather(columns, data)
    if "yi" in args:
        yi, vi = _given(args)
    else:
        entry = _find(measure)
        options = Options(_vtypes(entry, vtype, len(index)), correct)
        _check(entry, args, index)
        args = _counts(entry, args, add, to)
        with np.errstate(all="ignore"):  # undefined rows are reported below, by number
            yi, vi = entry.compute(args, options)
    yi, vi = (np.broadcast_to(x, len(index)).astype(float) for x in (yi, vi))
    _check_finite(measure, yi, vi, index)
    result = pd.DataFrame({"yi": yi, "vi": vi}, index=index)
    if data is None or not append:
        return result
    return data.assign(yi=result["yi"], vi=result["vi"])


def _nearest(name: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.upper(), [v.upper() for v in valid], n=3, cutoff=0.4)
    shown = [v for v in valid if v.upper() in near] or list(valid)[:6]
    return ", ".join(shown)


def _find(measure: str) -> Measure:
    if measure not in MEASURES:
        raise ValueError(
            f"unknown measure {measure!r}; nearest: {_nearest(str(measure), list(MEASURES))}"
        )
    return MEASURES[measure]


def _gather(
    columns: Mapping[str, object], data: pd.DataFrame | None
) -> tuple[pd.Index, dict[str, Array]]:
    """Arguments as float arrays of one length, and the index of the rows."""
    problems: list[str] = []
    found: dict[str, Array] = {}
    for name, value in columns.items():
        if name not in ARGUMENTS:
            problems.append(f"unknown argument {name!r}; nearest: {_nearest(name, ARGUMENTS)}")
            continue
        if value is None:
            continue
        if isinstance(value, str):
            if data is None:
                problems.append(f"{name}={value!r} names a column, but no `data` is given")
                continue
            if value not in data.columns:
                near = _nearest(value, [str(c) for c in data.columns])
                problems.append(f"{name}={value!r} is no column of `data`; nearest: {near}")
                continue
            value = data[value]
        try:
            flat = pd.Series(np.ravel(np.asarray(value, dtype=object)))
            found[name] = pd.to_numeric(flat).to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError):
            problems.append(f"{name} holds values that are not numbers")
    sizes = {x.size for x in found.values() if x.size != 1}
    k = len(data) if data is not None else max((x.size for x in found.values()), default=0)
    if data is None and sizes == {0}:
        k = 0
    for name, x in found.items():
        if x.size not in (1, k):
            problems.append(f"{name} has {x.size} values where {k} rows are expected")
    if problems:
        raise ValueError("\n".join(problems))
    index = data.index if data is not None else pd.RangeIndex(k)
    return index, {name: np.broadcast_to(x, k).astype(float) for name, x in found.items()}


def _given(args: Mapping[str, Array]) -> tuple[Array, Array]:
    """Effects that are there already (metafor's GEN)."""
    if "vi" not in args and "sei" not in args:
        raise ValueError("yi needs vi or sei beside it")
    vi = args["vi"] if "vi" in args else np.where(args["sei"] < 0, np.nan, args["sei"] ** 2)
    return args["yi"], np.where(vi < 0, np.nan, vi)


def _vtypes(entry: Measure, vtype: str | Sequence[str] | None, k: int) -> np.ndarray:
    names = np.array([entry.vtypes[0]] if vtype is None else np.ravel(vtype), dtype=object)
    unknown = sorted({str(name) for name in names} - set(entry.vtypes))
    if unknown:
        allowed = ", ".join(entry.vtypes)
        raise ValueError(f"vtype {', '.join(unknown)} unknown for {entry.name}; allowed: {allowed}")
    if names.size not in (1, k):
        raise ValueError(f"vtype has {names.size} values where {k} rows are expected")
    return np.array(np.broadcast_to(names, k), dtype=object)


def _rows(bad: np.ndarray, index: pd.Index) -> str:
    labels = [str(label) for label in index[bad]]
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ", ".join(labels[:_SHOWN]) + more


def _check(entry: Measure, args: Mapping[str, Array], index: pd.Index) -> None:
    """Every row has one complete set of arguments, and every value obeys its rule."""
    usable = [needed for needed in entry.needs if all(name in args for name in needed)]
    wanted = " or ".join(" ".join(needed) for needed in entry.needs)
    if not usable:
        given = " ".join(args) or "nothing"
        raise ValueError(f"measure {entry.name} needs {wanted}; given: {given}")
    known = {name for needed in entry.needs for name in needed}
    problems: list[str] = []
    complete = np.zeros(len(index), dtype=bool)
    for needed in usable:
        complete |= np.all([np.isfinite(args[name]) for name in needed], axis=0)
    if not complete.all():
        names = sorted({name for needed in usable for name in needed})
        missing = {n: ~complete & ~np.isfinite(args[n]) for n in names}
        problems += [
            f"{name} is missing in row {_rows(bad, index)}"
            for name, bad in missing.items()
            if bad.any()
        ]
    for name, values in args.items():
        if name in entry.rules and name in known:
            holds, text = entry.rules[name]
            bad = np.isfinite(values) & ~holds(values)
            if bad.any():
                problems.append(f"{name} must be {text}: row {_rows(bad, index)}")
    for part, whole in (("ai", "n1i"), ("ci", "n2i"), ("xi", "ni")):
        if entry.layout and part in args and whole in args:
            bad = args[part] > args[whole]
            if bad.any():
                problems.append(f"{part} is above {whole}: row {_rows(bad, index)}")
    if problems:
        raise ValueError(f"measure {entry.name}: " + "\n".join(problems))


def _filled(args: Mapping[str, Array], name: str, other: Array) -> Array:
    return np.where(np.isfinite(args[name]), args[name], other) if name in args else other


def _counts(
    entry: Measure, args: dict[str, Array], add: float | None, to: str | None
) -> dict[str, Array]:
    """Complete the counts and add the small amount where the zero-cell rule asks for it."""
    if to is not None and to not in _TO:
        raise ValueError(f"to={to!r} is unknown; allowed: {', '.join(_TO)}")
    if add is not None and not add >= 0:
        raise ValueError(f"add={add!r} must be 0 or more")
    if not entry.layout:
        return args
    args = dict(args)
    if entry.layout == "table":
        if "n1i" in args:
            args["bi"] = _filled(args, "bi", args["n1i"] - args["ai"])
        if "n2i" in args:
            args["di"] = _filled(args, "di", args["n2i"] - args["ci"])
        cells: tuple[str, ...] = ("ai", "bi", "ci", "di")
    elif entry.layout == "proportion":
        if "mi" in args:
            args["ni"] = _filled(args, "ni", args["xi"] + args["mi"])
        args["mi"] = args["ni"] - args["xi"]
        cells = ("xi", "mi")
    else:
        cells = {"rates": ("x1i", "x2i"), "rate": ("xi",), "genotypes": ("ai", "bi", "ci")}[
            entry.layout
        ]
    amount = add if add is not None else (0.5 if entry.adds else 0.0)
    zero = np.any([args[name] == 0 for name in cells], axis=0)
    where = {
        "only0": zero,
        "all": np.ones_like(zero),
        "if0all": np.full_like(zero, zero.any()),
        "none": np.zeros_like(zero),
    }[to or "only0"]
    for name in cells:
        args[name] = args[name] + np.where(where, amount, 0.0)
    if entry.layout == "proportion":
        args["ni"] = args["xi"] + args["mi"]
    return args


def _check_finite(measure: str, yi: Array, vi: Array, index: pd.Index) -> None:
    bad = ~(np.isfinite(yi) & np.isfinite(vi) & (vi >= 0))
    if bad.any():
        raise ValueError(
            f"measure {measure} is undefined (no finite effect, or no variance) for these values: "
            f"row {_rows(bad, index)}"
        )
