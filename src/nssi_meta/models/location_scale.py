"""Location-scale meta-regression: moderators of the mean and of the heterogeneity.

y = X b + u + w + e with u_j ~ N(0, tau_j^2), log tau_j = Z_j g. The scale's moderators belong to
the study; where every row is its own study this is the location-scale model of Viechtbauer and
López-López (2022, Res Synth Methods 13:697), whose alpha on log tau^2 is 2 g. Rows with bounds have
the likelihood of `bounded`, with a tau of their own for every block of rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nssi_meta.models.bounded import block_log_likelihood
from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.coefficients import (
    at_rows,
    coef_draws,
    coef_values,
    coefficients,
    residual,
    row_values,
    study_log_likelihood,
)
from nssi_meta.models.design import Combinations
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import layout_key, layout_nodes
from nssi_meta.models.marginal import in_chunks
from nssi_meta.models.pool import prior_variable
from nssi_meta.models.priors import OMEGA_DEFAULT, TAU_DEFAULT, Prior, PriorError
from nssi_meta.models.regression import checked, combined, labels, within
from nssi_meta.models.structure import (
    FIXED,
    Draws,
    Floats,
    Structure,
    Values,
    coef_prior,
    data_nodes,
    prior_key,
    prior_values,
)
from nssi_meta.models.study_rows import Ints, StudyRows

#: log tau where every scale moderator is 0: tau 0.05 to 1.2 with probability 0.95.
INTERCEPT_PRIOR = "normal(-1.4,0.8)"
#: A moderator's unit multiplies tau by 0.25 to 4 with probability 0.95.
SLOPE_PRIOR = "normal(0,0.7)"


def scale_priors(q: int) -> list[str]:
    """Default priors of q coefficients of log tau, the first that of the intercept.

    For standardised effects and moderators whose unit is a meaningful step (an SD, ten years).
    """
    return [INTERCEPT_PRIOR] + [SLOPE_PRIOR] * (q - 1)


def location_scale(
    rows: StudyRows | BoundedRows,
    names: Sequence[str],
    coef_priors: Sequence[str | Prior],
    Z: ArrayLike,
    scale_names: Sequence[str],
    scale_coef_priors: Sequence[str | Prior] | None = None,
    omega_prior: str | Prior = OMEGA_DEFAULT,
    combinations: Combinations | None = None,
) -> Structure:
    """Meta-regression whose between-study SD depends on moderators.

    Parameters
    ----------
    rows
        Exact effects (`study_rows`), or rows of any kind (`bounded_rows`).
    names, coef_priors, omega_prior, combinations
        As in `regression`.
    Z
        Design matrix (k, q) of log tau in the rows' original order, equal within a study.
    scale_names, scale_coef_priors
        Name and prior (`normal(mean,sd)`) of each coefficient of log tau; `scale_priors` if left
        out.

    Raises
    ------
    PriorError
        A flat prior on the scale, or what `regression` refuses.
    ValueError
        Z differs within a study, is not finite, or does not fit its names.
    """
    require_rows(rows, StudyRows, BoundedRows)
    prior, _, omega = checked(rows, names, coef_priors, TAU_DEFAULT, omega_prior)
    by_study = _study_design(rows, np.asarray(Z, dtype=float), scale_names)
    q = by_study.shape[1]
    chosen = scale_priors(q) if scale_coef_priors is None else list(scale_coef_priors)
    if len(chosen) != q or len(scale_names) != q:
        raise ValueError(f"Z has {q} columns: give {q} names and priors of the scale")
    scale = coef_prior(chosen)
    if not scale.proper:
        raise PriorError(
            f"a flat prior on log tau gives no proper posterior; use {INTERCEPT_PRIOR} for the "
            f"intercept and {SLOPE_PRIOR} for slopes"
        )
    scale_sd = scale.precision**-0.5
    fixed = {
        **coef_values(rows if isinstance(rows, StudyRows) else rows.guess(), prior),
        "scale_mean": scale.mean,
        "scale_sd": scale_sd,
        **({} if omega is None else prior_values("omega", omega)),
    }
    values = _values(rows, by_study, fixed)

    def build(values: Values) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        from nssi_meta.models.evidence_op import normal_studies

        with pm.Model() as model:
            data = data_nodes(values)
            coef = coefficients(data, len(prior.mean))
            raw = pm.Normal("scale_raw", 0.0, 1.0, shape=q)
            gamma = pm.Deterministic("scale", data["scale_mean"] + data["scale_sd"] * raw)
            omega2 = 0.0
            if omega is not None:
                omega2 = prior_variable("omega", omega, data["omega_prior"]) ** 2
            tau2 = pt.exp(2.0 * at_rows(gamma, data["Z"]))
            if isinstance(rows, StudyRows):
                pm.Potential("evidence", normal_studies(data, residual(data, coef), tau2, omega2))
            else:
                add_evidence(layout_nodes(data, values), at_rows(coef, data["X"]), tau2, omega2)
        return model

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        out = {"coef": draws["coef"], "scale": draws["scale"]}
        if omega is not None:
            out["omega"] = draws["omega"]
        # tau at the mean of the scale's moderators over studies: "a typical study".
        out["tau"] = np.exp(draws["scale"] @ by_study.mean(axis=0))
        spread = np.hypot(out["tau"], within(draws))
        return {**out, **combined(draws, combinations, spread * rng.standard_normal(len(spread)))}

    def log_likelihood(draws: Draws) -> Floats:
        def part(s: slice) -> Floats:
            coef, omega = draws["coef"][s], within(draws)[s]
            tau = np.exp(draws["scale"][s] @ by_study.T)
            if isinstance(rows, StudyRows):
                return study_log_likelihood(rows, coef, tau, omega)
            mean, tau = coef @ rows.X.T, tau[:, rows.layout.block_of_row]
            return block_log_likelihood(rows.layout, mean, tau, omega)

        return in_chunks(part, len(draws["coef"]), len(rows.X))

    def log_prior(draws: Draws) -> dict[str, Floats]:
        out = {
            "coef": prior.log_density(draws["coef"]),
            "scale": scale.log_density(draws["scale"]),
        }
        return out if omega is None else {**out, "omega": omega.logpdf(draws["omega"])}

    return Structure(
        key=("location-scale", len(prior.mean), q, prior_key(omega), _form(rows, values)),
        values=values,
        build=build,
        extra=lambda draws: {
            "coef": coef_draws(fixed, draws),
            "scale": scale.mean + scale_sd * draws["scale_raw"],
        },
        quantities=quantities,
        log_likelihood=log_likelihood,
        log_prior=log_prior,
        studies=rows.names,
        labels={**labels(names, combinations), "scale": tuple(scale_names)},
        draws=2000,  # the ridge between a coefficient and its scale mixes slowly, in cheap steps
    )


def _values(rows: StudyRows | BoundedRows, by_study: Floats, fixed: Mapping[str, Floats]) -> Values:
    """Data of the model: the scale's moderators by study, or by row where rows form blocks."""
    if isinstance(rows, BoundedRows):
        return rows.values(fixed, X=rows.X.T, Z=by_study[rows.layout.block_of_row].T)
    base = row_values(rows)
    studies = {**base["studies"], "Z": by_study.T}
    return {"rows": base["rows"], "studies": studies, FIXED: fixed}


def _form(rows: StudyRows | BoundedRows, values: Values) -> Hashable:
    return layout_key(values) if isinstance(rows, BoundedRows) else None


def _study_design(rows: StudyRows | BoundedRows, Z: Floats, names: Sequence[str]) -> Floats:
    """Z by study (J, q)."""
    if Z.ndim != 2 or len(Z) != len(rows.X) or not np.isfinite(Z).all():
        raise ValueError(
            f"the scale's design must be a finite matrix of {len(rows.X)} rows, got shape {Z.shape}"
        )
    study: Ints
    if isinstance(rows, StudyRows):
        Z, study, first = Z[rows.order], rows.study, rows.starts
    else:
        study, first = rows.layout.block_of_row, rows.first
    by_study = Z[first]
    differs = np.argwhere(by_study[study] != Z)
    if len(differs):
        row, column = differs[0]
        name = names[column] if column < len(names) else f"column {column + 1}"
        what = rows.names[study[row]]
        exact = isinstance(rows, StudyRows)
        where = f"within the study {what}" if exact else f"between {what}, which belong together"
        raise ValueError(
            f"{name} differs {where}: moderators of the heterogeneity between studies must belong "
            "to the study"
        )
    return by_study
