"""The review of the tutorial (analyses/04_own_review.py), simulated again and again.

Its truth, number of studies, group size and what its studies print are the tutorial's own; each
pair of conditions is handed out by itself, for the posterior of two conditions (`two_arms`).
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from two_arms import Rows

from nssi_meta.evidence.bounds import critical_g

Floats = NDArray[np.float64]

_TUTORIAL = runpy.run_path(str(Path(__file__).parents[1] / "analyses" / "04_own_review.py"))
STUDIES, GROUP, TAU = (_TUTORIAL[name] for name in ("STUDIES", "GROUP", "TAU"))
MEANS = np.array([means for _, _, *means in _TUTORIAL["TRUTH"]])
OTHERS = {1: "insomnia", 2: "vertigo"}


def made_up(rng: np.random.Generator) -> Iterator[tuple[str, Floats, Rows]]:
    """One data set: for each other condition its name, true means (M, 2), the pair's rows.

    The first study of each cell prints only whether p < .05.
    """
    error = np.hypot(TAU, np.sqrt(2 / GROUP))
    y = MEANS[:, :, None] + error * rng.standard_normal((*MEANS.shape, STUDIES))
    c = float(critical_g(0.05, np.array([GROUP]), np.array([GROUP]))[0][0])
    hidden = np.broadcast_to(np.arange(STUDIES) == 0, y.shape)
    v = 2 / GROUP + np.where(hidden, c, y) ** 2 / (4 * GROUP)
    lower = np.select([y > c, y < -c], [c, -np.inf], -c)
    upper = np.select([y > c, y < -c], [np.inf, -c], c)
    mechanism, arm, _ = np.indices(y.shape)
    for j, other in OTHERS.items():
        pair = np.isin(arm, [0, j])
        cells = mechanism[pair], (arm[pair] == j).astype(np.int64)
        values = (x[pair] for x in (np.where(hidden, np.nan, y), v, lower, upper))
        yield other, MEANS[:, [0, j]], Rows(*cells, *values)
