"""What every effect-size measure shares: the registry, the options, small formulas.

A measure is one function ``f(a, o) -> (yi, vi)`` decorated with :func:`measure`; `a` maps metafor's
argument names to float arrays of one length, `o` holds the options. New measure: one function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtrit

Array = NDArray[np.float64]
Args = Mapping[str, Array]
Rule = tuple[Callable[[Array], NDArray[np.bool_]], str]


@dataclass(frozen=True)
class Options:
    """Options of one call: `vtype` (one name a row) and `correct` (bias correction on or off)."""

    vtype: NDArray[np.object_]
    correct: bool

    def variance(self, **by_name: Array) -> Array:
        """Pick, row by row, the variance whose name is that row's vtype ("LS" is the default)."""
        out = np.array(by_name[next(iter(by_name))], dtype=float, copy=True)
        for name, values in by_name.items():
            rows = self.vtype == name
            out[rows] = np.broadcast_to(values, out.shape)[rows]
        return out


Compute = Callable[[Args, Options], tuple[Array, Array]]


@dataclass(frozen=True)
class Measure:
    """One row of the registry of measures."""

    name: str
    compute: Compute
    needs: tuple[tuple[str, ...], ...]
    rules: Mapping[str, Rule]
    vtypes: tuple[str, ...]
    layout: str
    adds: bool
    about: str


MEASURES: dict[str, Measure] = {}

COUNT: Rule = (lambda x: x >= 0, "a count, 0 or more")
SIZE: Rule = (lambda x: x > 0, "a size above 0")
TIME: Rule = (lambda x: x > 0, "a person-time above 0")
SPREAD: Rule = (lambda x: x >= 0, "a standard deviation, 0 or more")
CORRELATION: Rule = (lambda x: np.abs(x) <= 1, "a correlation between -1 and 1")
SIGNED_P: Rule = (
    lambda x: (np.abs(x) <= 1) & (x != 0),
    "a two-sided p between 0 and 1, carrying the sign of the effect",
)
SHARE: Rule = (lambda x: (x >= 0) & (x <= 1), "a share between 0 and 1")
ALPHA: Rule = (lambda x: x < 1, "a reliability below 1")
ITEMS: Rule = (lambda x: x >= 2, "a number of items, 2 or more")

# What an argument must satisfy wherever a measure does not say otherwise.
COMMON_RULES: dict[str, Rule] = {
    **dict.fromkeys(("n1i", "n2i", "ni"), SIZE),
    **dict.fromkeys(("sd1i", "sd2i", "sdi"), SPREAD),
    **dict.fromkeys(("x1i", "x2i", "xi"), COUNT),
    **dict.fromkeys(("t1i", "t2i"), TIME),
    "ri": CORRELATION,
    "pi": SIGNED_P,
    "r2i": SHARE,
}
CELLS: dict[str, Rule] = dict.fromkeys(("ai", "bi", "ci", "di"), COUNT)


def measure(
    name: str,
    needs: str,
    *,
    rules: Mapping[str, Rule] | None = None,
    vtypes: str = "LS",
    layout: str = "",
    adds: bool = False,
) -> Callable[[Compute], Compute]:
    """Register a measure.

    `needs` lists its arguments, alternatives separated by "|"; `layout` names the counts that take
    the zero-cell rule ("table", "rates", "proportion", "rate"); `adds` says whether the amount
    `add` is added by default.
    """

    def register(compute: Compute) -> Compute:
        alternatives = tuple(tuple(option.split()) for option in needs.split("|"))
        MEASURES[name] = Measure(
            name,
            compute,
            alternatives,
            {**COMMON_RULES, **(rules or {})},
            tuple(vtypes.split()),
            layout,
            adds,
            (compute.__doc__ or "").strip().split("\n")[0],
        )
        return compute

    return register


def hedges_j(m: Array | float) -> Array:
    """Exact bias correction of a standardised difference with `m` degrees of freedom.

    J(m) = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)), Hedges (1981); needs m > 1.
    """
    df = np.asarray(m, dtype=float)
    return np.asarray(np.exp(gammaln(df / 2) - 0.5 * np.log(df / 2) - gammaln((df - 1) / 2)))


def bias_factor(m: Array, o: Options) -> Array:
    """J(m), or 1 where the correction is switched off."""
    return hedges_j(m) if o.correct else np.ones_like(m)


def unbiased_factor(m: Array, j: Array) -> Array:
    """Factor of g^2 in the unbiased variance, 1 - (m-2)/(m J^2); Hedges (1983), equation 9."""
    return np.asarray(1 - (m - 2) / (m * j**2))


def t_from_p(p: Array, df: Array) -> Array:
    """The t with `df` degrees of freedom whose two-sided p is |p|, with the sign of `p`."""
    return np.asarray(-np.sign(p) * stdtrit(df, np.abs(p) / 2))


def coalesce(*candidates: Array | None) -> Array:
    """First finite value of each row over the candidates that are there."""
    present = [candidate for candidate in candidates if candidate is not None]
    out = present[0].copy()
    for candidate in present[1:]:
        out = np.where(np.isfinite(out), out, candidate)
    return out


def fisher(yi: Array, vi: Array) -> tuple[Array, Array]:
    """Fisher's r-to-z transformation with the delta-method variance."""
    return np.arctanh(yi), vi / (1 - yi**2) ** 2
