"""NUTS: agreement with the exact engine, the checks, and the second, stricter try."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference import nuts
from nssi_meta.inference.compiled import SHORT
from nssi_meta.inference.densities import NormalMixture
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.nuts import Settings, diagnose, sample_compiled
from nssi_meta.inference.sampled import REMEDY, Empirical, SampledPosterior, fit_pool_nuts
from nssi_meta.inference.shrinkage import shrunken
from nssi_meta.models.blocks import layout
from nssi_meta.models.priors import PriorError, parse_prior

INF = np.inf
MU = parse_prior("normal(0,1)", "mu")
TAU = parse_prior("halfnormal(0.5)", "tau")


#: Single bounds of both forms, a study with two bounds (NUTS keeps their common part as the
#: parameter f, the exact engine integrates it), and a study with two exact effects.
BOUNDS = [
    {"yi": 0.5}, {"yi": 0.2, "vi": 0.03}, {"yi": -0.1, "vi": 0.05},
    {"kind": "interval", "lower": 0.4, "upper": INF},
    {"kind": "interval", "lower": -0.4, "upper": 0.4},
    {"study_id": "two", "sample_id": "p", "kind": "interval", "lower": 0.4, "upper": INF},
    {"study_id": "two", "sample_id": "p", "kind": "interval", "lower": -0.4, "upper": 0.4,
     "measure": "other"},
    {"study_id": "pair", "sample_id": "q", "yi": 0.7},
    {"study_id": "pair", "sample_id": "q", "yi": 0.3, "measure": "other"},
]  # fmt: skip
#: Six studies of two or three exact effects each.
LEVELS = [
    {"study_id": f"s{j}", "sample_id": f"s{j}{i}", "yi": float(y), "vi": 0.02}
    for j, effects in enumerate(
        [(0.6, 0.5), (0.1, -0.1), (0.3, 0.4, 0.1), (0.8, 0.6), (-0.2, 0.1), (0.3, 0.5, 0.7)]
    )
    for i, y in enumerate(effects)
]
SETS = {"bounds": BOUNDS, "three levels": LEVELS}


@pytest.fixture(scope="module", params=list(SETS))
def both(request, frame_of):
    """A set of rows with its exact and its sampled posterior (compiled once for all tests)."""
    frame = frame_of(SETS[request.param])
    data = layout(frame, partial(vcalc, rho=0.6), 0.6)
    exact = fit_exact(
        data, mu_prior=MU, tau_prior=TAU, omega_prior=TAU, n_studies=frame["study_id"].nunique()
    )
    fit, sampled = fit_pool_nuts(data, frame["kind"].to_numpy(), MU, TAU, TAU, seed=1)
    return SimpleNamespace(frame=frame, data=data, exact=exact, fit=fit, sampled=sampled)


def ess(fit, name):
    return fit.diagnostics.set_index("quantity").loc[name, "ess_bulk"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mu", "tau", "omega"])
def test_means_and_sds_agree_within_four_monte_carlo_errors(both, name):
    """MCSE of the mean: SD / sqrt(ESS); of the SD at least SD / sqrt(2 ESS), doubled for skew."""
    assert both.fit.converged, both.fit.problems
    part = {"mu": "mu", "tau": "tau_density", "omega": "omega_density"}[name]
    want, got = getattr(both.exact, part), getattr(both.sampled, part)
    n = ess(both.fit, name)
    assert got.mean == pytest.approx(want.mean, abs=4 * want.sd / np.sqrt(n))
    assert got.sd == pytest.approx(want.sd, abs=4 * want.sd * np.sqrt(2 / n))


@pytest.mark.slow
def test_the_whole_distribution_agrees(both):
    """Kolmogorov distance of mu from the exact posterior: 1.95 / sqrt(n) is its 0.1% point."""
    p = np.linspace(0.01, 0.99, 99)
    at = np.array([both.exact.mu.quantile(q) for q in p])
    assert np.abs(both.sampled.mu.cdf(at) - p).max() < 1.95 / np.sqrt(ess(both.fit, "mu"))
    # of an effect in a new setting
    at = np.array([both.exact.prediction.quantile(q) for q in p])
    n = ess(both.fit, "prediction")
    assert np.abs(both.sampled.prediction.cdf(at) - p).max() < 1.95 / np.sqrt(n)


@pytest.mark.slow
def test_shrunken_effects_agree(both):
    covariance = partial(vcalc, rho=0.6)
    mine = shrunken(both.frame, both.data, both.sampled, covariance)
    exact = shrunken(both.frame, both.data, both.exact, covariance)
    for a, b in zip(mine, exact, strict=True):
        # 1,500 draws on either side where bounds make them necessary: 2.6% of an SD each; four
        assert a.mean == pytest.approx(b.mean, abs=4 * 0.026 * np.sqrt(2) * b.sd)


@pytest.mark.slow
def test_facts_of_a_fit(both):
    facts, used = both.fit.facts, SHORT
    if facts["attempts"] == 2:
        used = used.stricter()
    assert facts["divergences"] == 0
    assert facts["seed"] == facts["attempts"]  # 1 was asked for, the second try adds one
    assert (facts["chains"], facts["draws"]) == (used.chains, used.draws)
    assert both.fit.posterior_data["posterior"]["mu"].shape == (used.chains, used.draws)
    table = both.fit.diagnostics
    assert set(table["quantity"]) == {"mu", "tau", "omega", "prediction"}
    assert table["ok"].all()


def test_an_improper_posterior_is_refused_before_anything_is_compiled(monkeypatch, frame_of):
    monkeypatch.setattr("nssi_meta.inference.sampled.sample", None)
    frame = frame_of([{"kind": "interval", "lower": 0.4, "upper": INF}])
    data = layout(frame, vcalc)
    with pytest.raises(PriorError, match="at least one exact effect"):
        fit_pool_nuts(data, frame["kind"].to_numpy(), parse_prior("flat", "mu"), TAU, None, seed=1)


def test_both_engines_refuse_the_same_improper_posterior(frame_of):
    """Two studies of two samples each: too few for flat mu and flat tau, whatever the engine."""
    rows = [{"study_id": s, "sample_id": f"{s}{i}", "yi": 0.1 * i} for s in "ab" for i in (0, 1)]
    frame = frame_of(rows)
    data = layout(frame, vcalc)
    flat_mu, flat_tau = parse_prior("flat", "mu"), parse_prior("flat", "tau")
    with pytest.raises(PriorError, match="at least 3 studies"):
        fit_exact(data, mu_prior=flat_mu, tau_prior=flat_tau, omega_prior=TAU, n_studies=2)
    with pytest.raises(PriorError, match="at least 3 studies"):
        fit_pool_nuts(data, frame["kind"].to_numpy(), flat_mu, flat_tau, TAU, seed=1)


# ---------------------------------------------------------------- checks, on made-up draws


def noise(seed=0, chains=4, draws=1000):
    return np.random.default_rng(seed).normal(size=(chains, draws))


def test_good_draws_pass_and_each_kind_of_bad_draw_fails():
    apart = noise(1) + np.arange(4)[:, None]
    sticky = np.cumsum(noise(2), axis=1)
    lost = noise(3)
    lost[0, 5] = np.nan
    table = diagnose({"good": noise(), "apart": apart, "sticky": sticky, "lost": lost})
    ok = dict(zip(table["quantity"], table["ok"], strict=True))
    assert ok == {"good": True, "apart": False, "sticky": False, "lost": False}


def test_few_draws_fail_by_their_effective_sample_size():
    table = diagnose({"few": noise(4, draws=80)})
    assert table["r_hat"].iloc[0] < 1.05
    assert not table["ok"].iloc[0]


def test_quantities_that_never_vary_are_left_out():
    assert diagnose({"one": np.ones((4, 100)), "x": noise()})["quantity"].tolist() == ["x"]


def test_a_quantity_in_a_large_unit_is_checked_all_the_same():
    """Chains apart at 1e-13 of the unit are as far apart as any."""
    apart = 1e-14 * (noise() + 10 * np.arange(4)[:, None])
    assert not diagnose({"tau": apart})["ok"].iloc[0]


class FakeNutpie:
    """nutpie with draws of one's own: each call takes the next of `runs`."""

    def __init__(self, runs):
        self.runs, self.calls = list(runs), []

    def sample(self, compiled, **settings):
        self.calls.append(settings)
        run = self.runs[len(self.calls) - 1]

        def group(**values):
            return SimpleNamespace(dataset=values)

        energy = run.get("energy", noise(9))
        stats = group(diverging=run.get("diverging", np.zeros((4, 1000), bool)), energy=energy)
        return {"posterior": group(mu=run["mu"]), "sample_stats": stats}


