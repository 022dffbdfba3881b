"""The functions that the sampler calls are the model's own, whatever lies on disk."""

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
    return compiled._make_logp_func()(np.asarray(x, float), **compiled._shared_data)


@pytest.mark.parametrize("scale", [(1.0, 2.0, 0.5), (1.0, 2.0, 0.25)])
def test_density_and_gradient_are_the_models(scale):
    """Two models that differ in one constant must not share what is kept on disk."""
    compiled = compile_model(build(Y, scale))
    value, gradient = evaluate(compiled, [0.3, -0.2])
    assert value == pytest.approx(log_density(0.3, -0.2, Y, scale), abs=1e-12)
    h = 1e-6  # central differences: error about h^2
    for i, step in enumerate(np.eye(2) * h):
        up, down = (evaluate(compiled, [0.3, -0.2] + s * step)[0] for s in (1, -1))
        assert gradient[i] == pytest.approx((up - down) / (2 * h), abs=1e-7)


def test_a_later_process_finds_the_right_machine_code():
    """What this process left on disk serves the next one, and only for the same constants."""
    compile_model(build(Y, (1.0, 2.0, 0.5)))
    code = (
        f"{MODEL}\n"
        "from nssi_meta.inference.compiling import compile_model\n"
        f"for scale in ((1.0, 2.0, 0.5), (1.0, 2.0, 4.0)):\n"
        f"    compiled = compile_model(build(np.array({Y.tolist()}), scale))\n"
        "    x = np.array([0.3, -0.2])\n"
        "    print(compiled._make_logp_func()(x, **compiled._shared_data)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = [float(line) for line in done.stdout.split()]
    expected = [log_density(0.3, -0.2, Y, s) for s in ((1.0, 2.0, 0.5), (1.0, 2.0, 4.0))]
    assert found == pytest.approx(expected, abs=1e-12)


def test_data_can_be_replaced_and_unread_data_are_left_out():
    compiled = compile_model(build(Y, (1.0, 2.0, 0.5)))
    other = with_data(compiled, {"y": Y.astype(int) + 5, "unread": [1]})
    value, _ = evaluate(other, [0.3, -0.2])
    assert value == pytest.approx(log_density(0.3, -0.2, Y.astype(int) + 5, (1, 2, 0.5)), abs=1e-12)
    assert evaluate(compiled, [0.3, -0.2])[0] != value


def test_the_trace_holds_free_and_wanted_derived_variables():
    compiled = compile_model(build(Y, (1.0, 2.0, 0.5)))
    expand = compiled._make_expand_func(0, 0, 0)
    values = expand(np.array([0.3, -0.2]), **compiled._shared_data)
    assert float(values["mu"]) == pytest.approx(0.3)
    assert float(values["sd"]) == pytest.approx(np.exp(-0.2))
    assert np.asarray(values["twice"]) == pytest.approx([0.6] * 3)
    fewer = compile_model(build(Y, (1.0, 2.0, 0.5)), var_names=["mu"])
    values = fewer._make_expand_func(0, 0, 0)(np.zeros(2), **fewer._shared_data)
    assert set(values) == {"mu", "sd"}


def test_a_gradient_that_is_not_finite_is_a_divergence():
    import pymc as pm

    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("edge", pm.math.sqrt(pm.math.maximum(x, 0.0)))  # slope 0 * inf at 0
    value, gradient = evaluate(compile_model(model), [0.0])
    assert not np.isfinite(gradient).all()
    assert np.isnan(value)
