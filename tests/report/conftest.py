"""A synthetic run: tables after the contract, numbers plausible but not fitted."""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nssi_meta.report.manifest import manifest as make_manifest

ROOT = Path(__file__).parents[2]
NAN = math.nan
OTHERS = ("suicide", "addiction", "eating_disorder", "depression")
VOID = {"meta", "br", "hr", "img", "link", "input", "col", "wbr"}


def make_pool(**changes: Any) -> dict[str, Any]:
    """One row of `pools`."""
    row: dict[str, Any] = {
        "mechanism": "pain_threshold",
        "label": "Pain threshold",
        "system": "pain",
        "condition": "nssi",
        "condition_label": "Non-suicidal self-injury",
        "estimand": "case_control",
        "scale": "g",
        "k": 9,
        "n_studies": 9,
        "n_bounds": 6,
        "n_assumed": 2,
        "n_participants": 712,
        "mu_median": 0.9312,
        "mu_mean": 0.9287,
        "mu_sd": 0.19,
        "mu_low": 0.5482,
        "mu_high": 1.3121,
        "tau_median": 0.4123,
        "tau_low": 0.1021,
        "tau_high": 0.8232,
        "pred_low": -0.1021,
        "pred_high": 1.9012,
        "p_positive": 0.9999,
        "p_beyond": 0.9991,
        "share_beyond": 0.9243,
        "level": 0.95,
        "interval": "central",
        "engine": "exact",
        "mu_prior": "normal(0,1)",
        "tau_prior": "halfnormal(0.5)",
        "omega_median": NAN,
        "share_bounds": 6 / 9,
        "flags": "",
    }
    return row | changes


def _pools(mechanisms: pd.DataFrame, conditions: dict[str, str]) -> pd.DataFrame:
    rng = np.random.default_rng(20)
    scales = {"genes": ("odds", "log_or"), "epidemiology": ("odds", "log_or")}
    scales["attention"] = ("within_person", "d_within")
    scales["inflammation"] = ("association", "z")
    rows = []
    for m in mechanisms.to_dict("records"):
        for condition, label in conditions.items():
            if rng.uniform() < 0.4:
                continue
            k = int(rng.integers(1, 14))
            bounds = int(rng.integers(0, k + 1))
            mu, sd = rng.normal(0, 0.5), rng.uniform(0.1, 0.4)
            tau = rng.uniform(0.1, 0.6)
            estimand, scale = scales.get(m["system"], ("case_control", "g"))
            rows.append(
                make_pool(
                    mechanism=m["mechanism"],
                    label=m["label"],
                    system=m["system"],
                    condition=condition,
                    condition_label=label,
                    estimand=estimand,
                    scale=scale,
                    k=k,
                    n_studies=int(rng.integers(1, k + 1)),
                    n_bounds=bounds,
                    n_assumed=int(rng.integers(0, bounds + 1)),
                    n_participants=int(rng.integers(20, 3000)),
                    mu_median=mu,
                    mu_low=mu - 1.96 * sd,
                    mu_high=mu + 1.96 * sd,
                    tau_median=tau,
                    tau_low=tau / 3,
                    tau_high=tau * 2,
                    pred_low=mu - 2 * (sd + tau),
                    pred_high=mu + 2 * (sd + tau),
                    p_positive=float(0.5 * (1 + math.erf(mu / sd / math.sqrt(2)))),
                    share_beyond=float(rng.uniform()),
                    share_bounds=bounds / k,
                )
            )
    return pd.DataFrame(rows)


def _rows(pools: pd.DataFrame) -> pd.DataFrame:
    made = []
    for cell in pools.to_dict("records"):
        for i in range(cell["k"]):
            bound = i < cell["n_bounds"]
            low, high = ((0.4, math.inf), (-0.4, 0.4))[i % 2] if bound else (NAN, NAN)
            made.append(
                {c: cell[c] for c in ("mechanism", "system", "condition", "estimand", "scale")}
                | {
                    "condition_label": cell["condition_label"],
                    "effect_id": f"e{len(made):04d}",
                    "study_id": f"study{i}",
                    "label": f"Author {1990 + i}",
                    "kind": "interval" if bound else "exact",
                    "bound": "stated" if bound else "",
                    "lower": low,
                    "upper": high,
                    "yi": NAN if bound else cell["mu_median"],
                    "sei": 0.2,
                }
            )
    return pd.DataFrame(made)


