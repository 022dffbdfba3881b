"""Each structure: PyMC samples the density that the numpy functions report, and that is right."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, stats

from nssi_meta.models import binomial, binomial_tables, location_scale, robust
from nssi_meta.models.coefficients import study_log_likelihood
from nssi_meta.models.horseshoe import _draw, horseshoe
from nssi_meta.models.priors import PriorError, parse_prior
from nssi_meta.models.regression import regression
from nssi_meta.models.structure import pack
from nssi_meta.models.study_rows import study_rows
from nssi_meta.models.three_level import three_level

REFERENCE = Path(__file__).parent.parent / "reference"
RNG = np.random.default_rng(11)
K = 9
STUDY = np.array(list("aabbbcdef"))
X = np.c_[np.ones(K), RNG.normal(size=(K, 3))]
Y = RNG.normal(0.3, 0.5, K)
V = RNG.uniform(0.02, 0.1, K)
NAMES = ["intercept", "x1", "x2", "x3"]
PRIORS = ["normal(0,1)"] * 4
BCG = pd.read_csv(REFERENCE / "bcg_counts.csv")
Z = np.c_[np.ones(K), (STUDY < "c").astype(float)]


def bcg_tables():
    return binomial_tables.count_tables(
        BCG["tpos"], BCG["tpos"] + BCG["tneg"], BCG["cpos"], BCG["cpos"] + BCG["cneg"]
    )


def rows(names=STUDY, columns=4):
    return study_rows(Y, V, names, X[:, :columns])


STRUCTURES = {
    "regression": lambda: regression(rows(), NAMES, PRIORS),
    "three-level": lambda: three_level(Y, V, STUDY),
    "single": lambda: three_level(Y, V, range(K), tau_prior="halfcauchy(0.3)"),
    "robust": lambda: robust.robust_regression(rows(), NAMES, PRIORS),
    "location-scale": lambda: location_scale.location_scale(
        rows(columns=2), NAMES[:2], PRIORS[:2], Z, ["intercept", "early"]
    ),
    "binomial": lambda: binomial.binomial_normal(bcg_tables()),
}


def points(model, n=3):
    """Points of the unconstrained space, and the density there by plain Python."""
    logp = model.compile_logp(mode=Mode("py", "fast_compile"))  # plain Python: nothing to compile
    start = model.initial_point()
    rng = np.random.default_rng(5)
    at = [
        {name: v + 0.3 * rng.normal(size=np.shape(v)) for name, v in start.items()}
        for _ in range(n)
    ]
    return at, np.array([float(logp(p)) for p in at])


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_sampled_density_is_the_reported_prior_times_likelihood(name, reported):
    structure = STRUCTURES[name]()
    at, density = points(structure.model())
    # Constants (of a normalised prior) may differ; differences must not.
    assert np.diff(density) == pytest.approx(np.diff(reported(structure, at)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", STRUCTURES)
def test_one_key_for_data_of_any_size(name):
    structure = STRUCTURES[name]()
    packed = pack(structure.values)
    assert len(packed) <= 3
    assert all(np.isfinite(v).all() for v in packed.values())
    small = {
        "regression": lambda: regression(
            study_rows(Y[:5], 2 * V[:5], STUDY[:5], X[:5]), NAMES, ["normal(0,3)"] * 4
        ),
        "three-level": lambda: three_level(Y[:4], V[:4], STUDY[:4], tau_prior="halfnormal(2)"),
        "single": lambda: three_level(Y[:3], V[:3], range(3), tau_prior="halfcauchy(2)"),
        "robust": lambda: robust.robust_regression(
            study_rows(Y[:5], V[:5], STUDY[:5], X[:5]), NAMES, PRIORS
        ),
        "location-scale": lambda: location_scale.location_scale(
            study_rows(Y[:5], V[:5], STUDY[:5], X[:5, :2]), NAMES[:2], PRIORS[:2],
            np.c_[np.ones(5), STUDY[:5] == "b"], ["intercept", "late"],
        ),
        "binomial": lambda: binomial.binomial_normal(
            binomial_tables.count_tables([3], [9], [1], [8])
        ),
    }[name]()  # fmt: skip
    assert small.key == structure.key
    shapes = {n: v.shape[:-1] for n, v in pack(small.values).items()}
    assert shapes == {n: v.shape[:-1] for n, v in packed.items()}


# ---------------------------------------------------------------- robust


def test_student_effects_are_integrated_right():
    """Against adaptive quadrature over the study effect, heavy tails and an outlier included."""
    one = study_rows([2.5, 1.9], [0.04, 0.09], ["a", "a"])
    tau, omega = 0.3, 0.1
    for nu in (1.0, 2.5, 8.0, 60.0):
        ours = robust.study_log_likelihood(
            one, np.zeros((1, 1)), np.array([tau]), np.array([omega]), np.array([nu])
        )

        def integrand(u, nu=nu):
            density = stats.t.pdf(u / tau, nu) / tau
            return density * np.prod(
                stats.norm.pdf([2.5, 1.9], u, np.sqrt([0.04 + omega**2, 0.09 + omega**2]))
            )

        direct, _ = integrate.quad(integrand, -20, 20, points=[0, 2.3], limit=400, epsabs=0)
        assert ours[0, 0] == pytest.approx(np.log(direct), abs=1e-7)


def test_the_rule_over_lambda_reaches_outliers_at_any_tau():
    """Against the same integral by 4,500 equal steps; effects beyond all belief apart.

    Below e^-30 of what some other tau and nu would give, a density matters to no posterior.
    """
    from scipy.special import gammaln

    nu, tau = np.r_[1.05, 1.3, 2, 3, 5, 10, 30, 1e3, 1e6], np.r_[0.01, 0.1, 1, 10, 100]
    y = np.r_[0.0, 2, 4, 8, 12, 20]
    one = study_rows(y, np.ones(6), range(6))
    at = [a.ravel() for a in np.meshgrid(nu, tau, indexing="ij")]
    none = np.zeros(len(at[0]))
    ours = robust.study_log_likelihood(one, none[:, None], at[1], none, at[0])
    half, x = at[0][:, None] / 2, np.arange(-80, 10, 0.02)
    s = x / np.sqrt(half)
    weight = half * np.log(half) - gammaln(half) + half * (s - np.exp(s)) - 0.5 * np.log(half)
    total = 1 + at[1][:, None] ** 2 * np.exp(-s)
    for j, effect in enumerate(y):
        value = weight - 0.5 * (np.log(2 * np.pi * total) + effect**2 / total) + np.log(0.02)
        wanted = np.logaddexp.reduce(value, axis=1)
        matters = wanted > wanted.max() - 30
        assert ours[matters, j] == pytest.approx(wanted[matters], abs=1e-6)


def test_many_degrees_of_freedom_are_the_normal_model():
    data = rows()
    coef, tau, omega = RNG.normal(size=(3, 4)), np.array([0.0, 0.3, 2.0]), np.array([0.1, 0.2, 0.4])
    normal = study_log_likelihood(data, coef, tau, omega)
    student = robust.study_log_likelihood(data, coef, tau, omega, np.full(3, 1e8))
    # The t density differs from the normal by about x^4 / (4 nu).
    assert student == pytest.approx(normal, abs=2e-5)


# ---------------------------------------------------------------- binomial


def test_a_table_has_its_binomial_likelihood():
    table = binomial_tables.count_tables([0], [12], [4], [15], baseline_sd=10.0)
    for theta in (-6.0, -1.0, 0.5):

        def integrand(a, theta=theta):
            p, q = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-a - theta))
            counts = stats.binom.pmf(4, 15, p) * stats.binom.pmf(0, 12, q)
            return counts * stats.norm.pdf(a, 0, 10)

        direct, _ = integrate.quad(integrand, -12, 12, points=[-1], limit=200)
        ours = binomial.study_log_likelihood(table, np.array([theta]), np.array([0.0]))
        assert ours[0, 0] == pytest.approx(np.log(direct), abs=2e-6)


def test_binomial_normal_by_quadrature_is_the_exact_posterior():
    exact = json.loads((REFERENCE / "binomial_normal_exact.json").read_text())["result"]
    x, w = np.polynomial.legendre.leggauss(24)

    def panels(edges):
        low, high = np.array(edges[:-1]), np.array(edges[1:])
        half, middle = (high - low)[:, None] / 2, (high + low)[:, None] / 2
        return (half * x + middle).ravel(), (half * w).ravel()

    mu, w_mu = panels([-3.5, -2, -1.2, -0.75, -0.3, 0.5, 2])
    tau, w_tau = panels([0, 0.25, 0.5, 0.75, 1.1, 1.6, 3.5])
    at = [a.ravel() for a in np.meshgrid(mu, tau, indexing="ij")]
    density = binomial.study_log_likelihood(bcg_tables(), *at).sum(axis=1)
    density += parse_prior("normal(0,2)", "mu").logpdf(at[0])
    density += parse_prior("halfnormal(1)", "tau").logpdf(at[1])
    weight = np.exp(density - density.max()) * np.outer(w_mu, w_tau).ravel()
    for value, wanted in zip(at, (exact["mu"], exact["tau"]), strict=True):
        mean = np.average(value, weights=weight)
        sd = np.sqrt(np.average((value - mean) ** 2, weights=weight))
        assert mean == pytest.approx(wanted["mean"], abs=1e-6)
        assert sd == pytest.approx(wanted["sd"], abs=1e-6)
    assert np.log(weight.sum()) + density.max() == pytest.approx(exact["logml"], abs=1e-4)


# ---------------------------------------------------------------- horseshoe


def horseshoe_structure():
    names = np.array(list("abcdefghi"))
    return horseshoe(rows(names), NAMES, expected=1, intercept_prior="normal(0.2,1)")


def test_horseshoe_samples_the_marginal_density_of_the_data(parameters):
    structure = horseshoe_structure()
    at, density = points(structure.model())
    draws, jacobian = parameters(structure, at)
    unit = np.r_[1.0, X[:, 1:].std(axis=0)]
    ours = jacobian.copy()
    for s, scales in enumerate(draws["scales"]):
        sigma = np.diag(V + draws["tau"][s] ** 2) + (X / unit * scales**2) @ (X / unit).T
        ours[s] += stats.multivariate_normal(np.full(K, 0.2), sigma).logpdf(Y)
    prior = structure.log_prior(draws | {"coef": np.zeros((len(at), 4))})
    ours += sum(value for name, value in prior.items() if name != "coef")
    assert np.diff(density) == pytest.approx(np.diff(ours), rel=1e-9, abs=1e-9)


def test_horseshoe_has_the_gradient_of_its_density():
    """The gradient is written with a vector held fixed; central differences know nothing of it."""
    model = horseshoe_structure().model()
    mode = Mode("py", "fast_compile")
    at = {name: np.full(np.shape(v), -0.4) for name, v in model.initial_point().items()}
    logp, gradient = model.compile_logp(mode=mode), model.compile_dlogp(mode=mode)(at)
    numeric = []
    for variable in model.value_vars:
        for i in np.ndindex(np.shape(at[variable.name])):
            step = np.zeros_like(at[variable.name])
            step[i] = 1e-5
            up, down = (logp(at | {variable.name: at[variable.name] + d}) for d in (step, -step))
            numeric.append((up - down) / 2e-5)
    assert gradient == pytest.approx(np.array(numeric), rel=1e-6, abs=1e-6)


def test_horseshoe_draws_coefficients_from_their_conditional_posterior():
    data = study_rows(Y, V, STUDY, X)
    n = 20_000
    s = np.tile([1.0, 0.5, 0.01, 0.2], (n, 1))
    tau, omega = np.full(n, 0.3), np.full(n, 0.2)
    noise = np.random.default_rng(0).standard_normal(s.shape)
    drawn = _draw(data, s, tau, omega, noise)
    same = STUDY[:, None] == STUDY[None, :]
    sigma = np.diag(V + 0.2**2) + 0.3**2 * same
    precision = X.T @ np.linalg.solve(sigma, X) + np.diag(s[0] ** -2)
    cov = np.linalg.inv(precision)
    mean = cov @ X.T @ np.linalg.solve(sigma, Y)
    # Standard errors of 20,000 independent draws; five of them.
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=5 * np.sqrt(cov.max() / n))
    assert np.cov(drawn.T) == pytest.approx(cov, abs=5 * cov.max() * np.sqrt(2 / n))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: regression(rows(), NAMES[:2], PRIORS), ValueError, "4 columns, but there are 2"),
        (
            lambda: regression(rows(), NAMES, ["student_t(3,0,1)"] * 4),
            PriorError,
            "not possible for a coefficient",
        ),
        (
            lambda: regression(rows(), NAMES, ["flat"] * 4, tau_prior="flat", omega_prior="flat"),
            PriorError,
            "omega .flat. is improper",
        ),
        (
            lambda: three_level(Y[:2], V[:2], range(2), "flat", "uniform(0,inf)"),
            PriorError,
            "at least 3 studies, here 2",
        ),
        (
            lambda: regression(
                study_rows(Y, V, STUDY, np.c_[X, X[:, 1]]), [*NAMES, "again"], ["flat"] * 5
            ),
            PriorError,
            "5 coefficients with flat priors, but the data identify 4",
        ),
        (
            lambda: location_scale.location_scale(
                rows(columns=1), ["mu"], ["flat"], X[:, :2], ["intercept", "age"]
            ),
            ValueError,
            "age differs within the study a",
        ),
        (
            lambda: location_scale.location_scale(
                rows(columns=1), ["mu"], ["flat"], Z, ["a", "b"], ["flat", "flat"]
            ),
            PriorError,
            "flat prior on log tau",
        ),
        (lambda: horseshoe(rows(), NAMES, expected=3), ValueError, "at least 1 and below 3"),
        (lambda: horseshoe(rows(), NAMES, 1, "flat"), PriorError, "proper intercept prior"),
        (lambda: binomial_tables.count_tables([5], [4], [1], [4]), ValueError, "row 1: 5 of 4"),
        (lambda: binomial_tables.count_tables([0.5], [4], [1], [4]), ValueError, "no counts"),
        (
            lambda: binomial.binomial_normal(
                binomial_tables.count_tables([1], [4], [1], [4]), tau_prior="flat"
            ),
            PriorError,
            "improper prior on tau",
        ),
        (  # no events among the treated: the odds ratio may be as low as it likes
            lambda: binomial.binomial_normal(
                binomial_tables.count_tables([0, 0, 0], [50] * 3, [5, 4, 6], [50] * 3), "flat"
            ),
            PriorError,
            "flat prior on mu",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_slab_worked_out_with_numpy_is_a_number_too():
    assert horseshoe(rows(), NAMES, 1, slab=np.float64(0.5)).key == horseshoe(rows(), NAMES, 1).key
