"""Pools: agreement with the references, which rows enter, what the table says about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.read import read_effects
from nssi_meta.evidence.simple import read_simple
from nssi_meta.models.priors import PriorError
from nssi_meta.synthesis.cells import Options
from nssi_meta.synthesis.evidence_ratios import ratios
from nssi_meta.synthesis.pool_tables import study_labels
from nssi_meta.synthesis.pooled import pool

REFERENCE = Path(__file__).parent.parent / "reference"
PROMISED = {
    "mechanism", "condition", "estimand", "k", "n_bounds", "mu_median", "mu_mean", "mu_sd",
    "mu_low", "mu_high", "tau_median", "tau_low", "tau_high", "pred_low", "pred_high",
    "p_positive", "engine",
}  # fmt: skip
PRIORS = {"mu_prior": "normal(0,4)", "tau_prior": "halfnormal(0.5)"}


@pytest.fixture(scope="module")
def bcg():
    return read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")


@pytest.fixture(scope="module")
def evidence(review):
    return read_effects(review)


def exact(mu_prior: str):
    sets = json.loads((REFERENCE / "bayesmeta_exact.json").read_text())["sets"]
    return next(
        r for r in sets["bcg_RR"]["results"]
        if (r["tau_prior"], r["mu_prior"]) == ("halfnormal(0.5)", mu_prior)
    )  # fmt: skip


@pytest.mark.parametrize("interval", ["central", "shortest"])
@pytest.mark.parametrize("mu_prior", ["normal(0,4)", "flat"])
def test_bcg_agrees_with_the_exact_reference(bcg, mu_prior, interval):
    """Both sides are quadrature of the same integrals; the reference is good to about 1e-9."""
    want, key = exact(mu_prior), f"{interval}95"
    row = pool(bcg, **PRIORS | {"mu_prior": mu_prior}, interval=interval).table.iloc[0]
    assert set(row.index) >= PROMISED
    got = row[["mu_median", "mu_mean", "mu_sd", "mu_low", "mu_high", "tau_median", "tau_low",
               "tau_high", "pred_low", "pred_high", "p_positive"]]  # fmt: skip
    mu, tau, new = want["mu"], want["tau"], want["prediction"]
    expected = [mu["median"], mu["mean"], mu["sd"], *mu[key], tau["median"], *tau[key], *new[key],
                mu["p_gt0"]]  # fmt: skip
    np.testing.assert_allclose(got.to_numpy(float), expected, rtol=0, atol=2e-6)
    assert (row["k"], row["n_bounds"], row["engine"]) == (13, 0, "exact")


def test_bcg_shrunken_effects_agree_with_the_exact_reference(bcg):
    want = json.loads((REFERENCE / "bcg_theta.json").read_text())["theta"]
    rows = pool(bcg, **PRIORS).rows
    np.testing.assert_allclose(rows["shrunk_median"], [t["median"] for t in want], atol=1e-6)
    ends = rows[["shrunk_low", "shrunk_high"]]
    np.testing.assert_allclose(ends, [t["central95"] for t in want], atol=1e-6)
    half = 1.959963984540054 * rows["sei"]
    np.testing.assert_allclose(rows["ci_high"] - rows["yi"], half, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "priors"),
    [
        ("konstantopoulos_N01_HN0.5", {}),
        (
            "konstantopoulos_N04_HN1",
            {
                "mu_prior": "normal(0,4)",
                "tau_prior": "halfnormal(1)",
                "omega_prior": "halfnormal(1)",
            },
        ),
    ],
)
def test_three_levels_agree_with_the_exact_reference(name, priors):
    frame = read_simple(REFERENCE / "konstantopoulos2011.csv", "yi", vi="vi", study="district")
    want = json.loads((REFERENCE / "three_level_exact.json").read_text())["results"][name]
    row = pool(frame, **priors).table.iloc[0]
    got = row[["mu_mean", "mu_sd", "mu_low", "mu_high", "p_positive", "pred_low", "pred_high"]]
    mu = want["mu"]
    expected = [mu["mean"], mu["sd"], *mu["central95"], mu["p_gt0"],
                *want["prediction"]["central95"]]  # fmt: skip
    np.testing.assert_allclose(got.to_numpy(float), expected, rtol=0, atol=1e-5)
    assert row["omega_median"] == pytest.approx(want["sd_inner"]["mean"], abs=0.005)
    assert row["n_studies"] == 11
    assert row["k"] == 56


def test_level_and_delta_reach_the_numbers(bcg):
    wide = pool(bcg, level=0.95).table.iloc[0]
    narrow = pool(bcg, level=0.5, delta=0.5).table.iloc[0]
    assert wide["mu_low"] < narrow["mu_low"] < narrow["mu_high"] < wide["mu_high"]
    assert narrow["level"] == 0.5
    assert narrow["p_beyond"] < wide["p_beyond"] <= 1
    assert narrow["share_beyond"] < wide["share_beyond"]


def test_delta_zero_leaves_the_sign_probabilities(bcg):
    """P(|mu| > 0) = 1, and the share of settings beyond 0 in mu's direction."""
    cell = pool(bcg, delta=0.0)
    row = cell.table.iloc[0]
    assert row["p_beyond"] == pytest.approx(1.0, abs=1e-9)
    below_zero = float(cell.cells[0].posterior.prediction.cdf(0.0))
    assert row["share_beyond"] == pytest.approx(below_zero, abs=1e-12)


