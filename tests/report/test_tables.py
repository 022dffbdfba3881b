"""Tables: columns with units, rounding, and CSV files that read back as the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from nssi_meta.report.columns import make_table
from nssi_meta.report.names import read_names
from nssi_meta.report.tables import coverage_table, pool_columns, threshold_table, write_tables
from nssi_meta.report.values import estimate, factor, records, whole


def test_csv_reads_back_as_the_same_floats_and_twice_gives_the_same_bytes(tables, tmp_path):
    rng = np.random.default_rng(3)
    hard = pd.DataFrame({"x": [*rng.normal(size=50), 1e-300, math.inf, math.nan], "t": 'a,"b"\nc'})
    chosen = tables | {"hard": hard}
    paths = write_tables(chosen, tmp_path / "one")
    write_tables(dict(reversed(chosen.items())), tmp_path / "two")
    assert [p.name for p in paths] == sorted(f"{k}.csv" for k in chosen)
    for path in paths:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert b"\r" not in path.read_bytes()
    back = pd.read_csv(tmp_path / "one" / "hard.csv")
    np.testing.assert_array_equal(back["x"], hard["x"])
    assert back["t"].tolist() == hard["t"].tolist()
    pools = pd.read_csv(tmp_path / "one" / "pools.csv")
    np.testing.assert_array_equal(pools["mu_median"], tables["pools"]["mu_median"])


@pytest.mark.parametrize("key", ["../pools", "Pools", "a b", "", "a.csv"])
def test_a_key_that_is_no_file_name_is_refused_before_anything_is_written(tables, tmp_path, key):
    with pytest.raises(ValueError, match="table names"):
        write_tables(tables | {key: tables["pools"]}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pool_table_prints_the_intervals_of_its_rows(tables, facts):
    pools = tables["pools"].to_dict("records")
    table = make_table("Pools", pool_columns(read_names(tables, facts), "95%"), pools)
    place = table.headers.index("Mean [95% CrI]")
    for line, row in zip(table.rows, pools, strict=True):
        assert line[0] == row["label"]
        assert line[place] == estimate(row["mu_median"], row["mu_low"], row["mu_high"])
    assert "Flags" not in table.headers  # empty in every row
    assert "Settings beyond 0.20" in table.headers


def test_back_transformed_column_is_there_only_for_scales_that_need_it(pool_row, facts):
    columns = pool_columns(read_names({}, facts), "95%")
    assert "Back-transformed" not in make_table("", columns, [pool_row()]).headers
    odds = pool_row(scale="log_or", mu_median=0.0, mu_low=-math.log(2), mu_high=math.log(2))
    table = make_table("", columns, [odds])
    assert table.rows[0][table.headers.index("Back-transformed")] == "OR 1.00 [0.50, 2.00]"


def test_coverage_shows_bounds_and_gaps(tables, facts):
    rows = tables["coverage"].to_dict("records")
    table = coverage_table("Coverage", rows, read_names(tables, facts))
    gaps = sum(cell == "0" for line in table.rows for cell in line[1:])
    assert gaps == (tables["coverage"]["k"] == 0).sum() > 0
    assert len(table.rows) * (len(table.headers) - 1) == len(rows)


def test_thresholds_become_lines_and_a_missing_one_says_so(tables):
    given = tables["overlap_thresholds"].head(20)
    missing = (given["figure"] == "jaccard") & (given["threshold"] == 0.5)
    assert missing.sum() == 1
    rows = given[~missing].to_dict("records")
    table = threshold_table("", rows, {"jaccard": "Jaccard index"}, "95%")
    assert [line[0] for line in table.rows] == ["0.10", "0.20", "0.30", "0.40", "0.50"]
    assert "Jaccard index [95% CrI]" in table.headers
    assert not any("agnitude" in h for h in table.headers)  # it needs no threshold
    assert sum(cell == "n/a" for line in table.rows for cell in line) == 1


def test_a_missing_column_is_named(tables):
    with pytest.raises(ValueError, match="`pools` lacks the columns: tau_low, flags"):
        records(tables["pools"].drop(columns=["tau_low", "flags"]), ("tau_low", "flags"), "pools")
    assert records(None, ("x",), "pools") == []


@pytest.mark.parametrize(
    ("value", "printed"), [(7.98, "8"), (4.5, "4.5"), (12.0, "12"), (1234.49, "1,234.5")]
)
def test_counts_are_printed_to_the_half(value, printed):
    assert whole(value) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.043, "0.04"), (5.376, "5.38"), (44.98, "45.0"), (5317.02, "5,317"), (12001.0, "> 10,000")],
)
def test_bayes_factors_have_three_digits_and_an_end(value, printed):
    assert factor(value) == printed
