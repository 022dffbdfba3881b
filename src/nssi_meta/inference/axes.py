"""Where quadrature looks: the axis of every parameter, and its first panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.conditions import Tails, limiting
from nssi_meta.inference.densities import Axis, half_line, log_line, real_line
from nssi_meta.inference.panels import LIGHT_FALL, with_tails
from nssi_meta.models.blocks import Layout
from nssi_meta.models.priors import Prior

Floats = NDArray[np.float64]

_SD_START = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
_MU_START = np.array([-1.0, -0.8, -0.5, -0.25, 0.0, 0.25, 0.5, 0.8, 1.0])
#: A prior that reaches further than this many times the data's scale is wide: between the two the
#: posterior falls as a power, and what holds next to no probability may hold all of the variance.
_WIDE = 10.0
#: A prior narrower than this share of its axis' scale is a spike.
_SPIKE = 1e-3
#: First panels of log(tau / scale): dense where the typical standard error is, and far enough up
#: for the moments of a tail that holds next to no probability.
_LOG_START = np.array([-40.0, -12.0, -5.0, -2.0, 0.0, 2.0, 6.0, 12.0, 30.0, 90.0])
#: Largest log tau with several bounds of one study: the product of four variances is a number.
_LOG_BLOCKS = 160.0


def sd_axis(prior: Prior, layout: Layout, scale: float) -> tuple[Axis, Floats]:
    """Axis of a standard deviation and its first panels.

    Products of several rows' variances must be numbers, and covariances of sizes without a sign are
    factorised as they are: tau stays below 1e6 standard errors there, which leaves out up to 1e-4
    of a log-Student-t.
    """
    if prior.family.log_axis:
        blocks, top = layout.exact_blocks, 345.0
        if layout.bound_blocks is not None:
            top = _LOG_BLOCKS
        if blocks is not None and blocks.signs.shape[1] > 1:
            top = 0.5 * np.log(1e12 * layout.v.min())
        axis = log_line(scale, max(top, np.log(scale) + 7.0))
        inner = np.unique(axis.to_u(scale * np.exp(_LOG_START)))
        return axis, np.unique([axis.low, *inner, axis.high])
    if is_wide(prior, scale):
        return wide_axis(prior, scale)
    axis = half_line(scale)
    return axis, sd_start(prior, axis)


def heavy_sd_axis(
    prior: Prior, layout: Layout, scale: float, fall: float, own: float
) -> tuple[Axis, Floats]:
    """`sd_axis` of a density that falls as x^-`fall`, so that its moments are resolved too.

    The likelihood alone falls as x^-`own` at the least: so does the density as far as a wide prior
    reaches, however light that is beyond.
    """
    axis, first = sd_axis(prior, layout, scale)
    slow = own if is_wide(prior, scale) else np.inf
    return with_tails(axis, np.inf, fall, prior.family.log_axis, slow), first


def is_wide(prior: Prior, scale: Floats | float) -> NDArray[np.bool_]:
    """Whether a prior leaves the posterior to the likelihood far beyond each data's scale."""
    return np.asarray(reach(prior) > _WIDE * np.asarray(scale))


def reach(prior: Prior) -> float:
    """How far a prior goes before it falls by itself; 0 where it has no length of its own."""
    if prior.name in ("lognormal", "lognormal2"):
        meanlog, sdlog = prior.params
        far = (meanlog + 3.0 * sdlog) / (2.0 if prior.name == "lognormal2" else 1.0)
        return float(np.exp(min(far, 700.0)))
    if prior.family.log_axis or not prior.params or not np.isfinite(prior.params[-1]):
        return 0.0
    return prior.params[-1]


def wide_axis(prior: Prior, scale: float) -> tuple[Axis, Floats]:
    """A half line on the length of a wide prior, where numbers keep their digits all the way.

    First panels as on the data's length, one per power of ten from there to the prior's.
    """
    far = reach(prior)
    axis = half_line(far)
    bulk = half_line(scale).to_x(_SD_START[1:-1])
    steps = scale * 10.0 ** np.arange(2.0, np.log10(far / scale) - 0.3)
    beyond = _SD_START[_SD_START >= 0.5]
    ends = [] if prior.name != "uniform" else [axis.to_u(np.asarray(prior.params[0]))]
    near = axis.to_u(np.concatenate([bulk, steps]))
    return axis, np.unique(np.concatenate([[0.0], near[near < 0.4], *map(np.ravel, ends), beyond]))


