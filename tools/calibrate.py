"""Simulation-based calibration of every model; writes docs/calibration.md and its figures.

    make calibrate                                   # on this machine's cores
    .venv/bin/python tools/calibrate.py --backend dask     # on a Dask cluster, see below
    .venv/bin/python tools/calibrate.py --only pool_bounds # some of the models
    .venv/bin/python tools/calibrate.py --report           # the page from what is there

Each chunk of simulations is a small file in `calibration/`; chunks that are there are not computed
again, so a run that was stopped goes on. Seeds belong to simulations, so that the result does not
depend on who computed what. Remove the folder after a change of a model.

Work is shared out by joblib. `--backend dask` takes the scheduler that DASK_SCHEDULER_ADDRESS names
(without one it starts workers on this machine), `--backend ray` the cluster that RAY_ADDRESS names;
`distributed` or `ray` must be installed beside the package, on the workers too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs, parallel_config

from nssi_meta.figures import alt_calibration, calibration, save
from nssi_meta.inference.calibration import (
    FAILED,
    LEVEL,
    Scenario,
    ecdf_table,
    holm,
    simulate,
    summary,
)
from nssi_meta.synthesis.scenarios import exact_scenarios
from nssi_meta.synthesis.scenarios_bias import bias_scenarios
from nssi_meta.synthesis.scenarios_exact import quadrature_scenarios
from nssi_meta.synthesis.scenarios_joint import joint_scenarios
from nssi_meta.synthesis.scenarios_sampled import sampled_scenarios

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 10
WEB_DPI = 110


def scenarios() -> list[Scenario]:
    """All models, in the order of the page."""
    return [
        *exact_scenarios(),
        *quadrature_scenarios(),
        *bias_scenarios(),
        *sampled_scenarios(),
        *joint_scenarios(),
    ]


def chunks(scenario: Scenario, folder: Path) -> list[tuple[int, int, Path]]:
    """First and last simulation of each chunk, and its file."""
    ends = [(i, min(i + CHUNK, scenario.n)) for i in range(0, scenario.n, CHUNK)]
    return [(a, b, folder / scenario.name / f"{a:05d}-{b:05d}.json") for a, b in ends]


def compute(chosen: list[Scenario], folder: Path, backend: str) -> None:
    """Compute the chunks that are missing, a round of them at a time."""
    todo = [
        (scenario, *chunk)
        for scenario in chosen
        for chunk in chunks(scenario, folder)
        if not chunk[2].is_file()
    ]
    with parallel_config(backend=backend, n_jobs=-1):
        # Rounds of few chunks lose little when stopped, of many keep the workers busy.
        size = 2 * effective_n_jobs(-1)
        for i in range(0, len(todo), size):
            part = todo[i : i + size]
            started = time.monotonic()
            found = Parallel()(delayed(simulate)(s, first, last) for s, first, last, _ in part)
            for (_, _, _, path), values in zip(part, found, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                half = path.with_suffix(".part")
                half.write_text(json.dumps(values), encoding="utf-8")
                half.replace(path)
            names = "/".join(dict.fromkeys(s.name for s, *_ in part))
            done = min(i + size, len(todo))
            print(f"{done}/{len(todo)} chunks  {names}  {time.monotonic() - started:.1f} s")


def places(scenario: Scenario, folder: Path) -> pd.DataFrame:
    """All simulations of a scenario that are there, one column a quantity."""
    files = [path for *_, path in chunks(scenario, folder) if path.is_file()]
    return pd.DataFrame(
        [row for path in files for row in json.loads(path.read_text(encoding="utf-8"))]
    )


INTRO = """# Calibration

Written by `make calibrate`; numbers and figures come from the run, none is typed.

Parameters are drawn from the prior, a review from the parameters, and the model is fitted to that
review. If model and computation are right, the truth's place in its posterior (its rank among the
draws, or its cumulative probability where the posterior is exact) is uniform on average:
simulation-based calibration (Talts et al. 2018). The reviews are drawn by code of their own
(`inference/replicate.py`), not by the likelihood. Figures show the empirical distribution of the
places minus the uniform one, with the band in which a calibrated model stays *as a whole* with
probability {level} (Säilynoja et al. 2022). The log likelihood of the data is a quantity too: it
would tell a posterior that does not look at all of the data (Modrák et al. 2023); it is left out
where only the posterior of single parameters is kept (Student-t pools, single models of bias).

Under publication bias results are thrown away, as the model's weights say, until every study has
one. For the ensemble a model is drawn first, with its prior probability: an effect, or a bias, must
be there as often as its posterior probability says, and the drawn model takes its place among all
models by their evidence. Where a truth may tie (a parameter that is exactly 0), its place is spread
evenly over the tie.

