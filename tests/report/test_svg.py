"""Figures that stand together in one page do not disturb each other."""

from __future__ import annotations

import re

import pytest

from nssi_meta.report.svg import inline


def test_ids_and_everything_that_points_to_them_get_the_prefix(svg: str):
    out = inline(svg, "fig7-", "A figure")
    ids = set(re.findall(r'\bid="([^"]+)"', out))
    assert len(ids) == 5
    assert all(i.startswith("fig7-") for i in ids)
    pointed = set(re.findall(r"url\(#([^)]+)\)", out)) | set(re.findall(r'href="#([^"]+)"', out))
    pointed |= set(re.search(r'aria-labelledby="([^"]+)"', out)[1].split())
    assert len(pointed) == 4
    assert pointed <= ids


def test_style_rules_hold_for_the_figure_alone(svg: str):
    css = re.search(r"<style[^>]*>([^<]*)</style>", inline(svg, "f-", ""))[1]
    selectors = [s.strip() for rule in css.split("}") for s in rule.split("{")[0].split(",")]
    assert [s for s in selectors if s] == ["#f-svg *", "#f-svg .a", "#f-svg text"]
    assert "stroke-linejoin: round" in css


def test_scripts_handlers_metadata_and_links_to_elsewhere_are_taken_out(svg: str):
    out = inline(svg, "f-", "A figure")
    for gone in ("script", "alert", "onclick", "metadata", "example.org", "<?xml", "xmlns"):
        assert gone not in out
    assert "What &lt;it&gt; shows" in out


def test_a_figure_without_title_is_named_by_its_label():
    out = inline('<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>', "f-", 'Pain "x" & <y>')
    assert 'role="img"' in out
    assert 'aria-label="Pain &quot;x&quot; &amp; &lt;y&gt;"' in out


@pytest.mark.parametrize("text", ["", "<svg>", "<html></html>", "a plot"])
def test_what_is_not_svg_is_refused_by_name(text: str):
    with pytest.raises(ValueError, match="forest_pain"):
        inline(text, "f-", "forest_pain")
