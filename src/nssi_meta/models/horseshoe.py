"""Meta-regression with many moderators: the regularised horseshoe of Piironen and Vehtari (2017).

b_m ~ N(0, s_m^2), s_m^2 = g^2 c^2 l_m^2 / (c^2 + g^2 l_m^2), l_m ~ half-Cauchy(1),
g ~ half-Cauchy(g_0), c^2 ~ inverse-gamma(2, 2 slab^2) (Electron J Stat 11:5018). Given the scales
the coefficients are normal, so they are integrated out in closed form and drawn afterwards: NUTS
meets no funnel between a coefficient and its scale. With bounds among the rows they are sampled
(`horseshoe_bounds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nssi_meta.models.bounded import block_log_likelihood
from nssi_meta.models.bounded_rows import BoundedRows, require_rows
from nssi_meta.models.coefficients import (
    guessed_variance,
    row_values,
    study_log_likelihood,
)
from nssi_meta.models.design import Combinations
from nssi_meta.models.horseshoe_bounds import (
    add_scaled,
    guess_values,
    scaled_draws,
)
from nssi_meta.models.layout_nodes import layout_key, layout_nodes
from nssi_meta.models.marginal import in_chunks, study_sums
from nssi_meta.models.priors import MU_DEFAULT, OMEGA_DEFAULT, TAU_DEFAULT, Prior, PriorError
from nssi_meta.models.regression import (
    checked,
    combined,
    labels,
    sampled,
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

#: Student-t slab with 4 degrees of freedom: c^2 ~ inverse-gamma(2, 2 slab^2).
SLAB_SHAPE = 2.0


def horseshoe(
    rows: StudyRows | BoundedRows,
    names: Sequence[str],
    expected: float,
    intercept_prior: str | Prior = MU_DEFAULT,
    slab: float = 0.5,
    tau_prior: str | Prior = TAU_DEFAULT,
    omega_prior: str | Prior = OMEGA_DEFAULT,
    combinations: Combinations | None = None,
) -> Structure:
    """Meta-regression whose first column is the intercept and all others are shrunk.

    Parameters
    ----------
    rows
        Exact effects (`study_rows`), or rows of any kind (`bounded_rows`); moderators are brought
        to SD 1 inside and reported in their own unit.
    names, tau_prior, omega_prior, combinations
        As in `regression`.
    expected
        How many of the moderators are guessed to matter (p_0); sets the global scale g_0 =
        p_0 / (m - p_0) sigma / sqrt(k), with sigma^2 the guessed total variance of a row.
    intercept_prior
        A proper prior, `normal(mean,sd)`.
    slab
        Scale of coefficients that do matter, per SD of their moderator, in the outcome's unit.

    Raises
    ------
    PriorError, ValueError
        As `regression`; a flat intercept; fewer than two moderators; `expected` below 1 or
        not below their number; a first column that is no intercept or another that does not vary.
    """
    require_rows(rows, StudyRows, BoundedRows)
    m = rows.X.shape[1] - 1
    _require_many(m, expected, isinstance(rows, StudyRows))
    if not (np.isfinite(slab) and slab > 0):
        raise ValueError(f"slab must be finite and above 0, got {slab}")
    priors = [intercept_prior] + [f"normal(0,{float(slab)!r})"] * m
    prior, tau, omega = checked(rows, names, priors, tau_prior, omega_prior)
    if not prior.proper:
        raise PriorError("the horseshoe needs a proper intercept prior, such as normal(0,1)")
    effects = rows if isinstance(rows, StudyRows) else rows.guess()
    if not np.allclose(effects.X[:, 0], effects.z):
        raise ValueError("the first column of the design must be the intercept (ones)")
    unit = _units(effects, names)
    v = rows.d if isinstance(rows, StudyRows) else rows.layout.v
    sigma2 = guessed_variance(effects) + float(np.mean(v))
    g_0 = expected / (m - expected) * np.sqrt(sigma2 / len(v))
    intercept = np.eye(m + 1)[0] * prior.mean
    # The intercept's prior mean is taken out of y, so that every coefficient has mean 0.
    inside = replace(effects, y=effects.y - effects.X @ intercept, X=effects.X / unit)
    fixed = {
        "intercept_sd": np.array([prior.precision[0] ** -0.5]),
        "global_scale": np.array(g_0),
        "slab": np.array(slab),
        **sd_values(tau, omega),
    }
    if isinstance(rows, StudyRows):
        values: Values = {**row_values(inside), FIXED: fixed}
    else:
        fixed |= {"intercept_mean": intercept[:1], **guess_values(inside)}
        values = rows.values(fixed, X=(rows.X / unit).T)

    def build(values: Values) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        from nssi_meta.models.evidence_op import shrunken_studies

        with pm.Model() as model:
            data = data_nodes(values)
            tau_rv, omega2 = sd_nodes(data, tau, omega)
            local = pm.HalfCauchy("local", 1.0, shape=m)
            overall = pm.HalfCauchy("global", data["global_scale"])
            slab2 = pm.InverseGamma("slab2", SLAB_SHAPE, SLAB_SHAPE * data["slab"] ** 2)
            slopes = _slope_scales(overall, local, slab2)
            s = pm.Deterministic("scales", pt.concatenate([data["intercept_sd"], slopes]))
            if isinstance(rows, StudyRows):
                pm.Potential("evidence", shrunken_studies(data, s, tau_rv**2, omega2))
            else:
                add_scaled(layout_nodes(data, values), data, s, tau_rv**2, omega2)
        return model

    def extra(draws: Draws) -> dict[str, Floats]:
        scales = _scales(draws, prior.precision[0] ** -0.5)
        if isinstance(rows, StudyRows):
            return {"scales": scales}
        return {"scales": scales, "coef": (intercept + scaled_draws(fixed, scales, draws)) / unit}

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        full = draws if "coef" in draws else {**draws, "coef": drawn(draws, rng)}
        spread = np.hypot(draws["tau"], within(draws))
        new = spread * rng.standard_normal(len(spread))
        return {**sampled(full, omega), **combined(full, combinations, new)}

    def drawn(draws: Draws, rng: np.random.Generator) -> Floats:
        noise = rng.standard_normal(draws["scales"].shape)

        def part(s: slice) -> Floats:
            return _draw(inside, draws["scales"][s], draws["tau"][s], within(draws)[s], noise[s])

        return (intercept + in_chunks(part, len(draws["tau"]), rows.X.size)) / unit

    def log_likelihood(draws: Draws) -> Floats:
        def part(s: slice) -> Floats:
            coef, tau, omega = draws["coef"][s], draws["tau"][s], within(draws)[s]
            if isinstance(rows, StudyRows):
                return study_log_likelihood(rows, coef, tau, omega)
            return block_log_likelihood(rows.layout, coef @ rows.X.T, tau, omega)

        return in_chunks(part, len(draws["tau"]), len(v))

    def log_prior(draws: Draws) -> dict[str, Floats]:
        b, s, slab2 = draws["coef"] * unit - intercept, draws["scales"], draws["slab2"]
        normal = -0.5 * (b / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
        rate = SLAB_SHAPE * slab**2
        out = {
            "coef": normal.sum(axis=-1),
            "local": _log_half_cauchy(draws["local"], 1.0).sum(axis=-1),
            "global": _log_half_cauchy(draws["global"], g_0),
            "slab2": SLAB_SHAPE * np.log(rate) - (SLAB_SHAPE + 1) * np.log(slab2) - rate / slab2,
            "tau": tau.logpdf(draws["tau"]),
        }
        return out if omega is None else {**out, "omega": omega.logpdf(draws["omega"])}

    form = layout_key(values) if isinstance(rows, BoundedRows) else None
    return Structure(
        key=("horseshoe", m, prior_key(tau), prior_key(omega), form),
        values=values,
        build=build,
        extra=extra,
        quantities=quantities,
        log_likelihood=log_likelihood,
        log_prior=log_prior,
        studies=rows.names,
        labels=labels(names, combinations),
    )


def _require_many(m: int, expected: float, exact: bool) -> None:
    """ValueError for fewer than two moderators, or a number of them that cannot be expected."""
    if m < 2:
        other = "regression(**rows.exact)" if exact else "bounded_regression(**rows.bounded)"
        raise ValueError(
            f"the horseshoe tells many moderators apart and needs at least 2, here {m}: use {other}"
        )
    if not 1 <= expected < m:
        raise ValueError(
            f"expected must be at least 1 and below {m}, the number of moderators, got {expected}"
        )


def _slope_scales(overall: Any, local: Any, slab2: Any) -> Any:
    """Prior SD of each slope."""
    loose = (overall * local) ** 2
    return (loose / (1.0 + loose / slab2)) ** 0.5


def _scales(draws: Draws, intercept_sd: float) -> Floats:
    """Prior SD of every coefficient (S, p), the intercept's first."""
    slopes = _slope_scales(draws["global"][:, None], draws["local"], draws["slab2"][:, None])
    first = np.full((len(slopes), 1), intercept_sd)
    return np.concatenate([first, slopes], axis=1)


