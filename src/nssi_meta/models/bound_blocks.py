"""Several bounds of one study on one contrast: their joint probability, node by node.

The exact engine asks here where the tables of `block_grid`, faster and with the covariance just
as it is, are too coarse: for small probabilities, and for variances that lie far apart.

Such bounds share the study effect and part of their sampling error, one standard normal f:

    Pr(all bounds) = E_f prod_i [Phi((upper_i - mean_i - l_i f) / d_i) - Phi((lower_i - ...) / d_i)]

where l_i^2 is the row's share of the common part (`blocks.common_part`) and d_i^2 the rest of
tau^2 + omega^2 + s_i^2. Exact rows of the same study and contrast enter in closed form and leave
f ~ N(m, c). What remains is a one-dimensional integral (`bound_integral`). Pure numpy: NUTS keeps f
as a parameter instead (`evidence_term`), which is the same model.
"""

from __future__ import annotations

import numpy as np

from nssi_meta.models.blocks import BoundBlocks, Floats, Layout
from nssi_meta.models.bound_integral import factors, log_integral
from nssi_meta.models.likelihood import normal_logpdf


def bound_blocks(
    layout: Layout, block: BoundBlocks, mean: Floats, tau: Floats, omega: Floats
) -> Floats:
    """Log probability of each block (n, B) at n nodes: `mean`, `tau` (n, k), `omega` (n, 1)."""
    each = (block.alone(b) for b in range(len(block.rho)))
    return np.concatenate([_one_block(layout, one, mean, tau, omega) for one in each], axis=1)


def _one_block(
    layout: Layout, block: BoundBlocks, mean: Floats, tau: Floats, omega: Floats
) -> Floats:
    """`bound_blocks` (n, 1) of a single block without padding."""
    t2 = tau[:, block.first] ** 2
    v = layout.v[block.rows]
    load2, rest = common_and_rest(t2, v, block.mask, block.rho, omega[..., None] ** 2)
    n_exact = block.exact.shape[1]
    all_loads = np.sqrt(load2)
    load, d = all_loads[..., n_exact:], np.sqrt(rest[..., n_exact:])
    mu, index = mean[:, block.bounds], block.bounds[0]
    lower, upper = layout.lower[index], layout.upper[index]
    values = []
    for p in range(block.signs.shape[1]):
        log_density, centre, sd = _given_exact(layout, block, p, mean, all_loads, rest)
        middle, scale = mu + load * centre[..., None], load / d * sd[..., None]
        probability = log_integral(factors(lower, upper, middle[:, 0], d[:, 0], scale[:, 0]))
        values.append(log_density + probability[:, None])
    return np.asarray(np.logaddexp.reduce(values, axis=0))


def common_and_rest(
    t2: Floats, v: Floats, mask: Floats, rho: Floats, omega2: Floats
) -> tuple[Floats, Floats]:
    """l_i^2 of `blocks.common_part` and the rest tau^2 + omega^2 + s_i^2 - l_i^2 (n, B, R), without
    the cancellation that a large tau brings.

    With c_ij and T_i as there, T_i T_j - c_ij^2 = tau^2 rho (s_i - s_j)^2.
    """
    share = rho[:, None] + 1e-12
    whole, s = t2[..., None] + share * v, np.sqrt(v)
    missing: Floats = np.zeros_like(t2)
    pairs = np.zeros(len(v))
    for i in range(v.shape[1]):
        for j in range(i):
            both = mask[:, i] * mask[:, j]
            c = t2 + share[:, 0] * s[:, i] * s[:, j]
            root = np.sqrt(whole[..., i] * whole[..., j])
            gap = t2 * share[:, 0] * (s[:, i] - s[:, j]) ** 2
            missing = missing + both * gap / (root * (root + c))
            pairs = pairs + both
    lacks = (missing / pairs)[..., None]
    rest = omega2 + (1.0 - share) * v + whole * lacks
    return whole * (1.0 - lacks), np.maximum(rest, 1e-12 * v)


def _given_exact(
    layout: Layout, block: BoundBlocks, p: int, mean: Floats, loads: Floats, rests: Floats
) -> tuple[Floats, Floats, Floats]:
    """Log density of a block's exact rows, and mean and SD of f given them (all (n, B))."""
    shape = loads.shape[:2]
    precision, weighted = np.ones(shape), np.zeros(shape)
    log_density = np.broadcast_to(block.log_weight[:, p], shape)
    for j in range(block.exact.shape[1]):
        index, mask = block.exact[:, j], block.exact_mask[:, j]
        load, rest = loads[..., j], rests[..., j]
        resid = np.nan_to_num(layout.y[index]) * block.signs[:, p, j] - mean[:, index]
        # f | rows so far ~ N(weighted / precision, 1 / precision): predict, then update.
        gap, spread = resid - load * weighted / precision, rest + load**2 / precision
        log_density = log_density + mask * normal_logpdf(gap, spread)
        weighted = weighted + mask * load * resid / rest
        precision = precision + mask * load**2 / rest
    return log_density, weighted / precision, 1.0 / np.sqrt(precision)