def run(monkeypatch, *runs, **options):
    fake = FakeNutpie(runs)
    monkeypatch.setitem(__import__("sys").modules, "nutpie", fake)
    told, reported = [], lambda p: {"mu": p["mu"]}
    fit = sample_compiled(object(), reported, seed=7, progress=told.append, **options)
    return fit, fake, told


GOOD = {"mu": noise(5)}
BAD = {"mu": noise(6) + np.arange(4)[:, None]}


def test_a_good_run_is_not_repeated(monkeypatch):
    fit, fake, told = run(monkeypatch, GOOD)
    assert fit.converged
    assert len(fake.calls) == 1
    assert fit.facts["attempts"] == 1
    assert told == ["sampling 4 chains of 1000 + 2000 draws"]


def test_a_failed_run_is_repeated_once_with_stricter_settings(monkeypatch):
    fit, fake, told = run(monkeypatch, BAD, GOOD)
    assert fit.converged
    first, second = fake.calls
    assert second["draws"] == 2 * first["draws"]
    assert second["tune"] == 2 * first["tune"]
    assert second["target_accept"] > first["target_accept"]
    assert second["seed"] != first["seed"]
    assert fit.facts["attempts"] == 2
    assert any(w.startswith("checks failed (") and "stricter settings" in w for w in told)


