"""Several bounds of one study on one contrast: their joint probability, node by node.

The exact engine asks here where the tables of `block_grid`, faster and with the covariance just
as it is, are too coarse: for small probabilities, and for variances that lie far apart.

Such bounds share the study effect and part of their sampling error, one standard normal f:

    Pr(all bounds) = E_f prod_i [Phi((upper_i - mean_i - l_i f) / d_i) - Phi((lower_i - ...) / d_i)]

where l_i^2 is the row's share of the common part (`blocks.common_part`) and d_i^2 the rest of
tau^2 + omega^2 + s_i^2. Exact rows of the same study
and contrast enter in closed form and leave f ~ N(m, c). What remains is a one-dimensional integral
of a log-concave function, done by the trapezoidal rule on an interval that follows the integrand.
Pure numpy: NUTS keeps f as a parameter instead (`evidence_term`), which is the same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

from nssi_meta.models.blocks import BoundBlocks, Layout, common_part
from nssi_meta.models.likelihood import LOG_2PI, log_interval, normal_logpdf

Floats = NDArray[np.float64]

#: Points of the trapezoidal rule, the fewest that suffice are taken. Its step h is at most
#: STEP / sqrt(1 + R^2), R^2 the sum of the (l_i / d_i)^2: off the real axis the integrand grows as
#: exp((1 + R^2) y^2 / 2), so that the rule errs by 2 exp(-2 pi^2 / (h^2 (1 + R^2))) = 5e-9 at most
#: (Trefethen and Weideman 2014, SIAM Review 56:385).
POINTS = (13, 15, 18, 22, 27, 34, 45, 64, 96, 160, 320)
STEP = 1.0
#: Steeper integrands have edges: Gauss-Legendre of this order on panels that end at multiples of
#: the factors' widths from their edges and from the mode.
N_NODES = 16
AT_EDGES, AT_MODE = (-8.0, -4.0, -1.5, 1.5, 4.0, 8.0), (-4.0, -1.5, 0.0, 1.5, 4.0)
AT_FALL = (-40.0, -20.0, -8.0, -3.0, -1.0, 1.0, 3.0, 8.0, 20.0, 40.0)
#: Newton steps towards the mode, and how many where the last was longer than the integrand is wide.
N_NEWTON, MOST_STEPS = 3, 100
#: Beyond this many standard deviations a tail is its own limit: differences have no digits left.
FAR = 1e5
#: Half-width of the support in standard deviations: the density there
#: is e^(-6^2 / 2) = 2e-8.
REACH = 6.0
#: Values below this are computed again as logarithms.
SMALL = 1e-200
#: Values of the integrand held at once (memory, and what a processor keeps near).
CHUNK = 1_000_000


def bound_blocks(
    layout: Layout, block: BoundBlocks, mean: Floats, tau: Floats, omega: Floats
) -> Floats:
    """Log probability of each block (n, B) at n nodes: `mean`, `tau` (n, k), `omega` (n, 1)."""
    t2 = tau[:, block.first] ** 2
    v = layout.v[block.rows]
    load2 = common_part(t2, v, block.mask, block.rho, np.sqrt)
    rest = _rest(t2, v, block.mask, block.rho, omega[..., None] ** 2)
    n_exact = block.exact.shape[1]
    all_loads = np.sqrt(load2)
    load, d = all_loads[..., n_exact:], np.sqrt(rest[..., n_exact:])
    mu = mean[:, block.bounds]
    values = []
    for p in range(block.signs.shape[1]):
        log_density, centre, sd = _given_exact(layout, block, p, mean, all_loads, rest)
        middle, scale = mu + load * centre[..., None], load / d * sd[..., None]
        probability = np.empty(log_density.shape)
        for b, real in enumerate(block.bounds_mask > 0):
            index = block.bounds[b, real]
            probability[:, b] = _integral(
                _factors(
                    layout.lower[index],
                    layout.upper[index],
                    middle[:, b, real],
                    d[:, b, real],
                    scale[:, b, real],
                )
            )
        values.append(log_density + probability)
    return np.asarray(np.logaddexp.reduce(values, axis=0))


def _rest(t2: Floats, v: Floats, mask: Floats, rho: Floats, omega2: Floats) -> Floats:
    """tau^2 + omega^2 + s_i^2 - l_i^2 (n, B, R), without the cancellation that a large tau brings.

    With c_ij and T_i as in `common_part`, T_i T_j - c_ij^2 = tau^2 rho (s_i - s_j)^2.
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
    rest = omega2 + (1.0 - share) * v + whole * (missing / pairs)[..., None]
    return np.asarray(np.maximum(rest, 1e-12 * v))


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


