"""The likelihood of a layout of rows in closed form, study effects integrated out.

y_i = mean_i + u_j + w_i + e_i with u ~ N(0, tau^2 G), w ~ N(0, omega^2), e ~ N(0, V). Exact rows
of a block are jointly normal; a bound says in which interval the estimate fell; a size without
sign is the sum over both signs. Written against an `Ops`, for numpy and PyTensor alike. Studies
with several bounds on one contrast need an integral: `bound_blocks` (numpy) or a parameter
(`evidence_term`, NUTS).

Not modelled: bounds on *different* contrasts of one study (case versus healthy and versus
patients) count as independent given the means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import ExactBlocks, Floats, Ints, Layout
from nssi_meta.models.ops import Ops, static_shape

LOG_2PI = float(np.log(2 * np.pi))


def normal_logpdf(x: Any, variance: Any, ops: Ops) -> Any:
    """Log density of N(0, variance) at x."""
    return -0.5 * (LOG_2PI + ops.log(variance) + x**2 / variance)


def log_interval(low: Any, high: Any, ops: Ops) -> Any:
    """log(Phi(high) - Phi(low)) for low < high, without cancellation in either tail.

    Both ends are moved to the side of the lower tail first, where the normal distribution
    function keeps its relative precision.
    """
    flip = low + high > 0
    a = ops.where(flip, -high, low)
    b = ops.where(flip, -low, high)
    return ops.log_difference(a, b)


#: The forms of likelihood that need no integral: rows that stand alone, then blocks.
SINGLE = ("exact", "unsigned", "beyond", "within")
BLOCKS = ("pairs", "alike", "larger")
#: Arrays by name, of one form of row. Rows that stand alone have `v` and `y`, or for a bound
#: `bound` and `sign` (1 for above it) where one end is open, `lower` and `upper` where none is,
#: each (b,). Blocks have the arrays of `blocks.ExactBlocks`, the block as their last axis, and `y`;
#: `alike` ones, whose rows share one study effect, have V = Q diag(d) Q' and z = Q'1 instead of V
#: and G.
Arrays = Mapping[str, Any]
#: Mean and tau squared at the rows of one form: (..., b), of blocks (..., n, b).
At = Callable[[str], tuple[Any, Any]]


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


def closed_densities(rows: Mapping[str, Arrays], at: At, omega2: Any, ops: Ops) -> dict[str, Any]:
    """Log likelihood (..., b) of rows of each form, study effects integrated out.

    `rows` as in `closed_rows`, of numpy or nodes of a PyMC model. Leading axes broadcast. `omega2`
    (..., 1); tau2 and omega2 are variances on the effect-size scale.
    """
    made = {}
    for name, x in rows.items():
        mean, tau2 = at(name)
        if name in BLOCKS:
            form = {"pairs": _pairs, "alike": _alike, "larger": _larger}[name]
            made[name] = form(x, mean, tau2, omega2, ops)
            continue
        total = x["v"] + tau2 + omega2
        if name == "exact":
            made[name] = normal_logpdf(x["y"] - mean, total, ops)
        elif name == "unsigned":
            plus, minus = (normal_logpdf(y - mean, total, ops) for y in (x["y"], -x["y"]))
            made[name] = ops.logaddexp(plus, minus)
        elif name == "beyond":
            made[name] = ops.log_ndtr(x["sign"] * (mean - x["bound"]) / ops.sqrt(total))
        else:
            sd = ops.sqrt(total)
            made[name] = log_interval((x["lower"] - mean) / sd, (x["upper"] - mean) / sd, ops)
    return made


def _pairs(x: Arrays, mean: Any, tau2: Any, omega2: Any, ops: Ops) -> Any:
    """Joint normal density of blocks of two rows, written out: NUTS spends its time here."""
    t2, V, G = tau2[..., 0, :], x["V"], x["G"]
    first = V[0, 0] + t2 * G[0, 0] + omega2
    slope = (V[0, 1] + t2 * G[0, 1]) / first
    second = V[1, 1] + t2 * G[1, 1] + omega2 - slope**2 * first
    y, signs = x["y"], x["signs"]
    values = []
    for p in range(static_shape(signs)[0]):
        a = y[0] * signs[p, 0] - mean[..., 0, :]
        b = y[1] * signs[p, 1] - mean[..., 1, :]
        value = normal_logpdf(a, first, ops) + normal_logpdf(b - slope * a, second, ops)
        values.append(x["log_weight"][p] + value)
    return _sum_patterns(values, ops)


def _alike(x: Arrays, mean: Any, tau2: Any, omega2: Any, ops: Ops) -> Any:
    """`_larger` of blocks whose rows share one study effect, by Woodbury's identity (`marginal`).

    It takes a few sums where a determinant and an inverse would cost several times as much.
    """
    Q, z, mask, signs = x["Q"], x["z"], x["mask"], x["signs"]
    t2, variance = tau2[..., 0, :], x["d"] + omega2[..., None]
    weight = 1.0 / variance
    precision = (weight * z**2).sum(axis=-2)
    size = mask.sum(axis=0)
    # Padding is an eigenvalue of 1 somewhere among the others.
    padding = (1.0 - mask).sum(axis=0) * ops.log(1.0 + omega2)
    log_det = ops.log(variance).sum(axis=-2) - padding + ops.log(1.0 + t2 * precision)
    spread = 1.0 / precision + t2
    values = []
    for p in range(static_shape(signs)[0]):
        e = (x["y"] * signs[p] - mean) * mask
        r = (Q * e[..., :, None, :]).sum(axis=-3)
        centre = (weight * z * r).sum(axis=-2) / precision
        # The mean is where this sum of squares is least, so that no gradient goes through it.
        within = (weight * (r - z * ops.held(centre)[..., None, :]) ** 2).sum(axis=-2)
        total = size * LOG_2PI + log_det + within + centre**2 / spread
        values.append(x["log_weight"][p] - 0.5 * total)
    return _sum_patterns(values, ops)


def _larger(x: Arrays, mean: Any, tau2: Any, omega2: Any, ops: Ops) -> Any:
    """Joint normal density of each block (..., B), summed over the unknown signs."""
    mask, y, V, G, signs = (_last_first(x[a]) for a in ("mask", "y", "V", "G", "signs"))
    n = static_shape(x["mask"])[0]
    t2 = tau2[..., 0, :][..., None, None]
    log_det, square = ops.gaussian(
        V + t2 * G + omega2[..., None, None] * (np.eye(n) * mask[:, :, None])
    )
    mu = mean.swapaxes(-1, -2) * mask
    size = mask.sum(axis=1)
    values = []
    for p in range(static_shape(x["signs"])[0]):
        quad = square(y * signs[:, p] - mu)
        values.append(x["log_weight"][p] - 0.5 * (size * LOG_2PI + quad + log_det))
    return _sum_patterns(values, ops)


def _last_first(x: Any) -> Any:
    """The last axis as the first."""
    return x.transpose(x.ndim - 1, *range(x.ndim - 1))


def _sum_patterns(values: list[Any], ops: Ops) -> Any:
    out = values[0]
    for value in values[1:]:
        out = ops.logaddexp(out, value)
    return out


def closed_terms(
    layout: Layout, mean: Any, tau2: Any, omega2: Any, ops: Ops
) -> list[tuple[Ints, Any]]:
    """Log likelihood of the blocks that need no integral: (first row of each block, values).

    `mean` and `tau2` have shape (..., k) (one value a row), `omega2` (..., 1); leading axes
    broadcast. Values are (..., b).
    """
    rows, place = closed_rows(layout)

    def at(name: str) -> tuple[Any, Any]:
        return mean[..., place[name]], tau2[..., place[name]]

    values = closed_densities(rows, at, omega2, ops)
    return [(place[name] if name in SINGLE else place[name][0], values[name]) for name in values]


def log_likelihood(layout: Layout, mean: Any, tau: Any, omega: Any) -> Any:
    """Log likelihood of each block (n, blocks) in `layout.block_rows`' order, in numpy.

    `mean`, `tau` (n, k) and `omega` (n, 1) at n points of the parameter space.
    """
    from nssi_meta.models.bound_blocks import bound_blocks
    from nssi_meta.models.ops import numpy_ops

    terms = closed_terms(layout, mean, tau**2, omega**2, numpy_ops())
    if layout.bound_blocks is not None:
        first = layout.bound_blocks.first
        terms.append((first, bound_blocks(layout, layout.bound_blocks, mean, tau, omega)))
    order = np.argsort(layout.block_of_row[np.concatenate([index for index, _ in terms])])
    return np.concatenate([value for _, value in terms], axis=-1)[..., order]
