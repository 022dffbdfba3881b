"""Pools published by others beside ours: what they found for the same mechanism and condition.

A check from outside, used to judge and never to fit: nothing here feeds back into any model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from nssi_meta.evidence.convert import d_to_log_or, d_to_rpb, log_or_to_d, r_to_d, r_to_z
from nssi_meta.evidence.problems import nearest, require
from nssi_meta.evidence.read import Evidence
from nssi_meta.shown import shown
from nssi_meta.synthesis.cells import CELL
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.reporting import UNIT, Adjusted, adjusted_pools

COLUMNS = (
    "citation", "year", "population", "comparator", "mechanism", "estimate_type", "estimate",
    "ci_low", "ci_high",
)  # fmt: skip
#: Kinds of estimate that can be compared: (our scale, whether the sign must be turned).
KINDS: Mapping[str, tuple[str, bool]] = {
    **dict.fromkeys(("g", "hedges_g", "smd", "d", "cohens_d"), ("g", False)),
    **dict.fromkeys(("or", "odds_ratio", "log_or", "log_odds_ratio"), ("log_or", False)),
    "or_male_vs_female": ("log_or", True),
    **dict.fromkeys(("r", "z", "fishers_z"), ("z", False)),
}
#: Kinds that are printed on the scale on which we pool; of the others the logarithm or Fisher's z.
AS_POOLED = ("log_or", "log_odds_ratio", "z", "fishers_z")
#: Cells that answer the same question, the one on the published scale first.
ESTIMANDS = {
    "g": ("case_control", "odds", "association"),
    "log_or": ("odds", "case_control", "association"),
    "z": ("association", "case_control", "odds"),
}
#: Comparators that are nobody's healthy controls: another question than that of our cells.
OTHER_QUESTION = ("clinical",)
#: Cells with at least this many rows are counted apart: there, bias is not hidden by width.
MANY = 8


@dataclass(frozen=True)
class External:
    """`table`: one row per comparable published pool; `totals`: coverage and mean excess;
    `left_out`: published rows that are not comparable, each with the reason.
    """

    table: pd.DataFrame
    totals: pd.DataFrame
    left_out: pd.DataFrame

    def __repr__(self) -> str:
        compared = f"{len(self.table)} published pools compared"
        return shown(f"{compared}, {len(self.left_out)} left out", self.table, self.totals)


def kind_of(word: Any) -> str:
    """A kind of estimate as `KINDS` spells it: "Hedges' g" is hedges_g, "log OR" is log_or."""
    plain = str(word).strip().lower().replace("'", "").replace("\u2019", "")
    return "_".join(plain.replace("-", " ").split())


def impossible(kind: str, numbers: Sequence[float]) -> str:
    """Why a printed estimate or limit cannot be one of its kind, or an empty string."""
    known = [v for v in numbers if not np.isnan(v)]
    scale = KINDS[kind][0]
    if scale == "log_or" and kind not in AS_POOLED and not all(v > 0 for v in known):
        return "an odds ratio must be above 0"
    if scale == "z" and kind not in AS_POOLED and not all(abs(v) < 1 for v in known):
        return "a correlation must lie between -1 and 1"
    return ""


def external_check(published: pd.DataFrame, pools: Mapping[str, pd.DataFrame]) -> External:
    """Compare published pools with ours.

    Parameters
    ----------
    published
        From `published.read_published`.
    pools
        Our `pools` tables by name (such as naive and adjusted), all of the same cells.

    Returns
    -------
    External
        `table` has published estimates on the scale of our cell (`converted` says from what) and
        for each name median, low, high, `covered_` (published estimate inside our interval),
        `excess_` (how much ours is larger in the published direction, in standardised mean
        differences) and `expected_` (the excess that our own posterior expects, were the
        published estimate the truth: medians of uncertain pools lie nearer to 0 than the truth).

    Raises
    ------
    ValueError
        No pools, or tables of different cells.
    """
    require(pools, Mapping, "external_check takes tables of pools by name, as {'naive': p.table}")
    if not pools:
        raise ValueError("external_check needs at least one table of pools")
    keyed = {name: t.set_index(CELL) for name, t in pools.items()}
    first = next(iter(keyed.values()))
    for name, t in keyed.items():
        if set(t.index) != set(first.index):
            raise ValueError(f"the pools {name!r} are not of the same cells as the others")
    rows, out = [], []
    seen: set[tuple[Any, ...]] = set()
    for _, line in published.iterrows():
        p: dict[str, Any] = {c: line[c] for c in COLUMNS}
        why, cell, values = _match(p, first)
        same = (p["mechanism"], p["population"], kind_of(p["estimate_type"]), p["estimate"])
        if not why and same in seen:
            why = "the same number is listed twice"
        if why:
            out.append({**p, "why_not": why})
            continue
        seen.add(same)
        rows.append(_compared(p, cell, values, keyed))
    table = pd.DataFrame(rows)
    return External(table, totals(table, list(pools)), pd.DataFrame(out))


def _match(
    p: Mapping[str, Any], cells: pd.DataFrame
) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Why not comparable (or ""), our cell, and the published numbers on its scale."""
    word = kind_of(p["estimate_type"])
    kind = KINDS.get(word)
    nothing: dict[str, Any] = {}
    if kind is None or pd.isna(p["estimate"]):
        return f"no effect size ({p['estimate_type']})", (), nothing
    if str(p["comparator"]) in OTHER_QUESTION:
        return "compared with other patients", (), nothing
    scale, turned = kind
    for estimand in ESTIMANDS[scale]:
        key = (p["mechanism"], p["population"], estimand)
        if key in cells.index:
            break
    else:
        return _no_cell(p, cells), (), nothing
    target = str(cells.loc[key, "scale"])
    numbers = [float(p[c]) for c in ("estimate", "ci_low", "ci_high")]
    if why := impossible(word, numbers):
        return why, (), nothing
    own = [_own_scale(v, scale, word) * (-1 if turned else 1) for v in numbers]
    if turned:
        own[1], own[2] = own[2], own[1]
    moved = [_carry(v, scale, target) for v in own]
    values: dict[str, Any] = dict(
        zip(("published", "published_low", "published_high"), moved, strict=True)
    )
    values["converted"] = "" if scale == target else f"{scale} to {target}"
    return "", key, values


