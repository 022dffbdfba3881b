"""Simulation-based calibration of the models that NUTS samples beside pools and profiles.

Twelve studies with one to three effects of the same people each, or fourteen two-by-two tables; a
continuous moderator of the study. Designs fixed, parameters and estimates drawn anew, one compiled
model a structure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.calibrated_fit import SETTINGS, places, thin
from nssi_meta.inference.calibration import Scenario
from nssi_meta.inference.compiled import refit
from nssi_meta.inference.replicate import as_reported, replicate, thresholds
from nssi_meta.inference.shrinkage import sampling_covariance
from nssi_meta.models.binomial import binomial_normal
from nssi_meta.models.binomial_tables import count_tables
from nssi_meta.models.blocks import RHO, Layout, layout
from nssi_meta.models.bounded import bounded_regression
from nssi_meta.models.bounded_rows import BoundedRows, bounded_rows
from nssi_meta.models.design import Combinations
from nssi_meta.models.horseshoe import SLAB_SHAPE, horseshoe
from nssi_meta.models.location_scale import location_scale
from nssi_meta.models.regression import regression
from nssi_meta.models.robust import NU_LOW, NU_RATE, NU_SHAPE, robust_regression
from nssi_meta.models.structure import FIXED, Structure
from nssi_meta.models.study_rows import StudyRows, study_rows
from nssi_meta.models.three_level import three_level
from nssi_meta.synthesis.scenarios import design, known_errors

Floats = NDArray[np.float64]
Generator = np.random.Generator
#: Parameters by the names of a structure's quantities, with a leading axis of 1.
Truth = dict[str, Floats]

SIZES = np.array([1, 3, 2, 1, 2, 3, 1, 2, 1, 3, 2, 1])
STUDY = np.repeat(np.arange(len(SIZES)), SIZES)
K, J = len(STUDY), len(SIZES)
VI = 0.02 + 0.015 * (np.arange(K) % 7)
#: Errors of the same people correlate by 0.6.
V = np.where(STUDY[:, None] == STUDY, 0.6, 0.0) * np.sqrt(np.outer(VI, VI))
np.fill_diagonal(V, VI)
_FIXED = np.random.default_rng(7)
MODERATOR = _FIXED.standard_normal(J)[STUDY]
MODERATOR_OF_BLOCK = _FIXED.standard_normal(20)
X = np.column_stack([np.ones(K), MODERATOR])
MANY = np.column_stack([np.ones(K), _FIXED.standard_normal((J, 5))[STUDY]])
MANY_OF_BLOCK = _FIXED.standard_normal((20, 5))
NAMES = ("intercept", "moderator")
PRIORS = ("normal(0,1)", "normal(0,0.5)")
SCALE_PRIORS = ((-1.4, 0.8), (0.0, 0.7))
AT = Combinations(means={"at 1": np.array([1.0, 1.0])})
#: The horseshoe takes its global scale from the spread of the data; here it is known.
GLOBAL_SCALE, SLAB = 0.1, 0.5
PEOPLE = np.array([15, 20, 25, 30, 40, 50, 80, 15, 20, 25, 30, 40, 50, 80])
BASELINE_SD = 2.0


def _rows(y: Floats, design: Floats) -> StudyRows:
    return study_rows(y, V, STUDY, design)


def _half_normal(rng: Generator, scale: float) -> float:
    return abs(float(rng.normal(0.0, scale)))


def _estimates(design: Floats, coef: Floats, u: Floats, omega: float, rng: Generator) -> Floats:
    """Estimates (K,) given coefficients, study effects (J,) and the within-study SD."""
    errors = rng.multivariate_normal(np.zeros(K), V)
    return np.asarray(design @ coef + u[STUDY] + omega * rng.standard_normal(K) + errors)


def _exact(design: Floats, coef: Floats, tau: Floats, omega: float, rng: Generator) -> StudyRows:
    """Rows of exact effects, given the study effects' SD at each row (K,)."""
    first = np.concatenate([[0], np.cumsum(SIZES)[:-1]])
    u = tau[first] * rng.standard_normal(J)
    return _rows(_estimates(design, coef, u, omega, rng), design)


def _normal(rng: Generator, design: Floats = X) -> tuple[Truth, Floats]:
    coef = rng.normal(0.0, [1.0, 0.5])[: design.shape[1]]
    tau, omega = _half_normal(rng, 0.5), _half_normal(rng, 0.5)
    y = _estimates(design, coef, tau * rng.standard_normal(J), omega, rng)
    new = coef.sum() + np.hypot(tau, omega) * rng.standard_normal()
    return _truth(coef, omega, tau=tau, mean=coef.sum(), prediction=new), y


def _truth(coef: Floats, omega: float, **more: float | Floats) -> Truth:
    values = {"coef": coef[None], "omega": np.array([omega])}
    return {**values, **{name: np.atleast_1d(value) for name, value in more.items()}}


