"""The functions that the sampler calls are the model's own, whatever lies on disk."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from nssi_meta.inference.compiling import compile_model, with_data

Y = np.array([0.2, -0.1, 0.7])

# mu ~ N(0, 1), log sd ~ N(0, 1) behind a positive parameter, y_i ~ N(mu, sd * scale_i)
MODEL = """
import numpy as np, pymc as pm
def build(y, scale):
    with pm.Model(coords={"row": range(len(y))}) as model:
        data = pm.Data("y", y)
        mu = pm.Normal("mu")
        sd = pm.LogNormal("sd")
        pm.Deterministic("twice", 2 * mu * np.ones(len(y)), dims="row")
        pm.Normal("seen", mu, sd * np.asarray(scale), observed=data)
    return model
"""


def build(y, scale):
    names = {}
    exec(MODEL, names)
    return names["build"](y, scale)


def log_density(mu, log_sd, y, scale):
    """On the unconstrained scale: the log-normal's log is normal, Jacobian and all."""
    return (
        stats.norm.logpdf(mu)
        + stats.norm.logpdf(log_sd)
        + stats.norm.logpdf(y, mu, np.exp(log_sd) * np.asarray(scale)).sum()
    )


def evaluate(compiled, x):
    """What nutpie gets: log density, gradient and the code that says whether they count."""
    x, gradient, logp = np.asarray(x, float), np.empty(len(x)), np.empty(1)
    real = ctypes.POINTER(ctypes.c_double)
    pointers = [array.ctypes.data_as(real) for array in (x, gradient, logp)]
    code = compiled.compiled_logp_func.ctypes(len(x), *pointers, compiled.user_data.ctypes.data)
    return logp[0], gradient, code


def expand(compiled, x):
    """The model's variables at x, by name."""
    x, out = np.asarray(x, float), np.empty(compiled.n_expanded)
    real = ctypes.POINTER(ctypes.c_double)
    pointers = [array.ctypes.data_as(real) for array in (x, out)]
    call = compiled.compiled_expand_func.ctypes
    assert call(len(x), len(out), *pointers, compiled.user_data.ctypes.data) == 0
    names, places, shapes = compiled.shape_info
    return {n: out[p].reshape(s) for n, p, s in zip(names, places, shapes, strict=True)}


@pytest.mark.parametrize("scale", [(1.0, 2.0, 0.5), (1.0, 2.0, 0.25)])
def test_density_and_gradient_are_the_models(scale):
    """Two models that differ in one constant must not share what is kept on disk."""
    compiled = compile_model(build(Y, scale), ["twice"])
    value, gradient, code = evaluate(compiled, [0.3, -0.2])
    assert code == 0
    assert value == pytest.approx(log_density(0.3, -0.2, Y, scale), abs=1e-12)
    h = 1e-6  # central differences: error about h^2
    for i, step in enumerate(np.eye(2) * h):
        up, down = (evaluate(compiled, [0.3, -0.2] + s * step)[0] for s in (1, -1))
        assert gradient[i] == pytest.approx((up - down) / (2 * h), abs=1e-7)