@dataclass(frozen=True)
class _Factors:
    """The factors of one block's integrand, one- and two-sided bounds apart (cheaper).

    A one-sided bound is Phi(a + r f) after turning its sign (a, r: (n, its rows)); a two-sided one
    is Phi(high - s f) - Phi(low - s f).
    """

    a: Floats
    r: Floats
    low: Floats
    high: Floats
    s: Floats

    def take(self, nodes: NDArray[np.int64]) -> _Factors:
        """The factors at some of the n nodes."""
        return _Factors(*(getattr(self, name)[nodes] for name in ("a", "r", "low", "high", "s")))

    def product(self, f: Floats) -> Floats:
        """The product at f (n, Q); 0 where it is below the smallest number."""
        out = np.ones(f.shape)
        for a, r in zip(self.a.T, self.r.T, strict=True):
            out *= ndtr(a[:, None] + r[:, None] * f)
        for low, high, s in zip(self.low.T, self.high.T, self.s.T, strict=True):
            # Seen from the side of the lower tail, where ndtr keeps its relative precision.
            middle = -np.abs(((low + high) / 2)[:, None] - s[:, None] * f)
            half = ((high - low) / 2)[:, None]
            out *= ndtr(middle + half) - ndtr(middle - half)
        return out

    def log_product(self, f: Floats) -> Floats:
        """Log of the product at f (n, Q), however small."""
        one = log_ndtr(self.a[..., None] + self.r[..., None] * f[:, None])
        shift = self.s[..., None] * f[:, None]
        two = log_interval(self.low[..., None] - shift, self.high[..., None] - shift)
        return np.asarray(one.sum(axis=1) + two.sum(axis=1))

    def slope(self, f: Floats) -> tuple[Floats, Floats]:
        """First derivative and minus the second of the log product at f (n,)."""
        z = self.a + self.r * f[:, None]
        hazard = np.sqrt(2 / np.pi) / erfcx(-z / np.sqrt(2))
        shift = self.s * f[:, None]
        a, b = self.low - shift, self.high - shift
        log_p = log_interval(a, b)
        far = np.maximum(a, -b) > FAR
        da, db = (np.exp(np.where(far, 0.0, -0.5 * (e**2 + LOG_2PI) - log_p)) for e in (a, b))
        bend = np.maximum((da - db) ** 2 - a * da + b * db, 0.0)
        bent = np.where(z < -FAR, 1.0, hazard * (hazard + z))
        pull = np.where(far, np.where(a > 0, a, b), da - db)
        bend = np.where(far, 1.0, bend)
        first = (self.r * hazard).sum(axis=1) + (self.s * pull).sum(axis=1)
        second = (self.r**2 * bent).sum(axis=1) + (self.s**2 * bend).sum(axis=1)
        return first, second

    def panels(self, mode: Floats, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """Points and weights (n, Q) for an integral over left..right (n,) with steep factors."""
        ends = [
            left[:, None],
            right[:, None],
            mode[:, None] + np.array([-3.0, -1.5, 0.0, 1.5, 3.0]),
        ]
        wide = np.abs(self.r)
        for cut, steep in (
            (-self.a / self.r, wide), (self.low / self.s, self.s), (self.high / self.s, self.s)
        ):  # fmt: skip
            ends.append(
                (cut[..., None] + np.array(AT_EDGES) / steep[..., None]).reshape(len(mode), -1)
            )
        for steep in (wide, self.s):
            away = np.array(AT_MODE) / steep[..., None]
            ends.append((mode[:, None, None] + away).reshape(len(mode), -1))
        if np.abs(mode).max() > REACH:  # far out the density of f itself falls steeply
            fall = mode[:, None] + np.array(AT_FALL) / np.maximum(np.abs(mode), REACH)[:, None]
            # At other nodes the panels are empty: a value depends on no other node.
            ends.append(np.where(np.abs(mode)[:, None] > REACH, fall, left[:, None]))
        edges = np.sort(
            np.clip(np.concatenate(ends, axis=1), left[:, None], right[:, None]), axis=1
        )
        x, w = np.polynomial.legendre.leggauss(N_NODES)
        mid, half = (edges[:, 1:] + edges[:, :-1]) / 2, np.diff(edges, axis=1) / 2
        shape = (len(mode), -1)
        points = (mid[..., None] + half[..., None] * x).reshape(shape)
        return points, (half[..., None] * w).reshape(shape)

    def support(self, mode: Floats) -> tuple[Floats, Floats]:
        """Ends (n,) of the interval beyond which the integrand is negligible.

        The log integrand g is concave with g'' <= -1, hence falls by REACH^2 / 2 within REACH of
        its mode. A factor alone cuts its closed side REACH of its own widths beyond its bound (or
        beyond the mode, where that lies outside).
        """
        left, right = mode - REACH, mode + REACH
        for a, r in zip(self.a.T, self.r.T, strict=True):
            cut, width = -a / r, REACH / np.abs(r)
            left = np.where(r > 0, np.maximum(left, np.minimum(cut, mode) - width), left)
            right = np.where(r > 0, right, np.minimum(right, np.maximum(cut, mode) + width))
        for low, high, s in zip(self.low.T, self.high.T, self.s.T, strict=True):
            left = np.maximum(left, np.minimum(low / s, mode) - REACH / s)
            right = np.minimum(right, np.maximum(high / s, mode) + REACH / s)
        return left, right


def _factors(lower: Floats, upper: Floats, centre: Floats, d: Floats, scale: Floats) -> _Factors:
    """Factors of the bounds lower, upper (c,) at n nodes: centre, d, scale (n, c)."""
    two = np.isfinite(lower) & np.isfinite(upper)
    one = ~two
    sign = np.where(np.isfinite(lower[one]), 1.0, -1.0)
    bound = np.where(sign > 0, lower[one], upper[one])
    return _Factors(
        a=sign * (centre[:, one] - bound) / d[:, one],
        r=sign * scale[:, one],
        low=(lower[two] - centre[:, two]) / d[:, two],
        high=(upper[two] - centre[:, two]) / d[:, two],
        s=scale[:, two],
    )


def _integral(factors: _Factors) -> Floats:
    """log E of the product over f ~ N(0, 1), (n,)."""
    mode = _mode(factors)
    left, right = factors.support(mode)
    steep = np.sqrt(1.0 + (factors.r**2).sum(axis=1) + (factors.s**2).sum(axis=1))
    rule_of_node = np.searchsorted(POINTS, (right - left) * steep / STEP + 1.0)
    out = np.empty(len(mode))
    for rule in np.unique(rule_of_node).tolist():
        nodes = np.flatnonzero(rule_of_node == rule)
        few = rule < len(POINTS)
        size = max(1, CHUNK // (POINTS[rule] if few else 40 * N_NODES))
        for some in (nodes[i : i + size] for i in range(0, len(nodes), size)):
            part, low, high = factors.take(some), left[some], right[some]
            if few:
                at, weights = _rule(POINTS[rule])
                width = high - low
                out[some] = _weigh(part, low[:, None] + width[:, None] * at, weights, width)
            else:
                f, weights = part.panels(mode[some], low, high)
                out[some] = _weigh(part, f, weights, np.ones(len(some)))
    return out


def _mode(factors: _Factors) -> Floats:
    """Where the integrand is largest (n,), to within its width."""
    mode = np.zeros(len(factors.a))
    for _ in range(N_NEWTON):
        first, minus_second = factors.slope(mode)
        step = (first - mode) / (1.0 + minus_second)
        mode = mode + step
    left = np.flatnonzero(np.abs(step) * np.sqrt(1.0 + minus_second) > 1.0)
    low, high = np.full(len(left), -np.inf), np.full(len(left), np.inf)
    for _ in range(MOST_STEPS):
        if not left.size:
            return mode
        at, part = mode[left], factors.take(left)
        first, minus_second = part.slope(at)
        step = (first - at) / (1.0 + minus_second)
        # The slope falls all the way: its sign tells the side. A step too far is halved instead.
        low, high = np.where(step > 0, at, low), np.where(step > 0, high, at)
        new = at + step
        outside = (new < low) | (new > high)
        new[outside] = ((low + high) / 2)[outside]
        mode[left] = new
        more = np.abs(step) * np.sqrt(1.0 + minus_second) > 1.0
        left, low, high = left[more], low[more], high[more]
    raise FloatingPointError(
        "the posterior could not be resolved by quadrature: bounds of one study lie too far from "
        "its effects"
    )


@lru_cache(maxsize=len(POINTS))
def _rule(n: int) -> tuple[Floats, Floats]:
    """Points in 0..1 of the trapezoidal rule and weights that sum to 1."""
    weights = np.full(n, 1.0 / (n - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0.0, 1.0, n), weights


def _weigh(factors: _Factors, f: Floats, weights: Floats, width: Floats) -> Floats:
    """Log of the integral (n,) by points `f` (n, Q) with `weights` (Q,) or (n, Q) times `width`."""

    def summed(value: Floats, weights: Floats) -> Floats:
        return value @ weights if weights.ndim == 1 else (value * weights).sum(axis=1)

    total = summed(factors.product(f) * np.exp(-0.5 * f**2), weights)
    peak = np.zeros(len(total))
    tiny = np.flatnonzero(total < SMALL)
    if tiny.size:
        value = factors.take(tiny).log_product(f[tiny]) - 0.5 * f[tiny] ** 2
        peak[tiny] = value.max(axis=-1)
        mine = weights if weights.ndim == 1 else weights[tiny]
        total[tiny] = summed(np.exp(value - peak[tiny, None]), mine)
    # Far beyond any data (1e-300) the ends can meet; the value is then as good as impossible.
    return np.asarray(peak + np.log(np.maximum(width * total, 1e-300)) - 0.5 * LOG_2PI)