def sd_start(prior: Prior, axis: Axis) -> Floats:
    """First panels on a half line: edges of the prior's support are edges, and so is its scale."""
    if prior.name != "uniform":
        if not prior.params:
            return _SD_START
        # A prior far narrower than the errors is a spike that the first panels would step over;
        # from its scale (the last parameter) up, a panel per power of ten.
        scale, first = prior.params[-1], float(axis.to_x(_SD_START[1]))
        if scale > _SPIKE * first or not np.isfinite(first):
            return _SD_START
        steps = np.concatenate([[0.3], 10.0 ** np.arange(np.ceil(np.log10(first / scale)))])
        return np.unique(np.concatenate([_SD_START, axis.to_u(scale * steps)]))
    ends = [axis.to_u(np.asarray(p)) for p in prior.params if np.isfinite(p)]
    return np.unique([*_SD_START, *(float(u) for u in ends)])


def tau_scale(layout: Layout) -> float:
    """A length for the tau axis: the typical standard error, or the spread if that is larger."""
    y = layout.y[np.isfinite(layout.y)]
    spread = float(np.std(y)) if len(y) > 1 else 0.0
    return max(spread, float(np.sqrt(np.median(layout.v))))


def mu_axis(layout: Layout, prior: Prior, scale: float, far: float = 0.0) -> tuple[Axis, Floats]:
    """Axis of mu and its first panels, from the exact effects and the bounds' finite ends.

    Up to `far` from the middle there is a panel per power of ten.
    A size without sign has a mode on either side of 0: both are panel edges, so that neither can
    be missed.
    """
    ends = np.concatenate([layout.y, layout.lower, layout.upper])
    ends = ends[np.isfinite(ends)]
    unsigned = _unsigned_sizes(layout)
    if unsigned.size:
        ends = np.concatenate([ends, -ends])
    spread = max(float(np.std(ends)), scale)
    if prior.name == "normal":
        spread = min(spread, max(prior.params[1], scale))
    axis = real_line(float(np.median(ends)), spread)
    start = [_MU_START]
    if unsigned.size:
        modes = np.unique(unsigned)[:: max(1, len(unsigned) // 8)]
        start.append(axis.to_u(np.concatenate([-modes, modes])))
    if prior.params and prior.params[-1] < _SPIKE * spread < np.inf:
        # As for tau: a spike between the first nodes would never be seen.
        centre, width = prior.params[-2:]
        steps = width * 10.0 ** np.arange(np.ceil(np.log10(0.1 * spread / width)))
        start.append(axis.to_u(centre + np.concatenate([-steps, steps])))
    if far > _WIDE * spread:
        steps = spread * 10.0 ** np.arange(1.0, min(np.log10(far / spread), 8.0) + 0.7)
        start.append(axis.to_u(float(np.median(ends)) + np.concatenate([-steps, steps])))
    return axis, _MU_START if len(start) == 1 else np.unique(np.concatenate(start))


def heavy_mu_axis(
    layout: Layout, prior: Prior, others: Sequence[Prior], scale: float, fall: Tails
) -> tuple[Axis, Floats]:
    """`mu_axis` with its tails resolved: mu goes as far as its prior and heterogeneity let it.

    `others` are the priors of heterogeneity, `fall` the posterior's tails.
    """
    far, studies = reach(prior) if prior.proper else np.inf, limiting(layout)[0]
    if studies or (np.isfinite(layout.lower).any() and np.isfinite(layout.upper).any()):
        far = min(far, max((reach(p) for p in others), default=0.0))
    wide = far > _WIDE * scale and studies - 1 <= LIGHT_FALL
    axis, first = mu_axis(layout, prior, scale, far if wide else 0.0)
    return with_tails(axis, fall.mu_low, fall.mu_high, slow=0.0 if wide else np.inf), first


def _unsigned_sizes(layout: Layout) -> Floats:
    """Sizes of the rows whose sign is unknown, wherever they stand."""
    index = [layout.single_unsigned]
    for block, rows in (
        (layout.exact_blocks, None if layout.exact_blocks is None else layout.exact_blocks.rows),
        (layout.bound_blocks, None if layout.bound_blocks is None else layout.bound_blocks.exact),
    ):
        if block is not None and rows is not None and rows.size:
            index.append(rows[(block.signs < 0).any(axis=1)])
    return np.abs(layout.y[np.concatenate(index)])