With {n} quantities, about {expected:.0f} are expected outside their 95% bands though nothing is
wrong; {n_outside} are. What counts is the last column, p adjusted for the number of quantities of
all models together (Holm): the smallest is {least:.2g}.
{verdict}
{waiting}
What this does not show: that the models suit real data. It shows that their posteriors are what
their priors and likelihoods imply, on small made-up reviews, to the precision of that many
simulations. "Not converged" counts fits that failed their checks after the stricter retry; they are
in the figures all the same, since leaving them out would select the data.

| model | simulations | quantities | outside | smallest p | adjusted | not converged |
|---|---|---|---|---|---|---|
"""


def report(every: list[Scenario], folder: Path) -> str:
    """Write figures and page from the simulations that are there; return the page."""
    found = {s.name: places(s, folder) for s in every}
    chosen = [s for s in every if len(found[s.name])]
    if not chosen:
        raise SystemExit(f"{folder} holds no simulations: run without --report")
    parts = {s.name: summary(found[s.name]) for s in chosen}
    tests = pd.concat(parts, names=["model", "row"]).reset_index()
    tests["adjusted"] = holm(tests["p"].tolist())
    rows, sections = [], []
    for s in chosen:
        mine, n = tests[tests["model"] == s.name], len(found[s.name])
        failed = f"{found[s.name][FAILED].sum():.0f}" if FAILED in found[s.name] else "exact"
        cells = [
            f"[{s.label}](#{anchor(s.label)})",
            str(n) if n == s.n else f"{n} of {s.n}",
            str(len(mine)),
            str(int((~mine["inside"]).sum())),
            f"{mine['p'].min():.2g}",
            f"{mine['adjusted'].min():.2g}",
            failed,
        ]
        rows.append(f"| {' | '.join(cells)} |")
        table = ecdf_table(found[s.name])
        picture = ROOT / "docs" / "img" / f"calibration_{s.name}"
        save(calibration(table, title=title(s.label)), picture, ("png",), dpi=WEB_DPI)
        worst = mine.sort_values("p").head(3)
        told = ", ".join(f"{q} {p:.2g}" for q, p in zip(worst["quantity"], worst["p"], strict=True))
        sections.append(
            f"## {title(s.label)}\n\n![{alt_calibration(table)}](img/{picture.name}.png)\n\n"
            f"Smallest p-values: {told}.\n"
        )
    bad = int((tests["adjusted"] < 1 - LEVEL).sum())
    verdict = (
        f"**{bad} of them fall below {1 - LEVEL:.2f}: those models are not calibrated.**"
        if bad
        else "No model departs from calibration."
    )
    short = [s.label for s in every if len(found[s.name]) < s.n]
    waiting = f"\nNot all simulations are there yet: {'; '.join(short)}.\n" if short else ""
    intro = INTRO.format(
        level=LEVEL,
        n=len(tests),
        expected=len(tests) * (1 - LEVEL),
        n_outside=int((~tests["inside"]).sum()),
        least=tests["adjusted"].min(),
        verdict=verdict,
        waiting=waiting,
    )
    page = intro + "\n".join(rows) + "\n\n" + "\n".join(sections)
    (ROOT / "docs" / "calibration.md").write_text(page, encoding="utf-8")
    return page


def title(label: str) -> str:
    """A label as a heading."""
    return label[0].upper() + label[1:]


def anchor(title: str) -> str:
    """Link target of a heading."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def connect(backend: str) -> Any:
    """Make joblib know a cluster's backend; the client of a Dask cluster, to be closed."""
    if backend == "dask":
        from distributed import Client

        client = Client(os.environ.get("DASK_SCHEDULER_ADDRESS"))
        print(f"Dask: {len(client.scheduler_info()['workers'])} workers")
        return client
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    return None


def main(arguments: list[str] | None = None) -> int:
    """Compute what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", default="loky", choices=["loky", "dask", "ray"])
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="compute these models alone")
    parser.add_argument("--report", action="store_true", help="write the page, compute nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "calibration")
    given = parser.parse_args(arguments)
    every = scenarios()
    names = [s.name for s in every]
    unknown = [n for n in given.only or [] if n not in names]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; allowed: {', '.join(names)}")
    if not given.report:
        connect(given.backend)
        chosen = [s for s in every if given.only is None or s.name in given.only]
        compute(chosen, given.folder, given.backend)
    if given.only is None:
        report(every, given.folder)
        print("docs/calibration.md written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
