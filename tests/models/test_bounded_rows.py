"""Rows of any kind: which studies give several rows, and which blocks hold several studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import layout
from nssi_meta.models.bounded import bounded_regression
from nssi_meta.models.bounded_rows import bounded_rows
from nssi_meta.models.horseshoe import horseshoe
from nssi_meta.models.location_scale import location_scale

INF = np.inf
BOUND = {"kind": "interval", "lower": 0.4, "upper": INF}
PRIORS = ["normal(0,1)"]
#: Two studies of the same people, a study of its own and a bound: a block of two rows.
SHARED = [
    {"study_id": "A", "sample_id": "people", "yi": 0.5},
    {"study_id": "B", "sample_id": "people", "yi": 0.1, "vi": 0.06},
    {"study_id": "C", "yi": 0.3},
    {"study_id": "D", **BOUND},
]
#: One study with two rows, which have no people in common.
SEVERAL = [{**SHARED[0], "sample_id": "a"}, {**SHARED[1], "study_id": "A"}, *SHARED[2:]]


def rows_of(frame, columns=1):
    X = np.cos(np.arange(len(frame))[:, None] * np.arange(columns))
    return bounded_rows(layout(frame, vcalc), frame["kind"].to_numpy(), X)


def made_of(frame, which):
    if which == "horseshoe":
        return horseshoe(rows_of(frame, 3), ["mu", "a", "b"], 1, "normal(0,1)")
    if which == "location-scale":
        return location_scale(rows_of(frame), ["mu"], PRIORS, np.ones((len(frame), 1)), ["scale"])
    return bounded_regression(rows_of(frame), ["mu"], PRIORS)


@pytest.mark.parametrize("which", ["normal", "location-scale", "horseshoe"])
def test_studies_that_share_people_bring_no_omega(frame_of, which):
    """omega is in where a study gives several rows, as the exact engine has it, not a block."""
    shared, several = (made_of(frame_of(rows), which) for rows in (SHARED, SEVERAL))
    names = [[v.name for v in s.build(s.values).free_RVs] for s in (shared, several)]
    assert not any("omega" in name for name in names[0])
    assert "omega_folded" in names[1]
    assert shared.key != several.key


def test_the_studies_of_a_block_have_effects_of_their_own(frame_of):
    """What they share is people: their errors correlate by 0.6, their study effects do not."""
    structure = made_of(frame_of(SHARED), "normal")
    mu, tau = 0.2, 0.3
    draws = {"coef": np.array([[mu]]), "tau": np.array([tau])}
    value = structure.log_likelihood(draws)[0]
    v = np.array([0.04, 0.06])
    errors = 0.6 * np.sqrt(np.outer(v, v)) + 0.4 * np.diag(v)
    pair = stats.multivariate_normal([mu, mu], errors + tau**2 * np.eye(2))
    expected = dict.fromkeys(structure.studies, np.nan)
    expected["rows 1, 2"] = pair.logpdf([0.5, 0.1])
    wide = np.hypot(tau, 0.2)
    expected["rows 3"] = stats.norm(mu, wide).logpdf(0.3)
    expected["rows 4"] = stats.norm(mu, wide).logsf(0.4)
    # closed forms on both sides
    np.testing.assert_allclose(value, list(expected.values()), rtol=1e-12)


def test_studies_of_several_rows_are_numbered(frame_of, mixed_rows):
    """Of whatever kind: each has a lambda of its own."""
    rows = rows_of(frame_of(mixed_rows))
    by_study = dict(zip(frame_of(mixed_rows)["study_id"], rows.several.tolist(), strict=True))
    letters = [by_study[name] for name in "ABCD"]
    assert sorted(letters) == [1, 2, 3, 4]
    assert [by_study[f"study {i}"] for i in range(5)] == [0] * 5
    for name, number in zip("ABCD", letters, strict=True):
        assert (rows.several == number).tolist() == (
            frame_of(mixed_rows)["study_id"] == name
        ).tolist()


def test_t_effects_of_studies_that_share_people_are_refused(frame_of):
    """One lambda of a block would be one for both studies: `StudyTables` refuses that as well."""
    with pytest.raises(ValueError, match=r"rows 1, 2 are of different studies that share people"):
        bounded_regression(rows_of(frame_of(SHARED)), ["mu"], PRIORS, student=True)
    rows = rows_of(frame_of(SEVERAL))
    assert rows.mixed == ()
    bounded_regression(rows, ["mu"], PRIORS, student=True)
