"""Rows that are no evidence are refused by number: none of them may pass for a posterior."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.sampled import fit_pool_nuts
from nssi_meta.models.blocks import independent
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.priors import parse_prior

INF, NAN = np.inf, np.nan
MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")


def bounded(lower, upper, **more):
    return {"kind": "interval", "lower": lower, "upper": upper, **more}


#: The second row of three is wrong; in the last two it stands in a block with the third.
WRONG = [
    ({"yi": NAN}, "row 2 of the pool has an effect of nan"),
    ({"yi": INF}, "row 2 of the pool has an effect of inf"),
    ({"yi": NAN, "kind": "unsigned"}, "row 2 of the pool has an effect of nan"),
    ({"yi": 0.3, "vi": 0.0}, "row 2 of the pool has a sampling variance of 0;"),
    ({"yi": 0.3, "vi": NAN}, "row 2 of the pool has a sampling variance of nan"),
    (bounded(0.5, -0.5), "row 2 of the pool is bounded by 0.5 and -0.5; the lower end must"),
    (bounded(0.4, 0.4), "row 2 of the pool is bounded by 0.4 and 0.4"),
    (bounded(-INF, INF), "row 2 of the pool is bounded by -inf and inf"),
    (bounded(NAN, 0.4), "row 2 of the pool is bounded by nan and 0.4"),
    (bounded(0.4, NAN), "row 2 of the pool is bounded by 0.4 and nan"),
    (bounded(NAN, 0.4, study_id="B"), "row 2 of the pool is bounded by nan and 0.4"),
    ({"yi": NAN, "study_id": "B"}, "row 2 of the pool has an effect of nan"),
]


@pytest.mark.parametrize(("row", "words"), WRONG)
def test_a_row_that_says_nothing_is_refused(layout_of, row, words):
    data = layout_of([{"yi": 0.1}, row, bounded(0.3, INF, study_id="B")])
    kind = np.array(["exact", row.get("kind", "exact"), "interval"], dtype=object)
    with pytest.raises(ValueError, match=words):
        check_rows(data)
    with pytest.raises(ValueError, match=words):
        fit_exact(data, mu_prior=MU, tau_prior=TAU)
    with pytest.raises(ValueError, match=words):
        fit_pool_nuts(data, kind, MU, TAU, None, seed=1)


def test_rows_of_every_kind_pass(layout_of, mixed_rows):
    check_rows(layout_of(mixed_rows))


def test_a_pool_without_rows_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        check_rows(independent(np.zeros(0), np.zeros(0)))


def test_a_kind_that_is_not_known_is_refused(layout_of):
    """It would belong to no form of likelihood, and be left out without a word."""
    with pytest.raises(ValueError, match="kind 'bound' is not known; allowed: exact, interval"):
        layout_of([{"yi": 0.1}, bounded(0.3, INF) | {"kind": "bound"}])
