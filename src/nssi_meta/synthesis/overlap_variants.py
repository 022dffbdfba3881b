"""Overlap under other choices: other rows, heavy tails, selective reporting.

Each variant is a new fit of the joint model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.inference.nuts import Settings
from nssi_meta.synthesis.overlap import overlap
from nssi_meta.synthesis.profiles import Profiles, fit_profiles

Change = Callable[[Evidence], Evidence]

#: Degrees of freedom of the variant with heavy tails: low enough to matter, variance finite.
TAILS = 4.0


def without_system(name: str) -> Change:
    """Leave out every mechanism of a system."""

    def change(evidence: Evidence) -> Evidence:
        table = evidence.mechanisms
        if name not in set(table["system"]):
            known = ", ".join(dict.fromkeys(table["system"]))
            raise ValueError(f"no system {name!r} in mechanisms.csv; it has {known}")
        gone = table.loc[table["system"] == name, "mechanism"]
        return replace(evidence, rows=evidence.rows[~evidence.rows["mechanism"].isin(gone)])

    return change


def with_doubtful(evidence: Evidence) -> Evidence:
    """Use rows of status doubtful too."""
    return evidence.select(doubtful=True)


def exact_only(evidence: Evidence) -> Evidence:
    """Leave out bounds and sizes without a sign."""
    return replace(evidence, rows=evidence.rows[evidence.rows["kind"] == "exact"])


def controls_apart(evidence: Evidence) -> Evidence:
    """Ignore that studies share comparison groups: every row gets one of its own.

    This is what a naive analysis does; shared controls correlate the errors of two conditions and
    can pass for overlap.
    """
    rows = evidence.rows
    has = rows["control_id"].astype("str").str.strip() != ""
    own = rows["control_id"].where(~has, rows["effect_id"].astype("str") + ":controls")
    return replace(evidence, rows=rows.assign(control_id=own))


def as_it_is(evidence: Evidence) -> Evidence:
    """The rows as they are."""
    return evidence


@dataclass(frozen=True)
class Variant:
    """Other rows (`change`), other options of `fit_profiles` (`fit`), or both."""

    change: Change = as_it_is
    fit: Mapping[str, Any] = field(default_factory=dict)


#: Heavy tails make the posterior steep in places: smaller steps from the start.
_SMALL_STEPS = Settings(draws=2000, tune=1500, target_accept=0.99)
#: The main analysis among the variants, to be compared with.
BASE = "as it is"
VARIANTS: dict[str, Variant] = {
    "heavy tails": Variant(fit={"tails": TAILS, "settings": _SMALL_STEPS}),
    "selective reporting": Variant(fit={"selective": True}),
    "with doubtful rows": Variant(with_doubtful),
    "exact rows only": Variant(exact_only),
    "shared controls ignored": Variant(controls_apart),
}


def fits(
    evidence: Evidence,
    variants: Mapping[str, Change | Variant] | Iterable[str] = VARIANTS,
    *,
    threshold: float = 0.2,
    seed: int = 20220701,
    settings: Settings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Evidence, Profiles]]:
    """The joint model under each variant, one fit after the other: name, its rows, its posterior.

    Arguments as in `overlap_variants`, and raises the same.
    """
    chosen: Mapping[str, Change | Variant]
    if isinstance(variants, Mapping):
        chosen = variants
    else:
        variants = list(variants)
        unknown = [name for name in variants if name not in VARIANTS]
        if unknown:
            raise ValueError(f"no variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")
        chosen = {name: VARIANTS[name] for name in variants}
    for name, choice in chosen.items():
        if progress is not None:
            progress(name)
        variant = choice if isinstance(choice, Variant) else Variant(choice)
        rows = variant.change(evidence)
        how = dict(variant.fit) if settings is None else {**variant.fit, "settings": settings}
        yield name, rows, fit_profiles(rows, delta=threshold, seed=seed, **how)


def overlap_variants(
    evidence: Evidence,
    variants: Mapping[str, Change | Variant] | Iterable[str] = VARIANTS,
    *,
    threshold: float = 0.2,
    seed: int = 20220701,
    settings: Settings | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """The `overlap_summary` table under each variant, one after the other (a minute each).

    `variants` are names of `VARIANTS`, or a mapping of names to `Variant`s or to changes of the
    rows such as `{"without pain": without_system("pain")}`. The column `variant` names them,
    `converged` says whether the fit passed its checks. Raises ValueError for an unknown name.
    """
    parts = []
    for name, _, profiles in fits(
        evidence, variants, threshold=threshold, seed=seed, settings=settings, progress=progress
    ):
        table = overlap(profiles, threshold).figures.assign(converged=profiles.converged)
        table.insert(0, "variant", name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def changed_verdicts(found: pd.DataFrame, keys: Sequence[str], base: str) -> pd.DataFrame:
    """Rows of `found` (column `variant`) whose `verdict` differs from that of the variant `base`.

    `keys` name a row within a variant, such as `("mechanism", "other")`. The column `before` is
    the verdict of `base`; a row that only one of the two has counts as changed, with the verdict
    "" where it is missing.
    """
    first = found.loc[found["variant"] == base, [*keys, "verdict"]]
    parts = []
    for name, group in found[found["variant"] != base].groupby("variant", sort=False):
        both = group.merge(first.rename(columns={"verdict": "before"}), on=list(keys), how="outer")
        both = both.assign(variant=name).fillna({"verdict": "", "before": ""})
        parts.append(both[both["verdict"] != both["before"]])
    columns = ["variant", *keys, "before", "verdict"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]
