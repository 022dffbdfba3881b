"""Which other analyses are reasonable: a grid of choices and their options, from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.models.priors import parse_prior

Grid = dict[str, tuple[Any, ...]]

#: Rows by name: what they are, and which of a frame's rows they keep.
ROWS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "all": lambda rows: np.ones(len(rows), dtype=bool),
    "exact": lambda rows: rows["kind"] != "interval",
    "high_confidence": lambda rows: rows["confidence"] == "high",
    "stated_thresholds": lambda rows: rows["bound"] != "assumed",
    "reference_comparators": lambda rows: ~rows["comparator"].isin(["none", "within"]),
    "adolescents": lambda rows: rows["age_group"].astype(str).str.startswith("adolescent"),
    "pure_samples": lambda rows: rows["pure_sample"].astype(str) == "yes",
    "with_doubtful": lambda rows: np.ones(len(rows), dtype=bool),
}
#: How a pool is computed: normal study effects; Student's t; normal with null results reported w
#: times as often as significant ones, w uniform and learned from the pool alone.
HOW = ("normal", "robust", "selection")
#: Whether rows of other estimands are taken in, converted to the pool's scale.
CONVERT = ("no", "yes")
INTERVAL = ("central", "shortest")

#: What is taken for reasonable where no grid is given, and what every pooled estimate carries.
GRID: Grid = {
    "rows": ("all", "exact", "high_confidence", "stated_thresholds", "with_doubtful"),
    "mu_prior": ("normal(0,1)", "normal(0,0.5)"),
    "tau_prior": ("halfnormal(0.5)", "halfcauchy(0.5)", "halfnormal(0.25)"),
    "rho": (0.6, 0.0),
    "how": ("normal",),
    "convert": ("no",),
    "interval": ("central", "shortest"),
}
#: For a single pool, where seconds do not matter: every way to compute it, too.
FULL_GRID: Grid = {
    **GRID,
    "tau_prior": ("halfnormal(0.5)", "halfnormal(0.25)"),
    "rho": (0.6,),
    "how": HOW,
    "convert": CONVERT,
}
_ALLOWED: dict[str, Sequence[str]] = {
    "rows": tuple(ROWS), "how": HOW, "convert": CONVERT, "interval": INTERVAL,
}  # fmt: skip


def read_grid(path: str | Path) -> Grid:
    """A grid from a TOML file: choices of `GRID`, each a list of options, the main one first.

    A choice that the file leaves out has its main option only. Raises ValueError naming every
    unknown choice and option.
    """
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    wrong = [f"{name!r} is no choice; allowed: {', '.join(GRID)}" for name in given.keys() - GRID]
    for name, options in given.items():
        if name in GRID and not (isinstance(options, list) and options):
            wrong.append(f'{name} must be a list of options, such as {name} = ["{GRID[name][0]}"]')
    if wrong:
        raise ValueError(f"{path}: " + "; ".join(wrong))
    return complete({name: tuple(options) for name, options in given.items()})


def complete(grid: Mapping[str, Sequence[Any]]) -> Grid:
    """Every choice of `GRID` with its options, checked; one left out has its main option only.

    Raises ValueError naming every unknown choice and option, and `PriorError` for a prior that
    cannot be read.
    """
    chosen: Grid = {name: tuple(grid.get(name, o[:1])) for name, o in GRID.items()}
    wrong = [f"{name!r} is no choice; allowed: {', '.join(GRID)}" for name in grid.keys() - GRID]
    for name, allowed in _ALLOWED.items():
        if unknown := [str(o) for o in chosen[name] if o not in allowed]:
            wrong.append(f"unknown {name} {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    for rho in chosen["rho"]:
        if not (isinstance(rho, int | float) and 0 <= rho < 1):
            wrong.append(f"rho must be at least 0 and below 1, got {rho}")
    for name, options in chosen.items():
        if len(set(options)) < len(options):
            wrong.append(f"{name} names an option twice: {', '.join(map(str, options))}")
    if wrong:
        raise ValueError("; ".join(wrong))
    for kind in ("mu", "tau"):
        for prior in chosen[f"{kind}_prior"]:
            parse_prior(prior, kind)
    return chosen
