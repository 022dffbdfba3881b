"""Which figures stand in the page, in which section, and which are links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from markupsafe import Markup

from nssi_meta.report.names import Names, Tables
from nssi_meta.report.svg import inline

FOREST = "forest_"


@dataclass(frozen=True)
class Figure:
    """A figure as the template prints it: SVG in the page, or a link to its file."""

    key: str
    caption: str
    svg: Markup = field(default_factory=Markup)
    href: str = ""


def arrange(
    figures: Mapping[str, str], tables: Tables, names: Names, forests: int
) -> tuple[dict[str, list[Figure]], list[Figure]]:
    """Figures in the page by section, and links to the forest plots that are not in it.

    Sections: overview, overlap, model, gaps, robustness, forests (the mechanisms with the most
    rows), other.

    Raises
    ------
    ValueError
        A figure is not SVG.
    """
    rows = tables.get("rows")
    size: dict[str, int] = {}
    if rows is not None and "mechanism" in rows:
        size = {str(k): int(v) for k, v in rows["mechanism"].value_counts().items()}
    keys = [k for k in figures if k.startswith(FOREST)]
    keys.sort(key=lambda k: (-size.get(k.removeprefix(FOREST), 0), k))
    captions = {
        "overview": "Pooled effects of all mechanisms and conditions",
        "overlap_mechanisms": "Probability of each class of overlap, by mechanism",
        "overlap_summary": "Overall overlap figures beside their priors",
        "mechanism_model": "The review's model, with the strength of its evidence",
        "external": "Pools published by others beside ours",
        "gap_map": "Evidence so far, and what a further study would teach",
    }
    captions |= {k: names.mechanism(k.removeprefix(FOREST)) for k in keys}
    sections = {"overview": ["overview"], "forests": keys[:forests]}
    sections["overlap"] = ["overlap_mechanisms", "overlap_summary"]
    sections["model"] = ["mechanism_model"]
    sections["gaps"] = ["gap_map"]
    sections["robustness"] = ["external"]
    sections["other"] = [k for k in figures if k not in captions]
    drawn: dict[str, list[Figure]] = {}
    n = 0
    for section, wanted in sections.items():
        drawn[section] = []
        for key in wanted:
            if key not in figures:
                continue
            n += 1
            caption = captions.get(key, key.replace("_", " "))
            # The number keeps prefixes apart whatever the names are.
            svg = Markup(inline(figures[key], f"fig{n}-", caption))
            drawn[section].append(Figure(key, caption, svg))
    linked = [Figure(k, captions[k], href=f"figures/{quote(k)}.svg") for k in keys[forests:]]
    return drawn, sorted(linked, key=lambda f: f.caption)
