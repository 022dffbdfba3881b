"""Meta-regression with many moderators: the regularised horseshoe of Piironen and Vehtari (2017).

b_m ~ N(0, s_m^2), s_m^2 = g^2 c^2 l_m^2 / (c^2 + g^2 l_m^2), l_m ~ half-Cauchy(1),
g ~ half-Cauchy(g_0), c^2 ~ inverse-gamma(2, 2 slab^2) (Electron J Stat 11:5018). Given the scales
the coefficients are normal, so they are integrated out in closed form and drawn afterwards: NUTS
meets no funnel between a coefficient and its scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nssi_meta.models.coefficients import guessed_variance, row_values, study_log_likelihood
from nssi_meta.models.design import Combinations
from nssi_meta.models.marginal import in_chunks, numpy_sums, pytensor_sums
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
from nssi_meta.models.study_rows import StudyRows, require_rows

#: Student-t slab with 4 degrees of freedom: c^2 ~ inverse-gamma(2, 2 slab^2).
SLAB_SHAPE = 2.0


def horseshoe(
    rows: StudyRows,
    names: Sequence[str],
    expected: int,
    intercept_prior: str | Prior = MU_DEFAULT,
    slab: float = 0.5,
    tau_prior: str | Prior = TAU_DEFAULT,
    omega_prior: str | Prior = OMEGA_DEFAULT,
    combinations: Combinations | None = None,
) -> Structure:
    """Meta-regression whose first column is the intercept and all others are shrunk.

    Parameters
    ----------
    rows, names, tau_prior, omega_prior, combinations
        As in `regression`; moderators are brought to SD 1 inside and reported in their own unit.
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
        As `regression`; a flat intercept; `expected` not between 1 and the moderators less one; a
        first column that is no intercept or another that does not vary.
    """
    require_rows(rows)
    m = rows.X.shape[1] - 1
    if not 1 <= expected < m:
        raise ValueError(
            f"expected must be between 1 and {m - 1} for {m} moderators, got {expected}; with one "
            "moderator use `regression`"
        )
    if not (np.isfinite(slab) and slab > 0):
        raise ValueError(f"slab must be finite and above 0, got {slab}")
    priors = [intercept_prior] + [f"normal(0,{slab!r})"] * m
    prior, tau, omega = checked(rows, names, priors, tau_prior, omega_prior)
    if not prior.proper:
        raise PriorError("the horseshoe needs a proper intercept prior, such as normal(0,1)")
    if not np.allclose(rows.X[:, 0], rows.z):
        raise ValueError("the first column of the design must be the intercept (ones)")
    unit = _units(rows, names)
    sigma2 = guessed_variance(rows) + float(np.mean(rows.d))
    g_0 = expected / (m - expected) * np.sqrt(sigma2 / len(rows.y))
    # The intercept's prior mean is taken out of y, so that every coefficient has mean 0.
    inside = replace(rows, y=rows.y - rows.X[:, 0] * prior.mean[0], X=rows.X / unit)
    values = {
        **row_values(inside),
        FIXED: {
            "intercept_sd": np.array([prior.precision[0] ** -0.5]),
            "global_scale": np.array(g_0),
            "slab": np.array(slab),
            **sd_values(tau, omega),
        },
    }

    def build(values: Values) -> Any:
        import pymc as pm
        import pytensor.tensor as pt
        from pytensor.gradient import disconnected_grad

        from nssi_meta.models.ops import pytensor_ops

        with pm.Model() as model:
            data = data_nodes(values)
            tau_rv, omega2 = sd_nodes(data, tau, omega)
            local = pm.HalfCauchy("local", 1.0, shape=m)
            overall = pm.HalfCauchy("global", data["global_scale"])
            slab2 = pm.InverseGamma("slab2", SLAB_SHAPE, SLAB_SHAPE * data["slab"] ** 2)
            slopes = _slope_scales(overall, local, slab2)
            s = pm.Deterministic("scales", pt.concatenate([data["intercept_sd"], slopes]))
            sums = pytensor_sums(data, data["y"], omega2)
            w = 1.0 / (data["d"] + omega2)
            X, study = data["X"].T, pt.cast(data["study"], "int64")
            empty = pt.zeros((data["size"].shape[0], m + 1))
            zx = pt.inc_subtensor(empty[study], (w * data["z"])[:, None] * X)
            zr = sums.precision * sums.mean
            shrink = tau_rv**2 / (1.0 + tau_rv**2 * sums.precision)
            M = (X.T * w) @ X - (zx.T * shrink) @ zx
            q = X.T @ (w * data["y"]) - zx.T @ (shrink * zr)
            K, b = pt.eye(m + 1) + s[:, None] * M * s, s * q
            # x = K^-1 b held fixed: b x - x K x / 2 has the value of b K^-1 b / 2 and, x being
            # where it is largest, its gradient, without differentiating an inverse.
            x = disconnected_grad(pt.linalg.inv(K) @ b)
            gain = b @ x - 0.5 * (x @ (K @ x)) - 0.5 * pt.linalg.slogdet(K)[1]
            pm.Potential("evidence", pt.sum(sums.given(tau_rv**2, pytensor_ops())) + gain)
        return model

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        noise = rng.standard_normal(draws["scales"].shape)

        def part(s: slice) -> Floats:
            return _draw(inside, draws["scales"][s], draws["tau"][s], within(draws)[s], noise[s])

        raw = in_chunks(part, len(draws["tau"]), rows.X.size)
        raw[:, 0] += prior.mean[0]
        full = {**draws, "coef": raw / unit}
        new = np.hypot(draws["tau"], within(draws)) * rng.standard_normal(len(raw))
        return {**sampled(full, omega), **combined(full, combinations, new)}

    def log_likelihood(draws: Draws) -> Floats:
        def part(s: slice) -> Floats:
            return study_log_likelihood(rows, draws["coef"][s], draws["tau"][s], within(draws)[s])

        return in_chunks(part, len(draws["tau"]), len(rows.y))

    def log_prior(draws: Draws) -> dict[str, Floats]:
        b = draws["coef"] * unit - np.where(np.arange(m + 1) == 0, prior.mean[0], 0.0)
        s, slab2 = draws["scales"], draws["slab2"]
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

    return Structure(
        key=("horseshoe", m, prior_key(tau), prior_key(omega)),
        values=values,
        build=build,
        extra=lambda draws: {"scales": _scales(draws, prior.precision[0] ** -0.5)},
        quantities=quantities,
        log_likelihood=log_likelihood,
        log_prior=log_prior,
        studies=rows.names,
        labels=labels(names, combinations),
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
    sums = numpy_sums(rows, np.zeros((len(s), p)), omega**2)
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