def draw_three_level(rng: Generator) -> tuple[Truth, Structure]:
    """mu and two variances."""
    truth, y = _normal(rng, X[:, :1])
    return truth, three_level(y, V, STUDY)


def draw_regression(rng: Generator) -> tuple[Truth, Structure]:
    """Intercept, slope and two variances."""
    truth, y = _normal(rng)
    return truth, regression(_rows(y, X), NAMES, PRIORS, combinations=AT)


def _freedom(rng: Generator) -> float:
    nu = 0.0
    while nu <= NU_LOW:
        nu = float(rng.gamma(NU_SHAPE, 1 / NU_RATE))
    return nu


def draw_robust(rng: Generator) -> tuple[Truth, Structure]:
    """The same with Student-t study effects."""
    nu = _freedom(rng)
    coef = rng.normal(0.0, [1.0, 0.5])
    tau, omega = _half_normal(rng, 0.5), _half_normal(rng, 0.5)
    y = _estimates(X, coef, tau * rng.standard_t(nu, J), omega, rng)
    new = coef.sum() + tau * rng.standard_t(nu) + omega * rng.standard_normal()
    truth = _truth(coef, omega, tau=tau, nu=nu, mean=coef.sum(), prediction=float(new))
    return truth, robust_regression(_rows(y, X), NAMES, PRIORS, combinations=AT)


def draw_location_scale(bounds: bool, rng: Generator) -> tuple[Truth, Structure]:
    """A moderator of the mean and of log tau."""
    coef, omega = rng.normal(0.0, [1.0, 0.5]), _half_normal(rng, 0.5)
    scale = rng.normal(*np.transpose(SCALE_PRIORS))
    design = _mixed_design(MODERATOR_OF_BLOCK) if bounds else X
    tau = np.exp(design @ scale)
    rows = (
        _mixed(design, coef, tau, omega, rng) if bounds else _exact(design, coef, tau, omega, rng)
    )
    study = rows.layout.block_of_row if isinstance(rows, BoundedRows) else STUDY
    by_study = design[np.unique(study, return_index=True)[1]]
    typical = np.exp(by_study.mean(axis=0) @ scale)
    truth = _truth(coef, omega, scale=scale[None], tau=typical, mean=coef.sum())
    priors = [f"normal({mean},{sd})" for mean, sd in SCALE_PRIORS]
    return truth, location_scale(
        rows, NAMES, PRIORS, design, NAMES, scale_coef_priors=priors, combinations=AT
    )


def draw_horseshoe(bounds: bool, rng: Generator) -> tuple[Truth, Structure]:
    """Five moderators under the regularised horseshoe."""
    design = _mixed_design(MANY_OF_BLOCK) if bounds else MANY
    m = design.shape[1] - 1
    overall = GLOBAL_SCALE * abs(rng.standard_cauchy())
    local = np.abs(rng.standard_cauchy(m))
    slab2 = SLAB_SHAPE * SLAB**2 / rng.gamma(SLAB_SHAPE)
    loose = (overall * local) ** 2
    slopes = rng.normal(0.0, np.sqrt(loose / (1 + loose / slab2)))
    # The prior is per SD of a moderator.
    coef = np.concatenate([rng.normal(0.0, 1.0, 1), slopes / design[:, 1:].std(axis=0)])
    tau, omega = _half_normal(rng, 0.5), _half_normal(rng, 0.5)
    rows = (_mixed if bounds else _exact)(design, coef, np.full(len(design), tau), omega, rng)
    names = ["intercept", *(f"moderator {i + 1}" for i in range(m))]
    structure = horseshoe(rows, names, expected=2, slab=SLAB)
    fixed = {**structure.values[FIXED], "global_scale": np.array(GLOBAL_SCALE)}
    known = replace(structure, values={**structure.values, FIXED: fixed})
    return _truth(coef, omega, tau=tau), known


def mixed_rows() -> pd.DataFrame:
    """Exact effects, bounds, a size without a sign; two effects, and two bounds, of one study."""
    kinds = ["exact"] * 5 + ["interval"] * 5 + ["unsigned"]
    rows = [{"study_id": f"s{i}", "kind": kind} for i, kind in enumerate(kinds)]
    for study, kind in (("pair", "exact"), ("two bounds", "interval")):
        both = ({"study_id": study, "kind": kind, "measure": task} for task in ("first", "second"))
        rows += [{**row, "sample_id": study} for row in both]
    return design([{**row, "vi": 0.02 + 0.01 * (i % 4)} for i, row in enumerate(rows)])


def _mixed_layout(rows: pd.DataFrame) -> Layout:
    critical = thresholds(rows)
    return layout(rows.assign(lower=-critical, upper=critical), known_errors)


def _mixed_design(of_block: Floats) -> Floats:
    """Intercept and moderators of the blocks (B, p) at their rows."""
    block = _mixed_layout(mixed_rows()).block_of_row
    return np.column_stack([np.ones(len(block)), of_block[block]])


