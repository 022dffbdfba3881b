"""Joint bounds of one study far beyond their standard errors: against panels laid by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_ndtr, logsumexp

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import layout
from nssi_meta.models.bound_blocks import bound_blocks

INF = np.inf
CASES = {
    "both higher": [(0.5, INF, 0.07), (0.6, INF, 0.09)],
    "both lower": [(-INF, -0.5, 0.07), (-INF, -0.6, 0.09)],
    "both n.s.": [(-0.5, 0.5, 0.07), (-0.6, 0.6, 0.09)],
    "n.s. and higher": [(-0.5, 0.5, 0.07), (0.6, INF, 0.09)],
    "higher and lower": [(0.5, INF, 0.07), (-INF, -0.6, 0.09)],
    "far apart": [(0.5, INF, 1e-6), (0.6, INF, 4.0)],
    "far apart, n.s.": [(-2e-3, 2e-3, 1e-6), (-4.0, 4.0, 4.0)],
}


def block(rows):
    frame = pd.DataFrame(rows, columns=["lower", "upper", "vi"]).assign(
        kind="interval", yi=np.nan, study_id="s", sample_id="people", control_id="",
        mechanism="m", condition="c", comparator="healthy", n_case=20.0, n_control=20.0,
    )  # fmt: skip
    return layout(frame, partial(vcalc, rho=0.6), 0.6)


def by_hand(rows, mu, tau):
    """Two rows on their common part f, loads as documented; 8,000 equal panels around each edge.

    What cancels is written out: the rest of a variance is 0.4 v where variances are equal.
    """
    v = np.array([r[2] for r in rows])
    whole = tau**2 + 0.6 * v
    c = tau**2 + 0.6 * np.sqrt(v[0] * v[1])
    root = np.sqrt(whole[0]) * np.sqrt(whole[1])
    missing = 0.6 * tau**2 * (np.sqrt(v[0]) - np.sqrt(v[1])) ** 2 / (root * (root + c))
    load, d = np.sqrt(whole * (1 - missing)), np.sqrt(0.4 * v + whole * missing)
    edges = [np.linspace(-12, 12, 2001)]
    for (low, high, _), one, width in zip(rows, load, d, strict=True):
        for end in (low, high):
            if np.isfinite(end):
                edges.append((end - mu) / one + width / one * np.linspace(-60, 60, 4001))
    e = np.unique(np.concatenate(edges))
    x, w = np.polynomial.legendre.leggauss(5)
    f = ((e[1:] + e[:-1])[:, None] / 2 + np.diff(e)[:, None] / 2 * x).ravel()
    with np.errstate(divide="ignore"):
        log_p = (
            -0.5 * f**2 - 0.5 * np.log(2 * np.pi) + np.log((np.diff(e)[:, None] / 2 * w).ravel())
        )
    for (low, high, _), one, width in zip(rows, load, d, strict=True):
        a, b = ((end - mu - one * f) / width for end in (low, high))
        flip = a + b > 0
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            less = np.where(np.isneginf(a), 0.0, np.exp(log_ndtr(a) - log_ndtr(b)))
            log_p = log_p + log_ndtr(b) + np.log1p(-np.minimum(less, 1.0))
    return logsumexp(log_p)


# The trapezoidal rule promises 5e-9 for mild integrands; panels for steep ones do the same.
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tau", [0.3, 5.0, 16.0, 80.0, 8e3])
def test_steep_joint_bounds(name, tau):
    """tau up to 3e4 standard errors; a fixed rule was off by 2e-4 here."""
    rows = CASES[name]
    data = block(rows)
    for mu in (0.0, 0.4, -2.0):
        truth = by_hand(rows, mu, tau)
        if truth < -300:  # beyond what the panels above reach
            continue
        mean, spread = np.full((1, 2), mu), np.full((1, 2), tau)
        value = bound_blocks(data, data.bound_blocks, mean, spread, np.zeros((1, 1)))[0, 0]
        assert value == pytest.approx(truth, abs=1e-8)


@pytest.mark.parametrize("big", [30.0, 1e3, 1e4, 1e6, 1e8, 1e9])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("end", [2.0, INF])
def test_bounds_far_beyond_everything(big, sign, end):
    """Beyond `big` a second bound at half of that says nothing: the tail of one normal is left.

    tau is about where a prior of scale 0.5 puts it then. The log is rounded to 1e-16 of its size;
    the bound's other end, at twice `big`, is beyond the digits.
    """
    rows = [sorted([sign * big, sign * end * big]), sorted([sign * big / 2, sign * INF])]
    data = block([(*ends, 0.1) for ends in rows])
    for tau in np.sqrt(big / np.sqrt(2)) * np.array([0.25, 0.5, 1.0, 2.0]):
        if big < 100 and end < INF and tau > 5:
            continue  # the other end is in reach
        mean, spread = np.zeros((1, 2)), np.full((1, 2), tau)
        value = bound_blocks(data, data.bound_blocks, mean, spread, np.zeros((1, 1)))[0, 0]
        truth = log_ndtr(-big / np.sqrt(tau**2 + 0.1))
        assert value == pytest.approx(truth, abs=1e-8, rel=1e-15)
