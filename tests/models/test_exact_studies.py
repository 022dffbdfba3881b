"""Studies of exact effects told from the other blocks of a layout."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.models.blocks import layout
from nssi_meta.models.coefficients import study_log_likelihood
from nssi_meta.models.exact_studies import exact_studies, rows_of_studies, without_studies
from nssi_meta.models.likelihood import closed_part, integrated_part, log_likelihood


def test_every_block_is_in_one_of_the_two_parts(layout_of, mixed_rows):
    """The likelihood of both parts is the whole; the parts' formulas differ, 1e-12 of them."""
    far = [{"study_id": "E", "sample_id": "e", "yi": y} for y in (0.4, 0.9, 1.3)]
    far += [{"study_id": "F", "sample_id": "f", "yi": y, "condition": c}
            for y, c in ((0.1, "ill"), (0.2, "worse"))]  # fmt: skip
    data = layout_of([*mixed_rows, *far])
    which, rng = exact_studies(data), np.random.default_rng(1)
    X = np.c_[np.ones(data.k), rng.normal(size=data.k)]
    rows, others = rows_of_studies(data, X, which), without_studies(data, which)
    # A row alone, a pair and a triple of one study effect; neither signs nor contrasts.
    assert sorted(rows.size) == [1, 2, 3]
    assert rows.names == tuple(str(b) for b in np.flatnonzero(which))

    coef, tau, omega = np.array([[0.2, -0.3], [0.5, 0.1]]), np.array([0.3, 0.7]), np.array([0.1, 0])
    at = coef @ X.T, np.broadcast_to(tau[:, None], (2, data.k)), omega[:, None]
    whole = log_likelihood(data, *at)
    ours = study_log_likelihood(rows, coef, tau, omega)
    assert ours == pytest.approx(whole[:, which], rel=1e-12, abs=1e-12)
    assert others.single_exact.size == 0
    found = [part(others, *at) for part in (closed_part, integrated_part)]
    blocks = np.concatenate([b for b, _ in found])
    assert sorted(blocks) == np.flatnonzero(~which).tolist()
    values = np.concatenate([v for _, v in found], axis=1)
    assert values == pytest.approx(whole[:, blocks], rel=1e-14)


@pytest.mark.parametrize("kind", ["exact", "unsigned"])
def test_parts_may_be_empty(frame_of, kind):
    from nssi_meta.evidence.vcalc import vcalc

    data = layout(frame_of([{"yi": 0.3, "kind": kind}, {"yi": 0.5, "kind": kind}]), vcalc)
    which = exact_studies(data)
    assert which.all() == (kind == "exact")
    rows = rows_of_studies(data, np.ones((2, 1)), which)
    assert len(rows.y) == len(rows.size) == (2 if kind == "exact" else 0)
    others = without_studies(data, which)
    assert others.single_exact.size == 0
    assert others.k == 2
