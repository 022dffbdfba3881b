"""Conversions between effect-size scales and from what papers report, as in metafor 5.0.

The names in :data:`TRANSFORMS` are metafor's (``transf.rtod`` is ``TRANSFORMS["rtod"]``).
Every function takes numbers or arrays that broadcast against each other and returns a float array.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, roots_legendre

from nssi_meta.evidence.convert_shares import (
    abt_to_alpha,
    ahw_to_alpha,
    alpha_to_abt,
    alpha_to_ahw,
    arcsine,
    freeman_tukey,
    inverse_arcsine,
    inverse_freeman_tukey,
    inverse_logit,
    inverse_rate_freeman_tukey,
    logit,
    r2_to_z,
    rate_freeman_tukey,
    z_to_r2,
)
from nssi_meta.evidence.escalc_common import Array

Transform = Callable[..., Array]

_NODES, _WEIGHTS = roots_legendre(400)


def _f(*values: ArrayLike) -> list[Array]:
    return list(np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values)))


# ------------------------------------------------------------------ correlations and d


def r_to_z(r: ArrayLike) -> Array:
    """Fisher z of a correlation."""
    return np.asarray(np.arctanh(np.asarray(r, dtype=float)))


def z_to_r(z: ArrayLike) -> Array:
    """Correlation of a Fisher z."""
    return np.asarray(np.tanh(np.asarray(z, dtype=float)))


def _h(n1: ArrayLike | None, n2: ArrayLike | None) -> Array:
    """d^2 = h r^2 / (1 - r^2): (n1+n2-2)(1/n1+1/n2), or 4 for equal groups of unknown size."""
    if n1 is None or n2 is None:
        return np.asarray(4.0)
    n1, n2 = _f(n1, n2)
    return np.asarray((n1 + n2 - 2) * (1 / n1 + 1 / n2))


def _attenuation(p: ArrayLike) -> Array:
    """Point-biserial over biserial correlation when a share `p` lies above the cut."""
    p = np.asarray(p, dtype=float)
    density = np.exp(-(ndtri(p) ** 2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(density / np.sqrt(p * (1 - p)))


def _share(n1: ArrayLike | None, n2: ArrayLike | None) -> Array:
    if n1 is None or n2 is None:
        return np.asarray(0.5)
    n1, n2 = _f(n1, n2)
    return np.asarray(n1 / (n1 + n2))


def d_to_rpb(d: ArrayLike, n1: ArrayLike | None = None, n2: ArrayLike | None = None) -> Array:
    """Point-biserial correlation of Cohen's d."""
    d = np.asarray(d, dtype=float)
    return np.asarray(d / np.sqrt(d**2 + _h(n1, n2)))


def rpb_to_d(r: ArrayLike, n1: ArrayLike | None = None, n2: ArrayLike | None = None) -> Array:
    """Cohen's d of a point-biserial correlation (for equal groups 2r/sqrt(1-r^2))."""
    r = np.asarray(r, dtype=float)
    return np.asarray(np.sqrt(_h(n1, n2)) * r / np.sqrt(1 - r**2))


def rpb_to_rbis(r: ArrayLike, p: ArrayLike = 0.5) -> Array:
    """Biserial from point-biserial correlation, a share `p` in the first group."""
    return np.asarray(np.asarray(r, dtype=float) / _attenuation(p))


def r_to_rpb(r: ArrayLike, p: ArrayLike = 0.5) -> Array:
    """Point-biserial correlation left after cutting one variable, a share `p` above the cut."""
    return np.asarray(np.asarray(r, dtype=float) * _attenuation(p))


def d_to_rbis(d: ArrayLike, n1: ArrayLike | None = None, n2: ArrayLike | None = None) -> Array:
    """Biserial correlation of Cohen's d (Jacobs & Viechtbauer, 2017)."""
    return rpb_to_rbis(d_to_rpb(d, n1, n2), _share(n1, n2))


def r_to_d(r: ArrayLike, n1: ArrayLike | None = None, n2: ArrayLike | None = None) -> Array:
    """Cohen's d of a correlation with one variable cut into groups of sizes n1 and n2."""
    return rpb_to_d(r_to_rpb(r, _share(n1, n2)), n1, n2)


# ------------------------------------------------------------------ odds ratios


def d_to_log_or(d: ArrayLike) -> Array:
    """Log odds ratio of d, logistic distributions: d pi / sqrt(3) (Chinn, 2000)."""
    return np.asarray(np.asarray(d, dtype=float) * np.pi / np.sqrt(3))


def log_or_to_d(log_or: ArrayLike) -> Array:
    """d of a log odds ratio, logistic distributions (Chinn, 2000)."""
    return np.asarray(np.asarray(log_or, dtype=float) * np.sqrt(3) / np.pi)


def d_to_log_or_normal(d: ArrayLike) -> Array:
    """Log odds ratio of d, normal distributions: 1.65 d (Cox & Snell, 1989)."""
    return np.asarray(1.65 * np.asarray(d, dtype=float))


def log_or_to_d_normal(log_or: ArrayLike) -> Array:
    """d of a log odds ratio, normal distributions (Cox & Snell, 1989)."""
    return np.asarray(np.asarray(log_or, dtype=float) / 1.65)


def log_or_to_rr(log_or: ArrayLike, pc: ArrayLike) -> Array:
    """Risk ratio (not its log) of a log odds ratio, risk `pc` in the control group."""
    odds_ratio, pc = _f(np.exp(np.asarray(log_or, dtype=float)), pc)
    return np.asarray(odds_ratio / (1 - pc + pc * odds_ratio))


