"""Tables of pools: how a row's shrunken effect was computed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.pooled import pool

PRIORS = {"mu_prior": "normal(0,4)", "tau_prior": "halfnormal(0.5)"}


def test_rows_say_how_their_effects_were_computed():
    frame = pd.DataFrame(
        {"yi": [0.3, 0.5, np.nan], "vi": [0.04, 0.09, 0.05], "upper": [np.nan, np.nan, 0.4]}
    )

    def computed_by(rows, **options):
        data = read_simple(rows, "yi", vi="vi", study="study", lower="lower", upper="upper")
        return pool(data, **{**PRIORS, **options}).rows["shrunk_by"].tolist()

    alone = frame.assign(study=list("abc"), lower=np.nan)
    assert computed_by(alone) == ["quadrature"] * 3
    assert computed_by(alone.head(2)) == ["quadrature"] * 2
    # A study with a bound among its rows.
    assert computed_by(alone.assign(study=list("abb"))) == ["quadrature", "draws", "draws"]
    assert (
        computed_by(alone.head(2).assign(study=list("aa")), mu_prior="student_t(4,0,1)")
        == ["nodes"] * 2
    )
    # Very far out, quadrature of single effects gives up where that of the pool does not.
    far = pd.DataFrame({"study": ["d"], "vi": [1e-4], "lower": [10.0]})
    both = pd.concat([alone, far], ignore_index=True)
    narrow = {"mu_prior": "normal(0,1)", "tau_prior": "halfnormal(0.001)"}
    assert computed_by(both, **narrow) == ["draws"] * 3 + ["quadrature"]
