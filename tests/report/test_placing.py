"""Figures stand in their section with all their pages."""

from __future__ import annotations

from nssi_meta.report.names import read_names
from nssi_meta.report.page import build
from nssi_meta.report.placing import arrange


def test_all_pages_of_a_figure_stand_in_its_section(tables, facts, figures, read_page):
    """A pdf holds all pages of a forest plot that is linked; the order is that of the numbers."""
    svg = figures.pop("overview")
    for i in (10, 2, 1):
        figures[f"overview-{i}"] = svg
    most = tables["rows"]["mechanism"].value_counts()
    figures[f"forest_{most.index[0]}-1"] = figures[f"forest_{most.index[0]}-2"] = figures.pop(
        f"forest_{most.index[0]}"
    )
    last = most.index[-1]
    figures[f"forest_{last}-1"] = figures[f"forest_{last}-2"] = figures.pop(f"forest_{last}")
    page = read_page(build(tables, facts, figures, forests=4))
    assert page.faults == []
    captions = [f"Pooled effects by mechanism and condition ({i} of 3)" for i in (1, 2, 3)]
    places = [page.text.index(caption) for caption in captions]
    assert places == sorted(places)
    assert "(1 of 2)" in page.text
    assert "(2 of 2)" in page.text
    links = [h for h in page.values("href") if h.startswith("figures/forest_")]
    assert f"figures/forest_{last}.pdf" in links
    assert len(links) == len(most) - 4


def test_overviews_of_other_estimands_are_named_in_words(tables, figures):
    figures["overview_within_person"] = figures["overview"]
    drawn, _ = arrange(figures, tables, read_names(tables, {}), 100)
    captions = {f.key: f.caption for f in drawn["kinds"]}
    assert captions["overview_within_person"] == (
        "Pooled effects by mechanism and condition: change within persons"
    )


def test_a_mechanism_whose_name_ends_with_a_number_is_no_page(tables, figures):
    odd = tables["rows"]["mechanism"].iloc[0]
    tables["rows"]["mechanism"] = tables["rows"]["mechanism"].replace(odd, "il-6")
    figures["forest_il-6"] = figures.pop(f"forest_{odd}")
    drawn, linked = arrange(figures, tables, read_names(tables, {}), 100)
    assert "forest_il-6" in [f.key for f in drawn["forests"]]
    assert linked == []
