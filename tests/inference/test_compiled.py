"""Structures sampled by NUTS: reference posteriors within Monte Carlo error, one compile each."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference import compiled
from nssi_meta.inference.compiled import compiled_for, refit
from nssi_meta.inference.compiling import Start
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.sampled import _structure, fit_pool_nuts
from nssi_meta.models import binomial_tables
from nssi_meta.models.binomial import binomial_normal
from nssi_meta.models.design import Combinations
from nssi_meta.models.horseshoe import horseshoe
from nssi_meta.models.location_scale import location_scale
from nssi_meta.models.priors import parse_prior
from nssi_meta.models.regression import regression
from nssi_meta.models.study_rows import study_rows
from nssi_meta.models.three_level import three_level

REFERENCE = Path(__file__).parent.parent / "reference"


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


def schools():
    frame = pd.read_csv(REFERENCE / "konstantopoulos2011.csv")
    return frame["yi"].to_numpy(), frame["vi"].to_numpy(), frame["district"].to_numpy()


def draws_of(fit, name):
    """(chain, draw) of a reported quantity such as `coef[ablat]`."""
    posterior = fit.posterior_data["posterior"].dataset
    base, _, label = name.removesuffix("]").partition("[")
    array = posterior[base]
    return np.asarray(array.sel({f"{base}_label": label}) if label else array)


def agrees(fit, name, mean, sd=None, mcse_mean=0.0, mcse_sd=0.0):
    """Mean and SD within four Monte Carlo standard errors (of both sides)."""
    from arviz_stats.base.array import array_stats

    draws = draws_of(fit, name)
    axes = {"chain_axis": 0, "draw_axis": 1}
    ours = float(array_stats.mcse(draws, method="mean", **axes))
    assert draws.mean() == pytest.approx(mean, abs=4 * np.hypot(ours, mcse_mean))
    if sd is not None:
        ours = float(array_stats.mcse(draws, method="sd", **axes))
        assert draws.std() == pytest.approx(sd, abs=4 * np.hypot(ours, mcse_sd))


@pytest.fixture(scope="module")
def three():
    structure = three_level(*schools())
    return structure, refit(structure, seed=1)


@pytest.mark.slow
def test_three_level_agrees_with_the_exact_posterior_and_with_brms(three):
    _, fit = three
    assert fit.converged
    exact = load("three_level_exact.json")["results"]["konstantopoulos_N01_HN0.5"]
    agrees(fit, "mean[mu]", exact["mu"]["mean"], exact["mu"]["sd"])
    agrees(fit, "tau", **exact["sd_outer"])
    agrees(fit, "omega", **exact["sd_inner"])
    agrees(fit, "prediction[mu]", exact["mu"]["mean"], exact["prediction"]["sd"])
    brms = load("brms.json")["results"]["konstantopoulos_3level"]
    for i, name in enumerate(("mean[mu]", "tau", "omega")):
        agrees(fit, name, *(brms[c][i] for c in ("mean", "sd", "mcse_mean", "mcse_sd")))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # one outlying study of three
def test_the_tree_holds_what_loo_and_power_scaling_need(three):
    import arviz_stats as az

    structure, fit = three
    tree = fit.posterior_data
    shape = tree["posterior"]["tau"].shape
    assert tree["log_likelihood"]["study"].shape == (*shape, 11)
    assert set(tree["log_prior"].data_vars) == {"coef", "tau", "omega"}
    assert structure.studies == tuple(tree["log_likelihood"]["study_id"].values)
    loo = az.loo(tree, var_name="study")
    assert np.isfinite(loo.elpd)
    table = az.psense_summary(tree, var_names=["tau", "omega"])
    assert np.isfinite(table["prior"]).all()


@pytest.mark.slow
def test_other_data_other_scales_and_known_covariance_need_no_second_compile(three, monkeypatch):
    """Correlated errors, half the rows, priors 100 times as wide: against the exact engine."""

    def never(*_, **__):
        raise AssertionError("compiled a second time")

    monkeypatch.setattr(compiled, "compile_model", never)
    y, v, district = schools()
    pick = np.flatnonzero(district < 100)[:20]
    y, district = 100 * y[pick], district[pick].astype(str)
    V = 1e4 * np.sqrt(np.outer(v[pick], v[pick])) * 0.6
    V[district[:, None] != district[None, :]] = 0.0
    np.fill_diagonal(V, 1e4 * v[pick])
    priors = ("normal(0,100)", "halfnormal(50)", "halfnormal(50)")
    fit = refit(three_level(y, V, district, *priors), seed=2)
    assert fit.converged
    exact = exact_fit(y, V, district, priors)
    agrees(fit, "mean[mu]", exact.mu.mean, exact.mu.sd)
    agrees(fit, "tau", exact.tau_density.mean, exact.tau_density.sd)
    agrees(fit, "omega", exact.omega_density.mean, exact.omega_density.sd)


def layout_of(y, V, study):
    from nssi_meta.models.blocks import layout

    frame = pd.DataFrame(
        {
            "study_id": study, "sample_id": "", "control_id": "", "mechanism": "m",
            "condition": "ill", "comparator": "well", "kind": "exact", "yi": y, "vi": np.diag(V),
            "lower": np.nan, "upper": np.nan, "n_case": 50.0, "n_control": 50.0,
        }
    )  # fmt: skip
    return layout(frame, lambda part: V[np.ix_(part.index, part.index)])


def exact_fit(y, V, study, priors):
    data = layout_of(y, V, study)
    mu, tau, omega = (parse_prior(p, r) for p, r in zip(priors, ("mu", "tau", "tau"), strict=True))
    return fit_exact(data, mu_prior=mu, tau_prior=tau, omega_prior=omega)


@pytest.mark.slow
def test_a_pool_of_exact_effects_uses_the_compiled_structure(three, monkeypatch):
    monkeypatch.setattr(compiled, "compile_model", None)
    y, v, district = schools()
    data = layout_of(y, np.diag(v), district.astype(str))
    mu, sd = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")
    fit, posterior = fit_pool_nuts(data, np.array(["exact"] * len(y)), mu, sd, sd, seed=7)
    assert fit.converged
    exact = load("three_level_exact.json")["results"]["konstantopoulos_N01_HN0.5"]
    agrees(fit, "mu", exact["mu"]["mean"], exact["mu"]["sd"])
    assert posterior.mu_draws.tolist() == draws_of(fit, "mu").ravel().tolist()
    assert set(fit.diagnostics["quantity"]) == {"mu", "tau", "omega", "prediction"}
    assert posterior.omega.mean() == pytest.approx(exact["sd_inner"]["mean"], abs=0.01)


def test_which_pools_have_a_structure():
    y, v, district = schools()
    mu, sd = parse_prior("normal(0,1)", "mu"), parse_prior("halfnormal(0.5)", "tau")
    data = layout_of(y, np.diag(v), district.astype(str))
    assert _structure(data, mu, sd, sd).key == three_level(y, v, district).key
    assert _structure(data, parse_prior("student_t(3,0,1)", "mu"), sd, sd) is None
    unknown = y.copy()
    unknown[3] = np.nan
    bounds = replace(data, single_beyond=np.array([3]), y=unknown)
    assert _structure(bounds, mu, sd, sd) is None
    two_contrasts = replace(
        data, exact_blocks=replace(data.exact_blocks, G=data.exact_blocks.G / 2)
    )
    assert _structure(two_contrasts, mu, sd, sd) is None


@pytest.mark.slow
def test_regression_agrees_with_the_exact_values():
    trials = pd.read_csv(REFERENCE / "bcg_counts.csv")
    effects = pd.read_csv(REFERENCE / "bcg_RR.csv")
    X = np.c_[np.ones(13), trials["ablat"] - 33.46]
    rows = study_rows(effects["yi"], effects["vi"], range(13), X)
    results = load("bmr_exact.json")["results"]
    there = Combinations({"equator": np.array([1.0, -33.46])}, {"per ten": np.array([0.0, 10.0])})
    for name, priors in (
        ("bcg_ablat_N04_N01_HN0.5", ["normal(0,4)", "normal(0,1)"]),
        ("bcg_ablat_flat_HN0.5", ["flat", "flat"]),
    ):
        exact = results[name]["exact"]
        structure = regression(rows, ["intercept", "ablat_c"], priors, combinations=there)
        fit = refit(structure, seed=3)
        assert fit.converged
        assert {"mean[equator]", "contrast[per ten]"} <= set(fit.diagnostics["quantity"])
        agrees(fit, "tau", **exact["tau"])
        for coef in ("intercept", "ablat_c"):
            wanted = exact["beta"][coef]
            agrees(fit, f"coef[{coef}]", wanted["mean"], wanted["sd"])
    # The moderator was centred: at the equator the mean is the uncentred model's intercept.
    raw = results["bcg_ablat_raw_flat_HN0.5"]["exact"]["beta"]["intercept"]
    agrees(fit, "mean[equator]", raw["mean"], raw["sd"])


@pytest.mark.slow
def test_binomial_normal_agrees_with_the_exact_posterior_and_with_brms():
    t = pd.read_csv(REFERENCE / "bcg_counts.csv")
    counts = binomial_tables.count_tables(
        t["tpos"], t["tpos"] + t["tneg"], t["cpos"], t["cpos"] + t["cneg"]
    )
    fit = refit(binomial_normal(counts, "normal(0,2)", "halfnormal(1)"), seed=4)
    assert fit.converged
    exact = load("binomial_normal_exact.json")["result"]
    brms = load("brms.json")["results"]["bcg_binomial_normal"]
    for i, name in enumerate(("mu", "tau")):
        agrees(fit, name, exact[name]["mean"], exact[name]["sd"])
        agrees(fit, name, *(brms[c][i] for c in ("mean", "sd", "mcse_mean", "mcse_sd")))


@pytest.mark.slow
def test_location_scale_recovers_what_was_simulated():
    rng = np.random.default_rng(5)
    k = 200
    z = rng.normal(size=k)
    v = rng.uniform(0.01, 0.04, k)
    tau = np.exp(-1.2 + 0.5 * z)
    y = 0.3 + tau * rng.normal(size=k) + np.sqrt(v) * rng.normal(size=k)
    Z = np.c_[np.ones(k), z]
    rows = study_rows(y, v, range(k))
    fit = refit(location_scale(rows, ["mu"], ["normal(0,1)"], Z, ["intercept", "z"]), seed=5)
    assert fit.converged
    # Three posterior SDs: a wrong model (2 gamma for gamma) lies seven away.
    for name, true in (("scale[intercept]", -1.2), ("scale[z]", 0.5), ("coef[mu]", 0.3)):
        draws = draws_of(fit, name)
        assert draws.mean() == pytest.approx(true, abs=3 * draws.std())
    assert draws_of(fit, "scale[z]").std() < 0.1


@pytest.mark.slow
def test_horseshoe_shrinks_noise_and_keeps_what_matters():
    rng = np.random.default_rng(6)
    k, m = 60, 8
    X = np.c_[np.ones(k), rng.normal(size=(k, m))]
    v = rng.uniform(0.02, 0.06, k)
    y = 0.2 + 0.5 * X[:, 1] + rng.normal(size=k) * np.sqrt(v + 0.1**2)
    names = ["intercept", *(f"x{i}" for i in range(1, m + 1))]
    rows = study_rows(y, v, range(k), X)
    fit = refit(horseshoe(rows, names, expected=1), seed=6)
    assert fit.converged
    ours = draws_of(fit, "coef[x1]")
    assert ours.mean() == pytest.approx(0.5, abs=3 * ours.std())
    w = 1 / (v + 0.1**2)
    plain = np.linalg.solve((X.T * w) @ X, X.T @ (w * y))[2:]
    shrunk = np.array([draws_of(fit, f"coef[{n}]").mean() for n in names[2:]])
    assert np.abs(shrunk).sum() < 0.6 * np.abs(plain).sum()
    assert fit.posterior_data["log_likelihood"]["study"].shape[-1] == k


def test_a_log_t_prior_s_tau_and_omega_are_reported():
    """NUTS samples the logarithm of their squares; everything reported is of themselves."""
    import xarray as xr

    structure = three_level(*schools(), tau_prior="rhodes2015", omega_prior="logt2(5,-3,2)")
    model = structure.model()
    names = {v.name for v in model.free_RVs}
    assert {"log_tau_squared", "log_omega_squared"} <= names
    rng = np.random.default_rng(3)
    draws = {n: (["chain", "draw"], rng.normal(-3, 1, (2, 5))) for n in names - {"coef_raw"}}
    draws["coef_raw"] = (["chain", "draw", "coefficient"], rng.normal(size=(2, 5, 1)))
    posterior = xr.Dataset(draws, {"chain": [0, 1], "draw": range(5)})
    tree = xr.DataTree.from_dict({"/posterior": posterior, "/sample_stats": xr.Dataset()})
    found = compiled._tree(structure, tree, seed=1)
    for name in ("tau", "omega"):
        want = np.exp(draws[f"log_{name}_squared"][1] / 2)
        np.testing.assert_allclose(found["posterior"][name], want, rtol=1e-14)
    assert np.isfinite(found["log_likelihood"]["study"]).all()
    assert set(found["log_prior"].data_vars) == {"coef", "tau", "omega"}


def test_a_structure_is_compiled_once_and_gets_its_own_data(monkeypatch):
    @dataclass
    class Fake:
        shared_var_keys: dict
        values: dict = field(default_factory=dict)
        _coords: dict = field(default_factory=dict)
        initial_point_func: Start = field(default_factory=lambda: Start(None, []))

        def with_data(self, **data):
            return replace(self, values=data)

    made, told = [], []

    def compile_model(model, traced):
        made.append(model)
        return Fake(dict.fromkeys(model.data_vars))

    monkeypatch.setattr(compiled, "compile_model", compile_model)
    monkeypatch.setattr(compiled, "_COMPILED", {})
    y, v, district = schools()
    one = compiled_for(three_level(y, v, district), told.append).values
    fewer = three_level(y[:7], v[:7], district[:7], tau_prior="halfnormal(3)")
    two = compiled_for(fewer, told.append).values
    assert len(made) == 1
    assert told == ["compiling the model"]
    assert one["rows"].shape == (4, 56)
    assert two["rows"].shape == (4, 7)
    assert two["rows"][0].tolist() == y[:7].tolist()
    compiled_for(three_level(y, v, range(56)))  # without omega: another structure
    assert len(made) == 2
