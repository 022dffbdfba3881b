"""The model figure and the map of gaps: what is drawn is what the tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.figures import SINGLE, alt_gap_map, alt_mechanism_model, gap_map, mechanism_model
from nssi_meta.figures.model_nodes import LIMIT, shade


@pytest.fixture(scope="module")
def figure(made):
    return mechanism_model(made.model_rows(), made.stage_rows(), index_label="Index", delta=0.2)


def marks(figure):
    artists = [a for ax in figure.axes for a in [*ax.lines, *ax.patches, *ax.texts]]
    return {a.get_gid(): a for a in artists if a.get_gid()}


def words(figure):
    return [t.get_text() for ax in figure.axes for t in ax.texts]


def test_every_node_is_drawn_once_as_what_it_is(figure):
    found = marks(figure)
    for s in range(5):
        assert found[f"mu:m{s}0"].get_markerfacecolor() != "white"
        assert found[f"mu:m{s}1"].get_markerfacecolor() == "white"  # bounds only
        assert found[f"mu:m{s}2"].get_marker() == "D"  # another scale
        assert f"mu:m{s}3" not in found
        assert found[f"missing:m{s}3"].get_text() == "no study"


def test_intervals_have_the_length_of_their_numbers(made, figure):
    """Millimetres per unit are the same for all nodes that lie inside the axis."""
    table = made.model_rows().query("role == 'index'").set_index("mechanism")
    found, units = marks(figure), []
    for m, row in table.iterrows():
        inside = abs(row["mu_low"]) < LIMIT and abs(row["mu_high"]) < LIMIT
        if f"ci:{m}" in found and inside:
            x = found[f"ci:{m}"].get_xdata()
            units.append((x[1] - x[0]) / (row["mu_high"] - row["mu_low"]))
    assert len(units) == 5
    assert np.ptp(units) < 1e-9


def test_squares_say_shared_opposite_or_one_sided(figure):
    found = marks(figure)
    assert found["shared:m00/one"].get_hatch() in (None, "")
    assert found["shared:m00/two"].get_hatch()  # opposite: 0.85
    assert "one-sided:m02/one" in found
    assert "neither:m03/two" in found
    # greyscale: a larger probability is darker
    grey = [sum(int(shade(p)[i : i + 2], 16) for i in (1, 3, 5)) for p in (0, 0.3, 0.6, 1)]
    assert grey == sorted(grey, reverse=True)


def test_a_condition_without_common_mechanisms_says_so(figure):
    assert "none known in both" in words(figure)
    assert "3 [1, 4] of 4" in words(figure)


def test_a_fifth_stage_stands_below_without_an_arrow(figure):
    from matplotlib.patches import FancyArrow

    page = figure.axes[0]
    assert len([p for p in page.patches if isinstance(p, FancyArrow)]) == 3
    boxes = {g: a for g, a in marks(figure).items() if g.startswith("stage:")}
    assert len(boxes) == 5
    assert boxes["stage:stage 4"].get_y() > boxes["stage:stage 0"].get_y()


def test_a_long_label_is_never_cut(made):
    """It takes as many lines as it needs; the mechanisms below make room."""
    table = made.model_rows()
    long = "Frontolimbic white matter integrity of the uncinate fasciculus and cingulum"
    table.loc[table["mechanism"] == "m00", "label"] = long
    drawn = mechanism_model(table, made.stage_rows(), index_label="Index")
    lines = [t for t in words(drawn) if t and t in long]
    assert " ".join(lines[: len(long.split())]).startswith("Frontolimbic")
    assert not any("…" in t for t in words(drawn))
    short = mechanism_model(made.model_rows(), made.stage_rows())
    plain, tall = (
        marks(f)["mu:m01"].get_ydata()[0] - marks(f)["mu:m00"].get_ydata()[0]
        for f in (short, drawn)
    )
    assert tall > plain


def test_nothing_leaves_the_page(figure):
    figure.canvas.draw()
    box = figure.bbox
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert box.x0 - 1 <= extent.x0, text.get_text()
        assert extent.x1 <= box.x1 + 1, text.get_text()


def test_what_cannot_be_drawn_is_refused(made):
    with pytest.raises(ValueError, match="holds no row"):
        mechanism_model(made.model_rows().iloc[:0], made.stage_rows())
    with pytest.raises(ValueError, match="lacks the columns: p_shared"):
        mechanism_model(made.model_rows().drop(columns="p_shared"), made.stage_rows())
    with pytest.raises(ValueError, match="120 mm"):
        mechanism_model(made.model_rows(), made.stage_rows(), style=SINGLE)
    with pytest.raises(ValueError, match="index condition for m00"):
        mechanism_model(made.model_rows().iloc[1:], made.stage_rows())


def test_the_alternative_text_tells_chain_strength_and_gaps(made):
    text = alt_mechanism_model(made.model_rows(), index_label="Index")
    assert "5 stages: stage 0, then stage 1, then stage 2, then stage 3" in text
    assert "stage 0: 3 of 4 mechanisms studied" in text
    assert "Mechanism 00 0.40 [0.10, 0.70], shared with One (0.90)" in text
    assert "no study of Mechanism 03" in text


# ---------------------------------------------------------------- gaps


def test_every_cell_has_its_evidence_and_its_gain(made):
    figure = gap_map(made.gap_rows(), order=["index", "one", "two"])
    found, text = marks(figure), words(figure)
    assert sum(g.startswith("known:") for g in found) == 18
    assert sum(g.startswith("gain:") for g in found) == 18
    assert "bounds:m0/index" not in found  # no study, no bounds
    assert text.count("–") == 6
    assert "1 · 9000" in text
    assert "2 · 18.0k" in text
    assert "0.52 #1" in text
    heads = [t for t in text if t in ("Index", "One", "Two")]
    assert heads == ["Index", "One", "Two"] * 2


def test_half_bounds_are_half_a_bar(made):
    found = marks(gap_map(made.gap_rows()))
    bar, cell = found["bounds:m3/one"], found["known:m3/one"]
    assert bar.get_width() == pytest.approx(cell.get_width() / 2)


def test_only_the_most_instructive_mechanisms_are_drawn(made):
    figure = gap_map(made.gap_rows(), most=2)
    shown = {g.split(":")[1].split("/")[0] for g in marks(figure) if g.startswith("gain:")}
    assert shown == {"m4", "m5"}
    assert any("Not drawn: 4 mechanisms" in t for t in words(figure))


def test_what_is_no_map_is_refused(made):
    with pytest.raises(ValueError, match="holds no row"):
        gap_map(made.gap_rows().iloc[:0])
    with pytest.raises(ValueError, match="a cell twice"):
        gap_map(pd.concat([made.gap_rows(), made.gap_rows()]))
    with pytest.raises(ValueError, match="120 mm"):
        gap_map(made.gap_rows(), style=SINGLE)


def test_the_alternative_text_ranks_studies(made):
    text = alt_gap_map(made.gap_rows())
    assert "18 cells of mechanism and condition, 6 of them without a study" in text
    assert "1. Mechanism 5 in Two (0.52 bits, 2 studies so far)" in text
