"""NUTS: how long until the first answer, and how fast after that. Writes its table in README.md.

The model is the three-level one on 56 schools in 11 districts (Konstantopoulos 2011), four chains
on two cores. Its yardstick, brms 2.18 on the same model and data, was measured once on two cores
(compile 33.5 s; four chains of 2,000 iterations 8.37 s, 121 bulk ESS a second for mu). Usage:
python benchmarks/bench_nuts.py [--all] [--print]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "reference"
BEGIN, END = "<!-- nuts:begin -->", "<!-- nuts:end -->"
BRMS_COMPILE, BRMS_FIT, BRMS_ESS = 33.5, 8.37, 121.2
#: brms's own run: 1,000 iterations of warm-up and 1,000 draws in each of four chains.
DRAWS, TUNE, CHAINS, CORES = 1000, 1000, 4, 2


def schools():
    import pandas as pd

    frame = pd.read_csv(REFERENCE / "konstantopoulos2011.csv")
    return frame["yi"].to_numpy(), frame["vi"].to_numpy(), frame["district"].to_numpy()


def measure() -> dict[str, float]:
    """Inside a fresh process: first fit, refits, effective draws."""
    import numpy as np

    from nssi_meta.inference.compiled import CAREFUL, compiled_for, refit
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.models.three_level import three_level

    settings = Settings(DRAWS, TUNE, CHAINS, CAREFUL.target_accept)
    start = time.perf_counter()
    structure = three_level(*schools())
    compiled_for(structure)
    out = {"compile": time.perf_counter() - start}
    refit(structure, seed=1, settings=settings, cores=CORES)
    out["first"] = time.perf_counter() - start

    walls, rates = [], []
    for seed in range(2, 9):
        start = time.perf_counter()
        fit = refit(three_level(*schools()), seed=seed, settings=settings, cores=CORES)
        walls.append(time.perf_counter() - start)
        table = fit.diagnostics.set_index("quantity")
        rates.append(table.loc["mean[mu]", "ess_bulk"] / walls[-1])
    out["refit"], out["ess"] = statistics.median(walls), statistics.median(rates)

    rng = np.random.default_rng(1)
    for k in (20, 1000):
        study = np.sort(rng.integers(0, k // 3, k))
        v = rng.uniform(0.02, 0.1, k)
        y = rng.normal(0.3, 0.3, k // 3)[study] + rng.normal(0, np.sqrt(v + 0.04))
        other = []
        for seed in range(3):
            start = time.perf_counter()
            refit(three_level(y, v, study), seed=seed, settings=settings, cores=CORES)
            other.append(time.perf_counter() - start)
        out[f"refit_{k}"] = statistics.median(other)
    return out


def others() -> dict[str, float]:
    """Warm refits of the other structures on the 13 BCG trials, default settings."""
    import numpy as np
    import pandas as pd

    from nssi_meta.inference.compiled import refit
    from nssi_meta.models.binomial import binomial_normal
    from nssi_meta.models.binomial_tables import count_tables
    from nssi_meta.models.location_scale import location_scale
    from nssi_meta.models.regression import regression
    from nssi_meta.models.robust import robust_regression
    from nssi_meta.models.study_rows import study_rows

    trials = pd.read_csv(REFERENCE / "bcg_counts.csv")
    effects = pd.read_csv(REFERENCE / "bcg_RR.csv")
    X = np.c_[np.ones(13), (trials["ablat"] - 33.46) / 10]
    rows = study_rows(effects["yi"], effects["vi"], range(13), X)
    names, priors = ["intercept", "ablat"], ["normal(0,1)", "normal(0,0.5)"]
    t = trials
    makes = {
        "regression": lambda: regression(rows, names, priors),
        "robust": lambda: robust_regression(rows, names, priors),
        "location-scale": lambda: location_scale(rows, names, priors, X, names),
        "binomial-normal": lambda: binomial_normal(
            count_tables(t["tpos"], t["tpos"] + t["tneg"], t["cpos"], t["cpos"] + t["cneg"])
        ),
    }
    out = {}
    for name, make in makes.items():
        walls = []
        for seed in range(4):
            start = time.perf_counter()
            refit(make(), seed=seed, cores=CORES)
            walls.append(time.perf_counter() - start)
        out[name] = statistics.median(walls[1:])
    return out


def in_process(what: str, cache: str) -> tuple[dict[str, float], float]:
    """A measurement in a process with its own folder of compiled code, and its wall time."""
    environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={cache}"}
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", what]
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd=HERE
    )
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - start


def table(with_others: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        cold, cold_wall = in_process("first", folder)
        second, second_wall = in_process("first", folder)
        full, _ = in_process("three-level", folder)
        rest = in_process("others", folder)[0] if with_others else {}
    brms = "brms: compile"
    rows = [
        ("three-level, whole process, nothing compiled yet", cold_wall, brms, BRMS_COMPILE),
        ("three-level, whole process, code kept on disk", second_wall, brms, BRMS_COMPILE),
        (
            "of these: compiling, first and second process",
            cold["compile"],
            "second",
            second["compile"],
        ),
        ("refit in the same process, 56 rows", full["refit"], "brms: four chains", BRMS_FIT),
        ("refit with other data, 20 rows", full["refit_20"], "", 0.0),
        ("refit with other data, 1,000 rows", full["refit_1000"], "", 0.0),
        *((f"refit of {name}, 13 trials", seconds, "", 0.0) for name, seconds in rest.items()),
    ]
    lines = ["| what | seconds | yardstick | seconds | ratio |", "|---|---|---|---|---|"]
    for what, ours, yardstick, theirs in rows:
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        other = f"{theirs:.2f}" if theirs else ""
        lines.append(f"| {what} | {ours:.2f} | {yardstick} | {other} | {ratio} |")
    lines += [
        "",
        f"Bulk ESS of mu per second of refit: {full['ess']:.0f}; brms {BRMS_ESS:.0f}; "
        f"{full['ess'] / BRMS_ESS:.0f} times as many.",
    ]
    return "\n".join(lines)


def first() -> dict[str, float]:
    """Compile and fit once, as a user's first call does."""
    from nssi_meta.inference.compiled import compiled_for, refit
    from nssi_meta.models.three_level import three_level

    structure = three_level(*schools())
    start = time.perf_counter()
    compiled_for(structure)
    out = {"compile": time.perf_counter() - start}
    refit(structure, seed=1, cores=CORES)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="refits of the other structures too")
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what = {"first": first, "three-level": measure, "others": others}[arguments.measure]
        print(json.dumps(what()))
        return
    text = table(arguments.all)
    print(text)
    if not arguments.print:
        page = HERE / "README.md"
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
