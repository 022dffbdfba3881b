import pandas as pd
import pytest

from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.rho_sweep import RHOS, sweep_rho

ROWS = """study,sample,yi,vi
a,s1,0.6,0.04
a,s1,0.2,0.05
b,s2,0.3,0.04
c,s3,-0.1,0.06
c,s4,0.4,0.05
"""


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return read_simple(path, "yi", vi="vi", study="study", sample="sample")


def test_each_value_is_the_pool_at_that_value(frame):
    table = sweep_rho(pool(frame, mu_prior="normal(0,2)"))
    assert table["rho"].tolist() == list(RHOS)
    assert table.loc[table["assumed"], "rho"].tolist() == [0.6]
    alone = pool(frame, mu_prior="normal(0,2)", rho=0.2).table
    assert table.loc[1, "mu_median"] == alone.loc[0, "mu_median"]
    assert table.loc[1, "pred_high"] == alone.loc[0, "pred_high"]
    assert table["mu_median"].nunique() == len(RHOS)


def test_cells_without_shared_people_are_left_out(frame):
    other = frame.assign(sample_id=[f"s{i}" for i in range(len(frame))])
    table = sweep_rho(pool(other))
    assert table.empty
    assert list(table.columns)[3:5] == ["rho", "assumed"]
    both = pd.concat([frame, other.assign(mechanism="other")], ignore_index=True)
    assert set(sweep_rho(pool(both), [0.5])["mechanism"]) == set(frame["mechanism"])


@pytest.mark.parametrize("rhos", [[], [1.0], [0.3, -0.1], [float("nan")]])
def test_values_outside_the_range_are_refused(frame, rhos):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        sweep_rho(pool(frame), rhos)
