"""The same seed gives the same draws, whatever other models were compiled on the machine before."""

from __future__ import annotations

import os
import subprocess
import sys

#: The sum of a model's draws of its coefficients.
_SCRIPT = """
import sys
import numpy as np
from nssi_meta.inference.compiled import refit
from nssi_meta.models.location_scale import location_scale
from nssi_meta.models.regression import regression
from nssi_meta.models.study_rows import study_rows

rng = np.random.default_rng(3)
X = np.c_[np.ones(9), np.linspace(-1, 1, 9)]
rows = study_rows(rng.normal(0.3, 0.4, 9), rng.uniform(0.02, 0.1, 9), np.arange(9) // 2, X)
names, priors = ["intercept", "slope"], ["normal(0,1)", "normal(0,0.5)"]
if sys.argv[1] == "regression":
    made = regression(rows, names, priors)
else:
    made = location_scale(rows, names, priors, np.ones((9, 1)), ["intercept"])
fit = refit(made, seed=1)
print(repr(float(fit.posterior_data["posterior"]["coef"].sum())))
"""


def draws(model, folder, hash_seed):
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    env["PYTENSOR_FLAGS"] = f"base_compiledir={folder}"
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, model], env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_what_was_compiled_before_changes_no_draw(tmp_path):
    """Parts of a model that another one shares come from the disk: linked, not compiled anew."""
    alone = draws("location-scale", tmp_path / "a", "0")
    other = draws("regression", tmp_path / "b", "1")
    assert other != alone
    assert draws("location-scale", tmp_path / "b", "2") == alone
    assert draws("location-scale", tmp_path / "b", "3") == alone
