"""The integral over a standard normal f of a product of probabilities given f, node by node.

Each factor is Phi of a line in f or the difference of two (`Factors`); the integrand is log-concave
and its integral done by the trapezoidal rule on an interval that follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

from nssi_meta.models.likelihood import LOG_2PI, log_interval

Floats = NDArray[np.float64]

#: Points of the trapezoidal rule, the fewest that suffice are taken. Its step h is at most
#: STEP / sqrt(1 + R^2), R^2 the sum of the (l_i / d_i)^2: off the real axis the integrand grows as
#: exp((1 + R^2) y^2 / 2), so that the rule errs by 2 exp(-2 pi^2 / (h^2 (1 + R^2))) = 5e-9 at most
#: (Trefethen and Weideman 2014, SIAM Review 56:385).
POINTS = (13, 15, 18, 22, 27, 34, 45, 64, 96, 160, 320)
STEP = 1.0
#: How much longer a point takes of `Factors.slopes` than of the product.
SLOPES = 1.6
#: Steeper integrands have edges: Gauss-Legendre of this order on panels that end at multiples of
#: the factors' widths from their edges and from the mode.
N_NODES = 16
AT_EDGES, AT_MODE = (-8.0, -4.0, -1.5, 1.5, 4.0, 8.0), (-4.0, -1.5, 0.0, 1.5, 4.0)
AT_FALL = (-40.0, -20.0, -8.0, -3.0, -1.0, 1.0, 3.0, 8.0, 20.0, 40.0)
#: Newton steps towards the mode, and how many where the last was longer than the integrand is wide.
N_NEWTON, MOST_STEPS = 2, 100
#: Beyond this many standard deviations a tail is its own limit: differences have no digits left.
FAR = 1e5
#: Half-width of the support in standard deviations: the density there
#: is e^(-6^2 / 2) = 2e-8.
REACH = 6.0
#: Values below this are computed again as logarithms.
SMALL = 1e-200
#: Values of the integrand held at once (memory, and what a processor keeps near).
CHUNK = 50_000


@dataclass(frozen=True)
class Factors:
    """The factors of one block's integrand, one- and two-sided bounds apart (cheaper).

    A one-sided bound is Phi(a + r f) after turning its sign (a, r: (n, its rows)); a two-sided one
    is Phi(high - s f) - Phi(low - s f).
    """

    a: Floats
    r: Floats
    low: Floats
    high: Floats
    s: Floats

    def take(self, nodes: NDArray[np.int64]) -> Factors:
        """The factors at some of the n nodes."""
        return Factors(*(getattr(self, name)[nodes] for name in ("a", "r", "low", "high", "s")))

    def product(self, f: Floats) -> Floats:
        """The product at f (n, Q); 0 where it is below the smallest number."""
        out = np.ones(f.shape)
        for a, r in zip(self.a.T, self.r.T, strict=True):
            z = r[:, None] * f
            z += a[:, None]
            out *= ndtr(z, out=z)
        for low, high, s in zip(self.low.T, self.high.T, self.s.T, strict=True):
            # Seen from the side of the lower tail, where ndtr keeps its relative precision.
            middle = s[:, None] * f
            middle -= ((low + high) / 2)[:, None]
            np.abs(middle, out=middle)
            half = ((high - low) / 2)[:, None]
            z = half - middle
            ndtr(z, out=z)
            middle += half
            z -= ndtr(np.negative(middle, out=middle), out=middle)
            out *= z
        return out

    @property
    def steepness(self) -> Floats:
        """sqrt(1 + R^2) of `STEP` (n,)."""
        return np.asarray(np.sqrt(1.0 + (self.r**2).sum(axis=1) + (self.s**2).sum(axis=1)))

    @property
    def one_way(self) -> bool:
        """Whether all bounds are one-sided, and on one side."""
        if self.s.size or not self.r.size:
            return False
        return bool((self.r > 0).all() or (self.r < 0).all())

    def rise(self, mode: Floats, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """Where (n,) `slopes` of a `one_way` has its weight, given mode and support.

        Half a width more than the product needs: its slope falls later by the hazard.
        """
        cut, width = -self.a / self.r, (REACH + 0.5) / np.abs(self.r)
        if self.r[0, 0] > 0:
            low = np.minimum(cut, mode[:, None]) - width
            return low.max(axis=1), np.minimum(right, (cut + width).max(axis=1))
        high = np.maximum(cut, mode[:, None]) + width
        return np.maximum(left, (cut - width).min(axis=1)), high.min(axis=1)

    def slopes(self, f: Floats) -> Floats:
        """Slope of the product of a `one_way` at f (n, Q), times the probability of f beyond."""
        product, slope = np.ones(f.shape), np.zeros(f.shape)
        for a, r in zip(self.a.T, self.r.T, strict=True):
            z = a[:, None] + r[:, None] * f
            p = ndtr(z)
            slope = slope * p + np.abs(r)[:, None] * product * np.exp(-0.5 * (z**2 + LOG_2PI))
            product *= p
        return slope * ndtr(-f if self.r[0, 0] > 0 else f)

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


def factors(lower: Floats, upper: Floats, centre: Floats, d: Floats, scale: Floats) -> Factors:
    """Factors of the bounds lower, upper (c,) at n nodes: centre, d, scale (n, c)."""
    two = np.isfinite(lower) & np.isfinite(upper)
    one = ~two
    sign = np.where(np.isfinite(lower[one]), 1.0, -1.0)
    bound = np.where(sign > 0, lower[one], upper[one])
    return Factors(
        a=sign * (centre[:, one] - bound) / d[:, one],
        r=sign * scale[:, one],
        low=(lower[two] - centre[:, two]) / d[:, two],
        high=(upper[two] - centre[:, two]) / d[:, two],
        s=scale[:, two],
    )


def log_integral(factors: Factors) -> Floats:
    """log E of the product over f ~ N(0, 1), (n,)."""
    mode = _mode(factors)
    left, right = factors.support(mode)
    n_points = (right - left) * factors.steepness / STEP + 1.0
    out = np.full(len(mode), -np.inf)
    if factors.one_way:
        # By parts: the integral of the product's slope times P(f beyond), which ends at the edges.
        low, high = factors.rise(mode, left, right)
        fewer = (high - low) * factors.steepness / STEP + 1.0
        short = np.flatnonzero((SLOPES * fewer < n_points) & (fewer <= POINTS[-1]))
        for some, f, weights in _points(short, low, high, fewer):
            total = (high - low)[some] * (factors.take(some).slopes(f) @ weights)
            out[some] = np.where(total > SMALL, np.log(np.maximum(total, SMALL)), -np.inf)
    rest = np.flatnonzero(np.isneginf(out))
    for some, f, weights in _points(rest, left, right, n_points):
        out[some] = _weigh(factors.take(some), f, weights, (right - left)[some])
    steep = np.flatnonzero(np.isneginf(out))
    size = max(1, CHUNK // (40 * N_NODES))
    for some in (steep[i : i + size] for i in range(0, len(steep), size)):
        part = factors.take(some)
        f, weights = part.panels(mode[some], left[some], right[some])
        out[some] = _weigh(part, f, weights, np.ones(len(some)))
    return out


def _points(
    nodes: NDArray[np.int64], left: Floats, right: Floats, least: Floats
) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """Some of the nodes at a time with the trapezoidal rule from left to right: points and weights.

    `left`, `right` and the `least` number of points are (n,) of all nodes; those that need more
    points than any rule has are left out.
    """
    rule_of_node = np.searchsorted(POINTS, least[nodes])
    for rule in np.unique(rule_of_node[rule_of_node < len(POINTS)]).tolist():
        at, weights = _rule(POINTS[rule])
        mine = nodes[rule_of_node == rule]
        size = max(1, CHUNK // POINTS[rule])
        for some in (mine[i : i + size] for i in range(0, len(mine), size)):
            width = (right - left)[some, None]
            yield some, left[some, None] + width * at, weights


def _mode(factors: Factors) -> Floats:
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


def _weigh(factors: Factors, f: Floats, weights: Floats, width: Floats) -> Floats:
    """Log of the integral (n,) by points `f` (n, Q) with `weights` (Q,) or (n, Q) times `width`."""

    def summed(value: Floats, weights: Floats) -> Floats:
        return value @ weights if weights.ndim == 1 else (value * weights).sum(axis=1)

    integrand = f * f
    integrand *= -0.5
    np.exp(integrand, out=integrand)
    integrand *= factors.product(f)
    total = summed(integrand, weights)
    peak = np.zeros(len(total))
    tiny = np.flatnonzero(total < SMALL)
    if tiny.size:
        value = factors.take(tiny).log_product(f[tiny]) - 0.5 * f[tiny] ** 2
        peak[tiny] = value.max(axis=-1)
        mine = weights if weights.ndim == 1 else weights[tiny]
        total[tiny] = summed(np.exp(value - peak[tiny, None]), mine)
    # Far beyond any data (1e-300) the ends can meet; the value is then as good as impossible.
    return np.asarray(peak + np.log(np.maximum(width * total, 1e-300)) - 0.5 * LOG_2PI)
