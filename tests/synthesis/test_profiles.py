"""The joint model on the made-up review: truth, symmetries of the density, its tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.profiles import LKJ_ETA, profile_data, profiles_model
from nssi_meta.synthesis.overlap import overlap
from nssi_meta.synthesis.overlap_figures import lkj
from nssi_meta.synthesis.posterior_file import (
    _log_lkj_constant,
    block_log_likelihood,
    posterior_tree,
    save_posterior,
)
from nssi_meta.synthesis.profiles import fit_profiles

ARMS = ("alpha", "beta", "gamma")

# ---------------------------------------------------------------- the density, without sampling


@pytest.fixture(scope="module")
def frame(review):
    used = read_effects(review).used
    return used[(used["estimand"] == "case_control") & (used["comparator"] != "assorted")]


def free_names(model):
    return {v.name: v for v in model.value_vars}


class Density:
    """The model's log density as a function of its parameters, compiled once without a JIT."""

    def __init__(self, frame: pd.DataFrame, conditions=ARMS) -> None:
        self.data = profile_data(frame, conditions, "well", vcalc)
        self.model = profiles_model(self.data).model()
        self.names = list(free_names(self.model))
        self.logp = self.model.compile_logp(mode="FAST_COMPILE")
        self.mu = self.model.compile_fn(
            self.model["mu"], inputs=self.model.value_vars, mode="FAST_COMPILE",
            on_unused_input="ignore",
        )  # fmt: skip

    def point(self, seed=1):
        rng = np.random.default_rng(seed)
        start = self.model.initial_point()
        return {k: np.asarray(v) + 0.5 * rng.normal(size=np.shape(v)) for k, v in start.items()}


@pytest.fixture(scope="module")
def density(frame):
    return Density(frame)


def test_recoding_a_mechanism_changes_no_density(frame, density):
    """y -> -y and mu -> -mu in one mechanism: equal log density, hence equal correlations."""
    flipped = frame.copy()
    rows = (flipped["mechanism"] == "grip").to_numpy()
    flipped.loc[rows, "yi"] *= -1
    low, high = flipped.loc[rows, "lower"].copy(), flipped.loc[rows, "upper"].copy()
    flipped.loc[rows, "lower"], flipped.loc[rows, "upper"] = -high, -low
    other = Density(flipped)
    m = density.data.mechanisms.index("grip")
    for seed in range(3):
        point = density.point(seed)
        mirror = {**point, "z": point["z"] * np.where(np.arange(4) == m, -1, 1)[:, None]}
        assert float(other.logp(mirror)) == pytest.approx(float(density.logp(point)), rel=1e-10)
        assert float(other.logp(point)) != pytest.approx(float(density.logp(point)), rel=1e-4)


def test_the_same_with_bounds_mirrored(frame):
    """reflex holds the bounds: their intervals are mirrored.

    g, of which a study's common part is a function, is told from the side of the study's bounds.
    """
    some = frame[frame["mechanism"] == "reflex"]
    flipped = some.assign(yi=-some["yi"], lower=-some["upper"], upper=-some["lower"])
    plain, other = Density(some), Density(flipped)
    point = plain.point(4)
    mirror = {**point, "z": -point["z"]}
    assert "g" in point
    assert float(other.logp(mirror)) == pytest.approx(float(plain.logp(point)), rel=1e-10)


def test_order_of_rows_changes_no_density(frame, density):
    order = np.random.default_rng(5).permutation(len(frame))
    # mechanisms keep their order, as fit_profiles sorts them
    rank = frame["mechanism"].map({m: i for i, m in enumerate(density.data.mechanisms)})
    turned = frame.iloc[order].assign(r=rank.iloc[order]).sort_values("r", kind="stable")
    other = Density(turned.drop(columns="r"))
    point = density.point(6)
    assert float(other.logp(point)) == pytest.approx(float(density.logp(point)), rel=1e-10)


