"""What a pool says of its own data where quadrature fails."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.exact import fit_exact, log_evidence
from nssi_meta.models.priors import parse_prior

MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")


def rows(vi):
    """Of one study an estimate with variance `vi` and a bound; of another a bound."""
    bound = {"kind": "interval", "lower": 0.3, "upper": np.inf}
    return [
        {"study_id": "a", "yi": 0.1, "vi": vi}, {"study_id": "a", "vi": 1.0, **bound},
        {"study_id": "b", "vi": vi, **bound},
    ]  # fmt: skip


@pytest.mark.parametrize(("vi", "named"), [(1e-12, True), (0.1, False)])
def test_a_refusal_names_variances_that_are_far_apart(vi, named, layout_of, monkeypatch):
    # With the nodes that there are it takes 4 s to find that they do not do.
    monkeypatch.setattr("nssi_meta.inference.adaptive.MAX_NODES", 2000)
    data = layout_of(rows(vi))
    with pytest.raises(FloatingPointError, match="could not be resolved") as whole:
        fit_exact(data, mu_prior=MU, tau_prior=TAU, omega_prior=TAU)
    with pytest.raises(FloatingPointError, match="could not be resolved") as part:
        log_evidence(data, mu_prior=None, tau_prior=TAU, omega_prior=TAU)
    for refusal in (str(whole.value), str(part.value)):
        assert ("run from 1e-12 to 1: check the smallest" in refusal) == named
