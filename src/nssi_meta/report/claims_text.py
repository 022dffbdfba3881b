"""The review's claims, and the studies that would teach most, as tables of the page."""

from __future__ import annotations

import math
from collections import Counter

from nssi_meta.report.columns import Column, Table, integer, make_table, real, text, words
from nssi_meta.report.names import Tables
from nssi_meta.report.values import (
    as_float,
    as_text,
    enumerate_words,
    factor,
    first_lower,
    number,
    probability,
    records,
)
from nssi_meta.synthesis.claims import SURE

CLAIM_COLUMNS = (
    "claim_id", "statement", "probability", "bayes_factor", "bayes_factor_not", "verdict",
    "estimand", "k", "n_studies", "n_bounds", "sensitivity", "disputed",
)  # fmt: skip
GAP_COLUMNS = (
    "rank", "label", "condition_label", "gain_bits", "gain_se", "n_studies", "n_participants",
    "because",
)  # fmt: skip
#: Verdicts in the order in which they are told.
VERDICTS = ("supported", "contradicted", "open", "no evidence")
#: How many of the studies that would teach most stand on the page.
MOST_GAPS = 15


def claims_sentence(tables: Tables) -> str:
    """How many claims got which verdict; empty without claims."""
    rows = records(tables.get("claims"), CLAIM_COLUMNS, "claims")
    if not rows:
        return ""
    n = Counter(as_text(r["verdict"]) for r in rows)
    told = [f"{n[v]} {v.replace('no evidence', 'without evidence')}" for v in VERDICTS if n[v]]
    disputed = sum(bool(as_text(r["disputed"])) for r in rows)
    also = f" The review itself disputes {disputed} of them." if disputed else ""
    noun = "claim" if len(rows) == 1 else "claims"
    return f"Of {len(rows)} {noun} of the review: {enumerate_words(told)}.{also}"


def claims_table(tables: Tables) -> Table | None:
    """Every claim with its probability, verdict and evidence."""
    rows = records(tables.get("claims"), CLAIM_COLUMNS, "claims")
    columns = [
        Column("Claim", lambda r: f"{as_text(r['claim_id'])}: {as_text(r['statement'])}", False),
        text("Verdict", "verdict"),
        Column("Probability", lambda row: claim_probability(as_float(row["probability"]))),
        Column("Bayes factor against its negation", lambda r: _factor(r["bayes_factor_not"])),
        Column("Bayes factor against any value", lambda r: _factor(r["bayes_factor"])),
        text("Evidence", "estimand", words),
        integer("Effects", "k"),
        integer("Studies", "n_studies"),
        integer("Only bounds", "n_bounds"),
        text("Other readings", "sensitivity"),
        text("Disputed", "disputed"),
    ]
    return (
        make_table("Claims of the review, verdicts and evidence", columns, rows) if rows else None
    )


def claim_probability(p: float) -> str:
    """Print the probability of a claim; one that rounds to a limit of the rule has a digit more.

    Otherwise `0.90, open` would stand beside a rule that says 0.9.
    """
    if math.isnan(p):
        return "–"
    near = any(abs(p - limit) < 0.005 for limit in (SURE, 1 - SURE))
    return number(p, 3) if near else probability(p)


def _factor(value: object) -> str:
    x = as_float(value)
    return "–" if math.isnan(x) else factor(x)


def _error(x: float) -> str:
    """Print a Monte Carlo error: one that is there is not 0."""
    return "< 0.01" if 0.0 < x < 0.005 else number(x)


def next_study(tables: Tables) -> str:
    """The study that would teach most, and why; empty without the table of gaps."""
    rows = records(tables.get("gaps"), GAP_COLUMNS, "gaps")
    if not rows:
        return ""
    best = rows[0]
    return (
        f"Study {first_lower(as_text(best['label']))} in "
        f"{first_lower(as_text(best['condition_label']))} next, "
        f"because: {as_text(best['because'])}."
    )


def gaps_table(tables: Tables) -> Table | None:
    """The studies that would teach most, the best first."""
    rows = records(tables.get("gaps"), GAP_COLUMNS, "gaps")[:MOST_GAPS]
    columns: list[Column] = [
        text("Mechanism", "label"),
        text("Condition", "condition_label"),
        real("Expected gain (bits)", "gain_bits"),
        Column("its Monte Carlo error", lambda r: _error(as_float(r["gain_se"]))),
        integer("Studies so far", "n_studies"),
        integer("People so far", "n_participants"),
        text("Because", "because"),
    ]
    caption = f"The {len(rows)} further studies expected to teach most about overlap"
    return make_table(caption, columns, rows) if rows else None
