"""NUTS: how long until the first answer, and how fast after that. Writes its table in README.md.

The model is the three-level one on 56 schools in 11 districts (Konstantopoulos 2011), four chains
on two cores; `bench_brms.py` measures brms on it. Usage:
python benchmarks/bench_nuts.py [--print]
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

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "reference"
SCHOOLS = REFERENCE / "konstantopoulos2011.csv"
#: brms's defaults: 1,000 iterations of warm-up and 1,000 draws in each of four chains.
DRAWS, TUNE, CHAINS, CORES = 1000, 1000, 4, 2


def schools():
    import pandas as pd

    frame = pd.read_csv(SCHOOLS)
    return frame["yi"].to_numpy(), frame["vi"].to_numpy(), frame["district"].to_numpy()


def measure() -> dict[str, float]:
    """Inside a fresh process: first fit, refits, effective draws."""
    import numpy as np

    from nssi_meta.inference.compiled import SHORT, compiled_for, refit
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.models.three_level import three_level

    settings = Settings(DRAWS, TUNE, CHAINS, SHORT.target_accept)
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
        for seed in range(5):
            start = time.perf_counter()
            refit(three_level(y, v, study), seed=seed, cores=CORES)
            other.append(time.perf_counter() - start)
        out[f"refit_{k}"] = statistics.median(other)
    return out


def others() -> dict[str, float]:
    """Warm refits of the other structures on the 13 BCG trials, default settings."""
    import numpy as np
    import pandas as pd

    import nssi_meta as nm
    from nssi_meta.inference.compiled import refit
    from nssi_meta.models.binomial import binomial_normal
    from nssi_meta.models.binomial_tables import count_tables
    from nssi_meta.models.bounded import bounded_regression
    from nssi_meta.models.horseshoe import horseshoe
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
    year = (trials["year"] - 1960) / 10
    told = effects.assign(study=range(13), ablat=X[:, 1], below=np.nan)
    bound = told.index[1::3]  # as if every third trial had said "p < .05, fewer" alone
    told.loc[bound, "below"] = -1.96 * np.sqrt(told.loc[bound, "vi"])
    told.loc[bound, "yi"] = np.nan
    columns = {"vi": "vi", "study": "study", "upper": "below"}
    bounds = nm.model_rows(told, ["ablat"], **columns).bounded
    # As if three trials each were one study, one of which had told the direction alone.
    few = effects.assign(study=np.arange(13) // 3, below=np.nan)
    few["ablat"] = pd.Series(X[:, 1]).groupby(few["study"]).transform("mean")
    silent = few["study"] == 1
    few.loc[silent, "below"] = -1.96 * np.sqrt(few.loc[silent, "vi"])
    few.loc[silent, "yi"] = np.nan
    nested = nm.model_rows(few, ["ablat"], **columns).bounded
    Z = np.c_[np.ones(13), few["ablat"]]
    # Of everything something: three significant, three not, one without its sign.
    mixed = few.assign(yi=effects["yi"], below=np.nan, above=np.nan, size=False)
    at, se = np.arange(13), np.sqrt(mixed["vi"])
    mixed.loc[at % 4 == 1, "below"] = -1.96 * se
    mixed.loc[at % 4 == 3, "below"] = 1.96 * se
    mixed.loc[at % 4 == 3, "above"] = -1.96 * se
    mixed.loc[at % 2 == 1, "yi"] = np.nan
    mixed.loc[6, ["yi", "size"]] = abs(mixed.loc[6, "yi"]), True
    ends = {**columns, "lower": "above", "unsigned": "size"}
    blend = nm.model_rows(mixed, ["ablat"], **ends).bounded
    averaged = mixed.assign(year=few.assign(year=year).groupby("study")["year"].transform("mean"))
    wide = nm.model_rows(averaged, ["ablat", "year", "ablat:year"], **ends)
    many = nm.model_rows(told.assign(year=year), ["ablat", "year", "ablat:year"], **columns)
    three = study_rows(effects["yi"], effects["vi"], range(13), np.c_[X, year, X[:, 1] * year])
    makes = {
        "regression": lambda: regression(rows, names, priors),
        "robust": lambda: robust_regression(rows, names, priors),
        "regression with bounds": lambda: bounded_regression(**bounds),
        "robust with bounds": lambda: bounded_regression(**bounds, student=True),
        "horseshoe": lambda: horseshoe(three, ["intercept", "ablat", "year", "both"], expected=1),
        "horseshoe with bounds": lambda: horseshoe(many.rows, many.names, expected=1),
        "location-scale": lambda: location_scale(rows, names, priors, X, names),
        "location-scale with bounds": lambda: location_scale(**bounds, Z=X, scale_names=names),
        "regression, three bounds of one study": lambda: bounded_regression(**nested),
        "robust, three bounds of one study": lambda: bounded_regression(**nested, student=True),
        "location-scale, three bounds of one study": lambda: location_scale(
            **nested, Z=Z, scale_names=names
        ),
        "regression, all kinds of rows": lambda: bounded_regression(**blend),
        "robust, all kinds of rows": lambda: bounded_regression(**blend, student=True),
        "horseshoe, all kinds of rows": lambda: horseshoe(wide.rows, wide.names, expected=1),
        "location-scale, all kinds of rows": lambda: location_scale(
            **blend, Z=Z, scale_names=names
        ),
        "binomial-normal": lambda: binomial_normal(
            count_tables(t["tpos"], t["tpos"] + t["tneg"], t["cpos"], t["cpos"] + t["cneg"])
        ),
    }
    out = {}
    for name, make in makes.items():
        walls = []
        for seed in range(6):
            start = time.perf_counter()
            refit(make(), seed=seed, cores=CORES)
            walls.append(time.perf_counter() - start)
        out[name] = statistics.median(walls[1:])
    out["one mean with bounds"] = statistics.median(_pools(told)[1:])
    return out


def review() -> dict[str, float]:
    """Warm refits of every pool of the review's evidence, one mean each."""
    import numpy as np

    import nssi_meta as nm
    from nssi_meta.inference.sampled import fit_pool_nuts

    walls = []
    for cell in nm.pool(nm.read_effects(HERE.parent / "data" / "effects.csv")).cells:
        mu, tau, *omega = cell.priors
        several = cell.posterior.omega_density is not None
        priors = mu, tau, omega[0] if several else None
        for seed in range(2):
            start = time.perf_counter()
            fit_pool_nuts(cell.layout, cell.rows["kind"].to_numpy(), *priors, seed=seed)
            walls.append(time.perf_counter() - start)
    warm = np.array(walls[1::2])
    return {"number": len(warm), "median": float(np.median(warm)), "largest": float(warm.max())}


