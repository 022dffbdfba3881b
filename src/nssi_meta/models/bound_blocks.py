"""Several bounds of one study on one contrast: their joint probability, for the exact engine.

Such bounds share the study effect and part of their sampling error, one standard normal f:

    Pr(all bounds) = E_f prod_i [Phi((upper_i - mean_i - l_i f) / d_i) - Phi((lower_i - ...) / d_i)]

where l_i^2 is the row's share of the common part (`blocks.common_part`) and d_i^2 the rest of
tau^2 + omega^2 + s_i^2. Exact rows of the same study
and contrast enter in closed form and leave f ~ N(m, c). What remains is a one-dimensional integral
of a log-concave function, done by Gauss-Legendre on an interval that follows the integrand.
Pure numpy: NUTS keeps f as a parameter instead (`evidence_term`), which is the same model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from nssi_meta.models.blocks import BoundBlocks, Layout, common_part
from nssi_meta.models.likelihood import LOG_2PI, log_interval, normal_logpdf
from nssi_meta.models.ops import numpy_ops

Floats = NDArray[np.float64]

#: Gauss-Legendre nodes; error in the log below 2e-5 while l_i < 2 d_i, 1e-4 while l_i < 4 d_i.
N_NODES = 32
#: Newton steps towards the mode; the support only needs it to within a unit.
N_NEWTON = 3
#: Half-width of the support in standard deviations: e^(-5^2 / 2) = 4e-6 is left out at most.
REACH = 5.0

_OPS = numpy_ops()
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_NODES)


def bound_blocks(
    layout: Layout, block: BoundBlocks, mean: Floats, tau: Floats, omega: Floats
) -> Floats:
    """Log probability of each block (n, B) at n nodes: `mean`, `tau` (n, k), `omega` (n, 1)."""
    t2 = tau[:, block.first] ** 2
    v = layout.v[block.rows]
    load2 = common_part(t2, v, block.mask, block.rho, np.sqrt)
    rest = np.maximum(t2[..., None] + omega[..., None] ** 2 + v - load2, 1e-12 * v)
    n_exact = block.exact.shape[1]
    all_loads = np.sqrt(load2)
    load, d = all_loads[..., n_exact:], np.sqrt(rest[..., n_exact:])
    mu = mean[:, block.bounds]
    values = []
    for p in range(block.signs.shape[1]):
        log_density, centre, sd = _given_exact(layout, block, p, mean, all_loads, rest)
        factors = _Factors(
            block.bounds_mask,
            layout.lower[block.bounds],
            layout.upper[block.bounds],
            mu + load * centre[..., None],
            d,
            load / d * sd[..., None],
        )
        values.append(log_density + _integral(factors))
    return np.asarray(np.logaddexp.reduce(values, axis=0))


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
        log_density = log_density + mask * normal_logpdf(gap, spread, _OPS)
        weighted = weighted + mask * load * resid / rest
        precision = precision + mask * load**2 / rest
    return log_density, weighted / precision, 1.0 / np.sqrt(precision)


class _Factors:
    """The factors of the integrand at any f, one- and two-sided bounds apart (cheaper).

    A one-sided bound is Phi(a + r f) after turning its sign; a two-sided one keeps both ends.
    Columns of padded rows belong to neither.
    """

    def __init__(
        self,
        mask: Floats,
        lower: Floats,
        upper: Floats,
        centre: Floats,
        d: Floats,
        scale: Floats,
    ) -> None:
        real = mask > 0
        two = real & np.isfinite(lower) & np.isfinite(upper)
        one = real & ~two
        self.shape = centre.shape[:2]
        self.block_one, self.block_two = np.nonzero(one)[0], np.nonzero(two)[0]
        sign = np.where(np.isfinite(lower[one]), 1.0, -1.0)
        bound = np.where(sign > 0, lower[one], upper[one])
        self.a = sign * (centre[:, one] - bound) / d[:, one]
        self.r = sign * scale[:, one]
        self.low = (lower[two] - centre[:, two]) / d[:, two]
        self.high = (upper[two] - centre[:, two]) / d[:, two]
        self.s = scale[:, two]

    def _sum(self, one: Floats, two: Floats) -> Floats:
        """Sum columns into their blocks: (n, columns, ...) -> (n, B, ...)."""
        out = np.zeros((*self.shape, *one.shape[2:]))
        for values, blocks in ((one, self.block_one), (two, self.block_two)):
            for column, b in enumerate(blocks):
                out[:, b] += values[:, column]
        return out

    def log_product(self, f: Floats) -> Floats:
        """Log of the product at f (n, B, Q)."""
        one = log_ndtr(self.a[..., None] + self.r[..., None] * f[:, self.block_one])
        shift = self.s[..., None] * f[:, self.block_two]
        two = log_interval(self.low[..., None] - shift, self.high[..., None] - shift, _OPS)
        return self._sum(one, two)

    def slope(self, f: Floats) -> tuple[Floats, Floats]:
        """First derivative and minus the second of the log product at f (n, B)."""
        z = self.a + self.r * f[:, self.block_one]
        hazard = np.sqrt(2 / np.pi) / erfcx(-z / np.sqrt(2))
        shift = self.s * f[:, self.block_two]
        a, b = self.low - shift, self.high - shift
        log_p = log_interval(a, b, _OPS)
        da = np.exp(-0.5 * (a**2 + LOG_2PI) - log_p)
        db = np.exp(-0.5 * (b**2 + LOG_2PI) - log_p)
        bend = np.maximum((da - db) ** 2 - a * da + b * db, 0.0)
        first = self._sum(self.r * hazard, self.s * (da - db))
        return first, self._sum(self.r**2 * hazard * (hazard + z), self.s**2 * bend)

    def support(self, mode: Floats) -> tuple[Floats, Floats]:
        """Ends (n, B) of the interval beyond which the integrand is negligible.

        The log integrand g is concave with g'' <= -1, hence falls by REACH^2 / 2 within REACH of
        its mode. A factor alone cuts its closed side REACH of its own widths beyond its bound (or
        beyond the mode, where that lies outside).
        """
        left, right = mode - REACH, mode + REACH
        at = -self.a / self.r
        width = REACH / np.abs(self.r)
        for column, b in enumerate(self.block_one):
            cut, reach, up = at[:, column], width[:, column], self.r[:, column] > 0
            low = np.minimum(cut, mode[:, b]) - reach
            high = np.maximum(cut, mode[:, b]) + reach
            left[:, b] = np.where(up, np.maximum(left[:, b], low), left[:, b])
            right[:, b] = np.where(up, right[:, b], np.minimum(right[:, b], high))
        for column, b in enumerate(self.block_two):
            s = self.s[:, column]
            low = np.minimum(self.low[:, column] / s, mode[:, b]) - REACH / s
            high = np.maximum(self.high[:, column] / s, mode[:, b]) + REACH / s
            left[:, b], right[:, b] = np.maximum(left[:, b], low), np.minimum(right[:, b], high)
        return left, right


def _integral(factors: _Factors) -> Floats:
    """log E of the product over f ~ N(0, 1), (n, B)."""
    mode = np.zeros(factors.shape)
    for _ in range(N_NEWTON):
        first, minus_second = factors.slope(mode)
        mode = mode + (first - mode) / (1.0 + minus_second)
    left, right = factors.support(mode)
    half = (right - left) / 2
    f = left[..., None] + half[..., None] * (1.0 + _NODES)
    value = factors.log_product(f) - 0.5 * f**2
    peak = value.max(axis=-1)
    total = np.exp(value - peak[..., None]) @ _WEIGHTS
    # Far beyond any data (1e-300) the ends can meet; the value is then as good as impossible.
    return np.asarray(peak + np.log(np.maximum(half * total, 1e-300)) - 0.5 * LOG_2PI)
