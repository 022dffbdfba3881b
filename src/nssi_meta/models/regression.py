"""Meta-regression of exact effects: y = X b + u + w + e, study effects integrated out.

u_j ~ N(0, tau^2) is shared by the rows of a study, w_i ~ N(0, omega^2) is each row's own and in the
model only where some study gives several rows, e ~ N(0, V) with V known. With X a column of ones
this is the three-level model (`three_level`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.coefficients import (
    coef_draws,
    coef_values,
    coefficients,
    flat_rank,
    residual,
    row_values,
    study_log_likelihood,
)
from nssi_meta.models.design import Combinations
from nssi_meta.models.marginal import in_chunks
from nssi_meta.models.pool import prior_variable
from nssi_meta.models.priors import OMEGA_DEFAULT, TAU_DEFAULT, Prior, parse_prior
from nssi_meta.models.structure import (
    FIXED,
    CoefPrior,
    Draws,
    Floats,
    Structure,
    Values,
    check_sd_priors,
    coef_prior,
    data_nodes,
    prior_key,
    prior_values,
)
from nssi_meta.models.study_rows import StudyRows


def regression(
    rows: StudyRows,
    names: Sequence[str],
    coef_priors: Sequence[str | Prior],
    tau_prior: str | Prior = TAU_DEFAULT,
    omega_prior: str | Prior = OMEGA_DEFAULT,
    combinations: Combinations | None = None,
) -> Structure:
    """Meta-regression with normal or flat priors of the coefficients.

    Parameters
    ----------
    rows
        From `study_rows`, with the design matrix (p columns).
    names, coef_priors
        Name and prior (`normal(mean,sd)` or `flat`) of each coefficient (p,).
    tau_prior, omega_prior
        Priors of the between- and within-study SD, as `parse_prior` reads them.
    combinations
        Estimated means and contrasts (`design.combinations`) to report and check.

    Raises
    ------
    PriorError
        A prior that cannot be used, or an improper posterior.
    ValueError
        Numbers of names, priors and columns differ.
    """
    require_rows(rows, StudyRows)
    prior, tau, omega = checked(rows, names, coef_priors, tau_prior, omega_prior)

    fixed = {**coef_values(rows, prior), **sd_values(tau, omega)}

    def build(values: Values) -> Any:
        import pymc as pm

        from nssi_meta.models.evidence_op import normal_studies

        with pm.Model() as model:
            data = data_nodes(values)
            tau_rv, omega2 = sd_nodes(data, tau, omega)
            away = residual(data, coefficients(data, len(prior.mean), tau_rv**2))
            pm.Potential("evidence", normal_studies(data, away, tau_rv[None] ** 2, omega2))
        return model

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        out = sampled(draws, omega)
        spread = np.hypot(draws["tau"], within(draws))
        new = spread * rng.standard_normal(len(spread))
        return {**out, **combined(draws, combinations, new)}

    def log_likelihood(draws: Draws) -> Floats:
        def part(s: slice) -> Floats:
            omega_draws = within(draws)[s]
            return study_log_likelihood(rows, draws["coef"][s], draws["tau"][s], omega_draws)

        return in_chunks(part, len(draws["tau"]), len(rows.y))

    return Structure(
        key=("regression", len(prior.mean), prior_key(tau), prior_key(omega)),
        values={**row_values(rows), FIXED: fixed},
        build=build,
        extra=lambda draws: {"coef": coef_draws(fixed, draws, draws["tau"])},
        quantities=quantities,
        log_likelihood=log_likelihood,
        log_prior=lambda draws: sd_log_prior(draws, prior, tau, omega),
        studies=rows.names,
        labels=labels(names, combinations),
    )


def checked(
    rows: StudyRows | BoundedRows,
    names: Sequence[str],
    coef_priors: Sequence[str | Prior],
    tau_prior: str | Prior,
    omega_prior: str | Prior,
) -> tuple[CoefPrior, Prior, Prior | None]:
    """Parsed priors of a regression, omega's None where no study gives several rows.

    Raises PriorError for a prior that cannot be used or an improper posterior, ValueError where
    numbers of names, priors and columns differ.
    """
    p = rows.X.shape[1]
    if len(names) != p or len(coef_priors) != p:
        raise ValueError(
            f"the design has {p} columns, but there are {len(names)} names and "
            f"{len(coef_priors)} priors: give one of each for every column"
        )
    prior, tau = coef_prior(coef_priors), parse_prior(tau_prior, "tau")
    omega = parse_prior(omega_prior, "tau") if rows.nested else None
    X, n_studies = rows.X, len(rows.names)
    if isinstance(rows, BoundedRows):
        X, n_studies = X[rows.known], len(set(rows.layout.block_of_row[rows.known].tolist()))
    check_sd_priors(tau, omega, n_studies, prior, flat_rank(X, prior))
    return prior, tau, omega


def sd_values(tau: Prior, omega: Prior | None) -> dict[str, Floats]:
    """Data nodes of the SDs' priors."""
    return {
        **prior_values("tau", tau),
        **({} if omega is None else prior_values("omega", omega)),
    }


def sd_nodes(
    data: dict[str, Any], tau: Prior, omega: Prior | None, folded: bool = True
) -> tuple[Any, Any]:
    """The variable tau, and omega squared (0 where omega is not in the model).

    `folded` as in `pool.prior_variable`, for tau.
    """
    tau_rv = prior_variable("tau", tau, data["tau_prior"], folded=folded)
    if omega is None:
        return tau_rv, 0.0
    return tau_rv, prior_variable("omega", omega, data["omega_prior"]) ** 2


def sd_log_prior(
    draws: Draws, coef: CoefPrior, tau: Prior, omega: Prior | None
) -> dict[str, Floats]:
    """Log prior density of coefficients and SDs (S,) each."""
    out = {"coef": coef.log_density(draws["coef"]), "tau": tau.logpdf(draws["tau"])}
    if omega is not None:
        out["omega"] = omega.logpdf(draws["omega"])
    return out


def within(draws: Draws) -> Floats:
    """omega (S,), 0 where it is not in the model."""
    if "omega" in draws:
        return draws["omega"]
    return np.zeros(len(next(iter(draws.values()))))


def sampled(draws: Draws, omega: Prior | None) -> dict[str, Floats]:
    """The parameters every regression reports."""
    out = {"coef": draws["coef"], "tau": draws["tau"]}
    return out if omega is None else {**out, "omega": draws["omega"]}


def combined(draws: Draws, chosen: Combinations | None, new: Floats) -> dict[str, Floats]:
    """Estimated means, contrasts and, with `new` (S,) deviations of a new study, predictions."""
    if chosen is None:
        return {}
    out = {}
    if len(chosen.means):
        out["mean"] = draws["coef"] @ chosen.mean_weights.T
        out["prediction"] = out["mean"] + new[:, None]
    if len(chosen.contrasts):
        out["contrast"] = draws["coef"] @ chosen.contrast_weights.T
    return out


def labels(names: Sequence[str], chosen: Combinations | None) -> dict[str, tuple[str, ...]]:
    """Labels of the vectors that `sampled` and `combined` return."""
    out = {"coef": tuple(names)}
    if chosen is None:
        return out
    means, contrasts = tuple(chosen.means), tuple(chosen.contrasts)
    return {**out, "mean": means, "prediction": means, "contrast": contrasts}
