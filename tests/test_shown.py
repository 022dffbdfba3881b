"""What Python shows of a result: a few lines with its numbers, never the arrays inside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import nssi_meta as nm
from nssi_meta.inference.nuts import Fit
from nssi_meta.shown import MOST_ROWS, shown
from nssi_meta.synthesis.claims import Claims
from nssi_meta.synthesis.external import External
from nssi_meta.synthesis.moderators import Moderated
from nssi_meta.synthesis.overlap import Overlap
from nssi_meta.synthesis.sensitivity import Sensitivity

K = 12
YI = np.round(0.3 + 0.4 * np.sin(np.arange(K)), 2)
VI = 0.02 + 0.01 * (np.arange(K) % 4)
STUDY = [f"s{i // 2}" for i in range(K)]
TABLES = ([3, 4, 5], [20, 30, 40], [6, 7, 8], [20, 30, 40])


@pytest.fixture(scope="module")
def frame():
    data = pd.DataFrame({"yi": YI, "vi": VI, "x": np.arange(K) / 5, "study": STUDY})
    return nm.read_simple(data, "yi", vi="vi", study="study").assign(x=data["x"])


@pytest.fixture(scope="module")
def pools(frame):
    return nm.pool(frame)


def test_pools(pools):
    first, head, row, last = repr(pools).splitlines()
    assert first == "1 pool, 95% central credible intervals"
    assert head.split()[:3] == [
        "k",
        "n_bounds",
        "mu_median",
    ]  # no empty columns
    told = dict(zip(head.split(), row.split(), strict=True))
    assert float(told["mu_median"]) == pytest.approx(pools.table.loc[0, "mu_median"], rel=1e-3)
    assert ".summary()" in last


def test_cells_and_posteriors(pools):
    (cell,) = pools.cells
    assert repr(cell) == f"Cell(one pool: {K} rows)"
    assert f"mu median {cell.posterior.mu.quantile(0.5):.4g}" in repr(cell.posterior)


def test_what_did_not_converge_is_said(pools):
    from dataclasses import replace

    cell = replace(pools.cells[0], converged=False, problems=("3 divergent transitions.",))
    assert "not converged" in repr(cell)
    assert "3 divergent transitions." in repr(replace(pools, cells=(cell,)))


def test_counts():
    assert repr(nm.pool_counts(*TABLES)).startswith("1 pool, 95% central")
    assert repr(nm.count_tables(*TABLES)) == "Tables(3 two-by-two tables, 3 without an empty cell)"


def test_a_meta_regression(frame):
    fit = nm.regress(frame, ["x"])
    text = repr(fit)
    assert text.startswith(f"Meta-regression of {K} effects in 6 studies")
    assert f"tau with moderators = {fit.tau_with:.4g}" in text


def test_rows_structures_and_fits(frame):
    rows = nm.model_rows(frame, ["x"], vi="vi", study="study_id")
    assert repr(rows).splitlines()[0] == f"{K} rows of 6 studies with their design matrix X"
    assert "intercept ~ normal(0,1)" in repr(rows)
    structure = nm.regression(**rows.exact)
    assert repr(structure) == "Structure(regression of 6 studies: refit samples it)"


@pytest.mark.parametrize("problems", [(), ("R-hat is 1.2.",)])
def test_fits(problems):
    facts = {"chains": 4, "draws": 1000, "sampler": "nutpie NUTS"}
    table = pd.DataFrame({"quantity": ["mu"], "r_hat": [1.001], "ess_bulk": [2841.2]})
    text = repr(Fit(None, table, facts, problems))
    assert ("NOT CONVERGED" in text) == bool(problems)
    assert all(problem in text for problem in problems)
    assert "1.001" in text
    assert "2841" in text


def test_the_frequentist_mirror():
    fit = nm.rma(YI, VI)
    text = repr(fit)
    assert text.startswith(f"REML model of {K} effects")
    for number in (fit.beta[0], fit.ci_lb[0], fit.tau2, fit.QE):
        assert f"{number:.4g}" in text
    assert "QM" not in text
    with_x = nm.rma(YI, VI, pd.DataFrame({"x": np.arange(K)}))
    assert f"QM = {with_x.QM:.4g}" in repr(with_x)
    many = nm.rma_mv(YI, VI, groups={"study": STUDY})
    assert f"sigma2[study] = {many.sigma2[0]:.4g}" in repr(many)
    clustered = nm.robust(fit, STUDY)
    assert repr(clustered).startswith("CR2 errors robust to 6 clusters")
    assert f"{clustered.df[0]:.4g}" in repr(clustered)


def test_bias():
    fit = nm.selmodel(YI, VI)
    assert f"mu = {fit.mu:.4g}" in repr(fit)
    filled = nm.trimfill(YI, VI)
    assert repr(filled).startswith(f"{filled.k0} studies")
    assert repr(filled.fit) in repr(filled)
    averaged = nm.robma(YI, np.sqrt(VI))
    assert repr(averaged).startswith(f"36 models of {K} studies, averaged")
    assert "conditional" in repr(averaged)


def test_tables_of_a_review():
    table = pd.DataFrame({"condition": ["addiction"], "median": [0.25]})
    overlap = Overlap(table, table, table, table, table, 0.2, converged=False)
    assert repr(overlap).startswith("Overlap at delta = 0.2 (NOT CONVERGED)\ncondition")
    assert repr(Sensitivity(table, table)).startswith("1 analyses of 1 pools")
    assert repr(Claims(table, table, True)).startswith("1 claims\n")
    assert repr(External(table, table, table)).startswith("1 published pools compared, 1 left out")
    assert repr(Moderated(("m", "c", "e"), "age", table, *[table] * 3)).startswith("age in m, c, e")


def test_evidence(tmp_path):
    assert "problem" in repr(_evidence(tmp_path, "what,is,this\n1,2,3\n"))


def _evidence(folder, text):
    path = folder / "effects.csv"
    path.write_text(text)
    return nm.read_effects(path)


def test_no_probability_rounds_to_certainty():
    text = shown("t", pd.DataFrame({"p_positive": [0.99999, 1e-9, 1.0, 0.0, 0.25, np.nan]}))
    assert [line.strip() for line in text.splitlines()[2:]] == [
        "> 0.999", "< 0.001", "1.000", "0.000", "0.250", ""
    ]  # fmt: skip


def test_a_long_table_is_cut_and_empty_columns_left_out():
    n = 3 * MOST_ROWS
    text = shown("t", pd.DataFrame({"a": range(n), "b": [""] * n, "c": [np.nan] * n}))
    assert len(text.splitlines()) <= MOST_ROWS + 3
    assert text.splitlines()[1].split() == ["a"]
