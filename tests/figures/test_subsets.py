"""The plot of subsets: a dot a subset, the whole pool apart, bad tables refused."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from nssi_meta.figures import alt_subset_plot, subset_plot

TABLE = pd.DataFrame(
    {"n_studies": [1, 1, 2], "median": [0.1, 0.5, 0.3], "tau_median": [0.2, 0.3, 0.25]}
)


def test_every_subset_is_a_dot_at_its_numbers():
    figure = subset_plot(TABLE)
    found = {
        line.get_gid(): line.get_xydata()[0].tolist()
        for ax in figure.axes
        for line in ax.lines
        if line.get_gid() in ("subset:0", "subset:1", "whole")
    }
    assert found == {"subset:0": [0.1, 0.2], "subset:1": [0.5, 0.3], "whole": [0.3, 0.25]}


def test_the_alternative_text_has_the_numbers():
    text = alt_subset_plot(TABLE)
    assert "3 subsets of 2 studies" in text
    assert "0.10 to 0.50" in text


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match="two subsets or more"):
        subset_plot(TABLE.iloc[:1])
    with pytest.raises(ValueError, match="must be numbers"):
        subset_plot(TABLE.assign(median=math.nan))
    with pytest.raises(ValueError, match="tau_median"):
        subset_plot(TABLE.drop(columns="tau_median"))
