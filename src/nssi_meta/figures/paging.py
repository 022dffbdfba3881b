"""Long figures cut into pages that can be printed: which mechanisms stand on which page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PAGE_HEIGHT = 240.0  # mm; leaves margins and a caption on A4 (297 mm) and on letter (279 mm)
ROUNDING = 1e-6  # mm by which a sum of heights may be off
STEP = 1.0  # mm by which pages are made lower while that costs none


def split_pages(
    systems: Mapping[str, Sequence[tuple[str, float]]], room: float, head: float
) -> list[list[str]]:
    """Put mechanisms on as few pages as `room` mm of height allow, the pages about equally long.

    A system is broken only if it is taller than a page; its heading then stands on each part.

    Parameters
    ----------
    systems
        Per system the mechanisms in their order, each with its height in mm.
    room
        Height in mm that a page leaves for mechanisms and headings.
    head
        Height in mm of the heading of a system.

    Returns
    -------
    list of list of str
        The mechanisms of each page; at least one a page, however tall it is.
    """
    heights = [head + sum(height for _, height in rows) for rows in systems.values()]
    room = min(room, sum(heights)) + ROUNDING
    pages = _fill(systems, room, head)
    while room - STEP >= max(heights) and len(_fill(systems, room - STEP, head)) == len(pages):
        room -= STEP
    return _fill(systems, room, head)


def _fill(
    systems: Mapping[str, Sequence[tuple[str, float]]], room: float, head: float
) -> list[list[str]]:
    pages: list[list[str]] = [[]]
    used = 0.0
    for rows in systems.values():
        if pages[-1] and used + head + sum(height for _, height in rows) > room:
            pages.append([])
            used = 0.0
        used += head
        for mechanism, height in rows:
            if pages[-1] and used + height > room:
                pages.append([])
                used = head
            pages[-1].append(mechanism)
            used += height
    return pages
