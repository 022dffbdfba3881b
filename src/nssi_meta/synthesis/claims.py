"""Question 3: which claims of a review the evidence supports, contradicts or leaves open.

The rule is `RULE`. The Bayes factor against the encompassing prior is posterior over prior
probability of what the claim says (Klugkist & Hoijtink 2007, Comput Stat Data Anal 51:6367);
against its own negation it is the ratio of posterior to prior odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.evidence.claims import ONE
from nssi_meta.evidence.flow import participants
from nssi_meta.evidence.read import Evidence
from nssi_meta.models.blocks import RHO
from nssi_meta.shown import shown
from nssi_meta.synthesis.claim_pools import CellPools
from nssi_meta.synthesis.claim_readings import DOUBTFUL, Reading, Sources, readings
from nssi_meta.synthesis.pool_tables import study_labels
from nssi_meta.synthesis.pooled import Pools
from nssi_meta.synthesis.profiles import Profiles

SURE = 0.9
STRONG = 3.0
SUPPORTED, CONTRADICTED, OPEN, NOTHING = "supported", "contradicted", "open", "no evidence"

RULE = (
    f"A claim is supported when what it says has a posterior probability of at least {SURE:g} and "
    f"the evidence speaks for it (Bayes factor against its negation at least {STRONG:g}); "
    f"contradicted when its probability is at most {1 - SURE:.1g} and the Bayes factor at most "
    f"1/{STRONG:g}; open otherwise; without evidence when no usable row is about it."
)


@dataclass(frozen=True)
class Claims:
    """`table` (one row a claim) and `sensitivity` (one row a reading of a claim)."""

    table: pd.DataFrame
    sensitivity: pd.DataFrame
    converged: bool

    def __repr__(self) -> str:
        failed = "" if self.converged else " (joint model NOT CONVERGED)"
        return shown(f"{len(self.table)} claims{failed}", self.table)

    def summary(self) -> pd.DataFrame:
        """One row a claim: what it says, its probability, Bayes factors, verdict, evidence."""
        return self.table.copy()


def claims(
    frame: pd.DataFrame,
    evidence: Evidence,
    profiles: Profiles | None,
    *,
    pools: Pools | None = None,
    threshold: float = 0.2,
    rho: float = RHO,
) -> Claims:
    """Audit claims.

    Parameters
    ----------
    frame
        Claims as `read_claims` gives them.
    evidence, profiles
        The evidence and the joint model fitted to it. None where the review has one condition
        (`profiles.comparable`): claims about single means are then read from their pools, and
        claims that compare conditions have no evidence.
    pools
        Pools of the same evidence, if there are any: they need not be computed again.
    threshold
        Smallest difference that matters (delta), for claims about sharing.

    Raises
    ------
    ValueError
        If the threshold is negative.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold:g}")
    sources = Sources(profiles, CellPools(evidence, rho, pools), threshold)
    records: list[dict[str, Any]] = []
    variants: list[dict[str, Any]] = []
    against = _each_other(frame)
    for record in frame.to_dict("records"):
        claim = {str(name): value for name, value in record.items()}
        found = readings(claim, sources)
        judged = [_judged(reading) for reading in found]
        variants += [{"claim_id": claim["claim_id"], **j} for j in judged]
        records.append(_record(claim, found, judged, against.get(str(claim["claim_id"]), "")))
    table = pd.DataFrame(records)
    sensitivity = pd.DataFrame(variants, columns=["claim_id", *_JUDGED])
    return Claims(table, sensitivity, profiles is None or profiles.converged)


_JUDGED = (
    "reading", "estimand", "hypothesis", "threshold", "probability", "prior", "bayes_factor",
    "bayes_factor_not", "verdict", "estimate", "low", "high", "k", "n_studies", "n_bounds", "note",
)  # fmt: skip


def bayes_factors(probability: float, prior: float) -> tuple[float, float]:
    """Bayes factor against the encompassing prior, and against the claim's negation."""
    if not (0 < prior < 1):
        return np.nan, np.nan
    with np.errstate(divide="ignore"):
        odds = np.divide(probability, 1 - probability)
    return probability / prior, float(odds * (1 - prior) / prior)


def verdict(probability: float, bayes_factor_not: float) -> str:
    """The verdict by `RULE`; open where there is no probability (too few studies)."""
    if probability >= SURE and bayes_factor_not >= STRONG:
        return SUPPORTED
    if probability <= 1 - SURE and bayes_factor_not <= 1 / STRONG:
        return CONTRADICTED
    return OPEN


