"""Blocks whose rows share one study effect: Woodbury's identity against the joint density."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from nssi_meta.models.block_kernel import block as compiled_blocks
from nssi_meta.models.blocks import layout
from nssi_meta.models.layout_nodes import layout_values
from nssi_meta.models.likelihood import closed_rows, log_likelihood

#: Effects, variances and kinds of blocks of 3, 5 and 4 rows: of each two or more are padded.
BLOCKS = {
    "A": [(0.6, 0.02), (0.1, 0.05, "unsigned"), (-0.3, 0.09)],
    "B": [(0.2, 0.04), (0.5, 0.01, "unsigned"), (0.9, 0.3), (0.4, 0.06, "unsigned"), (-0.1, 0.02)],
    "C": [(0.1, 0.04), (0.9, 0.05), (-0.4, 0.03), (0.0, 0.1)],
    "D": [(0.3, 0.04)] * 3,
}


def block(name, unit=1.0, **more):
    rows = []
    for y, v, *kind in BLOCKS[name]:
        row = {"study_id": name, "sample_id": name, "control_id": name, "yi": unit * y}
        rows.append({**row, "vi": unit**2 * v, "kind": kind[0] if kind else "exact", **more})
    return rows


def correlated(frame):
    """A covariance of the rows with correlations from -0.4 to 0.8 or so."""
    n = len(frame)
    root = np.random.default_rng(n).normal(size=(n, n)) + 0.7
    cov = root @ root.T + 0.2 * np.eye(n)
    sd = np.sqrt(frame["vi"].to_numpy() / np.diag(cov))
    return cov * np.outer(sd, sd)


def signs_of(kind):
    """All patterns of signs of rows of these kinds."""
    return itertools.product(*((1.0, -1.0) if one == "unsigned" else (1.0,) for one in kind))


def values_of(data, mean, tau, omega):
    """Log density of each block at one point, in the order of the studies."""
    wide = np.full((1, data.k), float(tau))
    return log_likelihood(data, mean[None], wide, np.array([[float(omega)]]))[0]


# From no study effect to a hundred standard errors, where scipy's decomposition keeps 1e-12.
@pytest.mark.parametrize("unit", [1.0, 0.01, 40.0], ids=["unit", "small", "large"])
@pytest.mark.parametrize(
    ("tau", "omega"), [(0.3, 0.0), (0.0, 0.0), (2e-7, 0.1), (0.3, 0.2), (5.0, 0.0), (20.0, 3.0)]
)
def test_they_are_multivariate_normal(frame_of, unit, tau, omega):
    frame = frame_of([row for name in BLOCKS for row in block(name, unit)])
    data = layout(frame, correlated)
    assert list(closed_rows(data)[0]) == ["alike"]
    mean, kind = unit * np.linspace(-0.3, 0.5, data.k), frame["kind"].to_numpy()
    found = values_of(data, mean, unit * tau, unit * omega)
    for rows, value in zip(data.block_rows, found, strict=True):
        cov = correlated(frame.iloc[rows]) + unit**2 * (tau**2 + omega**2 * np.eye(len(rows)))
        normal = stats.multivariate_normal(mean[rows], cov)
        wanted = logsumexp([normal.logpdf(data.y[rows] * s) for s in signs_of(kind[rows])])
        assert value == pytest.approx(wanted, rel=1e-10)


def test_errors_of_the_package_s_own_covariance(layout_of):
    """Shared people, shared controls: its covariance, and the identity where people differ."""
    rows = [row for name in BLOCKS for row in block(name)]
    rows += block("C", study_id="E", sample_id="", control_id="")
    data = layout_of(rows)
    assert list(closed_rows(data)[0]) == ["alike"]
    exact, mean = data.exact_blocks, np.linspace(-0.3, 0.5, data.k)
    found = values_of(data, mean, 0.3, 0.1)
    kind = np.array([row["kind"] for row in rows])
    for b, mask in enumerate(exact.mask):
        n = int(mask.sum())
        at = exact.rows[b, :n]
        cov = exact.V[b, :n, :n] + 0.3**2 + 0.1**2 * np.eye(n)
        normal = stats.multivariate_normal(mean[at], cov)
        wanted = logsumexp([normal.logpdf(data.y[at] * s) for s in signs_of(kind[at])])
        assert found[data.block_of_row[at[0]]] == pytest.approx(wanted, rel=1e-10)


def test_they_are_told_from_blocks_that_share_part_of_an_effect(frame_of):
    """Two rows, and rows of contrasts that share an arm or of studies that share people."""
    two = block("A")[:2]
    other = [{**row, "condition": "worse"} for row in block("C")[:1]] + block("C")[1:]
    people = {"sample_id": "D", "control_id": "D"}
    shared = [*block("D"), *({**row, "study_id": "F", **people} for row in block("D"))]
    frame = frame_of([*two, *block("B"), *other, *shared])
    data = layout(frame, correlated)
    forms, place = closed_rows(data)
    assert list(forms) == ["pairs", "alike", "larger"]
    assert [place[name].shape for name in forms] == [(2, 1), (5, 1), (6, 2)]
    mean = np.linspace(-0.3, 0.5, data.k)
    found, kind = values_of(data, mean, 0.3, 0.1), frame["kind"].to_numpy()
    exact = data.exact_blocks
    for b, mask in enumerate(exact.mask):
        n = int(mask.sum())
        at = exact.rows[b, :n]
        cov = exact.V[b, :n, :n] + 0.3**2 * exact.G[b, :n, :n] + 0.1**2 * np.eye(n)
        normal = stats.multivariate_normal(mean[at], cov)
        wanted = logsumexp([normal.logpdf(data.y[at] * s) for s in signs_of(kind[at])])
        assert found[data.block_of_row[at[0]]] == pytest.approx(wanted, rel=1e-10)


def exact_log_density(residual, cov):
    """Log density by elimination in fractions, without any rounding up to the logs."""
    n = len(residual)
    rows = [[*line, r] for line, r in zip(cov, residual, strict=True)]
    for i in range(n):
        for j in range(i + 1, n):
            ratio = rows[j][i] / rows[i][i]
            rows[j] = [a - ratio * b for a, b in zip(rows[j], rows[i], strict=True)]
    pivots = [rows[i][i] for i in range(n)]
    square = sum(rows[i][n] ** 2 / pivots[i] for i in range(n))
    return -0.5 * (n * np.log(2 * np.pi) + sum(np.log(float(p)) for p in pivots) + float(square))


@pytest.mark.parametrize("errors", [1e2, 1e5, 1e8, 1e12])
def test_a_tau_that_drowns_the_errors(frame_of, errors):
    """tau of up to 1e12 standard errors, where the covariance is singular in double precision."""
    rows = block("C")
    data = layout(frame_of(rows), lambda f: np.diag(f["vi"]))
    tau = 2.0 ** np.round(np.log2(0.2 * errors))
    mean = np.array([0.25, -0.5, 0.125, 1.0])
    v = [Fraction(row["vi"]) for row in rows]
    cov = [[Fraction(tau) ** 2 + (v[i] if i == j else 0) for j in range(4)] for i in range(4)]
    residual = [Fraction(row["yi"]) - Fraction(m) for row, m in zip(rows, mean, strict=True)]
    wanted = exact_log_density(residual, cov)
    assert values_of(data, mean, tau, 0.0)[0] == pytest.approx(wanted, rel=1e-10)
    values = layout_values(data, np.full(4, "exact", dtype=object), {})["blocks"]
    arrays = {name: x.reshape(4, 4, 1) if name[6:] in "VG" else x for name, x in values.items()}
    slopes = np.zeros(4), np.zeros(4)
    found = compiled_blocks(tuple(arrays.values()), mean, np.full(4, tau**2), 0.0, *slopes)
    assert found[0] == pytest.approx(wanted, rel=1e-10)
    assert np.isfinite(slopes).all()
