"""The exact engine: one pool, 1,000 refits, 100 to a million studies. Writes a table in README.md.

Times are processor seconds, the least of several; memory is the peak of a process that does
nothing else. R's metafor and bayesmeta are timed beside it where Rscript and they are installed.
Usage: python benchmarks/bench_exact.py [--most 1000000]
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

HERE = Path(__file__).parent
BCG = HERE.parent / "tests" / "reference" / "bcg_RR.csv"
PRIORS = {"mu_prior": "normal(0,4)", "tau_prior": "halfnormal(0.5)"}

#: One R process a package: 1,000 fits of the 13 trials, or as many as a minute allows.
R = {
    "metafor, REML": "f <- function() metafor::rma(yi, vi, data=d)",
    "bayesmeta": (
        "f <- function() bayesmeta::bayesmeta(d$yi, sqrt(d$vi), mu.prior=c(0, 4), "
        "tau.prior=function(t) bayesmeta::dhalfnormal(t, scale=0.5))"
    ),
}
R_LOOP = """
d <- read.csv(commandArgs(TRUE)[1]); invisible(f()); n <- 0; t <- proc.time()[1:2]
while (n < 1000 && sum(proc.time()[1:2] - t) < 60) { invisible(f()); n <- n + 1 }
cat(1000 * sum(proc.time()[1:2] - t) / n)
"""


def least(work: Callable[[], object], repeats: int = 3) -> float:
    """Least processor seconds of `work`."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def simulated(k: int) -> tuple[object, object]:
    import numpy as np

    rng = np.random.default_rng(1)
    vi = rng.uniform(0.01, 0.1, k)
    return 0.3 + rng.normal(0, np.sqrt(0.04 + vi)), vi


def one_size(k: int) -> dict[str, float]:
    """Processor seconds of reading, of `pool` and of the fit alone, and peak memory (MB)."""
    import resource

    import pandas as pd

    import nssi_meta as nm
    from nssi_meta.inference.exact import fit_exact
    from nssi_meta.models.blocks import independent
    from nssi_meta.models.priors import parse_prior

    yi, vi = simulated(k)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "effects.csv"
        pd.DataFrame({"yi": yi, "vi": vi}).to_csv(path, index=False)
        start = time.process_time()
        frame = nm.read_simple(path, "yi", vi="vi")
        reading = time.process_time() - start
    repeats = 3 if k <= 100_000 else 1
    mu, tau = parse_prior(PRIORS["mu_prior"], "mu"), parse_prior(PRIORS["tau_prior"], "tau")
    data = independent(frame["yi"].to_numpy(float), frame["vi"].to_numpy(float))
    fit = least(lambda: fit_exact(data, mu_prior=mu, tau_prior=tau), repeats)
    pooling = least(lambda: nm.pool(frame, **PRIORS), repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"reading": reading, "pool": pooling, "fit": fit, "memory": peak}


def refits() -> tuple[float, float]:
    """1,000 resampled refits of the 13 trials at once, and 20 one by one times 50."""
    import numpy as np
    import pandas as pd

    from nssi_meta.inference.batch import fit_many
    from nssi_meta.inference.exact import fit_exact
    from nssi_meta.models.blocks import independent
    from nssi_meta.models.priors import parse_prior

    table = pd.read_csv(BCG)
    y, v = table["yi"].to_numpy(), table["vi"].to_numpy()
    some = np.random.default_rng(1).integers(0, len(y), (1000, len(y)))
    mu, tau = parse_prior(PRIORS["mu_prior"], "mu"), parse_prior(PRIORS["tau_prior"], "tau")
    together = least(lambda: fit_many(y[some], v[some], **PRIORS), 5)
    single = least(
        lambda: [fit_exact(independent(y[i], v[i]), mu_prior=mu, tau_prior=tau) for i in some[:20]]
    )
    return together, 50 * single


def peers() -> list[tuple[str, str]]:
    """Seconds of 1,000 refits in R, or why not."""
    if not (rscript := shutil.which("Rscript")):
        return [(name, "no Rscript here") for name in R]
    out = []
    for name, setup in R.items():
        done = subprocess.run(
            [rscript, "-e", setup + R_LOOP, str(BCG)], capture_output=True, text=True, check=False
        )
        good = done.returncode == 0
        out.append((name, f"{float(done.stdout):.2f} s" if good else "not installed"))
    return out


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Of log time on log size by least squares, from 1,000 studies on (below, overhead rules)."""
    pairs = [(math.log(k), math.log(s)) for k, s in zip(sizes, seconds, strict=True) if k >= 1000]
    x, y = ([p[i] for p in pairs] for i in (0, 1))
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in pairs) / sum((a - mx) ** 2 for a in x)


def child(what: str) -> dict[str, float]:
    """This script's measurement of `what` in a process of its own."""
    command = [sys.executable, __file__, "--child", what]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="largest number of studies")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(one_size(int(arguments.child))))
        return
    import pandas as pd

    import nssi_meta as nm

    frame = nm.read_simple(BCG, "yi", vi="vi")
    cold = least(lambda: nm.pool(frame, **PRIORS), 1)
    warm = least(lambda: nm.pool(frame, **PRIORS), 10)
    together, single = refits()
    lines = [
        "| 13 trials | processor time |",
        "|---|---|",
        f"| `pool`, first in its process, imports and all | {1000 * cold:.0f} ms |",
        f"| `pool`, warm | {1000 * warm:.0f} ms |",
        f"| 1,000 refits, `fit_many` | {together:.2f} s |",
        f"| 1,000 refits one by one | {single:.2f} s |",
        *(f"| 1,000 refits, {name} | {took} |" for name, took in peers()),
        "",
        "| studies | `read_simple`, s | `pool`, s | fit alone, s | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    sizes = [10**e for e in range(2, 7) if 10**e <= arguments.most]
    found = pd.DataFrame([child(str(k)) for k in sizes], index=sizes)
    for k, row in zip(sizes, found.to_dict("records"), strict=True):
        lines.append(
            f"| {k:,} | {row['reading']:.2f} | {row['pool']:.2f} | {row['fit']:.2f} "
            f"| {row['memory']:.0f} |"
        )
    growth = ", ".join(f"{c} {slope(sizes, found[c].tolist()):.2f}" for c in ("pool", "fit"))
    lines += [
        "",
        f"Slope of log time on log studies from 1,000 studies on: {growth} (1 is linear).",
    ]
    text = "\n".join(lines)
    print(text)
    write_marked(HERE / "README.md", "exact", text)


if __name__ == "__main__":
    main()
