"""The figure of predictive checks: bars are shares of drawn values, the line is the observed."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta import figures as fig
from nssi_meta.figures.predictive import bin_edges, shares_of


@pytest.fixture(scope="module")
def tables(made):
    return made.predictive_tables()


@pytest.mark.parametrize("style", [fig.DOUBLE, fig.SINGLE], ids=["double", "single"])
def test_texts_do_not_collide(tables, style, collisions):
    assert collisions(fig.predictive(*tables, style=style)) == []


def test_the_drawing_is_the_table(tables, artists, xs):
    checks, drawn = tables
    shown = artists(fig.predictive(checks, drawn))
    for name, seen in (("spread", 0.5), ("significant", 0.8)):
        assert xs(shown[f"observed:{name}"]) == [seen, seen]
        values = drawn[drawn["statistic"] == name]
        edges = bin_edges(values["value"].to_numpy(), seen)
        for source in ("prior", "posterior"):
            own = values.loc[values["source"] == source, "value"].to_numpy()
            mark = shown[f"{source}:{name}"]
            xy = mark.get_xy() if source == "prior" else mark.get_xydata()
            heights = np.asarray(xy)[1 : 2 * (len(edges) - 1) : 2, 1]
            np.testing.assert_allclose(heights, shares_of(own, edges))
            assert heights.sum() == pytest.approx(1.0)


def test_few_values_have_a_bar_each():
    values = np.array([0.0, 0.2, 0.2, 0.6])
    edges = bin_edges(values, 0.4)
    np.testing.assert_allclose(shares_of(values, edges), [0.25, 0.5, 0.0, 0.25])


def test_far_values_are_counted_in_the_outermost_bar():
    values = np.append(np.linspace(0, 1, 999), 1e6)
    edges = bin_edges(values, 0.5)
    assert edges[-1] < 2
    assert edges[0] == 0
    assert shares_of(values, edges).sum() == pytest.approx(1.0)


def test_the_alternative_text_gives_every_p(tables):
    text = fig.alt_predictive(tables[0])
    for word in ("0.61 under the prior", "< 0.01 under the posterior", "SD of the effects: 0.50"):
        assert word in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c, d: (c.iloc[:0], d), "nothing to draw"),
        (lambda c, d: (c.drop(columns="p"), d), "p"),
        (lambda c, d: (c, d[d["statistic"] == "spread"]), "significant"),
        (lambda c, d: (c.assign(observed=np.nan), d), "observed"),
    ],
)
def test_what_cannot_be_drawn_is_named(tables, change, says):
    with pytest.raises(ValueError, match=says):
        fig.predictive(*change(*tables))
