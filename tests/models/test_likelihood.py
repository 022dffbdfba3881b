"""The likelihood of a layout against densities and probabilities computed another way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp

from nssi_meta.models.blocks import layout
from nssi_meta.models.likelihood import closed_terms, log_likelihood

INF = np.inf


def ours(data, mean, tau, omega):
    """Per block at one point; `mean` a number or one a row."""
    m = np.broadcast_to(np.asarray(mean, dtype=float), (1, data.k))
    t = np.broadcast_to(np.asarray(tau, dtype=float), (1, data.k))
    return log_likelihood(data, m, t, np.array([[float(omega)]]))[0]


def one_factor(v, rho, tau, omega):
    """Covariance of a block as documented: c_ij = tau^2 + rho s_i s_j, for three rows and more
    matched in the mean over pairs of c_ij / sqrt(T_i T_j), T_i = tau^2 + rho v_i."""
    c = tau**2 + rho * np.sqrt(np.outer(v, v))
    whole = tau**2 + (rho + 1e-12) * v
    share = c / np.sqrt(np.outer(whole, whole)) if tau or rho else np.eye(len(v))
    kappa = share[np.triu_indices(len(v), 1)].mean()
    cov = kappa * np.sqrt(np.outer(whole, whole))
    np.fill_diagonal(cov, tau**2 + omega**2 + v)
    return cov


def block_oracle(frame, rho, mean, tau, omega):
    """log p(exact rows) + log Pr(bounds | exact rows), summed over unknown signs."""
    v = frame["vi"].to_numpy()
    mean = np.broadcast_to(mean, len(frame))
    cov = one_factor(v, rho, tau, omega)
    kind = frame["kind"].to_numpy()
    e, b = np.flatnonzero(kind != "interval"), np.flatnonzero(kind == "interval")
    free = [(1.0, -1.0) if kind[i] == "unsigned" else (1.0,) for i in e]
    parts = []
    for signs in itertools.product(*free):
        y = frame["yi"].to_numpy()[e] * np.array(signs)
        centre, spread, value = mean[b], cov[np.ix_(b, b)], 0.0
        if len(e):
            gain = np.linalg.solve(cov[np.ix_(e, e)], cov[np.ix_(e, b)]).T
            centre = mean[b] + gain @ (y - mean[e])
            spread = spread - gain @ cov[np.ix_(e, b)]
            value = stats.multivariate_normal.logpdf(y, mean[e], cov[np.ix_(e, e)])
        probability = stats.multivariate_normal(
            centre, spread, abseps=1e-10, releps=1e-10, maxpts=4_000_000, seed=1
        ).cdf(frame["upper"].to_numpy()[b], lower_limit=frame["lower"].to_numpy()[b])
        parts.append(value + np.log(probability))
    return logsumexp(parts)


def interval(low, high, **more):
    return {"kind": "interval", "lower": low, "upper": high, **more}


POINTS = [(0.2, 0.3, 0.0), (-0.8, 0.05, 0.2), (1.5, 0.9, 0.4), (0.0, 0.0, 0.0), (-4.0, 1e-3, 0.0)]


@pytest.mark.parametrize(("mean", "tau", "omega"), POINTS)
def test_rows_that_stand_alone(layout_of, mean, tau, omega):
    rows = [
        {"yi": 0.3},
        {"yi": 0.5, "vi": 0.09, "kind": "unsigned"},
        interval(0.4, INF),
        interval(-INF, -0.35, vi=0.03),
        interval(-0.4, 0.45),
    ]
    data = layout_of(rows)
    sd = np.sqrt(data.v + tau**2 + omega**2)
    norm = [stats.norm(mean, s) for s in sd]
    expected = [
        norm[0].logpdf(0.3),
        np.logaddexp(norm[1].logpdf(0.5), norm[1].logpdf(-0.5)),
        norm[2].logsf(0.4),
        norm[3].logcdf(-0.35),
        # the difference keeps 1e-13 only where it is not tiny: far out test_ops has the oracle
        np.log(norm[4].cdf(0.45) - norm[4].cdf(-0.4)) if mean > -3 else None,
    ]
    values = ours(data, mean, tau, omega)
    for value, theirs in zip(values, expected, strict=True):
        if theirs is not None:
            assert value == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    assert np.isfinite(values).all()


def test_an_unsigned_row_is_a_density_of_the_size(layout_of):
    def density(y):
        return np.exp(ours(layout_of([{"yi": y, "kind": "unsigned"}]), 0.3, 0.2, 0.1)[0])

    assert integrate.quad(density, 0, 4)[0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("mean", "tau", "omega"), POINTS[:4])
def test_exact_blocks_are_multivariate_normal(layout_of, mean, tau, omega):
    """Blocks of 2, 3 and 4 rows side by side, so that two of them are padded."""
    people = {"sample_id": "b", "control_id": "b0"}
    rows = [
        {"study_id": "A", "yi": 0.6, "condition": "ill"},
        {"study_id": "A", "yi": 0.1, "condition": "worse", "vi": 0.06},
        *({"study_id": "B", "yi": y, "vi": v, **people}
          for y, v in ((-0.2, 0.04), (0.3, 0.07), (0.2, 0.02))),
        *({"study_id": "C", "yi": y} for y in (0.1, 0.9, -0.4, 0.0)),
    ]  # fmt: skip
    data = layout_of(rows)
    block = data.exact_blocks
    means = mean + np.linspace(-0.2, 0.3, data.k)
    values = ours(data, means, tau, omega)
    for b in range(3):
        n = int(block.mask[b].sum())
        rows_b = block.rows[b, :n]
        cov = block.V[b, :n, :n] + tau**2 * block.G[b, :n, :n] + omega**2 * np.eye(n)
        expected = stats.multivariate_normal.logpdf(data.y[rows_b], means[rows_b], cov)
        assert values[data.block_of_row[rows_b[0]]] == pytest.approx(expected, abs=1e-11)


def test_unsigned_rows_of_a_block_sum_over_their_signs(layout_of):
    def rows(signs, kind):
        return [
            {"study_id": "S", "sample_id": "a", "yi": s * y, "vi": v, "kind": k}
            for s, y, v, k in zip(signs, (0.4, 0.3, 0.5), (0.04, 0.05, 0.06), kind, strict=True)
        ]

    # one covariance for all patterns: an unsigned row enters it as printed
    unsigned = ours(layout_of(rows((1, 1, 1), ("unsigned", "exact", "unsigned"))), 0.1, 0.3, 0.1)
    signed = [
        ours(layout_of(rows(s, ("exact",) * 3)), 0.1, 0.3, 0.1)[0]
        for s in itertools.product((1, -1), (1,), (1, -1))
    ]
    assert unsigned[0] == pytest.approx(logsumexp(signed), abs=1e-12)


BOUND_BLOCKS = {
    "two above": [interval(0.4, INF), interval(0.3, INF, vi=0.06)],
    "above and not significant": [interval(0.4, INF), interval(-0.5, 0.5, vi=0.09)],
    "opposite": [interval(0.4, INF), interval(-INF, -0.4)],
    "three": [interval(0.4, INF), interval(-0.4, 0.4), interval(-INF, -0.3, vi=0.03)],
    "exact and bound": [{"yi": 0.5}, interval(0.4, INF)],
    "two exact, two bounds": [
        {"yi": 0.5}, {"yi": -0.1, "vi": 0.07}, interval(-0.4, 0.4), interval(-0.3, 0.3, vi=0.03)
    ],
    "unsigned and bound": [{"yi": 0.5, "kind": "unsigned"}, interval(0.4, INF)],
    "two unsigned, one exact, two bounds": [
        {"yi": 0.5, "kind": "unsigned"}, {"yi": 0.3}, {"yi": 0.1, "kind": "unsigned", "vi": 0.08},
        interval(0.4, INF), interval(-0.4, 0.4),
    ],
}  # fmt: skip


# The quadrature's error grows with l / d and with the number of bounds; here l / d < 3 and the log
# stays within 5e-5 (measured 1.2e-5). The oracle's own (Genz' algorithm, 3 bounds) is below 1e-7.
@pytest.mark.parametrize("name", BOUND_BLOCKS)
@pytest.mark.parametrize(
    ("mean", "tau", "omega", "rho"),
    [(0.2, 0.3, 0.0, 0.6), (-0.4, 0.1, 0.3, 0.6), (0.6, 0.0, 0.0, 0.0), (0.1, 0.4, 0.2, 0.9)],
)
def test_blocks_of_bounds_are_normal_probabilities(frame_of, name, mean, tau, omega, rho):
    rows = [{**r, "study_id": "S", "sample_id": "a"} for r in BOUND_BLOCKS[name]]
    frame = frame_of(rows)
    data = layout(frame, lambda f: np.diag(f["vi"]), rho)
    means = mean + np.linspace(-0.1, 0.2, len(rows))
    expected = block_oracle(frame, rho, means, tau, omega)
    assert ours(data, means, tau, omega)[0] == pytest.approx(expected, abs=5e-5)


def test_blocks_of_different_shape_do_not_disturb_each_other(frame_of):
    """All blocks at once, padded to a common size, give what each gives alone."""

    def vcalc(f):
        return np.diag(f["vi"])

    alone, rows = [], []
    for name, block in BOUND_BLOCKS.items():
        part = [{**r, "study_id": name, "sample_id": name} for r in block]
        alone.append(ours(layout(frame_of(part), vcalc), 0.2, 0.3, 0.1)[0])
        rows += part
    together = ours(layout(frame_of(rows), vcalc), 0.2, 0.3, 0.1)
    np.testing.assert_allclose(together, alone, rtol=1e-13)


# Widths of transition and support change from cell to cell: measured 4e-6 at l / d = 2.7.
@pytest.mark.parametrize(("mean", "tau", "omega"), [(0.2, 0.3, 0.0), (-0.5, 0.2, 0.2)])
def test_the_cells_of_a_partition_add_up_to_one(layout_of, mean, tau, omega):
    cuts = [(-INF, -0.4), (-0.4, 0.4), (0.4, INF)]
    people = {"study_id": "S", "sample_id": "a"}
    values = [
        ours(
            layout_of([interval(*a, **people), interval(*b, vi=0.05, **people)]), mean, tau, omega
        )[0]
        for a in cuts
        for b in cuts
    ]
    assert np.exp(values).sum() == pytest.approx(1.0, abs=1e-5)


def test_bounds_that_do_not_bind_say_nothing(layout_of):
    people = {"study_id": "S", "sample_id": "a"}
    wide = interval(-1e3, 1e3, **people)
    open_ended = interval(-1e3, INF, **people)
    bound = interval(0.4, INF, **people)
    alone = ours(layout_of([bound]), 0.2, 0.3, 0.1)[0]
    # the rest is what is cut off at five units from the mode: 6e-7
    for other in (wide, open_ended):
        assert ours(layout_of([bound, other]), 0.2, 0.3, 0.1)[0] == pytest.approx(alone, abs=1e-6)
        assert ours(layout_of([other]), 0.2, 0.3, 0.1)[0] == pytest.approx(0.0, abs=1e-15)
        assert ours(layout_of([other, other]), 0.2, 0.3, 0.1)[0] == pytest.approx(0.0, abs=1e-6)


def test_two_reports_of_one_bound_say_no_more_than_one(layout_of):
    """rho towards 1 and omega 0: the second row repeats the first."""
    one = interval(0.4, INF, study_id="S", sample_id="a")
    single = ours(layout_of([one]), 0.2, 0.3, 0.0)[0]
    gaps = [
        abs(ours(layout_of([one, one], rho), 0.2, 0.3, 0.0)[0] - single)
        for rho in (0.0, 0.6, 0.9, 0.99)
    ]
    assert gaps == sorted(gaps, reverse=True)
    # Two readings that agree but for noise d differ by about d / (sd sqrt(pi)) of the density.
    assert gaps[-1] < 0.05


def dense(low, high, scale, n=4_001):
    """log E prod_i Pr(low_i < scale_i z + e_i < high_i) by the trapezoid rule, 4,001 points."""

    def g(z):
        a, b = low[:, None] - scale[:, None] * z, high[:, None] - scale[:, None] * z
        flip = a + b > 0
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        with np.errstate(divide="ignore"):
            p = stats.norm.logcdf(b) + np.log1p(
                -np.exp(np.minimum(stats.norm.logcdf(a) - stats.norm.logcdf(b), 0.0))
            )
        return p.sum(axis=0) - 0.5 * z**2 - 0.5 * np.log(2 * np.pi)

    z = np.linspace(-40, 40, n)
    value = g(z)
    inside = z[value > value.max() - 45]
    z = np.linspace(inside[0] - 0.01, inside[-1] + 0.01, n)
    return logsumexp(g(z)) + np.log(z[1] - z[0])


@pytest.mark.parametrize(
    ("ratio", "tolerance"), [(1.0, 3e-6), (2.0, 3e-6), (3.9, 3e-6), (8.0, 1e-4), (20.0, 1e-3)]
)
def test_the_nodes_are_as_good_as_the_module_says(layout_of, ratio, tolerance):
    """Random blocks of 2 to 4 bounds, l / d up to `ratio`, of probability above e^-15."""
    rng = np.random.default_rng(17)
    v, rho = 0.04, 0.6
    tau = np.sqrt(max(ratio**2 * 0.4 - rho, 0.0) * v)
    load, d = np.sqrt(tau**2 + rho * v), np.sqrt(0.4 * v)
    worst, checked = 0.0, 0
    for _ in range(200):
        n = rng.integers(2, 5)
        c = rng.uniform(0.2, 0.7, n)
        cells = [[(a, INF), (-INF, -a), (-a, a)][rng.integers(0, 3)] for a in c]
        mean = rng.normal(0, 0.6)
        low, high = (np.array(e) for e in zip(*cells, strict=True))
        expected = dense((low - mean) / d, (high - mean) / d, np.full(n, load / d))
        if expected < -15:
            continue
        rows = [interval(a, b, study_id="S", sample_id="a", vi=v) for a, b in cells]
        worst = max(worst, abs(ours(layout_of(rows), mean, tau, 0.0)[0] - expected))
        checked += 1
    assert checked > 75
    assert worst < tolerance


def test_leading_axes_broadcast(layout_of, mixed_rows):
    """`closed_terms` takes the variances once for many values of the mean."""
    data = layout_of(mixed_rows[:10])
    mean = np.linspace(-1, 1, 5)[:, None] * np.ones(data.k)
    tau, omega = np.full((1, data.k), 0.3), np.array([[0.1]])
    short = closed_terms(data, mean, tau, omega)
    full = closed_terms(data, mean, np.repeat(tau, 5, axis=0), np.repeat(omega, 5, axis=0))
    for (_, a), (_, b) in zip(short, full, strict=True):
        np.testing.assert_allclose(np.broadcast_to(a, b.shape), b, rtol=1e-14)


def test_values_stand_in_the_order_of_the_blocks(layout_of, mixed_rows):
    """Moving one block's rows changes that block's value and no other."""
    data = layout_of(mixed_rows)
    base = ours(data, 0.1, 0.3, 0.1)
    for b, rows in enumerate(data.block_rows):
        mean = np.full(data.k, 0.1)
        mean[rows] += 0.05
        assert np.flatnonzero(ours(data, mean, 0.3, 0.1) != base).tolist() == [b]


@pytest.mark.parametrize("mean", [-6.0, 6.0, 1e3])
@pytest.mark.parametrize(("tau", "omega"), [(1e-6, 0.0), (10.0, 0.0), (1e-6, 10.0), (1e4, 1e-8)])
def test_extreme_points_give_numbers(layout_of, mixed_rows, mean, tau, omega):
    assert np.isfinite(ours(layout_of(mixed_rows), mean, tau, omega)).all()


def test_a_change_of_unit_changes_densities_by_the_unit_and_nothing_else(layout_of, mixed_rows):
    """Days to seconds: each exact effect loses log 86400, bounds nothing."""
    unit = 86_400.0
    scaled = [
        {**r, "vi": r.get("vi", 0.04) * unit**2}
        | {key: r[key] * unit for key in ("yi", "lower", "upper") if key in r}
        for r in mixed_rows
    ]

    def summed(rows, factor):
        # plain variances: the covariance of a shared control group is not free of the unit
        data = layout_of([{**r, "control_id": ""} for r in rows])
        return ours(data, 0.2 * factor, 0.3 * factor, 0.1 * factor)

    data = layout_of([{**r, "control_id": ""} for r in mixed_rows])
    n_exact = [sum("yi" in mixed_rows[i] for i in b) for b in data.block_rows]
    np.testing.assert_allclose(
        summed(scaled, unit) + np.array(n_exact) * np.log(unit),
        summed(mixed_rows, 1.0),
        atol=1e-9,
    )


def test_small_units_too(layout_of):
    """Variances of 1e-12 (milli-units squared twice over) are variances like any other."""
    people = {"study_id": "S", "sample_id": "a"}
    rows = [interval(0.4, INF, **people), interval(-0.5, 0.5, vi=0.06, **people)]
    unit = 5e-6
    small = [
        {**r, "vi": r.get("vi", 0.04) * unit**2, "lower": r["lower"] * unit,
         "upper": r["upper"] * unit}
        for r in rows
    ]  # fmt: skip
    expected = ours(layout_of(rows), 0.2, 0.3, 0.1)
    found = ours(layout_of(small), 0.2 * unit, 0.3 * unit, 0.1 * unit)
    np.testing.assert_allclose(found, expected, atol=1e-9)
