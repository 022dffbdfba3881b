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


@pytest.mark.parametrize(
    ("y", "prior", "named"),
    [
        (1e6, "student_t(3,0,1)", True),
        (-1e6, "student_t(3,0,1)", True),
        (1e6, "student_t(3,1e6,1)", False),
        (1e6, "student_t(3,0,1e5)", False),
        (0.5, "student_t(3,0,1)", False),
    ],
)
def test_a_refusal_names_effects_far_from_the_prior_of_mu(y, prior, named, layout_of, monkeypatch):
    # Whether or not the rounds that there are would do.
    monkeypatch.setattr("nssi_meta.inference.adaptive.MAX_ROUNDS", 1)
    data = layout_of([{"yi": y, "vi": 1.0}, {"yi": y + 2.0, "vi": 1.5}, {"yi": y - 1.0, "vi": 2.0}])
    of_mu, of_tau = parse_prior(prior, "mu"), parse_prior("halfcauchy(1)", "tau")
    with pytest.raises(FloatingPointError, match="could not be resolved") as whole:
        fit_exact(data, mu_prior=of_mu, tau_prior=of_tau)
    with pytest.raises(FloatingPointError, match="could not be resolved") as part:
        log_evidence(data, mu_prior=of_mu, tau_prior=None)
    for refusal in (str(whole.value), str(part.value)):
        told = f"near {y:.3g} against student_t(3,0,1) on mu, of scale 1: give priors in the unit"
        assert (told in refusal) == named
        assert ("sampling variances" in refusal) is False


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
