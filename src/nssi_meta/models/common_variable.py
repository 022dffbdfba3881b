"""What the rows of a study with several bounds tell of their common part f (`common_kernel`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import BoundBlocks, Layout


def as_told(
    data: Layout, kind: NDArray[np.object_], common: BoundBlocks
) -> dict[str, NDArray[Any]]:
    """What `common_kernel` knows of each place (n, B) of the studies with a common part.

    `y` is an effect or bound. `effect` is 1 where it is an effect or an interval, which counts as
    one in its middle with the variance `extra` of a uniform distribution. Bounds of both sides are
    an interval together, from the highest of the lower ends to the lowest of the upper ones. A size
    has the sign that contradicts the study's bounds less, and tells nothing where both do alike.

    `sign` is the side of a bound where all are of one, `share` 1 over the number of the study's
    bounds, `side` (B,) that of all of them. `walled` is 1 at these if all the study's rows are
    bounds, else nowhere: an effect may contradict its bounds, and pull f beyond any wall.
    """
    pairs = zip(common.rows, common.mask, strict=True)
    studies = [_of_study(data, kind, rows[mask > 0]) for rows, mask in pairs]
    told = {
        name: np.zeros((common.mask.shape[1], len(studies)))
        for name in studies[0]
        if name != "side"
    }
    for j, (mask, study) in enumerate(zip(common.mask, studies, strict=True)):
        for name, x in told.items():
            x[mask > 0, j] = study[name]
    return told | {"side": np.array([study["side"] for study in studies])}


def _of_study(data: Layout, kind: NDArray[np.object_], rows: NDArray[np.int64]) -> dict[str, Any]:
    """`as_told` of one study's rows (n,)."""
    bound, unsigned = kind[rows] == "interval", kind[rows] == "unsigned"
    low = np.where(bound, data.lower[rows], -np.inf)
    high = np.where(bound, data.upper[rows], np.inf)
    above, below = bound & np.isposinf(high), bound & np.isneginf(low)
    open_end, closed = above | below, bound & ~above & ~below
    y = np.where(above, low, np.where(below, high, data.y[rows]))
    y[closed] = (low[closed] + high[closed]) / 2
    extra, effect = np.zeros(len(rows)), ~open_end & ~unsigned
    extra[closed] = (high[closed] - low[closed]) ** 2 / 12
    size = np.abs(y)
    plus, minus = (np.fmax(low.max() - x, x - high.min()).clip(0.0) for x in (size, -size))
    told = unsigned & (plus != minus)
    y[told], effect = np.where(plus < minus, size, -size)[told], effect | told
    if above.any() and below.any():
        first, last = low[above].max(), high[below].min()
        one = np.flatnonzero(open_end)[0]
        y[one], extra[one] = (first + last) / 2, max(last - first, 0.0) ** 2 / 12
        effect[one], open_end = True, np.zeros_like(bound)
    sign = np.where(open_end, np.where(above, 1.0, -1.0), 0.0)
    return {
        "y": y,
        "extra": extra,
        "effect": effect,
        "sign": sign,
        "share": open_end / max(open_end.sum(), 1),
        "walled": open_end & open_end.all(),
        "side": -1.0 if sign.sum() < 0 else 1.0,
    }
