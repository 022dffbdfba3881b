"""Models with bounds: PyMC samples what the numpy functions report, and that is right."""

from __future__ import annotations

import numpy as np
import pytest
from pytensor.compile.mode import Mode
from scipy import stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import layout
from nssi_meta.models.bounded import bounded_regression
from nssi_meta.models.bounded_rows import bounded_rows
from nssi_meta.models.coefficients import stretch
from nssi_meta.models.horseshoe import horseshoe
from nssi_meta.models.location_scale import location_scale
from nssi_meta.models.priors import PriorError
from nssi_meta.models.regression import regression
from nssi_meta.models.structure import FIXED, pack
from nssi_meta.models.study_rows import study_rows

INF, RNG = np.inf, np.random.default_rng(3)
NAMES, PRIORS = ["intercept", "slope"], ["normal(0,1)", "normal(0,0.5)"]
MODES = pytest.mark.parametrize("student", [False, True], ids=["normal", "student"])
MODELS = pytest.mark.parametrize("which", ["normal", "student", "location-scale", "horseshoe"])


def rows_of(frame, columns=2):
    slope = np.linspace(-1, 1, len(frame))
    X = np.c_[np.ones(len(frame)), slope, np.cos(4 * slope)][:, :columns]
    return bounded_rows(layout(frame, vcalc), frame["kind"].to_numpy(), X)


def structure(frame, student, sign=1.0, priors=PRIORS):
    low, high = frame["lower"], frame["upper"]
    if sign < 0:
        frame = frame.assign(yi=-frame["yi"], lower=-high, upper=-low)
    return bounded_regression(rows_of(frame), NAMES, priors, student=student)


def horseshoe_of(frame, wide=1.0):
    rows = rows_of(frame, 3)
    return horseshoe(rows, [*NAMES, "other"], 1, f"normal(0.1,{wide})", tau_prior="halfnormal(0.5)")


def scale_of(frame, constant=False, wide=1.0):
    """A location-scale model; the scale's moderator tells studies with a letter from others."""
    letter = (frame["study_id"].str.len() == 1).to_numpy(dtype=float)
    Z = np.c_[np.ones(len(frame)), letter][:, : 1 if constant else 2]
    priors = [f"normal(0,{wide})", "normal(0,0.5)"]
    names = ["intercept", "letter"][: Z.shape[1]]
    return location_scale(rows_of(frame), NAMES, priors, Z, names)


def made_of(frame, which, wide=1.0):
    """One of the models with bounds; `wide` is the SD of the intercept's prior."""
    if which == "horseshoe":
        return horseshoe_of(frame, wide)
    if which == "location-scale":
        return scale_of(frame, wide=wide)
    priors = [f"normal(0,{wide})", "normal(0,0.5)"]
    return structure(frame, which == "student", priors=priors)


def density(model):
    """Log density by plain Python, as nothing else need be compiled."""
    return model.compile_logp(mode=Mode("py", "fast_compile"))


def points(model, n=3):
    start, rng = model.initial_point(), np.random.default_rng(5)
    return [{k: v + 0.3 * rng.normal(size=np.shape(v)) for k, v in start.items()} for _ in range(n)]


@MODELS
def test_the_sampled_density_is_the_reported_prior_times_likelihood(
    frame_of, mixed_rows, which, reported, integrated
):
    """Under t effects lambda of the study with several rows, one without sign, is sampled."""
    made = made_of(frame_of(mixed_rows[:10]), which)
    model = made.model()
    at, logp = points(model), density(model)
    studies = [[("lambda_raw", 0)]] if which == "student" else []
    theirs = [integrated(logp, p, studies) for p in at]
    # 1e-7: nodes of lambda left out (2e-8 a row).
    assert np.diff(theirs) == pytest.approx(np.diff(reported(made, at)), rel=1e-8, abs=1e-7)


@MODELS
def test_the_common_part_integrated_out_is_the_exact_engines_likelihood(
    frame_of, mixed_rows, which, reported, integrated
):
    """Under t effects lambda of the study with bounds is integrated out together with it."""
    made = made_of(frame_of([mixed_rows[0], *mixed_rows[12:15]]), which)
    model = made.model()
    student = which == "student"
    at, logp = points(model), model.compile_logp() if student else density(model)
    study = [("g", 0), ("lambda_raw", 0)] if student else [("g", 0)]
    theirs = [integrated(logp, point, [study]) for point in at]
    # The exact engine's integral over f: 5e-9 to 1e-4 a block (`bound_blocks`).
    assert np.diff(theirs) == pytest.approx(np.diff(reported(made, at)), abs=1e-4)


