"""Effective draws per second beside brms, on the same model, data and priors, in the same run.

Two models: effects in studies (56 schools in 11 districts, Konstantopoulos 2011), and the joint
profiles of the shipped table. R's brms compiles and samples them in `brms.R`; where it is not
installed the table says so. Draws of both are judged by the same functions. Writes its tables in
README.md; about ten minutes of an idle machine. Usage: python benchmarks/bench_brms.py [--print]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

import numpy as np
import pandas as pd
from bench_nuts import CORES, in_process
from brms_process import absent, run_brms
from same_models import (
    RUNS,
    Draws,
    ProfileRows,
    measure,
    overlap,
    profile_rows,
    three_level_rows,
)

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

from nssi_meta.inference.nuts import Settings

HERE = Path(__file__).parent
WRAP = TextWrapper(100, break_on_hyphens=False)
#: The aim: so many times brms's effective draws of mu a second.
AIM = 5
#: Posterior means further apart than this, in Monte Carlo standard errors, are not chance.
FAR = 5.0
#: Quantities of one row of a table, by the beginning of their names.
GROUPS = {
    "three-level": {"mu": ("mu",), "tau": ("tau",), "omega": ("omega",)},
    "profiles": {
        "correlations of conditions": ("R[",),
        "overlap figures": ("n_shared", "jaccard", "magnitude"),
        "means": ("mu[",),
        "SDs": ("tau", "sigma[", "omega"),
    },
}
STEPS = {
    "whole process, nothing compiled yet, s": "whole",
    "of this: compiling, s": "compile",
    "four chains in a running process, s": "sample",
}
TITLES = {
    "three-level": "three-level, 56 schools in 11 districts",
    "profiles": "joint profiles, {rows} rows",
}
SAME = {
    "three-level": (
        "Both sides: mu ~ normal(0, 1), tau and omega ~ half-normal(0.5); four chains of 1,000 "
        "warm-up and 1,000 kept draws."
    ),
    "profiles": (
        "The same model on both sides: means of a mechanism ~ multivariate normal with SDs ~ "
        "half-normal(1) and correlations ~ LKJ(2); tau of a mechanism ~ half-normal(tau_0); tau_0 "
        "and omega ~ half-normal(0.5); bounds are censored rows. Left out, as brms cannot express "
        "it: correlated errors of rows that share people (here the error of each row is its own), "
        "contrasts of one study with an arm in common (here each contrast is a study), and the "
        "{left_out} sizes without a sign. Four chains with the defaults of each side (here "
        "{tune:,} warm-up and {draws:,} kept draws, acceptance {target_accept}; brms 1,000 and "
        "1,000, 0.8), one attempt, no stricter second one."
    ),
}


@dataclass(frozen=True)
class Side:
    """What one side took (seconds; names ending in _cpu are processor seconds) and its draws."""

    facts: dict[str, Any]
    runs: list[pd.DataFrame]

    def seconds(self, name: str, unit: str) -> float:
        """Of a step; of sampling, the median of the runs."""
        if name != "sample":
            return float(self.facts[name + unit])
        times = [self.facts[f"sample{run + 1}{unit}"] for run in range(len(self.runs))]
        return statistics.median(times)

    def rate(self, group: tuple[str, ...], column: str, unit: str) -> float:
        """Least effective draws of a group of quantities per second of sampling, median of runs."""
        rates = []
        for run, table in enumerate(self.runs, start=1):
            members = table.loc[table.index.str.startswith(group), column]
            if members.empty:
                raise ValueError(f"no draws of {' or '.join(group)}")
            rates.append(members.min() / self.facts[f"sample{run}{unit}"])
        return statistics.median(rates)

    def trouble(self) -> str:
        """Divergent transitions and the largest R-hat."""
        lost = sum(int(self.facts[f"divergences{run + 1}"]) for run in range(len(self.runs)))
        return f"{lost} and {max(t['r_hat'].max() for t in self.runs):.3f}"


def judged(draws: Draws, rows: ProfileRows | None) -> pd.DataFrame:
    """Mean, its Monte Carlo error, R-hat, bulk and tail ESS of each quantity (chain, draw)."""
    from arviz_stats.base.array import array_stats

    from nssi_meta.inference.nuts import diagnose

    if rows is not None:
        draws = {**draws, **overlap(draws, rows)}
    table = diagnose(draws).set_index("quantity")
    axes = {"chain_axis": 0, "draw_axis": 1, "method": "mean"}
    table["mean"] = [draws[name].mean() for name in table.index]
    table["mcse"] = [float(array_stats.mcse(draws[name], **axes)) for name in table.index]
    return table


def agreement(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Whether both sides' posterior means are those of one model, in a sentence."""
    both = ours.merge(theirs, left_index=True, right_index=True, suffixes=("_a", "_b"))
    z = (both["mean_a"] - both["mean_b"]) / np.hypot(both["mcse_a"], both["mcse_b"])
    worst = z.abs().idxmax()
    rms = float(np.sqrt((z**2).mean()))
    told = (
        f"Posterior means of {len(both)} quantities differ by {rms:.1f} Monte Carlo standard "
        f"errors (root mean square), at most by {abs(z[worst]):.1f} ({worst})"
    )
    if abs(z[worst]) > FAR:
        return f"{told}: more than chance, so the ratios are to be distrusted."
    return f"{told}: one posterior."


