"""Made-up tables of the figures beside forest plot and overview."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

NAN = math.nan
OTHERS = {"one": "One", "two": "Two"}


def make_effects(n=24):
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "effect_id": [f"e{i}" for i in range(n)],
            "group": [["nssi", "depression", "eating_disorder"][i % 3] for i in range(n)],
            "x": np.linspace(12.0, 40.0, n),
            "kind": ["interval" if i % 4 == 0 else "exact" for i in range(n)],
            "yi": rng.normal(0.4, 0.4, n),
            "sei": rng.uniform(0.1, 0.5, n),
            "lower": NAN,
            "upper": NAN,
        }
    )
    bounds = rows["kind"] == "interval"
    rows.loc[bounds, "yi"] = NAN
    rows.loc[bounds, "lower"] = 1.96 * rows.loc[bounds, "sei"]
    rows.loc[bounds, "upper"] = math.inf
    rows.loc[0, ["lower", "upper"]] = [-0.5, 0.5]
    rows.loc[1, "yi"] = 1e6
    return rows


def make_groups():
    return pd.DataFrame(
        {
            "group": ["nssi", "depression", "eating_disorder"],
            "label": ["NSSI", "Depression with a long name for a narrow column", "王 Éating"],
            "mu_median": [0.4, 0.1, -0.2],
            "mu_low": [0.1, -0.3, -0.6],
            "mu_high": [0.7, 0.5, 0.2],
            "pred_low": [-0.5, -1.0, -1.4],
            "pred_high": [1.3, 1.2, 500.0],
        }
    )


def make_steps(n=12):
    mu = 0.5 + 0.3 * np.sin(np.arange(n))
    width = 2.0 / np.sqrt(np.arange(n) + 1.0)
    return pd.DataFrame(
        {
            "label": [f"Author-{i} {1990 + i}" + " and many others" * (i == 3) for i in range(n)],
            "k": range(1, n + 1),
            "median": mu,
            "low": mu - width,
            "high": mu + width,
            "p_positive": np.linspace(0.6, 0.999, n),
        }
    )


def make_curve():
    x = np.linspace(10.0, 42.0, 30)
    return pd.DataFrame(
        {
            "x": x,
            "median": 0.02 * x,
            "low": 0.02 * x - 0.2,
            "high": 0.02 * x + 0.2,
            "pred_low": 0.02 * x - 0.7,
            "pred_high": 0.02 * x + 0.7,
        }
    )


def make_profiles(n=40):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "mechanism": [f"m{i}" for i in range(n)],
            "label": [f"Mechanism {i}" for i in range(n)],
            "x_mean": rng.normal(0, 0.5, n),
            "x_sd": rng.uniform(0.1, 0.4, n),
            "y_mean": rng.normal(0, 0.5, n),
            "y_sd": rng.uniform(0.1, 0.4, n),
            "correlation": rng.uniform(-0.6, 0.6, n),
        }
    )


def make_specifications():
    rng = np.random.default_rng(8)
    rows = []
    for prior in ("normal(0, 1)", "normal(0, 0.5)", "cauchy(0.7)"):
        for rho in ("0.3", "0.5", "0.8"):
            for rows_used in ("all", "without doubtful"):
                m = float(rng.normal(0.4, 0.1))
                rows.append((f"s{len(rows)}", m, m - 0.3, m + 0.3, prior, rho, rows_used))
    rows[4] = (*rows[4][:3], 90.0, *rows[4][4:])
    names = ["spec_id", "median", "low", "high", "choice_prior", "choice_rho", "choice_rows"]
    return pd.DataFrame(rows, columns=names)


def make_densities():
    x = np.linspace(-2, 2, 101)
    bell = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    sharp = np.exp(-(((x - 0.4) / 0.2) ** 2) / 2) / (0.2 * math.sqrt(2 * math.pi))
    parts = [
        pd.DataFrame(
            {"quantity": q, "label": f"Quantity {q}", "x": x, "prior": bell, "posterior": sharp}
        )
        for q in ("mu", "tau", "omega", "rho", "delta")
    ]
    return pd.concat(parts, ignore_index=True)


def make_ranks():
    z = np.linspace(0, 1, 51)
    band = 0.12 * np.sqrt(z * (1 - z)) * 2
    parts = [
        pd.DataFrame(
            {
                "quantity": q,
                "label": f"Quantity {q}",
                "z": z,
                "ecdf": z + shift * z * (1 - z),
                "low": z - band,
                "high": z + band,
            }
        )
        for q, shift in (("mu", 0.1), ("tau", 0.9), ("omega", -0.1))
    ]
    return pd.concat(parts, ignore_index=True)


def make_map():
    rows = []
    for i in range(12):
        for j, c in enumerate(("nssi", "suicide", "depression")):
            if (i + j) % 4:
                k = (i * j) % 5
                rows.append(
                    (
                        f"m{i}",
                        f"Mechanism {i}",
                        "pain" if i < 6 else "hpa",
                        c,
                        c,
                        k,
                        k,
                        20 * k,
                        k if i % 3 == 0 else k // 2,
                    )
                )
    names = "mechanism label system condition condition_label k n_studies n_participants n_bounds"
    return pd.DataFrame(rows, columns=names.split())


def model_rows():
    """Five stages; the states of a node: exact, bounds only, another scale, no study."""
    kinds = [
        {"scale": "g", "k": 4, "n_bounds": 1, "evidence": "direct"},
        {"scale": "g", "k": 2, "n_bounds": 2, "evidence": "direct"},
        {"scale": "log_or", "k": 3, "n_bounds": 0, "evidence": "pool"},
        {"scale": "", "k": 0, "n_bounds": 0, "evidence": "none"},
    ]
    rows = []
    for s, (i, kind) in itertools.product(range(5), enumerate(kinds)):
        missing = kind["evidence"] == "none"
        node = {"stage": f"stage {s}", "system": f"system {i // 2}", "mechanism": f"m{s}{i}",
                "label": f"Mechanism {s}{i}"}  # fmt: skip
        value = np.nan if missing else 0.4 * (i + 1)
        rows.append(node | kind | {
            "condition": "index", "condition_label": "Index", "role": "index",
            "mu_median": value, "mu_low": value - 0.3, "mu_high": value + 0.3 * (s + 1),
            "p_shared": np.nan, "p_opposite": np.nan, "verdict": "",
        })  # fmt: skip
        for j, (c, name) in enumerate(OTHERS.items()):
            both = i < 2
            here = "direct" if both or j == 0 else "none"
            rows.append(node | {
                "condition": c, "condition_label": name, "role": "other", "scale": "g",
                "mu_median": 0.1, "mu_low": 0.0, "mu_high": 0.2, "k": 1, "n_bounds": 0,
                "evidence": here, "p_shared": 0.9 - 0.8 * j if both else np.nan,
                "p_opposite": 0.05 + 0.8 * j if both else np.nan, "verdict": "",
            })  # fmt: skip
    return pd.DataFrame(rows)


def stage_rows():
    return pd.DataFrame(
        [{"other": "one", "stage": f"stage {s}", "n_mechanisms": 4, "n_shared_median": 3.0,
          "n_shared_low": 1.0, "n_shared_high": 4.0} for s in range(5)]
    )  # fmt: skip


def gap_rows():
    rows = [
        {"mechanism": f"m{i}", "label": f"Mechanism {i}", "system": f"system {i % 2}",
         "condition": c, "condition_label": c.title(), "gain_bits": 0.1 * i + 0.01 * j,
         "certainty": 0.3 * j, "k": j, "n_studies": j, "n_participants": 9000 * j,
         "share_bounds": 0.5 if j else np.nan}
        for i in range(6) for j, c in enumerate(("index", "one", "two"))
    ]  # fmt: skip
    table = pd.DataFrame(rows).sort_values("gain_bits", ascending=False, ignore_index=True)
    table.insert(0, "rank", range(1, len(table) + 1))
    return table


def make_external():
    rng = np.random.default_rng(4)
    n = 9
    table = pd.DataFrame(
        {
            "label": [f"Mechanism {i // 2}" for i in range(n)],
            "condition_label": ["People with depression", "NSSI", "Addiction"] * 3,
            "scale": ["g"] * 5 + ["log_or"] * 4,
            "k": range(1, n + 1),
            "published": rng.normal(0.4, 0.3, n),
        }
    )
    for name in ("naive", "adjusted"):
        table[f"median_{name}"] = rng.normal(0.4, 0.3, n)
        width = rng.uniform(0.2, 1.5, n)
        table[f"low_{name}"] = table[f"median_{name}"] - width
        table[f"high_{name}"] = table[f"median_{name}"] + width
    table.loc[0, "high_naive"] = 1e6
    return table.sample(frac=1.0, random_state=1, ignore_index=True)


def make_correlations():
    names = ["nssi", "suicide", "depression", "eating_disorder", "addiction"]
    rng = np.random.default_rng(6)
    rows = []
    for a, b in itertools.combinations(names, 2):
        low, median, high = np.sort(rng.uniform(-0.9, 0.9, 3))
        rows.append((a, b, median, low, high, 0.0, -0.67, 0.67))
    columns = ["condition", "other", "median", "low", "high"]
    columns += ["prior_median", "prior_low", "prior_high"]
    return pd.DataFrame(rows, columns=columns)


def predictive_tables():
    """Checks of two statistics under prior and posterior, and what was drawn for each."""
    rng = np.random.default_rng(2)
    drawn = []
    for source, scale in (("prior", 1.0), ("posterior", 0.4)):
        for name, values in (
            ("spread", scale * np.abs(rng.standard_normal(800))),
            ("significant", rng.binomial(5, 0.4, 800) / 5),
        ):
            drawn.append(pd.DataFrame({"source": source, "statistic": name, "value": values}))
    checks = pd.DataFrame(
        {
            "source": ["prior", "prior", "posterior", "posterior"],
            "statistic": ["spread", "significant"] * 2,
            "label": ["SD of the effects", "share of significant rows with a long name"] * 2,
            "observed": [0.5, 0.8] * 2,
            "p": [0.61, 0.03, 0.2, 0.001],
        }
    )
    return checks, pd.concat(drawn, ignore_index=True)


def make_subsets():
    """Every subset of three studies, the whole last."""
    return pd.DataFrame(
        {
            "n_studies": [1, 1, 1, 2, 2, 2, 3],
            "median": [0.1, 0.5, 0.9, 0.3, 0.5, 0.7, 0.5],
            "tau_median": [0.3, 0.3, 0.3, 0.25, 0.35, 0.25, 0.28],
        }
    )
