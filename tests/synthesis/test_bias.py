"""The 36-model ensemble against RoBMA, and what must not change its answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.synthesis.bias import robma

REFERENCE = Path(__file__).parent.parent / "reference"
#: Bridge sampling: RoBMA's own inclusion Bayes factors repeat to about 1%.
BRIDGE = 0.02
#: 10,000 draws of a mixture with a point at 0.
DRAWS = 0.012


@pytest.fixture(scope="module")
def bem():
    table = pd.read_csv(REFERENCE / "bem2011.csv")
    return table["d"].to_numpy(), table["se"].to_numpy()


@pytest.fixture(scope="module")
def ensemble(bem):
    return robma(*bem, measure="smd")


@pytest.fixture(scope="module")
def expected():
    return json.loads((REFERENCE / "model_averaging.json").read_text(encoding="utf-8"))["robma"]


def test_inclusion_is_that_of_robma(ensemble, expected):
    ours = ensemble.components.set_index("component")
    theirs = expected["components"]
    for name, bf, models in zip(
        theirs["row"], theirs["inclusion_BF"], theirs["models"], strict=True
    ):
        assert ours.loc[name.lower(), "inclusion_bf"] == pytest.approx(bf, rel=BRIDGE), name
        assert ours.loc[name.lower(), "models"] == models
    assert (ours["bf_error"] < 1e-3).all()


def test_estimates_are_those_of_robma(ensemble, expected):
    ours = ensemble.estimates.set_index(["over", "parameter"])
    for over, theirs in (
        ("averaged", expected["estimates"]),
        ("conditional", expected["conditional"]),
    ):
        for i, name in enumerate(("mu", "tau")):
            row = ours.loc[(over, name)]
            for column, label in (
                ("mean", "Mean"), ("median", "Median"), ("low", "0.025"), ("high", "0.975"),
            ):  # fmt: skip
                assert row[column] == pytest.approx(theirs[label][i], abs=DRAWS), (over, name)


def test_models_and_priors(ensemble):
    models = ensemble.models
    assert len(models) == 36
    assert models["prior_probability"].sum() == pytest.approx(1.0)
    assert models["posterior_probability"].sum() == pytest.approx(1.0)
    for part in ("effect", "heterogeneity"):
        assert models.loc[models[part], "prior_probability"].sum() == pytest.approx(0.5)
    assert "fewer than 10 studies" in ensemble.flags


def test_turned_signs_permuted_rows(bem, ensemble):
    d, se = bem
    order = np.random.default_rng(3).permutation(len(d))
    turned = robma(-d[order], se[order], measure="smd", positive=False)
    assert np.allclose(
        turned.models["log_evidence"], ensemble.models["log_evidence"], rtol=0, atol=1e-3
    )
    a, b = turned.estimates, ensemble.estimates
    assert np.allclose(a.loc[:1, "mean"], -b.loc[:1, "mean"], atol=1e-4)
    assert np.allclose(a.loc[:1, "low"], -b.loc[:1, "high"], atol=1e-3)


def test_unit_follows_the_scale():
    """The same data in another unit, which the priors are told: the same probabilities."""
    y, s = np.array([0.3, 0.5, 0.2, 0.6]), np.array([0.15, 0.2, 0.12, 0.3])
    one, ten = robma(y, s), robma(10 * y, 10 * s, unit=10)
    assert np.allclose(
        one.models["posterior_probability"], ten.models["posterior_probability"], atol=1e-4
    )
    assert np.allclose(10 * one.estimates["mean"], ten.estimates["mean"], atol=1e-3)


def test_rows_of_one_study_are_combined():
    y, s = [0.3, 0.5, 0.2], [0.15, 0.15, 0.12]
    both = robma(y, s, study=["a", "a", "b"], rho=0.6)
    one = robma([0.4, 0.2], [0.15 * np.sqrt(0.8), 0.12])  # mean of two, correlation 0.6
    assert both.k == 2
    assert np.allclose(both.models["log_evidence"], one.models["log_evidence"], atol=1e-9)


def test_unusable_input_is_refused():
    with pytest.raises(ValueError, match="adjusted_pools"):
        robma([0.1, np.nan], [0.1, 0.1])
    with pytest.raises(ValueError, match="at least 2"):
        robma([0.1], [0.1])
    with pytest.raises(ValueError, match="measure must be"):
        robma([0.1, 0.2], [0.1, 0.1], measure="g")
    with pytest.raises(ValueError, match="people in a study"):
        robma([0.1, 0.2], [3.0, 0.1], measure="smd")
    with pytest.raises(ValueError, match="unit must be above 0"):
        robma([0.1, 0.2], [0.1, 0.1], unit=0)
    with pytest.raises(ValueError, match="level must lie"):
        robma([0.1, 0.2], [0.1, 0.1], level=95)


def test_nine_studies_take_seconds(bem):
    """A ceiling, not a timing: about 2 s of processor time, minutes in R's RoBMA."""
    start = time.process_time()
    robma(*bem, measure="smd")
    assert time.process_time() - start < 10
