"""Effects in studies: y_ij = mu + u_j + w_ij + e_ij, the three-level model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nssi_meta.models.design import Combinations
from nssi_meta.models.priors import MU_DEFAULT, OMEGA_DEFAULT, TAU_DEFAULT, Prior
from nssi_meta.models.regression import regression
from nssi_meta.models.structure import Structure
from nssi_meta.models.study_rows import StudyRows, study_rows


def three_level(
    yi: ArrayLike,
    V: ArrayLike,
    study: Sequence[object] | NDArray[Any] | pd.Series[Any],
    mu_prior: str | Prior = MU_DEFAULT,
    tau_prior: str | Prior = TAU_DEFAULT,
    omega_prior: str | Prior = OMEGA_DEFAULT,
) -> Structure:
    """The three-level model of k effects in J studies.

    `V` are sampling variances (k,) or a covariance (k, k) from `vcalc`. It is the regression on an
    intercept, and shares its compiled code; mu is reported as `mean[mu]`, the effect in a new study
    as `prediction[mu]`. Raises as `study_rows` and `regression` do.
    """
    return one_mean(study_rows(yi, V, study), mu_prior, tau_prior, omega_prior)


def one_mean(
    rows: StudyRows, mu_prior: str | Prior, tau_prior: str | Prior, omega_prior: str | Prior
) -> Structure:
    """The same of rotated rows whose design is an intercept."""
    mu = Combinations(means={"mu": np.ones(1)})
    return regression(rows, ["mu"], [mu_prior], tau_prior, omega_prior, mu)
