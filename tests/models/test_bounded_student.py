"""Student-t effects with bounds: lambda at nodes where a row stands alone, sampled elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, stats
from scipy.special import logsumexp

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models import robust
from nssi_meta.models.blocks import layout
from nssi_meta.models.bounded import block_log_likelihood, bounded_regression
from nssi_meta.models.bounded_rows import bounded_rows
from nssi_meta.models.bounded_student import student_log_likelihood
from nssi_meta.models.robust import RULE, log_mixing, robust_regression
from nssi_meta.models.study_rows import study_rows

INF = np.inf
NAMES, PRIORS = ["intercept", "slope"], ["normal(0,1)", "normal(0,0.5)"]


def rows_of(frame):
    X = np.c_[np.ones(len(frame)), np.linspace(-1, 1, len(frame))]
    return bounded_rows(layout(frame, vcalc), frame["kind"].to_numpy(), X)


def structure(frame):
    return bounded_regression(rows_of(frame), NAMES, PRIORS, student=True)


def density(model):
    """Log density by plain Python, as nothing else need be compiled."""
    return model.compile_logp(mode=Mode("py", "fast_compile"))


def at_all(model, tau_name, values):
    """Points of the model that are 0 but for nu and tau: `values` of both."""
    start = model.initial_point()
    zero = {name: np.zeros_like(value) for name, value in start.items()}
    return [zero | {"nu_excess_log__": np.log(nu - 1.0), tau_name: x} for nu, x in values]


def every_node(rows, mean, tau, omega, nu):
    """Log likelihood (S, blocks) with no node of lambda left out."""
    log_weight, inflate = log_mixing(nu[:, None])
    values = [
        block_log_likelihood(rows.layout, mean, tau * np.sqrt(inflate[:, n]), omega)
        + log_weight[:, n, None]
        for n in range(RULE.shape[1])
    ]
    return logsumexp(values, axis=0)


@pytest.mark.parametrize("exact", [False, True], ids=["bounds", "exact"])
def test_nodes_that_count_are_not_left_out(frame_of, exact, parameters, reported):
    """Sampled with the nodes that count (`robust.counting_nodes`), and with all: 2e-8 a row."""
    far = [{"yi": y, "vi": 0.04} for y in (0.1, -1.0, 4.0)]  # up to 20 standard errors away
    if not exact:
        ends = [(0.3, INF), (3.5, INF), (-INF, -2.0), (-0.2, 0.3), (1.5, 2.5)]
        far += [{"kind": "interval", "lower": a, "upper": b, "vi": 0.04} for a, b in ends]
        far.append({"yi": 2.5, "vi": 0.04, "kind": "unsigned"})
    frame = frame_of(far)
    if exact:
        rows = study_rows(frame["yi"], frame["vi"], range(3), rows_of(frame).X)
        made = robust_regression(rows, NAMES, PRIORS)
    else:
        made = structure(frame)
    model = made.model()
    logp, nu = density(model), (1.02, 1.5, 3.0, 10.0, 100.0, 1e5)
    at = at_all(
        model, "tau_log__", [(n, np.log(tau)) for n in nu for tau in (0.002, 0.02, 0.2, 2.0)]
    )
    theirs = np.array([float(logp(p)) for p in at])
    wanted = reported(made, at)
    if not exact:  # reported without some nodes as well
        draws, rows = parameters(made, at)[0], rows_of(frame)
        spread = draws["tau"], np.zeros(len(at)), draws["nu"]
        whole = every_node(rows, draws["coef"] @ rows.X.T, *spread)
        wanted += (whole - made.log_likelihood(draws)).sum(axis=1)
    matters = wanted > wanted.max() - 80
    assert matters.sum() > 12
    assert np.diff(theirs[matters]) == pytest.approx(np.diff(wanted[matters]), rel=1e-8, abs=1e-7)


def test_exact_rows_alone_are_the_robust_regression(frame_of, monkeypatch):
    """At every node the same numbers; what is reported leaves some out, e^-18 = 2e-8 a row."""
    y, v = np.array([0.3, 0.5, -0.2, 0.9]), np.array([0.04, 0.02, 0.05, 0.1])
    frame = frame_of([{"yi": a, "vi": b} for a, b in zip(y, v, strict=True)])
    made, rows = structure(frame), rows_of(frame)
    plain = robust_regression(study_rows(y, v, range(4), rows.X), NAMES, PRIORS)
    rng = np.random.default_rng(1)
    draws = {"coef": rng.normal(size=(5, 2)), "tau": rng.uniform(0.1, 1, 5),
             "nu": rng.uniform(1.5, 9, 5)}  # fmt: skip
    with monkeypatch.context() as all_count:
        all_count.setattr(robust, "LEFT_OUT", 1e3)
        wanted = plain.log_likelihood(draws)
    numbers = draws["coef"] @ rows.X.T, draws["tau"], np.zeros(5), draws["nu"]
    assert every_node(rows, *numbers) == pytest.approx(wanted, abs=1e-12)
    assert plain.log_likelihood(draws) == pytest.approx(wanted, abs=2e-8)
    assert made.log_likelihood(draws) == pytest.approx(wanted, abs=2e-8)
    ours, theirs = made.log_prior(draws), plain.log_prior(draws)
    assert ours["coef"] == pytest.approx(theirs["coef"])
    assert ours["nu"] == pytest.approx(theirs["nu"], rel=1e-15)


def test_nodes_that_count_are_reported(frame_of, mixed_rows):
    """Blocks and rows of every kind, 20 standard errors away among them: e^-18 = 2e-8 a block."""
    far = [{"study_id": "E", "sample_id": "e", "yi": y, "vi": 0.04} for y in (3.9, 4.0, 4.2)]
    far += [
        {"study_id": "F", "sample_id": "f", "kind": "interval", "lower": a, "upper": b}
        for a, b in ((3.5, INF), (-0.2, 3.6))
    ]
    far += [{"yi": 4.0}, {"yi": 4.0, "kind": "unsigned"}, {"study_id": "G", "yi": -3.0}]
    far += [{"study_id": "G", "yi": -3.1, "vi": 0.06, "condition": "worse"}]
    rows = rows_of(frame_of([*mixed_rows, *far]))
    nu, tau = np.array([1.02, 1.5, 3.0, 10.0, 100.0, 1e5]), np.array([0.002, 0.02, 0.2, 2.0])
    nu, tau = (x.ravel() for x in np.meshgrid(nu, tau))
    for omega in (0.0, 0.2):
        mean = np.full((len(nu), rows.layout.k), 0.1)
        numbers = mean, tau, np.full(len(nu), omega), nu
        ours, wanted = student_log_likelihood(rows, *numbers), every_node(rows, *numbers)
        matters = wanted > wanted.max(axis=0) - 60
        assert matters.sum(axis=0).min() > 12
        assert ours[matters] == pytest.approx(wanted[matters], abs=1e-7)


@pytest.mark.parametrize("nu", [1.5, 4.0, 30.0])
@pytest.mark.parametrize(("low", "high"), [(0.4, INF), (-INF, -0.35), (-0.4, 0.4)])
def test_a_bound_under_student_effects_has_its_probability(frame_of, nu, low, high):
    """Against scipy's quad over the study effect; 1e-7 is that of the rule over lambda."""
    frame = frame_of([{"kind": "interval", "lower": low, "upper": high}])
    mean, tau, sd = 0.25, 0.3, 0.2
    numbers = np.array([[mean]]), np.array([tau]), np.zeros(1), np.array([nu])
    ours = student_log_likelihood(rows_of(frame), *numbers)

    def inside(u):
        ends = stats.norm.cdf([(low - mean - u) / sd, (high - mean - u) / sd])
        return stats.t.pdf(u / tau, nu) / tau * (ends[1] - ends[0])

    parts = [(-np.inf, -9), (-9, 0), (0, 9), (9, np.inf)]
    wanted = sum(integrate.quad(inside, *part, limit=300)[0] for part in parts)
    assert np.exp(ours[0, 0]) == pytest.approx(wanted, rel=1e-7)


