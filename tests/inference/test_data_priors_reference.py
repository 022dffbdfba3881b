"""Priors of tau from the data and from tables, against quadrature done by another program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.inference.bayes_factors import bayes_factors
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.shrinkage import shrunken
from nssi_meta.models.priors import PriorError, parse_prior

_SETS = json.loads(
    (Path(__file__).parent.parent / "reference" / "bayesmeta_data_priors.json").read_text("utf-8")
)["sets"]
CASES = [(name, i) for name, data in _SETS.items() for i in range(len(data["results"]))]
IDS = [f"{n}-{_SETS[n]['results'][i]['tau_prior']}-{_SETS[n]['results'][i]['mu_prior']}"
       for n, i in CASES]  # fmt: skip

#: In posterior SDs. Measured: 8e-12 for mu, tau and predictions, 3e-11 for shrunken effects, where
#: nodes below 1e-10 of the heaviest are left out.
TOLERANCE = 1e-10


def test_all_the_reference_is_here():
    assert {name: len(d["results"]) for name, d in _SETS.items()} == {"bcg_RR": 10, "rubin1981": 12}


@pytest.fixture(scope="module")
def rows():
    return {
        name: [{"yi": y, "vi": s**2} for y, s in zip(d["y"], d["sigma"], strict=True)]
        for name, d in _SETS.items()
    }


@pytest.mark.parametrize(("name", "i"), CASES, ids=IDS)
def test_one_pool(layout_of, rows, name, i):
    expected = _SETS[name]["results"][i]
    mu = parse_prior(expected["mu_prior"], "mu")
    tau = parse_prior(expected["tau_prior"], "tau")
    data = layout_of(rows[name])
    posterior = fit_exact(data, mu_prior=mu, tau_prior=tau)
    for part, density, low in (
        ("mu", posterior.mu, -np.inf),
        ("tau", posterior.tau_density, 0.0),
        ("prediction", posterior.prediction, -np.inf),
    ):
        theirs = expected[part]
        found = {
            "mean": density.mean,
            "sd": density.sd,
            "median": density.quantile(0.5),
            "central95": interval(density, 0.95, "central", low),
            "shortest95": interval(density, 0.95, "shortest", low),
            "quantiles": [density.quantile(float(p)) for p in theirs["quantiles"]],
        }
        for what, value in found.items():
            wanted = theirs[what]
            wanted = list(wanted.values()) if isinstance(wanted, dict) else wanted
            gap = np.max(np.abs(np.asarray(value) - np.asarray(wanted))) / theirs["sd"]
            assert gap < TOLERANCE, (part, what, gap)
    if "BF" not in expected:
        assert posterior.log_evidence is None
        with pytest.raises(PriorError, match="improper"):
            bayes_factors(data, mu_prior=mu, tau_prior=tau)
        return
    factors = bayes_factors(data, mu_prior=mu, tau_prior=tau)
    logs = expected["log_evidence"]
    assert factors.log_evidence == pytest.approx(logs["mufree_taufree"], abs=1e-11)
    assert posterior.log_evidence == pytest.approx(logs["mufree_taufree"], abs=1e-11)
    assert np.exp(factors.log_mu) == pytest.approx(expected["BF"]["BF10_mu"], rel=1e-11)
    assert factors.log_tau is not None
    assert np.exp(factors.log_tau) == pytest.approx(expected["BF"]["BF10_tau"], rel=1e-11)


@pytest.mark.parametrize(
    ("name", "i"), [c for c in CASES if "theta" in _SETS[c[0]]["results"][c[1]]]
)
def test_shrunken_effects(layout_of, rows, name, i):
    expected = _SETS[name]["results"][i]
    posterior = fit_exact(
        layout_of(rows[name]),
        mu_prior=parse_prior(expected["mu_prior"], "mu"),
        tau_prior=parse_prior(expected["tau_prior"], "tau"),
    )
    default = {
        "sample_id": "", "control_id": "", "kind": "exact", "lower": np.nan, "upper": np.nan,
        "n_control": 50.0,
    }  # fmt: skip
    frame = pd.DataFrame(
        [{**default, "study_id": f"study {i}", **r} for i, r in enumerate(rows[name])]
    )
    found = shrunken(frame, layout_of(rows[name]), posterior, lambda f: np.diag(f["vi"]))
    for density, theirs in zip(found, expected["theta"], strict=True):
        sd = theirs["sd"]
        assert density.mean == pytest.approx(theirs["mean"], abs=TOLERANCE * sd)
        assert density.sd == pytest.approx(sd, rel=TOLERANCE)
        assert density.quantile(0.5) == pytest.approx(theirs["median"], abs=TOLERANCE * sd)
