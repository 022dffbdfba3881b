"""Many pools at once: the same numbers as one at a time, and refusals that name the pool."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from nssi_meta.inference import batch, batch_grid
from nssi_meta.inference.batch import COLUMNS, fit_many, leave_one_out
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import fit_exact
from nssi_meta.models.blocks import independent
from nssi_meta.models.priors import PriorError, parse_prior

_SETS = json.loads(
    (Path(__file__).parent.parent / "reference" / "bayesmeta_exact.json").read_text("utf-8")
)["sets"]
BCG = np.array(_SETS["bcg_RR"]["y"]), np.array(_SETS["bcg_RR"]["sigma"]) ** 2
PRIORS = {"mu_prior": "normal(0,4)", "tau_prior": "halfnormal(0.5)"}


def one_by_one(y, v, mu, tau, kind="central"):
    """The batch's columns from `fit_exact`."""
    post = fit_exact(
        independent(np.asarray(y, float), np.asarray(v, float)),
        mu_prior=parse_prior(mu, "mu"),
        tau_prior=parse_prior(tau, "tau"),
    )
    spread = post.tau_density
    ends = [interval(d, 0.95, kind, low) for d, low in
            ((post.mu, -np.inf), (spread, 0.0), (post.prediction, -np.inf))]  # fmt: skip
    evidence = np.nan if post.log_evidence is None else post.log_evidence
    return [len(y), post.mu.quantile(0.5), post.mu.mean, post.mu.sd, *ends[0],
            spread.quantile(0.5), spread.mean, spread.sd, *ends[1], *ends[2], post.p_positive,
            evidence, post.error]  # fmt: skip


def agree(table, expected, tolerance=1e-8):
    """Locations and spreads in units of their own SD; the rest as they are."""
    for got, want in zip(table.to_numpy(float), expected, strict=True):
        want = dict(zip(COLUMNS, want, strict=True))
        unit = {
            "mu": want["mu_sd"],
            "tau": want["tau_sd"] if np.isfinite(want["tau_sd"]) else want["tau_median"],
            "pred": want["pred_high"] - want["pred_low"],
        }
        for name, value in zip(COLUMNS, got, strict=True):
            scale = unit.get(name.split("_")[0], 1.0)
            gap = 0.0 if value == want[name] else abs(value - want[name]) / scale
            both_none = np.isnan(value) and np.isnan(want[name])
            # An SD that does not exist is a number for the nodes of one pool alone.
            assert gap < tolerance or both_none or np.isinf(value), (name, value, want[name])


@pytest.mark.parametrize("kind", ["central", "shortest"])
@pytest.mark.parametrize(
    ("mu", "tau"),
    [
        ("normal(0,4)", "halfnormal(0.5)"),
        ("flat", "halfcauchy(0.5)"),
        ("flat", "uniform(0,inf)"),
        ("normal(0,1)", "uniform(0.1,3)"),
        ("normal(1,1)", "lognormal(-1,1)"),
        ("normal(0,1)", "exponential(0.5)"),
        ("normal(0,1)", "halft(3,0.5)"),
        ("student_t(4,0,1)", "halfnormal(0.5)"),
    ],
)
def test_equals_one_fit_at_a_time(mu, tau, kind):
    """Measured: 3e-13 posterior SDs, both being the same quadrature; promised: 1e-8."""
    sets = [(np.array(s["y"]), np.array(s["sigma"]) ** 2) for s in _SETS.values()]
    which = np.repeat(list(_SETS), [len(y) for y, _ in sets])
    y, v = (np.concatenate(a) for a in zip(*sets, strict=True))
    table = fit_many(y, v, which, mu_prior=mu, tau_prior=tau, interval=kind)
    assert list(table.index) == list(_SETS)
    assert list(table.columns) == list(COLUMNS)
    agree(table, [one_by_one(y, v, mu, tau, kind) for y, v in sets])


def test_equals_the_other_programs_numbers():
    table = fit_many(BCG[0][None], BCG[1][None], **PRIORS).iloc[0]
    want = next(
        r for r in _SETS["bcg_RR"]["results"]
        if (r["tau_prior"], r["mu_prior"]) == ("halfnormal(0.5)", "normal(0,4)")
    )  # fmt: skip
    got = table[["mu_median", "mu_mean", "mu_sd", "mu_low", "mu_high", "tau_median", "tau_mean",
                 "tau_sd", "tau_low", "tau_high", "pred_low", "pred_high", "p_positive",
                 "log_evidence"]]  # fmt: skip
    mu, tau, new = want["mu"], want["tau"], want["prediction"]
    expected = [mu["median"], mu["mean"], mu["sd"], *mu["central95"], tau["median"], tau["mean"],
                tau["sd"], *tau["central95"], *new["central95"], mu["p_gt0"],
                want["log_evidence"]["mufree_taufree"]]  # fmt: skip
    # The tolerance of test_exact_reference.py.
    np.testing.assert_allclose(got.to_numpy(float), expected, atol=1e-10)


def test_pools_of_any_size_and_shape():
    """Random pools of 1 to 60 effects, extremes among them, padded side by side."""
    rng = np.random.default_rng(3)
    pools = [
        (rng.standard_t(2, k) * 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-3, 1, k))
        for k in rng.integers(1, 60, 12)
    ]
    pools += [
        (np.arange(4) * 1e6, np.full(4, 0.04)),
        (np.arange(4) * 0.1, np.full(4, 1e-12)),
        (np.full(6, 0.25), np.full(6, 0.04)),
        (np.array([0.1, 0.4]), np.array([1e-12, 1e12])),
        (np.repeat([-3.0, 3.0], 20), np.full(40, 0.01)),
        (np.array([0.0, 0.0, 0.0, 10.0]), np.array([1e-4, 1e-4, 1.0, 1.0])),
    ]
    width = max(len(y) for y, _ in pools)
    yi, vi = np.full((2, len(pools), width), np.nan)
    for i, (y, v) in enumerate(pools):
        yi[i, width - len(y) :], vi[i, width - len(y) :] = y, v  # gaps may stand anywhere
    for kind in ("central", "shortest"):
        table = fit_many(yi, vi, interval=kind, **PRIORS)
        agree(table, [one_by_one(y, v, *PRIORS.values(), kind) for y, v in pools])
        assert (table["error"] < 1e-8).all()


