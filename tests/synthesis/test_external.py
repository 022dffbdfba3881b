"""Published pools matched to ours, on our scale; the figure shows the table's own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.problems import EvidenceError
from nssi_meta.evidence.read import read_effects
from nssi_meta.figures import external
from nssi_meta.synthesis.external import (
    COLUMNS,
    expected_excess,
    external_check,
)
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.published import read_published
from nssi_meta.synthesis.reporting import adjusted_pools
from nssi_meta.synthesis.robustness import robustness

PUBLISHED = Path(__file__).parents[2] / "data" / "published_pools.csv"


def pools(**medians):
    """A pools table: cell name -> (scale, k, median), intervals of half-width 0.3."""
    estimand = {"g": "case_control", "log_or": "odds", "z": "association"}
    return pd.DataFrame(
        [
            {
                "mechanism": name.rsplit("_", 1)[0] if name.endswith("_2") else name,
                "condition": "nssi", "estimand": estimand[scale], "label": name.capitalize(),
                "condition_label": "NSSI", "scale": scale, "k": k, "share_bounds": 0.5,
                "mu_median": m, "mu_low": m - 0.3, "mu_high": m + 0.3, "mu_mean": m, "mu_sd": 0.15,
                "p_positive": float(stats.norm.cdf(m / 0.15)),
            }
            for name, (scale, k, m) in medians.items()
        ]
    )  # fmt: skip


def published(*rows):
    default = {
        "citation": "x", "year": 2020, "population": "nssi", "comparator": "healthy",
        "mechanism": "pain", "estimate_type": "g", "estimate": 0.4, "ci_low": np.nan,
        "ci_high": np.nan,
    }  # fmt: skip
    return pd.DataFrame([{**default, **r} for r in rows])


def test_scales_are_converted_and_said():
    ours = pools(pain=("g", 9, 0.5), sex=("log_or", 2, 0.5), mood=("z", 3, 0.2))
    check = external_check(
        published(
            {"estimate_type": "OR", "estimate": np.exp(0.9)},
            {"mechanism": "sex", "estimate_type": "or", "estimate": 2.0},
            {"mechanism": "sex", "estimate_type": "OR_male_vs_female", "estimate": 1.5,
             "ci_low": 1.2, "ci_high": 2.0},
            {"mechanism": "mood", "estimate_type": "r", "estimate": 0.3},
            {"mechanism": "mood", "estimate_type": "d", "estimate": 0.5},
        ),
        {"naive": ours},
    )  # fmt: skip
    t = check.table
    assert t["published"].tolist() == pytest.approx(
        [0.9 * np.sqrt(3) / np.pi, np.log(2), -np.log(1.5), np.arctanh(0.3), np.arcsinh(0.25)]
    )
    assert t["converted"].tolist() == ["log_or to g", "", "", "", "g to z"]
    turned = t.iloc[2]
    assert turned["published_low"] == pytest.approx(-np.log(2.0))
    assert turned["published_high"] == pytest.approx(-np.log(1.2))


def test_excess_has_the_direction_of_the_published_effect():
    ours = pools(pain=("g", 9, -0.7), sex=("log_or", 2, 0.5))
    rows = published(
        {"estimate": -0.4}, {"mechanism": "sex", "estimate_type": "or", "estimate": np.exp(0.9)}
    )
    check = external_check(rows, {"naive": ours, "half": ours.assign(mu_median=ours.mu_median / 2)})
    t = check.table
    assert t["excess_naive"].tolist() == pytest.approx([0.3, -0.4 * np.sqrt(3) / np.pi])
    assert t["excess_half"][0] == pytest.approx(-0.05)
    assert t["covered_naive"].tolist() == [True, False]
    totals = check.totals.set_index(["cells with", "pools"])
    assert totals.loc[("8 rows or more", "naive"), "n"] == 1
    assert totals.loc[("all", "naive"), "covered"] == 1
    assert totals.loc[("all", "naive"), "mean_excess"] == pytest.approx(t["excess_naive"].mean())


def test_what_is_not_comparable_says_why():
    check = external_check(
        published(
            {"estimate_type": "direction only", "estimate": np.nan},
            {"comparator": "clinical"},
            {"mechanism": "unknown"},
            {"estimate": 0.4},
            {"estimate": 0.4},
            {"estimate_type": "or", "estimate": -1.0},
        ),
        {"naive": pools(pain=("g", 9, 0.5))},
    )
    assert len(check.table) == 1
    why = " | ".join(check.left_out["why_not"])
    for words in ("no effect size", "other patients", "no cell of ours", "twice", "above 0"):
        assert words in why


def test_pools_of_other_cells_are_refused(tmp_path):
    ours = pools(pain=("g", 9, 0.5))
    with pytest.raises(ValueError, match="not of the same cells"):
        external_check(published({}), {"a": ours, "b": pools(mood=("g", 1, 0.1))})
    with pytest.raises(ValueError, match="needs at least one"):
        external_check(published({}), {})
    bad = tmp_path / "p.csv"
    bad.write_text("citation,year\nx,2020\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the column"):
        read_published(bad)


def test_the_shipped_table_can_be_read():
    table = read_published(PUBLISHED)
    assert set(COLUMNS) <= set(table.columns)
    assert table["estimate_type"].str.lower().isin(["g", "or", "smd", "d", "r"]).sum() > 50


def test_figure_draws_the_numbers_of_the_table():
    ours = pools(pain=("g", 9, 0.5), sex=("log_or", 2, 0.5))
    check = external_check(
        published({}, {"mechanism": "sex", "estimate_type": "or", "estimate": 2.0}),
        {"naive": ours, "adjusted": ours.assign(mu_median=0.3)},
    )
    figure = external(check.table, {"naive": "naive", "adjusted": "adjusted"})
    drawn = {line.get_gid(): line.get_xdata() for line in figure.axes[1].lines}
    assert list(drawn["at:naive:0"]) == [0.5]
    assert list(drawn["at:adjusted:0"]) == [0.3]
    assert list(drawn["published:0"]) == [0.4, 0.4]
    assert len(figure.axes) == 3  # the page, and a panel for each scale
    with pytest.raises(ValueError, match="nothing to draw"):
        external(check.table.iloc[:0], {"naive": "naive"})


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 0.4), (0.3, 0.2), (-0.5, 0.6)])
def test_the_expected_excess_is_that_of_draws(mean, sd):
    """Monte Carlo error of 400,000 draws: below 2e-3."""
    mu = np.random.default_rng(1).normal(mean, sd, 400_000)
    drawn = float((np.sign(mu) * (mean - mu)).mean())
    cell = pd.Series(
        {"mu_mean": mean, "mu_sd": sd, "mu_median": mean,
         "p_positive": stats.norm.cdf(mean / sd)}
    )  # fmt: skip
    assert expected_excess(cell) == pytest.approx(drawn, abs=4e-3)
    assert expected_excess(cell) < 0


def test_the_tables_of_a_run():
    """Naive and adjusted pools of the same cells side by side; adjusted ones lie nearer to zero."""
    evidence = read_effects(PUBLISHED.with_name("effects.csv")).select(mechanism="drd2_a1_allele")
    naive = pool(evidence).table
    tables = robustness(evidence, naive, read_published(PUBLISHED), n_jobs=1)
    assert set(tables) == {
        "pools_adjusted", "reporting", "external", "external_totals", "external_left_out",
    }  # fmt: skip
    both = tables["pools_adjusted"]
    assert both["naive_median"].tolist() == naive["mu_median"].tolist()
    clear = both["excludes_zero"].isin(["naive only", "both"])
    assert clear.any()
    assert (both["adjusted_median"].abs() < both["naive_median"].abs())[clear].all()
    assert len(tables["external"]) > 0
    options = {"omega_prior": "halfnormal(0.1)", "rho": 0.2, "level": 0.8, "interval": "shortest"}
    other = robustness(evidence, naive, n_jobs=1, **options)
    assert set(other) == {"pools_adjusted", "reporting"}
    want = adjusted_pools(evidence, n_jobs=1, **options).table
    assert other["pools_adjusted"]["adjusted_low"].tolist() == want["mu_low"].tolist()
    assert (other["pools_adjusted"]["adjusted_low"] > both["adjusted_low"]).all()
    with pytest.raises(ValueError, match="not of the evidence's cells"):
        robustness(evidence, naive.iloc[:1], n_jobs=1)


def test_every_problem_of_a_users_table_is_named_at_once(tmp_path):
    path = tmp_path / "mine.csv"
    head = "citation,population,mechanism,estimate_type,estimate,ci_low,ci_high\n"
    path.write_text(
        head + "A,nssi,pain,g,0.4,0.1,0.3\nB,nssi,pain,OR,-2,,\nC,nssi,pain,r,1.2,,\n"
        "D,nssi,pain,Hedges' g,about 1,,\nE,nssi,pain,prevalence,12%,,\n",
        encoding="utf-8",
    )
    with pytest.raises(EvidenceError) as error:
        read_published(path)
    lines = {p.row: str(p) for p in error.value.problems}
    assert set(lines) == {2, 3, 4, 5}
    for line, words in ((2, "outside its interval"), (3, "above 0"), (4, "between -1 and 1")):
        assert words in lines[line]
    path.write_text("citation;condition;mechanism;estimate\nA;nssi;pain;0,4\n", encoding="utf-8")
    with pytest.raises(EvidenceError) as error:
        read_published(path)
    text = str(error.value)
    for words in ("semicolons", "rename the column 'condition'", "lacks the column estimate_type"):
        assert words in text


def test_another_reviewers_table_works(tmp_path):
    """No year, no comparator, no limits; kinds in other words; a slip in a name is guessed."""
    path = tmp_path / "mine.csv"
    path.write_text(
        "population,mechanism,estimate_type,estimate\nnssi,pain,Cohen's d,0.4\n"
        f"nssi,sex,log OR,0.5\nnssi,sex,odds ratio,{np.exp(0.6)}\nnssi,mood,Fisher's z,0.2\n"
        "nsi,pain,g,0.5\nnssi,unheard_of,g,0.5\nnssi,pain,Cohen's d,0.4\n",
        encoding="utf-8",
    )
    ours = pools(pain=("g", 9, 0.5), sex=("log_or", 2, 0.5), mood=("z", 3, 0.2))
    check = external_check(read_published(path), {"naive": ours})
    assert check.table["published"].tolist() == pytest.approx([0.4, 0.5, 0.6, 0.2])
    why = check.left_out["why_not"].tolist()
    assert why[0] == "no condition 'nsi' in our table: 'nssi'?"
    assert why[1] == "no cell of ours has this mechanism and condition"
    assert why[2] == "the same number is listed twice"
