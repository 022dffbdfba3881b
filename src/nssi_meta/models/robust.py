"""Meta-regression with Student-t study effects, so that an outlying study pulls less.

u_j ~ t_nu(0, tau) is a normal with variance tau^2 / lambda_j, lambda_j ~ Gamma(nu/2, nu/2). Given
lambda_j a study's likelihood is that of the regression, and lambda_j is integrated out by the
trapezoidal rule in log lambda: the integrand is analytic and vanishes at both ends, so that the
rule converges geometrically. No study has a parameter of its own, and one compiled model serves any
number of studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from nssi_meta.models.bounded_rows import require_rows
from nssi_meta.models.coefficients import (
    coef_draws,
    coef_values,
    coefficients,
    row_values,
)
from nssi_meta.models.design import Combinations
from nssi_meta.models.marginal import in_chunks, log_sum, study_sums
from nssi_meta.models.priors import OMEGA_DEFAULT, TAU_DEFAULT, Prior
from nssi_meta.models.regression import (
    checked,
    combined,
    labels,
    sampled,
    sd_log_prior,
    sd_nodes,
    sd_values,
    within,
)
from nssi_meta.models.structure import (
    FIXED,
    Draws,
    Floats,
    Structure,
    Values,
    data_nodes,
    prior_key,
)
from nssi_meta.models.study_rows import StudyRows

#: nu ~ Gamma(shape 2, rate 0.1) above 1 (Juárez and Steel 2010, J Bus Econ Stat 28:52).
NU_SHAPE, NU_RATE, NU_LOW = 2.0, 0.1, 1.0
#: log of the prior's normalising constant; P(Gamma(2, r) > 1) = exp(-r) (1 + r).
_NU_CONSTANT = 2 * np.log(NU_RATE) + NU_RATE - np.log1p(NU_RATE)
#: Nodes in units of a step, a little wider apart to the left, where an outlier's lambda lies. A
#: step in log lambda is h sqrt(2 / nu), h = STEP / sqrt(1 + WIDEN / nu): up to nu = 5 or so the
#: nearest pole, at i pi / 2 in log lambda, sets it, beyond that the width of lambda's distribution.
#: The error is below 1e-6 in the log density for nu from 1 to a million, tau from a hundredth to a
#: hundred standard errors and studies up to 20 standard errors away (in the tests).
STEP, WIDEN = 0.9, 4.8
_K = np.arange(-75, 8)
_NODES: NDArray[np.float64] = _K - 0.02 * np.expm1(-0.04 * _K) / 0.04
_STEPS: NDArray[np.float64] = STEP * (1.0 + 0.02 * np.exp(-0.04 * _K))
#: Nodes, the logs of their steps and the steps, (3, n).
RULE: NDArray[np.float64] = np.stack([_NODES, np.log(_STEPS), _STEPS])
#: Nodes are left out where less than e^-18 of any study's density lies at or beyond them.
LEFT_OUT = 18.0


def mixing_constant(nu: Any, log: Any, log_gamma: Any) -> Any:
    """log of the normalising constant of lambda's distribution in log lambda."""
    half = nu / 2
    return half * log(half) - log_gamma(half)


def log_mixing(nu: Floats) -> tuple[Floats, Floats]:
    """log of the rule's weights, and 1 / lambda at its nodes: nu (..., 1) to (..., n)."""
    half, widen = nu / 2, 1.0 + WIDEN / nu
    s = RULE[0] * STEP / np.sqrt(half * widen)
    log_density = mixing_constant(nu, np.log, gammaln) + half * (s - np.exp(s))
    return log_density - 0.5 * np.log(half * widen) + RULE[1], np.exp(-s)


def fall(nu: Any) -> Any:
    """How far left of its mode in log lambda a study's density has all but vanished.

    In s = log lambda it is at least a constant times exp(nu / 2 (s - B e^s)), B = 1 + far2 / (nu
    tau2) with far2 the square of how far the study is from its mean, and steeper to the left of its
    mode at -log B: with d the distance from there it falls by exp(-nu / 2 (d - 1 + e^-d)), and
    d - 1 + e^-d >= d^2 / (2 + d), which is solved for d.
    """
    c = 2 * LEFT_OUT / nu
    return 0.5 * (c + (c * c + 8 * c) ** 0.5)


