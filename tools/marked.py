"""Text between two markers of a page, `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

WIDTH = 118  # characters a line of prose in the pages


def put(text: str, name: str, body: str) -> str:
    """Replace what stands between the two markers; a text without them, once each, is an error."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(rf"({re.escape(begin)}\n).*?({re.escape(end)})", flags=re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise SystemExit(f"the page needs {begin} and {end}, once each and in this order")
    return pattern.sub(lambda m: f"{m[1]}{body}\n{m[2]}", text)


def write_marked(page: Path, name: str, body: str) -> None:
    """The same in a file."""
    page.write_text(put(page.read_text(encoding="utf-8"), name, body), encoding="utf-8")


def wrapped(body: str) -> str:
    """The body with long lines of prose and of lists broken; rows of tables stay whole."""
    lines = []
    for line in body.split("\n"):
        indent = "  " if line.startswith("- ") else ""
        prose = line and not line.startswith("|")
        lines += _break(line, indent) if prose else [line]
    return "\n".join(lines)


def _break(line: str, indent: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
