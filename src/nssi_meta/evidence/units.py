"""The unit of an outcome: what priors for standardised effects are multiplied by on a raw scale.

A mean difference in days and one in weeks must give the same answer. So a prior such as
half-normal(0.5) means half a standard deviation of the outcome, which comes from the studies' SDs
or, where only sizes are known, from the unit-information SD (Röver et al. 2021, Res Synth Methods
12:448, section 2.4).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Measures in the unit of the outcome, and the number of groups that they compare.
RAW = {"MD": 2, "MN": 1, "MC": 1, "IRD": 2, "IR": 1, "IRSD": 2, "IRS": 1, "IRFT": 1}
#: Measures without a unit that `escalc` does not compute: log hazard ratios.
_OTHERS = ("HR",)
SD_COLUMNS = ("sd_1", "sd_2")


@dataclass(frozen=True)
class Unit:
    """`scale` multiplies priors for standardised effects; `source` says where it comes from.

    The scale is nan where the outcome's SD is not known, and no prior needs it.
    """

    scale: float = 1.0
    source: str = ""

    @property
    def known(self) -> bool:
        """Whether a share of an SD has a size in the unit of the effects."""
        return math.isfinite(self.scale)

    @property
    def text(self) -> str:
        """A sentence for the person who started the pool."""
        return f"Note: default priors are in units of {self.scale:.4g}, the {self.source}."


def check_measure(measure: str) -> str:
    """The measure in capitals; ValueError naming the nearest one for an unknown name."""
    from nssi_meta.evidence.escalc import MEASURES

    name = measure.strip().upper()
    known = [*MEASURES, *_OTHERS]
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    raise ValueError(
        f"measure {measure!r} is not known; nearest: {', '.join(near) or 'none'}. Allowed are the "
        f"names of escalc; {', '.join(RAW)} are in the outcome's unit"
    )


def outcome_unit(
    measure: str | None, rows: pd.DataFrame, left: Sequence[str] = ("mu_prior", "tau_prior")
) -> Unit:
    """The outcome's SD for the rows of one pool; 1 where the measure has no unit, or none is named.

    `rows` has yi, vi, kind and, where known, n_total and SD_COLUMNS. With SDs: the root of their
    mean square, weighted by n_total where every row with an SD has one. With sizes alone: the
    unit-information SD sqrt(sum n / sum 1/vi) of the exact rows, halved for a difference of two
    groups, whose sampling variance is 4 SD^2 / n when they are of one size. `left` names the priors
    that follow the SD, as nobody gave their numbers: where there is one and neither SDs nor sizes
    are known ValueError is raised, where there is none the scale is nan.
    """
    if measure is None:
        return Unit()
    name = check_measure(measure)
    if name not in RAW:
        return Unit()
    size = _column(rows, "n_total")
    sds = np.stack([_column(rows, c) for c in SD_COLUMNS])
    if np.isfinite(sds).any():
        weight = np.where(np.isfinite(sds), 1.0, 0.0)
        known = weight.any(axis=0)
        weighted = bool(np.isfinite(size[known]).all())
        weight = weight * (size if weighted else 1.0)
        total = np.nansum(weight * sds**2) / np.nansum(weight)
        return Unit(float(np.sqrt(total)), "pooled SD of the outcome")
    exact = np.isfinite(size) & (rows["kind"] == "exact").to_numpy()
    if exact.any():
        v = rows["vi"].to_numpy(dtype=float)[exact]
        unit_information = np.sqrt(size[exact].sum() / (1.0 / v).sum())
        scale = float(unit_information) / RAW[name]
        return Unit(scale, "SD of the outcome from sizes and sampling variances")
    if not left:
        return Unit(math.nan)
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in left)
    raise ValueError(
        f"{name} is in the unit of the outcome, so the scale of default priors depends on that "
        "unit: name the column of the outcome's SDs (--sd, twice for two groups) or of the sample "
        f"sizes (--ni). Or give the other priors in that unit too: {flags}"
    )


def _column(rows: pd.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if name not in rows:
        return np.full(len(rows), np.nan)
    return rows[name].to_numpy(dtype=float)
