"""Files: same bytes every time, text kept, fonts embedded, the last good file never lost."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from nssi_meta.figures import forest, save


def test_same_figure_same_bytes(many_rows, tmp_path):
    first = save(forest(*many_rows(5)), tmp_path / "a", alt_text="x")
    second = save(forest(*many_rows(5)), tmp_path / "b", alt_text="x")
    assert [p.suffix for p in first] == [".pdf", ".svg", ".png"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix


def test_svg_is_described_and_keeps_its_text(many_rows, tmp_path):
    fig = forest(*many_rows(5))
    (path,) = save(fig, tmp_path / "f", ["svg"], title="Pain & <more>", alt_text="k = 5 > 4")
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    space = "{http://www.w3.org/2000/svg}"
    assert [child.tag for child in root][:2] == [f"{space}title", f"{space}desc"]
    assert root.find(f"{space}title").text == "Pain & <more>"
    assert root.find(f"{space}desc").text == "k = 5 > 4"
    assert root.get("role") == "img"
    texts = {node.text for node in root.iter(f"{space}text")}
    assert {"Pain threshold", "Pooled", "< −0.46"} <= texts
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    assert "ci:e0000" in ids
    assert not re.search(rb"<dc:date>", path.read_bytes())


def test_pdf_embeds_truetype_and_no_time(many_rows, tmp_path):
    (path,) = save(forest(*many_rows(5)), tmp_path / "f", ["pdf"], title="T", alt_text="D")
    data = path.read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    assert b"CreationDate" not in data
    assert b"/Title (T)" in data
    assert b"/ToUnicode" in data  # text can be selected, copied and searched


def test_unicode_description_does_not_break_png(many_rows, tmp_path):
    (path,) = save(forest(*many_rows(1)), tmp_path / "f", ["png"], title="μ −0.3", alt_text="自伤")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_failure_leaves_the_old_files(many_rows, tmp_path, monkeypatch):
    fig = forest(*many_rows(1))
    old = save(fig, tmp_path / "f")
    before = [p.read_bytes() for p in old]
    real = Figure.savefig

    def break_png(self, *args, **kwargs):
        if kwargs["format"] == "png":
            raise OSError("disk full")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", break_png)
    with pytest.raises(OSError, match="disk full"):
        save(forest(*many_rows(20)), tmp_path / "f")
    assert [p.read_bytes() for p in old] == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.pdf", "f.png", "f.svg"]


def test_stem_with_a_dot_is_kept(many_rows, tmp_path):
    (path,) = save(forest(*many_rows(1)), tmp_path / "v1.2", ["svg"])
    assert path.name == "v1.2.svg"


def test_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown format bmp; known: pdf, svg, png"):
        save(Figure(), tmp_path / "f", ["bmp"])


def test_characters_without_font_are_named_once(many_rows, tmp_path):
    rows, pools = many_rows(1)
    rows["label"] = "\N{CUNEIFORM SIGN A} 2001"
    with pytest.warns(UserWarning, match="no installed font can draw") as caught:
        save(forest(rows, pools), tmp_path / "f")
    assert len(caught) == 1
    assert "\N{CUNEIFORM SIGN A}" in str(caught[0].message)


def test_settings_of_the_process_are_left_alone(many_rows, tmp_path):
    before = dict(mpl.rcParams)
    save(forest(*many_rows(5)), tmp_path / "f")
    assert dict(mpl.rcParams) == before


def test_pyplot_is_not_imported():
    code = "import sys, nssi_meta.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
