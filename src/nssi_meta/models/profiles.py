"""All pools at once: mechanism x condition means as correlated profiles, as a PyMC model.

mu_m = (mu_m,1 ... mu_m,C) ~ MVN(0, diag(sigma) R diag(sigma)), R ~ LKJ(2). A row compares two
arms, theta = mu[m, case] - mu[m, comparator] with mu[m, reference] = 0, so that comparisons with
patients inform contrasts between conditions as in a network meta-analysis. Heterogeneity
tau_m ~ half-normal(tau_0) is partially pooled over mechanisms (tau_0 is learned; a log-normal
spread would put a fifth of its mass beyond tau = 1); omega is the within-study component. Study
effects are integrated out (`likelihood`), so NUTS sees means and variances only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from nssi_meta.models.blocks import RHO, Layout, Vcalc, layout
from nssi_meta.models.evidence_term import add_evidence
from nssi_meta.models.layout_nodes import layout_key, layout_nodes, layout_values
from nssi_meta.models.reporting import Reports
from nssi_meta.models.reporting_term import (
    add_reporting,
    null_nodes,
    reporting_key,
    reporting_values,
)
from nssi_meta.models.structure import Recipe, Values, data_nodes

if TYPE_CHECKING:
    import pymc as pm

#: Prior scales on the standardised scale, all half-normal: SD of true means over mechanisms,
#: scale of the mechanisms' between-study SDs, within-study SD.
PRIOR_SCALES = {"sigma": 1.0, "tau_0": 0.5, "omega": 0.5}
#: LKJ shape for the correlations between conditions: mild pull towards 0, symmetric in sign.
LKJ_ETA = 2.0


@dataclass(frozen=True)
class ProfileData:
    """Rows of one scale, indexed: mechanism, case and comparator position of each row.

    `case` and `comparator` index `conditions`; comparator -1 is the reference group.
    """

    frame: pd.DataFrame
    layout: Layout
    mechanisms: tuple[str, ...]
    conditions: tuple[str, ...]
    mechanism: NDArray[np.int64]
    case: NDArray[np.int64]
    comparator: NDArray[np.int64]


def profile_data(
    frame: pd.DataFrame,
    conditions: tuple[str, ...],
    reference: str,
    vcalc: Vcalc,
    rho: float = RHO,
) -> ProfileData:
    """Index the rows of a derived frame; rows whose arms are not in `conditions` are an error.

    `frame` holds rows of one scale; `reference` is the comparator at which every mean is 0.
    """
    frame = frame.reset_index(drop=True)
    position = {c: i for i, c in enumerate(conditions)}
    unknown = sorted(
        (set(frame["condition"]) - set(conditions))
        | (set(frame["comparator"]) - set(conditions) - {reference})
    )
    if unknown:
        raise ValueError(f"rows with arms outside the model: {', '.join(unknown)}")
    mechanisms = tuple(dict.fromkeys(frame["mechanism"]))
    place = {m: i for i, m in enumerate(mechanisms)}
    return ProfileData(
        frame=frame,
        layout=layout(frame, vcalc, rho),
        mechanisms=mechanisms,
        conditions=conditions,
        mechanism=frame["mechanism"].map(place).to_numpy(dtype=np.int64),
        case=np.array([position[c] for c in frame["condition"]], dtype=np.int64),
        comparator=np.array([position.get(c, -1) for c in frame["comparator"]], dtype=np.int64),
    )


def profiles_model(
    data: ProfileData, tails: float = np.inf, reports: Reports | None = None
) -> Recipe:
    """The joint model. Free parameters are non-centred: most cells hold few rows or bounds.

    Compiled once for a number of mechanisms and conditions; the rows are mutable data.
    `tails`, degrees of freedom: below infinity the means of a mechanism are multivariate t with
    scale matrix diag(sigma) R diag(sigma), so that few mechanisms with very large effects move
    sigma and R less. `reports` adds selective reporting (`reporting_term`).
    Raises ValueError for tails of 2 or less, where effects would have no variance.
    """
    if not tails > 2:
        raise ValueError(f"tails must be above 2 degrees of freedom, got {tails:g}")
    columns = {"mechanism": data.mechanism, "case": data.case, "comparator": data.comparator}
    rows = data.layout, data.frame["kind"].to_numpy()
    of_rows = layout_values(*rows, columns)
    of_reports = {} if reports is None else reporting_values(reports)
    shape = len(data.mechanisms), len(data.conditions)
    shapes = layout_key(of_rows), None if reports is None else reporting_key(of_reports)
    return Recipe(
        key=("profiles", *shape, tails, *shapes),
        values={**of_rows, **of_reports},
        build=partial(_joint, shape=shape, tails=tails, selective=reports is not None),
        traced=("R", "mu", "tau"),
        coords={
            "mechanism": data.mechanisms,
            "condition": data.conditions,
            "condition_b": data.conditions,
        },
    )


def _joint(values: Values, *, shape: tuple[int, int], tails: float, selective: bool) -> pm.Model:
    import pymc as pm
    import pytensor.tensor as pt

    n_m, n_c = shape
    with pm.Model(coords=_numbered(n_m, n_c)) as model:
        nodes = data_nodes(values)
        sigma = pm.HalfNormal("sigma", PRIOR_SCALES["sigma"], dims="condition")
        chol = pm.LKJCorr("chol", n=n_c, eta=LKJ_ETA)  # PyMC 6 returns the Cholesky factor
        pm.Deterministic("R", chol @ chol.T, dims=("condition", "condition_b"))
        z = _standard(tails, n_c)
        mu = pm.Deterministic("mu", (z @ chol.T) * sigma, dims=("mechanism", "condition"))
        tau_0 = pm.HalfNormal("tau_0", PRIOR_SCALES["tau_0"])
        z_tau = pm.HalfNormal("z_tau", 1.0, dims="mechanism")
        tau = pm.Deterministic("tau", tau_0 * z_tau, dims="mechanism")
        omega = pm.HalfNormal("omega", PRIOR_SCALES["omega"])
        # One zero column behind the conditions: the last index is the reference group's mean of 0.
        arms = pt.concatenate([mu, pt.zeros((n_m, 1))], axis=1)
        at, case, other = (pt.cast(nodes[n], "int64") for n in ("mechanism", "case", "comparator"))
        mean = arms[at, case] - arms[at, pt.switch(other < 0, n_c, other)]
        add_evidence(layout_nodes(nodes, values), mean, tau[at] ** 2, omega**2)
        if selective:
            add_reporting(null_nodes(nodes, values), mean, tau[at] ** 2, omega**2)
    return model


def _standard(tails: float, n_c: int) -> Any:
    """z (M, C), each row of a spherical normal or t distribution in C dimensions."""
    import pymc as pm
    import pytensor.tensor as pt

    dims = ("mechanism", "condition")
    if not np.isfinite(tails):
        return pm.Normal("z", 0.0, 1.0, dims=dims)
    # The density itself: with a gamma variable under a normal the sampler meets a ridge.
    z = pm.Flat("z", dims=dims)
    constant = gammaln((tails + n_c) / 2) - gammaln(tails / 2) - n_c / 2 * np.log(tails * np.pi)
    density = constant - (tails + n_c) / 2 * pt.log1p(pt.sum(z**2, axis=1) / tails)
    pm.Potential("z_prior", pt.sum(density))
    return z


def _numbered(n_m: int, n_c: int) -> dict[str, range]:
    """Positions along the dimensions; a compiled model gets its names with its data."""
    return {"mechanism": range(n_m), "condition": range(n_c), "condition_b": range(n_c)}