def run_ours(what: str, folder: Path, rows: ProfileRows | None) -> Side:
    """Our side from a fresh process with nothing compiled."""
    start = time.time()
    facts, _ = in_process(__file__, ["--measure", what, "--folder", str(folder)], folder / "code")
    facts |= {"whole": facts["done"] - start, "whole_cpu": facts["done_cpu"]}
    runs = (dict(np.load(folder / f"ours{run + 1}.npz")) for run in range(RUNS[what]))
    return Side(facts, [judged(draws, rows) for draws in runs])


def run_theirs(what: str, folder: Path, rows: ProfileRows | None) -> Side:
    """brms from a process of its own; RuntimeError where it is there but does not run."""
    facts, runs = run_brms(what, folder)
    return Side(facts, [judged(draws, rows) for draws in runs])


def table(what: str, ours: Side, brms: Side | None, why: str, title: str) -> str:
    """The Markdown table of one model; without brms its cells stay empty but for the reason."""
    version = "brms {brms}, rstan {rstan}, R {R}".format(**brms.facts) if brms else why
    lines = [
        f"| {title} | nssi-meta | brms | ratio | nssi-meta, processor | brms, processor | ratio |",
        f"|{'---|' * 7}",
        f"| version | this | {version} |  |  |  |  |",
    ]

    def row(name: str, digits: int, value: Callable[[Side, str], float]) -> None:
        cells = []
        for unit in ("", "_cpu"):
            mine = value(ours, unit)
            theirs = value(brms, unit) if brms else None
            cells += [f"{mine:,.{digits}f}", *compared(mine, theirs, digits)]
        lines.append(f"| {name} | {' | '.join(cells)} |")

    for name, step in STEPS.items():
        row(name, 1, lambda side, unit, step=step: side.seconds(step, unit))
    for column, word in (("ess_bulk", "bulk"), ("ess_tail", "tail")):
        for name, group in GROUPS[what].items():
            row(
                f"{word} ESS per second, {name}",
                1,
                lambda side, unit, g=group, c=column: side.rate(g, c, unit),
            )
    return "\n".join(lines)


def compared(mine: float, theirs: float | None, digits: int) -> tuple[str, str]:
    """brms's number and the ratio of ours to it; empty cells without brms."""
    if theirs is None:
        return "", ""
    return (
        f"{theirs:,.{digits}f}",
        f"{mine / theirs:.2g}" if mine < theirs else f"{mine / theirs:.1f}",
    )


def aims(ours: Side, brms: Side) -> str:
    """The aims of the three-level model, met or not, by the clock."""
    mu, word = GROUPS["three-level"]["mu"], {True: "met", False: "not met"}
    times, both = [], []
    for unit in ("", "_cpu"):
        times.append(ours.rate(mu, "ess_bulk", unit) / brms.rate(mu, "ess_bulk", unit))
        both.append((ours.seconds("whole", unit), brms.seconds("compile", unit)))
    return (
        f"Aims: {AIM} times brms's bulk ESS of mu per second, {word[times[0] >= AIM]} "
        f"({times[0]:.0f} times; per processor second {times[1]:.0f}); the whole process, cold, "
        f"sooner done than brms's compiling, {word[both[0][0] < both[0][1]]} ({both[0][0]:.1f} s "
        f"and {both[0][1]:.1f} s; processor {both[1][0]:.1f} s and {both[1][1]:.1f} s)."
    )


def section(what: str, why: str) -> str:
    """Measure both sides of a model and tell it."""
    rows = profile_rows() if what == "profiles" else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if rows is None:
            three_level_rows().to_csv(folder / "rows.csv", index=False)
        else:
            rows.table.to_csv(folder / "rows.csv", index=False)
            (folder / "conditions.txt").write_text("\n".join(rows.data.conditions) + "\n")
        ours, brms = run_ours(what, folder, rows), None
        if not why:
            try:
                brms = run_theirs(what, folder, rows)
            except RuntimeError as error:
                why = f"brms is installed but failed: {error}"
    title, same = TITLES[what], SAME[what]
    if rows is not None:
        ours_at = asdict(Settings())
        title = title.format(rows=len(rows.table))
        same = same.format(left_out=rows.left_out, **ours_at)
    told = f"{same} Divergent transitions and largest R-hat: nssi-meta {ours.trouble()}"
    told += f"; brms {brms.trouble()}. {agreement(ours.runs[0], brms.runs[0])}" if brms else "."
    parts = [table(what, ours, brms, why, title), WRAP.fill(told)]
    if brms and what == "three-level":
        parts.append(WRAP.fill(aims(ours, brms)))
    return "\n\n".join(parts)


def machine(load: float) -> str:
    """How it was measured, in a sentence or two; `load` as it was at the start."""
    return (
        f"Measured with Python {platform.python_version()} on {platform.machine()}, {CORES} cores "
        f"used, load average of the machine {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end. Effective draws are per second of warm-up "
        "and sampling of four chains; of "
        "several quantities the least. Processor seconds count all cores; other processes disturb "
        "them less than the clock."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, Path(arguments.folder))))
        return
    load, why = os.getloadavg()[0], absent()
    sections = [section(what, why) for what in RUNS]
    text = "\n\n".join([WRAP.fill(machine(load)), *sections])
    print(text)
    if not arguments.print:
        write_marked(HERE / "README.md", "brms", text)


if __name__ == "__main__":
    main()
