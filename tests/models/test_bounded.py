"""Regression with bounds: PyMC samples what the numpy functions report, and that is right."""

from __future__ import annotations

import numpy as np
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import layout
from nssi_meta.models.bounded import block_log_likelihood, bounded_regression
from nssi_meta.models.priors import PriorError
from nssi_meta.models.regression import regression
from nssi_meta.models.robust import robust_regression
from nssi_meta.models.structure import pack
from nssi_meta.models.study_rows import study_rows

INF = np.inf
NAMES, PRIORS = ["intercept", "slope"], ["normal(0,1)", "normal(0,0.5)"]
MODES = pytest.mark.parametrize("student", [False, True], ids=["normal", "student"])


def structure(frame, student, sign=1.0, priors=PRIORS):
    X = np.c_[np.ones(len(frame)), np.linspace(-1, 1, len(frame))]
    low, high = frame["lower"], frame["upper"]
    if sign < 0:
        frame = frame.assign(yi=-frame["yi"], lower=-high, upper=-low)
    kind = frame["kind"].to_numpy()
    return bounded_regression(layout(frame, vcalc), kind, X, NAMES, priors, student=student)


def density(model):
    """Log density by plain Python, as nothing else need be compiled."""
    return model.compile_logp(mode=Mode("py", "fast_compile"))


def points(model, n=3):
    start, rng = model.initial_point(), np.random.default_rng(5)
    return [{k: v + 0.3 * rng.normal(size=np.shape(v)) for k, v in start.items()} for _ in range(n)]


def parameters(made, at):
    """Draws (S, ...) of a structure at points, and the log Jacobian of its logarithms."""
    draws, jacobian = {}, np.zeros(len(at))
    for name in at[0]:
        value = np.array([p[name] for p in at], dtype=float)
        if name.endswith("_log__"):
            jacobian += value.reshape(len(at), -1).sum(axis=1)
            draws[name.removesuffix("_log__")] = np.exp(value)
        else:
            draws[name] = value
    return draws | made.extra(draws), jacobian


def reported(made, at):
    """Prior times likelihood (S,) from the structure's own functions, with the logs' Jacobian."""
    draws, jacobian = parameters(made, at)
    whole = made.log_likelihood(draws).sum(axis=1) + sum(made.log_prior(draws).values())
    return whole + jacobian


@MODES
def test_the_sampled_density_is_the_reported_prior_times_likelihood(frame_of, mixed_rows, student):
    made = structure(frame_of(mixed_rows[:10]), student)
    model = made.model()
    at, logp = points(model), density(model)
    theirs = [float(logp(p)) for p in at]
    # 1e-6: constants in single precision inside PyMC's normal distribution function.
    assert np.diff(theirs) == pytest.approx(np.diff(reported(made, at)), rel=1e-6, abs=1e-6)


@MODES
def test_the_common_part_integrated_out_is_the_exact_engines_likelihood(
    frame_of, mixed_rows, student
):
    made = structure(frame_of([mixed_rows[0], *mixed_rows[12:15]]), student)
    model = made.model()
    at, logp = points(model), density(model)
    x, w = np.polynomial.legendre.leggauss(60)
    f, weight = 7 * x, 7 * w
    theirs = []
    for point in at:
        values = np.array([float(logp(point | {"f": np.array([one])})) for one in f])
        theirs.append(values.max() + np.log(weight @ np.exp(values - values.max())))
        del point["f"]
    # The exact engine's integral over f: 5e-9 to 1e-4 a block (`bound_blocks`).
    assert np.diff(theirs) == pytest.approx(np.diff(reported(made, at)), abs=1e-4)


@MODES
def test_signs_may_be_flipped(frame_of, mixed_rows, student):
    """Mirrored effects, mirrored ends, negative coefficients: the same density."""
    frame = frame_of(mixed_rows)
    one, other = structure(frame, student), structure(frame, student, sign=-1.0)
    logp, mirrored = density(one.model()), density(other.model())
    chol, centre = (one.values["fixed"][n] for n in ("coef_chol", "coef_centre"))
    back, start = (other.values["fixed"][n] for n in ("coef_chol", "coef_centre"))
    for point in points(one.model()):
        coef = centre + chol @ point["coef_raw"]
        raw = np.linalg.solve(back, -coef - start)
        negative = point | {"coef_raw": raw, "f": -point["f"]}
        assert float(mirrored(negative)) == pytest.approx(float(logp(point)), abs=1e-8)


