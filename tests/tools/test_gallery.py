"""The gallery shows what its lines draw: text and pictures are there, short and small."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from nssi_meta import figures

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("gallery", ROOT / "tools" / "gallery.py")
gallery = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gallery)
PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(gallery.ENTRIES))
def test_each_picture_stands_over_the_few_lines_that_drew_it(name):
    title, code = gallery.ENTRIES[name]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    assert all(len(line) <= 100 for line in code.splitlines())
    picture = PAGE.index(f"](img/gallery/{name}.png)")
    assert PAGE.index(f"## {title}\n") < picture < PAGE.index(code)
    size = (ROOT / "docs" / "img" / "gallery" / f"{name}.png").stat().st_size
    assert 3_000 < size < 80_000


def test_pictures_without_entry_are_not_kept():
    found = {p.stem for p in (ROOT / "docs" / "img" / "gallery").iterdir()}
    assert found == set(gallery.ENTRIES)


def test_the_gallery_shows_every_figure_that_pools_alone_can_fill():
    shown = " ".join(code for _, code in gallery.ENTRIES.values())
    drawn = {n for n in figures.__all__ if not n.startswith(("alt_", "save")) and n.islower()}
    # these need the joint model, pools of others, a regression, simulated ranks, or are parts
    drawn -= {"overlap_mechanisms", "overlap_summary", "mechanism_model", "gap_map", "external"}
    drawn -= {"bubble", "calibration"}
    drawn -= {"forest_pages", "forest_table", "overlap_pages", "overlap_parts"}
    drawn -= {"overview"}  # shown by one of its pages
    assert {n for n in drawn if f"fig.{n}(" not in shown} == set()