@MODES
def test_signs_may_be_flipped(frame_of, mixed_rows, student):
    """Mirrored effects, mirrored ends, negative coefficients: the same density.

    f of a study is told from the side of its bounds, so that g of it stays, and has the other sign
    where they are of both sides.
    """
    study = {"study_id": "E", "sample_id": "e", "kind": "interval"}
    above, below = {"lower": 0.4, "upper": INF}, {"lower": -INF, "upper": -0.35}
    frame = frame_of([*mixed_rows, {**study, **above}, {**study, **below}])
    one, other = structure(frame, student), structure(frame, student, sign=-1.0)
    logp, mirrored = density(one.model()), density(other.model())
    chol, centre = (one.values["fixed"][n] for n in ("coef_chol", "coef_centre"))
    back, start = (other.values["fixed"][n] for n in ("coef_chol", "coef_centre"))
    for point in points(one.model()):
        coef = centre + chol @ point["coef_raw"]
        raw = np.linalg.solve(back, -coef - start)
        negative = point | {"coef_raw": raw, "g": point["g"] * [1, 1, -1, -1]}
        assert float(mirrored(negative)) == pytest.approx(float(logp(point)), abs=1e-8)


def test_exact_rows_alone_are_the_regression_of_exact_effects(frame_of):
    y, v = np.array([0.3, 0.5, -0.2, 0.9]), np.array([0.04, 0.02, 0.05, 0.1])
    frame = frame_of([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)])
    made = structure(frame, False)
    X = np.c_[np.ones(4), np.linspace(-1, 1, 4)]
    plain = regression(study_rows(y, v, range(4), X), NAMES, PRIORS)
    rng = np.random.default_rng(1)
    draws = {"coef": rng.normal(size=(5, 2)), "tau": rng.uniform(0.1, 1, 5)}
    assert made.log_likelihood(draws) == pytest.approx(plain.log_likelihood(draws), abs=1e-12)
    assert made.log_prior(draws)["coef"] == pytest.approx(plain.log_prior(draws)["coef"])


@MODELS
def test_one_compiled_model_serves_tables_of_any_size(frame_of, mixed_rows, which):
    frame = frame_of(mixed_rows)
    one = made_of(frame, which)
    model = one.model()
    logp, at = density(model), points(model, 1)[0]
    fewer = frame.drop(index=[0, 2, 3, 4]).assign(upper=frame["upper"] + 0.1)
    for rows, wide in ((frame, 3.0), (fewer, 1.0), (frame, 1.0)):
        other = made_of(rows.reset_index(drop=True), which, wide)
        assert other.key == one.key
        for name, value in pack(other.values).items():
            model[name].set_value(value)
        assert float(logp(at)) == pytest.approx(float(density(other.model())(at)), rel=1e-12)


def test_another_model_has_another_key(frame_of, mixed_rows):
    frame = frame_of(mixed_rows)
    models = ["normal", "student", "location-scale", "horseshoe"]
    keys = {made_of(part, w).key for part in (frame, frame.iloc[:10]) for w in models}
    assert len(keys) == 8  # no study with two bounds among the first ten rows


def test_a_constant_scale_is_the_regression_with_bounds(frame_of, mixed_rows, parameters):
    """The same density at the same tau, that of PyMC and that of numpy."""
    frame = frame_of(mixed_rows)
    plain, made = structure(frame, False), scale_of(frame, constant=True)
    one, other = plain.model(), made.model()
    logp, scaled_logp, fixed = density(one), density(other), plain.values[FIXED]
    at, mean, sd = points(one), -1.4, 0.8  # the prior of log tau
    theirs, ours = [], []
    for p in at:
        raw = (np.log(0.5 * abs(p["tau_folded"])) - mean) / sd  # tau ~ halfnormal(0.5)
        same = {name: v for name, v in p.items() if name != "tau_folded"}
        same["scale_raw"] = np.array([raw])
        # what tau stretches in the one model is as it is in the other
        wide = stretch(fixed, (0.5 * p["tau_folded"]) ** 2)
        chol = fixed["coef_chol"]
        same["coef_raw"] = np.linalg.solve(chol, wide * (chol @ p["coef_raw"]))
        # without each model's own prior of what it samples for tau
        priors = stats.norm.logpdf(p["tau_folded"]), stats.norm.logpdf(raw)
        theirs.append(float(logp(p)) - priors[0] - np.log(wide).sum())
        ours.append(float(scaled_logp(same)) - priors[1])
    assert ours == pytest.approx(theirs, rel=1e-12)
    draws = parameters(plain, at)[0]
    scaled = draws | {"scale": np.log(draws["tau"])[:, None]}
    assert made.log_likelihood(scaled) == pytest.approx(plain.log_likelihood(draws), rel=1e-12)


