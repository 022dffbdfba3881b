"""Rows of other kinds of evidence on a pool's scale: against the formulas and by way back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.convert import log_or_to_d
from nssi_meta.synthesis.conversion import convert, with_converted


def rows(scale: str, **more) -> pd.DataFrame:
    base = {
        "scale": scale, "estimand": "association", "kind": ["exact", "interval", "interval"],
        "yi": [0.3, np.nan, np.nan], "sei": [0.1, 0.12, 0.2],
        "lower": [np.nan, 0.25, -0.4], "upper": [np.nan, np.inf, 0.4],
    }  # fmt: skip
    frame = pd.DataFrame({**base, **more})
    return frame.assign(vi=frame["sei"] ** 2)


def test_estimates_and_bounds_follow_the_formulas():
    on_g = convert(rows("z"), "z", "g")
    assert on_g["yi"].iloc[0] == pytest.approx(2 * np.sinh(0.3))
    # d = 2 r / sqrt(1 - r^2) with r = tanh(z)
    r = np.tanh(0.25)
    assert on_g["lower"].iloc[1] == pytest.approx(2 * r / np.sqrt(1 - r**2))
    assert on_g["upper"].iloc[1] == np.inf
    odds = convert(rows("log_or"), "log_or", "g")
    assert odds["yi"].iloc[0] == pytest.approx(float(log_or_to_d(0.3)))
    assert odds["sei"].iloc[2] == pytest.approx(0.2 * np.sqrt(3) / np.pi)


@pytest.mark.parametrize("scale", ["g", "z", "log_or"])
@pytest.mark.parametrize("to", ["g", "z", "log_or"])
def test_there_and_back_is_the_same(scale, to):
    frame = rows(scale)
    back = convert(convert(frame, scale, to), to, scale)
    for column in ("yi", "sei", "vi", "lower", "upper"):
        np.testing.assert_allclose(back[column], frame[column], rtol=1e-12)


def test_standard_errors_are_the_slope():
    step = 1e-6
    low, high = (convert(rows("z", yi=[0.3 + s, 0, 0]), "z", "log_or") for s in (-step, step))
    slope = (high["yi"].iloc[0] - low["yi"].iloc[0]) / (2 * step)
    assert convert(rows("z"), "z", "log_or")["sei"].iloc[0] == pytest.approx(0.1 * slope, rel=1e-8)


def test_what_has_no_formula_is_said():
    cell = rows("g", estimand="case_control")
    both = with_converted(cell, pd.concat([cell, rows("z")]))
    assert len(both) == 6
    assert set(both["scale"]) == {"g"}
    assert set(both["estimand"]) == {"case_control"}
    with pytest.raises(ValueError, match="no rows of another estimand"):
        with_converted(cell, cell)
    with pytest.raises(ValueError, match="no formula converts to the scale d_within"):
        with_converted(rows("d_within"), rows("z"))