@MODES
def test_exact_rows_alone_are_the_regression_of_exact_effects(frame_of, student):
    y, v = np.array([0.3, 0.5, -0.2, 0.9]), np.array([0.04, 0.02, 0.05, 0.1])
    frame = frame_of([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)])
    made = structure(frame, student)
    X = np.c_[np.ones(4), np.linspace(-1, 1, 4)]
    plain = (robust_regression if student else regression)(
        study_rows(y, v, range(4), X), NAMES, PRIORS
    )
    rng = np.random.default_rng(1)
    draws = {"coef": rng.normal(size=(5, 2)), "tau": rng.uniform(0.1, 1, 5),
             "nu": rng.uniform(1.5, 9, 5)}  # fmt: skip
    assert made.log_likelihood(draws) == pytest.approx(plain.log_likelihood(draws), abs=1e-12)
    assert made.log_prior(draws)["coef"] == pytest.approx(plain.log_prior(draws)["coef"])


@pytest.mark.parametrize("nu", [1.5, 4.0, 30.0])
@pytest.mark.parametrize(("low", "high"), [(0.4, INF), (-INF, -0.35), (-0.4, 0.4)])
def test_a_bound_under_student_effects_has_its_probability(frame_of, nu, low, high):
    """Against scipy's quad over the study effect; 1e-7 is that of the rule over lambda."""
    frame = frame_of([{"kind": "interval", "lower": low, "upper": high}])
    mean, tau, sd = 0.25, 0.3, 0.2
    ours = block_log_likelihood(
        layout(frame, vcalc), np.array([[mean]]), np.array([tau]), np.zeros(1), np.array([nu])
    )

    def inside(u):
        ends = stats.norm.cdf([(low - mean - u) / sd, (high - mean - u) / sd])
        return stats.t.pdf(u / tau, nu) / tau * (ends[1] - ends[0])

    parts = [(-np.inf, -9), (-9, 0), (0, 9), (9, np.inf)]
    wanted = sum(integrate.quad(inside, *part, limit=300)[0] for part in parts)
    assert np.exp(ours[0, 0]) == pytest.approx(wanted, rel=1e-7)


@MODES
def test_one_compiled_model_serves_tables_of_any_size(frame_of, mixed_rows, student):
    frame = frame_of(mixed_rows)
    one = structure(frame, student)
    model = one.model()
    logp, at = density(model), points(model, 1)[0]
    fewer = frame.drop(index=[0, 2, 3, 4]).assign(upper=frame["upper"] + 0.1)
    for rows, priors in ((frame, ["normal(1,3)"] * 2), (fewer, PRIORS), (frame, PRIORS)):
        other = structure(rows.reset_index(drop=True), student, priors=priors)
        assert other.key == one.key
        for name, value in pack(other.values).items():
            model[name].set_value(value)
        assert float(logp(at)) == pytest.approx(float(density(other.model())(at)), rel=1e-12)


def test_another_model_has_another_key(frame_of, mixed_rows):
    frame = frame_of(mixed_rows)
    keys = {structure(frame, student).key for student in (False, True)}
    keys.add(structure(frame.iloc[:10], False).key)  # no study with two bounds
    assert len(keys) == 3


def test_what_is_refused(frame_of, mixed_rows):
    frame = frame_of(mixed_rows[2:5])
    lost = frame_of([{"yi": 0.3}, {"yi": np.nan}])
    with pytest.raises(ValueError, match="row 2 of the pool has an effect of nan"):
        structure(lost, False)
    with pytest.raises(PriorError, match="the data identify 0"):
        structure(frame, False, priors=["flat", "flat"])
    data, kind = layout(frame, vcalc), frame["kind"].to_numpy()
    with pytest.raises(ValueError, match="matrix of 3 rows"):
        bounded_regression(data, kind, np.ones((2, 1)), ["mu"], ["normal(0,1)"])
    with pytest.raises(ValueError, match="1 columns, but there are 2 names"):
        bounded_regression(data, kind, np.ones((3, 1)), NAMES, PRIORS)
    with pytest.raises(ValueError, match="'censored' is not known; allowed: exact"):
        bounded_regression(data, [*kind[:2].tolist(), "censored"], np.ones((3, 1)), ["mu"], PRIORS)