def _pools(told) -> list[float]:
    """Seconds of `pool` by NUTS of the trials, two bounds of one study among them."""
    import nssi_meta as nm

    frame = told.assign(study=[0, 1, 2, 3, 1, *range(5, 13)])
    walls = []
    for moved in range(4):  # other data each time
        frame = frame.assign(yi=frame["yi"] + 0.01 * moved)
        rows = nm.read_simple(frame, yi="yi", vi="vi", upper="below", study="study")
        start = time.perf_counter()
        nm.pool(rows, engine="nuts")
        walls.append(time.perf_counter() - start)
    return walls


def in_process(
    script: str, options: list[str], cache: str | Path
) -> tuple[dict[str, float], float]:
    """What a script prints as JSON in a process with its own folder of compiled code; wall time."""
    environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={cache}"}
    command = [sys.executable, str(Path(script).resolve()), *options]
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE
    )
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - start


def table() -> str:
    def measured(what: str) -> tuple[dict[str, float], float]:
        return in_process(__file__, ["--measure", what], folder)

    with tempfile.TemporaryDirectory() as folder:
        cold, cold_wall = measured("first")
        second, second_wall = measured("first")
        full, _ = measured("three-level")
        rest, _ = measured("others")
        pools, _ = measured("review")
    rows = {
        "three-level, whole process, nothing compiled yet": cold_wall,
        "of this: compiling": cold["compile"],
        "three-level, whole process, code kept on disk": second_wall,
        "of this: compiling ": second["compile"],
        "refit in the same process, 56 rows": full["refit"],
        "refit with other data, 20 rows": full["refit_20"],
        "refit with other data, 1,000 rows": full["refit_1000"],
        **{f"refit of {name}, 13 trials": seconds for name, seconds in rest.items()},
        f"refit of one of the review's {pools['number']:.0f} pools, median": pools["median"],
        "the longest of these": pools["largest"],
    }
    lines = ["| what | seconds |", "|---|---|"]
    lines += [f"| {what.strip()} | {seconds:.2f} |" for what, seconds in rows.items()]
    return "\n".join([*lines, "", f"Bulk ESS of mu per second of refit: {full['ess']:.0f}."])


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
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what = {"first": first, "three-level": measure, "others": others, "review": review}[
            arguments.measure
        ]
        print(json.dumps(what()))
        return
    text = table()
    print(text)
    if not arguments.print:
        write_marked(HERE / "README.md", "nuts", text)


if __name__ == "__main__":
    main()
