"""Evidence of single models of the ensemble against other ways to the same integral."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from nssi_meta.inference.biased import Slope, Studies, fit_biased
from nssi_meta.inference.ensemble import WEIGHT_FUNCTIONS, Averaged
from nssi_meta.inference.exact import log_evidence
from nssi_meta.models.priors import parse_prior
from nssi_meta.models.selection import Binned, Steps, log_likelihood, normal_critical

MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("invgamma(1,0.15)", "tau")
Y = np.array([0.5, 0.3, 0.75, 0.1, 0.45, 0.62])
S = np.array([0.2, 0.14, 0.33, 0.21, 0.25, 0.3])
DATA = Studies(Y, S, normal_critical(S))


@pytest.mark.parametrize("mu", [None, MU])
@pytest.mark.parametrize("tau", [None, TAU])
def test_without_bias_it_is_the_exact_engine(layout_of, mu, tau):
    data = layout_of([{"yi": y, "vi": s**2} for y, s in zip(Y, S, strict=True)])
    expected = log_evidence(data, mu_prior=mu, tau_prior=tau)
    assert fit_biased(DATA, mu, tau, None).log_evidence == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("prior", ["norm01", "cauchy707"])
def test_four_models_of_metabma(reference, reference_dir, layout_of, prior):
    """metaBMA integrates by quadrature with tolerance 1e-4 or so; agreement is far better."""
    table = pd.read_csv(reference_dir / "bcg_RR.csv")
    data = layout_of([{"yi": y, "vi": v} for y, v in zip(table["yi"], table["vi"], strict=True)])
    expected = reference("model_averaging.json")["metabma"][f"bcg_RR_{prior}_ig"]
    mu = parse_prior("normal(0,1)" if prior == "norm01" else "student_t(1,0,0.707)", "mu")
    for name, m, t in (
        ("fixed_H0", None, None), ("fixed_H1", mu, None),
        ("random_H0", None, TAU), ("random_H1", mu, TAU),
    ):  # fmt: skip
        found = log_evidence(data, mu_prior=m, tau_prior=t)
        assert found == pytest.approx(expected[name], abs=1e-4), name


@pytest.mark.parametrize("power", [1, 2])
def test_slope_against_nested_quadrature(power):
    """mu and tau fixed at 0: one integral over the slope, done by scipy."""
    slope = Slope(power, parse_prior("halfcauchy(1)", "tau"))

    def density(b):
        log_p = stats.norm.logpdf(Y, b * S**power, S).sum()
        return np.exp(log_p + float(slope.prior.logpdf(np.array(b))))

    expected = np.log(integrate.quad(density, 0, 30, points=[1, 3], epsabs=1e-14)[0])
    assert fit_biased(DATA, None, None, slope).log_evidence == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("steps", WEIGHT_FUNCTIONS, ids=str)
def test_weights_against_draws_from_the_prior(steps):
    """Monte Carlo over the whole prior, mu and tau free: agreement within 4 standard errors."""
    rng = np.random.default_rng(5)
    n = 20_000
    mu, tau = rng.normal(0, 1, n), stats.invgamma(1, scale=0.15).rvs(n, random_state=rng)
    eta = rng.dirichlet(np.ones(steps.n_bins), n)
    omega = np.cumsum(eta, axis=1)[:, ::-1]  # weights fall from bin to bin; the first is 1
    binned = Binned.sort(Y, DATA.critical, steps)
    sd = np.sqrt(S**2 + tau[:, None] ** 2)
    share = np.einsum("nkj,nj->nk", binned.probabilities(mu[:, None], sd), omega)
    log_p = stats.norm.logpdf(Y, mu[:, None], sd) + np.log(omega[:, binned.bins]) - np.log(share)
    p = np.exp(log_p.sum(axis=1))
    fit = fit_biased(DATA, MU, TAU, steps)
    assert abs(np.exp(fit.log_evidence) - p.mean()) < 4 * p.std() / np.sqrt(n)
    assert fit.error < 1e-3
    at = log_likelihood(Y, S**2, binned, mu[0], tau[0] ** 2, omega[0])
    assert at == pytest.approx(log_p[0].sum(), abs=1e-10)


def test_a_weight_far_from_one_is_found():
    """Mean and spread fixed at 0 and a hundred studies: a sum over 200,000 points of the weight.

    Nodes are added where the density is; none of them may be taken for negligible there.
    """
    rng = np.random.default_rng(1)
    s = rng.uniform(0.07, 0.3, 100)
    y = 0.2 + rng.normal(0, np.sqrt(0.03 + s**2))
    data, steps = Studies(y, s, normal_critical(s)), Steps((0.05,), "one")
    omega = (np.arange(200_000) + 0.5) / 200_000
    binned = Binned.sort(y, data.critical, steps)
    share = binned.probabilities(np.zeros((1, 1)), s[None, :])[0]
    log_p = stats.norm.logpdf(y, 0, s).sum() + (binned.bins == 1).sum() * np.log(omega)
    for first, second in share:
        log_p -= np.log(first + omega * second)
    expected = log_p.max() + np.log(np.exp(log_p - log_p.max()).mean())
    fit = fit_biased(data, None, None, steps)
    assert fit.log_evidence == pytest.approx(expected, abs=1e-5)
    assert fit.error < 1e-6


def test_the_stated_error_is_not_too_small():
    """Two different rules for the same evidence differ by no more than they say."""
    steps = Steps((0.025, 0.05, 0.5))
    one = fit_biased(DATA, MU, TAU, steps)
    moved = fit_biased(Studies(Y + 0.0, S, normal_critical(S)), MU, TAU, steps)
    assert one.log_evidence == moved.log_evidence
    shifted = Studies(Y[::-1].copy(), S[::-1].copy(), normal_critical(S[::-1]))
    other = fit_biased(shifted, MU, TAU, steps)
    assert abs(one.log_evidence - other.log_evidence) <= one.error + other.error + 1e-9


def test_mixture_with_a_point_at_zero():
    class Normal:
        mean, sd = 1.0, 0.5

        def cdf(self, x):
            return stats.norm.cdf(x, 1.0, 0.5)

    mixed = Averaged.build(np.array([0.6, 0.4]), [None, Normal()])
    assert mixed.quantile(0.3) == 0.0
    low = float(stats.norm.ppf(0.005 / 0.4, 1, 0.5))
    assert mixed.quantile(0.005) == pytest.approx(low, abs=1e-8)
    assert mixed.quantile(0.9) == pytest.approx(stats.norm.ppf(0.3 / 0.4, 1, 0.5), abs=1e-8)
    assert mixed.mean == pytest.approx(0.4)
    assert mixed.sd == pytest.approx(np.sqrt(0.4 * 1.25 - 0.16))


def test_only_normal_priors_of_mu():
    with pytest.raises(ValueError, match="normal prior on mu"):
        fit_biased(DATA, parse_prior("flat", "mu"), TAU, None)