def test_two_failed_runs_leave_problems_in_plain_words(monkeypatch):
    fit, fake, _ = run(monkeypatch, BAD, BAD)
    assert len(fake.calls) == 2
    assert not fit.converged
    (problem,) = fit.problems
    assert problem.startswith("1 of 1 reported quantities failed the convergence checks")
    assert "worst: mu" in problem
    # Twice what was tried last, which was twice the first.
    assert problem.endswith("Remedy: more draws (`settings=nm.Settings(draws=8000, tune=4000)`).")


def test_who_samples_says_what_can_be_done(monkeypatch):
    fit, _, _ = run(monkeypatch, BAD, BAD, remedy=REMEDY)
    (problem,) = fit.problems
    assert "Remedy: the exact engine" in problem
    assert "leave out `--engine nuts`" in problem
    assert "--draws" not in problem


def test_divergences_and_slow_energy_are_problems_of_their_own(monkeypatch):
    diverging = np.zeros((4, 1000), bool)
    diverging[1, 3] = True
    slow = {**GOOD, "diverging": diverging, "energy": np.cumsum(noise(8), axis=1)}
    fit, _, _ = run(monkeypatch, slow, slow)
    assert [p.split()[0] for p in fit.problems] == ["1", "E-BFMI"]
    assert fit.facts["divergences"] == 1
    assert fit.facts["e_bfmi_min"] < 0.3


def test_a_sampler_that_never_moved_has_not_converged(monkeypatch):
    """Every reported quantity constant: nothing was checked, so nothing passed."""
    stuck = {"mu": np.full((4, 1000), 0.3)}
    fit, _, _ = run(monkeypatch, stuck, stuck)
    assert not fit.converged


def test_settings_reach_the_sampler(monkeypatch):
    _, fake, _ = run(monkeypatch, GOOD, settings=Settings(300, 200, 2, 0.95), cores=1)
    (call,) = fake.calls
    assert (call["draws"], call["tune"], call["chains"]) == (300, 200, 2)
    assert (call["target_accept"], call["cores"], call["seed"]) == (0.95, 1, 7)


def test_cores_are_at_least_one():
    assert nuts.available_cores() >= 1


# ---------------------------------------------------------------- a posterior known by its draws


def test_empirical_answers_like_its_draws():
    x = np.random.default_rng(1).normal(2.0, 3.0, 5000)
    e = Empirical(x)
    assert e.mean == pytest.approx(x.mean())
    assert e.sd == pytest.approx(x.std(ddof=1))
    assert e.quantile(0.3) == pytest.approx(np.quantile(x, 0.3))
    assert float(e.cdf(2.0)) == pytest.approx((x <= 2).mean())
    grid = np.linspace(-15, 20, 4001)
    assert np.trapezoid(e.pdf(grid), grid) == pytest.approx(1.0, abs=1e-6)


def test_sampled_posterior_predicts_from_all_variance_components():
    rng = np.random.default_rng(2)
    mu, tau, omega = rng.normal(0.3, 0.1, 4000), np.full(4000, 0.3), np.full(4000, 0.4)
    post = SampledPosterior(mu, tau, omega)
    assert isinstance(post.prediction, NormalMixture)
    assert post.prediction.sd == pytest.approx(np.hypot(mu.std(), 0.5), rel=1e-6)
    assert SampledPosterior(mu, tau, None).prediction.sd == pytest.approx(
        np.hypot(mu.std(), 0.3), rel=1e-6
    )
    drawn = post.draws(4000)
    assert np.sort(drawn[0]).tolist() == np.sort(mu).tolist()
