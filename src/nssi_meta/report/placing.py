"""Which figures stand in the page, in which section, and which are links."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from markupsafe import Markup

from nssi_meta.figures.records import ESTIMANDS
from nssi_meta.report.names import Names, Tables
from nssi_meta.report.svg import inline

FOREST = "forest_"
OVERVIEW = "Pooled effects by mechanism and condition"
_OTHER_OVERVIEW = "overview_"  # of one estimand


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

    Sections: overview, kinds (the overviews of other estimands), overlap, model, gaps, robustness,
    forests (the mechanisms with the most rows), other.

    Raises
    ------
    ValueError
        A figure is not SVG.
    """
    rows = tables.get("rows")
    size: dict[str, int] = {}
    if rows is not None and "mechanism" in rows:
        size = {str(k): int(v) for k, v in rows["mechanism"].value_counts().items()}
    pages = _pages(figures, {f"{FOREST}{mechanism}" for mechanism in size})
    keys = [k for k in pages if k.startswith(FOREST)]
    keys.sort(key=lambda k: (-size.get(k.removeprefix(FOREST), 0), k))
    captions = {
        "overview": OVERVIEW,
        "overlap_mechanisms": "Probability of each class of overlap, by mechanism; its counts of "
        "rows include comparisons with other patients, those of the pools do not",
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
    rest = [k for k in pages if k not in captions]
    sections["kinds"] = [k for k in rest if k.startswith(_OTHER_OVERVIEW)]
    sections["other"] = [k for k in rest if not k.startswith(_OTHER_OVERVIEW)]
    drawn: dict[str, list[Figure]] = {}
    n = 0
    for section, wanted in sections.items():
        drawn[section] = []
        for key in wanted:
            parts = pages.get(key, [])
            caption = captions.get(key, key.replace("_", " "))
            if key.startswith(_OTHER_OVERVIEW):
                estimand = key.removeprefix(_OTHER_OVERVIEW)
                caption = f"{OVERVIEW}: {ESTIMANDS.get(estimand, estimand.replace('_', ' '))}"
            for i, part in enumerate(parts, 1):
                n += 1
                told = f"{caption} ({i} of {len(parts)})" if len(parts) > 1 else caption
                # The number keeps prefixes apart whatever the names are.
                svg = Markup(inline(figures[part], f"fig{n}-", told))
                drawn[section].append(Figure(key, told, svg))
    # A pdf holds all pages of a figure, an svg one.
    files = {k: f"{quote(k)}.{'pdf' if len(pages[k]) > 1 else 'svg'}" for k in keys[forests:]}
    linked = [Figure(k, captions[k], href=f"figures/{file}") for k, file in files.items()]
    return drawn, sorted(linked, key=lambda f: f.caption.casefold())


def _pages(figures: Collection[str], known: Collection[str]) -> dict[str, list[str]]:
    """Names of figures with those of their pages, which `save_pages` numbers `name-1`, `name-2`.

    A name in `known` is a figure, whatever it ends with.
    """
    numbered: dict[str, list[tuple[int, str]]] = {}
    for key in figures:
        page = None if key in known else re.fullmatch(r"(.+)-(\d+)", key)
        stem, number = (page[1], int(page[2])) if page else (key, 0)
        numbered.setdefault(stem, []).append((number, key))
    return {stem: [key for _, key in sorted(found)] for stem, found in numbered.items()}
