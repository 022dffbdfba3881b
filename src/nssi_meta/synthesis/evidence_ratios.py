"""Bayes factors of fitted pools as a table row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nssi_meta.inference.bayes_factors import bayes_factors
from nssi_meta.inference.exact import has_omega
from nssi_meta.models.priors import PriorError

if TYPE_CHECKING:
    from nssi_meta.synthesis.pooled import Cell


def cell_ratios(cell: Cell, mu: float) -> dict[str, Any]:
    """One row of `Pools.bayes_factors`; NaN and a note where a factor does not exist."""
    mu_prior, tau_prior, omega_prior = cell.priors
    log10: dict[str, float] = {"mu": np.nan, "tau": np.nan}
    total, note = np.nan, ""
    try:
        found = bayes_factors(
            cell.layout,
            mu_prior=mu_prior,
            tau_prior=tau_prior,
            omega_prior=omega_prior if has_omega(cell.rows["study_id"].to_numpy()) else None,
            mu=mu,
        )
    except PriorError as error:
        note = str(error)
    else:
        total = found.log_evidence
        log10["mu"] = found.log_mu / np.log(10)
        if found.log_tau is None:
            note = "tau is 0 in this model"
        else:
            log10["tau"] = found.log_tau / np.log(10)
    with np.errstate(over="ignore"):
        factors = {f"bf10_{name}": float(np.float64(10.0) ** x) for name, x in log10.items()}
    return {
        **dict(zip(("mechanism", "condition", "estimand"), cell.key, strict=True)),
        "null_mu": mu,
        "log_evidence": total,
        **factors,
        **{f"log10_bf10_{name}": x for name, x in log10.items()},
        "note": note,
    }
