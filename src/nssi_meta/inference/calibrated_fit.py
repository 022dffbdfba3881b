"""Places of the truth among NUTS draws, one compiled model for all simulations of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.calibration import FAILED, place
from nssi_meta.inference.compiling import compile_model, with_data
from nssi_meta.inference.nuts import Fit, Reported, Settings, sample_compiled

if TYPE_CHECKING:
    import pymc as pm

Floats = NDArray[np.float64]

#: Draws kept of each fit. Neighbouring draws of a chain resemble each other, ranks need independent
#: ones: the chains are thinned to these.
N_DRAWS = 99
#: One chain after the other on one core (simulations run side by side); small steps, so that few
#: fits need the second try.
SETTINGS = Settings(draws=800, tune=500, chains=4, target_accept=0.95)
_COMPILED: dict[str, Any] = {}


def fit_again(
    name: str,
    build: Callable[[], pm.Model],
    values: Mapping[str, Floats],
    reported: Reported,
    seed: int,
) -> Fit:
    """The model `name` sampled with new data; compiled once in a process."""
    if name not in _COMPILED:
        _COMPILED[name] = compile_model(build())
    compiled = with_data(_COMPILED[name], values)
    return sample_compiled(compiled, reported, seed=seed, settings=SETTINGS, cores=1)


def thin(draws: Floats) -> Floats:
    """`N_DRAWS` of the draws (chain, draw, ...), as far apart as they can be."""
    flat = np.asarray(draws).reshape(-1, *draws.shape[2:])
    return flat[np.linspace(0, len(flat) - 1, N_DRAWS).round().astype(np.int64)]


def places(
    fit: Fit, truth: Mapping[str, float], draws: Mapping[str, Floats], rng: np.random.Generator
) -> dict[str, float]:
    """Place of each quantity's truth among its thinned draws (`N_DRAWS`,).

    Fits that failed their checks count as well, since leaving them out would select data; how many
    there were is told under `FAILED`.
    """
    found = {name: place(truth[name], draws[name], rng) for name in truth}
    return {**found, FAILED: float(not fit.converged)}
