"""The horseshoe's coefficients where bounds are among the rows, so that none can be integrated out.

With scales s the coefficients are s b, b ~ N(0, I). Were every row an exact effect of known
variance, b would be normal given s, with precision K = I + s M s. The sampler moves in `coef_raw`,
about standard normal: b = C'^-1 (C^-1 s q + raw), C C' = K, with M and q of a first guess of the
rows. A bound or a variance that is guessed wrongly costs steps, not truth: prior and likelihood are
those of b. So neither the funnel of an undecided coefficient and its scale nor the ridges of
coefficients that the data decide hold the sampler up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nssi_meta.models.coefficients import guessed_variance, normal_equations
from nssi_meta.models.structure import CoefPrior, Draws, Floats
from nssi_meta.models.study_rows import StudyRows


def guess_values(guess: StudyRows) -> dict[str, Floats]:
    """Data nodes of M (p, p) and q (p,) from rows as if exact, less the intercept's prior mean."""
    p, extra = guess.X.shape[1], guessed_variance(guess)
    share = 0.5 if guess.nested else 1.0
    flat = CoefPrior(np.zeros(p), np.zeros(p))
    M, q = normal_equations(guess, flat, share * extra, (1 - share) * extra)
    return {"guess_precision": M, "guess_pull": q}


def coefficients_of_scale_one(data: dict[str, Any], s: Any) -> Any:
    """The variable b (p,) of the model in context, given the scales (p,), its prior added."""
    import pymc as pm
    import pytensor.tensor as pt

    p = data["guess_pull"].type.shape[0]
    raw = pm.Flat("coef_raw", shape=p)
    C = pt.linalg.cholesky(pt.eye(p) + s[:, None] * data["guess_precision"] * s)
    middle = pt.linalg.solve_triangular(C, s * data["guess_pull"], lower=True)
    b = pt.linalg.solve_triangular(C.T, middle + raw, lower=False)
    pm.Potential("coef_prior", -0.5 * pt.sum(b**2) - pt.sum(pt.log(pt.diagonal(C))))
    return b


def scaled_draws(fixed: dict[str, Floats], s: Floats, draws: Draws) -> Floats:
    """s b (S, p) from the sampled `coef_raw`, with the values of `guess_values`."""
    K = np.eye(s.shape[1]) + s[:, :, None] * fixed["guess_precision"] * s[:, None, :]
    C = np.linalg.cholesky(K)
    middle = np.linalg.solve(C, (s * fixed["guess_pull"])[..., None])
    right = middle + draws["coef_raw"][..., None]
    return np.asarray(s * np.linalg.solve(np.swapaxes(C, 1, 2), right)[..., 0])
