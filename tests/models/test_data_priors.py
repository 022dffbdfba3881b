"""Priors of tau whose scale comes from the sampling variances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate

from nssi_meta.models.data_priors import DATA_FAMILIES, study_variances
from nssi_meta.models.priors import PriorError, bind_prior, parse_prior

V = np.array([0.01, 0.04, 0.25, 0.09])
PROPER = [name for name, family in DATA_FAMILIES.items() if family.proper]


@pytest.mark.parametrize("name", PROPER)
@pytest.mark.parametrize("v", [V, np.full(5, 0.3), np.array([1e-6, 1.0, 1e6])])
def test_proper_ones_integrate_to_one(name, v):
    prior = parse_prior(name, "tau").bind(v)

    def density(z):
        return float(np.exp(prior.logpdf(np.exp(np.array(z))) + z))

    # In log tau, from far below the smallest standard error to far above the largest.
    cuts = np.linspace(0.5 * np.log(v.min()) - 20, 0.5 * np.log(v.max()) + 30, 12)
    total = sum(integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(cuts))
    # the tails that are cut off hold up to e^-20
    assert total == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("name", list(DATA_FAMILIES))
def test_they_follow_the_unit_of_the_outcome(name):
    """Days or weeks: p(s tau; s^2 v) s = p(tau; v), up to a constant where improper."""
    prior = parse_prior(name, "tau")
    tau, s = np.linspace(0.05, 3, 9), 7.0
    here = prior.bind(V).logpdf(tau)
    there = prior.scaled(s).bind(s**2 * V).logpdf(s * tau) + np.log(s)
    assert np.ptp(there - here) == pytest.approx(0.0, abs=1e-12)
    if prior.proper:
        np.testing.assert_allclose(there, here, atol=1e-12)


def test_equal_variances_make_jeffreys_and_berger_deely_the_same():
    v, tau = np.full(6, 0.09), np.linspace(0.01, 4, 11)
    one = parse_prior("jeffreys", "tau").bind(v).logpdf(tau)
    other = parse_prior("bergerdeely", "tau").bind(v).logpdf(tau)
    assert np.ptp(one - other) == pytest.approx(0.0, abs=1e-13)


def test_i2_is_uniform_in_i2():
    """P(I2 < x) = x, with I2 = tau^2 / (tau^2 + s^2) and s^2 the typical variance."""
    w = 1 / V
    typical = (len(V) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum())
    prior = parse_prior("i2", "tau").bind(V)
    for share in (0.1, 0.5, 0.9):
        end = np.sqrt(typical * share / (1 - share))
        found = integrate.quad(lambda t: float(np.exp(prior.logpdf(np.array(t)))), 0, end)[0]
        assert found == pytest.approx(share, abs=1e-9)


def test_a_variance_of_zero_and_a_single_study_are_refused():
    with pytest.raises(PriorError, match="finite and above 0"):
        parse_prior("dumouchel", "tau").bind(np.array([0.0, 0.1]))
    with pytest.raises(PriorError, match="needs two studies"):
        parse_prior("i2", "tau").bind(np.array([0.1]))
    with pytest.raises(PriorError, match="before it is bound"):
        parse_prior("jeffreys", "tau").logpdf(np.array(0.1))


def test_rows_of_one_study_count_once(layout_of):
    alone = layout_of([{"yi": 0.1, "vi": 0.02}, {"yi": 0.4, "vi": 0.05}])
    # Two independent rows of a study have a mean with half the variance of each.
    split = layout_of(
        [
            {"yi": 0.1, "vi": 0.04, "study_id": "S"},
            {"yi": 0.1, "vi": 0.04, "study_id": "S"},
            {"yi": 0.4, "vi": 0.05},
        ]
    )
    np.testing.assert_allclose(sorted(study_variances(split)), study_variances(alone), rtol=1e-14)
    tau = np.linspace(0.1, 2, 5)
    prior = parse_prior("shrinkage", "tau")
    np.testing.assert_allclose(
        bind_prior(prior, split).logpdf(tau), bind_prior(prior, alone).logpdf(tau), rtol=1e-13
    )
