"""Does the correction for selective reporting recover the truth? Simulated evidence, known means.

    .venv/bin/python benchmarks/simulate_reporting.py            # print the table
    .venv/bin/python benchmarks/simulate_reporting.py --write    # and put it into docs/bias.md

A data set has cells with mean effects mu ~ N(0, spread^2) and between-study SD 0.2. Studies have
15 to 80 people a group; a result is printed as a number with probability 0.3, otherwise only as
"p < .05, higher" or "not significant". Null results enter the table w times as often as
significant ones. Compared are the naive pools and the adjusted ones, on the same data.

Bias is the mean of (estimate - truth) in the direction of the truth: above 0 is too large.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nssi_meta.evidence.bounds import critical_g
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.reporting import Selection, adjusted_pools

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

DOCS = Path(__file__).resolve().parent.parent / "docs" / "bias.md"
TAU = 0.2
SHARE_PRINTED = 0.3
#: Studies per cell, drawn from these: most cells have few, as in the shipped data.
SIZES = (1, 1, 2, 2, 3, 4, 5, 8, 12)


@dataclass(frozen=True)
class Scenario:
    """How results come about and reach the table."""

    name: str
    w: float
    spread: float = 0.4
    rows_per_study: int = 1
    by_row: bool = False
    direction: bool = False
    graded: bool = False


SCENARIOS = (
    Scenario("no selection", 1.0),
    Scenario("null results half as often", 0.5),
    Scenario("null results a fifth as often", 0.2),
    Scenario("null results a twentieth as often", 0.05),
    Scenario("a fifth, larger true effects", 0.2, spread=0.8),
    Scenario("a fifth, 1 to 3 rows a study, chosen one by one", 0.2, rows_per_study=3, by_row=True),
    Scenario("model wrong: only the expected direction is preferred", 0.2, direction=True),
    Scenario("model wrong: the smaller p, the likelier", 0.2, graded=True),
)  # fmt: skip


def simulate(scenario: Scenario, rng: np.random.Generator, n_cells: int) -> pd.DataFrame:
    """Rows that reached the table, with the true mean of their cell in `truth`."""
    rows: list[dict[str, object]] = []
    for cell in range(n_cells):
        mu, wanted = rng.normal(0, scenario.spread), SIZES[cell % len(SIZES)]
        found = 0
        while found < wanted:
            study = _study(scenario, rng, mu)
            if study:
                found += 1
                name = f"c{cell}s{found}"
                rows += [
                    {**r, "mechanism": f"m{cell}", "study_id": name, "sample_id": name, "truth": mu}
                    for r in study
                ]
    frame = pd.DataFrame(rows)
    return frame.assign(
        effect_id=[f"e{i}" for i in range(len(frame))],
        condition="case", comparator="healthy", estimand="case_control", scale="g",
        control_id="", label=frame["study_id"], bound="stated",
        n_total=frame["n_case"] + frame["n_control"], seen_in="abstract",
    )  # fmt: skip


def _study(scenario: Scenario, rng: np.random.Generator, mu: float) -> list[dict[str, float | str]]:
    """The reported rows of one study; none where it did not reach the table."""
    n1, n2 = (round(np.exp(rng.uniform(np.log(15), np.log(80)))) for _ in range(2))
    theta = mu + rng.normal(0, TAU)
    n_rows = int(rng.integers(1, scenario.rows_per_study + 1))
    base = 1 / n1 + 1 / n2
    c = float(critical_g(0.05, n1, n2)[0])
    shared = rng.normal()
    out: list[dict[str, float | str]] = []
    for _ in range(n_rows):
        error = np.sqrt(0.6) * shared + np.sqrt(0.4) * rng.normal()
        y = theta + np.sqrt(base + theta**2 / (2 * (n1 + n2))) * error
        significant = abs(y) > c and not (scenario.direction and y * mu < 0)
        chance = 1.0 if significant else scenario.w
        if scenario.graded:
            z = abs(y) / np.sqrt(base)
            chance = scenario.w + (1 - scenario.w) / (1 + np.exp(-2.5 * (z - 1.96)))
        if rng.random() > chance and (scenario.by_row or not out):
            continue
        printed = rng.random() < SHARE_PRINTED
        at = y if printed else c
        row: dict[str, float | str] = {
            "kind": "exact" if printed else "interval", "n_case": n1, "n_control": n2,
            "yi": y if printed else np.nan, "vi": base + at**2 / (2 * (n1 + n2)),
            "lower": np.nan, "upper": np.nan,
        }  # fmt: skip
        if not printed:
            ends = (c, np.inf) if y > c else (-np.inf, -c) if y < -c else (-c, c)
            row["lower"], row["upper"] = ends
        row["sei"] = float(np.sqrt(float(row["vi"])))
        out.append(row)
    return out


def compare(frame: pd.DataFrame) -> pd.DataFrame:
    """Truth and both estimates per cell."""
    truth = frame.groupby("mechanism", sort=False)["truth"].first()
    adjusted = adjusted_pools(frame)
    tables = {
        "naive": pool(frame).table,
        "spread": adjusted.under(Selection(w=1.0)).table,
        "adjusted": adjusted.table,
    }
    learned = adjusted.learned.set_index("parameter")
    parts = []
    for name, table in tables.items():
        at = truth.loc[table["mechanism"]].to_numpy()
        parts.append(
            pd.DataFrame(
                {
                    "pools": name,
                    "studies": table["n_studies"],
                    "excess": np.sign(at) * (table["mu_median"] - at),
                    "covered": (table["mu_low"] <= at) & (at <= table["mu_high"]),
                    "width": table["mu_high"] - table["mu_low"],
                    "w": learned.loc["w abstract", "median"],
                    "w_low": learned.loc["w abstract", "low"],
                    "w_high": learned.loc["w abstract", "high"],
                }
            )
        )
    return pd.concat(parts)


def run(number: int, repeats: int, cells: int, seed: int) -> pd.DataFrame:
    """One scenario: one line per kind of pool."""
    scenario = SCENARIOS[number]
    start = time.process_time()
    results = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, number, repeat])
        results.append(compare(simulate(scenario, rng, cells)).assign(repeat=repeat))
    every = pd.concat(results)
    sets = every.drop_duplicates("repeat")
    out = []
    for name, part in every.groupby("pools", sort=False):
        many = part[part["studies"] >= 8]
        out.append(
            {
                "scenario": scenario.name,
                "w": scenario.w,
                "w_median": sets["w"].mean(),
                "w_low": sets["w_low"].mean(),
                "w_high": sets["w_high"].mean(),
                "pools": name,
                "n": len(part),
                "bias": part["excess"].mean(),
                "bias_many": many["excess"].mean(),
                "rmse": float(np.sqrt((part["excess"] ** 2).mean())),
                "coverage": part["covered"].mean(),
                "coverage_many": many["covered"].mean(),
                "width": part["width"].mean(),
            }
        )
    table = pd.DataFrame(out)
    print(f"{scenario.name}: {time.process_time() - start:.0f} s", file=sys.stderr)
    print(table.round(3).to_string(), file=sys.stderr, flush=True)
    return table


def markdown(table: pd.DataFrame, repeats: int, cells: int) -> str:
    """The table of docs/bias.md."""
    head = (
        "Reporting", "w: true, learned", "Pools", "Bias", "Bias, 8+ studies", "RMSE", "Coverage",
        "Coverage, 8+", "Width",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|" + "---:|" * 6]
    for _, part in table.groupby("scenario", sort=False):
        for i, r in enumerate(part.itertuples()):
            learned = f"{r.w:g}, {r.w_median:.2f} [{r.w_low:.2f}, {r.w_high:.2f}]"
            first = (str(r.scenario), learned) if i == 0 else ("", "")
            numbers = [f"{v:.2f}" for v in (r.bias, r.bias_many, r.rmse)]
            numbers += [f"{v:.0%}" for v in (r.coverage, r.coverage_many)] + [f"{r.width:.2f}"]
            cells_of_row = [*first, NAMES[str(r.pools)], *numbers]
            lines.append("| " + " | ".join(cells_of_row) + " |")
    note = (
        f"{repeats} data sets of {cells} cells per scenario. w: the true value, then the means of "
        "the posterior medians and of the ends of the 95% intervals."
    )
    return "\n".join(lines).replace("-0.00", "0.00") + "\n\n" + note


NAMES = {"naive": "naive", "spread": "no selection, spread learned", "adjusted": "adjusted"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cells", type=int, default=45)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", default=[], help="scenarios by number")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCS.name}")
    given = parser.parse_args(arguments)
    done: list[pd.DataFrame] = []
    for number in given.only or range(len(SCENARIOS)):
        done.append(run(number, given.repeats, given.cells, given.seed))
        body = markdown(pd.concat(done), given.repeats, given.cells)
        if given.write:  # after every scenario: a run that is stopped leaves what it has
            write_marked(DOCS, "simulation", body)
    print(body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
