"""Priors by name: parsed from text such as ``halfnormal(0.5)``, evaluated with numpy alone.

The same `Prior` feeds the exact engine (`logpdf`) and the PyMC models (`name`, `params`), so that
a prior means one thing everywhere. Scales are on mu or tau itself, never on tau squared, and
``normal(0,4)`` has *standard deviation* 4.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]
Role = Literal["mu", "tau"]

#: Standardised mean differences: weakly informative, |mu| < 2 with probability 0.95.
MU_DEFAULT = "normal(0,1)"
#: Heterogeneity on a standardised scale: Röver et al. 2021, Res Synth Methods 12:448.
TAU_DEFAULT = "halfnormal(0.5)"
#: Within-study heterogeneity shares the scale of tau.
OMEGA_DEFAULT = "halfnormal(0.5)"


class PriorError(ValueError):
    """A prior that cannot be used; the message says what is allowed."""


@dataclass(frozen=True)
class Family:
    """A prior family: its parameters, their check and its log density (vectorised)."""

    params: tuple[str, ...]
    positive: tuple[str, ...]
    logpdf: Callable[..., Array]
    source: str
    proper: bool = True
    alternatives: tuple[int, ...] = ()


def _normal(x: Array, mean: float, sd: float) -> Array:
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


def _student_t(x: Array, df: float, mean: float, scale: float) -> Array:
    const = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * math.log(df * math.pi)
    return const - math.log(scale) - (df + 1) / 2 * np.log1p(((x - mean) / scale) ** 2 / df)


def _half(logpdf: Callable[..., Array]) -> Callable[..., Array]:
    def half(x: Array, *params: float) -> Array:
        return np.where(x >= 0, math.log(2) + logpdf(x, *params), -np.inf)

    return half


def _exponential(x: Array, mean: float) -> Array:
    return np.where(x >= 0, -x / mean - math.log(mean), -np.inf)


def _lognormal(x: Array, meanlog: float, sdlog: float) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        log_x = np.log(x)
        return np.where(x > 0, _normal(log_x, meanlog, sdlog) - log_x, -np.inf)


def _invgamma(x: Array, shape: float, scale: float) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = shape * math.log(scale) - gammaln(shape) - (shape + 1) * np.log(x) - scale / x
        return np.where(x > 0, inside, -np.inf)


def _uniform(x: Array, low: float, high: float) -> Array:
    width = math.log(high - low) if math.isfinite(high) else 0.0
    return np.where((x >= low) & (x <= high), -width, -np.inf)


def _flat(x: Array) -> Array:
    return np.zeros_like(x)


MU_FAMILIES: dict[str, Family] = {
    "normal": Family(("mean", "sd"), ("sd",), _normal, "normal with SD, not variance"),
    "student_t": Family(
        ("df", "mean", "scale"), ("df", "scale"), _student_t, "location-scale Student t"
    ),
    "flat": Family((), (), _flat, "improper uniform on the real line", proper=False),
}
TAU_FAMILIES: dict[str, Family] = {
    "halfnormal": Family(
        ("scale",), ("scale",), _half(lambda x, s: _normal(x, 0.0, s)), "Röver et al. 2021"
    ),
    "halfcauchy": Family(
        ("scale",), ("scale",), _half(lambda x, s: _student_t(x, 1.0, 0.0, s)), "Gelman 2006"
    ),
    "halft": Family(
        ("df", "scale"),
        ("df", "scale"),
        _half(lambda x, df, s: _student_t(x, df, 0.0, s)),
        "Gelman 2006",
    ),
    "exponential": Family(("mean",), ("mean",), _exponential, "exponential with this mean"),
    "lognormal": Family(("meanlog", "sdlog"), ("sdlog",), _lognormal, "log-normal on tau"),
    "invgamma": Family(
        ("shape", "scale"), ("shape", "scale"), _invgamma, "Gronau et al. 2017: invgamma(1,0.15)"
    ),
    "uniform": Family(("low", "high"), (), _uniform, "uniform; uniform(0,inf) is improper"),
    "flat": Family((), (), _flat, "improper uniform on the half line", proper=False),
}


@dataclass(frozen=True)
class Prior:
    """A named prior with its parameters; build it with `parse_prior`."""

    name: str
    params: tuple[float, ...]
    role: Role

    @property
    def family(self) -> Family:
        return (MU_FAMILIES if self.role == "mu" else TAU_FAMILIES)[self.name]

    @property
    def proper(self) -> bool:
        return self.family.proper and all(math.isfinite(p) for p in self.params)

    def logpdf(self, x: Array) -> Array:
        """Log density at `x` (any shape); improper priors return 0 on their support."""
        return self.family.logpdf(np.asarray(x, dtype=float), *self.params)

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}({','.join(repr(p).removesuffix('.0') for p in self.params)})"


def parse_prior(text: str | Prior, role: Role) -> Prior:
    """Read a prior such as ``normal(0,1)``, ``halfcauchy(0.5)``, ``uniform(0,10)`` or ``flat``.

    Raises `PriorError` naming what is wrong and what is allowed.
    """
    if isinstance(text, Prior):
        if text.role != role:
            raise PriorError(f"{text} is a prior for {text.role}, not for {role}")
        return text
    families = MU_FAMILIES if role == "mu" else TAU_FAMILIES
    allowed = ", ".join(
        f"{name}({','.join(f.params)})" if f.params else name for name, f in families.items()
    )
    match = re.fullmatch(r"\s*([A-Za-z_]+)\s*(?:\(([^()]*)\))?\s*", str(text))
    if match is None:
        raise PriorError(f"prior for {role} {text!r} cannot be read; allowed: {allowed}")
    name = match[1].lower()
    if name not in families:
        near = difflib.get_close_matches(name, families, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise PriorError(f"prior for {role} {text!r} is not known.{hint} Allowed: {allowed}")
    parts = match[2].split(",") if (match[2] or "").strip() else []
    try:
        params = tuple(float(p) for p in parts)
    except ValueError:
        raise PriorError(f"prior for {role} {text!r} has a parameter that is no number") from None
    family = families[name]
    if len(params) != len(family.params):
        raise PriorError(
            f"prior for {role} {text!r} needs {len(family.params)} parameter(s): "
            f"{name}({','.join(family.params)})"
        )
    _check_params(text, role, name, family, params)
    return Prior(name, params, role)


def _check_params(
    text: str, role: Role, name: str, family: Family, params: tuple[float, ...]
) -> None:
    for label, value in zip(family.params, params, strict=True):
        if math.isnan(value) or (math.isinf(value) and name != "uniform"):
            raise PriorError(f"prior for {role} {text!r}: {label} must be finite, got {value}")
        if label in family.positive and value <= 0:
            raise PriorError(f"prior for {role} {text!r}: {label} must be above 0, got {value:g}")
    if name == "uniform" and not 0 <= params[0] < params[1]:
        raise PriorError(f"prior for {role} {text!r}: needs 0 <= low < high")
    if name == "uniform" and math.isinf(params[1]) and params[0] > 0:
        raise PriorError(f"prior for {role} {text!r}: without an upper end it must start at 0")


def check_propriety(mu: Prior, tau: Prior, n_exact: int, n_studies: int) -> None:
    """Refuse a posterior that does not exist: improper priors need enough exact studies.

    With a uniform tau reaching to infinity the posterior is proper from three studies on
    (flat mu) or two (proper mu): Gelman 2006, Bayesian Analysis 1:515; Röver 2020, JSS 93(6).
    """
    if not mu.proper and n_exact < 1:
        raise PriorError(
            "a flat prior on mu needs at least one exact effect: bounds alone leave mu unlimited; "
            f"use a proper prior such as {MU_DEFAULT}"
        )
    if not tau.proper:
        need = 2 if mu.proper else 3
        if n_exact < need or n_studies < need:
            raise PriorError(
                f"an improper prior on tau ({tau}) with {mu} on mu needs at least {need} studies "
                f"with exact effects, here {min(n_exact, n_studies)}; use a proper prior such as "
                f"{TAU_DEFAULT}"
            )
