"""Common effects of two-by-two tables: Mantel-Haenszel and Peto, as metafor's `rma.mh`, `rma.peto`.

A table is ai, bi (cases with and without the event), ci, di (controls with and without).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from nssi_meta.inference.checked import Floats, check_level, column, refuse
from nssi_meta.inference.tests_and_limits import critical, two_sided

Tables = tuple[Floats, Floats, Floats, Floats]


@dataclass(frozen=True)
class CommonEffect:
    """Log odds ratio, log risk ratio or risk difference, and heterogeneity of the tables.

    `MH`, `MHp` (Cochran-Mantel-Haenszel with continuity correction) and `TA`, `TAp` (Tarone) are
    given for the Mantel-Haenszel odds ratio, else None. `k` tables with information. Where events
    are within half a one of their expectation MH squares what falls below 0, as metafor's does
    (R's `mantelhaen.test` leaves the correction out there).
    """

    measure: str
    k: int
    beta: float
    se: float
    zval: float
    pval: float
    ci_lb: float
    ci_ub: float
    QE: float
    QEp: float
    I2: float
    H2: float
    MH: float | None = None
    MHp: float | None = None
    TA: float | None = None
    TAp: float | None = None


def read_tables(
    ai: ArrayLike, bi: ArrayLike, ci: ArrayLike, di: ArrayLike, problems: list[str]
) -> Tables:
    """Check counts (k each); every problem is named at once, `problems` with them."""
    names = ("ai", "bi", "ci", "di")
    cells = [column(x, n, problems) for x, n in zip((ai, bi, ci, di), names, strict=True)]
    if len({len(x) for x in cells}) > 1:
        found = ", ".join(f"{n} {len(x)}" for n, x in zip(names, cells, strict=True))
        problems.append(f"unequal lengths ({found}); remedy: one of each per study")
    elif not len(cells[0]):
        problems.append("there is no table; remedy: give at least one")
    for x, name in zip(cells, names, strict=True):
        for i in np.flatnonzero(x < 0)[:5]:
            problems.append(f"{name}[{i}] = {x[i]:g} is below 0; remedy: counts are 0 or more")
    refuse(problems)
    a, b, c, d = cells
    empty = np.flatnonzero((a + b == 0) | (c + d == 0))
    refuse([f"table {i} has an empty group; remedy: leave the study out" for i in empty[:5]])
    return a, b, c, d


def rma_mh(
    ai: ArrayLike,
    bi: ArrayLike,
    ci: ArrayLike,
    di: ArrayLike,
    measure: Literal["OR", "RR", "RD"] = "OR",
    level: float = 0.95,
) -> CommonEffect:
    """Mantel-Haenszel estimate; no cell is corrected except in Q, where 1/2 is added to all four
    cells of tables with an empty one.

    Errors: Robins, Breslow and Greenland (1986) for OR, Greenland and Robins (1985) for RR, Sato,
    Greenland and Robins (1989) for RD.

    Raises
    ------
    ValueError
        Bad counts, or too few events for an estimate.
    """
    problems: list[str] = []
    check_level(level, problems)
    if measure not in ("OR", "RR", "RD"):
        problems.append(f"measure = {measure!r} is not known; allowed: OR, RR, RD")
    a, b, c, d = read_tables(ai, bi, ci, di, problems)
    n1, n2 = a + b, c + d
    N = n1 + n2
    if measure == "RD":
        top, bottom = a * n2 / N - c * n1 / N, n1 * n2 / N
        total = float(bottom.sum())
        beta = float(top.sum()) / total
        P = c * (n1 / N) ** 2 - a * (n2 / N) ** 2 + n1 * n2 * (n2 - n1) / (2 * N**2)
        bend = float(P.sum())
        spread = beta * bend + float((a * d + c * b).dot(1 / N)) / 2
        variance = spread / total**2
    else:
        R, S = (a * d / N, b * c / N) if measure == "OR" else (a * n2 / N, c * n1 / N)
        r, s = float(R.sum()), float(S.sum())
        if r == 0 or s == 0:
            refuse(["a group has no events in any informative table; remedy: measure='RD'"])
        beta = float(np.log(r / s))
        if measure == "OR":
            P, Q = (a + d) / N, (b + c) / N
            parts = P @ R / r**2 + (P @ S + Q @ R) / (r * s) + Q @ S / s**2
            variance = float(parts) / 2
        else:
            variance = float((n1 * n2 * (a + c) / N**2 - a * c / N).sum()) / (r * s)
    zero = np.where((a == 0) | (b == 0) | (c == 0) | (d == 0), 0.5, 0.0)
    yi, vi = _effects(a + zero, b + zero, c + zero, d + zero, measure)
    # As metafor, tables without any event (or with events only) are not counted in Q.
    counted = (a + c > 0) & (b + d > 0)
    QE = float((((yi - beta) ** 2 / vi)[counted]).sum())
    out = _common(measure, beta, float(np.sqrt(variance)), QE, int(counted.sum()), level)
    return out if measure != "OR" else _tests(out, a, b, c, d)


def _effects(a: Floats, b: Floats, c: Floats, d: Floats, measure: str) -> tuple[Floats, Floats]:
    n1, n2 = a + b, c + d
    if measure == "OR":
        return np.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d
    if measure == "RR":
        return np.log(a / n1 / (c / n2)), 1 / a - 1 / n1 + 1 / c - 1 / n2
    return a / n1 - c / n2, a * b / n1**3 + c * d / n2**3


def _tests(out: CommonEffect, a: Floats, b: Floats, c: Floats, d: Floats) -> CommonEffect:
    """Cochran-Mantel-Haenszel and Tarone's homogeneity test at the common odds ratio."""
    from dataclasses import replace

    from scipy.special import chdtrc

    n1, n2, x, y = a + b, c + d, a + c, b + d
    N = n1 + n2
    gap = abs(float((a - x * n1 / N).sum()))
    MH = (gap - 0.5) ** 2 / float((x * n1 * y * n2 / (N**2 * (N - 1))).sum())
    odds = float(np.exp(out.beta))
    told = (x > 0) & (y > 0)
    a, n1, n2, x = a[told], n1[told], n2[told], x[told]
    # Expected events of the cases given the margins: odds (n1 - e)(x - e) = e (n2 - x + e).
    quad, lin, con = 1 - odds, n2 - x + odds * (n1 + x), -odds * n1 * x
    e = -2 * con / (lin + np.sqrt(lin**2 - 4 * quad * con))
    v = 1 / (1 / e + 1 / (x - e) + 1 / (n1 - e) + 1 / (n2 - x + e))
    TA = max(0.0, float(((a - e) ** 2 / v).sum() - (a - e).sum() ** 2 / v.sum()))
    TAp = float(chdtrc(len(a) - 1, TA)) if len(a) > 1 else 1.0
    return replace(out, MH=MH, MHp=float(chdtrc(1, MH)), TA=TA, TAp=TAp)


def rma_peto(
    ai: ArrayLike, bi: ArrayLike, ci: ArrayLike, di: ArrayLike, level: float = 0.95
) -> CommonEffect:
    """Peto's one-step log odds ratio (Yusuf et al. 1985), for rare events and balanced groups.

    Raises
    ------
    ValueError
        Bad counts, or no table with events and non-events.
    """
    problems: list[str] = []
    check_level(level, problems)
    a, b, c, d = read_tables(ai, bi, ci, di, problems)
    n1, n2, x, y = a + b, c + d, a + c, b + d
    told = (x > 0) & (y > 0)
    if not told.any():
        refuse(["no table has both events and non-events; remedy: measure='RD' of rma_mh"])
    a, n1, n2, x, y = a[told], n1[told], n2[told], x[told], y[told]
    N = n1 + n2
    gap, V = a - x * n1 / N, x * y * n1 * n2 / (N**2 * (N - 1))
    beta = float(gap.sum() / V.sum())
    Q = float((V * (gap / V - beta) ** 2).sum())
    return _common("PETO", beta, float(1 / np.sqrt(V.sum())), Q, len(a), level)


def _common(measure: str, beta: float, se: float, Q: float, k: int, level: float) -> CommonEffect:
    from scipy.special import chdtrc

    if not se > 0:
        refuse(["the tables leave no sampling error; remedy: tables with events and non-events"])
    half, df = critical(level, None) * se, k - 1
    p = float(two_sided(np.asarray(beta / se), None))
    I2 = max(0.0, 100 * (Q - df) / Q) if df > 0 and Q > 0 else 0.0
    return CommonEffect(
        measure=measure, k=k, beta=beta, se=se, zval=beta / se, pval=p, ci_lb=beta - half,
        ci_ub=beta + half, QE=Q if df > 0 else 0.0, QEp=float(chdtrc(df, Q)) if df > 0 else 1.0,
        I2=I2, H2=Q / df if df > 0 else 1.0,
    )  # fmt: skip
