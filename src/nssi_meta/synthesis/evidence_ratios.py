"""Bayes factors of fitted pools as a table row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nssi_meta.inference.bayes_factors import BayesFactors, bayes_factors
from nssi_meta.inference.exact import has_omega
from nssi_meta.models.priors import PriorError
from nssi_meta.synthesis.cells import CELL

if TYPE_CHECKING:
    from nssi_meta.synthesis.cells import Cell


#: What Bayes factors say, for people who read them in a table.
READING = (
    "BF of mu: how many times better a mean spread out as its prior foresees it predicts these "
    "rows than a mean of exactly 0; BF of tau: the same of tau > 0 against tau = 0. Above 1 speaks "
    "against 0, below 1 for it. Each depends on the width of that prior, however many studies "
    "there are: a wider one favours 0."
)


def with_ratios(table: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """A `pools` table with log_evidence, bf10_mu and bf10_tau, their log10, and bf_note beside.

    `found` as `Pools.bayes_factors` gives it for the same cells.
    """
    found = found.drop(columns="null_mu").rename(columns={"note": "bf_note"})
    return table.merge(found, on=CELL, how="left", validate="one_to_one")


def cell_ratios(cell: Cell, mu: float) -> dict[str, Any]:
    """One row of `Pools.bayes_factors`; NaN and a note where a factor does not exist."""
    mu_prior, tau_prior, omega_prior = cell.priors
    return ratios(
        cell.key,
        mu,
        lambda: bayes_factors(
            cell.layout,
            mu_prior=mu_prior,
            tau_prior=tau_prior,
            omega_prior=omega_prior if has_omega(cell.rows["study_id"].to_numpy()) else None,
            mu=mu,
        ),
    )


def ratios(
    key: tuple[str, str, str], mu: float, compute: Callable[[], BayesFactors]
) -> dict[str, Any]:
    """The row of what `compute` gives; NaN and a note where there is none or it is not resolved."""
    if not np.isfinite(mu):
        raise ValueError(f"mu is the mean that is tested, a number, got {mu}")
    log10: dict[str, float] = {"mu": np.nan, "tau": np.nan}
    total, note = np.nan, ""
    try:
        found = compute()
    except PriorError as error:
        note = (
            f"{error}: its density has no scale of its own, which would be a factor of the answer; "
            "give a proper prior"
        )
    except FloatingPointError as error:
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
        **dict(zip(CELL, key, strict=True)),
        "null_mu": mu,
        "log_evidence": total,
        **factors,
        **{f"log10_bf10_{name}": x for name, x in log10.items()},
        "note": note,
    }
