"""Text between two markers of a page, `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""

from __future__ import annotations

import re
from pathlib import Path


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
