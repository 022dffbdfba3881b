"""What a user waits for: start-up, one pool, the whole run. Writes the table in README.md.

Times are medians of whole processes, each beside its yardstick measured in the same run; read the
ratios. `--run` adds the main job (minutes). Usage: python benchmarks/bench_start.py [--run]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "effects.csv"
#: Log risk ratios of the 13 BCG trials (Colditz et al. 1994), as in metafor's dat.bcg.
BCG = HERE.parent / "tests" / "reference" / "bcg_RR.csv"


def seconds(command: list[str], repeats: int) -> float:
    """Median wall time of a command's process after one run to warm the caches."""
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if i:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_mb() -> float:
    """Largest resident size of any child process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def table(rows: list[tuple[str, float, str, float]]) -> str:
    lines = ["| what | seconds | yardstick | seconds | ratio |", "|---|---|---|---|---|"]
    for what, ours, yardstick, theirs in rows:
        ratio = f"{ours / theirs:.1f}" if theirs else ""
        other = f"{theirs:.2f}" if theirs else ""
        lines.append(f"| {what} | {ours:.2f} | {yardstick} | {other} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="time the main job too")
    arguments = parser.parse_args()
    python, nssi = sys.executable, [sys.executable, "-m", "nssi_meta"]
    bare = seconds([python, "-c", "pass"], 5)
    pandas = seconds([python, "-c", "import pandas"], 5)
    pymc = seconds([python, "-c", "import pymc"], 3)
    pool = [*nssi, "pool", str(BCG), "--yi", "yi", "--vi", "vi", "--format", "json"]
    rows = [
        ("`nssi-meta --help`", seconds([*nssi, "--help"], 5), "`python -c pass`", bare),
        ("`nssi-meta pool` on 13 trials", seconds(pool, 5), "`import pandas`", pandas),
        ("`nssi-meta check`", seconds([*nssi, "check", str(DATA)], 3), "`import pandas`", pandas),
        (
            "`import nssi_meta`",
            seconds([python, "-c", "import nssi_meta"], 5),
            "`import pymc`",
            pymc,
        ),
    ]
    if arguments.run:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "results")
            start = time.perf_counter()
            subprocess.run([*nssi, "run", str(DATA), "--out", out], check=True)
            rows.append(("`nssi-meta run`, caches warm", time.perf_counter() - start, "", 0.0))
    text = table(rows)
    if arguments.run:
        text += f"\n\nPeak memory of the largest process of the run: {peak_mb():.0f} MB."
    print(text)
    write_marked(HERE / "README.md", "table", text)


if __name__ == "__main__":
    main()