def _overlap(pools: pd.DataFrame, conditions: dict[str, str]) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(21)
    nssi = pools[pools["condition"] == "nssi"]
    verdicts = ("shared", "opposite", "distinct", "neither", "uninformative")
    classes = ("p_shared", "p_opposite", "p_index_only", "p_other_only", "p_neither")
    mechanisms, summary, thresholds, systems, correlations = [], [], [], [], []
    for other in OTHERS:
        there = pools[pools["condition"] == other].set_index("mechanism")
        named = {"other": other, "other_label": conditions[other]}
        both = [r for r in nssi.to_dict("records") if r["mechanism"] in there.index][:9]
        for i, r in enumerate(both):
            middle = float(rng.normal(0, 0.4))
            twin = there.loc[r["mechanism"]]
            mechanisms.append(
                named
                | {c: r[c] for c in ("mechanism", "label", "system")}
                | dict(zip(classes, rng.dirichlet(np.ones(5)), strict=True))
                | {
                    "contrast_median": middle,
                    "contrast_low": middle - 0.4,
                    "contrast_high": middle + 0.4,
                    "predictive_overlap": float(rng.uniform()),
                    "verdict": verdicts[i % 5],
                    "k_index": r["k"],
                    "k_other": int(twin["k"]),
                    "n_bounds_index": r["n_bounds"],
                    "n_bounds_other": int(twin["n_bounds"]),
                }
            )
        triple = {"median": 0.4123, "low": -0.2231, "high": 0.7912}
        prior = {"prior_median": 0.0021, "prior_low": -0.7032, "prior_high": 0.7011}
        correlations.append({"condition": "nssi", "other": other} | triple | prior)
        for figure in ("n_shared", "jaccard", "magnitude", "correlation"):
            shared = figure == "n_shared"
            counted = {"median": 4.0, "low": 2.0, "high": 7.0}
            counted |= {"prior_median": 3.0, "prior_low": 0.0, "prior_high": 6.0}
            summary.append(
                named
                | {"figure": figure}
                | (counted if shared else triple | prior)
                | {
                    "n_mechanisms": len(both),
                    "n_studies": 87,
                    "n_participants": 12345,
                    "share_bounds": 0.6213,
                    "verdict": "informative" if figure == "jaccard" else "uninformative",
                }
            )
            for threshold in (0.1, 0.2, 0.3, 0.4, 0.5):
                shown = named | {"threshold": threshold, "figure": figure}
                values = {"median": 4.0, "low": 2.0, "high": 7.0} if shared else triple
                thresholds.append(shown | values)
        systems.append(
            named
            | {"system": "pain", "n_mechanisms": 3}
            | {"n_shared_median": 1.0, "n_shared_low": 0.0, "n_shared_high": 3.0}
            | {"magnitude_median": 0.31, "magnitude_low": -0.12, "magnitude_high": 0.64}
            | {
                "predictive_overlap_median": 0.71,
                "predictive_overlap_low": 0.52,
                "predictive_overlap_high": 0.86,
            }
        )
    return {
        "overlap_mechanisms": pd.DataFrame(mechanisms),
        "overlap_summary": pd.DataFrame(summary),
        "overlap_thresholds": pd.DataFrame(thresholds),
        "overlap_systems": pd.DataFrame(systems),
        "correlations": pd.DataFrame(correlations),
    }