def _judged(reading: Reading) -> dict[str, Any]:
    factor, factor_not = bayes_factors(reading.probability, reading.prior)
    values = (
        reading.name, reading.estimand, reading.hypothesis, reading.threshold, reading.probability,
        reading.prior, factor, factor_not, verdict(reading.probability, factor_not),
        *reading.estimate, len(reading.rows), reading.rows["study_id"].nunique(),
        int((reading.rows["kind"] == "interval").sum()), reading.note,
    )  # fmt: skip
    return dict(zip(_JUDGED, values, strict=True))


def _record(
    claim: dict[str, Any], found: list[Reading], judged: list[dict[str, Any]], against: str
) -> dict[str, Any]:
    names = ("claim_id", "section", "kind", "statement", "mechanism", "condition",
             "other_condition", "expected", "subset")  # fmt: skip
    nothing = dict.fromkeys(_JUDGED, np.nan) | {
        "reading": "", "estimand": "", "hypothesis": "", "verdict": NOTHING, "k": 0,
        "n_studies": 0, "n_bounds": 0, "note": "no usable row is about it",
    }  # fmt: skip
    # Rows that are excluded by default carry no verdict: they are a reading beside it.
    if judged and judged[0]["reading"].startswith(DOUBTFUL):
        nothing["note"] = "only doubtful rows are about it"
        found, judged = [], []
    main = judged[0] if judged else nothing
    rows = found[0].rows if found else pd.DataFrame()
    return {
        **{name: claim[name] for name in names},
        **main,
        "n_participants": participants(rows),
        "studies": "; ".join(sorted(set(study_labels(rows)))) if len(rows) else "",
        "cited_by_review": claim["cited_by_review"],
        "disputed": _disputed(claim, against),
        "other_estimands": _others(judged),
        "sensitivity": sensitivity_text(judged),
    }


def _disputed(claim: dict[str, Any], against: str) -> str:
    """Where the review contradicts itself, as the table of claims says or shows."""
    said = str(claim["disputed_by_review"])
    if not said and claim["kind"] == "contested":
        said = "the review calls it contested"
    return "; ".join(part for part in (said, against) if part)


def _each_other(frame: pd.DataFrame) -> dict[str, str]:
    """Claims on the same mean, of which one expects more and one less."""
    one = frame[frame["kind"].isin(ONE) & frame["expected"].isin(["+", "-"])]
    out: dict[str, str] = {}
    for _, group in one.groupby(["mechanism", "condition", "subset", "kind"], sort=False):
        for claim_id, expected in zip(group["claim_id"], group["expected"], strict=True):
            rivals = group.loc[group["expected"] != expected, "claim_id"].tolist()
            if rivals:
                out[str(claim_id)] = f"{', '.join(rivals)} says the opposite"
    return out


def _others(judged: list[dict[str, Any]]) -> str:
    """Verdicts of the other estimands' pools: side by side, not mixed."""
    if not judged:
        return ""
    own = judged[0]["estimand"]
    parts = [
        f"{j['estimand']} {j['verdict']} ({j['probability']:.2f})"
        for j in judged
        if j["estimand"] != own and j["reading"].startswith(("pool", "subgroups"))
        and np.isfinite(j["probability"])
    ]  # fmt: skip
    return "; ".join(parts)


def sensitivity_text(judged: list[dict[str, Any]]) -> str:
    """Which readings of the same estimand would change the verdict."""
    if len(judged) < 2:
        return "one reading only" if judged else ""
    own = judged[0]
    rest = [j for j in judged[1:] if j["estimand"] == own["estimand"]]
    other = [j for j in rest if j["verdict"] != own["verdict"]]
    if not other:
        return f"the same in {len(rest)} further readings"
    parts = []
    for name in dict.fromkeys(j["verdict"] for j in other):
        where = [j["reading"] for j in other if j["verdict"] == name]
        far = [w.removeprefix("threshold ") for w in where if w.startswith("threshold ")]
        words = [w for w in where if not w.startswith("threshold ")]
        words += [f"threshold {', '.join(far)}"] if far else []
        parts.append(f"{name}: {'; '.join(words)}")
    return f"changes in {len(other)} of {len(rest)} ({' | '.join(parts)})"
