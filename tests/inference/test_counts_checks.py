"""Drawn tables and power-scaling of pools of counts."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.counts import fit_counts
from nssi_meta.inference.counts_checks import _baselines, table_checks, table_power_scaling
from nssi_meta.models.priors import parse_prior
from nssi_meta.models.two_by_two import Counts

PRIORS = {
    "mu_prior": parse_prior("normal(0,2)", "mu"),
    "tau_prior": parse_prior("halfnormal(1)", "tau"),
}
BASELINE = parse_prior("normal(0,10)", "mu")


def counts(*tables):
    return Counts(*np.array(tables, dtype=float).T)


def test_baselines_follow_the_group_they_are_known_from():
    """Of 3,000 in 10,000 the log odds are normal: SE of a mean and an SD of 4,000, times 4."""
    odds, se = np.log(3 / 7), 1 / np.sqrt(10_000 * 0.3 * 0.7)
    control = counts((0, 0, 3000, 10_000))
    found = _baselines(control, np.zeros(4000), BASELINE, np.random.default_rng(1))
    assert found.mean() == pytest.approx(odds, abs=4 * se / np.sqrt(4000) + 1e-4)
    assert found.std() == pytest.approx(se, rel=4 / np.sqrt(8000))
    # Both groups, theta known: as one group of twice the size.
    both = counts((3000, 10_000, 3000, 10_000))
    found = _baselines(both, np.zeros(4000), BASELINE, np.random.default_rng(1))
    assert found.std() == pytest.approx(se / np.sqrt(2), rel=4 / np.sqrt(8000))


def test_drawn_tables_have_the_spread_of_their_parameters():
    """Large groups, baseline 1/2: a log odds ratio varies by tau^2 + 4 / n + 4 / n."""
    data = counts(*[(1000, 2000, 1000, 2000)] * 10)
    mu, tau = np.full(2000, 0.0), np.full(2000, 0.3)
    _, drawn = table_checks(data, BASELINE, {"prior": (mu, tau)}, seed=3)
    spread = drawn.loc[drawn["statistic"] == "spread", "value"]
    # an expected variance; the standard error of 2,000 samples of 9 degrees of freedom, times 4
    assert (spread**2).mean() == pytest.approx(
        0.3**2 + 8 / 2000, rel=4 * np.sqrt(2 / 9 / 2000) + 0.02
    )
    assert (drawn.loc[drawn["statistic"] == "empty", "value"] == 0).all()


def test_a_misfit_is_flagged_and_a_fit_is_not():
    data = counts((2, 50, 20, 50), (20, 50, 2, 50), (3, 60, 25, 60), (24, 50, 3, 50))
    mu = np.random.default_rng(0).normal(0, 0.2, 1000)
    same, _ = table_checks(data, BASELINE, {"posterior": (mu, np.full(1000, 0.02))})
    spread = same.set_index("statistic").loc["spread"]
    assert spread["p"] < 0.01
    assert "SD of the log odds ratios: larger than the fitted model gives" in spread["flag"]
    varied, _ = table_checks(data, BASELINE, {"posterior": (mu, np.full(1000, 3.0))})
    assert (varied["flag"] == "").all()
    assert set(varied["statistic"]) == {"spread", "significant", "largest_z", "empty"}


def test_one_table_has_no_spread():
    table, _ = table_checks(counts((0, 9, 2, 9)), BASELINE, {"prior": (np.zeros(9), np.ones(9))})
    assert list(table["statistic"]) == ["significant", "largest_z", "empty"]
    assert table.set_index("statistic").loc["empty", "observed"] == 1


def test_power_scaling_by_refits():
    """A normal prior to the power a is one of variance / a: refits give the same distances."""
    from nssi_meta.inference.sensitivity_prior import distance

    data = counts((3, 40, 9, 42), (0, 20, 3, 20), (0, 30, 0, 30), (7, 90, 9, 80))
    post = fit_counts(data, **PRIORS, baseline_prior=BASELINE)
    table = table_power_scaling(data, post, **PRIORS, baseline=BASELINE).set_index("quantity")
    want = {"mu": 0.0, "tau": 0.0}
    for alpha in (0.99, 1.01):
        mu = parse_prior(f"normal(0,{2 / alpha**0.5!r})", "mu")
        tau = parse_prior(f"halfnormal({1 / alpha**0.5!r})", "tau")
        other = fit_counts(data, mu_prior=mu, tau_prior=tau, baseline_prior=BASELINE)
        want["mu"] += distance(post.mu, other.mu) / abs(np.log2(alpha)) / 2
        want["tau"] += distance(post.tau_density, other.tau_density) / abs(np.log2(alpha)) / 2
    for name, value in want.items():
        # Distances of 1e-3 are square roots of what quadrature gives to 1e-7.
        assert table.loc[name, "prior"] == pytest.approx(value, rel=1e-3)
