"""How it was done, in words built from the manifest and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nssi_meta.report.columns import words
from nssi_meta.report.names import Manifest
from nssi_meta.report.values import (
    MINUS,
    Record,
    as_float,
    as_text,
    count,
    enumerate_words,
    level_text,
)

SCALES = {
    "g": "Hedges’ g, the difference between two groups in standard deviations",
    "z": "Fisher’s z, a transformed correlation",
    "log_or": "log odds ratio",
    "d_within": "standardised mean change within persons",
}
#: Facts about sampling whose keys are no words.
SAMPLER = {
    "draws": "draws a chain",
    "e_bfmi_min": "smallest E-BFMI",
    "ess_bulk_min": "smallest effective sample size in the bulk",
    "ess_tail_min": "in the tails",
    "r_hat_max": "largest R-hat",
    "sampler": "by",
    "tune": "draws of tuning",
}
NOT_RECORDED = "not recorded"


def methods(manifest: Manifest, pools: Sequence[Record], joint: bool) -> list[str]:
    """Paragraphs on estimands, bounds, model, priors, engine and intervals.

    `joint`: whether results of the joint model are on the page.
    """
    return [p for p in (_estimands(pools), _bounds(), _model(pools), _joint(manifest, joint)) if p]


def _estimands(pools: Sequence[Record]) -> str:
    seen: dict[tuple[str, str], int] = {}
    for row in pools:
        key = (as_text(row["estimand"]).replace("_", " "), as_text(row["scale"]))
        seen[key] = seen.get(key, 0) + 1
    if not seen:
        return ""
    kinds = [f"{e} ({SCALES.get(s, s)}; {count(n, 'cell')})" for (e, s), n in seen.items()]
    return (
        f"What was estimated: {enumerate_words(kinds)}. Kinds are never mixed in one pool. "
        "A positive effect means more of what the mechanism measures in those who have the "
        "condition."
    )


def _bounds() -> str:
    return (
        "Studies that print only a threshold: “significant” or “not significant” with group sizes "
        "says in which interval the estimate fell. Such a row enters the likelihood with the "
        "probability of that interval, given the mean and all variance components, instead of "
        "being thrown away or replaced by a guess."
    )


def _model(pools: Sequence[Record]) -> str:
    if not pools:
        return ""
    levels = sorted({level_text(as_float(r["level"])) for r in pools})
    if all(as_text(r.get("tau_prior")) == "zero" for r in pools):
        kind, between = "common-effect", ""
    else:
        kind, between = "random-effects", "plus how its study differs (standard deviation τ), "
    return (
        f"Each pool is a {kind} model: an observed effect is the mean μ, {between}plus, where a "
        "study gives several effects, how those differ, plus sampling error; effects that "
        "share people or a comparison group have correlated errors. "
        f"Prior of μ: {_unique(pools, 'mu_prior')}; of τ: "
        f"{_unique(pools, 'tau_prior')}{_of_omega(pools)}. "
        f"Engine: {_unique(pools, 'engine')}. Intervals are "
        f"{_unique(pools, 'interval')} {enumerate_words(levels)} credible intervals; those for a "
        "new study come from all variance components. "
        "Probabilities and intervals hold if model and prior do."
    )


def _of_omega(pools: Sequence[Record]) -> str:
    """The prior of what differs within studies, where some study gives several effects."""
    if not any(as_text(r.get("omega_prior")) for r in pools):
        return ""
    return f"; of the differences within a study: {_unique(pools, 'omega_prior')}"


def _unique(rows: Sequence[Record], column: str) -> str:
    return enumerate_words(sorted({as_text(r[column]) for r in rows} - {""})) or NOT_RECORDED


def _joint(manifest: Manifest, joint: bool) -> str:
    if why := as_text(manifest.get("no_joint_model")):
        return f"There is no joint model of all mechanisms and conditions: {why}."
    if not joint:
        return "The joint model of all mechanisms and conditions is not part of this report."
    sampler = manifest.get("sampler") or {}
    facts = "; ".join(f"{SAMPLER.get(k, words(k))} {plain(v)}" for k, v in sorted(sampler.items()))
    return (
        "Overlap comes from one joint model of all mechanisms and conditions. A row informs the "
        "difference between those it compares, so that comparisons of two conditions count as "
        "such; every figure is computed per posterior draw and stands beside its prior"
        f"{f'. Sampling: {facts}' if facts else ''}."
    )


def facts_table(facts: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Rows (name, value) of a part of the manifest, nested names joined by a dot."""
    rows: list[tuple[str, str]] = []
    for key, value in sorted((facts or {}).items()):
        if isinstance(value, Mapping):
            rows += [(f"{key}.{k}", v) for k, v in facts_table(value)]
        else:
            rows.append((str(key), plain(value)))
    return rows


def plain(value: Any) -> str:
    """Print a value of the manifest."""
    if value is None:
        return NOT_RECORDED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)  # a seed is a name, not an amount
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", MINUS)
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    return as_text(value)
