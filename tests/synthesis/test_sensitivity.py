"""Other reasonable analyses: the same pools under other options, counted honestly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.models.priors import PriorError
from nssi_meta.synthesis import chunks
from nssi_meta.synthesis import sensitivity as module
from nssi_meta.synthesis.analyses import Task, analyse
from nssi_meta.synthesis.grid import GRID, HOW, read_grid
from nssi_meta.synthesis.pooled import comparable_rows, pool
from nssi_meta.synthesis.ranges import counted, with_one_more
from nssi_meta.synthesis.reporting import Selection, adjusted_pools
from nssi_meta.synthesis.sensitivity import RANGE_COLUMNS, pool_ranges, sensitivity

CELL = ["mechanism", "condition", "estimand"]
SMALL = {"rows": ("all", "exact"), "mu_prior": ("normal(0,1)", "normal(0,0.1)")}


@pytest.fixture(scope="module")
def found(review):
    evidence = read_effects(review)
    return evidence, sensitivity(evidence, SMALL, n_jobs=1)


def test_the_main_analysis_is_the_plain_pool(found):
    evidence, result = found
    plain = pool(evidence).table
    main = result.analyses[result.analyses["spec_id"] == "a001"]
    assert len(main) == len(plain)
    got = main.sort_values(CELL)[["median", "low", "high"]]
    want = plain.sort_values(CELL)[["mu_median", "mu_low", "mu_high"]]
    np.testing.assert_allclose(got.to_numpy(), want.to_numpy(), rtol=1e-12)


def test_a_prior_of_omega_is_that_of_every_analysis(review):
    """1e-6 posterior SDs and 1e-3 with three axes is the documented tolerance of shared grids."""
    evidence = read_effects(review).select(mechanism="reflex")
    grid = {"mu_prior": ("normal(0,1)", "normal(0,0.1)"), "how": HOW[:2]}
    omega = "halfnormal(0.05)"
    table = sensitivity(evidence, grid, omega_prior=omega, n_jobs=1).analyses
    usual = sensitivity(evidence, grid, n_jobs=1).analyses
    moved = (table["high"] - usual["high"]).abs()
    for how in HOW[:2]:  # cells with several effects a study move, under every way to compute
        assert moved[table["choice_how"] == how].max() > 0.005
    for mu in grid["mu_prior"]:
        one = pool(evidence, mu_prior=mu, omega_prior=omega).table
        mine = table[(table["choice_mu_prior"] == mu) & (table["choice_how"] == "normal")]
        both = mine.merge(one, on=CELL)
        np.testing.assert_allclose(both["median"], both["mu_median"], atol=1e-3)
        np.testing.assert_allclose(both["high"], both["mu_high"], atol=1e-3)
    with pytest.raises(PriorError, match="improper prior on omega"):
        sensitivity(evidence, grid, omega_prior="flat", n_jobs=1)


def test_every_analysis_is_that_of_the_single_engine(review):
    """Two axes: nodes left without their bounds (e^-34 each) differ between the two. With omega
    many priors share a coarser grid, good to 1e-4 SD.
    """
    evidence = read_effects(review).select(mechanism=["grip", "reflex"])
    grid = {
        "mu_prior": ("normal(0,1)", "student_t(4,0,0.5)"),
        "tau_prior": ("halfnormal(0.5)", "halfcauchy(0.3)"),
        "rho": (0.6, 0.2),
        "interval": ("central", "shortest"),
    }
    table = counted(sensitivity(evidence, grid, n_jobs=1).analyses)
    assert len(table) > 30
    for choice, rows in table.groupby([f"choice_{c}" for c in grid]):
        mu, tau, rho, kind = choice
        one = pool(evidence, mu_prior=mu, tau_prior=tau, rho=float(rho), interval=kind).table
        both = rows.merge(one, on=CELL)
        assert len(both) == len(rows)
        atol = 1e-9 + 1e-4 * both["mu_sd"] * both["omega_median"].notna()
        for mine, its in (("median", "mu_median"), ("low", "mu_low"), ("high", "mu_high")):
            assert (np.abs(both[mine] - both[its]) <= atol).all()


def test_rows_and_priors_do_what_they_say(found):
    evidence, result = found
    table = result.analyses
    assert (table.loc[table["choice_rows"] == "exact", "n_bounds"] == 0).all()
    exact_cells = evidence.used.query("kind == 'exact'")
    assert table.loc[table["choice_rows"] == "exact", "k"].max() <= len(exact_cells)
    names = [*CELL, "choice_rows"]
    wide = table[table["choice_mu_prior"] == "normal(0,1)"].set_index(names)
    narrow = table[table["choice_mu_prior"] == "normal(0,0.1)"].set_index(names)
    both = wide.join(narrow.add_suffix("_narrow")).dropna(subset=["median"])
    assert (both["median_narrow"].abs() <= both["median"].abs() + 1e-9).all()


def test_what_stands_is_counted_from_the_intervals(found):
    _, result = found
    for _, cell in result.table.iterrows():
        rows = counted(result.analyses)
        for name in CELL:
            rows = rows[rows[name] == cell[name]]
        side = np.sign(rows["low"]) * (np.sign(rows["low"]) == np.sign(rows["high"]))
        assert cell["n_analyses"] == len(rows)
        assert cell["n_stands"] == int((side == side.iloc[0]).sum())
        for name in ("median", "low", "high"):
            assert cell[f"lowest_{name}"] == rows[name].min()
            assert cell[f"highest_{name}"] == rows[name].max()
        moved = rows["median"] - cell["median"]
        assert abs(cell["most_moved"]) == moved.abs().max()
        assert (cell["most_moved_by"] == "") == (cell["most_moved"] == 0)


def test_what_cannot_be_had_is_said_and_what_is_the_same_is_not_counted(found):
    evidence, result = found
    table = result.analyses
    none = table[(table["choice_rows"] == "exact") & (table["k"] == 0)]
    assert (none["note"] == "no such rows").all()
    assert none["median"].isna().all()
    without_bounds = table[(table["spec_id"] == "a001") & (table["n_bounds"] == 0)]
    assert len(without_bounds)
    for _, cell in without_bounds.iterrows():
        same = table[(table[CELL] == cell[CELL]).all(axis=1) & (table["spec_id"] == "a003")].iloc[0]
        assert same["same_as"] == "a001"
        assert same["median"] == cell["median"]
    n = table.groupby(CELL).size()
    assert (n == 4).all()
    assert len(n) == len(comparable_rows(evidence)[CELL].drop_duplicates())


def test_rho_counts_where_people_are_shared_alone(review):
    evidence = read_effects(review)
    table = sensitivity(evidence, {"rho": (0.6, 0.0)}, n_jobs=1).analyses
    other = table[table["choice_rho"] == "0.0"]
    shared = comparable_rows(evidence).duplicated([*CELL, "study_id"], keep=False)
    cells = comparable_rows(evidence)[shared][CELL].drop_duplicates()
    own = other[other["same_as"] == ""][CELL].merge(cells, how="left", indicator=True)
    assert (own["_merge"] == "both").all()
    assert (other["same_as"] == "a001").any()


def test_correlations_that_contradict_each_other_are_said_beside_their_analyses(recwarn):
    """Printed variances below what 30 shared controls alone give: shrunk, whatever rho."""
    frame = pd.DataFrame(
        {
            "mechanism": "m", "condition": ["a", "b", "a"], "estimand": "case_control",
            "comparator": "healthy", "study_id": ["s1", "s2", "s3"], "sample_id": ["1", "2", "3"],
            "control_id": ["c", "c", "d"], "measure": "", "modality": "", "stimulus": "",
            "scale": "g", "kind": "exact", "n_case": 30.0, "n_control": 30.0, "yi": [0.2, 0.4, 0.3],
            "vi": 0.004, "sei": 0.004**0.5, "lower": np.nan, "upper": np.nan, "year": 2020,
            "seen_in": "full_text", "label": "", "n_total": 60.0,
        }
    )  # fmt: skip
    spec = {"mu_prior": "normal(0,1)", "tau_prior": "halfnormal(0.5)", "interval": "central"}
    specs = [
        {**spec, "rho": rho, "how": how} for rho in (0.6, 0.0) for how in ("normal", "selection")
    ]
    key = ("m", "a", "case_control")
    records = analyse(Task(key, frame, tuple(enumerate(specs))))
    assert [r["spec"] for r in records] == [0, 1, 2, 3]
    for record in records:
        assert "2 connected rows contradict each other" in record["note"]
        assert np.isfinite(record["median"])
    alone = analyse(Task(key, frame.assign(control_id=""), tuple(enumerate(specs))))
    assert {r["note"] for r in alone} == {""}
    assert not [w for w in recwarn if "contradict" in str(w.message)]


def test_robust_and_selection_are_their_own_engines(review):
    evidence = read_effects(review).select(mechanism="grip", condition="alpha")
    rows = comparable_rows(evidence)
    table = sensitivity(evidence, {"how": HOW}, n_jobs=1).analyses.set_index("choice_how")
    assert (table["note"] == "").all()
    adjusted = adjusted_pools(rows, Selection(spread=1.0, tau=0.5)).table.iloc[0]
    assert table.loc["selection", "median"] == pytest.approx(adjusted["mu_median"], abs=1e-12)
    # What robust is, tests/inference/test_heavy_tails.py says; here, that it is not the normal one.
    assert table.loc["robust", "median"] != table.loc["normal", "median"]
    said = sensitivity(
        evidence, {"how": HOW, "tau_prior": ("halfcauchy(0.5)",)}, n_jobs=1
    ).analyses.set_index("choice_how")
    assert "halfnormal(scale)" in said.loc["selection", "note"]


def test_two_processes_give_the_same_numbers(review):
    evidence = read_effects(review).select(mechanism="grip")
    grid = {"rows": ("all", "exact")}
    one, two = (sensitivity(evidence, grid, n_jobs=n).analyses for n in (1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_numbers(review):
    from distributed import Client, LocalCluster
    from joblib import parallel_config

    evidence = read_effects(review).select(mechanism="grip")
    grid = {"rows": ("all", "exact"), "rho": (0.6, 0.0)}
    one = sensitivity(evidence, grid, n_jobs=1).analyses
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        parallel_config(backend="dask"),
    ):
        two = sensitivity(evidence, grid).analyses
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_a_stopped_run_goes_on(review, tmp_path, monkeypatch):
    evidence = read_effects(review).select(mechanism="grip")
    want = sensitivity(evidence, SMALL, n_jobs=1)
    calls: list[Task] = []

    def count(task: Task):
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return analyse(task)

    monkeypatch.setattr(module, "analyse", count)
    with pytest.raises(KeyboardInterrupt):
        sensitivity(evidence, SMALL, n_jobs=1, folder=tmp_path)
    kept = list(tmp_path.glob("*.json"))
    assert len(kept) == 2
    assert not list(tmp_path.glob(".*.part"))
    kept[0].write_text("{ half a file")  # not json: computed again
    calls.clear()
    monkeypatch.setattr(module, "analyse", lambda task: calls.append(task) or analyse(task))
    again = sensitivity(evidence, SMALL, n_jobs=1, folder=tmp_path)
    pd.testing.assert_frame_equal(again.analyses, want.analyses, check_exact=True)
    n = len(list(tmp_path.glob("*.json")))
    assert len(calls) == n - 1
    calls.clear()
    sensitivity(evidence, {"mu_prior": ("normal(0,0.7)",)}, n_jobs=1, folder=tmp_path)
    assert calls  # other options are other parts
    monkeypatch.setattr(chunks, "__version__", "another")
    calls.clear()
    sensitivity(evidence, SMALL, n_jobs=1, folder=tmp_path)
    assert len(calls) == n


def test_ranges_are_what_every_pool_carries(found):
    evidence, _ = found
    plain = pool(evidence).table
    table = pool_ranges(evidence, SMALL, n_jobs=1)
    assert list(table.columns) == [*CELL, *RANGE_COLUMNS]
    joined = plain.merge(table, on=CELL, how="left", validate="one_to_one")
    assert joined["n_analyses"].notna().all()
    assert (joined["lowest_median"] <= joined["mu_median"]).all()
    shifted = {f"adjusted_{n}": plain[f"mu_{n}"] - 9 for n in ("median", "low", "high")}
    wider = with_one_more(joined, joined[CELL].assign(**shifted))
    assert (wider["n_analyses"] == joined["n_analyses"] + 1).all()
    assert (wider["most_moved_by"] == "how adjusted for selective reporting").all()
    np.testing.assert_allclose(wider["most_moved"], -9)
    np.testing.assert_allclose(wider["lowest_low"], plain["mu_low"] - 9)
    assert wider["highest_high"].equals(joined["highest_high"])
    # nine lower, every interval lies below 0: it stands where the main one does so too
    stands = joined["n_stands"] + (plain["mu_high"] < 0)
    assert wider["n_stands"].tolist() == stands.tolist()
    assert wider["conclusion"].iloc[0] == (
        f"stands in {stands.iloc[0]} of {wider['n_analyses'].iloc[0]} analyses"
    )


def test_a_grid_file_is_read_and_its_errors_are_named_together(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text('rows = ["exact"]\nrho = [0.0, 0.9]\nhow = ["robust"]\n')
    grid = read_grid(path)
    assert grid["rows"] == ("exact",)
    assert grid["rho"] == (0.0, 0.9)
    assert grid["how"] == ("robust",)
    assert grid["mu_prior"] == GRID["mu_prior"][:1]
    path.write_text('row = ["exact"]\nrho = 0.5\n')
    with pytest.raises(ValueError, match=r"'row' is no choice.*rho must be a list"):
        read_grid(path)
    path.write_text('how = ["robst"]\nrho = [1.5]\nrows = ["all", "all"]\n')
    with pytest.raises(ValueError, match=r"unknown how robst.*rho must be.*rows names an option"):
        read_grid(path)
    path.write_text("rows = [")
    with pytest.raises(ValueError, match="no TOML"):
        read_grid(path)


def test_unknown_rows_and_bad_priors_are_refused(review):
    evidence = read_effects(review)
    with pytest.raises(ValueError, match=r"unknown rows exat; allowed: all, exact"):
        sensitivity(evidence, {"rows": ("exat",)})
    with pytest.raises(PriorError, match="norml"):
        sensitivity(evidence, {"mu_prior": ("norml(0,1)",)})
