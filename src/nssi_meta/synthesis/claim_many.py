"""Claims about many mechanisms at once: a system is shared; one condition overlaps most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.subset import parse_subset
from nssi_meta.synthesis.claim_events import share_of_draws
from nssi_meta.synthesis.overlap_figures import overlap_figures

if TYPE_CHECKING:
    from nssi_meta.synthesis.claim_readings import Reading, Sources

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A system counts as shared when more than this part of what is altered in either is shared.
MOST = 0.5


def many_readings(claim: dict[str, Any], sources: Sources) -> Iterator[Reading]:
    """Readings of a claim of kind system_overlap or ranking; none without evidence in both arms."""
    if sources.fitted is None:
        return
    chosen = _chosen(claim, sources)
    if claim["kind"] == "system_overlap":
        yield from _system(claim, chosen, sources)
    else:
        yield from _ranking(claim, chosen, sources)


def _chosen(claim: dict[str, Any], sources: Sources) -> Bools:
    """Mechanisms (M,) of the joint model that the claim is about."""
    data, table = sources.profiles.data, sources.profiles.mechanisms
    frame = table.set_index("mechanism").reindex(data.mechanisms)
    keep = np.ones(len(frame), dtype=bool)
    for clause in parse_subset(claim["subset"]):
        keep &= clause.mask(frame).to_numpy()
    return keep


def _known(sources: Sources, condition: str) -> Bools:
    return np.array([(m, condition) in sources.anchored for m in sources.profiles.data.mechanisms])


def _reading(
    name: str, words: str, threshold: float, posterior: Bools, prior: Bools, rows: pd.DataFrame,
    estimate: tuple[float, float, float], note: str,
) -> Reading:  # fmt: skip
    from nssi_meta.synthesis.claim_readings import JOINT_ESTIMAND, Reading

    p, before = share_of_draws(posterior), share_of_draws(prior)
    return Reading(name, JOINT_ESTIMAND, words, threshold, p, before, rows, estimate, note)


def _thresholds(delta: float) -> list[float]:
    from nssi_meta.synthesis.claim_readings import THRESHOLDS

    return [delta, *(t for t in THRESHOLDS if t != delta)]


def _system(claim: dict[str, Any], chosen: Bools, sources: Sources) -> Iterator[Reading]:
    """Jaccard index of the mechanisms of the named systems above (-: not above) one half."""
    data = sources.profiles.data
    arms = [claim["condition"], claim["other_condition"]]
    if not set(arms) <= set(data.conditions):
        return
    both = chosen & _known(sources, arms[0]) & _known(sources, arms[1])
    if not both.any():
        return
    i, j = (data.conditions.index(a) for a in arms)
    mu, prior = sources.profiles.draws("mu"), sources.prior
    above = claim["expected"] == "+"
    names = [m for m, k in zip(data.mechanisms, both, strict=True) if k]

    def jaccard(draws: Floats, some: Bools, t: float) -> Floats:
        return overlap_figures(draws[:, some, i], draws[:, some, j], t)["jaccard"]

    def read(name: str, some: Bools, t: float) -> Reading:
        own, before = jaccard(mu, some, t), jaccard(prior, some, t)
        words = f"{'more' if above else 'not more'} than half of what is beyond {t:g} is shared"
        hit, chance = ((x > MOST) if above else (x <= MOST) for x in (own, before))
        listed = [m for m, k in zip(data.mechanisms, some, strict=True) if k]
        rows = sources.joint_rows(listed, arms)
        note = f"{len(listed)} mechanism{'s' if len(listed) > 1 else ''} with evidence in both"
        return _reading(name, words, t, hit, chance, rows, sources.quantiles(own), note)

    for t in _thresholds(sources.delta):
        yield read("joint model" if t == sources.delta else f"threshold {t:g}", both, t)
    if len(names) > 1:
        for name in names:
            some = both & (np.array(data.mechanisms) != name)
            yield read(f"without {name}", some, sources.delta)


def _ranking(claim: dict[str, Any], chosen: Bools, sources: Sources) -> Iterator[Reading]:
    """The overlap with `other_condition` is the largest (-: smallest) of all conditions."""
    data = sources.profiles.data
    index, best = claim["condition"], claim["other_condition"]
    if index not in data.conditions:
        return
    known = {c: chosen & _known(sources, index) & _known(sources, c) for c in data.conditions}
    rivals = [c for c in data.conditions if c != index and known[c].any()]
    if best not in rivals or len(rivals) < 2:
        return
    common: Bools = np.all([known[c] for c in rivals], axis=0)
    i = data.conditions.index(index)
    sets = [sources.profiles.draws("mu"), sources.prior]
    sign = 1 if claim["expected"] == "+" else -1
    rows = sources.joint_rows(
        [m for m, k in zip(data.mechanisms, known[best], strict=True) if k], [index, best]
    )
    counts = ", ".join(f"{c} {int(known[c].sum())}" for c in rivals)

    def figure(mu: Floats, c: str, some: Bools, name: str) -> Floats:
        j = data.conditions.index(c)
        return overlap_figures(mu[:, some, i], mu[:, some, j], sources.delta)[name]

    for name, words, masks, what in (
        ("joint model", "magnitude overlap", known, "magnitude"),
        ("Jaccard index", "Jaccard index", known, "jaccard"),
        ("common mechanisms", "magnitude overlap on mechanisms known in all",
         dict.fromkeys(rivals, common), "magnitude"),
    ):  # fmt: skip
        if not all(masks[c].any() for c in rivals):
            continue
        hit, chance = (
            _ahead([sign * figure(mu, c, masks[c], what) for c in rivals], rivals.index(best))
            for mu in sets
        )
        own = figure(sets[0], best, masks[best], what)
        most = "largest" if sign > 0 else "smallest"
        yield _reading(name, f"{words} is the {most} of {len(rivals)}", sources.delta, hit, chance,
                       rows, sources.quantiles(own), f"mechanisms: {counts}")  # fmt: skip


def _ahead(figures: list[Floats], best: int) -> Bools:
    """Whether the figure at position `best` exceeds every other, per draw."""
    rest = np.max([f for i, f in enumerate(figures) if i != best], axis=0)
    return np.asarray(figures[best] > rest)
