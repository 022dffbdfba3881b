"""Multilevel and multivariate fits against metafor and clubSandwich (tests/reference/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference.frequentist import rma
from nssi_meta.inference.rma_mv import nested, rma_mv
from nssi_meta.inference.rma_mv_after import (
    confint_mv,
    cooks_distance,
    i2_levels,
    predict_mv,
    ranef,
)
from nssi_meta.inference.robust import robust

REFERENCE = Path(__file__).parent.parent / "reference"
_ALL = json.loads((REFERENCE / "rma_mv.json").read_text("utf-8"))
_RESULTS = _ALL["results"]
_REG = json.loads((REFERENCE / "metareg.json").read_text("utf-8"))
_BCG = json.loads((REFERENCE / "rma.json").read_text("utf-8"))["sets"]["bcg_RR"]

#: metafor's optimiser stops at a relative change of the likelihood of 1e-10 to 1e-14, which leaves
#: about its square root in the variances. Measured: 6e-6 at worst (berkey_HCS), 3e-8 for 3 levels.
TOLERANCE = 1e-5

_FIELDS = {
    "beta": "beta", "se": "se", "zval": "zval", "pval": "pval", "ci_lb": "ci.lb", "ci_ub": "ci.ub",
    "vb": "vb", "sigma2": "sigma2", "tau2": "tau2", "rho": "rho", "QE": "QE", "QEp": "QEp",
    "QM": "QM", "logLik": "logLik", "AIC": "AIC", "BIC": "BIC",
}  # fmt: skip


@pytest.fixture(scope="module")
def schools():
    data = pd.read_csv(REFERENCE / "konstantopoulos2011.csv")
    return data.assign(year=_ALL["konstantopoulos2011_year"])


@pytest.fixture(scope="module")
def groups(schools):
    both = nested(schools["district"], schools["school"])
    return {"district": schools["district"], "school": both}


@pytest.fixture(scope="module")
def three_level(schools, groups):
    return rma_mv(schools["yi"], schools["vi"], groups=groups)


@pytest.fixture(scope="module")
def berkey():
    return {k: np.array(v) for k, v in _ALL["berkey1998"].items()}


def _berkey_fit(b, key):
    _, struct, *rest = key.split("_")
    al, pd_, year = b["outcome"] == "AL", b["outcome"] == "PD", b["year"] - 1983
    X = [al, pd_, al * year, pd_ * year] if "year" in key else [al, pd_]
    return rma_mv(
        b["yi"], b["V"], np.column_stack(X).astype(float), inner=b["outcome"], outer=b["trial"],
        struct=struct, method=rest[-1], intercept=False,
    )  # fmt: skip


def agrees(fit, expected, tolerance=TOLERANCE):
    for ours, theirs in _FIELDS.items():
        value, found = expected[theirs], getattr(fit, ours)
        value = list(value.values()) if isinstance(value, dict) else value
        if np.size(found) == 0:  # metafor prints 0 for what is not in the model
            assert value == 0, ours
            continue
        np.testing.assert_allclose(
            np.squeeze(found), np.squeeze(value), rtol=tolerance, atol=1e-8, err_msg=ours
        )


def same_robust(fit, cluster, expected):
    for kind in ("CR0", "CR1", "CR1S", "CR2"):
        found, wanted = robust(fit, cluster, kind), expected[kind]
        for ours, theirs in (
            ("se", "SE"),
            ("zval", "tstat"),
            ("df", "df_Satt"),
            ("pval", "p_Satt"),
        ):
            np.testing.assert_allclose(
                getattr(found, ours), np.atleast_1d(wanted["table"][theirs]), rtol=1e-6
            )
        np.testing.assert_allclose(found.ci_lb, np.atleast_1d(wanted["CI_L"]), rtol=1e-6)
        np.testing.assert_allclose(found.ci_ub, np.atleast_1d(wanted["CI_U"]), rtol=1e-6)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("test", ["z", "t"])
def test_three_levels(schools, groups, method, test):
    fit = rma_mv(schools["yi"], schools["vi"], groups=groups, method=method, test=test)
    expected = _RESULTS[f"konstantopoulos3L_{method}_{test}"]
    agrees(fit, expected["fit"], 1e-6)
    row, share = predict_mv(fit).iloc[0], i2_levels(fit)
    np.testing.assert_allclose(row["pi_lb"], expected["pred"]["pi.lb"], rtol=1e-7)
    np.testing.assert_allclose(row["pi_ub"], expected["pred"]["pi.ub"], rtol=1e-7)
    np.testing.assert_allclose(share["total"], expected["I2"]["I2_total"], rtol=1e-7)
    np.testing.assert_allclose(share.iloc[1:], expected["I2"]["I2_levels"], rtol=1e-7)


def test_three_levels_robust(schools, three_level):
    expected = _RESULTS["konstantopoulos3L_RVE"]
    same_robust(three_level, schools["district"], expected["clubSandwich"])
    found = robust(three_level, schools["district"], "CR1p", "residual")
    for ours, theirs in (("se", "se"), ("df", "df"), ("pval", "pval"), ("ci_ub", "ci.ub")):
        np.testing.assert_allclose(
            getattr(found, ours)[0], expected["metafor_robust"][theirs], rtol=1e-6
        )


def test_three_levels_with_a_moderator(schools, groups):
    year = schools["year"] - schools["year"].mean()
    fit = rma_mv(schools["yi"], schools["vi"], year, groups=groups)
    expected = _RESULTS["konstantopoulos3L_year_centred"]
    agrees(fit, expected["fit"], 1e-6)
    same_robust(fit, schools["district"], expected["RVE"])


def test_what_follows_a_three_level_fit(schools, groups, three_level):
    effects = ranef(three_level)
    districts = effects["district"]
    order = np.argsort(districts.index.astype(int))
    for name, values in _RESULTS["konstantopoulos3L_ranef"]["district"].items():
        ours = districts[name.replace(".", "_")].to_numpy()[order]
        np.testing.assert_allclose(ours, values, atol=2e-8)
    schools_in_order = effects["school"].loc[groups["school"]]
    for name, values in _RESULTS["konstantopoulos3L_ranef"]["school"].items():
        ours = schools_in_order[name.replace(".", "_")].to_numpy()[: len(values)]
        np.testing.assert_allclose(ours, values, atol=2e-8)
    bounds = confint_mv(three_level)
    for i, values in enumerate(_RESULTS["konstantopoulos3L_confint_PL"].values()):
        np.testing.assert_allclose(bounds.iloc[i], values, rtol=1e-5)
    distance = cooks_distance(three_level, schools["district"])
    for name, value in _RESULTS["konstantopoulos3L_cooks_district"]["values"].items():
        assert distance[int(name)] == pytest.approx(value, abs=1e-6)


def test_limits_of_a_variance_know_no_unit():
    """Standard errors of 1e-9 as of 0.2: the roots are sought to a share of the error."""
    rng = np.random.default_rng(1)
    v, study = rng.uniform(0.01, 0.1, 30), np.repeat(np.arange(10), 3)
    y = 0.2 + rng.normal(0, np.sqrt(v + 0.16))
    one, other = (
        confint_mv(rma_mv(u * y, u**2 * v, groups={"study": study, "row": np.arange(30)}))
        for u in (1.0, 1e-8)
    )
    assert one.loc["row", "ci_lb"] > 0
    np.testing.assert_allclose(other.to_numpy() / 1e-16, one.to_numpy(), rtol=1e-6, atol=1e-9)


def test_compound_symmetry_is_three_levels(schools, three_level):
    fit = rma_mv(
        schools["yi"], schools["vi"], inner=schools["school"], outer=schools["district"],
        struct="CS",
    )  # fmt: skip
    agrees(fit, _RESULTS["konstantopoulos_CS"]["fit"])
    assert fit.tau2[0] == pytest.approx(three_level.sigma2.sum(), rel=1e-8)
    assert fit.rho[0] * fit.tau2[0] == pytest.approx(three_level.sigma2[0], rel=1e-8)


@pytest.mark.parametrize(
    "key", [k for k, v in _RESULTS.items() if k.startswith("berkey") and "fit" in v]
)
def test_multivariate_with_known_covariance(berkey, key):
    agrees(_berkey_fit(berkey, key), _RESULTS[key]["fit"])


def test_multivariate_robust(berkey):
    fit = _berkey_fit(berkey, "berkey_UN_REML")
    same_robust(fit, berkey["trial"], _RESULTS["berkey_UN_RVE"]["clubSandwich"])


def test_robust_errors_of_independent_effects():
    fit = rma(_BCG["yi"], _BCG["vi"], _REG["data"]["ablat"])
    found = robust(fit, np.arange(13), "CR1p", "residual")
    expected = _REG["results"]["bcg_ablat_robust_HC1style"]
    np.testing.assert_allclose(found.se, expected["se"], rtol=1e-8)
    np.testing.assert_allclose(found.pval, expected["pval"], rtol=1e-7)


def test_satterthwaite_without_shortcuts(berkey):
    """The degrees of freedom from the m x m matrix of pairs, which the code never builds."""
    fit = _berkey_fit(berkey, "berkey_CS_REML")
    X, k = fit.design.X, fit.k
    M = berkey["V"] + np.kron(np.eye(5), np.ones((2, 2))) * 0
    G = fit.G
    code = (berkey["outcome"] == "PD").astype(int)
    M = M + (berkey["trial"][:, None] == berkey["trial"]) * G[np.ix_(code, code)]
    W = np.linalg.inv(M)
    B = np.linalg.inv(X.T @ W @ X)
    H = np.eye(k) - X @ B @ X.T @ W
    g = np.zeros((k, 5))
    for j, trial in enumerate(np.unique(berkey["trial"])):
        rows = berkey["trial"] == trial
        g[:, j] = H[rows].T @ (W @ X @ B)[rows, 0]
    P = g.T @ M @ g
    expected = np.trace(P) ** 2 / (P**2).sum()
    assert robust(fit, berkey["trial"], "CR0").df[0] == pytest.approx(expected, rel=1e-9)


def test_single_level_is_rma_and_chains_of_correlation_are_found():
    fit = rma_mv(_BCG["yi"], _BCG["vi"], groups={"trial": np.arange(13)})
    assert fit.sigma2[0] == pytest.approx(rma(_BCG["yi"], _BCG["vi"]).tau2, rel=1e-9)
    # 0-1 by V, 1-2 by group: one block of three, and dense algebra agrees.
    V = np.diag([0.1, 0.2, 0.3, 0.4])
    V[0, 1] = V[1, 0] = 0.05
    fit = rma_mv([0.1, 1.0, 1.4, -0.6], V, groups={"lab": ["a", "b", "b", "c"]})
    assert sorted(b.rows.shape for b in fit.parts) == [(1, 1), (1, 3)]
    lab = np.array([0, 1, 1, 2])
    W = np.linalg.inv(V + fit.sigma2[0] * (lab[:, None] == lab))
    assert fit.beta[0] == pytest.approx((W @ [0.1, 1.0, 1.4, -0.6]).sum() / W.sum(), rel=1e-10)


def test_correlated_and_hierarchical_effects_with_assumed_rho():
    """V from an assumed correlation; robust errors; unit of the outcome changes its unit only."""
    rng = np.random.default_rng(3)
    study = np.repeat(np.arange(12), 3)
    v = rng.uniform(0.02, 0.2, 36)
    V = np.where(study[:, None] == study, 0.6, 0.0) * np.sqrt(np.outer(v, v))
    np.fill_diagonal(V, v)
    y = rng.normal(0.3, 0.3, 12)[study] + rng.multivariate_normal(np.zeros(36), V)
    groups = {"study": study, "effect": np.arange(36)}
    fit, big = (rma_mv(s * y, s**2 * V, groups=groups) for s in (1.0, 1000.0))
    np.testing.assert_allclose(big.beta, 1000 * fit.beta, rtol=1e-6)
    np.testing.assert_allclose(big.sigma2, 1e6 * fit.sigma2, rtol=1e-5, atol=1e-3)
    one, other = robust(fit, study), robust(big, study)
    np.testing.assert_allclose(other.df, one.df, rtol=1e-5)
    np.testing.assert_allclose(other.pval, one.pval, rtol=1e-5)


def test_equal_correlations_are_equal():
    """A level that goes against the others: no sign of an SD may turn its correlations."""
    rng, sd = np.random.default_rng(0), np.array([-0.15, 0.6, 0.6])
    y = 0.9 * rng.normal(size=(15, 1)) * sd + 0.4 * rng.normal(size=(15, 3)) * abs(sd)
    y = (y + rng.normal(0, 0.2, (15, 3))).ravel()
    level, group, v = np.tile(np.arange(3), 15), np.repeat(np.arange(15), 3), np.full(45, 0.04)
    X = np.eye(3)[level]
    fit = rma_mv(y, v, X, inner=level, outer=group, struct="HCS", intercept=False)
    assert fit.tau2[0] == 0.0
    assert fit.G[1, 2] == pytest.approx(fit.rho[0] * np.sqrt(fit.tau2[1] * fit.tau2[2]))
    # With the first level's variance gone, the others are a model of their own.
    rest = level > 0
    other = rma_mv(
        y[rest], v[rest], X[rest][:, 1:], inner=level[rest], outer=group[rest], struct="HCS",
        intercept=False,
    )  # fmt: skip
    np.testing.assert_allclose(fit.tau2[1:], other.tau2, rtol=1e-5)
    np.testing.assert_allclose(fit.rho, other.rho, rtol=1e-5)


def test_variances_that_nothing_tells_are_refused_and_correlations_left_open():
    y, v = np.array([0.3, -0.5, 1.1, 0.8, -0.2, 0.4, 1.0, -0.9]), np.full(8, 0.1)
    pair = np.repeat(np.arange(4), 2)
    with pytest.raises(ValueError, match=r"groups\['lab'\]: REML cannot tell.*leave out"):
        rma_mv(y, v, groups={"lab": np.ones(8), "row": np.arange(8)})
    level = np.array(list("ababacbd"))
    X = (level[:, None] == ["a", "b", "c", "d"]).astype(float)
    with pytest.raises(ValueError, match=r"level 'c': REML(.|\n)*level 'd': REML"):
        rma_mv(y, v, X, inner=level, outer=pair, struct="DIAG", intercept=False)
    # One variance for all levels can be told, and ML tells all.
    rma_mv(y, v, X, inner=level, outer=pair, struct="ID", intercept=False)
    assert rma_mv(y, v, groups={"lab": np.ones(8)}, method="ML").sigma2[0] == 0.0
    # a with b, a with c, b with d meet in a pair.
    fit = rma_mv(y, v, inner=level, outer=pair, method="ML")
    assert np.isnan(fit.rho).tolist() == [False, False, True, True, False, True]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="allowed: UN") as error:
        rma_mv([1, 2, 3], [-1, 1, 1], groups={"a": [1, 2]}, inner=[1, 2, 3], struct="XX")
    for part in ("groups['a'] has 2 labels", "inner and outer belong together", "V[0] = -1"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match=r"V\[0, 1\] = 0.5 but V\[1, 0\] = 0"):
        rma_mv([1, 2], [[1, 0.5], [0, 1]])
    with pytest.raises(ValueError, match="not positive definite"):
        rma_mv([1, 2], [[1, 2], [2, 1]])
    with pytest.raises(ValueError, match="must exceed"):
        rma_mv([1], [1])
    with pytest.raises(ValueError, match=r"groups\['a'\]\[1\] is missing"):
        rma_mv([1, 2, 3], [1, 1, 1], groups={"a": ["x", None, "y"]})
    fit = rma_mv([1, 2, 4, 3], [0.1] * 4, groups={"a": [1, 1, 2, 2]})
    with pytest.raises(ValueError, match=r"effects 0 and 1 are correlated.*wider clusters"):
        robust(fit, [1, 2, 3, 4])
    with pytest.raises(ValueError, match="1 clusters for 1 coefficients"):
        robust(fit, [1, 1, 1, 1])


def test_a_maximum_with_a_level_without_variance_is_found():
    """metafor 3.8.1 from tau2.init = c(6.3, 1e-3, 8.5), rho.init = c(.1, .1, -.9).

    From its own start it ends at the lower maximum of -10.62145, where beta is 0.886.
    """
    fit = rma_mv(
        [3.0, 1.0, 1.4, 0.6, -0.8, -0.7, 3.0, 2.4],
        [0.02, 0.08, 2.71, 0.08, 0.01, 4.17, 1.18, 0.69],
        inner=[0, 2, 0, 0, 1, 2, 0, 0], outer=[0, 1, 1, 1, 3, 3, 0, 0], struct="UN", method="ML",
    )  # fmt: skip
    assert fit.logLik == pytest.approx(-9.4817, abs=1e-4)
    assert fit.beta[0] == pytest.approx(-0.7927, abs=1e-4)
    assert fit.se[0] == pytest.approx(0.0997, abs=1e-4)


def test_terms_that_divide_the_effects_alike_are_refused():
    y, v = np.array([0.1, 0.5, -0.2, 0.9]), np.full(4, 0.05)
    same = {"study": list("abcd"), "effect": [4, 3, 2, 1]}
    for method in ("REML", "ML"):
        with pytest.raises(ValueError, match="'study' and 'effect' divide the effects alike"):
            rma_mv(y, v, groups=same, method=method)
    assert rma_mv(y, v, groups={"study": list("aabc"), "effect": [4, 3, 2, 1]}).k == 4


def test_what_comes_after_a_fit_names_what_is_wrong(three_level, schools):
    with pytest.raises(ValueError, match=r"X\[0, 0\] = inf is not finite; remedy: give intrcpt"):
        predict_mv(three_level, [[np.inf]])
    missing = schools["district"].astype(object).where(schools.index != 3)
    with pytest.raises(ValueError, match=r"cluster\[3\] is missing"):
        cooks_distance(three_level, missing)
    y, v = np.array([0.1, 0.5, -0.2, 0.9, 0.3]), np.full(5, 0.05)
    x = pd.DataFrame({"x": [0.0, 0.0, 0.0, 1.0, 0.0]})
    fit = rma_mv(y, v, x, groups={"row": np.arange(5)})
    with pytest.raises(ValueError, match="without the cluster 'd' there is no fit"):
        cooks_distance(fit, list("abcde"))
    inner = rma_mv(y, v, inner=["p", "q", "p", "q", "p"], outer=[0, 0, 1, 1, 2], struct="CS")
    with pytest.raises(ValueError, match="no variance of groups"):
        confint_mv(inner)