def evidence_at(data, mu, tau=0.2, omega=0.1):
    """Log likelihood of the rows at means mu (M, C), heterogeneity fixed."""
    from nssi_meta.models.likelihood import log_likelihood

    arms = np.concatenate([mu, np.zeros((len(mu), 1))], axis=1)
    mean = arms[data.mechanism, data.case] - arms[data.mechanism, data.comparator]
    spread = np.full((1, len(mean)), tau)
    return log_likelihood(data.layout, mean[None], spread, np.full((1, 1), omega))


def test_relabelled_conditions_permute_the_means_and_nothing_else(frame, density):
    turned = ("gamma", "alpha", "beta")
    data = profile_data(frame, turned, "well", vcalc)
    mu = np.random.default_rng(7).normal(size=(4, 3))
    order = [ARMS.index(c) for c in turned]
    np.testing.assert_allclose(
        evidence_at(data, mu[:, order]), evidence_at(density.data, mu), rtol=1e-12
    )


def test_permuted_conditions_leave_the_joint_density(frame, density):
    """Prior included: (mu, sigma, R) permuted alike have equal density.

    The model's parameters are (z, Cholesky factor); mu = sigma L z has the density of z over
    |diag(sigma) L|, so the comparison is made for (mu, sigma, R), the Jacobians being equal.
    """
    rng = np.random.default_rng(8)
    R, sigma = lkj(3, 2.0, 1, rng)[0], np.abs(rng.normal(size=3)) + 0.2
    mu = rng.normal(size=(4, 3))
    order = np.array([2, 0, 1])

    def log_density(mu, sigma, R):
        cov = R * np.outer(sigma, sigma)
        value = sum(stats.multivariate_normal.logpdf(m, np.zeros(3), cov) for m in mu)
        return value + stats.halfnorm.logpdf(sigma).sum() + np.linalg.slogdet(R)[1]

    turned = mu[:, order], sigma[order], R[np.ix_(order, order)]
    assert log_density(*turned) == pytest.approx(log_density(mu, sigma, R), rel=1e-12)
    # and the model's own mu is what that density is about
    z = np.linalg.solve(np.linalg.cholesky(R), (mu / sigma).T).T
    import pymc as pm

    fixed = pm.do(density.model, {"z": z, "sigma": sigma, "chol": np.linalg.cholesky(R)})
    np.testing.assert_allclose(fixed["mu"].eval(mode="FAST_COMPILE"), mu, rtol=1e-9)


def test_a_contrast_row_knows_only_the_difference(frame, density):
    data = density.data
    blocks = [i for i, rows in enumerate(data.layout.block_rows)
              if (data.frame["study_id"].iloc[rows] == "contrast").all()]  # fmt: skip
    assert len(blocks) == 1
    mu = np.random.default_rng(9).normal(size=(4, 3))
    m = data.mechanisms.index("reflex")
    moved, apart = mu.copy(), mu.copy()
    moved[m, :2] += 0.7  # alpha and beta alike
    apart[m, 0] += 0.7
    at = evidence_at(data, mu)[0, blocks]
    assert evidence_at(data, moved)[0, blocks] == pytest.approx(at, rel=1e-12)
    assert evidence_at(data, apart)[0, blocks] != pytest.approx(at, rel=1e-3)
    row = data.frame[data.frame["study_id"] == "contrast"].iloc[0]
    sd = np.sqrt(row["vi"] + 0.2**2 + 0.1**2)
    assert at[0] == pytest.approx(stats.norm.logpdf(row["yi"], mu[m, 0] - mu[m, 1], sd))


def test_the_reference_group_has_mean_zero(density):
    """A row against the reference has the case's own mean."""
    data = density.data
    mu = np.random.default_rng(10).normal(size=(4, 3))
    i = int(np.flatnonzero(data.frame["study_id"] == "gripgamma0")[0])
    assert data.comparator[i] == -1
    block = data.layout.block_of_row[i]
    row, m = data.frame.iloc[i], data.mechanisms.index("grip")
    sd = np.sqrt(row["vi"] + 0.2**2 + 0.1**2)
    got = evidence_at(data, mu)[0, block]
    assert got == pytest.approx(stats.norm.logpdf(row["yi"], mu[m, 2], sd))