def _units(rows: StudyRows, names: Sequence[str]) -> Floats:
    """SD of each moderator over rows (rotated rows keep second moments), 1 for the intercept."""
    k = len(rows.y)
    mean = rows.X.T @ rows.z / k
    unit = np.sqrt(np.maximum((rows.X**2).sum(axis=0) / k - mean**2, 0.0))
    unit[0] = 1.0
    same = np.flatnonzero(unit <= 1e-9 * np.abs(rows.X).max(axis=0))
    if len(same):
        raise ValueError(f"{names[same[0]]} does not vary: it can explain nothing")
    return unit


def _log_half_cauchy(x: Floats, scale: float) -> Floats:
    return np.asarray(np.log(2 / (np.pi * scale)) - np.log1p((x / scale) ** 2))


def _draw(rows: StudyRows, s: Floats, tau: Floats, omega: Floats, noise: Floats) -> Floats:
    """One draw of the (scaled) coefficients given each draw of the scales, (S, p)."""
    p = s.shape[1]
    sums = study_sums(rows, np.zeros((len(s), p)), omega**2)
    w = 1.0 / (rows.d + omega[:, None] ** 2)
    zx = np.stack([rows.total(w * rows.z * column) for column in rows.X.T], axis=-1)
    shrink = tau[:, None] ** 2 / (1.0 + tau[:, None] ** 2 * sums.precision)
    M = np.einsum("ka,sk,kb->sab", rows.X, w, rows.X, optimize=True)
    M = M - np.einsum("sja,sj,sjb->sab", zx, shrink, zx, optimize=True)
    q = (w * rows.y) @ rows.X - np.einsum("sja,sj->sa", zx, shrink * sums.precision * sums.mean)
    left = np.eye(p) + s[:, :, None] * M * s[:, None, :]
    chol = np.linalg.cholesky(left)
    mean = np.linalg.solve(left, (s * q)[..., None])
    deviation = np.linalg.solve(np.swapaxes(chol, 1, 2), noise[..., None])
    return np.asarray(s * (mean + deviation)[..., 0])
