"""Alternative texts of the model figure and the map of gaps."""

from __future__ import annotations

import math

import pandas as pd

from .gap_map import GAP_COLUMNS
from .model_plan import Node, plan
from .printed import print_interval
from .records import as_float, as_int, as_text, interval, require_columns
from .text import count, number, probability

MOST_PROBABLE = 0.8
FIRST = 10


def alt_mechanism_model(table: pd.DataFrame, *, index_label: str = "NSSI") -> str:
    """Describe the model figure: per stage what is studied, how strong, and who shares it."""
    what = plan(table)
    stages = [stage for column in what.columns for stage in column]
    chain = ", then ".join(column[0].name for column in what.columns)
    parts = [f"Model of {index_label} in {count(len(stages), 'stage')}: {chain}."]
    for stage in stages:
        studied = [n for n in stage.nodes if as_text(n.index["evidence"]) != "none"]
        words = [f"{stage.name}: {len(studied)} of {count(len(stage.nodes), 'mechanism')} studied"]
        strong = [n for n in studied if _beyond_zero(n)]
        words += [
            f"{as_text(n.index['label'])} "
            f"{print_interval(interval(n.index, 'mu_median', 'mu_low', 'mu_high'))}"
            f"{_sharing(n, what.labels)}"
            for n in strong
        ]
        silent = [as_text(n.index["label"]) for n in stage.nodes if n not in studied]
        if silent:
            words.append(f"no study of {', '.join(silent)}")
        parts.append("; ".join(words) + ".")
    return " ".join(parts)


def _beyond_zero(node: Node) -> bool:
    low, high = as_float(node.index["mu_low"]), as_float(node.index["mu_high"])
    return math.isfinite(low) and (low > 0 or high < 0)


def _sharing(node: Node, labels: dict[str, str]) -> str:
    with_ = [
        f"{labels[as_text(r['condition'])]} ({probability(as_float(r['p_shared']))})"
        for r in node.others
        if as_float(r["p_shared"]) >= MOST_PROBABLE
    ]
    return f", shared with {', '.join(with_)}" if with_ else ""


def alt_gap_map(table: pd.DataFrame, *, participants: int = 100) -> str:
    """Describe the map of gaps: how many cells are empty, and the studies that would teach most."""
    require_columns(table, GAP_COLUMNS, "gaps")
    empty = int((table["k"] == 0).sum())
    head = (
        f"Evidence and expected gain of a study of {participants} people in "
        f"{count(len(table), 'cell')} of mechanism and condition, {empty} of them without a study."
    )
    first = table.sort_values("rank").head(FIRST)
    words = []
    for r in first.to_dict("records"):
        studies = count(as_int(r["n_studies"]), "study", "studies")
        words.append(
            f"{as_int(r['rank'])}. {as_text(r['label'])} in {as_text(r['condition_label'])} "
            f"({number(as_float(r['gain_bits']))} bits, {studies} so far)"
        )
    return f"{head} Largest gains: {'; '.join(words)}."
