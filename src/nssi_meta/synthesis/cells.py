"""What a pool is: its options, its rows, its posterior."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import pandas as pd

from nssi_meta.evidence.problems import nearest
from nssi_meta.evidence.simple import GIVEN
from nssi_meta.evidence.units import Unit
from nssi_meta.inference.densities import IntervalKind
from nssi_meta.models.blocks import RHO, Layout
from nssi_meta.models.prior_presets import PRESETS
from nssi_meta.models.priors import (
    MU_DEFAULT,
    OMEGA_DEFAULT,
    TAU_DEFAULT,
    Prior,
    PriorError,
    parse_prior,
)

Engine = Literal["exact", "nuts"]

#: Seed of whatever is drawn, if none is given.
SEED = 20220701
#: Smallest difference that matters, on the effect-size scale.
DELTA = 0.2
CELL = ["mechanism", "condition", "estimand"]
PRIORS = ("mu_prior", "tau_prior", "omega_prior")


def cell_name(key: Iterable[object]) -> str:
    """A pool's name for people; empty for the one pool of a table of ready-made effects."""
    return " / ".join(word for word in map(str, key) if word and word != GIVEN)


@dataclass(frozen=True)
class Options:
    """How a pool is computed; texts of priors as `parse_prior` reads them.

    `measure` is the effects' (metafor's names): for one in the outcome's unit, such as MD, priors
    are in units of the outcome's SD, but for those named in `own`, whose numbers are in the
    outcome's unit already. `delta` is in the unit of the effects; without one it is `DELTA`, times
    the outcome's SD for such a measure.
    """

    mu_prior: str = MU_DEFAULT
    tau_prior: str = TAU_DEFAULT
    omega_prior: str = OMEGA_DEFAULT
    rho: float = RHO
    level: float = 0.95
    interval: IntervalKind = "central"
    delta: float | None = None
    engine: Engine = "exact"
    seed: int = SEED
    measure: str | None = None
    own: tuple[str, ...] = ()

    @classmethod
    def given(cls, **options: Any) -> Options:
        """Options as a person gave them: a prior left out, or None, is the default one.

        Numbers of a prior that was given are in the effects' unit. Published priors (`rhodes2015`
        and the like) are for standardised effects, whoever asks for them. Raises TypeError for a
        name that is no option, with those there are.
        """
        allowed = [f.name for f in fields(cls) if f.name != "own"]
        for name in options.keys() - set(allowed) - {"own"}:
            meant = nearest(name, allowed)
            raise TypeError(
                f"no option {name!r}{f', perhaps {meant}' if meant else ''}; "
                f"allowed: {', '.join(allowed)}"
            )
        chosen = {n: v for n, v in options.items() if v is not None or n not in PRIORS}
        own = tuple(n for n in PRIORS if n in chosen and not is_preset(chosen[n]))
        return cls(**{"own": own, **chosen})

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
        """Priors of mu, tau and omega; raises `PriorError` naming every one that cannot be read."""
        found: list[Prior] = []
        wrong: list[str] = []
        for name in PRIORS:
            try:
                found.append(parse_prior(getattr(self, name), "mu" if name == PRIORS[0] else "tau"))
            except PriorError as error:
                text = str(error)
                wrong.append(text.replace("for tau", "for omega", 1) if "omega" in name else text)
        if wrong:
            raise PriorError("\n".join(wrong))
        mu, tau, omega = found
        return mu, tau, omega

    def left(self, within: bool) -> list[str]:
        """Names of the priors that follow the outcome's SD: default and published ones.

        `within` tells whether omega is in the model.
        """
        return [name for name in PRIORS[: 3 if within else 2] if name not in self.own]

    def in_unit(self, unit: Unit, priors: tuple[Prior, Prior, Prior]) -> tuple[Prior, Prior, Prior]:
        """`priors` of mu, tau and omega in the outcome's unit."""
        mu, tau, omega = (
            prior if name in self.own or not unit.source else prior.scaled(unit.scale)
            for name, prior in zip(PRIORS, priors, strict=True)
        )
        return mu, tau, omega


def is_preset(prior: str | Prior) -> bool:
    """Whether a prior is named after the paper its numbers are from."""
    return str(prior).split("(")[0].strip().lower() in PRESETS


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

    def __repr__(self) -> str:
        converged = "" if self.converged else ", not converged"
        return f"Cell({cell_name(self.key) or 'one pool'}: {len(self.rows)} rows{converged})"

    def unit_note(self, options: Options) -> str:
        """What priors were used, in the outcome's unit; empty where the measure has none."""
        if not self.unit.source:
            return ""
        names = ["mu", "tau", "omega"][: 3 if self.posterior.omega_density is not None else 2]
        told = [
            f"{name} ~ {_rounded(prior)}{' as given' if f'{name}_prior' in options.own else ''}"
            for name, prior in zip(names, self.priors, strict=False)
        ]
        pool = cell_name(self.key)
        return f"{self.unit.text} Used{f' for {pool}' if pool else ''}: {', '.join(told)}."

    def given_note(self, options: Options) -> str:
        """What numbers of a prior that was given mean on a raw scale; empty where there are none.

        An SD of the outcome is told beside them: a prior for standardised effects is then seen.
        """
        if not self.unit.source:
            return ""
        told = []
        for name, prior in zip(PRIORS, self.priors, strict=False):
            in_model = name != "omega_prior" or self.posterior.omega_density is not None
            if name in options.own and prior.params and in_model:
                share, words = (1.0, "one SD") if name == "mu_prior" else (0.5, "half an SD")
                size = f"{words} would be {share * self.unit.scale:.3g}"
                told.append(f"{name.removesuffix('_prior')} ~ {_rounded(prior)} ({size})")
        return f"read in the outcome's unit: {', '.join(told)}" if told else ""


def _rounded(prior: Prior) -> str:
    """A prior with numbers of five digits."""
    numbers = ",".join(f"{p:.5g}" for p in prior.params)
    return f"{prior.name}({numbers})" if numbers else prior.name
