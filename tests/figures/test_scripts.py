"""Labels in Chinese, Japanese, Korean and with accents, with and without a font that has them."""

from __future__ import annotations

import warnings

import pytest

from nssi_meta.figures import DOUBLE, SINGLE, forest, forest_pages, save, save_pages
from nssi_meta.figures.text import text_width

LABELS = (
    "非自杀性自伤青少年的疼痛阈值与皮质醇反应的随机对照研究",
    "自傷行為をする若者の痛み閾値 2019",
    "비자살적 자해 청소년의 통증 역치 2021",
    "Müller-Łukasiewicz, Ångström, Nuñez, Þórðarson & Çelik 2018",
    "Gre\u0301goire, Nguyễn Thị Ánh & Đặng 2020",
)
MEASURES = (
    "热痛阈值（摄氏度）",
    "冷圧試験の持久時間（秒）",
    "통증 역치",
    "seuil à la chaleur",
    "próg",
)
#: A font that holds none of these characters leaves only DejaVu Sans in the families.
HAS_CJK = len(DOUBLE.families) > 1


@pytest.fixture
def labelled(many_rows):
    def make(n):
        rows, pools = many_rows(n)
        rows["label"] = [LABELS[i % 5] for i in range(n)]
        rows["measure"] = [MEASURES[i % 5] for i in range(n)]
        return rows, pools

    return make


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("style", [DOUBLE, SINGLE], ids=["double", "single"])
@pytest.mark.parametrize("n", [5, 20, 60])
def test_texts_of_all_scripts_keep_apart(labelled, collisions, struck, n, style):
    fig = forest(*labelled(n), style=style)
    assert collisions(fig) == []
    assert struck(fig) == []


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_two_hundred_rows_of_all_scripts_keep_apart(labelled, collisions):
    pages = forest_pages(*labelled(200))
    assert len(pages) > 2
    assert [found for page in pages for found in collisions(page)] == []


def test_a_missing_font_is_said_once_and_by_name(labelled, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save_pages(forest_pages(*labelled(200)), tmp_path / "f", ["pdf", "svg"])
    said = [str(w.message) for w in caught if "font" in str(w.message)]
    if HAS_CJK:
        assert said == []
    else:
        assert len(said) == 1
        assert "no installed font can draw" in said[0]
        assert "自" in said[0]
        assert "é" not in said[0]
        assert "Noto Sans CJK" in said[0]


def test_letters_with_accents_need_no_other_font(labelled, tmp_path):
    rows, pools = labelled(5)
    rows["label"], rows["measure"] = LABELS[3], LABELS[4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(forest(rows, pools), tmp_path / "f", ["pdf", "png"])


def test_a_combining_accent_takes_no_room():
    assert text_width("e\u0301", DOUBLE) == pytest.approx(text_width("é", DOUBLE), abs=1e-6)
