"""A model structure: what is compiled once, and the data that change from fit to fit.

`build` makes a PyMC model whose data are mutable; `key` names everything the compiled code depends
on. Two structures of one key differ in `values` alone, so that `inference.compiled` hands the
second one's values to the first one's code.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.priors import Prior, PriorError, parse_prior

if TYPE_CHECKING:
    import pymc as pm

Floats = NDArray[np.float64]
#: Draws by name, each (S, ...): S draws of all chains, one after the other.
Draws = Mapping[str, Floats]
#: Data by group and name. The arrays of a group share their last axis (rows, studies), which may
#: have any length; those of the group `FIXED` have shapes that the compiled code knows.
Values = Mapping[str, Mapping[str, NDArray[Any]]]
FIXED = "fixed"


@dataclass(frozen=True)
class Recipe:
    """A model with its data: `build` makes it, `key` is what of it is compiled.

    `traced` names the Deterministics that the compiled code computes, `coords` the positions along
    the model's dimensions where they have names.
    """

    key: tuple[Hashable, ...]
    values: Values
    build: Callable[[Values], pm.Model]
    traced: tuple[str, ...] = field(default=(), kw_only=True)
    coords: Mapping[str, Sequence[str]] = field(default_factory=dict, kw_only=True)

    def model(self) -> pm.Model:
        """The PyMC model with these data."""
        return self.build(self.values)


@dataclass(frozen=True)
class Structure(Recipe):
    """A regression with its data, and what is reported of it.

    `extra` computes from the sampled variables what the model holds as Deterministic and the
    compiled code leaves out (it would need the data a second time, at the price of compiling); its
    result joins the draws that the other functions get. `quantities` turns the draws into
    everything that is reported, each (S,) or (S, m) with the m labels in `labels`;
    `log_likelihood` gives (S, J), one column a study of `studies`; `log_prior` the log prior
    density of each parameter (S,).
    """

    extra: Callable[[Draws], dict[str, Floats]]
    quantities: Callable[[Draws, np.random.Generator], dict[str, Floats]]
    log_likelihood: Callable[[Draws], Floats]
    log_prior: Callable[[Draws], dict[str, Floats]]
    studies: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Draws of a chain that its quantities need for most fits to pass the checks at once.
    draws: int = 1000
    #: Acceptance that the sampler's steps are adapted to.
    target_accept: float = 0.9

    def __repr__(self) -> str:
        return f"Structure({self.key[0]} of {len(self.studies)} studies: refit samples it)"


def pack(values: Values) -> dict[str, Floats]:
    """The data as a model holds them: one array a group.

    `fixed` becomes a vector, any other group a matrix with its arrays' common last axis. Compile
    time grows steeply with the number of mutable arrays (11 of them take three times as long to
    compile as their constants do), hence few of them, and indices held as floats.
    """
    out = {}
    for group, arrays in values.items():
        if group == FIXED:
            out[group] = np.concatenate([np.ravel(a).astype(float) for a in arrays.values()])
        else:
            out[group] = np.concatenate([np.atleast_2d(a).astype(float) for a in arrays.values()])
    return out


def data_nodes(values: Values) -> dict[str, Any]:
    """Mutable data of the model in context by name, shaped as in `values`."""
    import pymc as pm

    out = {}
    for group, packed in pack(values).items():
        node, start = pm.Data(group, packed), 0
        for name, array in values[group].items():
            if group == FIXED:
                part = node[start : start + array.size]
                out[name] = part.reshape(array.shape) if array.ndim else part[0]
                start += array.size
            elif array.ndim == 1:
                out[name], start = node[start], start + 1
            else:
                out[name], start = node[start : start + len(array)], start + len(array)
    return out


@dataclass(frozen=True)
class CoefPrior:
    """Independent normal priors of p coefficients: `mean` and `precision` (p,), 0 where flat."""

    mean: Floats
    precision: Floats

    @property
    def proper(self) -> bool:
        return bool((self.precision > 0).all())

    def log_density(self, coef: Floats) -> Floats:
        """Summed log density (S,) at `coef` (S, p); a flat prior adds nothing."""
        log_scale = np.log(np.where(self.precision > 0, self.precision / (2 * np.pi), 1.0)).sum()
        return np.asarray(
            0.5 * (log_scale - (self.precision * (coef - self.mean) ** 2).sum(axis=-1))
        )


def coef_prior(priors: Sequence[str | Prior]) -> CoefPrior:
    """Priors of coefficients by name; `normal(mean,sd)` and `flat` are possible.

    Raises `PriorError` for any other family.
    """
    parsed = [parse_prior(p, "mu") for p in priors]
    for prior in parsed:
        if prior.name not in ("normal", "flat"):
            raise PriorError(
                f"prior {prior} is not possible for a coefficient here; use normal(mean,sd) or "
                "flat (student_t is available where one mean is pooled: `nssi-meta pool`)"
            )
    mean = np.array([p.params[0] if p.params else 0.0 for p in parsed])
    sd = np.array([p.params[1] if p.params else np.inf for p in parsed])
    return CoefPrior(mean, 1.0 / sd**2)


def prior_values(name: str, prior: Prior) -> dict[str, Floats]:
    """The data node of a prior's parameters, so that another scale needs no new compilation."""
    params = [p if np.isfinite(p) else 0.0 for p in prior.params] or [0.0]
    return {f"{name}_prior": np.array(params)}


def prior_key(prior: Prior | None) -> Hashable:
    """What of a prior is compiled: its family, and whether it has an end."""
    return None if prior is None else (prior.name, prior.proper)


def check_sd_priors(
    tau: Prior, omega: Prior | None, n_studies: int, coef: CoefPrior, rank: int
) -> None:
    """Refuse an improper posterior (the rule of `priors.check_propriety`, with coefficients).

    `rank` is that of the design's columns with flat priors: these must be identified, and take one
    study each from the evidence about tau.
    """
    n_flat = int((coef.precision == 0).sum())
    if rank < n_flat:
        raise PriorError(
            f"{n_flat} coefficients with flat priors, but the data identify {rank} of them: leave "
            "out moderators that follow from others, or use proper priors such as normal(0,1)"
        )
    if not tau.proper and n_studies < n_flat + 2:
        raise PriorError(
            f"an improper prior on tau ({tau}) needs at least {n_flat + 2} studies, here "
            f"{n_studies}; use a proper prior such as halfnormal(0.5)"
        )
    if omega is not None and not omega.proper:
        raise PriorError(
            f"the prior on omega ({omega}) is improper; use a proper prior such as halfnormal(0.5)"
        )
