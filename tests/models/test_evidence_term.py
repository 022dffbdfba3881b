"""The PyMC term: its common parts integrated out, it is the likelihood of the exact engine."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import layout
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import layout_nodes, layout_values, room
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.pool import implied_sds, pool_model
from nssi_meta.models.priors import PriorError, parse_prior
from nssi_meta.models.structure import data_nodes

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


def term(frame, with_omega=True):
    """Compiled log density and gradient of the evidence alone, as functions of a point."""
    data = layout(frame, vcalc, 0.6)
    with pm.Model() as model:
        mean, tau = pm.Flat("mean", shape=data.k), pm.Flat("tau", shape=data.k)
        omega = pm.Flat("omega") if with_omega else 0.0
        values = layout_values(data, frame["kind"].to_numpy(), {"row": np.arange(data.k)})
        nodes = data_nodes(values)
        at = pt.cast(nodes["row"], "int64")
        add_evidence(layout_nodes(nodes, values), mean[at], tau[at] ** 2, omega**2)
    return data, model.compile_logp(), model.compile_dlogp()


@pytest.fixture(scope="module")
def everything(frame_of, mixed_rows):
    return term(frame_of(mixed_rows))


def integrated(logp, point, reach=9.0):
    """Log of the integral over g (two blocks) on a 120 x 120 grid of [-9, 9]^2.

    The density lacks the constant of a normal prior for each of the two.
    """
    g, w = reach * _NODES, reach * _WEIGHTS
    values = np.array([[logp({**point, "g": np.array([a, b])}) for b in g] for a in g])
    peak = values.max()
    return peak + np.log(w @ np.exp(values - peak) @ w) - np.log(2 * np.pi)


# The numpy integral (5e-9 a block) is what may differ.
@pytest.mark.parametrize("seed", range(4))
def test_pymc_and_numpy_are_one_likelihood(everything, seed):
    data, logp, _ = everything
    rng = np.random.default_rng(seed)
    tau = np.full(data.k, rng.uniform(0.05, 0.6))
    mean, omega = rng.normal(0.1, 0.4, data.k), rng.uniform(0.0, 0.4)
    ours = log_likelihood(data, mean[None], tau[None], np.array([[omega]])).sum()
    theirs = integrated(logp, {"mean": mean, "tau": tau, "omega": np.array(omega)})
    assert theirs == pytest.approx(ours, abs=1e-6)


def test_without_bound_blocks_nothing_is_left_to_integrate(frame_of, mixed_rows):
    data, logp, _ = term(frame_of(mixed_rows[:10]), with_omega=False)
    rng = np.random.default_rng(8)
    mean, tau = rng.normal(0.2, 0.5, data.k), np.full(data.k, 0.25)
    ours = log_likelihood(data, mean[None], tau[None], np.zeros((1, 1))).sum()
    assert float(logp({"mean": mean, "tau": tau})) == pytest.approx(ours, rel=1e-6)


def test_the_gradient_is_the_slope_of_the_value(everything):
    data, logp, dlogp = everything
    point = {
        "mean": np.linspace(-0.3, 0.5, data.k), "tau": np.full(data.k, 0.3),
        "omega": np.array(0.15), "g": np.array([0.4, -0.8]),
    }  # fmt: skip
    gradient, at, step = dlogp(point), 0, 1e-5
    for name in ("mean", "tau", "omega", "g"):
        value = np.atleast_1d(point[name])
        for i in range(value.size):
            up, down = value.copy(), value.copy()
            up[i] += step
            down[i] -= step
            shape = np.shape(point[name])
            slope = (
                logp({**point, name: up.reshape(shape)})
                - logp({**point, name: down.reshape(shape)})
            ) / (2 * step)
            # step^2 and rounding / step: 1e-6 of a slope of order 1 to 50
            assert gradient[at] == pytest.approx(float(slope), rel=1e-5, abs=1e-5)
            at += 1
    assert at == len(gradient)


@pytest.mark.parametrize("mean", [-6.0, 6.0, -60.0, 60.0])
@pytest.mark.parametrize("tau", [1e-6, 0.3, 10.0])
@pytest.mark.parametrize("g", [-8.0, 0.0, 8.0])
def test_value_and_gradient_are_finite_far_out(everything, mean, tau, g):
    """30 and 300 standard errors away (s = 0.2), tau from nothing to 50 times s."""
    data, logp, dlogp = everything
    for omega in (1e-8, 0.2):
        point = {
            "mean": np.full(data.k, mean), "tau": np.full(data.k, tau),
            "omega": np.array(omega), "g": np.array([g, -g]),
        }  # fmt: skip
        assert np.isfinite(logp(point))
        assert np.isfinite(dlogp(point)).all()


@pytest.mark.parametrize(
    ("mu", "tau"),
    [
        ("normal(0.1,2)", "halfnormal(0.4)"),
        ("student_t(4,0,1)", "halfcauchy(0.3)"),
        ("flat", "halft(3,0.5)"),
        ("normal(0,1)", "exponential(0.3)"),
        ("normal(0,1)", "lognormal(-1,0.7)"),
        ("normal(0,1)", "lognormal2(-2,1.4)"),
        ("normal(0,1)", "invgamma(1,0.15)"),
        ("normal(0,1)", "uniform(0,2)"),
        ("normal(0,1)", "uniform(0,inf)"),
        ("normal(0,1)", "flat"),
    ],
)
def test_the_pool_model_has_the_priors_it_was_given(frame_of, mu, tau):
    """log p = likelihood + priors, on the scale of tau itself (no Jacobian).

    A symmetric prior folded at 0 is sampled with a sign, in units of its scale: half of the density
    at tau belongs to either sign.
    """
    frame = frame_of([{"yi": 0.3}, {"yi": 0.1, "vi": 0.02}, {"yi": -0.4}])
    data = layout(frame, vcalc, 0.6)
    mu_prior, tau_prior = parse_prior(mu, "mu"), parse_prior(tau, "tau")
    model = pool_model(data, frame["kind"].to_numpy(), mu_prior, tau_prior).model()
    logp = model.compile_logp(jacobian=False)
    folded = tau.startswith("half")
    rv = model["tau_folded" if folded else "tau"]
    forward, scale = model.rvs_to_transforms[rv], tau_prior.params[-1] if folded else None
    for m, t, sign in ((0.0, 0.3, 1), (-0.7, 1.1, -1), (0.4, 0.05, 1), (0.2, 0.2, -1)):
        x = np.array(t)
        sampled = sign * x / scale if folded else forward.forward(x, *rv.owner.inputs).eval()
        point = {"mu": np.array(m), model.rvs_to_values[rv].name: sampled}
        ours = (
            log_likelihood(data, np.full((1, 3), m), np.full((1, 3), t), np.zeros((1, 1))).sum()
            + mu_prior.logpdf(np.array(m))
            + tau_prior.logpdf(x)
            + (np.log(scale / 2) if folded else 0.0)
        )
        theirs = float(logp(point))
        if np.isfinite(ours):
            # constants in single precision inside PyMC's priors (root of 2 pi): 4e-8 a factor
            assert theirs == pytest.approx(float(ours), rel=1e-6)
        else:
            assert theirs == ours


def test_a_log_t_is_sampled_on_the_log_of_tau_squared(frame_of):
    """tau = exp(z / 2) with z Student's t: the density of z carries the factor 2 / tau."""
    frame = frame_of([{"yi": 0.3}, {"yi": 0.1, "vi": 0.02}, {"yi": -0.4}])
    data = layout(frame, vcalc, 0.6)
    mu_prior, tau_prior = parse_prior("flat", "mu"), parse_prior("rhodes2015", "tau")
    model = pool_model(data, frame["kind"].to_numpy(), mu_prior, tau_prior).model()
    logp = model.compile_logp(jacobian=False)
    for t in (0.05, 0.4):
        point = {"mu": np.array(0.1), "log_tau_squared": np.array(2 * np.log(t))}
        ours = log_likelihood(data, np.full((1, 3), 0.1), np.full((1, 3), t), np.zeros((1, 1)))
        prior = tau_prior.logpdf(np.array(t)) + np.log(t / 2)
        assert float(logp(point)) == pytest.approx(float(ours.sum() + prior), rel=1e-6)