PEOPLE = {"study_id": "S", "sample_id": "s", "control_id": "c"}
STUDIES = {
    "pair": [{"yi": 0.4}, {"yi": 0.9, "vi": 0.06}],
    "pair of which one has no sign": [{"yi": 0.4}, {"yi": 0.5, "vi": 0.06, "kind": "unsigned"}],
    "three, one without sign": [{"yi": 0.3}, {"yi": 0.7}, {"yi": 0.4, "kind": "unsigned"}],
    "three of two contrasts": [{"yi": 0.3}, {"yi": 0.7}, {"yi": 1.1, "condition": "worse"}],
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_sampled_lambda_integrated_out_is_at_the_nodes(frame_of, name, reported, integrated):
    """One study of several rows beside rows that stand alone; 1e-6 is the nodes' own error.

    That of a study of exact effects with one study effect is at its nodes while sampling, too.
    """
    alone = [{"yi": -0.2}, {"yi": 0.3, "kind": "unsigned"}]
    alone.append({"kind": "interval", "lower": 0.1, "upper": INF})
    made = structure(frame_of([{**PEOPLE, **row} for row in STUDIES[name]] + alone))
    model = made.model()
    values = [(nu, np.log(tau)) for nu in (1.05, 3.0, 30.0, 1e3) for tau in (0.05, 0.5)]
    at, logp = at_all(model, "tau_log__", values), density(model)
    for i, point in enumerate(at):
        point["omega_folded"] = np.array(0.2 * (-1) ** i)
    sampled = [] if name == "pair" else [[("lambda_raw", 0)]]
    assert ("lambda_raw" in at[0]) == bool(sampled)
    theirs = [integrated(logp, point, sampled) for point in at]
    assert np.diff(theirs) == pytest.approx(np.diff(reported(made, at)), abs=1e-6)


def test_lambdas_of_studies_are_independent_and_those_not_needed_normal(frame_of):
    """Three studies, room for four: given all else the log density is a sum over lambdas."""
    rows = [
        {**PEOPLE, "study_id": s, "sample_id": s, "control_id": s, "yi": y, "kind": kind}
        for s, y, kind in zip(
            "AABBCC", (0.2, 0.5, -0.3, 0.1, 0.9, 2.0), ["exact", "unsigned"] * 3, strict=True
        )
    ]
    made = structure(frame_of(rows))
    model = made.model()
    logp, point = density(model), at_all(model, "tau_log__", [(4.0, -1.0)])[0]
    assert point["lambda_raw"].shape == (4,)

    def value(raw):
        return float(logp(point | {"lambda_raw": np.array(raw, dtype=float)}))

    none, raw = value([0, 0, 0, 0]), [0.7, -1.2, 0.4, 1.5]
    one = [value(x * np.eye(4)[i]) - none for i, x in enumerate(raw)]
    assert value(raw) - none == pytest.approx(sum(one), abs=1e-11)
    assert one[3] == pytest.approx(-0.5 * raw[3] ** 2, abs=1e-11)
    assert min(abs(x) for x in one) > 0.01
