"""Model averaging over publication bias: 36 models on 9 and 100 studies. Writes README.md.

Times are processor seconds, the least of two; `error` is the largest stated error of an inclusion
Bayes factor. Usage: python benchmarks/bench_bias.py
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

HERE = Path(__file__).parent
BEM = HERE.parent / "tests" / "reference" / "bem2011.csv"
AIMS = {9: 10, 100: 30}


def simulated(k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    sei = rng.uniform(0.07, 0.3, k)
    return 0.2 + rng.normal(0, np.sqrt(0.03 + sei**2)), sei


def main() -> int:
    """Entry point."""
    from nssi_meta.synthesis.bias import robma

    with BEM.open(encoding="utf-8") as lines:
        bem = list(csv.DictReader(lines))
    nine = np.array([float(r["d"]) for r in bem]), np.array([float(r["se"]) for r in bem])
    rows = ["| 36 models | studies | seconds | aim | error |", "|---|---:|---:|---:|---:|"]
    for name, (yi, sei) in (("nine published", nine), ("simulated", simulated(100))):
        times = []
        for _ in range(2):
            start = time.process_time()
            found = robma(yi, sei, measure="smd")
            times.append(time.process_time() - start)
        error = found.components["bf_error"].max()
        rows.append(
            f"| {name} | {len(yi)} | {min(times):.1f} | {AIMS[len(yi)]} | {100 * error:.3f}% |"
        )
    write_marked(HERE / "README.md", "bias", "\n".join(rows))
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
