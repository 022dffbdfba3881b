"""Lines of pages that tools write."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def marked(script):
    return script("tools", "marked")


def test_prose_is_broken_and_tables_are_not(marked):
    long = "word " * 60
    body = f"| {long}|\n\n- {long.strip()}\n{long.strip()}\n"
    lines = marked.wrapped(body).split("\n")
    assert lines[0] == f"| {long}|"
    assert lines[1] == ""
    assert lines[2].startswith("- word")
    assert lines[3].startswith("  word")  # still the same item of the list
    assert max(map(len, lines[1:])) <= marked.WIDTH
    assert marked.wrapped(body).split() == body.split()
    assert marked.wrapped(marked.wrapped(body)) == marked.wrapped(body)


@pytest.mark.parametrize("name", ["overlap.md", "own_review.md"])
def test_pages_of_overlap_have_no_long_line_of_prose(name):
    lines = (ROOT / "docs" / name).read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "!["))] == []


@pytest.mark.parametrize("old", ["", "old\n", "old\n\nolder \\1\n"])
def test_a_block_is_replaced_and_the_rest_of_the_page_stays(marked, tmp_path, old):
    page = tmp_path / "page.md"
    page.write_text(f"a\n<!-- x:begin -->\n{old}<!-- x:end -->\nb\n")
    marked.write_marked(page, "x", "new \\1")
    assert page.read_text() == "a\n<!-- x:begin -->\nnew \\1\n<!-- x:end -->\nb\n"


@pytest.mark.parametrize(
    "page",
    [
        "no markers",
        "<!-- x:begin -->\nnever ended",
        "<!-- x:end -->\n<!-- x:begin -->\n",
        2 * "<!-- x:begin -->\nold\n<!-- x:end -->\n",
    ],
)
def test_a_page_without_the_block_once_is_an_error(marked, page):
    with pytest.raises(SystemExit, match="<!-- x:begin --> and <!-- x:end -->, once each"):
        marked.put(page, "x", "new")
