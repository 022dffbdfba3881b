"""The curve of a slope is read off tables of distribution functions."""

import numpy as np
import pytest

from nssi_meta.inference.prediction import Predictive
from nssi_meta.synthesis import slopes
from nssi_meta.synthesis.pooled import pool


@pytest.mark.parametrize("which", ["mu", "prediction"])
def test_a_table_says_what_the_distribution_function_says(evidence, which):
    # Quartiles may be near while the ends are far: a prediction's tails are heavier than a normal.
    # 1e-5 is what the docstring's 2e-6, seen in the shipped pools, leaves room for.
    cells = pool(evidence).cells[:12]
    kinds = set()
    for cell in cells:
        density = getattr(cell.posterior, which)
        x = np.linspace(density.quantile(1e-5), density.quantile(1 - 1e-5), 60)
        assert slopes._table(density)(x) == pytest.approx(density.cdf(x), abs=1e-5)
        kinds.add(isinstance(density, Predictive))
    assert which == "mu" or kinds == {True, False}
