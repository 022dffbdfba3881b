"""Sentences about pools: the number first, then how sure it is and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nssi_meta.report.names import Names
from nssi_meta.report.values import (
    Record,
    as_float,
    as_int,
    as_text,
    count,
    first_lower,
    first_upper,
    level_text,
    number,
    probability,
    span,
)

POOL_COLUMNS = (
    "mechanism", "label", "system", "condition", "estimand", "scale", "k", "n_studies", "n_bounds",
    "n_assumed", "n_participants", "mu_median", "mu_low", "mu_high", "tau_median", "tau_low",
    "tau_high", "pred_low", "pred_high", "p_positive", "p_beyond", "share_beyond", "level",
    "interval", "engine", "mu_prior", "tau_prior", "flags",
)  # fmt: skip
#: Comparator of pools within one sample.
NOBODY = "none"
_TOLD = ("only bounds", "some thresholds assumed")
MOST_INDEX = 12
MOST_OTHER = 4


def pool_sentence(row: Record, names: Names) -> str:
    """One pool in words.

    Parameters
    ----------
    row
        A row of the table `pools`.

    Returns
    -------
    str
        The mean with its interval (for odds and correlations also back-transformed: the limits
        are the transformed limits), the evidence, the probability of a positive mean, and where
        the true effect in a new study would be expected.
    """
    if not math.isfinite(as_float(row["mu_median"])):
        flags = as_text(row["flags"])
        head = f"{as_text(row['label'])}: {names.people(as_text(row['condition']))}"
        return f"{head}, no pooled effect{f' ({flags})' if flags else ''}; {evidence_words(row)}."
    low, high = as_float(row["mu_low"]), as_float(row["mu_high"])
    parts = [f"{level_text(as_float(row['level']))} credible interval {span(low, high)}"]
    back = back_transformed(row, "mu_median", "mu_low", "mu_high")
    if back:
        parts.append(f"that is, {back[0]} {number(back[1])}, {span(back[2], back[3])}")
    if low <= 0.0 <= high:
        parts.append("the interval includes zero")
    parts.append(evidence_words(row))
    parts.append(f"above zero with probability {probability(_p(row))}")
    new = _prediction(row)
    if new:
        parts.append(new)
    effect = f"{_symbol(row)} = {number(as_float(row['mu_median']))}"
    meaning = names.meanings.get(as_text(row["mechanism"]), "")
    # Bounds and assumed thresholds are told with the evidence.
    untold = [flag for flag in as_text(row["flags"]).split("; ") if not flag.startswith(_TOLD)]
    cautions = "; ".join(untold)
    return (
        f"{_head(row, names)} {effect} ({'; '.join(parts)})."
        + (f" Positive means: {meaning}." if meaning else "")
        + (f" Caution: {cautions}." if cautions else "")
    )


def evidence_words(row: Record) -> str:
    """Say what a pool rests on: `9 effects from 9 studies, 6 of them only bounds`."""
    k, n_studies = as_int(row["k"]), as_int(row["n_studies"])
    bounds, assumed = as_int(row["n_bounds"]), as_int(row["n_assumed"])
    if k == 0:
        return "no effect was reported"
    studies = "a single study" if n_studies == 1 else count(n_studies, "study", "studies")
    words = studies if k == 1 and n_studies == 1 else f"{count(k, 'effect')} from {studies}"
    if bounds:
        some = "" if k == 1 else "all of them " if bounds == k else f"{bounds:,} of them "
        words += f", {some}only {'a bound' if bounds == 1 else 'bounds'}"
    if bounds == k:
        words += " (no study reports a size)"
    if assumed:
        words += f", {assumed:,} with an assumed threshold"
    return words


def back_transformed(
    row: Record, value: str, low: str, high: str
) -> tuple[str, float, float, float] | None:
    """Log odds as odds ratio, Fisher z as correlation: name, value and limits; else None."""
    x = [as_float(row[c]) for c in (value, low, high)]
    scale = as_text(row["scale"])
    if scale == "log_or":
        return ("odds ratio", *(_exp(v) for v in x))  # type: ignore[return-value]
    if scale == "z":
        return ("correlation", *(math.tanh(v) for v in x))  # type: ignore[return-value]
    return None


def counts_sentence(rows: Sequence[Record]) -> str:
    """How many pooled cells have an interval above zero, below zero, or over it."""
    known = [r for r in rows if math.isfinite(as_float(r["mu_low"]))]
    above = sum(as_float(r["mu_low"]) > 0 for r in known)
    below = sum(as_float(r["mu_high"]) < 0 for r in known)
    levels = sorted({level_text(as_float(r["level"])) for r in known})
    return (
        f"Of {count(len(known), 'pooled cell')} (one mechanism in one condition, on one kind of "
        f"effect), {above} "
        f"{'has its' if above == 1 else 'have their'} {' or '.join(levels)} credible interval "
        f"above zero, {below} below zero, and {len(known) - above - below} across zero."
    )


def most_studied(rows: Sequence[Record], condition: str, most: int) -> list[Record]:
    """Return the cells of a condition with the most studies, whatever was found in them.

    Choosing by the amount of evidence, not by the answer, keeps the list from being a selection
    of what came out large.
    """
    mine = [r for r in rows if as_text(r["condition"]) == condition and as_int(r["k"])]
    mine.sort(key=lambda r: (-as_int(r["n_studies"]), -as_int(r["k"]), as_text(r["label"])))
    return mine[:most]


def _head(row: Record, names: Names) -> str:
    label, condition = as_text(row["label"]), as_text(row["condition"])
    people = names.people(condition)
    match as_text(row["estimand"]):
        case "case_control":
            return f"{label}: {people} differ from {names.reference} by"
        case "association":
            inside = first_lower(names.condition(condition))
            return f"{label}: association with {inside},"
        case "within_person":
            return f"{label}: standardised change within {people},"
        case "odds":
            # Within one sample (a risk factor, say) there is no group to compare with.
            group = as_text(row.get("comparator"))
            against = f" against {first_lower(names.condition(group))}" if group != NOBODY else ""
            return f"{label}: {people}{against if group else ''},"
    return f"{label}: {people}, pooled effect"


def _symbol(row: Record) -> str:
    symbols = {"log_or": "log odds ratio", "z": "Fisher z", "d_within": "d"}
    scale = as_text(row["scale"])
    return symbols.get(scale, scale)


def _prediction(row: Record) -> str:
    low, high = as_float(row["pred_low"]), as_float(row["pred_high"])
    if math.isnan(low) or math.isnan(high):
        return ""
    words = f"the true effect in a new study would be expected between {number(low)} and "
    words += number(high)
    back = back_transformed(row, "pred_low", "pred_low", "pred_high")
    return words + (f", as {_article(back[0])} {span(back[2], back[3])}" if back else "")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _p(row: Record) -> float:
    return as_float(row["p_positive"])


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def diagnostics_sentence(rows: Sequence[Record]) -> str:
    """The worst of the convergence checks over all reported quantities."""
    if not rows:
        return "No convergence check was recorded."
    failed = [as_text(r["quantity"]) for r in rows if not bool(r["ok"])]
    worst = max((as_float(r["r_hat"]) for r in rows), default=math.nan)
    bulk = min(as_float(r["ess_bulk"]) for r in rows)
    tail = min(as_float(r["ess_tail"]) for r in rows)
    verdict = (
        "all pass"
        if not failed
        else f"{len(failed)} {'fails' if len(failed) == 1 else 'fail'} ({', '.join(failed[:8])}"
        f"{', …' if len(failed) > 8 else ''})"
    )
    return first_upper(
        f"{count(len(rows), 'quantity', 'quantities')} checked, {verdict}; largest R-hat "
        f"{number(worst, 3)}, smallest effective sample size {number(bulk, 0)} in the bulk and "
        f"{number(tail, 0)} in the tails."
    )
