"""Rows sorted into blocks: who depends on whom."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import given_common_part, layout

INF = np.inf


def blocks_as_sets(data):
    return {frozenset(map(int, rows)) for rows in data.block_rows}


def test_block_of_row_is_a_partition(layout_of, mixed_rows):
    data = layout_of(mixed_rows)
    assert data.k == len(mixed_rows)
    rows = np.concatenate(data.block_rows)
    np.testing.assert_array_equal(np.sort(rows), np.arange(data.k))
    for b, part in enumerate(data.block_rows):
        assert (data.block_of_row[part] == b).all()
    assert blocks_as_sets(data) == {
        *(frozenset({i}) for i in range(5)),
        frozenset({5, 6}),
        frozenset({7, 8, 9}),
        frozenset({10, 11}),
        frozenset({12, 13, 14}),
    }


def test_singles_by_kind(layout_of, mixed_rows):
    data = layout_of(mixed_rows)
    assert data.single_exact.tolist() == [0]
    assert data.single_unsigned.tolist() == [1]
    assert data.single_beyond.tolist() == [2, 3]
    assert data.single_within.tolist() == [4]
    assert not data.gaussian


def test_order_of_rows_does_not_decide_who_is_in_a_block(layout_of, mixed_rows):
    order = np.random.default_rng(5).permutation(len(mixed_rows))
    data = layout_of([mixed_rows[i] for i in order])
    back = {frozenset(int(order[i]) for i in rows) for rows in data.block_rows}
    assert back == blocks_as_sets(layout_of(mixed_rows))


def test_same_people_share_tau_and_errors(layout_of, mixed_rows):
    data = layout_of(mixed_rows)
    block = data.exact_blocks
    b = int(np.flatnonzero(block.rows[:, 0] == 5)[0])
    np.testing.assert_array_equal(block.mask[b], [1, 1, 0])
    np.testing.assert_array_equal(block.G[b], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    covariance = 0.6 * np.sqrt(0.04 * 0.06)
    expected = np.array([[0.04, covariance, 0], [covariance, 0.06, 0], [0, 0, 1]])
    np.testing.assert_allclose(block.V[b], expected, rtol=1e-14)


def test_a_control_group_shared_across_studies_links_errors_but_not_tau(layout_of):
    data = layout_of(
        [
            {"yi": 0.4, "sample_id": "a", "control_id": "k"},
            {"yi": 0.2, "sample_id": "b", "control_id": "k"},
            {"yi": 0.1, "sample_id": "c", "control_id": "other"},
        ]
    )
    assert blocks_as_sets(data) == {frozenset({0, 1}), frozenset({2})}
    np.testing.assert_array_equal(data.exact_blocks.G[0], np.eye(2))
    # Gleser & Olkin: 1 / n_control + g1 g2 / (2 N), N = three groups of 50
    np.testing.assert_allclose(data.exact_blocks.V[0, 0, 1], 1 / 50 + 0.4 * 0.2 / 300, rtol=1e-14)


def test_a_chain_of_shared_groups_is_one_block(layout_of):
    rows = [
        {"yi": 0.1, "sample_id": "a", "control_id": "k1"},
        {"yi": 0.2, "sample_id": "b", "control_id": "k2"},
        {"yi": 0.3, "sample_id": "b", "control_id": "k1"},
        {"yi": 0.4, "sample_id": "d", "control_id": "k4"},
    ]
    assert blocks_as_sets(layout_of(rows)) == {frozenset({0, 1, 2}), frozenset({3})}


def test_contrasts_of_one_study_share_half_of_tau_for_each_arm_in_common(layout_of):
    arms = [("ill", "well"), ("worse", "well"), ("ill", "worse"), ("well", "ill")]
    data = layout_of(
        [
            {"study_id": "S", "yi": 0.1 * i, "condition": case, "comparator": control}
            for i, (case, control) in enumerate(arms)
        ]
    )
    g = data.exact_blocks.G[0]
    expected = [
        [1, 0.5, 0.5, -1],  # ill-well
        [0.5, 1, -0.5, -0.5],  # worse-well
        [0.5, -0.5, 1, -0.5],  # ill-worse
        [-1, -0.5, -0.5, 1],  # well-ill
    ]
    np.testing.assert_array_equal(g, expected)
    # (ill-well) - (worse-well) = ill-worse: no more variance than the network model allows.
    contrast = np.array([1.0, -1.0, -1.0, 0.0])
    assert contrast @ g @ contrast == pytest.approx(0.0, abs=1e-15)


def test_rows_without_named_arms_are_one_contrast(layout_of):
    rows = [
        {"study_id": "S", "yi": y, "condition": "x", "comparator": "x"} for y in (0.1, 0.2, 0.3)
    ]
    np.testing.assert_array_equal(layout_of(rows).exact_blocks.G[0], np.ones((3, 3)))


def test_empty_ids_share_nobody(layout_of):
    for empty in ("", None, np.nan):
        data = layout_of([{"yi": 0.1, "sample_id": empty, "control_id": empty} for _ in range(3)])
        assert blocks_as_sets(data) == {frozenset({i}) for i in range(3)}
        assert data.exact_blocks is None
        assert data.gaussian


def test_blocks_never_cross_mechanisms(layout_of):
    rows = [
        {"yi": 0.1, "study_id": "S", "sample_id": "a", "control_id": "k", "mechanism": m}
        for m in ("m", "n")
    ]
    assert blocks_as_sets(layout_of(rows)) == {frozenset({0}), frozenset({1})}


def test_a_bound_on_another_contrast_stands_alone(layout_of):
    rows = [
        {"study_id": "S", "sample_id": "a", "yi": 0.1},
        {"study_id": "S", "sample_id": "a", "yi": 0.2},
        {"study_id": "S", "sample_id": "a", "kind": "interval", "lower": 0.3, "upper": INF,
         "comparator": "other"},
    ]  # fmt: skip
    assert blocks_as_sets(layout_of(rows)) == {frozenset({0, 1}), frozenset({2})}


def test_a_bound_takes_the_exact_rows_of_its_contrast_with_it(layout_of):
    rows = [
        {"study_id": "S", "sample_id": "a", "yi": 0.1},
        {"study_id": "S", "sample_id": "a", "kind": "interval", "lower": 0.3, "upper": INF},
        {"study_id": "T", "sample_id": "b", "kind": "interval", "lower": 0.3, "upper": INF},
        {"study_id": "T", "sample_id": "b", "kind": "interval", "lower": -0.3, "upper": 0.3},
    ]
    block = layout_of(rows).bound_blocks
    np.testing.assert_array_equal(block.exact_mask, [[1], [0]])
    np.testing.assert_array_equal(block.bounds_mask, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(block.first, [1, 2])
    assert block.exact[0, 0] == 0
    np.testing.assert_array_equal(block.bounds[1], [2, 3])
    np.testing.assert_allclose(block.rho, 0.6)


@pytest.mark.parametrize(
    ("first", "second", "rho"),
    [
        ({"sample_id": "a", "control_id": "k"}, {"sample_id": "a", "control_id": "k"}, 0.6),
        ({"sample_id": "a", "control_id": "k"}, {"sample_id": "b", "control_id": "l"}, 0.0),
        # the controls' share of the two variances: (1/50) / 0.04
        ({"sample_id": "a", "control_id": "k"}, {"sample_id": "b", "control_id": "k"}, 0.5),
        ({"sample_id": "", "control_id": ""}, {"sample_id": "", "control_id": ""}, 0.0),
    ],
)
def test_error_correlation_of_bounds(layout_of, first, second, rho):
    common = {"study_id": "S", "kind": "interval", "lower": -0.3, "upper": 0.3}
    data = layout_of([{**common, **first}, {**common, **second}])
    assert data.bound_blocks.rho[0] == pytest.approx(rho, abs=1e-15)


def test_sign_patterns_cover_each_combination_once(layout_of):
    rows = [
        {"study_id": "S", "yi": 0.1, "kind": "unsigned"},
        {"study_id": "S", "yi": 0.2},
        {"study_id": "S", "yi": 0.3, "kind": "unsigned"},
        {"study_id": "T", "yi": 0.3},
        {"study_id": "T", "yi": 0.4, "kind": "unsigned"},
        {"study_id": "U", "yi": 0.4},
        {"study_id": "U", "yi": 0.4},
    ]
    block = layout_of(rows).exact_blocks
    assert block.signs.shape == (3, 4, 3)
    for b, distinct in enumerate((4, 2, 1)):
        weight: dict[tuple[float, ...], float] = {}
        for signs, log_weight in zip(block.signs[b], block.log_weight[b], strict=True):
            key = tuple(signs)
            weight[key] = weight.get(key, 0.0) + np.exp(log_weight)
        assert len(weight) == distinct
        # f(y) + f(-y): every pattern counts once, it is not an average
        np.testing.assert_allclose(list(weight.values()), 1.0, rtol=1e-14)
    assert not layout_of(rows).gaussian


def test_given_the_common_part_rows_of_bound_blocks_stand_alone(frame_of, mixed_rows):
    frame = frame_of(mixed_rows)
    data = layout(frame, vcalc, 0.6)
    flat = given_common_part(data, frame["kind"].to_numpy())
    np.testing.assert_array_equal(flat.v, data.v)
    assert flat.bound_blocks is None
    alone = np.concatenate(
        [flat.single_exact, flat.single_unsigned, flat.single_beyond, flat.single_within]
    )
    assert sorted(alone.tolist()) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert 14 in flat.single_beyond
    assert 13 in flat.single_unsigned


def test_an_index_that_does_not_count_from_zero(frame_of, mixed_rows):
    frame = frame_of(mixed_rows)
    moved = frame.set_index(np.arange(len(frame)) * 7 + 100)
    a, b = layout(frame, vcalc, 0.6), layout(moved, vcalc, 0.6)
    np.testing.assert_array_equal(a.block_of_row, b.block_of_row)
    np.testing.assert_array_equal(a.exact_blocks.V, b.exact_blocks.V)
