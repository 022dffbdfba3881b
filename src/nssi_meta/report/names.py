"""Labels of conditions and mechanisms, all of them from the manifest and the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from nssi_meta.report.values import as_float, as_text, first_lower

Tables = Mapping[str, pd.DataFrame]
Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Names:
    """What things are called in sentences; ids without a label read as words."""

    labels: dict[str, str] = field(default_factory=dict)
    phrases: dict[str, str] = field(default_factory=dict)
    shorts: dict[str, str] = field(default_factory=dict)
    mechanisms: dict[str, str] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    index: str = ""
    reference: str = "the reference group"
    level: float = math.nan
    delta: float = math.nan

    def condition(self, key: str) -> str:
        """Label of a condition, as in a heading."""
        return self.labels.get(key) or key.replace("_", " ")

    def people(self, key: str) -> str:
        """Person-first phrase for those who have a condition: `people with depression`."""
        if self.phrases.get(key):
            return self.phrases[key]
        label = self.condition(key)
        if label.casefold().startswith(("people ", "adults ", "adolescents ")):
            return first_lower(label)
        return f"people with {first_lower(label)}"

    def short(self, key: str) -> str:
        """Short name of a condition."""
        return self.shorts.get(key) or self.condition(key)

    def mechanism(self, key: str) -> str:
        """Label of a mechanism."""
        return self.mechanisms.get(key) or key.replace("_", " ")


def read_names(tables: Tables, manifest: Manifest) -> Names:
    """Collect labels.

    `manifest["conditions"]` (a list of rows of conditions.csv) comes first, then the label columns
    of the tables. The index condition is the one whose role is `index`; without roles, the one
    that the overlap tables compare the others with. A table `mechanisms` (rows of mechanisms.csv)
    is used where it is given: it says what a positive effect means.
    """
    labels, mechanisms = _labels(tables)
    listed = [dict(c) for c in manifest.get("conditions") or ()]
    ids = [as_text(c.get("id")) for c in listed]
    labels |= {i: as_text(c.get("label")) for i, c in zip(ids, listed, strict=True)}
    roles = {i: as_text(c.get("role")) for i, c in zip(ids, listed, strict=True)}
    reference = next((i for i in ids if roles[i] == "reference"), None)
    index = next((i for i in ids if roles[i] == "index"), "") or _index(tables)
    meanings = {}
    vocabulary = tables.get("mechanisms")
    if vocabulary is not None and not vocabulary.empty:
        keys = [as_text(m) for m in vocabulary["mechanism"]]
        if "label" in vocabulary:
            named = zip(keys, map(as_text, vocabulary["label"]), strict=True)
            mechanisms = {k: v for k, v in named if v} | mechanisms
        if "positive_means" in vocabulary:
            said = zip(keys, map(as_text, vocabulary["positive_means"]), strict=True)
            meanings = {k: v for k, v in said if v}
    # Columns of the file are in the order in which a reader should meet the conditions.
    ordered = {i: labels[i] for i in ids if labels.get(i)} | labels
    return Names(
        labels=ordered,
        phrases={i: as_text(c.get("people")) for i, c in zip(ids, listed, strict=True)},
        shorts={i: as_text(c.get("short")) for i, c in zip(ids, listed, strict=True)},
        mechanisms=mechanisms,
        meanings=meanings,
        index=index,
        reference=first_lower(labels[reference]) if reference else "the reference group",
        level=as_float(manifest.get("level")),
        delta=threshold(manifest),
    )


def threshold(manifest: Manifest) -> float:
    """Smallest effect that counts as altered: `manifest["thresholds"]["delta"]`, NaN if unsaid."""
    said = manifest.get("thresholds")
    if isinstance(said, Mapping):
        said = said.get("delta")
    return as_float(said) if isinstance(said, int | float) else math.nan


def _labels(tables: Tables) -> tuple[dict[str, str], dict[str, str]]:
    conditions: dict[str, str] = {}
    mechanisms: dict[str, str] = {}
    wanted = (
        ("condition", "condition_label", conditions),
        ("other", "other_label", conditions),
        ("mechanism", "label", mechanisms),
    )
    for name in ("pools", "profiles", "overlap_mechanisms", "overlap_summary"):
        table = tables.get(name)
        if table is None:
            continue
        for key, label, found in wanted:
            if key in table and label in table:
                pairs = table[[key, label]].drop_duplicates()
                for k, v in zip(pairs[key], pairs[label], strict=True):
                    if as_text(v):
                        found.setdefault(as_text(k), as_text(v))
    return conditions, mechanisms


def _index(tables: Tables) -> str:
    others: set[str] = set()
    for name in ("overlap_summary", "overlap_mechanisms"):
        table = tables.get(name)
        if table is not None and "other" in table:
            others |= set(map(as_text, table["other"]))
    for name in ("profiles", "pools"):
        table = tables.get(name)
        if others and table is not None and "condition" in table:
            left = [c for c in map(as_text, table["condition"].unique()) if c not in others]
            if len(left) == 1:
                return left[0]
    return ""
