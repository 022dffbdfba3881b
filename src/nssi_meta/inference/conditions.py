"""What must hold before a pool is integrated, and which moments its posterior has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from nssi_meta.inference.panels import tail_rule
from nssi_meta.models.blocks import Layout
from nssi_meta.models.priors import OMEGA_DEFAULT, Prior, PriorError, bind_prior

#: Sampling variances of one pool that are this many times apart are named where it fails.
_APART = 1e6
#: So are effects this many scales of the prior of mu from its centre.
_FAR = 100.0


@contextmanager
def naming_variances(layout: Layout, mu_prior: Prior | None = None) -> Iterator[None]:
    """Let a FloatingPointError of quadrature say what in the data it comes from.

    That is how far apart sampling variances are, or how far the effects from the prior of mu.
    """
    try:
        yield
    except FloatingPointError as error:
        told = []
        least, most = float(layout.v.min()), float(layout.v.max())
        if most > _APART * least:
            told.append(
                f"here sampling variances run from {least:.3g} to {most:.3g}: check the smallest "
                "(squares of standard errors), or leave those rows out"
            )
        ends = np.concatenate([layout.y, layout.lower, layout.upper])
        near = float(np.median(ends[np.isfinite(ends)]))
        if mu_prior is not None and len(mu_prior.params) > 1:
            centre, scale = mu_prior.params[-2:]
            if abs(near - centre) > _FAR * scale:
                told.append(
                    f"here effects are near {near:.3g} against {mu_prior} on mu, of scale "
                    f"{scale:.3g}: give priors in the unit of the data, or measure the outcome in "
                    "a larger unit"
                )
        if not told:
            raise
        raise FloatingPointError("; ".join([str(error), *told])) from error


def check_omega(omega: Prior | None) -> None:
    """Refuse an improper prior of omega (None: omega is not in the model)."""
    if omega is not None and not omega.proper:
        raise PriorError(
            f"an improper prior on omega ({omega}) may leave no posterior; use a proper one "
            f"such as {OMEGA_DEFAULT}"
        )


def bound_priors(
    layout: Layout, tau: Prior | None, omega: Prior | None
) -> tuple[Prior | None, Prior | None]:
    """Priors bound to the data; None where the component is 0."""
    check_omega(omega)
    return tuple(
        None if p is None or p.name == "zero" else bind_prior(p, layout) for p in (tau, omega)
    )  # type: ignore[return-value]


@dataclass(frozen=True)
class Tails:
    """Powers with which posterior densities fall: tau^-p, omega^-p, |mu|^-p on each side.

    Infinite for what falls faster than any power.
    """

    tau: float
    omega: float
    mu_low: float
    mu_high: float

    @property
    def of_tau(self) -> int:
        """How many of mean and SD of tau exist."""
        return tail_rule(self.tau)[1]

    @property
    def of_mu(self) -> int:
        """How many of mean and SD of mu exist."""
        return tail_rule(min(self.mu_low, self.mu_high))[1]

    @property
    def of_new(self) -> int:
        """How many of mean and SD of the effect in a new setting exist: it varies as all do."""
        return tail_rule(min(self.tau, self.omega, self.mu_low, self.mu_high))[1]


#: Tails of a posterior under priors that fall faster than any power.
LIGHT_TAILS = Tails(np.inf, np.inf, np.inf, np.inf)


def limiting(layout: Layout) -> tuple[int, int]:
    """Studies and rows that limit heterogeneity: those with a size or a closed interval."""
    closed = np.isfinite(layout.y) | (np.isfinite(layout.lower) & np.isfinite(layout.upper))
    return len(set(layout.block_of_row[closed].tolist())), int(closed.sum())


def tails(
    layout: Layout, mu_prior: Prior, tau_prior: Prior | None, omega_prior: Prior | None = None
) -> Tails:
    """The tails of a posterior from those of its priors and the rows that limit them.

    For tau -> inf the likelihood falls as 1/tau for each study with a size or a closed interval
    (one study less under a flat mu), the prior by its own power; for omega so do rows instead of
    studies. A value of mu far off needs a tau or an omega as large, unless every row is a bound
    that allows it. With a tail of tau^-p in the prior and J closed rows the likelihood falls as
    |mu|^-(p + J - 1), against bounds alone as |mu|^-(p - 1).
    """
    studies, rows = limiting(layout)
    of_tau, of_omega = (
        np.inf if p is None or p.name == "zero" else p.tail for p in (tau_prior, omega_prior)
    )
    flat = not mu_prior.proper
    tau, omega = of_tau + studies - flat, of_omega + rows - flat
    if mu_prior.name == "normal":
        return Tails(tau, omega, np.inf, np.inf)
    own = 0.0 if flat else mu_prior.tail
    fall = own + min(of_tau + studies, of_omega + rows) - 1
    # The side on which no row limits mu is left to its prior.
    if np.isfinite(fall) and fall % 1 < 1e-6 and not (flat and layout.gaussian):
        # mu is an axis: a moment that exists by a logarithm alone is beyond any quadrature.
        fall = float(np.floor(fall))
    low = fall if studies or np.isfinite(layout.lower).any() else own
    high = fall if studies or np.isfinite(layout.upper).any() else own
    return Tails(tau, omega, low, high)


def finite_moments(layout: Layout, mu_prior: Prior, tau_prior: Prior | None) -> int:
    """How many of mean and SD of tau exist, from the tail of its posterior density."""
    return tails(layout, mu_prior, tau_prior).of_tau


def finite_moments_of_mu(layout: Layout, mu_prior: Prior, tau_prior: Prior | None) -> int:
    """How many of mean and SD of mu exist, from the tails of its posterior density."""
    return tails(layout, mu_prior, tau_prior).of_mu
