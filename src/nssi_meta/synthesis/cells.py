"""What a pool is: its options, its rows, its posterior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from nssi_meta.evidence.units import Unit
from nssi_meta.inference.densities import IntervalKind
from nssi_meta.models.blocks import RHO, Layout
from nssi_meta.models.priors import MU_DEFAULT, OMEGA_DEFAULT, TAU_DEFAULT, Prior, parse_prior

Engine = Literal["exact", "nuts"]

#: Smallest difference that matters, on the effect-size scale.
DELTA = 0.2
CELL = ["mechanism", "condition", "estimand"]


@dataclass(frozen=True)
class Options:
    """How a pool is computed; texts of priors as `parse_prior` reads them.

    `measure` is the effects' (metafor's names): for one in the outcome's unit, such as MD, priors
    are in units of the outcome's SD. `delta` is in the unit of the effects; without one it is
    `DELTA`, times the outcome's SD where priors are.
    """

    mu_prior: str = MU_DEFAULT
    tau_prior: str = TAU_DEFAULT
    omega_prior: str = OMEGA_DEFAULT
    rho: float = RHO
    level: float = 0.95
    interval: IntervalKind = "central"
    delta: float | None = None
    engine: Engine = "exact"
    seed: int = 20220701
    measure: str | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not 0 < self.level < 1:
            wrong.append(f"level must lie between 0 and 1, got {self.level:g} (0.95 is usual)")
        if not 0 <= self.rho < 1:
            wrong.append(f"rho must be at least 0 and below 1, got {self.rho:g}")
        if self.delta is not None and not 0 <= self.delta < float("inf"):
            wrong.append(f"delta must be finite and not negative, got {self.delta:g}")
        if self.interval not in ("central", "shortest"):
            wrong.append(f"interval must be central or shortest, got {self.interval!r}")
        if self.engine not in ("exact", "nuts"):
            wrong.append(f"engine must be exact or nuts, got {self.engine!r}")
        if wrong:
            raise ValueError("; ".join(wrong))

    def priors(self) -> tuple[Prior, Prior, Prior]:
        """Priors of mu, tau and omega; raises `PriorError` where one cannot be read."""
        return (
            parse_prior(self.mu_prior, "mu"),
            parse_prior(self.tau_prior, "tau"),
            parse_prior(self.omega_prior, "tau"),
        )


@dataclass(frozen=True)
class Cell:
    """One fitted pool: its rows, their layout and the posterior (`fit` is set by NUTS)."""

    key: tuple[str, str, str]
    rows: pd.DataFrame
    layout: Layout
    posterior: Any
    converged: bool = True
    problems: tuple[str, ...] = ()
    priors: tuple[Prior, ...] = ()
    unit: Unit = field(default_factory=Unit)