# ---------------------------------------------------------------- what is fitted


def test_too_little_to_compare_is_said(review):
    evidence = read_effects(review)
    with pytest.raises(ValueError, match="at least one other condition; found alpha"):
        fit_profiles(evidence.select(condition="alpha", comparator="well"))
    with pytest.raises(ValueError, match="found beta, gamma"):
        fit_profiles(evidence.select(condition=["beta", "gamma"]))
    with pytest.raises(ValueError, match="estimand odds"):
        fit_profiles(evidence, estimand="odds")


@pytest.mark.slow
def test_the_truth_is_recovered(joint, truth):
    """Each studied cell within four posterior SDs of the truth, and all of them on average.

    Study means scatter around the truth by sqrt(0.1^2 + 1/30) / 2 = 0.1, which the posterior SD
    contains; a chi-squared over 11 cells below its 99.9% point of 31 (correlated: generous).
    """
    table = joint.summary()
    studied = table[table["evidence"] != "none: predicted"]
    assert len(studied) == 11
    want = [truth(m, c) for m, c in zip(studied["mechanism"], studied["condition"], strict=True)]
    z = (studied["mu_mean"] - want) / studied["mu_sd"]
    assert z.abs().max() < 4
    assert (z**2).sum() < 31
    assert studied["mu_sd"].max() < 0.35


@pytest.mark.slow
def test_the_chains_mixed(joint):
    """Two short chains: the rules for reported results, but for a stray divergence in 0.2%."""
    assert joint.fit.diagnostics["ok"].all(), joint.fit.diagnostics.query("not ok")
    facts = joint.fit.facts
    assert facts["divergences"] <= 0.002 * facts["chains"] * facts["draws"]
    assert facts["e_bfmi_min"] > 0.3


@pytest.mark.slow
def test_the_profiles_table(joint):
    table = joint.summary().set_index(["mechanism", "condition"])
    assert len(table) == 12
    cell = table.loc[("reflex", "alpha")]
    # the contrast with beta touches both cells; the one with assorted patients none
    assert cell[["k", "k_contrast", "n_studies", "n_bounds"]].tolist() == [7, 1, 7, 3]
    assert table.loc[("reflex", "beta"), ["k", "k_contrast"]].tolist() == [4, 1]
    empty = table.loc[("appetite", "gamma")]
    assert empty["evidence"] == "none: predicted"
    assert empty["flags"] == "no evidence: predicted by the model"
    assert empty["mu_sd"] > table.loc[("appetite", "beta"), "mu_sd"]
    assert table["label"].loc["grip"].tolist() == ["Grip force"] * 3
    assert table["condition_label"].iloc[0] == "Alpha disorder"
    assert (table["mu_low"] < table["mu_median"]).all()
    assert (table["mu_median"] < table["mu_high"]).all()


@pytest.mark.slow
def test_correlations_beside_their_prior(joint):
    table = joint.correlations()
    assert list(zip(table["condition"], table["other"], strict=True)) == [
        ("alpha", "beta"), ("alpha", "gamma"), ("beta", "gamma"),
    ]  # fmt: skip
    # profiles of alpha and beta run together, gamma against both
    assert table["median"].iloc[0] > 0.3
    assert table["median"].iloc[1] < 0
    want = stats.beta(2.5, 2.5).ppf([0.5, 0.025, 0.975]) * 2 - 1
    got = table[["prior_median", "prior_low", "prior_high"]].iloc[0]
    # 20,000 draws: standard error of these quantiles at most 0.006; four
    np.testing.assert_allclose(got.to_numpy(float), want, atol=0.025)


@pytest.mark.slow
def test_every_reported_quantity_was_checked(joint):
    checked = set(joint.fit.diagnostics["quantity"])
    cells = {f"mu[{m},{c}]" for m in joint.data.mechanisms for c in joint.data.conditions}
    assert cells <= checked
    assert {"R[alpha,beta]", "R[alpha,gamma]", "R[beta,gamma]", "omega", "tau_0"} <= checked
    assert {f"magnitude[{c}]" for c in ("beta", "gamma")} <= checked
    assert {f"tau[{m}]" for m in joint.data.mechanisms} <= checked


