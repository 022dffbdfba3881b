"""Selection models by maximum likelihood and PET-PEESE against metafor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference.pet_peese import pet_peese
from nssi_meta.inference.selmodel import selmodel

#: Both optimisers stop where the likelihood is flat to 1e-9; that is 1e-5 of a parameter.
ITERATIVE = 1e-5
CLOSED = 1e-10
SETS = ("dorn2007_RR", "bcg_RR")
STEPS = ("step025", "step05", "step_025_5", "step_05_5", "step_025_05_5", "step_2sided_05")


def _data(reference_dir, name):
    table = pd.read_csv(reference_dir / f"{name}.csv")
    return table["yi"].to_numpy(), table["vi"].to_numpy()


def _fit(reference, reference_dir, key):
    expected = reference("publication_bias.json")[key]
    y, v = _data(reference_dir, key[: key.index("_RR") + 3])
    side = "two" if expected["alternative"] == "two.sided" else "one"
    fixed = {"weights": expected["delta"]} if "fixed" in key else {}
    found = selmodel(
        y, v, expected["cuts"], side=side, positive=expected["alternative"] != "less",
        random="_EE_" not in key, **fixed,
    )  # fmt: skip
    return found, expected


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("steps", [*(f"ML_{s}" for s in STEPS), "EE_step025"])
def test_selmodel_is_that_of_metafor(reference, reference_dir, name, steps):
    found, expected = _fit(reference, reference_dir, f"{name}_selmodel_{steps}")
    tolerance = {"abs": ITERATIVE, "rel": ITERATIVE}
    assert found.log_likelihood == pytest.approx(expected["logLik"], abs=1e-8)
    assert found.mu == pytest.approx(expected["beta"], **tolerance)
    assert found.tau2 == pytest.approx(expected["tau2"], **tolerance)
    np.testing.assert_allclose(found.omega, expected["delta"], atol=ITERATIVE, rtol=ITERATIVE)
    assert found.se_mu == pytest.approx(expected["se"], **tolerance)
    lrt = 2 * (found.log_likelihood - found.log_likelihood_unadjusted)
    assert lrt == pytest.approx(expected["LRT"], abs=1e-6)
    assert found.k_bins.tolist() == expected["k"]


@pytest.mark.parametrize("name", SETS)
def test_fixed_weights(reference, reference_dir, name):
    found, expected = _fit(reference, reference_dir, f"{name}_selmodel_ML_step_fixed_moderate")
    assert found.mu == pytest.approx(expected["beta"], abs=ITERATIVE)
    assert found.tau2 == pytest.approx(expected["tau2"], abs=ITERATIVE)
    assert found.log_likelihood == pytest.approx(expected["logLik"], abs=1e-8)


@pytest.mark.parametrize("name", SETS)
def test_with_parameters_at_their_limit_the_likelihood_is_no_lower(reference, reference_dir, name):
    """Empty bins have weight 0; in one set metafor stops at the lower of two maxima."""
    found, expected = _fit(reference, reference_dir, f"{name}_selmodel_ML_step_many")
    assert found.log_likelihood > expected["logLik"] - 1e-6
    assert {f"omega{j}" for j, k in enumerate(expected["k"], 1) if k == 0} <= set(found.at_limit)


def test_turning_all_signs_turns_mu_only(reference_dir):
    y, v = _data(reference_dir, "dorn2007_RR")
    up, down = selmodel(y, v, (0.025, 0.5)), selmodel(-y, v, (0.025, 0.5), positive=False)
    assert down.mu == pytest.approx(-up.mu, abs=1e-12)
    np.testing.assert_allclose(down.omega, up.omega, atol=1e-12)
    order = np.random.default_rng(1).permutation(len(y))
    assert selmodel(y[order], v[order], (0.025, 0.5)).mu == pytest.approx(up.mu, abs=ITERATIVE)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("method", ["wls", "reml", "ml", "ee"])
def test_pet_peese_is_that_of_lm_and_rma(reference, reference_dir, name, method):
    expected = reference("publication_bias.json")[f"{name}_PETPEESE_{method.upper()}"]
    y, v = _data(reference_dir, name)
    found = pet_peese(y, np.sqrt(v), positive=name.startswith("dorn"), method=method)
    close = CLOSED if method in ("wls", "ee") else ITERATIVE
    for which, line in (("PET", found.pet), ("PEESE", found.peese)):
        e = expected[which]
        np.testing.assert_allclose(line.b, [e["b0"], e["b1"]], atol=close)
        np.testing.assert_allclose(line.se, [e["se0"], e["se1"]], atol=close)
        assert line.tau2 == pytest.approx(e.get("tau2", 0.0), abs=close)
    if method == "wls":
        assert found.chosen == expected["conditional_onesided_in_favoured_direction"]
        assert found.pet.p[1] == pytest.approx(expected["PET"]["p1"], abs=CLOSED)


#: From grams to tonnes and back; the search runs in units of a standard error.
UNITS = pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3, 1e6])


@UNITS
def test_selmodel_knows_no_unit(reference_dir, unit):
    y, v = _data(reference_dir, "dorn2007_RR")
    one, other = selmodel(y, v, (0.025,)), selmodel(unit * y, unit**2 * v, (0.025,))
    assert one.at_limit == other.at_limit == ()
    assert other.mu / unit == pytest.approx(one.mu, rel=ITERATIVE)
    assert other.se_mu / unit == pytest.approx(one.se_mu, rel=ITERATIVE)
    assert other.tau2 / unit**2 == pytest.approx(one.tau2, rel=ITERATIVE)
    assert other.se_tau2 / unit**2 == pytest.approx(one.se_tau2, rel=ITERATIVE)
    np.testing.assert_allclose(other.omega, one.omega, rtol=ITERATIVE)
    gained = [m.log_likelihood - m.log_likelihood_unadjusted for m in (one, other)]
    assert gained[1] == pytest.approx(gained[0], abs=1e-8)
    shift = other.log_likelihood + len(y) * np.log(unit)
    assert shift == pytest.approx(one.log_likelihood, abs=1e-8)


@UNITS
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_pet_peese_knows_no_unit(reference_dir, method, unit):
    y, v = _data(reference_dir, "dorn2007_RR")
    one, other = (pet_peese(u * y, u * np.sqrt(v), method=method) for u in (1.0, unit))
    for a, b in ((one.pet, other.pet), (one.peese, other.peese)):
        assert a.tau2 > 0
        assert b.tau2 / unit**2 == pytest.approx(a.tau2, rel=1e-9)
        assert b.b[0] / unit == pytest.approx(a.b[0], rel=1e-9)


def test_an_effect_in_the_wrong_direction_does_not_choose_peese():
    s = np.linspace(0.1, 0.5, 12)
    y = -1.0 + 0.1 * s + 0.01 * np.cos(np.arange(12))
    assert pet_peese(y, s, positive=True).chosen == "PET"
    assert pet_peese(y, s, positive=False).chosen == "PEESE"
    assert pet_peese(y, s, positive=True).p_one_sided > 0.999


def test_unusable_input_is_refused():
    with pytest.raises(ValueError, match="finite vi above 0"):
        selmodel([0.1, 0.2, 0.3], [0.1, 0.0, 0.1])
    with pytest.raises(ValueError, match="cannot determine 3 parameters"):
        selmodel([0.1, 0.2], [0.1, 0.1])
    with pytest.raises(ValueError, match="2 numbers above 0"):
        selmodel([0.1] * 4, [0.1] * 4, weights=[1.0])
    with pytest.raises(ValueError, match="at least 3 estimates"):
        pet_peese([0.1, 0.2], [0.1, 0.2])
    with pytest.raises(ValueError, match="standard errors are equal"):
        pet_peese([0.1, 0.2, 0.4], [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match="method must be"):
        pet_peese([0.1, 0.2, 0.4], [0.1, 0.2, 0.1], method="dl")
