"""Which mechanisms stand on which page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nssi_meta.figures.paging import split_pages

HEAD, ROOM = 5.0, 60.0


def systems_of(sizes: list[list[float]]) -> dict[str, list[tuple[str, float]]]:
    return {f"s{i}": [(f"m{i}.{j}", h) for j, h in enumerate(rows)] for i, rows in enumerate(sizes)}


def height(page: list[str], systems: dict[str, list[tuple[str, float]]]) -> float:
    rows = {m: (s, h) for s, listed in systems.items() for m, h in listed}
    return HEAD * len({rows[m][0] for m in page}) + sum(rows[m][1] for m in page)


@given(st.lists(st.lists(st.floats(2.0, 12.0), min_size=1, max_size=12), min_size=1, max_size=8))
def test_every_mechanism_once_in_order_and_no_page_too_tall(sizes):
    systems = systems_of(sizes)
    pages = split_pages(systems, ROOM, HEAD)
    assert [m for page in pages for m in page] == [m for rows in systems.values() for m, _ in rows]
    assert all(pages)
    assert max(height(page, systems) for page in pages) <= ROOM + 1e-5
    for rows in systems.values():  # whole where it fits on a page
        if HEAD + sum(h for _, h in rows) <= ROOM:
            assert sum(any(m in page for m, _ in rows) for page in pages) == 1


def test_pages_are_about_equally_long():
    """Filled to the brim, the last page would hold one system of six."""
    systems = systems_of([[5.0]] * 12)
    assert [len(p) for p in split_pages(systems, 110.0, HEAD)] == [6, 6]
    assert len(split_pages(systems, 120.0, HEAD)) == 1


def test_what_is_taller_than_a_page_still_gets_one():
    assert split_pages(systems_of([[500.0], [3.0]]), ROOM, HEAD) == [["m0.0"], ["m1.0"]]
    assert split_pages(systems_of([[3.0, 3.0]]), -10.0, HEAD) == [["m0.0"], ["m0.1"]]