@pytest.mark.slow
def test_overlap_finds_what_was_put_in(joint):
    got = overlap(joint)
    verdicts = got.mechanisms.set_index(["other", "mechanism"])["verdict"]
    assert verdicts["beta", "reflex"] == "shared"
    assert verdicts["beta", "grip"] == "shared"
    assert verdicts["gamma", "reflex"] == "opposite"
    assert verdicts["gamma", "tremor"] == "distinct"
    assert ("gamma", "appetite") not in verdicts.index


@pytest.mark.slow
def test_a_fit_that_did_not_converge_marks_every_row(joint):
    bad = replace(joint, fit=replace(joint.fit, problems=("R-hat",)))
    assert set(bad.summary()["flags"]) == {"did not converge: not a result"}
    assert not overlap(bad).converged


# ---------------------------------------------------------------- the posterior as a file


@pytest.mark.slow
def test_log_likelihood_of_the_file_is_that_of_its_rows(joint):
    """One block by hand for one draw: a single exact row."""
    values = block_log_likelihood(joint)
    data = joint.data
    assert values.shape == (len(joint.draws("omega")), len(data.layout.block_rows))
    i = int(np.flatnonzero(data.frame["study_id"] == "tremorgamma2")[0])
    row, m = data.frame.iloc[i], data.mechanisms.index("tremor")
    d = 17
    mean = joint.draws("mu")[d, m, data.conditions.index("gamma")]
    sd = np.sqrt(row["vi"] + joint.draws("tau")[d, m] ** 2 + joint.draws("omega")[d] ** 2)
    want = stats.norm.logpdf(row["yi"], mean, sd)
    assert values[d, data.layout.block_of_row[i]] == pytest.approx(want, rel=1e-10)


@pytest.mark.slow
def test_the_file_holds_posterior_likelihood_and_prior(joint, tmp_path):
    import xarray as xr

    save_posterior(joint, tmp_path / "p.nc", "abc")
    tree = xr.open_datatree(tmp_path / "p.nc", engine="h5netcdf")
    assert tree.attrs["data_sha256"] == "abc"
    assert tree.attrs["converged"] == "True"
    assert {"posterior", "sample_stats", "log_likelihood", "log_prior"} <= set(tree.children)
    np.testing.assert_array_equal(tree["posterior"]["mu"], joint.posterior_data["posterior"]["mu"])
    names = tree["log_likelihood"]["block"].values.tolist()
    assert len(names) == len(set(names)) == len(joint.data.layout.block_rows)
    omega = np.asarray(tree["posterior"]["omega"])
    want = stats.halfnorm.logpdf(omega, scale=0.5)
    np.testing.assert_allclose(tree["log_prior"]["omega"], want, rtol=1e-10)
    sigma = np.asarray(tree["posterior"]["sigma"])
    want = stats.halfnorm.logpdf(sigma).sum(axis=-1)
    np.testing.assert_allclose(tree["log_prior"]["sigma"], want, rtol=1e-10)
    tree.close()
    assert posterior_tree(joint)["log_prior"]["R"].shape == omega.shape


def test_the_lkj_constant_makes_a_density():
    """d = 2: int (1 - r^2)^(eta - 1) dr; d = 3: the mean of |R|^(eta - 1) over uniform R.

    Uniform correlation matrices (eta = 1) of d = 3 have volume pi^2 / 2.
    """
    from scipy.integrate import quad

    area = quad(lambda r: (1 - r**2) ** (LKJ_ETA - 1), -1, 1)[0]
    assert _log_lkj_constant(2) == pytest.approx(np.log(area), rel=1e-10)
    det = np.linalg.det(lkj(3, 1.0, 50_000, np.random.default_rng(3))) ** (LKJ_ETA - 1)
    error = 4 * det.std() / np.sqrt(len(det)) / det.mean()
    assert _log_lkj_constant(3) == pytest.approx(np.log(np.pi**2 / 2 * det.mean()), abs=error)
