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
    one in its middle with the variance `extra` of a uniform distribution. `sign` is the side of a
    bound, `share` 1 over the number of the study's bounds, `side` (B,) that of all its bounds.
    `walled` is 1 at these if all the study's rows are bounds of one side, else nowhere. A size
    without sign tells nothing.
    """
    bound = kind == "interval"
    below, above = (bound & np.isinf(end) for end in (data.lower, data.upper))
    width = np.where(bound & ~below & ~above, data.upper - data.lower, 0.0)
    middle = np.where(below, data.upper, np.where(above, data.lower, data.lower + width / 2))
    sign = np.where(above, 1.0, np.where(below, -1.0, 0.0))[common.rows] * common.mask
    is_bound = sign != 0
    # An effect of the same study may contradict its bounds, and pull f beyond any wall.
    one_sided = np.abs(sign.sum(axis=1)) == common.mask.sum(axis=1)
    told = {
        "y": np.where(bound, middle, data.y)[common.rows],
        "extra": width[common.rows] ** 2 / 12,
        "effect": common.mask * ~is_bound * (kind != "unsigned")[common.rows],
        "sign": sign,
        "share": is_bound / np.maximum(is_bound.sum(axis=1, keepdims=True), 1),
        "walled": is_bound & one_sided[:, None],
        "side": np.where(sign.sum(axis=1) < 0, -1.0, 1.0),
    }
    return {name: x.T for name, x in told.items()}
