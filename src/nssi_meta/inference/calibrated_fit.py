"""Places of the truth among NUTS draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.calibration import FAILED, place
from nssi_meta.inference.nuts import Fit, Settings

Floats = NDArray[np.float64]

#: Draws kept of each fit. Neighbouring draws of a chain resemble each other, ranks need independent
#: ones: the chains are thinned to these.
N_DRAWS = 99
#: One chain after the other on one core, since simulations run side by side.
SETTINGS = Settings(draws=800, tune=500, chains=4, target_accept=0.95)


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