def _no_cell(p: Mapping[str, Any], cells: pd.DataFrame) -> str:
    """That we have no such cell, with the nearest name where one may be a slip of the pen."""
    for column, level in (("mechanism", "mechanism"), ("population", "condition")):
        names = set(cells.index.get_level_values(level))
        guess = None if p[column] in names else nearest(str(p[column]), names)
        if guess:
            return f"no {level} {p[column]!r} in our table: {guess!r}?"
    return "no cell of ours has this mechanism and condition"


def _own_scale(value: float, scale: str, word: str) -> float:
    """A printed number on the scale on which we pool: log odds ratio, Fisher's z, g."""
    if word in AS_POOLED:
        return value
    if scale == "log_or":
        return float(np.log(value))
    return float(r_to_z(value)) if scale == "z" else value


def _carry(value: float, source: str, target: str) -> float:
    """From one scale to another, through d (equal groups)."""
    if source == target or np.isnan(value):
        return value
    if source == "log_or":
        d = float(log_or_to_d(value))
    else:
        d = float(r_to_d(np.tanh(value))) if source == "z" else value
    if target == "log_or":
        return float(d_to_log_or(d))
    return float(r_to_z(d_to_rpb(d))) if target == "z" else d


def _compared(
    p: Mapping[str, Any],
    cell: tuple[Any, ...],
    values: dict[str, Any],
    keyed: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    first = next(iter(keyed.values())).loc[cell]
    row: dict[str, Any] = {
        "citation": p["citation"],
        "year": p["year"],
        **dict(zip(CELL, cell, strict=True)),
        "label": first["label"],
        "condition_label": first["condition_label"],
        "scale": first["scale"],
        "k": int(first["k"]),
        "share_bounds": float(first["share_bounds"]),
        **values,
    }
    # Where the published estimate is 0, our own direction counts.
    sign = np.sign(values["published"]) or np.sign(first["mu_median"])
    for name, table in keyed.items():
        ours = table.loc[cell]
        low, high = float(ours["mu_low"]), float(ours["mu_high"])
        excess = sign * (float(ours["mu_median"]) - values["published"])
        row |= {
            f"median_{name}": float(ours["mu_median"]),
            f"low_{name}": low,
            f"high_{name}": high,
            f"covered_{name}": low <= values["published"] <= high,
            f"excess_{name}": float(excess / UNIT.get(str(first["scale"]), 1.0)),
            f"expected_{name}": expected_excess(ours) / UNIT.get(str(first["scale"]), 1.0),
        }
    return row


def expected_excess(cell: pd.Series[Any]) -> float:
    """E[sign(mu) (median - mu)] over the posterior of a pool: 0 where its sign is certain.

    E|mu| is that of the normal distribution with the posterior's mean and SD.
    """
    mean, sd = float(cell["mu_mean"]), float(cell["mu_sd"])
    size = sd * np.sqrt(2 / np.pi) * np.exp(-0.5 * (mean / sd) ** 2)
    size += mean * (1 - 2 * float(ndtr(-mean / sd)))
    return float(float(cell["mu_median"]) * (2 * float(cell["p_positive"]) - 1) - size)


def against_published(
    evidence: Evidence,
    published: pd.DataFrame,
    *,
    naive: pd.DataFrame | None = None,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
) -> tuple[External, Adjusted]:
    """The whole check: published pools against ours, `naive` and `adjusted` for selection.

    `naive` is the pools table of all of `evidence`; without it they are pooled here. Raises what
    `pool`, `adjusted_pools` and `external_check` raise.
    """
    if naive is None:
        if progress is not None:
            progress("naive pools")
        naive = pool(evidence).table
    adjusted = adjusted_pools(evidence, n_jobs=n_jobs, progress=progress)
    return external_check(published, {"naive": naive, "adjusted": adjusted.table}), adjusted


def totals(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Coverage, mean excess with its standard error, the excess that the pools themselves expect,
    and mean width, by the cell's number of rows.

    Published pools of one cell share our pool: the standard error counts each cell once.
    """
    out = []
    parts: list[tuple[str, Any]] = [
        ("all", slice(None)),
        (f"fewer than {MANY} rows", table.get("k", pd.Series(dtype=float)) < MANY),
        (f"{MANY} rows or more", table.get("k", pd.Series(dtype=float)) >= MANY),
    ]
    for rows, chosen in parts:
        part = table.loc[chosen] if len(table) else table
        for name in names if len(part) else []:
            unit = part["scale"].map(UNIT).fillna(1.0)
            per_cell = part.groupby(CELL)[f"excess_{name}"].mean()
            n = len(per_cell)
            out.append(
                {
                    "cells with": rows,
                    "pools": name,
                    "n": len(part),
                    "n_cells": n,
                    "covered": int(part[f"covered_{name}"].sum()),
                    "mean_excess": float(part[f"excess_{name}"].mean()),
                    "se_excess": float(per_cell.std() / np.sqrt(n)) if n > 1 else np.nan,
                    "expected_excess": float(part[f"expected_{name}"].mean()),
                    "mean_width": float(
                        ((part[f"high_{name}"] - part[f"low_{name}"]) / unit).mean()
                    ),
                }
            )
    return pd.DataFrame(out)
