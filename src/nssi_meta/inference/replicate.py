"""Rows as the model says they come about: parameters from the prior, estimates from the parameters.

The generative side of the likelihood, written by itself: study effects are the difference of two
arms' effects, errors are drawn with the sampling covariance, and an estimate is then reported as
the row's kind says (its value, its size, or the interval in which it fell). Calibration and
predictive checks draw from here, so that a mistake in the likelihood cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from nssi_meta.models.priors import Prior, PriorError

Floats = NDArray[np.float64]
#: Sampling covariance (n, n) of the rows of one block.
Errors = Callable[[pd.DataFrame], Floats]

#: Two-sided level at which a row without a stated threshold counts as significant.
ALPHA = 0.05

_DRAW: dict[str, Callable[..., Floats]] = {
    "normal": lambda rng, n, mean, sd: rng.normal(mean, sd, n),
    "student_t": lambda rng, n, df, mean, scale: mean + scale * rng.standard_t(df, n),
    "halfnormal": lambda rng, n, scale: np.abs(rng.normal(0.0, scale, n)),
    "halfcauchy": lambda rng, n, scale: scale * np.abs(rng.standard_cauchy(n)),
    "halft": lambda rng, n, df, scale: scale * np.abs(rng.standard_t(df, n)),
    "exponential": lambda rng, n, mean: rng.exponential(mean, n),
    "lognormal": lambda rng, n, meanlog, sdlog: rng.lognormal(meanlog, sdlog, n),
    "lognormal2": lambda rng, n, meanlog, sdlog: rng.lognormal(meanlog / 2, sdlog / 2, n),
    "logt2": lambda rng, n, df, meanlog, scale: np.exp(
        (meanlog + scale * rng.standard_t(df, n)) / 2
    ),
    "invgamma": lambda rng, n, shape, scale: scale / rng.gamma(shape, 1.0, n),
    "uniform": lambda rng, n, low, high: rng.uniform(low, high, n),
    "zero": lambda rng, n: np.zeros(n),
}


def prior_draws(prior: Prior, n: int, rng: np.random.Generator) -> Floats:
    """n independent draws (n,) of a proper prior. Raises `PriorError` where it has none."""
    if not prior.proper or prior.name not in _DRAW:
        raise PriorError(
            f"{prior} cannot be drawn from; allowed here: {', '.join(sorted(_DRAW))}, all of them "
            "with finite parameters"
        )
    return np.asarray(_DRAW[prior.name](rng, n, *prior.params), dtype=float)


def replicate(
    frame: pd.DataFrame,
    blocks: Sequence[NDArray[np.int64]],
    mean: Floats,
    tau: Floats,
    omega: Floats,
    errors: Errors,
    rng: np.random.Generator,
) -> Floats:
    """New estimates (S, k) of the rows of `frame` at S values of the parameters.

    Parameters
    ----------
    frame
        Rows (k) with study_id, condition, comparator, vi.
    blocks
        Positions of the rows that depend on each other (`Layout.block_rows`).
    mean, tau, omega
        True mean and between-study SD of each row (S, k), within-study SD (S,).
    errors
        Sampling covariance of a block's rows; called for blocks of two rows or more.
    rng
        Source of randomness.
    """
    s = np.sqrt(frame["vi"].to_numpy(dtype=float))
    shape = mean.shape
    y = mean + omega[:, None] * rng.standard_normal(shape)
    alone = np.array([b[0] for b in blocks if len(b) == 1], dtype=np.int64)
    for scale in (tau[:, alone], s[alone]):
        y[:, alone] += scale * rng.standard_normal((shape[0], len(alone)))
    for rows in (b for b in blocks if len(b) > 1):
        part = frame.iloc[rows]
        y[:, rows] += tau[:, rows] * _contrasts(part, shape[0], rng)
        y[:, rows] += (
            rng.standard_normal((shape[0], len(rows))) @ np.linalg.cholesky(errors(part)).T
        )
    return np.asarray(y)


def _contrasts(part: pd.DataFrame, n: int, rng: np.random.Generator) -> Floats:
    """Study effects (n, rows) in units of tau: each arm of a study varies by half of tau squared.

    Rows that do not tell their arms (a table of ready-made effects) are one contrast.
    """
    arms: dict[tuple[str, str], Floats] = {}

    def effect(study: str, arm: str) -> Floats:
        return arms.setdefault((study, arm), rng.standard_normal(n) * np.sqrt(0.5))

    out = np.empty((n, len(part)))
    columns = (part[c].astype(str) for c in ("study_id", "condition", "comparator"))
    for i, (study, case, control) in enumerate(zip(*columns, strict=True)):
        control = f"beside {control}" if control == case else control
        out[:, i] = effect(study, case) - effect(study, control)
    return out


def thresholds(frame: pd.DataFrame) -> Floats:
    """Size (k,) beyond which a row is significant: a bound's own, else z(1 - ALPHA/2) sei."""
    ends = np.abs(frame[["lower", "upper"]].to_numpy(dtype=float))
    own = np.where(np.isfinite(ends), ends, np.inf).min(axis=1)
    usual = float(ndtri(1 - ALPHA / 2)) * np.sqrt(frame["vi"].to_numpy(dtype=float))
    bound = (frame["kind"] == "interval").to_numpy() & np.isfinite(own) & (own > 0)
    return np.where(bound, own, usual)


def as_reported(frame: pd.DataFrame, y: Floats, critical: Floats) -> pd.DataFrame:
    """The rows with estimates `y` (k,) reported as their kind says.

    An exact row gives y, an unsigned one |y|, an interval row whether y lies above `critical` (k,),
    below its negative or between.
    """
    kind = frame["kind"].to_numpy()
    lower = np.select([y > critical, y < -critical], [critical, -np.inf], -critical)
    upper = np.select([y > critical, y < -critical], [np.inf, -critical], critical)
    bound = kind == "interval"
    yi = np.select([bound, kind == "unsigned"], [np.nan, np.abs(y)], y)
    return frame.assign(
        yi=yi, lower=np.where(bound, lower, np.nan), upper=np.where(bound, upper, np.nan)
    )
