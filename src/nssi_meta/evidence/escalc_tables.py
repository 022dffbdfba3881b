"""Counts: 2x2 tables, paired 2x2 tables, event counts over person-time, single proportions.

Formulas: Fleiss & Berlin (2009), Yusuf et al. (1985), Ruecker et al. (2009), Yule (1912),
Sanchez-Meca et al. (2003), Zou (2007), Becker & Balagtas (1993), Rothman et al. (2008),
Freeman & Tukey (1950), Ziegler et al. (2011). Zero cells are dealt with before, in escalc.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from nssi_meta.evidence.escalc_common import (
    CELLS,
    COUNT,
    Args,
    Array,
    Options,
    fisher,
    measure,
)
from nssi_meta.evidence.tetrachoric import tetrachoric

TABLE = "ai bi ci di | ai ci n1i n2i"
PAIRS = "ai bi ci di"
RATES = "x1i x2i t1i t2i"
SHARES = "xi ni | xi mi"
COMPLEMENT = {"mi": COUNT}


def _cells(a: Args) -> tuple[Array, Array, Array, Array]:
    return a["ai"], a["bi"], a["ci"], a["di"]


@measure("RR", TABLE, rules=CELLS, layout="table", adds=True)
def rr(a: Args, o: Options) -> tuple[Array, Array]:
    """Log risk ratio."""
    x1, y1, x2, y2 = _cells(a)
    n1, n2 = x1 + y1, x2 + y2
    return np.log(x1 / n1) - np.log(x2 / n2), 1 / x1 - 1 / n1 + 1 / x2 - 1 / n2


@measure("OR", TABLE, rules=CELLS, layout="table", adds=True)
def log_or(a: Args, o: Options) -> tuple[Array, Array]:
    """Log odds ratio."""
    x1, y1, x2, y2 = _cells(a)
    yi = np.log(x1) - np.log(y1) - np.log(x2) + np.log(y2)
    return yi, 1 / x1 + 1 / y1 + 1 / x2 + 1 / y2


@measure("RD", TABLE, rules=CELLS, layout="table")
def rd(a: Args, o: Options) -> tuple[Array, Array]:
    """Risk difference."""
    x1, y1, x2, y2 = _cells(a)
    n1, n2 = x1 + y1, x2 + y2
    return x1 / n1 - x2 / n2, x1 * y1 / n1**3 + x2 * y2 / n2**3


@measure("AS", TABLE, rules=CELLS, layout="table")
def arcsine(a: Args, o: Options) -> tuple[Array, Array]:
    """Arcsine square root transformed risk difference."""
    x1, y1, x2, y2 = _cells(a)
    n1, n2 = x1 + y1, x2 + y2
    return np.arcsin(np.sqrt(x1 / n1)) - np.arcsin(np.sqrt(x2 / n2)), 1 / (4 * n1) + 1 / (4 * n2)


@measure("PETO", TABLE, rules=CELLS, layout="table", adds=True)
def peto(a: Args, o: Options) -> tuple[Array, Array]:
    """Log odds ratio by Peto's method."""
    x1, y1, x2, y2 = _cells(a)
    n1, n2, x, y = x1 + y1, x2 + y2, x1 + x2, y1 + y2
    n = n1 + n2
    information = x * y * n1 * n2 / (n**2 * (n - 1))
    return (x1 - x * n1 / n) / information, 1 / information


@measure("PHI", TABLE, rules=CELLS, layout="table", vtypes="LS ST CS")
def phi(a: Args, o: Options) -> tuple[Array, Array]:
    """Phi coefficient."""
    x1, y1, x2, y2 = _cells(a)
    n1, n2, x, y = x1 + y1, x2 + y2, x1 + x2, y1 + y2
    n, root = n1 + n2, np.sqrt(n1 * n2 * x * y)
    r = (x1 * y2 - y1 * x2) / root
    cross = (
        1
        - r**2
        + r * (1 + r**2 / 2) * (n1 - n2) * (x - y) / root
        - 0.75 * r**2 * ((n1 - n2) ** 2 / (n1 * n2) + (x - y) ** 2 / (x * y))
    ) / n
    # Stratified sampling: delta method over two independent proportions.
    p1, p2, p = x1 / n1, x2 / n2, x / n
    w1, w2, pq = n1 / n, n2 / n, p * (1 - p)
    slope = 0.5 * (p1 - p2) * (1 - 2 * p) / pq
    g1, g2 = 1 - slope * w1, -1 - slope * w2
    stratified = w1 * w2 / pq * (g1**2 * p1 * (1 - p1) / n1 + g2**2 * p2 * (1 - p2) / n2)
    return r, o.variance(LS=cross, CS=cross, ST=stratified)