def test_each_block_has_the_tau_of_its_moderators(frame_of, mixed_rows):
    """Blocks of either kind at their own tau, against the regression at that tau."""
    frame = frame_of(mixed_rows)
    plain, made = structure(frame, False), scale_of(frame)
    draws = {"coef": np.array([[0.2, -0.3]]), "omega": np.array([0.15])}
    ours = made.log_likelihood(draws | {"scale": np.array([[-1.5, 0.9]])})
    for letter, log_tau in ((False, -1.5), (True, -0.6)):
        blocks = [bool(len(frame["study_id"].iloc[b[0]]) == 1) == letter
                  for b in layout(frame, vcalc).block_rows]  # fmt: skip
        theirs = plain.log_likelihood(draws | {"tau": np.exp([log_tau])})
        assert ours[:, blocks] == pytest.approx(theirs[:, blocks], rel=1e-12)


def test_the_horseshoe_given_its_scales_is_the_regression_with_bounds(
    frame_of, mixed_rows, parameters
):
    frame = frame_of(mixed_rows)
    made = horseshoe_of(frame)
    draws = parameters(made, points(made.model()))[0]
    rows = rows_of(frame, 3)
    unit = np.r_[1.0, rows.X[:, 1:].std(axis=0)]
    for i, scales in enumerate(draws["scales"]):
        priors = [f"normal({m},{s})" for m, s in zip([0.1, 0, 0], scales / unit, strict=True)]
        plain = bounded_regression(rows, [*NAMES, "other"], priors)
        one = {name: value[i : i + 1] for name, value in draws.items()}
        assert made.log_likelihood(one) == pytest.approx(plain.log_likelihood(one), rel=1e-12)
        theirs = plain.log_prior(one)["coef"] - np.log(unit).sum()
        assert made.log_prior(one)["coef"] == pytest.approx(theirs, rel=1e-9)


def test_exact_rows_alone_are_the_horseshoe_of_exact_effects(frame_of, parameters):
    """Sampled and integrated coefficients share scale, prior and likelihood."""
    y, v = RNG.normal(0.2, 0.4, 8), np.linspace(0.02, 0.1, 8)
    frame = frame_of([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)])
    made, rows = horseshoe_of(frame), rows_of(frame, 3)
    exact = study_rows(y, v, range(8), rows.X)
    plain = horseshoe(exact, [*NAMES, "other"], 1, "normal(0.1,1)", tau_prior="halfnormal(0.5)")
    for name in ("global_scale", "slab", "intercept_sd"):
        assert made.values["fixed"][name] == pytest.approx(plain.values["fixed"][name], rel=1e-12)
    draws = parameters(made, points(made.model()))[0]
    assert made.log_likelihood(draws) == pytest.approx(plain.log_likelihood(draws), rel=1e-9)
    ours, theirs = made.log_prior(draws), plain.log_prior(draws)
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=1e-12)


def test_what_is_refused(frame_of, mixed_rows):
    frame = frame_of(mixed_rows[2:5])
    lost = frame_of([{"yi": 0.3}, {"yi": np.nan}])
    with pytest.raises(ValueError, match="row 2 of the pool has an effect of nan"):
        structure(lost, False)
    with pytest.raises(PriorError, match="the data identify 0"):
        structure(frame, False, priors=["flat", "flat"])
    rows, data = rows_of(frame), layout(frame, vcalc)
    kind, X = frame["kind"].to_numpy(), np.ones((3, 1))
    with pytest.raises(ValueError, match="2 columns, but there are 1 names"):
        bounded_regression(rows, NAMES[:1], PRIORS)
    with pytest.raises(ValueError, match="matrix of 3 rows"):
        bounded_rows(data, kind, np.ones((2, 1)))
    with pytest.raises(ValueError, match="not finite in row 2, column 1"):
        bounded_rows(data, kind, [[1.0], [INF], [1.0]])
    with pytest.raises(ValueError, match="'censored' is not known; allowed: exact"):
        bounded_rows(data, [*kind[:2].tolist(), "censored"], X)
    with pytest.raises(ValueError, match=r"exact effects only: use bounded_regression\(\*\*rows.b"):
        regression(rows, NAMES, PRIORS)
    with pytest.raises(ValueError, match=r"exact effects alone: bounded_regression\(\*\*rows.b"):
        bounded_regression(study_rows([1.0], [1.0], ["a"]), ["mu"], PRIORS[:1])
    with pytest.raises(ValueError, match=r"needs at least 2, here 1: use bounded_regression"):
        horseshoe(rows, NAMES, 1)


def test_the_scale_of_rows_that_belong_together_is_one(frame_of, mixed_rows):
    frame = frame_of(mixed_rows[3:7])
    Z = np.c_[np.ones(4), [0.0, 0.0, 0.0, 1.0]]
    with pytest.raises(ValueError, match="x differs between rows 3, 4, which belong together"):
        location_scale(rows_of(frame), NAMES, PRIORS, Z, ["intercept", "x"])
    with pytest.raises(ValueError, match="finite matrix of 4 rows"):
        location_scale(rows_of(frame), NAMES, PRIORS, Z[:3], ["intercept", "x"])
