"""Synthetic tables for the tests of figures."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure

CONDITIONS = {
    "nssi": "People with non-suicidal self-injury",
    "suicide": "People with suicidal behaviour",
    "depression": "People with depression",
    "eating_disorder": "People with an eating disorder",
    "addiction": "People with an addiction",
}
NAN = math.nan


def beside(name: str) -> ModuleType:
    """The module of this name that lies beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """The makers of `made.py`."""
    return beside("made")


def make_row(i: int, **changes: Any) -> dict[str, Any]:
    """One exact study row; `changes` replaces columns."""
    rng = np.random.default_rng(i)
    yi, sei = float(rng.normal(0.4, 0.4)), float(rng.uniform(0.15, 0.5))
    row: dict[str, Any] = {
        "mechanism": "pain_threshold",
        "system": "pain",
        "condition": "nssi",
        "condition_label": CONDITIONS["nssi"],
        "estimand": "case_control",
        "scale": "g",
        "effect_id": f"e{i:04d}",
        "study_id": f"author{i}",
        "label": f"Author {1990 + i % 35}",
        "measure": "heat pain threshold",
        "stimulus": "heat",
        "year": 1990 + i % 35,
        "n_case": 15 + i % 40,
        "n_control": 17 + i % 40,
        "n_total": 32 + 2 * (i % 40),
        "kind": "exact",
        "bound": "",
        "confidence": "high",
        "yi": yi,
        "sei": sei,
        "ci_low": yi - 1.96 * sei,
        "ci_high": yi + 1.96 * sei,
        "lower": NAN,
        "upper": NAN,
        "shrunk_median": 0.4 + 0.5 * (yi - 0.4),
        "shrunk_low": 0.4 + 0.5 * (yi - 0.4) - 0.3,
        "shrunk_high": 0.4 + 0.5 * (yi - 0.4) + 0.3,
    }
    return row | changes


def make_bound(
    i: int, lower: float, upper: float, bound: str = "stated", **changes: Any
) -> dict[str, Any]:
    """One row that is only a bound."""
    blank = {"yi": NAN, "ci_low": NAN, "ci_high": NAN}
    return make_row(i, kind="interval", bound=bound, lower=lower, upper=upper, **blank, **changes)