def log_or_to_rd(log_or: ArrayLike, pc: ArrayLike) -> Array:
    """Risk difference of a log odds ratio, risk `pc` in the control group."""
    return np.asarray(np.asarray(pc, dtype=float) * (log_or_to_rr(log_or, pc) - 1))


def log_or_to_rtet_pearson(log_or: ArrayLike) -> Array:
    """Tetrachoric correlation of a log odds ratio (Pearson, 1900)."""
    return np.asarray(np.cos(np.pi / (1 + np.exp(np.asarray(log_or, dtype=float) / 2))))


def log_or_to_rtet_digby(log_or: ArrayLike) -> Array:
    """Tetrachoric correlation of a log odds ratio (Digby, 1983)."""
    return np.asarray(np.tanh(0.375 * np.asarray(log_or, dtype=float)))


# ------------------------------------------------------------------ what a d means


def d_to_u1(d: ArrayLike) -> Array:
    """Cohen's U1, share of non-overlap."""
    p = ndtr(np.abs(np.asarray(d, dtype=float)) / 2)
    return np.asarray((2 * p - 1) / p)


def d_to_u2(d: ArrayLike) -> Array:
    """Cohen's U2."""
    return np.asarray(ndtr(np.asarray(d, dtype=float) / 2))


def d_to_u3(d: ArrayLike) -> Array:
    """Cohen's U3, share of the first group above the mean of the second."""
    return np.asarray(ndtr(np.asarray(d, dtype=float)))


def d_to_overlap(d: ArrayLike) -> Array:
    """Overlapping coefficient of two normal distributions d apart."""
    return np.asarray(2 * ndtr(-np.abs(np.asarray(d, dtype=float)) / 2))


def d_to_cles(d: ArrayLike) -> Array:
    """Probability of superiority (common language effect size)."""
    return np.asarray(ndtr(np.asarray(d, dtype=float) / np.sqrt(2)))


def d_to_cliff(d: ArrayLike) -> Array:
    """Cliff's delta."""
    return np.asarray(2 * d_to_cles(d) - 1)


def d_to_besd(d: ArrayLike) -> Array:
    """Binomial effect size display: share of the first group above the median."""
    return np.asarray(0.5 + d_to_rpb(d) / 2)


def d_to_md(d: ArrayLike, sd: ArrayLike) -> Array:
    """Mean difference of d, given the standard deviation."""
    return np.asarray(np.asarray(d, dtype=float) * np.asarray(sd, dtype=float))


# ------------------------------------------------------------------ means over a normal


def mean_over_normal(transform: Transform, x: ArrayLike, tau2: ArrayLike) -> Array:
    """Mean of transform(u) for u ~ N(x, tau2), Gauss-Legendre over ten SDs on either side."""
    x, tau2 = _f(x, tau2)
    u = 10 * _NODES
    weight = 10 * _WEIGHTS * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(transform(x[..., None] + np.sqrt(tau2)[..., None] * u) @ weight)


def delta(
    yi: ArrayLike, vi: ArrayLike, transform: Transform, **arguments: ArrayLike
) -> tuple[Array, Array]:
    """Transformed effects with delta-method variances, f(y) and f'(y)^2 v.

    The slope is a central difference extrapolated to step zero (Richardson, six halvings).
    """
    y, v = _f(yi, vi)
    step = 0.01 * np.maximum(np.abs(y), 0.1)
    table = [
        (transform(y + h, **arguments) - transform(y - h, **arguments)) / (2 * h)
        for h in (step / 2**j for j in range(6))
    ]
    order = 1
    while len(table) > 1:
        factor = 4.0**order
        pairs = zip(table[1:], table[:-1], strict=True)
        table = [(factor * fine - coarse) / (factor - 1) for fine, coarse in pairs]
        order += 1
    return np.asarray(transform(y, **arguments)), np.asarray(table[0] ** 2 * v)


TRANSFORMS: dict[str, Transform] = {
    "rtoz": r_to_z,
    "ztor": z_to_r,
    "rtod": r_to_d,
    "rtorpb": r_to_rpb,
    "rpbtod": rpb_to_d,
    "rpbtorbis": rpb_to_rbis,
    "dtorpb": d_to_rpb,
    "dtorbis": d_to_rbis,
    "dtou1": d_to_u1,
    "dtou2": d_to_u2,
    "dtou3": d_to_u3,
    "dtoovl": d_to_overlap,
    "dtocles": d_to_cles,
    "dtocliffd": d_to_cliff,
    "dtobesd": d_to_besd,
    "dtomd": d_to_md,
    "dtolnor.logis": d_to_log_or,
    "dtolnor.norm": d_to_log_or_normal,
    "lnortod.logis": log_or_to_d,
    "lnortod.norm": log_or_to_d_normal,
    "lnortorr": log_or_to_rr,
    "lnortord": log_or_to_rd,
    "lnortortet.pearson": log_or_to_rtet_pearson,
    "lnortortet.digby": log_or_to_rtet_digby,
    "logit": logit,
    "ilogit": inverse_logit,
    "arcsin": arcsine,
    "iarcsin": inverse_arcsine,
    "pft": freeman_tukey,
    "ipft": inverse_freeman_tukey,
    "irft": rate_freeman_tukey,
    "iirft": inverse_rate_freeman_tukey,
    "ahw": alpha_to_ahw,
    "iahw": ahw_to_alpha,
    "abt": alpha_to_abt,
    "iabt": abt_to_alpha,
    "r2toz": r2_to_z,
    "ztor2": z_to_r2,
    "ztor.int": lambda z, tau2: mean_over_normal(z_to_r, z, tau2),
    "exp.int": lambda x, tau2: mean_over_normal(np.exp, x, tau2),
    "ilogit.int": lambda x, tau2: mean_over_normal(inverse_logit, x, tau2),
}
