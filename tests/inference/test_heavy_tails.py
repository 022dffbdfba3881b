"""Student's t effects by quadrature: against the integrals written out, and its limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import t as student

from nssi_meta.evidence.simple import read_simple
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.densities import gauss_legendre
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.heavy_tails import StudyTables, _freedom, fit_heavy_tails
from nssi_meta.models.blocks import independent, layout
from nssi_meta.models.priors import PriorError, parse_prior

MU, TAU = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")
NAMES = np.array([f"s{i}" for i in range(9)], dtype=object)


def fitted(y, v, **options):
    data = independent(np.array(y, dtype=float), np.array(v, dtype=float))
    tables = StudyTables(data, NAMES[: len(y)])
    return data, tables, fit_heavy_tails(tables, mu_prior=MU, tau_prior=TAU, **options)


def test_a_study_has_the_density_of_t_plus_normal():
    """Tabulated mixtures against scipy's quad over u; 1e-6 is the interpolation's."""
    data, tables, _ = fitted([0.7, -0.2], [0.04, 0.09])
    tau, nu = np.array([0.05, 0.4, 2.0]), np.array([1.5, 4.0, 30.0])
    mu, _ = gauss_legendre(12)
    value, top = tables.at(mu, np.zeros(1), 12)
    mixed = np.einsum("anT,bTmo->banmo", tables.mixing(tau, nu), value) * np.exp(top)[:, None, None]
    for b in range(2):
        for i, t in enumerate(tau):
            for j, freedom in enumerate(nu):

                def f(u, t=t, freedom=freedom, b=b):
                    sd = np.sqrt(data.v[b])
                    return student.pdf(u / t, freedom) / t * norm.pdf(data.y[b], mu[5] + u, sd)

                at = [0.0, data.y[b] - mu[5]]
                want = sum(quad(f, *ends, points=at if ends == (-9, 9) else None, limit=200)[0]
                           for ends in ((-np.inf, -9), (-9, 9), (9, np.inf)))  # fmt: skip
                assert mixed[b, i, j, 5, 0] == pytest.approx(want, rel=1e-6)


def test_many_degrees_of_freedom_are_the_normal_pool(monkeypatch):
    y, v = [0.3, 0.5, 0.1, 0.9], [0.04, 0.05, 0.03, 0.08]
    from nssi_meta.inference import heavy_tails

    monkeypatch.setattr(heavy_tails, "_freedom", lambda n: (np.array([1e6]), np.zeros(1)))
    data, _, mu = fitted(y, v)
    normal = fit_exact(data, mu_prior=MU, tau_prior=TAU).mu
    for p in (0.025, 0.5, 0.975):
        assert mu.quantile(p) == pytest.approx(normal.quantile(p), abs=1e-5)


def test_an_outlier_pulls_less_and_nodes_of_nu_suffice():
    y, v = [0.1, 0.15, 0.05, 0.12, 0.08, 2.5], [0.02] * 6
    data, tables, robust = fitted(y, v)
    normal = fit_exact(data, mu_prior=MU, tau_prior=TAU).mu
    assert 0.05 < robust.quantile(0.5) < normal.quantile(0.5) - 0.1
    more = fit_heavy_tails(tables, mu_prior=MU, tau_prior=TAU, n_nu=20)
    for p in (0.025, 0.5, 0.975):
        assert more.quantile(p) == pytest.approx(robust.quantile(p), abs=1e-4)


def test_the_prior_of_nu_is_the_truncated_gamma():
    nu, log_p = _freedom(20)
    from scipy.stats import gamma

    prior = gamma(2, scale=10)
    mass = prior.sf(1)
    want = quad(lambda x: x * prior.pdf(x) / mass, 1, np.inf)[0]
    assert np.exp(log_p) @ nu == pytest.approx(want, rel=1e-4)  # mean; the tail above 200 is cut


def test_people_in_two_studies_and_improper_priors_are_refused(tmp_path):
    path = tmp_path / "effects.csv"
    pd.DataFrame({"yi": [0.1, 0.4], "vi": [0.1, 0.2], "study": ["a", "b"]}).to_csv(
        path, index=False
    )
    rows = read_simple(path, yi="yi", vi="vi", study="study").assign(sample_id="same people")
    data = layout(rows, vcalc)
    with pytest.raises(ValueError, match="share no people"):
        StudyTables(data, rows["study_id"].to_numpy())
    _, tables, _ = fitted([0.1, 0.2], [0.1, 0.1])
    for mu, tau in (("flat", "halfnormal(0.5)"), ("normal(0,1)", "zero")):
        with pytest.raises(PriorError, match="proper priors"):
            fit_heavy_tails(
                tables, mu_prior=parse_prior(mu, "mu"), tau_prior=parse_prior(tau, "tau")
            )
