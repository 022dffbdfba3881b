"""Scores of draws: a conjugate model whose answers are known, and comparisons by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from nssi_meta.inference.loo import by_study, compare, psis_loo, waic

Y = np.array([0.2, -0.5, 0.9, 0.4, 0.1, -0.2, 0.6, 0.3])
NAMES = [f"s{i}" for i in range(len(Y))]


@pytest.fixture(scope="module")
def log_likelihood() -> np.ndarray:
    """y ~ N(mu, 1), mu ~ N(0, 1): draws of the posterior N(sum y / (n + 1), 1 / (n + 1))."""
    n = len(Y)
    rng = np.random.default_rng(2)
    mu = rng.normal(Y.sum() / (n + 1), (n + 1) ** -0.5, (4, 3000))
    return norm.logpdf(Y, mu[..., None], 1.0)


def _by_hand() -> np.ndarray:
    n = len(Y)
    rest = Y.sum() - Y
    return norm.logpdf(Y, rest / n, np.sqrt(1 + 1 / n))


def test_psis_loo_finds_the_predictive_density_of_each_study(log_likelihood):
    table = psis_loo(log_likelihood, NAMES)
    # 12,000 draws: Monte Carlo error of a mean weight below 0.01.
    np.testing.assert_allclose(table["elpd"], _by_hand(), atol=0.01)
    assert (table["pareto_k"] < 0.7).all()
    assert set(table["flag"]) == {""}


def test_waic_is_close_to_it_and_flags_an_outlier(log_likelihood):
    table = waic(log_likelihood, NAMES)
    np.testing.assert_allclose(table["elpd"], _by_hand(), atol=0.03)
    far = log_likelihood.copy()
    far[..., 0] *= 40
    assert "use `psis_loo`" in waic(far, NAMES)["flag"][0]
    assert "refit without the study" in psis_loo(far, NAMES)["flag"][0]


def test_studies_that_share_people_are_foreseen_together():
    values = np.arange(8.0).reshape(2, 4)
    out, names = by_study(values, [["a"], ["b"], ["a", "c"], ["d"]])
    assert sorted(names) == ["a+c", "b", "d"]
    np.testing.assert_array_equal(out[:, names.index("a+c")], values[:, 0] + values[:, 2])
    np.testing.assert_array_equal(out.sum(axis=1), values.sum(axis=1))


def test_differences_and_their_errors_are_those_of_paired_studies():
    a = pd.DataFrame({"study": ["x", "y", "z"], "elpd": [-1.0, -2.0, -4.0]})
    b = pd.DataFrame({"study": ["z", "y", "x"], "elpd": [-20.0, -2.5, -1.0]})
    table = compare({"b": b, "a": a}).set_index("model")
    assert table.loc["a", "words"] == "best"
    assert table.loc["b", "diff"] == pytest.approx(-16.5)
    assert table.loc["b", "se_diff"] == pytest.approx(np.sqrt(3) * np.std([0, 0.5, 16], ddof=1))
    assert table.loc["b", "words"].startswith("perhaps worse")
    near = b.assign(elpd=[-4.5, -2.0, -1.5])
    assert "below 4" in compare({"a": a, "near": near})["words"][1]


def test_unlike_studies_and_bad_numbers_are_refused(log_likelihood):
    a = pd.DataFrame({"study": ["x", "y"], "elpd": [-1.0, -2.0]})
    with pytest.raises(ValueError, match="other studies"):
        compare({"a": a, "b": a.assign(study=["x", "w"])})
    bad = log_likelihood.copy()
    bad[1, 2, 3] = -np.inf
    with pytest.raises(ValueError, match="s3 is not finite in chain 2, draw 3"):
        psis_loo(bad, NAMES)
    with pytest.raises(ValueError, match="a column a study"):
        waic(log_likelihood, NAMES[:3])
