"""Coefficients of a model as the sampler sees them: centred and scaled by a first estimate.

coef = centre + s(tau) chol raw, where centre and chol chol' are the coefficients' posterior mean
and covariance under a guess of the variances, and s says how much wider each is under another tau:
s = 1 at the guess, and follows the few studies' uncertainty as tau grows, as far as the prior lets
it. The sampler moves in `raw`, about standard normal on any scale of the outcome, for any
collinearity and any tau; the prior is put on coef itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.marginal import study_sums
from nssi_meta.models.ops import static_shape
from nssi_meta.models.priors import PriorError
from nssi_meta.models.structure import CoefPrior, Draws
from nssi_meta.models.study_rows import Floats, StudyRows


def row_values(rows: StudyRows) -> dict[str, dict[str, NDArray[Any]]]:
    """Data nodes of the rows: `X` is (p, k)."""
    columns = {"y": rows.y, "z": rows.z, "d": rows.d, "X": rows.X.T}
    return {"rows": columns, "studies": {"size": rows.size}}


def coef_values(rows: StudyRows, prior: CoefPrior) -> dict[str, NDArray[Any]]:
    """Data nodes of fixed shape that `coefficients` reads."""
    centre, chol = first_estimate(rows, prior)
    tau2, omega2 = guessed_variances(rows)
    v = len(rows.d) / np.sum(1.0 / rows.d)
    return {
        "coef_mean": prior.mean,
        "coef_precision": prior.precision,
        "coef_centre": centre,
        "coef_chol": chol,
        "coef_told": np.diag(normal_equations(rows, prior, tau2, omega2)[0]) - prior.precision,
        "coef_guess": np.array([v, tau2]),
    }


def stretch(values: Mapping[str, Any], tau2: Any) -> Any:
    """How much wider the coefficients (..., p) are under `tau2` (..., 1) than under the guess.

    With precision P of the prior and N of the data under the guess: sqrt((P + N) / (P + N r)), r
    the ratio of a typical study's variances. Of `values` as of `coef_values`, arrays or nodes.
    """
    v, guess = values["coef_guess"][0], values["coef_guess"][1]
    prior, told = values["coef_precision"], values["coef_told"]
    return ((prior + told) / (prior + told * (v + guess) / (v + tau2))) ** 0.5


def coefficients(data: dict[str, Any], p: int, tau2: Any = None) -> Any:
    """The variable `coef` (p,) of the model in context, its normal or flat prior added.

    `tau2` (a scalar) stretches what is sampled; None where studies differ in tau.
    """
    import pymc as pm
    import pytensor.tensor as pt

    raw = pm.Flat("coef_raw", shape=p)
    moved = (data["coef_chol"] * raw).sum(axis=1)
    if tau2 is not None:
        s = stretch(data, tau2)
        moved = s * moved
        pm.Potential("coef_stretch", pt.log(s).sum())
    coef = pm.Deterministic("coef", data["coef_centre"] + moved)
    gap = coef - data["coef_mean"]
    pm.Potential("coef_prior", -0.5 * pt.sum(data["coef_precision"] * gap**2))
    return coef


def coef_draws(fixed: Mapping[str, Floats], draws: Draws, tau: Floats | None = None) -> Floats:
    """`coef` (S, p) from the sampled `coef_raw`, with the values of `coef_values`.

    `tau` (S,) where it stretched what was sampled.
    """
    moved = draws["coef_raw"] @ fixed["coef_chol"].T
    if tau is not None:
        moved = moved * stretch(fixed, tau[:, None] ** 2)
    return np.asarray(fixed["coef_centre"] + moved)


def at_rows(coef: Any, X: Any) -> Any:
    """coef' X (k,) for X (p, k), as a sum: of so few columns a product costs more than it does."""
    return coef[0] * X[0] if static_shape(coef) == (1,) else (coef[:, None] * X).sum(axis=0)


def residual(data: dict[str, Any], coef: Any) -> Any:
    """Rows' distance from their expected value (k,)."""
    return data["y"] - at_rows(coef, data["X"])


def flat_rank(X: Floats, prior: CoefPrior) -> int:
    """Rank of the columns of a design (k, p) whose coefficients have flat priors."""
    columns = X[:, prior.precision == 0]
    return int(np.linalg.matrix_rank(columns)) if columns.size else 0


def first_estimate(rows: StudyRows, prior: CoefPrior) -> tuple[Floats, Floats]:
    """Posterior mean (p,) and Cholesky factor of its covariance (p, p) at guessed variances.

    The residual variance beyond the sampling errors, by moments, is shared by tau and omega.
    Raises `PriorError` where the coefficients are not identified.
    """
    p = rows.X.shape[1]
    left, right = normal_equations(rows, prior, *guessed_variances(rows))
    try:
        chol = np.linalg.cholesky(np.linalg.inv(left))
    except np.linalg.LinAlgError as error:
        raise PriorError(
            "the coefficients are not identified: leave out moderators that follow from others, or "
            "use proper priors such as normal(0,1)"
        ) from error
    centre = np.linalg.solve(left, right)
    if not (np.isfinite(centre).all() and np.isfinite(chol).all() and chol.shape == (p, p)):
        raise PriorError("the coefficients' first estimate is not finite: check the moderators")
    return centre, chol


def guessed_variances(rows: StudyRows) -> tuple[float, float]:
    """tau^2 and omega^2 for a first estimate."""
    extra, share = guessed_variance(rows), 0.5 if rows.nested else 1.0
    return share * extra, (1 - share) * extra


def guessed_variance(rows: StudyRows) -> float:
    """Mean squared residual of a weighted fit beyond the sampling variance, at least 0."""
    root = np.sqrt(1.0 / rows.d)
    fit = np.linalg.lstsq(rows.X * root[:, None], rows.y * root, rcond=None)[0]
    return max(float(np.mean((rows.y - rows.X @ fit) ** 2 - rows.d)), 0.0)


def normal_equations(
    rows: StudyRows, prior: CoefPrior, tau2: float, omega2: float
) -> tuple[Floats, Floats]:
    """Precision (p, p) and its product with the posterior mean (p,) under given variances."""
    w = 1.0 / (rows.d + omega2)
    A = rows.total(w * rows.z**2)
    shrink = tau2 / (1.0 + tau2 * A)
    zx = rows.total((w * rows.z) * rows.X.T).T
    zy = rows.total(w * rows.z * rows.y)
    left = (rows.X.T * w) @ rows.X - (zx.T * shrink) @ zx + np.diag(prior.precision)
    right = rows.X.T @ (w * rows.y) - zx.T @ (shrink * zy) + prior.precision * prior.mean
    return left, right


def study_log_likelihood(rows: StudyRows, coef: Floats, tau: Floats, omega: Floats) -> Floats:
    """Log marginal density of each study (S, J) at S draws, normal study effects.

    `tau` is (S,), or (S, J) where it differs between studies.
    """
    tau2 = tau**2 if tau.ndim == 2 else tau[:, None] ** 2
    return study_sums(rows, coef, omega**2).given(tau2)
