"""The horseshoe's coefficients where bounds are among the rows, so that none can be integrated out.

With scales s the coefficients are s b, b ~ N(0, I). Were every row an exact effect of known
variance, b would be normal given s, with precision K = I + s M s. The sampler moves in `coef_raw`,
about standard normal: b = C'^-1 (C^-1 s q + raw), C C' = K, with M and q of a first guess of the
rows (`scaled_kernel`). A bound or a variance that is guessed wrongly costs steps, not truth: prior
and likelihood are those of b. So neither the funnel of an undecided coefficient and its scale nor
the ridges of coefficients that the data decide hold the sampler up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nssi_meta.models.coefficients import guessed_variances, normal_equations
from nssi_meta.models.evidence_term import common_variable
from nssi_meta.models.layout_nodes import RowNodes
from nssi_meta.models.structure import CoefPrior, Draws, Floats
from nssi_meta.models.study_rows import StudyRows


def guess_values(guess: StudyRows) -> dict[str, Floats]:
    """Data nodes of M (p, p) and q (p,) from rows as if exact, less the intercept's prior mean."""
    p = guess.X.shape[1]
    flat = CoefPrior(np.zeros(p), np.zeros(p))
    M, q = normal_equations(guess, flat, *guessed_variances(guess))
    return {"guess_precision": M, "guess_pull": q}


def add_scaled(rows: RowNodes, data: dict[str, Any], s: Any, tau2: Any, omega2: Any) -> None:
    """Add coefficients of scales s (p,) and the rows' log likelihood to the model in context.

    As `evidence_term.add_evidence`; `data` holds the nodes of `guess_values`, `intercept_mean` and
    the moderators `X` (p, k).
    """
    import pymc as pm

    from nssi_meta.models.evidence_op import scaled_rows

    raw = pm.Flat("coef_raw", shape=data["guess_pull"].type.shape[0])
    g = common_variable(rows)
    pm.Potential("evidence", scaled_rows(rows, data, s, raw, tau2, omega2, g))


def scaled_draws(fixed: dict[str, Floats], s: Floats, draws: Draws) -> Floats:
    """s b (S, p) from the sampled `coef_raw`, with the values of `guess_values`."""
    K = np.eye(s.shape[1]) + s[:, :, None] * fixed["guess_precision"] * s[:, None, :]
    C = np.linalg.cholesky(K)
    middle = np.linalg.solve(C, (s * fixed["guess_pull"])[..., None])
    right = middle + draws["coef_raw"][..., None]
    return np.asarray(s * np.linalg.solve(np.swapaxes(C, 1, 2), right)[..., 0])