def _mixed(design: Floats, coef: Floats, tau: Floats, omega: float, rng: Generator) -> BoundedRows:
    """A review of rows of every kind, given the study effects' SD at each row (k,)."""
    start = mixed_rows()
    errors = partial(sampling_covariance, vcalc=known_errors, rho=RHO)
    at = (design @ coef)[None], tau[None], np.array([omega])
    y = replicate(start, _mixed_layout(start).block_rows, *at, errors, rng)[0]
    seen = as_reported(start, y, thresholds(start))
    return bounded_rows(layout(seen, known_errors), seen["kind"].to_numpy(), design)


def draw_bounded(student: bool, rng: Generator) -> tuple[Truth, Structure]:
    """Intercept, slope and two variances from rows of every kind; study effects normal or t."""
    block, mixed = _mixed_layout(mixed_rows()).block_of_row, _mixed_design(MODERATOR_OF_BLOCK)
    coef, tau, omega = rng.normal(0.0, [1.0, 0.5]), _half_normal(rng, 0.5), _half_normal(rng, 0.5)
    nu, studies = _freedom(rng), int(block.max()) + 1
    # A t effect is a normal one whose variance is divided by lambda.
    share = rng.gamma(nu / 2, 2 / nu, studies) if student else np.ones(studies)
    rows = _mixed(mixed, coef, (tau / np.sqrt(share))[block], omega, rng)
    u = rng.standard_t(nu) if student else rng.standard_normal()
    new = coef.sum() + tau * u + omega * rng.standard_normal()
    truth = _truth(coef, omega, tau=tau, mean=coef.sum(), prediction=float(new))
    if student:
        truth["nu"] = np.array([nu])
    return truth, bounded_regression(rows, NAMES, PRIORS, combinations=AT, student=student)


def draw_binomial(rng: Generator) -> tuple[Truth, Structure]:
    """Two-by-two tables."""
    mu, tau = float(rng.normal()), _half_normal(rng, 0.5)
    baseline = rng.normal(0.0, BASELINE_SD, len(PEOPLE))
    theta = mu + tau * rng.standard_normal(len(PEOPLE))
    events = [rng.binomial(PEOPLE, 1 / (1 + np.exp(-a))) for a in (baseline + theta, baseline)]
    counts = count_tables(events[0], PEOPLE, events[1], PEOPLE, baseline_sd=BASELINE_SD)
    new = mu + tau * rng.standard_normal()
    values = {"mu": mu, "tau": tau, "prediction": new}
    return {n: np.array([v]) for n, v in values.items()}, binomial_normal(counts)


#: Draws the parameters, and data from them.
Draw = Callable[[Generator], tuple[Truth, Structure]]


def sampled_trial(draw: Draw, rng: Generator) -> dict[str, float]:
    """One simulation: places of all that the structure reports, and of the likelihood."""
    truth, structure = draw(rng)
    settings = replace(SETTINGS, target_accept=structure.target_accept)
    fit = refit(structure, seed=int(rng.integers(2**31)), settings=settings, cores=1)
    posterior = fit.posterior_data["posterior"]
    draws = {name: thin(np.asarray(posterior[name])) for name in truth}
    true_values, found = (_scalars(structure, values) for values in (truth, draws))
    fits = np.asarray(fit.posterior_data["log_likelihood"]["study"]).sum(axis=-1)
    found["log likelihood"] = thin(fits)
    true_values["log likelihood"] = structure.log_likelihood(truth).sum(axis=-1)
    scalars = {name: float(value[0]) for name, value in true_values.items()}
    return places(fit, scalars, found, rng)


def _scalars(structure: Structure, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Each scalar quantity (S,) under its own name."""
    out: dict[str, Floats] = {}
    for name, value in values.items():
        labels = structure.labels.get(name, ())
        columns = value.reshape(len(value), -1).T
        single = len(columns) == 1 and name != "coef"
        words = [name] if single else [f"{name} {label}" for label in labels]
        out |= dict(zip(words, columns, strict=True))
    return out


def sampled_scenarios() -> list[Scenario]:
    """Every model structure that is compiled once and sampled."""
    table: list[tuple[str, str, Draw]] = [
        ("three_level", "three levels", draw_three_level),
        ("regression", "meta-regression", draw_regression),
        ("robust", "Student-t study effects", draw_robust),
        ("bounded", "meta-regression with bounds", partial(draw_bounded, False)),
        ("bounded_t", "Student-t effects with bounds", partial(draw_bounded, True)),
        ("location_scale", "location and scale", partial(draw_location_scale, False)),
        (
            "location_scale_bounds",
            "location and scale with bounds",
            partial(draw_location_scale, True),
        ),
        ("horseshoe", "horseshoe", partial(draw_horseshoe, False)),
        ("horseshoe_bounds", "horseshoe with bounds", partial(draw_horseshoe, True)),
        ("binomial", "counts, binomial-normal", draw_binomial),
    ]
    return [Scenario(name, label, 100, partial(sampled_trial, draw)) for name, label, draw in table]