@measure("ZPHI", TABLE, rules=CELLS, layout="table", vtypes="LS ST CS")
def zphi(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of the phi coefficient."""
    return fisher(*phi(a, o))


@measure("YUQ", TABLE, rules=CELLS, layout="table", adds=True)
def yule_q(a: Args, o: Options) -> tuple[Array, Array]:
    """Yule's Q."""
    y, v = log_or(a, o)
    q = np.tanh(y / 2)
    return q, (1 - q**2) ** 2 * v / 4


@measure("YUY", TABLE, rules=CELLS, layout="table", adds=True)
def yule_y(a: Args, o: Options) -> tuple[Array, Array]:
    """Yule's Y."""
    y, v = log_or(a, o)
    q = np.tanh(y / 4)
    return q, (1 - q**2) ** 2 * v / 16


@measure("RTET", TABLE, rules=CELLS, layout="table", adds=True)
def rtet(a: Args, o: Options) -> tuple[Array, Array]:
    """Tetrachoric correlation."""
    return tetrachoric(*_cells(a))


@measure("ZTET", TABLE, rules=CELLS, layout="table", adds=True)
def ztet(a: Args, o: Options) -> tuple[Array, Array]:
    """Fisher z of the tetrachoric correlation."""
    return fisher(*rtet(a, o))


@measure("PBIT", TABLE, rules=CELLS, layout="table", adds=True)
def pbit(a: Args, o: Options) -> tuple[Array, Array]:
    """Probit transformed risk difference."""
    x1, y1, x2, y2 = _cells(a)
    n1, n2 = x1 + y1, x2 + y2
    z1, z2 = ndtri(x1 / n1), ndtri(x2 / n2)

    def part(x: Array, y: Array, n: Array, z: Array) -> Array:
        return np.asarray(2 * np.pi * x * y / n**3 * np.exp(z**2))

    return z1 - z2, part(x1, y1, n1, z1) + part(x2, y2, n2, z2)


@measure("OR2DN", TABLE, rules=CELLS, layout="table", adds=True)
def or2dn(a: Args, o: Options) -> tuple[Array, Array]:
    """Log odds ratio as a standardised mean difference (normal distributions)."""
    y, v = log_or(a, o)
    return y / 1.65, v / 1.65**2


@measure("OR2DL", TABLE, rules=CELLS, layout="table", adds=True)
def or2dl(a: Args, o: Options) -> tuple[Array, Array]:
    """Log odds ratio as a standardised mean difference (logistic distributions)."""
    y, v = log_or(a, o)
    return np.sqrt(3) / np.pi * y, 3 / np.pi**2 * v


@measure("MPRR", PAIRS, rules=CELLS, layout="table", adds=True)
def mprr(a: Args, o: Options) -> tuple[Array, Array]:
    """Matched pairs: marginal log risk ratio."""
    both, first, second, _ = _cells(a)
    n1, n2 = both + first, both + second
    return np.log(n1 / n2), (first + second) / (n1 * n2)


@measure("MPOR", PAIRS, rules=CELLS, layout="table", adds=True)
def mpor(a: Args, o: Options) -> tuple[Array, Array]:
    """Matched pairs: marginal log odds ratio."""
    both, first, second, neither = _cells(a)
    x1, y1, x2, y2 = both + first, second + neither, both + second, first + neither
    n = x1 + y1
    shared = (both * neither - first * second) * n / (x1 * y1 * x2 * y2)
    yi = np.log(x1 / y1) - np.log(x2 / y2)
    return yi, 1 / x1 + 1 / y1 + 1 / x2 + 1 / y2 - 2 * shared


@measure("MPRD", PAIRS, rules=CELLS, layout="table")
def mprd(a: Args, o: Options) -> tuple[Array, Array]:
    """Matched pairs: marginal risk difference."""
    both, first, second, neither = _cells(a)
    n = both + first + second + neither
    return (first - second) / n, (first + second) / n**2 - (first - second) ** 2 / n**3


@measure("MPORC", PAIRS, rules=CELLS, layout="table", adds=True)
def mporc(a: Args, o: Options) -> tuple[Array, Array]:
    """Matched pairs: conditional log odds ratio."""
    return np.log(a["bi"] / a["ci"]), 1 / a["bi"] + 1 / a["ci"]


@measure("MPPETO", PAIRS, rules=CELLS, layout="table", adds=True)
def mppeto(a: Args, o: Options) -> tuple[Array, Array]:
    """Matched pairs: conditional log odds ratio by Peto's method."""
    b, c = a["bi"], a["ci"]
    return 2 * (b - c) / (b + c), 4 / (b + c)


@measure("REH", "ai bi ci", rules=CELLS, layout="genotypes", adds=True)
def reh(a: Args, o: Options) -> tuple[Array, Array]:
    """Log relative excess heterozygosity."""
    x, h, y = a["ai"], a["bi"], a["ci"]
    return np.log(h) - np.log(2 * np.sqrt(x * y)), 0.25 * (1 / x + 4 / h + 1 / y)


@measure("IRR", RATES, layout="rates", adds=True)
def irr(a: Args, o: Options) -> tuple[Array, Array]:
    """Log incidence rate ratio."""
    yi = np.log(a["x1i"] / a["t1i"]) - np.log(a["x2i"] / a["t2i"])
    return yi, 1 / a["x1i"] + 1 / a["x2i"]


@measure("IRD", RATES, layout="rates", adds=True)
def ird(a: Args, o: Options) -> tuple[Array, Array]:
    """Incidence rate difference."""
    x1, x2, t1, t2 = a["x1i"], a["x2i"], a["t1i"], a["t2i"]
    return x1 / t1 - x2 / t2, x1 / t1**2 + x2 / t2**2


@measure("IRSD", RATES, layout="rates")
def irsd(a: Args, o: Options) -> tuple[Array, Array]:
    """Square root transformed incidence rate difference."""
    yi = np.sqrt(a["x1i"] / a["t1i"]) - np.sqrt(a["x2i"] / a["t2i"])
    return yi, 1 / (4 * a["t1i"]) + 1 / (4 * a["t2i"])


@measure("PR", SHARES, rules=COMPLEMENT, layout="proportion", adds=True)
def pr(a: Args, o: Options) -> tuple[Array, Array]:
    """Proportion."""
    x, n = a["xi"], a["ni"]
    return x / n, x * (n - x) / n**3


@measure("PLN", SHARES, rules=COMPLEMENT, layout="proportion", adds=True)
def pln(a: Args, o: Options) -> tuple[Array, Array]:
    """Log proportion."""
    return np.log(a["xi"] / a["ni"]), 1 / a["xi"] - 1 / a["ni"]


@measure("PLO", SHARES, rules=COMPLEMENT, layout="proportion", adds=True)
def plo(a: Args, o: Options) -> tuple[Array, Array]:
    """Logit of a proportion."""
    x, y = a["xi"], a["ni"] - a["xi"]
    return np.log(x / y), 1 / x + 1 / y


@measure("PRZ", SHARES, rules=COMPLEMENT, layout="proportion", adds=True)
def prz(a: Args, o: Options) -> tuple[Array, Array]:
    """Probit of a proportion."""
    x, n = a["xi"], a["ni"]
    z = ndtri(x / n)
    return z, 2 * np.pi * x * (n - x) / n**3 * np.exp(z**2)


@measure("PAS", SHARES, rules=COMPLEMENT, layout="proportion")
def pas(a: Args, o: Options) -> tuple[Array, Array]:
    """Arcsine square root of a proportion."""
    return np.arcsin(np.sqrt(a["xi"] / a["ni"])), 1 / (4 * a["ni"])


@measure("PFT", SHARES, rules=COMPLEMENT, layout="proportion")
def pft(a: Args, o: Options) -> tuple[Array, Array]:
    """Freeman-Tukey double arcsine of a proportion."""
    x, n = a["xi"], a["ni"]
    yi = 0.5 * (np.arcsin(np.sqrt(x / (n + 1))) + np.arcsin(np.sqrt((x + 1) / (n + 1))))
    return yi, 1 / (4 * n + 2)


RATE = {"ti": (lambda x: x > 0, "a person-time above 0")}


@measure("IR", "xi ti", rules=RATE, layout="rate", adds=True)
def ir(a: Args, o: Options) -> tuple[Array, Array]:
    """Incidence rate."""
    return a["xi"] / a["ti"], a["xi"] / a["ti"] ** 2


@measure("IRLN", "xi ti", rules=RATE, layout="rate", adds=True)
def irln(a: Args, o: Options) -> tuple[Array, Array]:
    """Log incidence rate."""
    return np.log(a["xi"] / a["ti"]), 1 / a["xi"]


@measure("IRS", "xi ti", rules=RATE, layout="rate")
def irs(a: Args, o: Options) -> tuple[Array, Array]:
    """Square root of an incidence rate."""
    return np.sqrt(a["xi"] / a["ti"]), 1 / (4 * a["ti"])


@measure("IRFT", "xi ti", rules=RATE, layout="rate")
def irft(a: Args, o: Options) -> tuple[Array, Array]:
    """Freeman-Tukey transformed incidence rate."""
    x, t = a["xi"], a["ti"]
    return 0.5 * (np.sqrt(x / t) + np.sqrt((x + 1) / t)), 1 / (4 * t)
