"""What rows must be before any likelihood looks at them."""

from __future__ import annotations

import numpy as np

from nssi_meta.models.blocks import Layout


def check_rows(layout: Layout) -> None:
    """Refuse rows that are no evidence, and such as the likelihood would misread.

    A study known without error fixes mu + u alone; ends in the wrong order or missing ones still
    give numbers, which then pass for a posterior. Raises ValueError naming the row.
    """
    if not layout.k:
        raise ValueError("a pool needs at least one row")
    v, y, lower, upper = layout.v, layout.y, layout.lower, layout.upper
    bad = np.flatnonzero(~(np.isfinite(v) & (v > 0)))
    if bad.size:
        raise ValueError(
            f"row {bad[0] + 1} of the pool has a sampling variance of {v[bad[0]]:g}; it "
            "must be above 0 and finite: give the study's standard error, or leave the row out"
        )
    bound = np.zeros(layout.k, dtype=bool)
    bound[layout.single_beyond] = bound[layout.single_within] = True
    if (block := layout.bound_blocks) is not None:
        bound[block.bounds[block.bounds_mask > 0]] = True
    bad = np.flatnonzero(~bound & ~np.isfinite(y))
    if bad.size:
        raise ValueError(
            f"row {bad[0] + 1} of the pool has an effect of {y[bad[0]]:g}; it must be finite: give "
            "the effect, or what bounds it (kind interval, lower, upper), or leave the row out"
        )
    told = (lower < upper) & (np.isfinite(lower) | np.isfinite(upper))
    bad = np.flatnonzero(bound & ~told)
    if bad.size:
        i = bad[0]
        raise ValueError(
            f"row {i + 1} of the pool is bounded by {lower[i]:g} and {upper[i]:g}; the lower end "
            "must lie below the upper one, and one of them must be finite (-inf or inf is an open "
            "end): correct them, or leave the row out"
        )
