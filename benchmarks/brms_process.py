"""R's brms in a process of its own, through `brms.R`."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_nuts import CHAINS, CORES, DRAWS, TUNE
from same_models import RUNS, Draws

#: Facts that are words; all others are numbers.
WORDS = ("brms", "rstan", "R")
#: brms's names and ours.
NAMES = (
    (r"b_Intercept", r"mu"),
    (r"sd_district__Intercept", r"tau"),
    (r"sd_district:school__Intercept", r"omega"),
    (r"r_mechanism\[(\w+),(\w+)\]", r"mu[\1,\2]"),
    (r"sd_study__Intercept:mechanism(\w+)", r"tau[\1]"),
    (r"sd_mechanism__(\w+)", r"sigma[\1]"),
    (r"cor_mechanism__(\w+?)__(\w+)", r"R[\1,\2]"),
    (r"tau_0", r"tau_0"),
    (r"sigma", r"omega"),
)


def absent() -> str:
    """Why there is no brms to compare with; empty where there is."""
    if not (rscript := shutil.which("Rscript")):
        return "Rscript is not installed: skipped"
    ask = 'quit(status = if (requireNamespace("brms", quietly = TRUE)) 0 else 1)'
    done = subprocess.run([rscript, "-e", ask], capture_output=True, check=False)
    return "brms is not installed: skipped" if done.returncode else ""


def run_brms(what: str, folder: Path) -> tuple[dict[str, Any], list[Draws]]:
    """What brms took, as `brms.R` tells it, and the draws of each run.

    Raises RuntimeError with R's last words where brms is there but does not run.
    """
    numbers = map(str, (TUNE, DRAWS, CHAINS, CORES, RUNS[what]))
    command = ["Rscript", str(Path(__file__).with_name("brms.R")), what, str(folder), *numbers]
    start = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.split()[-30:]))
    lines = (line.split(" ", 1) for line in (folder / "facts.txt").read_text().splitlines())
    facts: dict[str, Any] = {n: value if n in WORDS else float(value) for n, value in lines}
    facts |= {"whole": facts["done"] - start, "whole_cpu": facts["done_cpu"]}
    names = (folder / "names.txt").read_text().splitlines()
    runs = [brms_draws(folder / f"run{run + 1}.bin", names) for run in range(RUNS[what])]
    return facts, runs


def brms_draws(path: Path, names: list[str]) -> Draws:
    """What brms.R wrote, (chain, draw) by our names.

    Left out: what we have no name for, and what never varies (a sigma that the model fixes at 0).
    """
    values = np.fromfile(path).reshape(DRAWS, CHAINS, len(names), order="F")
    named = {}
    for i, name in enumerate(names):
        if our_name(name) and np.ptp(values[:, :, i]) > 0:
            named[our_name(name)] = values[:, :, i].T
    return named


def our_name(name: str) -> str:
    """Our name of one of brms's parameters, empty where we have none."""
    for pattern, ours in NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(ours)
    return ""
