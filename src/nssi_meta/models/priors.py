"""Priors by name: parsed from text such as ``halfnormal(0.5)``, evaluated with numpy alone.

The same `Prior` feeds the exact engine (`logpdf`) and the PyMC models (`name`, `params`), so that
a prior means one thing everywhere. Scales are on mu or tau itself, and ``normal(0,4)`` has
*standard deviation* 4; only the families ending in 2 have parameters of tau squared.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout
from nssi_meta.models.data_priors import DATA_FAMILIES, log_constant, study_variances
from nssi_meta.models.prior_families import MU_FAMILIES, Family
from nssi_meta.models.prior_families import TAU_FAMILIES as _PLAIN
from nssi_meta.models.prior_presets import PRESETS, preset

Array = NDArray[np.float64]
Role = Literal["mu", "tau"]

TAU_FAMILIES: dict[str, Family] = {**_PLAIN, **DATA_FAMILIES}
#: Standardised mean differences: weakly informative, |mu| < 2 with probability 0.95.
MU_DEFAULT = "normal(0,1)"
#: Heterogeneity on a standardised scale: Röver et al. 2021, Res Synth Methods 12:448.
TAU_DEFAULT = "halfnormal(0.5)"
#: Within-study heterogeneity shares the scale of tau.
OMEGA_DEFAULT = "halfnormal(0.5)"
#: Fewer degrees of freedom leave log tau a tail that no computer's numbers reach.
_LEAST_DF = 3.0
#: Numbers beyond these have squares that no computer can hold, and so has tau beyond e^300.
_LEAST, _MOST, _LOG_MOST = 1e-100, 1e100, 300.0


class PriorError(ValueError):
    """A prior that cannot be used; the message says what is allowed."""


@dataclass(frozen=True)
class Prior:
    """A named prior with its parameters; build it with `parse_prior`.

    A prior whose scale comes from the data (`jeffreys`, `dumouchel`, ...) has a density only once
    it is bound to the studies' variances (`bind`).
    """

    name: str
    params: tuple[float, ...]
    role: Role
    variances: Array | None = field(default=None, compare=False, repr=False)
    log_constant: float = field(default=0.0, compare=False, repr=False)

    @property
    def family(self) -> Family:
        return (MU_FAMILIES if self.role == "mu" else TAU_FAMILIES)[self.name]

    @property
    def proper(self) -> bool:
        return self.family.proper and all(math.isfinite(p) for p in self.params)

    @property
    def tail(self) -> float:
        """Power p of the density's tail x^-p; infinite where it falls faster than any power."""
        return self.family.tail(*self.params)

    def logpdf(self, x: Array) -> Array:
        """Log density at `x` (any shape); improper priors are known up to a constant."""
        x = np.asarray(x, dtype=float)
        if not self.family.from_data:
            return self.family.logpdf(x, *self.params)
        if self.variances is None:
            raise PriorError(f"{self} has no density before it is bound to sampling variances")
        return self.family.logpdf(x, self.variances) - self.log_constant

    def bind(self, variances: Array) -> Prior:
        """The prior given the studies' sampling variances (k,); unchanged if it needs none.

        Raises `PriorError` where the density does not exist for these variances.
        """
        if not self.family.from_data:
            return self
        v = np.asarray(variances, dtype=float)
        if not (v.size and np.isfinite(v).all() and (v > 0).all()):
            raise PriorError(f"{self} needs sampling variances that are finite and above 0")
        if self.name == "i2" and v.size < 2:
            raise PriorError(f"{self} needs two studies: one has no I2; use {TAU_DEFAULT}")
        return replace(self, variances=v, log_constant=log_constant(self.name, v))

    def scaled(self, unit: float) -> Prior:
        """The same prior after the outcome's unit changed: a value x is now `unit` * x.

        A prior for standardised effects times the outcome's SD is the prior for raw effects.
        Priors that follow the data's variances stay as they are.
        """
        if not (math.isfinite(unit) and unit > 0):
            raise PriorError(f"the scale of a prior must be above 0 and finite, got {unit:g}")
        params = self.family.unit(float(unit), *self.params)
        return replace(self, params=tuple(float(p) for p in params))

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}({','.join(repr(p).removesuffix('.0') for p in self.params)})"


