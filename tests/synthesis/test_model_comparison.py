"""Sampled fits compared by study: ArviZ's own numbers, and an outlier that decides."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from nssi_meta.inference.compiled import refit
from nssi_meta.inference.nuts import Fit
from nssi_meta.models.regression import regression
from nssi_meta.models.robust import robust_regression
from nssi_meta.synthesis.model_comparison import compare_fits
from nssi_meta.synthesis.model_rows import model_rows

#: The same smoothed weights, summed by another function.
TOLERANCE = 1e-8
Y = np.array([0.2, -0.5, 0.9, 0.4, 0.1, -0.2, 0.6, 0.3])
STUDIES = [f"s{i}" for i in range(len(Y))]


def made(sd=1.0, studies=STUDIES, y=Y, problems=(), sticky=0.0):
    """A fit of y ~ N(mu, sd^2) with mu ~ N(0, 1), by draws of the posterior itself.

    Neighbouring draws of a chain are correlated by `sticky`.
    """
    precision = len(y) / sd**2 + 1
    z = np.random.default_rng(3).standard_normal((4, 1000))
    for i in range(1, z.shape[1]):
        z[:, i] = sticky * z[:, i - 1] + np.sqrt(1 - sticky**2) * z[:, i]
    mu = y.sum() / sd**2 / precision + z / np.sqrt(precision)
    values = -0.5 * (np.log(2 * np.pi * sd**2) + ((y - mu[..., None]) / sd) ** 2)
    axes = {"chain": np.arange(4), "draw": np.arange(1000)}
    names = {"study_id": np.array(studies, dtype=object)}
    tree = xr.DataTree.from_dict(
        {
            "/posterior": xr.Dataset({"mu": (["chain", "draw"], mu)}, axes),
            "/log_likelihood": xr.Dataset(
                {"study": (["chain", "draw", "study_id"], values)}, {**axes, **names}
            ),
        }
    )
    return Fit(tree, pd.DataFrame(), {}, tuple(problems))


def agrees_with_arviz(fits):
    """`az.loo` and `az.compare`, whose SE of a difference divides by n instead of n - 1."""
    import arviz as az

    table = compare_fits(fits).set_index("model")
    trees = {name: fit.posterior_data for name, fit in fits.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto")
        whole = az.compare(trees, var_name="study", round_to="none")
        loo = {n: az.loo(t, var_name="study", pointwise=True) for n, t in trees.items()}
    assert table.index.tolist() == whole.index.tolist()
    for name, found in loo.items():
        assert table.loc[name, "elpd"] == pytest.approx(found.elpd, abs=TOLERANCE)
        assert table.loc[name, "se"] == pytest.approx(found.se, abs=TOLERANCE)
        k = float(found.pareto_k.max())
        assert table.loc[name, "worst_k"] == pytest.approx(k, abs=TOLERANCE)
    n = len(found.pareto_k)
    np.testing.assert_allclose(table["diff"], whole["elpd_diff"].astype(float), atol=TOLERANCE)
    dse = whole["dse"].astype(float) * np.sqrt(n / (n - 1))
    np.testing.assert_allclose(table["se_diff"], dse, atol=TOLERANCE)
    return table


def test_scores_are_those_of_arviz():
    fits = {"narrow": made(0.3), "wide": made(1.0), "near": made(0.5, sticky=0.9)}
    table = agrees_with_arviz(fits)
    assert table.loc[table.index[0], "words"] == "best"
    assert table.loc[table.index[0], "diff"] == 0
    # y ~ N(mu, 1): the density of each study given the others is known; 4,000 draws err by 0.02.
    rest, n = Y.sum() - Y, len(Y)
    var = 1 + 1 / n
    known = (-0.5 * (np.log(2 * np.pi * var) + (Y - rest / n) ** 2 / var)).sum()
    assert table.loc["wide", ["elpd", "waic"]].tolist() == pytest.approx([known, known], abs=0.1)
    assert table.loc["wide", "note"] == ""


def test_a_study_that_cannot_be_left_out_is_named():
    y = np.where(np.arange(len(Y)) == 3, 30.0, Y)
    table = compare_fits({"a": made(y=y), "b": made(0.8, y=y)})
    assert (table["worst_k"] > 0.7).all()
    for note in table["note"]:
        assert note.startswith("k above 0.7, to be left out by a refit alone: s3; WAIC not")


def test_what_cannot_be_compared_is_refused_by_name():
    one = made()
    with pytest.raises(ValueError, match="two fits or more, got 1"):
        compare_fits({"one": one})
    other = made(studies=[*STUDIES[:6], "new", "s7"])
    with pytest.raises(ValueError, match=r"other studies than one \(s6 in one alone; new in two"):
        compare_fits({"one": one, "two": other})
    less = made(studies=STUDIES[:4], y=Y[:4])
    with pytest.raises(ValueError, match=r"\(s4, s5, s6 and 1 more in one alone\)"):
        compare_fits({"one": one, "less": less})
    failed = made(problems=["3 divergent transitions: ..."])
    with pytest.raises(ValueError, match="bad is no result, it failed its checks: 3 divergent"):
        compare_fits({"one": one, "bad": failed})
    with pytest.raises(TypeError, match="two is a DataFrame: compare_fits takes what refit"):
        compare_fits({"one": one, "two": pd.DataFrame()})
    twice = made(studies=["s0", "s0", *STUDIES[2:]])
    with pytest.raises(ValueError, match="names a study twice: s0"):
        compare_fits({"one": twice, "two": twice})


@pytest.mark.slow
def test_an_outlier_speaks_for_heavy_tails():
    """Eleven effects near 0.3 and one 3 away, at standard errors of 0.15."""
    effects = [0.3, 0.2, 0.45, 0.25, 0.35, 0.1, 0.5, 0.3, 0.4, 0.2, 0.28, 3.3]
    frame = pd.DataFrame({"yi": effects, "sei": 0.15, "study": [f"s{i}" for i in range(12)]})
    rows = model_rows(frame, [], sei="sei", study="study")
    fits = {
        "normal": refit(regression(**rows.exact), seed=1),
        "Student-t": refit(robust_regression(**rows.exact), seed=1),
    }
    table = agrees_with_arviz(fits)
    assert table.index.tolist() == ["Student-t", "normal"]
    # By hand: normal effects need tau near 0.9 and lose 1 or so at each of the other 11 studies.
    # Over six seeds -13.8 to -15.2: the outlier's Pareto k is 1.5, its own part a guess.
    assert -18 < table.loc["normal", "diff"] < -4
    assert "s11" in table.loc["normal", "note"]
