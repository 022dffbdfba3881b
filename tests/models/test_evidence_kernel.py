"""The sum over a layout's rows; its parts are tested where they are made."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.models.evidence_kernel import given
from nssi_meta.models.row_kernel import BEYOND, EXACT, UNSIGNED, WITHIN, row

#: Form, a and b.
ROWS = [
    (EXACT, 0.4, 0.0),
    (UNSIGNED, 0.4, 0.0),
    (BEYOND, 0.3, 1.0),
    (BEYOND, 0.3, -1.0),
    (WITHIN, -0.2, 0.6),
]


def test_rows_are_added_up_and_those_elsewhere_left_out():
    form, a, b = (np.array(x, dtype=float) for x in zip(*ROWS, strict=True))
    form[[1, 3]] = -1.0
    k, left = len(form), form >= 0
    mean, tau2, v = np.linspace(-0.3, 0.5, k), np.linspace(0.1, 0.5, k), np.linspace(0.1, 0.4, k)
    none, flat, cube = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 0))
    blocks = flat, flat, flat, flat, cube, cube, none
    told = (*[flat] * 6, none)
    total, d_mean, d_tau2, d_omega2, d_g = given(
        (form, a, b, v), mean, tau2, 0.05, none, blocks, (flat, none, flat, flat, none), told
    )
    alone = zip(form, a, b, mean, v + tau2 + 0.05, strict=True)
    each = np.array([row(*x) if x[0] >= 0 else (0.0, 0.0, 0.0) for x in alone])
    assert total == pytest.approx(each[:, 0].sum(), rel=1e-14)
    np.testing.assert_allclose(d_mean, each[:, 1], rtol=1e-14)
    np.testing.assert_allclose(d_tau2, each[:, 2], rtol=1e-14)
    assert (each[left, 2] != 0).all()
    assert d_omega2 == pytest.approx(each[:, 2].sum(), rel=1e-14)
    assert d_g.size == 0
