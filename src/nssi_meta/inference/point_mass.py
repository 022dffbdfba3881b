"""The density of what is known: tau in the fixed-effect model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PointMass:
    """A quantity that is known: all probability at `at`."""

    at: float = 0.0

    @property
    def mean(self) -> float:
        return self.at

    @property
    def sd(self) -> float:
        return 0.0

    def pdf(self, x: Floats | float) -> Floats:
        return np.where(np.asarray(x) == self.at, np.inf, 0.0)

    def cdf(self, x: Floats | float) -> Floats:
        return np.where(np.asarray(x) >= self.at, 1.0, 0.0)

    def quantile(self, p: float) -> float:
        return self.at