def test_units_of_the_table_and_a_changed_sign(bcg):
    """Coding the measure the other way round mirrors everything."""
    plain = pool(bcg).table.iloc[0]
    mirror = pool(bcg.assign(yi=-bcg["yi"])).table.iloc[0]
    for a, b in (("mu_low", "mu_high"), ("pred_low", "pred_high"), ("mu_median", "mu_median")):
        assert mirror[a] == pytest.approx(-plain[b], abs=1e-8)
    for same in ("tau_median", "p_beyond", "share_beyond"):
        assert mirror[same] == pytest.approx(plain[same], abs=1e-8)
    assert mirror["p_positive"] == pytest.approx(1 - plain["p_positive"], abs=1e-8)


def test_order_of_rows_does_not_matter(evidence):
    some = evidence.select(mechanism="reflex", condition="alpha")
    used = pool(some).table.iloc[0]
    from dataclasses import replace

    turned = pool(replace(some, rows=some.rows.iloc[::-1])).table.iloc[0]
    for column in ("mu_mean", "mu_sd", "tau_median", "pred_low"):
        # Rows of a block change places in sums only.
        assert turned[column] == pytest.approx(used[column], abs=1e-6)


# ---------------------------------------------------------------- which rows enter


def test_a_cell_is_a_mechanism_in_a_condition_on_an_estimand(evidence):
    table = pool(evidence).table
    cells = list(zip(table["mechanism"], table["condition"], table["estimand"], strict=True))
    assert len(cells) == len(set(cells)) == 12
    assert ("tremor", "alpha", "association") in cells
    assert ("appetite", "gamma", "case_control") not in cells
    # in the review's own order, mechanisms first
    assert table["mechanism"].drop_duplicates().tolist() == ["reflex", "grip", "tremor", "appetite"]
    assert table.loc[table["mechanism"] == "grip", "condition"].tolist() == [
        "alpha", "beta", "gamma",
    ]  # fmt: skip


def test_contrast_mixed_doubtful_and_duplicate_rows_are_left_out(evidence):
    rows = pool(evidence).rows
    assert not {"contrast", "contrast2", "mixed", "maybe", "twice"} & set(rows["study_id"])
    assert len(rows) == 11 * 4 + 3 + 1


def test_doubtful_rows_enter_when_asked_for(evidence):
    rows = pool(evidence.select(mechanism="tremor", doubtful=True)).rows
    assert "maybe" in set(rows["study_id"])
    assert "twice" not in set(rows["study_id"])


def test_naming_a_comparator_pools_that_contrast(evidence):
    table = pool(evidence.select(mechanism="reflex", comparator="beta")).table
    assert table["comparator"].tolist() == ["beta"]
    assert table["k"].tolist() == [1]
    mixed = pool(evidence.select(mechanism="reflex", comparator="assorted"))
    assert mixed.rows["study_id"].tolist() == ["mixed"]


def test_a_selection_whose_rows_all_compare_with_patients_is_not_pooled_unasked(review):
    """The cell's only rows compare with patients; nobody named that comparator."""
    evidence = read_effects(review)
    rows = evidence.rows
    only = rows[(rows["study_id"] == "contrast")]
    from dataclasses import replace

    some = replace(evidence, rows=only)
    with pytest.raises(ValueError, match="no rows to pool"):
        pool(some)


def test_several_comparators_named_are_all_pooled(evidence):
    rows = pool(
        evidence.select(mechanism="reflex", condition="alpha", comparator=["well", "beta"])
    ).rows
    assert "contrast" in set(rows["study_id"])


def test_nothing_left_says_so(evidence):
    with pytest.raises(ValueError, match="no rows to pool"):
        pool(evidence.select(mechanism="appetite", condition="gamma"))


