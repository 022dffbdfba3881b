"""What must hold before a pool is integrated, and which moments its posterior has."""

from __future__ import annotations

import numpy as np

from nssi_meta.models.blocks import Layout
from nssi_meta.models.priors import OMEGA_DEFAULT, Prior, PriorError, bind_prior


def check_rows(layout: Layout) -> None:
    """Refuse variances that are not positive: a study known without error fixes mu + u alone."""
    bad = np.flatnonzero(~(np.isfinite(layout.v) & (layout.v > 0)))
    if bad.size:
        raise ValueError(
            f"row {bad[0] + 1} of the pool has a sampling variance of {layout.v[bad[0]]:g}; it "
            "must be above 0 and finite: give the study's standard error, or leave the row out"
        )
    if not layout.k:
        raise ValueError("a pool needs at least one row")


def bound_priors(
    layout: Layout, tau: Prior, omega: Prior | None
) -> tuple[Prior | None, Prior | None]:
    """Priors bound to the data; None where the component is 0."""
    if omega is not None and not omega.proper:
        raise PriorError(
            f"an improper prior on omega ({omega}) may leave no posterior; use a proper one "
            f"such as {OMEGA_DEFAULT}"
        )
    return tuple(
        None if p is None or p.name == "zero" else bind_prior(p, layout) for p in (tau, omega)
    )  # type: ignore[return-value]


def finite_moments(layout: Layout, mu_prior: Prior, tau_prior: Prior | None) -> int:
    """How many of mean and SD of tau exist, from the tail of its posterior density.

    For tau -> inf the likelihood falls as 1/tau for each study with a size or a closed interval
    (one study less under a flat mu), the prior by its own power.
    """
    if tau_prior is None:
        return 2
    closed = np.isfinite(layout.y) | (np.isfinite(layout.lower) & np.isfinite(layout.upper))
    studies = len(set(layout.block_of_row[closed].tolist()))
    tail = tau_prior.tail + studies - (not mu_prior.proper)
    return int(tail > 2) + int(tail > 3)


def finite_moments_of_mu(layout: Layout, mu_prior: Prior, tau_prior: Prior | None) -> int:
    """How many of mean and SD of mu exist, from the tails of its posterior density.

    A value of mu far off needs a tau as large, unless every row is a bound that allows it. With a
    tail of tau^-p in the prior and J closed rows (as in `finite_moments`) the likelihood falls as
    |mu|^-(p + J - 1), against bounds alone as |mu|^-(p - 1).
    """
    if mu_prior.name == "normal":
        return 2
    closed = np.isfinite(layout.y) | (np.isfinite(layout.lower) & np.isfinite(layout.upper))
    studies = len(set(layout.block_of_row[closed].tolist()))
    upward, downward = np.isfinite(layout.lower), np.isfinite(layout.upper)
    if not studies and not (upward.any() and downward.any()):
        fall = 0.0  # the bounds all say "larger" (or all "smaller"): nothing ends mu there
    elif tau_prior is None or tau_prior.name == "zero":
        fall = np.inf
    else:
        fall = tau_prior.tail + studies - 1
    tail = (mu_prior.tail if mu_prior.proper else 0.0) + fall
    return int(tail > 2) + int(tail > 3)