def bind_prior(prior: Prior, layout: Layout) -> Prior:
    """`prior` bound to a layout's studies, if its scale comes from them."""
    return prior.bind(study_variances(layout)) if prior.family.from_data else prior


def parse_prior(text: str | Prior, role: Role) -> Prior:
    """Read a prior such as ``normal(0,1)``, ``halfcauchy(0.5)``, ``jeffreys`` or ``zero``.

    ``turner2012(...)``, ``turner2015(...)`` and ``rhodes2015(...)`` stand for numbers of tables.

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
    if role == "tau":
        allowed += f", {', '.join(f'{name}(outcome,comparison)' for name in PRESETS)}"
    match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*", str(text))
    if match is None:
        raise PriorError(f"prior for {role} {text!r} cannot be read; allowed: {allowed}")
    name = match[1].lower()
    if role == "tau" and name in PRESETS:
        words = [w.strip().lower() for w in (match[2] or "").split(",") if w.strip()]
        try:
            return Prior(*preset(name, words), role)
        except ValueError as error:
            raise PriorError(f"prior for {role} {text!r}: {error}") from None
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
        too_small = label in family.positive and value < _LEAST
        if too_small or (math.isfinite(value) and abs(value) > _MOST):
            raise PriorError(
                f"prior for {role} {text!r}: {label} = {value:g} is out of range; allowed: "
                f"{_LEAST:g} to {_MOST:g}; measure the outcome in a larger or smaller unit"
            )
    if name.startswith(("lognormal", "logt")):
        centre, spread = params[-2:]
        half = 2.0 if name.endswith("2") else 1.0
        if (abs(centre) + 8 * spread) / half > _LOG_MOST:
            raise PriorError(
                f"prior for {role} {text!r} reaches beyond e^{_LOG_MOST:g}: these parameters are "
                "of the logarithm; for a tau near 0.4 meanlog is near -1 (of tau squared: -2)"
            )
    if name == "logt2" and params[0] < _LEAST_DF:
        raise PriorError(f"prior for {role} {text!r}: df must be at least {_LEAST_DF:g}")
    if name == "uniform" and not 0 <= params[0] < params[1]:
        raise PriorError(f"prior for {role} {text!r}: needs 0 <= low < high")
    if name == "uniform" and math.isinf(params[1]) and params[0] > 0:
        raise PriorError(f"prior for {role} {text!r}: without an upper end it must start at 0")


def check_propriety(mu: Prior, tau: Prior, n_exact: int, n_studies: int) -> None:
    """Refuse a posterior that does not exist: improper priors need enough exact studies.

    As tau grows, the likelihood of J studies falls as tau^-J, or tau^-(J - 1) once a flat mu is
    integrated out; with a prior's tail of tau^-p the posterior is proper when the powers sum to
    more than 1. For a uniform tau that is three studies (flat mu) or two (proper mu), for
    Jeffreys' prior (p = 1) two or one: Gelman 2006, Bayesian Analysis 1:515; Bodnar et al. 2017,
    Stat Med 36:378. Near tau = 0 every prior here is bounded or integrable.

    Bounds are not counted. Under a proper prior of tau one closed interval would do for a flat mu:
    its probability integrates over mu to its width, whatever tau. Bounds open to either side would
    do only where the prior of tau has a mean.
    """
    if not mu.proper and n_exact < 1:
        raise PriorError(
            "a flat prior on mu needs at least one exact effect (bounds are not counted here, for "
            f"most limit mu on one side only); use a proper prior such as {MU_DEFAULT}"
        )
    if not tau.proper:
        need = math.floor(1 - tau.tail + (not mu.proper)) + 1
        if n_exact < need or n_studies < need:
            raise PriorError(
                f"an improper prior on tau ({tau}) with {mu} on mu needs at least {need} studies "
                f"with exact effects, here {min(n_exact, n_studies)}; use a proper prior such as "
                f"{TAU_DEFAULT}"
            )
