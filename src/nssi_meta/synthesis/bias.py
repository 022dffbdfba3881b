"""Publication bias by model averaging: whether an effect remains when bias may have made it.

`robma` fits the 36 models of `inference.ensemble` to one effect per study and says how probable
effect, heterogeneity and bias are, and what mu and tau are over all models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from nssi_meta.evidence.vcalc import aggregate
from nssi_meta.inference.biased import Slope, Studies
from nssi_meta.inference.ensemble import Averaged, Member, probabilities, psma
from nssi_meta.models.blocks import RHO
from nssi_meta.models.selection import Steps, normal_critical
from nssi_meta.shown import shown

Floats = NDArray[np.float64]
Measure = Literal["none", "smd"]

#: With fewer studies the answer rests on the priors; the table says so.
FEW = 10


@dataclass(frozen=True)
class Ensemble:
    """Answers of the ensemble.

    `models`: one row a model (effect, heterogeneity, bias, prior_probability, log_evidence, error,
    posterior_probability). `components`: inclusion probabilities and Bayes factors with `bf_error`,
    their relative numerical error. `estimates`: mu and tau over all models (`averaged`) and over
    those that have them (`conditional`). `k` studies; `flags` what a reader must know.
    """

    models: pd.DataFrame
    components: pd.DataFrame
    estimates: pd.DataFrame
    k: int
    flags: str

    def __repr__(self) -> str:
        title = f"{len(self.models)} models of {self.k} studies, averaged"
        return shown(title, self.components, self.estimates, *filter(None, [self.flags]))


def robma(
    yi: ArrayLike,
    sei: ArrayLike,
    *,
    study: Sequence[Any] | None = None,
    measure: Measure = "none",
    unit: float = 1.0,
    positive: bool = True,
    rho: float = RHO,
    level: float = 0.95,
    progress: Callable[[str], None] | None = None,
) -> Ensemble:
    """Model-averaged meta-analysis over effect x heterogeneity x publication bias (RoBMA-PSMA).

    Parameters
    ----------
    yi, sei
        Effects and standard errors (k,).
    study
        Study of each effect. Several effects of one study are first combined to one, by
        generalised least squares with sampling errors correlated by `rho`.
    measure
        `none`: analysed on the scale given, significance by z tests. `smd`: standardised mean
        differences, analysed as RoBMA does by default: on Fisher's z, significance by t tests,
        estimates carried back.
    unit
        Length of one standardised mean difference on the scale given, for the priors: 1 for g,
        0.5 for Fisher's z, 1.81 for log odds ratios. Only with measure `none`.
    positive
        Direction that is favoured; False for negative effects.
    level
        Of the central intervals.
    progress
        Called with the name of each model before it is fitted.

    Raises
    ------
    ValueError
        Input that is not finite or of unequal length, fewer than two studies, options out of range.
    """
    y, s = _studies(yi, sei, study, rho)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level:g} (0.95 is usual)")
    if not (np.isfinite(unit) and unit > 0):
        raise ValueError(f"unit must be above 0, got {unit:g} (1 for g, 0.5 for Fisher's z)")
    sign = 1.0 if positive else -1.0
    if measure == "smd":
        if unit != 1.0:
            raise ValueError("unit is that of measure none; smd has the unit 1")
        data, unit = _on_fisher_z(sign * y, s), 0.5
    elif measure == "none":
        data = Studies(sign * y, s, normal_critical(s))
    else:
        raise ValueError(f"measure must be none or smd, got {measure!r}")
    members = psma(data, unit, progress)
    prior = np.array([m.prior for m in members])
    posterior = probabilities(np.array([m.fit.log_evidence for m in members]), prior)
    return Ensemble(
        _models(members, posterior),
        _components(members, prior, posterior),
        _estimates(members, posterior, sign, level, _BACK[measure]),
        len(y),
        f"fewer than {FEW} studies: the priors weigh heavily" if len(y) < FEW else "",
    )


def _studies(
    yi: ArrayLike, sei: ArrayLike, study: Sequence[Any] | None, rho: float
) -> tuple[Floats, Floats]:
    """One effect per study."""
    y, s = np.asarray(yi, dtype=float), np.asarray(sei, dtype=float)
    if y.ndim != 1 or y.shape != s.shape or (study is not None and len(study) != len(y)):
        raise ValueError("yi, sei and study must be of one length")
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise ValueError(
            "every effect needs a finite yi and a finite sei above 0; for bounds use adjusted_pools"
        )
    if not 0 <= rho < 1:
        raise ValueError(f"rho must be at least 0 and below 1, got {rho:g}")
    if study is not None:
        names = np.asarray(study)
        same = names[:, None] == names[None, :]
        v = np.where(same, rho * np.outer(s, s), 0.0)
        np.fill_diagonal(v, s**2)
        one = aggregate(y, v, names)
        y, s = one["yi"].to_numpy(), np.sqrt(one["vi"].to_numpy())
    if len(y) < 2:
        raise ValueError("bias cannot be seen in a single study: at least 2 are needed")
    return y, s


def _on_fisher_z(d: Floats, se: Floats) -> Studies:
    """Studies on Fisher's z: n from d and its error, critical values of the t test of d.

    n = (d^2 + 8) / (2 se^2) inverts se^2 = 4/n + d^2/(2n) (two equal groups); z = asinh(d/2),
    se_z^2 = 1/(n - 3); d is significant beyond 2 t / sqrt(n) with n - 2 degrees of freedom.
    """
    n = (d**2 + 8) / (2 * se**2)
    if (n <= 3).any():
        raise ValueError(
            f"standard errors imply {n.min():.1f} people in a study; check sei, or measure none"
        )

    def critical(p: float) -> Floats:
        return np.asarray(np.arcsinh(-stdtrit(n - 2, p) / np.sqrt(n)))

    return Studies(np.arcsinh(d / 2), 1 / np.sqrt(n - 3), critical)


def _from_fisher_z(z: Floats) -> Floats:
    return np.asarray(2 * np.sinh(z))


def _as_it_is(x: Floats) -> Floats:
    return x


_BACK: dict[Measure, Callable[[Floats], Floats]] = {"smd": _from_fisher_z, "none": _as_it_is}


def _bias_name(member: Member) -> str:
    return "none" if member.bias is None else str(member.bias)


def _models(members: tuple[Member, ...], posterior: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "effect": [m.mu is not None for m in members],
            "heterogeneity": [m.tau is not None for m in members],
            "bias": [_bias_name(m) for m in members],
            "prior_probability": [m.prior for m in members],
            "log_evidence": [m.fit.log_evidence for m in members],
            "error": [m.fit.error for m in members],
            "posterior_probability": posterior,
        }
    )


def _components(members: tuple[Member, ...], prior: Floats, posterior: Floats) -> pd.DataFrame:
    """Inclusion of each component; `bias` also by its two kinds."""
    having = {
        "effect": [m.mu is not None for m in members],
        "heterogeneity": [m.tau is not None for m in members],
        "bias": [m.bias is not None for m in members],
        "selection": [isinstance(m.bias, Steps) for m in members],
        "PET or PEESE": [isinstance(m.bias, Slope) for m in members],
    }
    error = np.array([m.fit.error for m in members])
    rows = []
    for name, flags in having.items():
        has = np.array(flags)
        before, after, rest = prior[has].sum(), posterior[has].sum(), posterior[~has].sum()
        with np.errstate(divide="ignore"):
            factor = np.divide(after, rest) / (before / (1 - before))
        spread = (posterior * error)[has].sum() / after if after else np.nan
        spread += (posterior * error)[~has].sum() / rest if rest else np.nan
        rows.append((name, int(has.sum()), before, after, factor, spread))
    columns = ["component", "models", "prior_probability", "posterior_probability"]
    return pd.DataFrame(rows, columns=[*columns, "inclusion_bf", "bf_error"])


def _estimates(
    members: tuple[Member, ...],
    posterior: Floats,
    sign: float,
    level: float,
    back: Callable[[Floats], Floats],
) -> pd.DataFrame:
    rows = []
    for name, turn in (("mu", sign), ("tau", 1.0)):
        parts = [getattr(m.fit, name) for m in members]
        free = np.array([p is not None for p in parts])
        for over, weight in (("averaged", posterior), ("conditional", posterior * free)):
            density = Averaged.build(weight / weight.sum(), parts)
            # tau is small: carried back linearly, as the priors are.
            to = back if name == "mu" else (lambda x: x * float(back(np.array(1e-6))) / 1e-6)
            ends = [turn * float(to(np.array(density.quantile(p)))) + 0.0 for p in _tails(level)]
            low, median, high = sorted(ends)
            rows.append((name, over, turn * _mean(density, to), median, low, high, density.zero))
    columns = ["parameter", "over", "mean", "median", "low", "high", "p_zero"]
    return pd.DataFrame(rows, columns=columns).assign(level=level)


def _tails(level: float) -> tuple[float, float, float]:
    return (1 - level) / 2, 0.5, (1 + level) / 2


def _mean(density: Averaged, to: Callable[[Floats], Floats]) -> float:
    """Mean of a transformed parameter: exact where the transformation is linear."""
    bend = float(to(np.array(1.0)) - 1e6 * to(np.array(1e-6)))
    if abs(bend) < 1e-9:
        return density.mean * float(to(np.array(1.0)))
    ends = density.quantile(1e-6), density.quantile(1 - 1e-6)
    edges = np.linspace(*ends, 2001)
    mass = np.diff(sum((w * d.cdf(edges) for w, d in density.parts), np.zeros(len(edges))))
    return float(mass @ to((edges[1:] + edges[:-1]) / 2))