def make_pool(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """The pooled cell of `rows` (numbers are plausible, not fitted)."""
    first = rows[0] if rows else make_row(0)
    bounds = [r for r in rows if r["kind"] == "interval"]
    pool: dict[str, Any] = {
        "mechanism": first["mechanism"],
        "label": "Pain threshold",
        "system": first["system"],
        "condition": first["condition"],
        "condition_label": first["condition_label"],
        "estimand": first["estimand"],
        "scale": first["scale"],
        "k": len(rows),
        "n_studies": len({r["study_id"] for r in rows}),
        "n_bounds": len(bounds),
        "n_assumed": sum(r["bound"] == "assumed" for r in bounds),
        "n_participants": sum(r["n_total"] for r in rows),
        "mu_median": 0.41,
        "mu_mean": 0.412,
        "mu_sd": 0.13,
        "mu_low": 0.152,
        "mu_high": 0.668,
        "tau_median": 0.31,
        "tau_low": 0.08,
        "tau_high": 0.62,
        "pred_low": -0.37,
        "pred_high": 1.19,
        "p_positive": 0.991,
        "p_beyond": 0.93,
        "share_beyond": 0.74,
        "level": 0.95,
        "interval": "central",
        "engine": "nuts",
        "mu_prior": "normal(0, 1)",
        "tau_prior": "half-normal(0.5)",
        "flags": "",
    }
    return pool | changes


def as_tables(*cells: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, pools) of these cells."""
    rows = pd.DataFrame([row for cell in cells for row in cell])
    return rows, pd.DataFrame([make_pool(cell) for cell in cells])


def many(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """n rows of every kind over five conditions."""
    cells: dict[str, list[dict[str, Any]]] = {}
    names = list(CONDITIONS)
    for i in range(n):
        name = names[i * len(names) // n]
        where = {"condition": name, "condition_label": CONDITIONS[name]}
        c = 0.45 + 0.01 * (i % 30)
        made = (
            make_row(i, **where),
            make_bound(i, c, math.inf, **where),
            make_bound(i, -math.inf, -c, "assumed", **where),
            make_bound(i, -c, c, "assumed" if i % 2 else "stated", **where),
            make_row(i, kind="unsigned", yi=0.16, ci_low=-0.2, ci_high=0.52, **where),
        )
        cells.setdefault(name, []).append(made[(i * 7) % 5])
    return as_tables(*cells.values())


@pytest.fixture
def mixed() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every kind of row, hard labels, several estimands, thin and empty cells."""
    nssi = [
        make_row(1, label="Hooley 2020"),
        make_row(
            2,
            label="Plener, Fliege, Fegert & Groschwitz-Kellermann-Schwarz et al. 2012",
            measure="pressure pain threshold at the non-dominant hand, averaged over sites",
        ),
        make_row(3, label="王晓明 2019", measure="热痛阈值 (heat pain threshold)"),
        make_row(4, label="Gölçük, Ñúñez & Žižek 2021", yi=1e6, ci_low=9e5, ci_high=1.1e6),
        make_row(5, ci_low=-40.0, ci_high=55.0),
        make_bound(6, 0.52, math.inf),
        make_bound(7, 0.61, math.inf, "assumed"),
        make_bound(8, -math.inf, -0.48),
        make_bound(9, -0.51, 0.51),
        make_bound(10, -0.63, 0.63, "assumed"),
        make_row(11, kind="unsigned", yi=0.16, ci_low=-0.19, ci_high=0.51),
        make_bound(12, 30.0, math.inf),
        make_row(13, label="$x_1$ 2001", shrunk_median=NAN, shrunk_low=NAN, shrunk_high=NAN),
    ]
    for number, (row, year) in enumerate(zip(nssi, range(2001, 2020), strict=False)):
        row["year"] = year + number
    only_bounds = [
        make_bound(
            20 + i,
            0.4 + i / 10,
            math.inf,
            condition="suicide",
            condition_label=CONDITIONS["suicide"],
        )
        for i in range(3)
    ]
    single = [make_row(30, condition="depression", condition_label=CONDITIONS["depression"])]
    linked = [
        make_row(
            40 + i,
            estimand="association",
            scale="z",
            n_case=NAN,
            n_control=NAN,
            yi=0.2,
            ci_low=0.05,
            ci_high=0.35,
            shrunk_median=0.18,
            shrunk_low=0.08,
            shrunk_high=0.29,
        )
        for i in range(2)
    ]
    rows, pools = as_tables(nssi, only_bounds, single, linked)
    absent = make_pool([], condition="addiction", condition_label=CONDITIONS["addiction"])
    pools = pd.concat([pools, pd.DataFrame([absent])], ignore_index=True)
    return rows, pools


@pytest.fixture
def many_rows() -> Callable[[int], tuple[pd.DataFrame, pd.DataFrame]]:
    """A maker of n rows."""
    return many


@pytest.fixture
def odds() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Log odds ratios: estimates, a bound of each side, one between, one of unknown sign."""
    scale: dict[str, Any] = {"scale": "log_or", "estimand": "odds", "n_case": 120, "n_control": 130}
    rows = [
        make_row(1, yi=0.7, ci_low=-0.1, ci_high=1.5, **scale),
        make_row(2, yi=-2.6, ci_low=-3.9, ci_high=-1.3, **scale),
        make_bound(3, 0.4, math.inf, **scale),
        make_bound(4, -0.5, 0.5, "assumed", **scale),
        make_row(5, kind="unsigned", yi=0.2, ci_low=-0.3, ci_high=0.7, **scale),
    ]
    return as_tables(rows)


def many_pools(n_mechanisms: int) -> pd.DataFrame:
    """Pools of n mechanisms in nine systems and up to five conditions, some hollow or empty."""
    rng = np.random.default_rng(20)
    systems = [
        "emotion",
        "control",
        "pain",
        "HPA",
        "reward",
        "opioid",
        "serotonin",
        "genes",
        "attention",
    ]
    pools = []
    for m in range(n_mechanisms):
        for c, (condition, label) in enumerate(CONDITIONS.items()):
            if c and rng.uniform() < 0.35:
                continue
            k = int(rng.integers(0, 20))
            mu, sd = rng.normal(0, 0.4), rng.uniform(0.05, 0.4)
            bounds = k if rng.uniform() < 0.25 else k // 2
            name = f"Mechanism number {m}" + (
                " with a rather long name, left side" if m % 9 == 0 else ""
            )
            pools.append(
                make_pool(
                    [],
                    mechanism=f"m{m}",
                    label=name,
                    system=systems[m * 9 // n_mechanisms],
                    condition=condition,
                    condition_label=label,
                    k=k,
                    n_bounds=bounds,
                    mu_median=mu,
                    mu_low=mu - 2 * sd,
                    mu_high=mu + 2 * sd,
                )
            )
    pools[3].update(mu_low=-900.0, mu_high=1e6)
    return pd.DataFrame(pools)


@pytest.fixture
def pools90() -> pd.DataFrame:
    """Ninety mechanisms."""
    return many_pools(90)


def overlap_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(overlap_mechanisms, overlap_summary) with made-up probabilities."""
    rng = np.random.default_rng(7)
    classes = ["p_shared", "p_opposite", "p_index_only", "p_other_only", "p_neither"]
    verdicts = ["shared", "opposite", "own", "other only", "uninformative"]
    bars, figures = [], []
    limits = {
        "n_shared": (0, 12),
        "jaccard": (0, 1),
        "magnitude": (-0.2, 0.9),
        "correlation": (-0.9, 0.9),
    }
    for j, (other, label) in enumerate(list(CONDITIONS.items())[1:]):
        for m in range(5 + 4 * j):
            p = rng.dirichlet(np.full(5, 0.5))
            named = dict(zip(classes, p, strict=True))
            bars.append(
                {
                    "other": other,
                    "other_label": label,
                    "mechanism": f"m{m}",
                    "label": f"Mechanism number {m}",
                    "system": "pain",
                    **named,
                    "verdict": verdicts[int(np.argmax(p))],
                    "k_index": m,
                    "k_other": 1 + m,
                }
            )
        for figure, (low, high) in limits.items():
            a, b, c = np.sort(rng.uniform(low, high, 3))
            if figure == "n_shared":
                a, b, c = np.round([a, b, c])
            figures.append(
                {
                    "other": other,
                    "other_label": label,
                    "figure": figure,
                    "median": b,
                    "low": a,
                    "high": c,
                    "prior_median": (low + high) / 2,
                    "prior_low": low,
                    "prior_high": high,
                    "n_mechanisms": 12 + j,
                    "n_studies": 87,
                    "n_participants": 9120,
                    "share_bounds": 0.61,
                    "verdict": "uninformative" if j % 2 else "informative",
                }
            )
    return pd.DataFrame(bars), pd.DataFrame(figures)


@pytest.fixture
def overlaps() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two overlap tables."""
    return overlap_tables()


@pytest.fixture(scope="session")
def looking() -> ModuleType:
    """What `looking.py` finds in a drawn figure."""
    return beside("looking")


@pytest.fixture
def artists(looking: ModuleType) -> Callable[[Figure], dict[str, Artist]]:
    """Artists of a figure by gid."""
    return looking.gather


@pytest.fixture
def xs(looking: ModuleType) -> Callable[[Artist], list[float]]:
    """Horizontal data coordinates of a line or polygon."""
    return looking.read_xs


@pytest.fixture
def collisions(looking: ModuleType) -> Callable[[Figure], list[str]]:
    """Finder of colliding texts."""
    return looking.find_collisions


@pytest.fixture
def struck(looking: ModuleType) -> Callable[[Figure], list[str]]:
    """Finder of texts under marks."""
    return looking.find_struck