def test_a_later_process_finds_the_right_machine_code():
    """What this process left on disk serves the next one, and only for the same constants."""
    compile_model(build(Y, (1.0, 2.0, 0.5)), ["twice"])
    code = (
        f"{MODEL}\n"
        "from nssi_meta.inference.compiling import compile_model\n"
        f"for scale in ((1.0, 2.0, 0.5), (1.0, 2.0, 4.0)):\n"
        f"    compiled = compile_model(build(np.array({Y.tolist()}), scale), [])\n"
        "    print(float(compiled.logp_func([0.3, -0.2])[0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = [float(line) for line in done.stdout.split()]
    expected = [log_density(0.3, -0.2, Y, s) for s in ((1.0, 2.0, 0.5), (1.0, 2.0, 4.0))]
    assert found == pytest.approx(expected, abs=1e-12)


def test_data_can_be_replaced_and_unread_data_are_left_out():
    compiled = compile_model(build(Y, (1.0, 2.0, 0.5)), ["twice"])
    other = with_data(compiled, {"y": Y.astype(int) + 5, "unread": [1]}, {"row": ["a", "b", "c"]})
    value, _, code = evaluate(other, [0.3, -0.2])
    assert code == 0
    assert value == pytest.approx(log_density(0.3, -0.2, Y.astype(int) + 5, (1, 2, 0.5)), abs=1e-12)
    assert evaluate(compiled, [0.3, -0.2])[0] != value
    assert list(other.coords["row"]) == ["a", "b", "c"]
    assert list(compiled.coords["row"]) == [0, 1, 2]


def test_data_of_several_shapes_and_types_reach_the_function():
    """A scalar, a matrix and whole numbers beside a vector; other sizes on a second call."""
    import pymc as pm

    def density(x, a, W, index, y):
        return stats.norm.logpdf(x).sum() + a * (W[:, index] @ x[:2]).sum() + (y * x[2]).sum()

    rng = np.random.default_rng(3)
    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        a, W = pm.Data("a", 0.5), pm.Data("W", rng.normal(size=(4, 3)))
        index, y = pm.Data("index", np.array([2, 0])), pm.Data("y", rng.normal(size=5))
        pm.Potential("sums", a * pm.math.dot(W[:, index], x[:2]).sum() + (y * x[2]).sum())
    compiled = compile_model(model, [])
    point = np.array([0.3, -0.2, 1.1])
    for rows, n in ((4, 5), (7, 2)):
        new = {"a": 0.1 * rows, "W": rng.normal(size=(rows, 3)), "y": rng.normal(size=n)}
        new |= {"index": np.array([rows % 2, 2])}
        value, _, code = evaluate(with_data(compiled, new, {}), point)
        assert code == 0
        assert value == pytest.approx(density(point, **new), abs=1e-12)


def test_the_trace_holds_free_and_wanted_derived_variables():
    values = expand(compile_model(build(Y, (1.0, 2.0, 0.5)), ["twice"]), [0.3, -0.2])
    assert values["mu"] == pytest.approx(0.3)
    assert values["sd"] == pytest.approx(np.exp(-0.2))
    assert values["twice"] == pytest.approx([0.6] * 3)
    fewer = compile_model(build(Y, (1.0, 2.0, 0.5)), ["mu"])
    assert set(expand(fewer, [0.3, -0.2])) == {"mu", "sd"}


def test_a_gradient_that_is_not_finite_is_a_divergence():
    import pymc as pm

    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("edge", pm.math.sqrt(pm.math.maximum(x, 0.0)))  # slope 0 * inf at 0
    compiled = compile_model(model, [])
    assert evaluate(compiled, [0.0])[2] == 3
    assert evaluate(compiled, [0.5])[2] == 0


def test_starting_points_are_those_of_the_data_that_are_sampled():
    """Not of the data seen first: draws would then tell what else the process has fitted."""
    import pymc as pm

    with pm.Model() as model:
        centre = pm.Data("centre", np.array([0.0, 0.0]))
        pm.Normal("x", centre, shape=2)
    first = compile_model(model, [])
    near, far = first.initial_point_func(1), with_data(first, {"centre": [50, -50]}, {})
    # A jitter of U(-1, 1) about the prior's mean.
    np.testing.assert_allclose(far.initial_point_func(1), np.add(near, [50.0, -50.0]), rtol=1e-12)
    np.testing.assert_array_equal(first.initial_point_func(1), near)


def test_starting_points_differ_by_seed_and_repeat():
    compiled = compile_model(build(Y, (1.0, 2.0, 0.5)), ["twice"])
    first, second = compiled.initial_point_func(1), compiled.initial_point_func(2)
    assert first.shape == (2,)
    assert (first != second).all()
    assert (first == compiled.initial_point_func(1)).all()
