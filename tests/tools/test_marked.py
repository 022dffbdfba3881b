"""Text between markers of a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def marked():
    sys.path.insert(0, str(TOOLS))
    try:
        import marked as module
    finally:
        sys.path.remove(str(TOOLS))
    return module


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
