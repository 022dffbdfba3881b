"""Leave-one-out and its kin against metafor's, which iterates to its default tolerance here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nssi_meta.inference.frequentist import rma
from nssi_meta.inference.influence import blup, cumul, influence, leave1out

_SETS = json.loads((Path(__file__).parent.parent / "reference" / "rma.json").read_text("utf-8"))[
    "sets"
]

#: metafor's Fisher scoring stops at changes of 1e-5 in tau2; measured: 4e-6 absolute.
TOLERANCE = 2e-5


@pytest.mark.parametrize("name", ["bcg_RR", "dorn2007_RR"])
@pytest.mark.parametrize("function", [blup, leave1out, influence, cumul])
def test_agrees_with_metafor(name, function):
    data = _SETS[name]
    found = function(rma(data["yi"], data["vi"]))
    expected = data["extra"][function.__name__]
    assert len(expected) >= 4
    for column, values in expected.items():
        ours = found[column.replace(".", "_")]
        np.testing.assert_allclose(ours, values, rtol=TOLERANCE, atol=TOLERANCE, err_msg=column)


def test_influence_of_a_regression_matches_refits():
    data = _SETS["bcg_RR"]
    y, v, x = np.array(data["yi"]), np.array(data["vi"]), np.linspace(-1, 1, 13)
    fit = rma(y, v, x)
    without = rma(y[1:], v[1:], x[1:])
    change = fit.beta - without.beta
    assert influence(fit)["cook_d"][0] == pytest.approx(change @ np.linalg.solve(fit.vb, change))
    assert influence(fit)["hat"].sum() == pytest.approx(2)


def test_what_has_no_answer_is_refused():
    with pytest.raises(ValueError, match="fit without X"):
        leave1out(rma([1, 2, 3, 5], [1] * 4, [1, 2, 3, 5]))
    with pytest.raises(ValueError, match="give at least 2"):
        leave1out(rma([1.0], [1.0], method="EE"))
    with pytest.raises(ValueError, match=r"each of 0\.\.2 once"):
        cumul(rma([1, 2, 3], [1] * 3), [0, 1, 1])
    with pytest.raises(ValueError, match="method='REML'"):
        blup(rma([1, 2, 3], [1] * 3, method="EE"))
    with pytest.raises(ValueError, match=r"without study \[2\].*fewer moderators"):
        influence(rma([1, 2, 3, 4], [1] * 4, [0, 0, 1, 0]))