def test_data_with_problems_are_refused(write_rows):
    evidence = read_effects(write_rows([{"effect_id": "e1", "mechanism": "unheard"}]))
    with pytest.raises(EvidenceError):
        pool(evidence)


# ---------------------------------------------------------------- counts, labels and flags


def test_counts_of_a_cell_with_bounds(evidence):
    row = pool(evidence.select(mechanism="reflex", condition="alpha")).table.iloc[0]
    assert row["k"] == 7
    assert row["n_studies"] == 6
    assert row["n_bounds"] == 3
    assert row["n_assumed"] == 1
    assert row["share_bounds"] == pytest.approx(3 / 7)
    assert row["n_participants"] == 6 * 120  # the two rows of one study are the same people
    assert np.isfinite(row["omega_median"])
    assert row["flags"] == "some thresholds assumed to be .05"
    assert row["label"] == "Reflex speed"
    assert row["condition_label"] == "Alpha disorder"


def test_omega_is_left_out_where_every_study_gives_one_effect(evidence):
    row = pool(evidence.select(mechanism="grip", condition="gamma")).table.iloc[0]
    assert np.isnan(row["omega_median"])
    assert row["flags"] == ""


@pytest.mark.parametrize(
    ("studies", "flags"),
    [
        (["onebound"], ["a single effect", "only bounds", "all bounds on one side"]),
        (["twobounds"], ["a single study", "only bounds", "some thresholds assumed"]),
        (["onebound", "twobounds"], ["two studies", "only bounds", "some thresholds assumed"]),
        (["reflexalpha0"], ["a single effect"]),
        (["reflexalpha0", "onebound"], ["two studies"]),
        (["reflexalpha0", "reflexalpha1", "onebound"], []),
    ],
)
def test_flags_say_what_a_cell_rests_on(evidence, studies, flags):
    from dataclasses import replace

    rows = evidence.rows[evidence.rows["study_id"].isin(studies)]
    got = pool(replace(evidence, rows=rows)).table["flags"].iloc[0].split("; ")
    assert len(got) == max(len(flags), 1)
    for text, start in zip(got, flags, strict=False):
        assert text.startswith(start)


@pytest.mark.parametrize(("other", "flagged"), [("same", True), ("turned", False), ("both", False)])
def test_bounds_that_all_leave_one_side_open_are_flagged(evidence, other, flagged):
    """Three rows "significant, higher": the prior decides how large. One other row ends it."""
    from dataclasses import replace

    rows = evidence.rows[evidence.rows["study_id"] == "onebound"]
    rows = pd.concat([rows.assign(study_id=f"s{i}", sample_id=f"s{i}") for i in range(3)])
    rows = rows.reset_index(drop=True)
    low = rows.loc[0, "lower"]
    ends = {"same": (low, np.inf), "turned": (-np.inf, -low), "both": (-low, low)}[other]
    rows.loc[2, ["lower", "upper"]] = ends
    table = pool(replace(evidence, rows=rows)).table
    said = "all bounds on one side: how large, the prior says" in table["flags"].iloc[0]
    assert said is flagged
    mirrored = rows.assign(lower=-rows["upper"], upper=-rows["lower"])
    assert pool(replace(evidence, rows=mirrored)).table["flags"].equals(table["flags"])


def test_rows_carry_what_was_reported_and_the_shrunken_effect(evidence):
    rows = pool(evidence.select(mechanism="reflex", condition="alpha")).rows.set_index("effect_id")
    bound = rows[rows["study_id"] == "onebound"].iloc[0]
    assert np.isnan(bound["yi"])
    assert np.isnan(bound["ci_low"])
    assert bound["lower"] > 0
    assert bound["upper"] == np.inf
    assert (rows["shrunk_low"] < rows["shrunk_median"]).all()
    assert (rows["shrunk_median"] < rows["shrunk_high"]).all()
    assert rows.loc[rows["study_id"] == "reflexalpha0", "label"].tolist() == ["Reflexalpha0 2001"]


@pytest.mark.parametrize(
    ("authors", "year", "label"),
    [
        ("Hooley JM; Fox KR", 2020, "Hooley 2020"),
        ("van der Berg A et al.", 1999, "van der Berg 1999"),
        ("", 2020, "s1"),
        ("Hooley JM", "", "Hooley"),
        ("Hooley JM", pd.NA, "Hooley"),
        ("unknown", 2020, "s1"),
    ],
)
def test_study_labels(authors, year, label):
    frame = pd.DataFrame({"authors": [authors], "year": [year], "study_id": ["s1"]})
    assert study_labels(frame).tolist() == [label]


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"level": 1.0}, "level"),
        ({"level": 0.0}, "level"),
        ({"rho": 1.0}, "rho"),
        ({"rho": -0.1}, "rho"),
        ({"delta": -0.1}, "delta"),
        ({"delta": float("nan")}, "delta"),
        ({"interval": "hdi"}, "interval"),
        ({"engine": "stan"}, "engine"),
    ],
)
def test_options_out_of_range_are_named(option, named):
    with pytest.raises(ValueError, match=named):
        Options(**option)