def _build() -> dict[str, pd.DataFrame]:
    vocabulary = pd.read_csv(ROOT / "data" / "mechanisms.csv", keep_default_na=False)
    vocabulary = vocabulary[vocabulary["origin"] == "review"]
    listed = pd.read_csv(ROOT / "data" / "conditions.csv", keep_default_na=False)
    cases = listed[listed["role"].isin(["index", "comorbid"])]
    conditions = dict(zip(cases["id"], cases["label"], strict=True))
    pools = _pools(vocabulary, conditions)
    profiles = pools[pools["estimand"] == "case_control"].assign(k_contrast=1, evidence="direct")
    predicted = profiles.head(2).assign(k=0, evidence="none: predicted", flags="predicted")
    excluded = [
        {
            "effect_id": f"e09{i:02d}",
            "study_id": f"study{i}",
            "mechanism": "pain_threshold",
            "condition": "nssi",
            "line": 900 + i,
            "why_not": why,
        }
        for i, why in enumerate(
            ["doubtful: implied by silence", "doubtful: guess", "duplicate: e0001", "overlap: one"]
        )
    ]
    cells = {(r["mechanism"], r["condition"]): r for r in pools.to_dict("records")}
    coverage = [
        {
            "mechanism": m,
            "condition": c,
            "k": cells[m, c]["k"] if (m, c) in cells else 0,
            "n_studies": cells[m, c]["n_studies"] if (m, c) in cells else 0,
            "n_bounds": cells[m, c]["n_bounds"] if (m, c) in cells else 0,
            "n_participants": cells[m, c]["n_participants"] if (m, c) in cells else 0,
        }
        for m in vocabulary["mechanism"]
        for c in conditions
    ]
    diagnostics = [
        {"quantity": f"mu[{i}]", "r_hat": 1.001 + i / 1e4, "ess_bulk": 1500.0 - i, "ess_tail": 1e3,
         "ok": True}
        for i in range(30)
    ]  # fmt: skip
    steps = [("rows in the file", 908), ("not used: doubtful", 90), ("used", 735)]
    flow = [{"step": s, "n_rows": n, "n_studies": n // 2, "note": ""} for s, n in steps]
    return _overlap(pools, conditions) | {
        "pools": pools,
        "rows": _rows(pools),
        "profiles": pd.concat([profiles, predicted], ignore_index=True),
        "diagnostics": pd.DataFrame(diagnostics),
        "flow": pd.DataFrame(flow),
        "coverage": pd.DataFrame(coverage),
        "excluded": pd.DataFrame(excluded),
    }


_TABLES = _build()


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    return {key: table.copy() for key, table in _TABLES.items()}


def make_facts(**changes: Any) -> dict[str, Any]:
    """A manifest of a run that converged."""
    facts: dict[str, Any] = {
        "data": {"path": "data/effects.csv", "sha256": "ab" * 32, "rows": 908, "used": 735},
        "seed": 20260714,
        "priors": {"mu": "normal(0,1)", "tau": "halfnormal(0.5)"},
        "thresholds": {"delta": 0.2, "verdict_probability": 0.8},
        "level": 0.95,
        "interval": "central",
        "models": {"pools": "exact quadrature", "profiles": "joint model", "sampler": "nutpie"},
        "sampler": {"divergences": 0, "e_bfmi_min": 0.87, "draws": 1000, "chains": 4},
        "converged": True,
        "problems": [],
        "conditions": pd.read_csv(ROOT / "data" / "conditions.csv", keep_default_na=False),
        "command": "nssi-meta run data/effects.csv --seed 20260714",
        "created": datetime(2026, 7, 14, 12, 0, tzinfo=UTC),
    }
    return make_manifest(**(facts | changes))


@pytest.fixture
def facts() -> dict[str, Any]:
    return copy.deepcopy(make_facts())


SVG = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 viewBox="0 0 100 40" width="100pt" role="img" aria-labelledby="figure-title figure-desc">
 <title id="figure-title">A figure</title><desc id="figure-desc">What &lt;it&gt; shows</desc>
 <metadata>made at some time</metadata>
 <defs><style type="text/css">*{stroke-linejoin: round} .a, text{fill: #111}</style>
 <clipPath id="clip"><rect width="9" height="9"/></clipPath><path id="mark" d="M0 0L1 1"/></defs>
 <g clip-path="url(#clip)" style="fill: url('#clip')"><use xlink:href="#mark" x="3"/></g>
 <script>alert(1)</script><a xlink:href="https://example.org/x"><text onclick="x()">t</text></a>
</svg>"""


@pytest.fixture
def figures() -> dict[str, str]:
    mechanisms = _TABLES["pools"]["mechanism"].unique()
    names = ["overview", "overlap_mechanisms", "overlap_summary"]
    return dict.fromkeys([*names, *(f"forest_{m}" for m in mechanisms)], SVG)


class Page(HTMLParser):
    """Reads a page strictly: every tag closed in order; collects ids, links, text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


@pytest.fixture
def pool_row() -> Any:
    """Factory of rows of `pools`."""
    return make_pool


@pytest.fixture
def make_manifest_facts() -> Any:
    """Factory of manifests."""
    return make_facts


@pytest.fixture
def read_page() -> type[Page]:
    """The strict reader of pages."""
    return Page


@pytest.fixture
def svg() -> str:
    return SVG
