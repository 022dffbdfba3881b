"""The probability of an interval on the log scale, in both array libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.models.likelihood import log_interval, normal_logpdf
from nssi_meta.models.ops import numpy_ops, pytensor_ops

OPS = numpy_ops()
_X, _W = np.polynomial.legendre.leggauss(20)


def oracle(a: float, b: float) -> float:
    """log(Phi(b) - Phi(a)) by integrating the density: a sum of positive terms, no cancellation.

    400 panels of 20 nodes; beyond 60/a (or 40) nothing is left in double precision.
    """
    if a + b < 0:
        a, b = -b, -a
    if a < 0:
        edges, offset = np.linspace(max(a, -40.0), min(b, 40.0), 401), 0.0
    else:
        edges, offset = np.linspace(0.0, min(b - a, 60 / max(a, 1.0)), 401), a
    mid, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    t = mid[:, None] + half[:, None] * _X
    mass = (np.exp(-offset * t - 0.5 * t**2) * half[:, None] * _W).sum()
    return float(-0.5 * offset**2 - 0.5 * np.log(2 * np.pi) + np.log(mass))


# An interval of width w is a difference of two logs of size L: eps * L / w is what can be kept.
@pytest.mark.parametrize(
    ("width", "tolerance"), [(1e-4, 1e-11), (1e-2, 1e-13), (0.5, 5e-15), (5.0, 5e-15), (60, 5e-15)]
)
def test_log_interval_in_the_centre_and_far_out(width, tolerance):
    rng = np.random.default_rng(7)
    low = rng.normal(size=300) * 10 ** rng.uniform(-2, 2.5, 300)
    high = low + width
    ours = log_interval(low, high, OPS)
    theirs = np.array([oracle(a, b) for a, b in zip(low, high, strict=True)])
    error = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    assert error.max() < tolerance


def test_the_oracle_itself_where_the_difference_keeps_its_digits():
    for a, b in [(-1.0, 1.0), (-3.0, 0.5), (0.2, 1.4), (-2.0, -1.0)]:
        direct = np.log(stats.norm.cdf(b) - stats.norm.cdf(a))
        assert oracle(a, b) == pytest.approx(direct, rel=1e-13)


def test_log_interval_mirrored_is_the_same_number():
    rng = np.random.default_rng(3)
    low = rng.normal(0, 20, 500)
    high = low + rng.exponential(2, 500)
    np.testing.assert_array_equal(log_interval(low, high, OPS), log_interval(-high, -low, OPS))


def test_adjacent_intervals_add_up():
    cuts = np.array([-9.0, -2.0, -0.5, 0.1, 3.0, 11.0])
    parts = log_interval(cuts[:-1], cuts[1:], OPS)
    whole = log_interval(cuts[0], cuts[-1], OPS)
    assert np.logaddexp.reduce(parts) == pytest.approx(whole, abs=1e-15)


@pytest.mark.parametrize("end", [40.0, 1e3, 1e8])
def test_an_interval_that_holds_everything_has_probability_one(end):
    assert log_interval(np.array(-end), np.array(end), OPS) == 0.0


def test_normal_log_density():
    x, v = np.array([-3.0, 0.0, 1e3]), np.array([0.1, 2.0, 50.0])
    np.testing.assert_allclose(
        normal_logpdf(x, v, OPS), stats.norm.logpdf(x, scale=np.sqrt(v)), rtol=1e-14
    )


@pytest.fixture(scope="module")
def pytensor_interval():
    import pytensor
    import pytensor.tensor as pt

    low, high = pt.dvectors("low", "high")
    value = log_interval(low, high, pytensor_ops())
    gradients = pytensor.grad(value.sum(), [low, high])
    return pytensor.function([low, high], [value, *gradients])


def test_pytensor_gives_the_same_number_and_the_right_slope(pytensor_interval):
    rng = np.random.default_rng(11)
    low = rng.normal(0, 15, 400)
    high = low + rng.uniform(0.05, 6, 400)
    value, d_low, d_high = pytensor_interval(low, high)
    # A narrow interval is a difference of two logs of up to 700: 1e-13 of them.
    ours = log_interval(low, high, OPS)
    np.testing.assert_allclose(value, ours, rtol=1e-12, atol=1e-13)
    # d/dhigh log P = phi(high) / P
    np.testing.assert_allclose(
        d_high, np.exp(stats.norm.logpdf(high) - ours), rtol=1e-10, atol=1e-11
    )
    np.testing.assert_allclose(
        d_low, -np.exp(stats.norm.logpdf(low) - ours), rtol=1e-10, atol=1e-11
    )


def test_pytensor_slope_is_finite_far_out(pytensor_interval):
    low = np.array([-1e5, -31.0, 29.0, 1e4, -1e8, 300.0])
    high = np.array([-1e5 + 1, -29.0, 31.0, 1e4 + 0.1, 1e8, 1e6])
    for part in pytensor_interval(low, high):
        assert np.isfinite(part).all()


def test_pytensor_normal_distribution_function_at_any_depth():
    import pytensor
    import pytensor.tensor as pt
    from scipy import special

    z = pt.dvector("z")
    value = pytensor_ops().log_ndtr(z)
    both = pytensor.function([z], [value, pytensor.grad(value.sum(), z)])
    x = np.r_[-1e8, -1e4, -300, -38, -10, -3, -1, -1e-9, 0, 1e-9, 0.3, 1, 3, 5, 8, 25, 40, 1e5]
    found, slope = both(x)
    np.testing.assert_allclose(found, special.log_ndtr(x), rtol=1e-14, atol=1e-15)
    # phi / Phi = sqrt(2 / pi) / erfcx(-z / sqrt 2); erfcx overflows above 37, where it is 0.
    with np.errstate(over="ignore"):
        wanted = np.sqrt(2 / np.pi) / special.erfcx(-x / np.sqrt(2))
    np.testing.assert_allclose(slope, wanted, rtol=1e-12, atol=1e-14)


def test_determinants_and_squares_of_a_covariance_and_their_slopes():
    """PyTensor's, with the inverse held fixed, against numpy's and the closed-form gradients."""
    import pytensor
    import pytensor.tensor as pt

    rng = np.random.default_rng(5)
    root = rng.normal(size=(4, 3, 3))
    sigma, r = root @ root.swapaxes(1, 2) + 0.3 * np.eye(3), rng.normal(size=(4, 3))
    matrix = pt.tensor("matrix", dtype="float64", shape=(None, 3, 3))
    vector = pt.dmatrix("vector")
    log_det, square = pytensor_ops().gaussian(matrix)
    value = square(vector)
    slopes = [pytensor.grad(log_det.sum(), matrix), *pytensor.grad(value.sum(), [matrix, vector])]
    theirs = pytensor.function(
        [matrix, vector], [log_det, value, *slopes], on_unused_input="ignore"
    )
    ours_det, ours_square = OPS.gaussian(sigma)
    inverse = np.linalg.inv(sigma)
    x = (inverse @ r[..., None])[..., 0]
    wanted = [ours_det, ours_square(r), inverse, -x[:, :, None] * x[:, None, :], 2 * x]
    for found, right in zip(theirs(sigma, r), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-11, atol=1e-12)
