"""Kinds of evidence side by side, and the explicit combination against brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.synthesis.estimands import KAPPA_SCALE, combine, on_g, side_by_side


def pool_row(estimand, mean=0.3, sd=0.2, **changes):
    return {
        "mechanism": "reflex", "label": "Reflex", "system": "motor", "condition": "alpha",
        "condition_label": "Alpha", "estimand": estimand, "mu_mean": mean, "mu_sd": sd,
        "mu_median": mean, "mu_low": mean - 2 * sd, "mu_high": mean + 2 * sd,
        "p_positive": float(stats.norm.cdf(mean / sd)), "k": 3, "n_studies": 2, "n_bounds": 1,
        "mu_prior": "normal(0,1)", "level": 0.95,
    } | changes  # fmt: skip


def test_side_by_side_mixes_nothing():
    pools = pd.DataFrame(
        [pool_row("case_control", -0.6), pool_row("within_person", 0.6),
         pool_row("odds", 0.1, condition="beta")]
    )  # fmt: skip
    table = side_by_side(pools).set_index("condition")
    row = table.loc["alpha"]
    assert row["case_control_mu_median"] == -0.6
    assert row["within_person_mu_median"] == 0.6
    assert np.isnan(row["odds_mu_median"])
    assert row["directions"] == "conflict"
    assert table["n_estimands"].tolist() == [2, 1]
    assert table.loc["beta", "directions"] == "none"
    assert side_by_side(pools.iloc[:1])["directions"].tolist() == ["one"]


def test_conversions():
    """r = 0.5 is d = 2 r / sqrt(1 - r^2) = 1.1547; an odds ratio of e is sqrt(3)/pi = 0.5513."""
    d, sd = on_g("association", np.arctanh(0.5), 1e-6)
    assert d == pytest.approx(2 * 0.5 / np.sqrt(0.75))
    step = on_g("association", np.arctanh(0.5) + 1e-6, 0)[0] - d
    assert sd == pytest.approx(step, rel=1e-5)
    assert on_g("odds", 1.0, 1.0) == pytest.approx((np.sqrt(3) / np.pi,) * 2)
    assert on_g("case_control", 0.4, 0.1) == (0.4, 0.1)
    with pytest.raises(ValueError, match="within_person is not converted"):
        on_g("within_person", 0.4, 0.1)


def test_the_combination_is_the_stated_model():
    """A fine grid over the model as written; 200 slices of kappa: 2e-3."""
    pools = pd.DataFrame([pool_row("case_control", 0.5, 0.2), pool_row("odds", 0.2, 0.3)])
    got = combine(pools).iloc[0]
    terms = []
    for mean, sd, scale in ((0.5, 0.2, 1.0), (0.2, 0.3, np.sqrt(3) / np.pi)):
        precision = 1 / sd**2 - 1  # the pool's own prior N(0, 1) taken out
        terms.append((scale * mean / sd**2 / precision, scale * precision**-0.5))

    mu, kappa = np.linspace(-4, 4, 801)[:, None], np.linspace(1e-6, 4, 1000)
    joint = stats.norm.pdf(mu) * stats.halfnorm.pdf(kappa, scale=KAPPA_SCALE)
    for m, s in terms:
        joint = joint * stats.norm.pdf(m, mu, np.hypot(s, kappa))
    at_mu = joint.sum(axis=1)
    above = at_mu[mu[:, 0] > 0].sum() + at_mu[400] / 2
    assert got["p_positive"] == pytest.approx(above / at_mu.sum(), abs=2e-3)
    assert got["combined"] == "case_control, odds"
    assert got["mu_low"] < got["mu_median"] < got["mu_high"]


def test_combination_needs_two_kinds_and_leaves_changes_out():
    assert combine(pd.DataFrame([pool_row("case_control")])).empty
    assert combine(pd.DataFrame([pool_row("case_control"), pool_row("within_person")])).empty
    # a pool that only repeats its prior has nothing to add
    assert combine(pd.DataFrame([pool_row("case_control"), pool_row("odds", 0, 0.999)])).empty
    with pytest.raises(ValueError, match="not converted"):
        combine(pd.DataFrame([pool_row("odds")]), ("within_person",))
    flat = [pool_row("case_control", mu_prior="flat"), pool_row("odds", mu_prior="flat")]
    with pytest.raises(ValueError, match="normal prior"):
        combine(pd.DataFrame(flat))


def test_two_kinds_that_say_nothing_combine_to_nothing():
    """Means of exactly 0: the median is 0, not an error of the root search."""
    got = combine(pd.DataFrame([pool_row("association", 0.0), pool_row("odds", 0.0)])).iloc[0]
    assert got["mu_median"] == pytest.approx(0.0, abs=1e-12)
    assert got["p_positive"] == pytest.approx(0.5)
