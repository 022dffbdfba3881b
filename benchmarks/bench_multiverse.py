"""Thousands of analyses: the shipped data and a single pool. Writes a table in README.md.

Seconds are those of all processes' processors together and of the clock. Analyses that are the same
as an earlier one (the same rows, or rho where it does not matter) are not counted.
Usage: python benchmarks/bench_multiverse.py [--jobs 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "effects.csv"
#: One pool under more than 5,000 analyses that differ.
ONE_POOL: dict[str, tuple[Any, ...]] = {
    "rows": ("all", "exact", "stated_thresholds", "with_doubtful"),
    "mu_prior": tuple(f"normal(0,{0.1 * sd:.1f})" for sd in range(3, 21)),
    "tau_prior": tuple(
        f"{name}({scale})"
        for name in ("halfnormal", "halfcauchy", "exponential")
        for scale in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    ),
    "interval": ("central", "shortest"),
}


def processors() -> float:
    """Processor seconds of this process and of its finished children."""
    import resource

    usage = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usage)


def measure(evidence: Any, grid: Any, jobs: int) -> tuple[int, float, float]:
    """Number of analyses, processor seconds, seconds of the clock; workers end with the run."""
    from joblib.externals.loky import get_reusable_executor

    from nssi_meta.synthesis.ranges import counted
    from nssi_meta.synthesis.sensitivity import sensitivity

    clock, work = time.monotonic(), processors()
    found = sensitivity(evidence, grid, n_jobs=jobs)
    clock = time.monotonic() - clock
    if jobs != 1:
        get_reusable_executor().shutdown(wait=True)
    return len(counted(found.analyses)), processors() - work, clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.grid import GRID

    evidence = read_effects(DATA)
    one = evidence.select(mechanism="pain_threshold", condition="nssi", estimand="case_control")
    lines = [
        "| grid | analyses | processor, s | clock, s | processor, s per 5,000 |",
        "|---|---|---|---|---|",
    ]
    for name, rows, grid in (
        ("one pool of 9 rows, 7 of them bounds", one, ONE_POOL),
        ("every pool, default grid", evidence, GRID),
    ):
        n, work, clock = measure(rows, grid, arguments.jobs)
        lines.append(f"| {name} | {n:,} | {work:.1f} | {clock:.1f} | {5000 * work / n:.1f} |")
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    write_marked(HERE / "README.md", "multiverse", text)


if __name__ == "__main__":
    main()
