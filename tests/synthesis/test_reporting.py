"""Pools under selective reporting: what they must equal, and what must not change them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nssi_meta.evidence.bounds import critical_g
from nssi_meta.models.priors import PriorError
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.reporting import Selection, adjusted_pools

#: Two quadratures of one posterior, each good to 1e-6 (2e-3 where a study gives several rows).
TOLERANCE, TOLERANCE_BLOCKS = 1e-5, 2e-3
SHOWN = ["mu_median", "mu_low", "mu_high", "tau_median", "pred_low", "pred_high", "p_positive"]


def evidence(seed=1, cells=3, w=0.3, studies=4, rows_per_study=1):
    """Rows on the g scale that reached a table which takes null results w times as often."""
    rng = np.random.default_rng(seed)
    rows = []
    for cell in range(cells):
        mu, found = rng.normal(0, 0.5), 0
        while found < studies:
            n = int(rng.integers(15, 60))
            c = float(critical_g(0.05, n, n)[0])
            ys = mu + rng.normal(0, 0.2) + rng.normal(0, np.sqrt(2 / n), rows_per_study)
            if (np.abs(ys) < c).all() and rng.random() > w:
                continue
            found += 1
            for y in ys:
                exact = rng.random() < 0.4
                ends = (c, np.inf) if y > c else (-np.inf, -c) if y < -c else (-c, c)
                rows.append(
                    {
                        "mechanism": f"m{cell}", "study_id": f"c{cell}s{found}",
                        "sample_id": f"c{cell}s{found}", "n_case": n, "n_control": n,
                        "kind": "exact" if exact else "interval", "yi": y if exact else np.nan,
                        "lower": np.nan if exact else ends[0],
                        "upper": np.nan if exact else ends[1],
                        "vi": 2 / n + (y if exact else c) ** 2 / (4 * n),
                    }
                )  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(
        sei=np.sqrt(frame["vi"]), n_total=2 * frame["n_case"], control_id="", condition="case",
        comparator="healthy", estimand="case_control", scale="g", seen_in="abstract",
        bound="stated", label=frame["study_id"], effect_id=[f"e{i}" for i in range(len(frame))],
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "tolerance"), [(1, TOLERANCE), (2, TOLERANCE_BLOCKS)])
def test_without_selection_it_is_the_pool(rows, tolerance):
    frame = evidence(rows_per_study=rows, cells=3 - rows, studies=4 - rows)
    naive = pool(frame).table.set_index("mechanism")
    same = adjusted_pools(frame, Selection(w=1.0, spread=1.0, tau=0.5)).table
    same = same.set_index("mechanism").loc[naive.index]
    np.testing.assert_allclose(same[SHOWN], naive[SHOWN], atol=tolerance)


@pytest.fixture(scope="module")
def learned():
    frame = evidence()
    return frame, adjusted_pools(frame)


def test_turned_signs_turn_the_pools(learned):
    frame, adjusted = learned
    turned = frame.assign(yi=-frame["yi"], lower=-frame["upper"], upper=-frame["lower"])
    other = adjusted_pools(turned)
    np.testing.assert_allclose(
        other.table[["mu_median", "mu_low", "mu_high"]],
        -adjusted.table[["mu_median", "mu_high", "mu_low"]],
        atol=TOLERANCE,
    )
    np.testing.assert_allclose(other.learned["mean"], adjusted.learned["mean"], atol=TOLERANCE)


def test_order_of_rows_and_cells_does_not_matter(learned):
    frame, adjusted = learned
    mixed = frame.sample(frac=1, random_state=2).reset_index(drop=True)
    a = adjusted.table.set_index("mechanism")
    b = adjusted_pools(mixed).table.set_index("mechanism").loc[a.index]
    np.testing.assert_allclose(b[SHOWN], a[SHOWN], atol=TOLERANCE)


def test_one_exact_study_against_direct_integration():
    """w, spread and tau fixed: the posterior of mu written out on a grid."""
    frame = evidence(seed=4, cells=1, studies=1).assign(
        kind="exact", yi=0.62, lower=np.nan, upper=np.nan, n_case=20, n_control=20, n_total=40,
        vi=0.1048, sei=np.sqrt(0.1048),
    )  # fmt: skip
    adjusted = adjusted_pools(frame, Selection(w=0.1, spread=0.6, tau=0.3))
    c = float(critical_g(0.05, 20, 20)[0])
    mu, tau = np.linspace(-4, 4, 1601)[:, None], np.linspace(0, 3, 1201)[None, :]
    sd = np.sqrt(0.1048 + tau**2)
    null = stats.norm.cdf(c, mu, sd) - stats.norm.cdf(-c, mu, sd)
    density = stats.norm.pdf(0.62, mu, sd) / (1 - 0.9 * null)  # 0.62 < c: silent, a constant w
    density = density * stats.norm.pdf(mu, 0, 0.6) * stats.halfnorm.pdf(tau, scale=0.3)
    density[:, [0, -1]] /= 2
    marginal = density.sum(axis=1)
    mean = float((marginal * mu[:, 0]).sum() / marginal.sum())
    assert c > 0.62
    assert adjusted.table["mu_mean"][0] == pytest.approx(mean, abs=1e-5)


def test_posterior_of_w_against_cells_at_fixed_w(learned):
    """Bayes by hand: evidences of the whole at several fixed w, spread and tau."""
    _, adjusted = learned
    shared = adjusted.shared
    log_e = sum(cell.log_evidence(shared) for _, _, cell in adjusted.laid.cells)
    posterior = shared.prior * np.exp(log_e - log_e.max())
    np.testing.assert_allclose(adjusted.posterior, posterior / posterior.sum(), atol=1e-12)
    at = adjusted.under(Selection(w=0.3, spread=0.5, tau=0.3))
    direct = adjusted_pools(learned[0], Selection(w=0.3, spread=0.5, tau=0.3))
    np.testing.assert_allclose(at.table[SHOWN], direct.table[SHOWN], atol=1e-4)


def test_a_group_without_reports_keeps_its_prior(learned):
    w = learned[1].learned.set_index("parameter").loc["w elsewhere"]
    assert w["n_reports"] == 0
    assert w["mean"] == pytest.approx(0.5, abs=1e-3)
    assert w["low"] == pytest.approx(0.025, abs=5e-3)


def test_studies_read_elsewhere_have_their_own_w():
    frame = evidence(cells=2)
    frame["seen_in"] = np.where(frame["mechanism"] == "m0", "dataset", "abstract")
    learned = adjusted_pools(frame).learned.set_index("parameter")
    assert learned.loc["w elsewhere", "n_reports"] == 4
    assert learned.loc["w abstract", "n_reports"] == 4


def test_adjusted_pools_have_rows_and_predictions(learned):
    """They are ordinary pools: every row has its shrunken effect."""
    frame, adjusted = learned
    rows = adjusted.pools.rows
    assert len(rows) == len(frame)
    assert rows["shrunk_median"].notna().all()
    assert (rows["shrunk_low"] < rows["shrunk_high"]).all()


def test_smaller_w_pulls_towards_zero(learned):
    """The more null results are missing, the less a significant one says."""
    _, adjusted = learned
    sizes = [
        adjusted.under(Selection(w=w, spread=0.5, tau=0.3)).table["mu_median"].abs().to_numpy()
        for w in (1.0, 0.3, 0.05)
    ]
    clear = sizes[0] > 0.1
    assert clear.any()
    assert (sizes[0] > sizes[1])[clear].all()
    assert (sizes[1] > sizes[2])[clear].all()


@pytest.mark.slow
def test_selection_is_found_and_corrected():
    """Simulated with w = 0.1: w is found, the pools come nearer to zero than the naive ones."""
    frame = evidence(seed=11, cells=25, studies=6, w=0.1)
    adjusted = adjusted_pools(frame)
    w = adjusted.learned.set_index("parameter").loc["w abstract"]
    assert w["low"] < 0.1 < w["high"] < 0.6
    naive = pool(frame).table.set_index("mechanism")["mu_median"].abs()
    ours = adjusted.table.set_index("mechanism")["mu_median"].abs()
    assert (naive - ours).mean() > 0.05


def test_unusable_options_are_refused():
    frame = evidence(cells=1)
    with pytest.raises(ValueError, match="w must be above 0"):
        Selection(w=0.0)
    with pytest.raises(ValueError, match="numbers above 0"):
        Selection(w=(1.0, -1.0))
    with pytest.raises(ValueError, match="spread must be above 0"):
        Selection(spread=0.0)
    with pytest.raises(ValueError, match=r"Selection\(spread"):
        adjusted_pools(frame, mu_prior="normal(0,2)")
    with pytest.raises(PriorError, match="improper prior flat"):
        adjusted_pools(frame, omega_prior="flat")
    with pytest.raises(ValueError, match="no rows to pool"):
        adjusted_pools(frame.iloc[:0])
