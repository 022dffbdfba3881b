"""What must not change, or change in a known way, when a pool is told differently."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.densities import interval

INF = np.inf


def bound(low, high, **more):
    return {"kind": "interval", "lower": low, "upper": high, **more}


EXACT = [{"yi": 0.6}, {"yi": 0.1, "vi": 0.02}, {"yi": -0.2, "vi": 0.09}, {"yi": 0.45, "vi": 0.05}]
NESTED = [*EXACT, {"yi": 0.3, "study_id": "S"}, {"yi": 0.5, "study_id": "S", "vi": 0.06}]
BOUNDS = [{"yi": 0.6}, {"yi": 0.1, "vi": 0.02}, bound(0.5, INF), bound(-0.3, 0.4, vi=0.02),
          {"yi": 0.4, "kind": "unsigned"}]  # fmt: skip
BLOCK = [*BOUNDS, bound(0.4, INF, study_id="S", sample_id="a"),
         {"yi": 0.2, "study_id": "S", "sample_id": "a", "vi": 0.05},
         bound(-0.5, 0.5, study_id="S", sample_id="a")]  # fmt: skip
#: rows, omega prior, what the engine's quadrature leaves (relative to an SD), see test_exact_bounds
POOLS = {
    "exact": (EXACT, None, 1e-10),
    "exact, within": (NESTED, "halfnormal(0.5)", 1e-9),
    "bounds": (BOUNDS, None, 1e-6),
    "blocks of bounds": (BLOCK, None, 1e-4),
    "bounds, within": (BLOCK, "halfnormal(0.5)", 1e-3),
}


@pytest.fixture(params=POOLS, scope="module")
def pool(request, fit):
    rows, omega, tolerance = POOLS[request.param]
    return rows, omega, tolerance, fit(rows, omega=omega)


def close(ours, base, tolerance, factor=1.0, sign=1.0, prediction=None):
    """Two posteriors agree after mu is multiplied by sign * factor and tau by factor."""
    assert ours.mu.mean == pytest.approx(sign * factor * base.mu.mean, abs=tolerance * ours.mu.sd)
    assert ours.mu.sd == pytest.approx(factor * base.mu.sd, rel=tolerance)
    pairs = [(ours.tau_density, base.tau_density), (ours.omega_density, base.omega_density)]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None:
            assert a.mean == pytest.approx(factor * b.mean, rel=tolerance)
            assert a.quantile(0.975) == pytest.approx(
                factor * b.quantile(0.975), rel=10 * tolerance
            )
    # where mu is an axis the prediction is a grouped mixture, good to about 1e-3 of its SD
    loose = prediction or (tolerance if tolerance < 1e-7 else 2e-3)
    a, b = (np.array(interval(p.prediction)) for p in (ours, base))
    b = b * factor if sign > 0 else -b[::-1] * factor
    np.testing.assert_allclose(a, b, atol=10 * loose * ours.prediction.sd)


def mirrored(row):
    out = dict(row)
    if row.get("kind") == "interval":
        out["lower"], out["upper"] = -row["upper"], -row["lower"]
    elif row.get("kind") != "unsigned":
        out["yi"] = -row["yi"]
    return out


def test_all_signs_turned_mirror_mu_and_leave_tau(pool, fit):
    rows, omega, tolerance, base = pool
    ours = fit([mirrored(r) for r in rows], omega=omega)
    close(ours, base, tolerance, sign=-1.0)
    assert ours.p_positive == pytest.approx(1 - base.p_positive, abs=tolerance)
    assert ours.log_evidence == pytest.approx(base.log_evidence, abs=tolerance)


def test_the_order_of_rows_does_not_matter(pool, fit):
    rows, omega, _, base = pool
    order = np.random.default_rng(3).permutation(len(rows))
    # an unnamed study is named by its position: name them all before shuffling
    named = [{"study_id": f"n{i}", **r} for i, r in enumerate(rows)]
    ours = fit([named[i] for i in order], omega=omega)
    assert ours.mu.mean == pytest.approx(base.mu.mean, rel=1e-12, abs=1e-12)
    assert ours.mu.sd == pytest.approx(base.mu.sd, rel=1e-12)
    assert ours.tau_density.mean == pytest.approx(base.tau_density.mean, rel=1e-12)
    assert ours.log_evidence == pytest.approx(base.log_evidence, abs=1e-12)
    np.testing.assert_allclose(interval(ours.prediction), interval(base.prediction), atol=1e-10)


@pytest.mark.parametrize("unit", [1 / 7, 24.0, 86_400.0])
def test_another_unit_gives_the_same_answer(pool, fit, unit):
    """Days to weeks, hours, seconds: prior scales change with the unit, answers with them."""
    rows, omega, tolerance, base = pool
    scaled = [
        {**r, "vi": r.get("vi", 0.04) * unit**2}
        | {key: r[key] * unit for key in ("yi", "lower", "upper") if key in r}
        for r in rows
    ]
    sd = f"halfnormal({0.5 * unit!r})"
    ours = fit(scaled, f"normal(0,{unit!r})", sd, None if omega is None else sd)
    close(ours, base, tolerance, factor=unit)
    n_density = sum("yi" in r for r in rows)
    assert ours.log_evidence + n_density * np.log(unit) == pytest.approx(
        base.log_evidence, abs=max(tolerance, 1e-9)
    )
    assert ours.p_positive == pytest.approx(base.p_positive, abs=max(tolerance, 1e-9))


def test_a_shift_of_everything_shifts_mu(fit):
    base = fit(EXACT)
    ours = fit([{**r, "yi": r["yi"] + 3.5} for r in EXACT], "normal(3.5,1)")
    assert ours.mu.mean - 3.5 == pytest.approx(base.mu.mean, abs=1e-12)
    assert ours.tau_density.mean == pytest.approx(base.tau_density.mean, rel=1e-12)
    assert ours.log_evidence == pytest.approx(base.log_evidence, abs=1e-11)


# A row of variance V says of mu at most 1/V beside 1/sd^2: 1e-10 of the moments.
@pytest.mark.parametrize("name", POOLS)
def test_a_row_that_knows_nothing_changes_nothing(fit, name):
    rows, omega, tolerance = POOLS[name]
    base, ours = fit(rows, omega=omega), fit([*rows, {"yi": 0.7, "vi": 1e10}], omega=omega)
    close(ours, base, max(tolerance, 1e-8))
    log_density = -0.5 * np.log(2 * np.pi * 1e10)
    assert ours.log_evidence == pytest.approx(
        base.log_evidence + log_density, abs=max(tolerance, 1e-8)
    )


def test_a_study_split_into_two_reports_is_still_one_study(layout_of, fit):
    """Two rows, the same number, errors (almost) perfectly correlated: the study once."""

    def repeated(frame):
        v = frame["vi"].to_numpy(dtype=float)
        return np.sqrt(np.outer(v, v)) * (1 - 1e-4) + 1e-4 * np.diag(v)

    base = fit(layout_of([*EXACT, {"yi": 0.3, "vi": 0.05}]))
    twice = [{"yi": 0.3, "vi": 0.05, "study_id": "S"}] * 2
    ours = fit(layout_of([*EXACT, *twice], 0.6, repeated))
    # what is left of independence is 1e-4 of v, the least that vcalc leaves
    assert ours.mu.mean == pytest.approx(base.mu.mean, abs=1e-4 * base.mu.sd)
    assert ours.mu.sd == pytest.approx(base.mu.sd, rel=1e-4)
    assert ours.tau_density.mean == pytest.approx(base.tau_density.mean, rel=1e-4)


def test_independent_halves_of_a_study_are_the_study(fit):
    """One effect of variance v, or two of variance 2v whose mean it is; no omega."""
    base = fit([*EXACT, {"yi": 0.3, "vi": 0.05}])
    halves = [{"yi": y, "vi": 0.10, "study_id": "S"} for y in (0.2, 0.4)]
    ours = fit([*EXACT, *halves])
    assert ours.mu.mean == pytest.approx(base.mu.mean, abs=1e-11)
    assert ours.mu.sd == pytest.approx(base.mu.sd, rel=1e-11)
    assert ours.tau_density.mean == pytest.approx(base.tau_density.mean, rel=1e-11)


def test_more_agreeing_studies_narrow_mu_and_the_bound_pulls_the_right_way(fit):
    base = fit(EXACT)
    assert fit([*EXACT, *EXACT]).mu.sd < base.mu.sd
    assert fit([*EXACT, bound(0.8, INF)]).mu.mean > base.mu.mean
    assert fit([*EXACT, bound(-INF, -0.8)]).mu.mean < base.mu.mean
    assert fit([*EXACT, bound(-0.1, 0.1, vi=0.001)]).mu.mean < base.mu.mean


def test_a_prior_far_from_the_data_wins_when_it_is_sharp(fit):
    for rows in (EXACT, BOUNDS):
        ours = fit(rows, "normal(-1,0.0001)")
        assert ours.mu.mean == pytest.approx(-1, abs=1e-4)
        assert ours.mu.sd == pytest.approx(1e-4, rel=1e-3)
    narrow = fit(EXACT, tau="halfnormal(1e-6)")
    w = np.array([1 / r.get("vi", 0.04) for r in EXACT])
    fixed = (w @ [r["yi"] for r in EXACT]) / (w.sum() + 1)
    assert narrow.mu.mean == pytest.approx(fixed, abs=1e-9)


@pytest.mark.parametrize(
    ("size", "v", "k"),
    [(1.5, 0.04, 3), (1.5, 1e-4, 3), (0.8, 0.04, 8), (0.8, 1e-4, 8), (3, 0.01, 8)],
)
def test_sizes_without_signs_say_nothing_about_the_sign(fit, size, v, k):
    """Prior and likelihood are even in mu: so is the posterior, however sharp its two modes."""
    rows = [{"yi": size + 0.3 * np.sqrt(v) * i, "vi": v, "kind": "unsigned"} for i in range(k)]
    posterior = fit(rows)
    assert posterior.p_positive == pytest.approx(0.5, abs=1e-4)
    assert posterior.mu.mean == pytest.approx(0.0, abs=1e-3)
