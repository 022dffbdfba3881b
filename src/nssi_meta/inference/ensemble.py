"""The ensemble of Bartoš et al. 2023 (Res Synth Methods 14:99): 36 models of effect x
heterogeneity x bias, their probabilities, and what they say together.

Every model's evidence comes from quadrature (`biased`). The priors are those of RoBMA-PSMA:
mu ~ normal(0,1), tau ~ invgamma(1,0.15), weights ~ cumulative Dirichlet, PET ~ half-Cauchy(1),
PEESE ~ half-Cauchy(5), on the scale of a standardised mean difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from nssi_meta.inference.biased import Bias, Fit, Slope, Studies, fit_biased
from nssi_meta.inference.densities import Density
from nssi_meta.models.priors import Prior, parse_prior
from nssi_meta.models.selection import Steps

Floats = NDArray[np.float64]

#: The six weight functions of RoBMA-PSMA.
WEIGHT_FUNCTIONS = (
    Steps((0.05,), "two"),
    Steps((0.05, 0.1), "two"),
    Steps((0.05,), "one"),
    Steps((0.025, 0.05), "one"),
    Steps((0.05, 0.5), "one"),
    Steps((0.025, 0.05, 0.5), "one"),
)


@dataclass(frozen=True)
class Member:
    """One model: what it leaves free, its prior probability and its fit."""

    mu: Prior | None
    tau: Prior | None
    bias: Bias
    prior: float
    fit: Fit


def psma(
    data: Studies, unit: float = 1.0, progress: Callable[[str], None] | None = None
) -> tuple[Member, ...]:
    """All 36 models. `unit` is the length of one standardised mean difference on the data's scale
    (0.5 for Fisher's z): the scales of mu and tau are multiplied by it, PEESE's is divided.

    Half of the prior probability goes to each of effect, heterogeneity and bias; of the half of
    bias, half to the six weight functions and a quarter each to PET and PEESE.
    """
    mu = parse_prior(f"normal(0,{unit:.17g})", "mu")
    tau = parse_prior(f"invgamma(1,{0.15 * unit:.17g})", "tau")
    pet = Slope(1, parse_prior("halfcauchy(1)", "tau"))
    peese = Slope(2, parse_prior(f"halfcauchy({5 / unit:.17g})", "tau"))
    biases: list[tuple[Bias, float]] = [(None, 0.5)]
    biases += [(w, 0.25 / len(WEIGHT_FUNCTIONS)) for w in WEIGHT_FUNCTIONS]
    biases += [(pet, 0.125), (peese, 0.125)]
    out = []
    for m in (None, mu):
        for t in (None, tau):
            for bias, prior in biases:
                if progress is not None:
                    progress(" + ".join(str(p) for p in (m, t, bias) if p is not None) or "null")
                out.append(Member(m, t, bias, 0.25 * prior, fit_biased(data, m, t, bias)))
    return tuple(out)


def probabilities(log_evidence: Floats, prior: Floats) -> Floats:
    """Posterior probabilities of models."""
    log_p = np.log(prior) + log_evidence
    p = np.exp(log_p - log_p.max())
    return np.asarray(p / p.sum())


@dataclass(frozen=True)
class Averaged:
    """A parameter over several models: 0 with probability `zero`, else one of `parts`."""

    zero: float
    parts: tuple[tuple[float, Density], ...]

    @classmethod
    def build(cls, weights: Floats, densities: list[Density | None]) -> Averaged:
        """Weights sum to 1; None is the parameter fixed at 0. Models below 1e-6 are left out."""
        keep = [(float(w), d) for w, d in zip(weights, densities, strict=True) if w > 1e-6]
        total = sum(w for w, _ in keep)
        zero = sum(w for w, d in keep if d is None) / total
        return cls(zero, tuple((w / total, d) for w, d in keep if d is not None))

    def cdf(self, x: Floats | float) -> Floats:
        at = np.asarray(x, dtype=float)
        return np.asarray(self.zero * (at >= 0) + sum(w * d.cdf(at) for w, d in self.parts))

    @cached_property
    def mean(self) -> float:
        return float(sum(w * d.mean for w, d in self.parts))

    @cached_property
    def sd(self) -> float:
        square = sum(w * (d.sd**2 + d.mean**2) for w, d in self.parts)
        return float(np.sqrt(max(square - self.mean**2, 0.0)))

    def quantile(self, p: float) -> float:
        """The smallest x whose distribution function reaches p; 0 where the mass at 0 decides."""
        before = float(self.cdf(0.0)) - self.zero
        if before < p <= before + self.zero or not self.parts:
            return 0.0
        end = self.sd if p > before else -self.sd
        while (float(self.cdf(end)) - p) * end < 0:
            end *= 2
        low, high = min(end, 0.0), max(end, 0.0)
        return float(brentq(lambda x: float(self.cdf(x)) - p, low, high, xtol=1e-10 * self.sd))