def test_every_wrong_option_is_named_at_once():
    with pytest.raises(ValueError, match=r"level .*; rho .*; delta "):
        Options(level=2, rho=2, delta=-1)


def test_an_improper_posterior_names_its_cell(evidence):
    some = evidence.select(mechanism="tremor", condition="alpha", estimand="association")
    with pytest.raises(PriorError, match=r"tremor / alpha / association: .*at least"):
        pool(some, tau_prior="flat")


def test_progress_names_every_cell(evidence):
    told = []
    pool(evidence.select(mechanism="grip"), progress=told.append)
    assert told == [f"grip / {c} / case_control" for c in ("alpha", "beta", "gamma")]


def test_groups_of_a_ready_made_table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("y,s,what\n0.1,0.2,b\n0.3,0.2,a\n0.5,0.2,b\n")
    pools = pool(read_simple(path, "y", sei="s", mechanism="what"))
    assert dict(zip(pools.table["mechanism"], pools.table["k"], strict=True)) == {"a": 1, "b": 2}
    assert pools.rows["yi"].tolist().count(0.3) == 1


def test_posterior_draws_of_one_pool_match_its_table(bcg):
    pools = pool(bcg, **PRIORS)
    draws = pools.posterior_data["posterior"]
    assert dict(draws.sizes) == {"chain": 4, "draw": 1000, "effect_id": 13}
    # systematic resampling: below the plain Monte Carlo error of 0.187 / sqrt(4000) = 0.003
    assert float(draws["mu"].mean()) == pytest.approx(pools.table["mu_mean"].iloc[0], abs=0.01)
    assert float(draws["tau"].mean()) == pytest.approx(0.5717626782, abs=0.005)
    assert "omega" not in draws


def test_posterior_draws_of_several_pools_are_refused(evidence):
    with pytest.raises(ValueError, match="needs one pool, this has 3"):
        pool(evidence.select(mechanism="grip")).posterior_data  # noqa: B018


@pytest.mark.parametrize("name", ["plot.pdf", "plot.v2.svg", "plot"])
def test_forest_is_written_under_the_name_given(bcg, tmp_path, name):
    pool(bcg).forest(tmp_path / name)
    file = name if "." in name else f"{name}.pdf"
    table = f"{name.removesuffix('.pdf').removesuffix('.svg')}_data.csv"
    assert {p.name for p in tmp_path.iterdir()} == {file, table}
    assert len(pd.read_csv(tmp_path / table)) == 13 + 2  # pooled effect and prediction


def test_a_mean_that_does_not_exist_is_said(tmp_path):
    """Three studies under flat priors: the posterior of mu falls as 1 / x^2, so has no mean."""
    path = tmp_path / "three.csv"
    path.write_text("yi,vi\n0.3,0.1\n0.1,0.1\n0.7,0.1\n", encoding="utf-8")
    rows = read_simple(path, "yi", vi="vi")
    flat = pool(rows, mu_prior="flat", tau_prior="flat").summary().iloc[0]
    assert np.isnan(flat["mu_mean"])
    assert "mu has no mean" in flat["flags"]
    assert "no mean" not in pool(rows).summary().iloc[0]["flags"]


def test_effects_far_outside_the_prior_have_a_bayes_factor():
    """Ten thousand SDs off, with a bound: (2 sqrt(2))^2 / 2 = 4 is the limit of its logarithm.

    See `tests/inference/test_bayes_factors.py`; it is reached as 1/y.
    """
    frame = pd.DataFrame({"y": [1e4, np.nan, 0.2], "v": 0.1, "low": [np.nan, 1e4, np.nan]})
    row = pool(read_simple(frame, "y", vi="v", lower="low")).bayes_factors().iloc[0]
    assert np.log(row["bf10_mu"]) == pytest.approx(4.0, abs=3e-4)


def test_a_bayes_factor_that_is_not_resolved_is_missing_with_a_note():
    def unresolved():
        raise FloatingPointError("the posterior could not be resolved by quadrature")

    row = ratios(("m", "c", "given"), 0.0, unresolved)
    assert np.isnan([row["bf10_mu"], row["bf10_tau"], row["log_evidence"]]).all()
    assert "could not be resolved" in row["note"]