@pytest.mark.parametrize(
    "prior", ["halfnormal(0.4)", "halfcauchy(0.3)", "halft(3,0.5)", "rhodes2015", "flat"]
)
def test_draws_have_the_tau_and_omega_of_the_model(frame_of, prior):
    """The compiled code gives what is sampled: `implied_sds` makes of it what the model does."""
    rows = [{"study_id": "A", "yi": 0.3}, {"study_id": "A", "yi": 0.1}, {"yi": -0.4}, {"yi": 0.0}]
    frame = frame_of(rows)
    priors = [parse_prior(prior, "tau"), parse_prior("halfnormal(0.7)", "omega")]
    recipe = pool_model(
        layout(frame, vcalc, 0.6), frame["kind"].to_numpy(), parse_prior("flat", "mu"), *priors
    )
    model = recipe.model()
    for tau, omega in ((0.6, -0.2), (-1.3, 0.4)):
        sampled = {rv.name: np.array(0.1) for rv in model.free_RVs}
        (name,) = (name for name in sampled if "tau" in name)
        sampled |= {name: np.array(abs(tau) if name == "tau" else tau)}
        sampled |= {"omega_folded": np.array(omega)}
        sds = [model[n] for n in ("tau", "omega")]
        theirs = [
            float(sd.eval({model[n]: x for n, x in sampled.items() if n in seen(sd)})) for sd in sds
        ]
        draws = {n: x[None] for n, x in sampled.items()}
        ours = draws | implied_sds(draws, recipe.values["fixed"])
        assert [ours["tau"][0], ours["omega"][0]] == pytest.approx(theirs, rel=1e-14)
        assert ours["omega"][0] == pytest.approx(0.7 * abs(omega), rel=1e-15)
        assert min(theirs) > 0


def seen(variable):
    """Names of what a variable of a model is computed from, itself included."""
    from pytensor.graph.traversal import ancestors

    return {node.name for node in ancestors([variable]) if node.name}


def test_room_for_studies_grows_by_few_sizes():
    numbers = (0, 1, 2, 3, 4, 5, 8, 9, 16, 17)
    assert [room(n) for n in numbers] == [0, 1, 2, 4, 4, 8, 8, 16, 16, 24]


@pytest.mark.parametrize("tau", ["jeffreys", "dumouchel", "zero"])
def test_priors_of_the_exact_engine_alone_are_refused_by_name(frame_of, tau):
    frame = frame_of([{"yi": 0.3}, {"yi": 0.1}])
    data = layout(frame, vcalc, 0.6)
    with pytest.raises(PriorError, match=f"{tau} is for the exact engine alone"):
        pool_model(data, frame["kind"].to_numpy(), parse_prior("flat", "mu"),
                   parse_prior(tau, "tau")).model()  # fmt: skip
