"""The likelihood of a layout of rows in closed form, study effects integrated out, in numpy.

y_i = mean_i + u_j + w_i + e_i with u ~ N(0, tau^2 G), w ~ N(0, omega^2), e ~ N(0, V). Exact rows
of a block are jointly normal; a bound says in which interval the estimate fell; a size without
sign is the sum over both signs. Studies with several bounds on one contrast need an integral:
`bound_blocks`. What NUTS samples is the same in compiled loops with their slopes
(`evidence_kernel`), where the common part of such studies is a parameter.

Not modelled: bounds on *different* contrasts of one study (case versus healthy and versus
patients) count as independent given the means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from nssi_meta.models.blocks import ExactBlocks, Floats, Ints, Layout

LOG_2PI = float(np.log(2 * np.pi))


def normal_logpdf(x: Any, variance: Any) -> Any:
    """Log density of N(0, variance) at x."""
    return -0.5 * (LOG_2PI + np.log(variance) + x**2 / variance)


def log_interval(low: Any, high: Any) -> Any:
    """log(Phi(high) - Phi(low)) for low < high, without cancellation in either tail.

    Both ends are moved to the side of the lower tail first, where the normal distribution
    function keeps its relative precision.
    """
    flip = low + high > 0
    a, b = log_ndtr(np.where(flip, -high, low)), log_ndtr(np.where(flip, -low, high))
    less = np.minimum(a - b, -1e-300)
    with np.errstate(divide="ignore"):  # log(1 - exp(less)), Mächler 2012
        rest = np.where(
            less > -0.6931471805599453, np.log(-np.expm1(less)), np.log1p(-np.exp(less))
        )
    return b + rest


#: A tau that drowns all else leaves a covariance that rounding makes singular: this much more on
#: the diagonal changes the log density by about this times tau squared over the variances.
RIDGE = 1e-14
#: The forms of likelihood that need no integral: rows that stand alone, then blocks.
SINGLE = ("exact", "unsigned", "beyond", "within")
BLOCKS = ("pairs", "alike", "larger")
#: Arrays by name, of one form of row. Rows that stand alone have `v` and `y`, or for a bound
#: `bound` and `sign` (1 for above it) where one end is open, `lower` and `upper` where none is,
#: each (b,). Blocks have the arrays of `blocks.ExactBlocks`, the block as their last axis, and `y`;
#: `alike` ones, whose rows share one study effect, have V = Q diag(d) Q' and z = Q'1 instead of V
#: and G.
Arrays = Mapping[str, Any]


def closed_rows(layout: Layout) -> tuple[dict[str, Arrays], dict[str, Ints]]:
    """The rows that need no integral by the form of their likelihood, and their positions.

    Positions are (b,), of blocks (n, b). Forms without rows are left out.
    """
    y, v, lower, upper = layout.y, layout.v, layout.lower, layout.upper
    rows: dict[str, Arrays] = {}
    place: dict[str, Ints] = {}
    for name, i in (("exact", layout.single_exact), ("unsigned", layout.single_unsigned)):
        rows[name], place[name] = {"v": v[i], "y": y[i]}, i
    i = place["beyond"] = layout.single_beyond
    above = np.isposinf(upper[i])
    bound = np.where(above, lower[i], upper[i])
    rows["beyond"] = {"v": v[i], "bound": bound, "sign": np.where(above, 1.0, -1.0)}
    i = place["within"] = layout.single_within
    rows["within"] = {"v": v[i], "lower": lower[i], "upper": upper[i]}
    if (blocks := layout.exact_blocks) is not None:
        two = blocks.mask.sum(axis=1) == 2
        one = (blocks.mask[:, :, None] * blocks.mask[:, None, :] == blocks.G).all(axis=(1, 2))
        for name, which in zip(BLOCKS, (two, one & ~two, ~one & ~two), strict=True):
            place[name], rows[name] = _part(blocks, which, y, rotated=name == "alike")
    held = [name for name, i in place.items() if i.size]
    return {name: rows[name] for name in held}, {name: place[name] for name in held}


def _part(
    block: ExactBlocks, which: NDArray[np.bool_], y: Floats, rotated: bool
) -> tuple[Ints, dict[str, Floats]]:
    """Some of the blocks, padded no wider and with no more sign patterns than they need."""
    n = int(block.mask[which].sum(axis=1).max(initial=0))
    # Patterns repeat with a period of 2^(number of unsigned rows), see `blocks._signs`.
    needed = np.exp(block.log_weight[which, 0]) * block.signs.shape[1]
    n_patterns = round(float(needed.max(initial=1)))
    rows, mask = block.rows[which, :n], block.mask[which, :n]
    arrays = {
        "y": np.where(mask > 0, y[rows], 0.0),
        "mask": mask,
        "signs": block.signs[which, :n_patterns, :n],
        "log_weight": block.log_weight[which, :n_patterns]
        + np.log(block.signs.shape[1] / n_patterns),
    }
    V = block.V[which, :n, :n]
    if rotated:
        d, Q = np.linalg.eigh(V)
        arrays |= {"Q": Q, "d": d, "z": (Q * mask[:, :, None]).sum(axis=1)}
    else:
        arrays |= {"V": V, "G": block.G[which, :n, :n]}
    return rows.T, {name: np.ascontiguousarray(np.moveaxis(a, 0, -1)) for name, a in arrays.items()}


def _density(name: str, x: Arrays, mean: Any, tau2: Any, omega2: Any) -> Any:
    """Log likelihood (..., b) of the rows `x` of one form, study effects integrated out."""
    if name in BLOCKS:
        return {"pairs": _pairs, "alike": _alike, "larger": _larger}[name](x, mean, tau2, omega2)
    total = x["v"] + tau2 + omega2
    if name == "exact":
        return normal_logpdf(x["y"] - mean, total)
    if name == "unsigned":
        return np.logaddexp(*(normal_logpdf(y - mean, total) for y in (x["y"], -x["y"])))
    sd = np.sqrt(total)
    if name == "beyond":
        return log_ndtr(x["sign"] * (mean - x["bound"]) / sd)
    return log_interval((x["lower"] - mean) / sd, (x["upper"] - mean) / sd)


def _pairs(x: Arrays, mean: Any, tau2: Any, omega2: Any) -> Any:
    """Joint normal density of blocks of two rows, written out."""
    t2, V, G = tau2[..., 0, :], x["V"], x["G"]
    a, b, c = V[0, 0] + omega2, V[1, 1] + omega2, V[0, 1]
    first = a + t2 * G[0, 0]
    slope = (c + t2 * G[0, 1]) / first
    # The determinant by powers of tau^2, none of them negative: nothing cancels where it is large.
    by_t2 = a * G[1, 1] + b * G[0, 0] - 2 * c * G[0, 1]
    by_t4 = G[0, 0] * G[1, 1] - G[0, 1] ** 2
    second = (a * b - c**2 + t2 * (by_t2 + t2 * by_t4)) / first
    y, signs = x["y"], x["signs"]
    values = []
    for p in range(len(signs)):
        a = y[0] * signs[p, 0] - mean[..., 0, :]
        b = y[1] * signs[p, 1] - mean[..., 1, :]
        value = normal_logpdf(a, first) + normal_logpdf(b - slope * a, second)
        values.append(x["log_weight"][p] + value)
    return _sum_patterns(values)


def _alike(x: Arrays, mean: Any, tau2: Any, omega2: Any) -> Any:
    """`_larger` of blocks whose rows share one study effect, by Woodbury's identity (`marginal`).

    It takes a few sums where a determinant and an inverse would cost several times as much.
    """
    Q, z, mask, signs = x["Q"], x["z"], x["mask"], x["signs"]
    t2, variance = tau2[..., 0, :], x["d"] + omega2[..., None]
    weight = 1.0 / variance
    precision = (weight * z**2).sum(axis=-2)
    size = mask.sum(axis=0)
    # Padding is an eigenvalue of 1 somewhere among the others.
    padding = (1.0 - mask).sum(axis=0) * np.log(1.0 + omega2)
    log_det = np.log(variance).sum(axis=-2) - padding + np.log(1.0 + t2 * precision)
    spread = 1.0 / precision + t2
    values = []
    for p in range(len(signs)):
        e = (x["y"] * signs[p] - mean) * mask
        r = (Q * e[..., :, None, :]).sum(axis=-3)
        centre = (weight * z * r).sum(axis=-2) / precision
        within = (weight * (r - z * centre[..., None, :]) ** 2).sum(axis=-2)
        total = size * LOG_2PI + log_det + within + centre**2 / spread
        values.append(x["log_weight"][p] - 0.5 * total)
    return _sum_patterns(values)


def _larger(x: Arrays, mean: Any, tau2: Any, omega2: Any) -> Any:
    """Joint normal density of each block (..., B), summed over the unknown signs."""
    mask, y, V, G, signs = (_last_first(x[a]) for a in ("mask", "y", "V", "G", "signs"))
    n = len(x["mask"])
    t2 = tau2[..., 0, :][..., None, None]
    covariance = V + t2 * G + omega2[..., None, None] * (np.eye(n) * mask[:, :, None])
    chol = np.linalg.cholesky(covariance * (1.0 + RIDGE * np.eye(n)))
    log_det = 2.0 * np.log(np.diagonal(chol, axis1=-2, axis2=-1)).sum(axis=-1)
    mu = mean.swapaxes(-1, -2) * mask
    size = mask.sum(axis=1)
    values = []
    for p in range(len(x["signs"])):
        e = np.linalg.solve(chol, (y * signs[:, p] - mu)[..., None])[..., 0]
        total = size * LOG_2PI + log_det + (e**2).sum(axis=-1)
        values.append(x["log_weight"][p] - 0.5 * total)
    return _sum_patterns(values)


def _last_first(x: Any) -> Any:
    """The last axis as the first."""
    return x.transpose(x.ndim - 1, *range(x.ndim - 1))


def _sum_patterns(values: list[Any]) -> Any:
    out = values[0]
    for value in values[1:]:
        out = np.logaddexp(out, value)
    return out


def closed_terms(layout: Layout, mean: Any, tau2: Any, omega2: Any) -> list[tuple[Ints, Any]]:
    """Log likelihood of the blocks that need no integral: (first row of each block, values).

    `mean` and `tau2` have shape (..., k) (one value a row), `omega2` (..., 1); leading axes
    broadcast. Values are (..., b).
    """
    rows, place = closed_rows(layout)
    made = []
    for name, x in rows.items():
        i = place[name]
        value = _density(name, x, mean[..., i], tau2[..., i], omega2)
        made.append((i if name in SINGLE else i[0], value))
    return made


def log_likelihood(layout: Layout, mean: Any, tau: Any, omega: Any) -> Any:
    """Log likelihood of each block (n, blocks) in `layout.block_rows`' order.

    `mean`, `tau` (n, k) and `omega` (n, 1) at n points of the parameter space.
    """
    out = np.empty((len(mean), len(layout.block_rows)))
    blocks, values = closed_part(layout, mean, tau, omega)
    out[:, blocks] = values
    if layout.bound_blocks is not None:
        blocks, values = integrated_part(layout, mean, tau, omega)
        out[:, blocks] = values
    return out


def closed_part(layout: Layout, mean: Any, tau: Any, omega: Any) -> tuple[Ints, Floats]:
    """Which blocks (b,), in order, need no integral, and their `log_likelihood` (n, b)."""
    terms = closed_terms(layout, mean, tau**2, omega**2)
    if not terms:
        return np.zeros(0, dtype=np.int64), np.zeros((len(mean), 0))
    blocks = layout.block_of_row[np.concatenate([index for index, _ in terms])]
    order = np.argsort(blocks)
    return blocks[order], np.concatenate([value for _, value in terms], axis=-1)[..., order]


def integrated_part(layout: Layout, mean: Any, tau: Any, omega: Any) -> tuple[Ints, Floats]:
    """The same of blocks with several bounds, of which the layout has some."""
    from nssi_meta.models.bound_blocks import bound_blocks

    common = layout.bound_blocks
    assert common is not None
    blocks = layout.block_of_row[common.first]
    order = np.argsort(blocks)
    return blocks[order], bound_blocks(layout, common, mean, tau, omega)[..., order]
