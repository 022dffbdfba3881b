"""Other reasonable analyses: the same pools under other options, counted honestly."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.sensitivity import GRID, read_grid, sensitivity


@pytest.fixture(scope="module")
def found(review):
    evidence = read_effects(review)
    grid = {"rows": ("all", "exact"), "mu_prior": ("normal(0,1)", "normal(0,0.1)")}
    return evidence, sensitivity(evidence, grid, n_jobs=1)


def test_the_main_analysis_is_the_plain_pool(found):
    evidence, result = found
    plain = pool(evidence).table
    main = result.analyses[result.analyses["spec_id"] == "a001"]
    assert len(main) == len(plain)
    got = main.sort_values(["mechanism", "condition", "estimand"])[["median", "low", "high"]]
    want = plain.sort_values(["mechanism", "condition", "estimand"])
    want = want[["mu_median", "mu_low", "mu_high"]]
    np.testing.assert_allclose(got.to_numpy(), want.to_numpy(), rtol=1e-12)


def test_rows_and_priors_do_what_they_say(found):
    evidence, result = found
    table = result.analyses
    assert (table.loc[table["choice_rows"] == "exact", "n_bounds"] == 0).all()
    exact_cells = evidence.used.query("kind == 'exact'")
    assert table.loc[table["choice_rows"] == "exact", "k"].max() <= len(exact_cells)
    wide = table[table["choice_mu_prior"] == "normal(0,1)"].set_index(
        ["mechanism", "condition", "estimand", "choice_rows"]
    )
    narrow = table[table["choice_mu_prior"] == "normal(0,0.1)"].set_index(wide.index.names)
    both = wide.join(narrow.add_suffix("_narrow"))
    assert (both["median_narrow"].abs() <= both["median"].abs() + 1e-9).all()


def test_what_stands_is_counted_from_the_intervals(found):
    _, result = found
    for _, cell in result.table.iterrows():
        rows = result.analyses
        for name in ("mechanism", "condition", "estimand"):
            rows = rows[rows[name] == cell[name]]
        side = np.sign(rows["low"]) * (np.sign(rows["low"]) == np.sign(rows["high"]))
        assert cell["n_analyses"] == len(rows)
        assert cell["n_stands"] == int((side == side.iloc[0]).sum())
        assert cell["lowest_median"] == rows["median"].min()
        assert cell["highest_median"] == rows["median"].max()


def test_two_processes_give_the_same_numbers(review):
    evidence = read_effects(review).select(mechanism="grip")
    grid = {"rows": ("all", "exact")}
    one, two = (sensitivity(evidence, grid, n_jobs=n).analyses for n in (1, 2))
    assert one.equals(two)


def test_a_grid_file_is_read_and_its_errors_are_named_together(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text('rows = ["exact"]\nrho = [0.0, 0.9]\n')
    grid = read_grid(path)
    assert grid["rows"] == ("exact",)
    assert grid["rho"] == (0.0, 0.9)
    assert grid["mu_prior"] == GRID["mu_prior"][:1]
    path.write_text('row = ["exact"]\nrho = 0.5\n')
    with pytest.raises(ValueError, match=r"'row' is no choice.*rho must be a list"):
        read_grid(path)
    path.write_text("rows = [")
    with pytest.raises(ValueError, match="no TOML"):
        read_grid(path)


def test_unknown_rows_and_bad_priors_are_refused(review):
    evidence = read_effects(review)
    with pytest.raises(ValueError, match=r"unknown rows exat; allowed: all, exact"):
        sensitivity(evidence, {"rows": ("exat",)})
    with pytest.raises(ValueError, match="norml"):
        sensitivity(evidence, {"mu_prior": ("norml(0,1)",)})
