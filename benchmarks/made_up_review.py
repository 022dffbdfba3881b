"""The review of the tutorial (analyses/04_own_review.py), simulated again and again.

Its generator, number of studies, group size and what its studies print are the tutorial's own; each
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
from nssi_meta.models.profiles import LKJ_ETA

Floats = NDArray[np.float64]

_TUTORIAL = runpy.run_path(str(Path(__file__).parents[1] / "analyses" / "04_own_review.py"))
GROUP, SEED = (_TUTORIAL[name] for name in ("GROUP", "SEED"))
OTHERS = {1: "insomnia", 2: "vertigo"}
#: Shape of the prior of two conditions' correlation in a model of three.
ETA = LKJ_ETA + 0.5


Found = tuple[str, Floats, float | None, Rows]


def made_up(rng: np.random.Generator, fixed: bool = False) -> Iterator[Found]:
    """One data set: for each other condition its name, true means (M, 2), R, the pair's rows.

    The truth is drawn anew, or (`fixed`) the one of the tutorial, whose means are then all there
    is: no R. The first study of each cell
    prints only whether p < .05; variances are those that the estimates imply.
    """
    truth = _TUTORIAL["draw_truth"](np.random.default_rng(SEED) if fixed else rng)
    y = _TUTORIAL["draw_studies"](truth, rng)
    c = float(critical_g(0.05, np.array([GROUP]), np.array([GROUP]))[0][0])
    hidden = np.broadcast_to(np.arange(y.shape[2]) == 0, y.shape)
    v = 2 / GROUP + np.where(hidden, c, y) ** 2 / (4 * GROUP)
    lower = np.select([y > c, y < -c], [c, -np.inf], -c)
    upper = np.select([y > c, y < -c], [np.inf, -c], c)
    mechanism, arm, _ = np.indices(y.shape)
    for j, other in OTHERS.items():
        pair = np.isin(arm, [0, j])
        cells = mechanism[pair], (arm[pair] == j).astype(np.int64)
        values = (x[pair] for x in (np.where(hidden, np.nan, y), v, lower, upper))
        r = None if fixed else float(truth.R[0, j])
        yield other, truth.mu[:, [0, j]], r, Rows(*cells, *values)
