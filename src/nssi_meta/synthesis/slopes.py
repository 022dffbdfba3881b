"""One slope in a pool with bounds: its posterior, the mean effect along it, limits for many.

Under y_i = mu + b x_i + ... the rows y_i - b x_i (a bound's ends likewise) are an ordinary pool, so
its evidence over b, times the prior of b, is the posterior of b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from nssi_meta.evidence.units import outcome_unit
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.densities import Density, PanelDensity
from nssi_meta.inference.exact import ExactPosterior, fit_exact, has_omega
from nssi_meta.inference.on_line import Line, on_line
from nssi_meta.inference.prediction import Predictive
from nssi_meta.models.blocks import layout
from nssi_meta.synthesis.cells import Options

Floats = NDArray[np.float64]

#: Prior SD of a slope (one SD of the number) and of a contrast, as in `regress`.
BETA_SD = 1.0
#: Points of a curve's distribution functions; points of a node's own table and what lies outside.
_GRID, _TABLE, _OUTSIDE = 400, 80, 1e-10


def slope(
    rows: pd.DataFrame,
    x: Floats,
    options: Options,
    n_jobs: int,
) -> Line[ExactPosterior]:
    """The posterior of the slope of `x` (k,), with the pool at every node.

    `rows` have signs. Raises ValueError where the priors are improper: there is no evidence to
    compare then.
    """
    nested = has_omega(rows["study_id"].to_numpy())
    unit = outcome_unit(options.measure, rows, options.left(nested))
    mu, tau, omega = options.in_unit(unit, options.priors())
    # Covariances do not depend on where the rows stand: one layout serves every slope.
    laid = layout(rows, partial(vcalc, rho=options.rho), options.rho)
    within = omega if nested else None
    n = rows.loc[rows["kind"] != "interval", "study_id"].nunique()

    def at(b: float) -> tuple[float, ExactPosterior]:
        shift = b * x
        moved = replace(laid, y=laid.y - shift, lower=laid.lower - shift, upper=laid.upper - shift)
        found = fit_exact(moved, mu_prior=mu, tau_prior=tau, omega_prior=within, n_studies=n)
        if found.log_evidence is None:
            raise ValueError("a slope needs proper priors: flat ones have no evidence to compare")
        return float(found.log_evidence) - 0.5 * (b / BETA_SD) ** 2, found

    return on_line(at, BETA_SD, n_jobs)


def described(found: Line[ExactPosterior], level: float, unit: float) -> dict[str, float]:
    """Median, central interval and P(> 0) of `unit` times the slope."""
    tail = (1 - level) / 2
    median, low, high = (unit * found.quantile(p) for p in (0.5, tail, 1 - tail))
    return {"median": median, "low": low, "high": high, "p_positive": 1 - found.cdf(0.0)}


def jointly(found: Line[ExactPosterior], level: float, unit: float, n: int) -> tuple[float, float]:
    """Limits of `unit` times the slope that hold together with those of n - 1 others.

    Each has posterior probability 1 - (1 - level) / n, so that all n lie within theirs with
    probability `level` at least, whatever their dependence (Boole's inequality). Contrasts of one
    category depend on each other, those of several moderators come from models of their own that
    have no joint posterior; knowing the dependence would shorten the limits by 2 to 3%.
    """
    tail = (1 - level) / (2 * n)
    return unit * found.quantile(tail), unit * found.quantile(1 - tail)


def means_along(
    found: Line[ExactPosterior], at: Iterable[float], options: Options
) -> list[dict[str, float]]:
    """Mean effect and effect in a new setting at every x of `at`: mixtures over the slope's nodes.

    Keys median, low, high, pred_low, pred_high.
    """
    where = list(at)
    out: list[dict[str, float]] = [{} for _ in where]
    tail = (1 - options.level) / 2
    for which, ends in (("mu", ("low", "high")), ("prediction", ("pred_low", "pred_high"))):
        parts: list[Density] = [getattr(post, which) for post in found.values]
        edges = np.array([[p.quantile(q) for q in (1e-3, 0.999)] for p in parts])
        tables = [_table(p) for p in parts]
        for line, x in zip(out, where, strict=True):
            moved = edges + (found.nodes * x)[:, None]
            grid = np.linspace(moved.min(), moved.max(), _GRID)
            cdf = np.zeros(_GRID)
            for weight, shift, table in zip(found.weight, found.nodes * x, tables, strict=True):
                cdf += weight * table(grid - shift)
            low, median, high = (float(np.interp(q, cdf, grid)) for q in (tail, 0.5, 1 - tail))
            if which == "mu":
                line["median"] = median
            line |= dict(zip(ends, (low, high), strict=True))
    return out


def _table(density: Density) -> Callable[[Floats], Floats]:
    """The distribution function; of a mixture of thousands of normals, which is dear to ask again
    and again, by cubic Hermite pieces through its values and its density, narrow in its bulk (off
    by 2e-6 at most, seen).
    """
    if isinstance(density, PanelDensity):
        return density.cdf
    tail, middle = _OUTSIDE, 0.5
    low, below, centre, above, high = (
        density.quantile(q) for q in (tail, middle / 2, middle, 1 - middle / 2, 1 - tail)
    )
    width = (above - below) / 2
    x = centre + width * np.sinh(
        np.linspace(np.arcsinh((low - centre) / width), np.arcsinh((high - centre) / width), _TABLE)
    )
    x[[0, -1]] = low, high
    if isinstance(density, Predictive):
        values, slopes = density.cdf_and_pdf(x)
    else:
        values, slopes = density.cdf(x), density.pdf(x)
    pieces = CubicHermiteSpline(x, values, slopes)

    def cdf(at: Floats) -> Floats:
        inside = np.asarray(pieces(np.minimum(np.maximum(at, low), high)))
        return np.where(at < low, 0.0, np.where(at > high, 1.0, inside))

    return cdf


__all__ = ["BETA_SD", "described", "jointly", "means_along", "slope"]