def counting_nodes(log_weight: Floats, nu: Floats, tau: Floats, far2: Floats) -> NDArray[np.bool_]:
    """Which nodes (S, n) count at S draws for studies no further than sqrt(far2) from their mean.

    To the left by `fall`, to the right by weight: a study's density given lambda > 1 is at most
    sqrt(lambda) times that given 1, since the density N(0, tau^2 / lambda) of its effect is so at
    any place.
    """
    s = RULE[0] * STEP / np.sqrt(0.5 * (nu + WIDEN))[:, None]
    mode = -np.log1p(far2 / (nu * np.maximum(tau**2, 1e-300)))
    at_1 = log_weight[:, RULE[0] == 0]
    heavy = log_weight + 0.5 * s >= at_1 - LEFT_OUT
    return np.asarray((s >= (mode - fall(nu))[:, None]) & ((s < 0) | heavy))


def freedom_variable() -> Any:
    """The variable nu of the model in context, with its prior."""
    import pymc as pm
    import pytensor.tensor as pt

    # An exponential variable starts the sampler near its mean; the potential makes its prior the
    # truncated gamma.
    nu = pm.Deterministic("nu", freedom(pm.Exponential("nu_excess", scale=1 / NU_RATE)))
    pm.Potential("nu_prior", pt.log(nu))
    return nu


def freedom(excess: Any) -> Any:
    """nu from the sampled variable."""
    return NU_LOW + excess


def freedom_log_prior(nu: Floats) -> Floats:
    """Log prior density of nu."""
    return np.asarray(_NU_CONSTANT + np.log(nu) - NU_RATE * nu)


def robust_regression(
    rows: StudyRows,
    names: Sequence[str],
    coef_priors: Sequence[str | Prior],
    tau_prior: str | Prior = TAU_DEFAULT,
    omega_prior: str | Prior = OMEGA_DEFAULT,
    combinations: Combinations | None = None,
) -> Structure:
    """`regression` with t-distributed study effects; tau is their scale, nu their freedom.

    Parameters and errors as in `regression`. The SD of study effects is tau sqrt(nu / (nu - 2)).
    """
    require_rows(rows, StudyRows)
    prior, tau, omega = checked(rows, names, coef_priors, tau_prior, omega_prior)

    fixed = {**coef_values(rows, prior), **sd_values(tau, omega)}

    def build(values: Values) -> Any:
        import pymc as pm

        from nssi_meta.models.evidence_op import student_rows

        with pm.Model() as model:
            data = data_nodes(values)
            tau_rv, omega2 = sd_nodes(data, tau, omega, folded=False)
            coef = coefficients(data, len(prior.mean), tau_rv**2)
            nu = freedom_variable()
            pm.Potential("evidence", student_rows(data, coef, tau_rv**2, omega2, nu))
        return model

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        out = {**sampled(draws, omega), "nu": draws["nu"]}
        new = draws["tau"] * rng.standard_t(draws["nu"])
        new = new + within(draws) * rng.standard_normal(len(new))
        return {**out, **combined(draws, combinations, new)}

    def log_likelihood(draws: Draws) -> Floats:
        def part(s: slice) -> Floats:
            picked = (draws["coef"][s], draws["tau"][s], within(draws)[s], draws["nu"][s])
            return study_log_likelihood(rows, *picked)

        width = max(len(rows.y), len(rows.names) * RULE.shape[1])
        return in_chunks(part, len(draws["tau"]), width)

    def log_prior(draws: Draws) -> dict[str, Floats]:
        return {**sd_log_prior(draws, prior, tau, omega), "nu": freedom_log_prior(draws["nu"])}

    return Structure(
        key=("robust", len(prior.mean), prior_key(tau), prior_key(omega)),
        values={**row_values(rows), FIXED: fixed},
        build=build,
        extra=lambda draws: {
            "coef": coef_draws(fixed, draws, draws["tau"]),
            "nu": freedom(draws["nu_excess"]),
        },
        quantities=quantities,
        log_likelihood=log_likelihood,
        log_prior=log_prior,
        studies=rows.names,
        labels=labels(names, combinations),
    )


def study_log_likelihood(
    rows: StudyRows, coef: Floats, tau: Floats, omega: Floats, nu: Floats
) -> Floats:
    """Log marginal density of each study (S, J) at S draws, t-distributed study effects."""
    sums = study_sums(rows, coef, omega**2)
    log_weight, inflate = log_mixing(nu[:, None])
    counts = counting_nodes(log_weight, nu, tau, (sums.mean**2).max(axis=1)).any(axis=0)
    log_weight, inflate = log_weight[:, counts], inflate[:, counts]
    # Each study's density at each node (S, J, n), averaged.
    precision = sums.precision[..., None]
    share = 1.0 / (1.0 + precision * ((tau**2)[:, None] * inflate)[:, None, :])
    exponent = log_weight[:, None, :] - 0.5 * (precision * sums.mean[..., None] ** 2) * share
    return log_sum(exponent, np.sqrt(share)) - 0.5 * sums.free
