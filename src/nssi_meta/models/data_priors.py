"""Priors of tau whose scale is taken from the studies' own sampling variances.

They need no scale of their own and follow the unit of the outcome. Definitions as in bayesmeta's
manual (Röver 2020, J Stat Softw 93(6)); v_i are the sampling variances of k studies, s0^2 their
harmonic mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout
from nssi_meta.models.prior_families import Family

Floats = NDArray[np.float64]

#: Values held at once (memory, not accuracy).
_CHUNK = 2_000_000


def _over_studies(tau: Floats, v: Floats, term: str) -> Floats:
    """Sum over studies of a term, at every tau: `jeffreys` (tau/(v+tau^2))^2, `mu` 1/(v+tau^2),
    `log` log(v+tau^2).
    """
    flat = tau.ravel()
    out = np.zeros(flat.shape)
    step = max(1, _CHUNK // max(flat.size, 1))
    for i in range(0, v.size, step):
        total = v[i : i + step] + (flat**2)[:, None]
        if term == "log":
            out += np.log(total).sum(axis=1)
        elif term == "mu":
            out += (1.0 / total).sum(axis=1)
        else:
            out += ((flat[:, None] / total) ** 2).sum(axis=1)
    return out.reshape(tau.shape)


def _jeffreys(tau: Floats, v: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(0.5 * np.log(_over_studies(tau, v, "jeffreys")))


def _overall(tau: Floats, v: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return _jeffreys(tau, v) + 0.5 * np.log(_over_studies(tau, v, "mu"))


def _berger_deely(tau: Floats, v: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(tau) - _over_studies(tau, v, "log") / v.size


def _conventional(tau: Floats, v: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(tau) - 1.5 * _over_studies(tau, v, "log") / v.size


def _harmonic(v: Floats) -> float:
    return float(v.size / (1.0 / v).sum())


def _dumouchel(tau: Floats, v: Floats) -> Floats:
    s0 = np.sqrt(_harmonic(v))
    return np.asarray(np.log(s0) - 2 * np.log(s0 + tau))


def _shrinkage_at(tau: Floats, s2: float) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(2 * s2) + np.log(tau) - 2 * np.log(s2 + tau**2))


def _shrinkage(tau: Floats, v: Floats) -> Floats:
    return _shrinkage_at(tau, _harmonic(v))


def _i2(tau: Floats, v: Floats) -> Floats:
    """Typical variance of Higgins and Thompson 2002, eq. 9."""
    w = 1.0 / v / (1.0 / v).max()
    # sum(w)^2 - sum(w^2) as a sum of products, without cancellation
    rest = 2.0 * float((w[1:] * np.cumsum(w)[:-1]).sum())
    return _shrinkage_at(tau, float((v.size - 1) * w.sum() / rest / (1.0 / v).max()))


def _unchanged(_: float) -> tuple[float, ...]:
    return ()


def _family(logpdf: object, source: str, tail: float, proper: bool) -> Family:
    return Family((), (), logpdf, source, proper, lambda: tail, _unchanged, from_data=True)  # type: ignore[arg-type]


DATA_FAMILIES: dict[str, Family] = {
    "jeffreys": _family(_jeffreys, "Jeffreys, mu fixed: Tibshirani 1989", 1.0, False),
    "overalljeffreys": _family(_overall, "Jeffreys for mu and tau, normalised", 2.0, True),
    "bergerdeely": _family(_berger_deely, "Berger and Deely 1988", 1.0, False),
    "conventional": _family(_conventional, "proper form of Berger and Deely", 2.0, True),
    "dumouchel": _family(_dumouchel, "DuMouchel: s0 / (s0 + tau)^2", 2.0, True),
    "shrinkage": _family(_shrinkage, "uniform in s0^2 / (s0^2 + tau^2)", 3.0, True),
    "i2": _family(_i2, "uniform in I^2", 3.0, True),
}
#: Known up to a constant only, which is found by quadrature when they are bound.
_TO_NORMALISE = ("overalljeffreys", "conventional")


def log_constant(name: str, v: Floats) -> float:
    """Log of the integral of the density over tau: trapezoid rule in log tau.

    The integrand is analytic in a strip of half-width pi/2 around the real line and falls at least
    as exp(-|z|), so that steps of 0.2 are exact to rounding (Trefethen and Weideman 2014).
    """
    if name not in _TO_NORMALISE:
        return 0.0
    step = 0.2
    z = np.arange(0.5 * np.log(v.min()) - 25.0, 0.5 * np.log(v.max()) + 45.0, step)
    log_f = DATA_FAMILIES[name].logpdf(np.exp(z), v) + z
    peak = log_f.max()
    return float(peak + np.log(step * np.exp(log_f - peak).sum()))


def study_variances(layout: Layout) -> Floats:
    """One sampling variance per independent block of rows: that of the block's mean effect.

    Rows that share people count as the one study they come from. For a block with bounds the
    mean is the plain one, with the error correlation assumed for the block.
    """
    out = []
    single = [layout.single_exact, layout.single_unsigned, layout.single_beyond]
    for rows in (*single, layout.single_within):
        out.append(layout.v[rows])
    if (exact := layout.exact_blocks) is not None:
        ones = exact.mask[..., None]
        weight = (np.linalg.solve(exact.V, ones) * ones).sum(axis=(1, 2))
        out.append(1.0 / weight)
    if (bounds := layout.bound_blocks) is not None:
        n = bounds.mask.sum(axis=1)
        mean = (layout.v[bounds.rows] * bounds.mask).sum(axis=1) / n
        out.append(mean * (1.0 + (n - 1.0) * bounds.rho) / n)
    return np.concatenate(out)