def test_pools_do_not_touch_each_other(monkeypatch):
    """The order of pools, their company and the size of the chunks change nothing."""
    rng = np.random.default_rng(8)
    yi, vi = rng.normal(0.3, 0.4, (40, 9)), rng.uniform(0.01, 0.2, (40, 9))
    table = fit_many(yi, vi, **PRIORS)
    order = rng.permutation(40)
    # Sums in another order: rounding alone.
    mixed = fit_many(yi[order], vi[order], **PRIORS)
    np.testing.assert_allclose(mixed, table.loc[order], rtol=1e-11, atol=1e-13)
    monkeypatch.setattr(batch_grid, "_CHUNK", 500)
    np.testing.assert_allclose(fit_many(yi, vi, **PRIORS), table, rtol=1e-11, atol=1e-13)


def test_a_pool_that_the_batch_does_not_resolve_is_fitted_alone(monkeypatch):
    yi, vi = np.tile(BCG[0], (2, 1)), np.tile(BCG[1], (2, 1))
    expected = fit_many(yi, vi, **PRIORS)
    monkeypatch.setattr(batch_grid, "MAX_ROUNDS", 1)
    monkeypatch.setattr(batch, "fit_exact", (counted := Mock(wraps=fit_exact)))
    np.testing.assert_allclose(fit_many(yi, vi, **PRIORS), expected, rtol=1e-9, atol=1e-13)
    assert counted.call_count == 2


def test_leave_one_out():
    table = leave_one_out(*BCG, **PRIORS)
    assert len(table) == 13
    assert (table["k"] == 12).all()
    for i in (0, 7, 12):
        agree(
            table.iloc[[i]], [one_by_one(*(np.delete(a, i) for a in BCG), "normal(0,4)",
                                         "halfnormal(0.5)")]
        )  # fmt: skip


def test_moments_that_do_not_exist_are_infinite():
    table = fit_many([[0.7, np.nan], [0.7, 0.2]], [[0.04, np.nan], [0.04, 0.04]],
                     mu_prior="flat", tau_prior="halfcauchy(0.5)")  # fmt: skip
    assert np.isinf(table.loc[0, ["tau_mean", "tau_sd", "mu_sd"]].to_numpy(float)).all()
    assert np.isfinite(table.loc[1, "tau_mean"])
    assert table["log_evidence"].isna().all()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"vi": [[0.1, 0.0], [0.1, 0.1]]}, ValueError, "pool 0 has a sampling variance that is no"),
        ({"vi": [[0.1, 0.1], [0.1, np.inf]]}, ValueError, "pool 1 has a sampling variance"),
        ({"vi": [[0.1, 0.1], [0.1, np.nan]]}, ValueError, "pool 1 has a sampling variance"),
        ({"yi": [[0.1, 0.1], [np.nan, 1.0]]}, ValueError, "pool 1 has an effect that is no"),
        ({"vi": [[0.1, 0.1]]}, ValueError, "differ in shape"),
        ({"yi": [0.1, 0.2], "vi": [0.1, 0.1]}, ValueError, "name each effect's pool"),
        ({"pool": ["a", "b"]}, ValueError, "of one length"),
        ({"yi": [0.1, 0.2], "vi": [0.1, 0.1], "pool": ["a", None]}, ValueError, "names no pool"),
        ({"yi": np.full((1, 2), np.nan), "vi": np.full((1, 2), np.nan)}, ValueError, "no effect"),
        ({"yi": np.zeros((0, 2)), "vi": np.zeros((0, 2))}, ValueError, "no pool"),
        ({"level": 1.0}, ValueError, "level must lie between"),
        ({"interval": "hdi"}, ValueError, "central or shortest"),
        ({"tau_prior": "halfnormal(-1)"}, PriorError, "above 0"),
        ({"tau_prior": "flat"}, None, ""),
        ({"mu_prior": "flat", "tau_prior": "flat"}, PriorError, "pool 0: an improper prior"),
    ],
)
def test_bad_input_is_refused(change, error, says):
    given = {"yi": [[0.1, 0.2], [0.3, 0.4]], "vi": [[0.1, 0.1], [0.1, 0.1]], **PRIORS, **change}
    if error is None:
        assert len(fit_many(**given)) == 2
        return
    with pytest.raises(error, match=says):
        fit_many(**given)


@pytest.mark.parametrize(("yi", "vi"), [([0.1], [0.1]), ([[0.1, 0.2]], [[0.1, 0.1]])])
def test_leaving_one_out_needs_two(yi, vi):
    with pytest.raises(ValueError, match="two or more"):
        leave_one_out(yi, vi, **PRIORS)


def test_a_mean_that_does_not_exist_is_not_printed():
    """One study, flat mu, half-Cauchy tau: the tail of mu falls as x^-2."""
    table = fit_many([[0.1]], [[0.04]], mu_prior="flat", tau_prior="halfcauchy(0.5)")
    assert np.isnan(table["mu_mean"].iloc[0])
    assert np.isinf(table["mu_sd"].iloc[0])
    assert np.isfinite(table["mu_median"].iloc[0])
