"""The joint model: its indexing, its symmetry in sign, its reference group."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.profiles import profile_data, profiles_model

ARMS = ("ill", "worse")


def rows():
    return [
        {"yi": 0.5, "mechanism": "m"},
        {"yi": 0.2, "mechanism": "m", "condition": "worse"},
        {"yi": 0.3, "mechanism": "m", "condition": "ill", "comparator": "worse"},
        {"yi": -0.4, "mechanism": "n"},
        {"yi": 0.1, "mechanism": "n", "vi": 0.09},
    ]


@pytest.fixture(scope="module")
def data(frame_of):
    return profile_data(frame_of(rows()), ARMS, "well", vcalc)


def test_arms_are_indexed_and_the_reference_is_minus_one(data):
    assert data.mechanisms == ("m", "n")
    assert data.mechanism.tolist() == [0, 0, 0, 1, 1]
    assert data.case.tolist() == [0, 1, 0, 0, 0]
    assert data.comparator.tolist() == [-1, -1, 1, -1, -1]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"condition": "unheard"}, "unheard"), ({"comparator": "mixed"}, "mixed"),
     ({"condition": "well"}, "well")],
)  # fmt: skip
def test_arms_outside_the_model_are_refused_by_name(frame_of, change, named):
    frame = frame_of([*rows(), {"yi": 0.1, **change}])
    with pytest.raises(ValueError, match=f"outside the model: {named}"):
        profile_data(frame, ARMS, "well", vcalc)


@pytest.fixture(scope="module")
def point():
    rng = np.random.default_rng(2)
    return {"z": rng.normal(size=(2, 2))}


def evidence(data, z, chol=None, tau=0.3):
    """The evidence term of the model at given means, the rest fixed."""
    import pymc as pm

    model = profiles_model(data).model()
    fixed = pm.do(
        model,
        {"z": z, "sigma": np.ones(2), "tau_0": 1.0, "z_tau": np.full(2, tau), "omega": 0.0,
         "chol": np.eye(2) if chol is None else chol},
    )  # fmt: skip
    return fixed["evidence"].eval(), fixed["mu"].eval()


def test_a_contrast_is_the_difference_of_two_means(data, point):
    from scipy import stats

    value, mu = evidence(data, point["z"])
    np.testing.assert_allclose(mu, point["z"], rtol=1e-14)
    mean = np.array([mu[0, 0], mu[0, 1], mu[0, 0] - mu[0, 1], mu[1, 0], mu[1, 0]])
    sd = np.sqrt(data.layout.v + 0.3**2)
    assert value == pytest.approx(stats.norm.logpdf(data.layout.y, mean, sd).sum(), rel=1e-6)


def test_coding_a_mechanism_the_other_way_round_changes_no_probability(frame_of, point):
    """y and mu of one mechanism change sign: the evidence is the same, and z's prior is even."""
    flipped = [{**r, "yi": -r["yi"]} if r["mechanism"] == "n" else r for r in rows()]
    z = point["z"] * np.array([[1.0], [-1.0]])
    plain, _ = evidence(profile_data(frame_of(rows()), ARMS, "well", vcalc), point["z"])
    other, _ = evidence(profile_data(frame_of(flipped), ARMS, "well", vcalc), z)
    assert other == pytest.approx(float(plain), rel=1e-12)


def test_heavy_tails_are_those_of_a_multivariate_t(data, point):
    from scipy.stats import multivariate_t

    z = np.array([[0.3, -1.2], [8.0, 5.0]])  # the second far out
    model = profiles_model(data, tails=4.0).model()
    mine = model.compile_logp(vars=model["z"], jacobian=False)
    t = multivariate_t(shape=np.eye(2), df=4.0)
    potential = model["z_prior"].eval({model["z"]: z})
    assert float(potential) == pytest.approx(t.logpdf(z).sum(), rel=1e-12)
    assert float(mine({**model.initial_point(), "z": z})) == 0.0  # nothing else is put on z


@pytest.mark.parametrize("tails", [2.0, -1.0, np.nan])
def test_tails_without_variance_are_refused(data, tails):
    with pytest.raises(ValueError, match="tails must be above 2"):
        profiles_model(data, tails=tails)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The effect of Potentials")
def test_the_prior_has_the_correlations_and_scales_it_states(data):
    """LKJ(2) on two conditions: r ~ 2 Beta(2, 2) - 1, SD 1/sqrt(5); sigma half-normal(1)."""
    import pymc as pm

    with profiles_model(data).model():
        prior = pm.sample_prior_predictive(4000, var_names=["R", "mu", "tau"], random_seed=1)
    draws = prior["prior"].dataset
    r = draws["R"].to_numpy()[0, :, 0, 1]
    # Monte Carlo error of 4,000 draws: 0.007 on the mean, 0.005 on the SD; four of them
    assert abs(r.mean()) < 0.03
    assert r.std() == pytest.approx(1 / np.sqrt(5), abs=0.02)
    np.testing.assert_allclose(draws["R"].to_numpy()[0, :, 0, 0], 1.0, atol=1e-12)
    mu = draws["mu"].to_numpy()[0]
    assert mu[:, 0, 0].std() == pytest.approx(1.0, abs=0.1)
    assert abs(mu[:, 0, 0].mean()) < 0.07
    # tau = tau_0 z: E = 0.5 * 2 / pi
    assert draws["tau"].to_numpy().mean() == pytest.approx(1 / np.pi, abs=0.02)
