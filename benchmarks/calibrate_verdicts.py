"""How often verdicts are wrong and intervals cover, over simulated reviews with known truth.

    python benchmarks/calibrate_verdicts.py            # simulates, rewrites docs/overlap.md and
                                                       # docs/own_review.md (about half an hour)
    python benchmarks/calibrate_verdicts.py --most 20 --out /somewhere   # a quick look

Each simulated review has two conditions and 12 mechanisms whose true means are drawn anew
(sigma 0.6, R 0.5, tau_0 0.25, omega 0; in two scenarios these are drawn from the model's prior, in
one of them with sampling variances as the model has them: simulation-based calibration, where
intervals must hold their level). Each cell has k studies with 30 people a group; part of the
studies print only whether p < .05. The tutorial's review is drawn anew with its truth, and with its
one truth held fixed. The posterior is that of `two_arms`; figures, classes and verdicts are
computed by the package's own functions.

Every review has a seed of its own and is a line of a file in `calibration/verdicts/`; reviews that
are there are not simulated again, so a run that was stopped goes on. Remove the folder after a
change.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_up_review import ETA, OTHERS, made_up
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtrit
from two_arms import Draws, Rows, TwoArms
from verdict_tables import LEVELS, draw, draw_tutorial, tables, tutorial_table

from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES
from nssi_meta.synthesis.overlap import DECIDE, verdict
from nssi_meta.synthesis.overlap_figures import CLASSES, classes, lkj, overlap_figures

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from marked import write_marked

Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
M, GROUP, DELTA = 12, 30, 0.2
SIGMA, R, TAU = 0.6, 0.5, 0.25
STUDIES = (1, 2, 4, 8)
BOUNDS = (0.0, 0.66)
TYPICAL = (2, 0.66)
N_DRAWS = 1500
#: Simulated reviews of each kind of scenario.
REVIEWS = {"calibration": 1000, "estimated": 600, "typical": 300, "others": 100}
DATA_SETS = {"drawn": 1000, "fixed": 200}
NAMED = {0: "shared", 1: "opposite", 2: "distinct", 3: "distinct", 4: "neither"}


def scales(from_prior: bool, rng: np.random.Generator) -> tuple[Floats, float, float, float]:
    """sigma (2,), R, tau_0 and omega of a simulated review."""
    if not from_prior:
        return np.array([SIGMA, SIGMA]), R, TAU, 0.0
    sigma = np.abs(rng.normal(0, PRIOR_SCALES["sigma"], 2))
    r = float(lkj(2, LKJ_ETA, 1, rng)[0, 0, 1])
    tau_0, omega = (float(abs(rng.normal(0, PRIOR_SCALES[n]))) for n in ("tau_0", "omega"))
    return sigma, r, tau_0, omega


def simulate(
    k: int,
    bounds: float,
    rng: np.random.Generator,
    from_prior: bool = False,
    known: bool = False,
) -> tuple[Floats, float, Rows]:
    """True means (M, 2), true R, and the rows that k studies a cell report.

    `known`: errors have the variance 2 / n that the model is told. Otherwise they depend on the
    true effect and the model is told what the estimate implies, as in a real table.
    """
    sigma, r, tau_0, omega = scales(from_prior, rng)
    z = rng.standard_normal((M, 2))
    mu = sigma * np.stack([z[:, 0], r * z[:, 0] + np.sqrt(1 - r**2) * z[:, 1]], axis=1)
    tau = tau_0 * np.abs(rng.standard_normal(M))
    mechanism, arm = (a.ravel() for a in np.meshgrid(np.arange(M), [0, 1], indexing="ij"))
    mechanism, arm = np.repeat(mechanism, k), np.repeat(arm, k)
    spread = np.hypot(tau, omega)[mechanism]
    theta = mu[mechanism, arm] + spread * rng.standard_normal(len(arm))
    more = 0.0 if known else 1 / (4 * GROUP)
    v = 2 / GROUP + more * theta**2
    y = theta + np.sqrt(v) * rng.standard_normal(len(arm))
    v = 2 / GROUP + more * y**2
    df = 2 * GROUP - 2
    c = (1 - 3 / (4 * df - 1)) * stdtrit(df, 0.975) * np.sqrt(2 / GROUP)
    hidden = rng.random(len(y)) < bounds
    lower = np.where(y > c, c, np.where(y < -c, -np.inf, -c))
    upper = np.where(y > c, np.inf, np.where(y < -c, -c, c))
    v = np.where(hidden, 2 / GROUP + more * c**2, v)
    return mu, r, Rows(mechanism, arm, np.where(hidden, np.nan, y), v, lower, upper)


def judge(
    draws: Draws, truth: Floats, true_r: float | None, rng: np.random.Generator
) -> dict[str, Any]:
    """Verdicts beside true classes, and whether intervals hold the true figures.

    `true_r` is None where the truth is fixed means, which have no R.
    """
    a, b = draws.mu[:, :, 0], draws.mu[:, :, 1]
    kind = classes(a, b, DELTA)
    n = 20_000
    pick = rng.integers(0, len(draws.R), n)
    z, r = rng.standard_normal((2, n)), draws.R[pick]
    nobody = classes(
        draws.sigma[pick, 0] * z[0],
        draws.sigma[pick, 1] * (r * z[0] + np.sqrt(1 - r**2) * z[1]),
        DELTA,
    )
    base = np.array([(nobody == c).mean() for c in range(len(CLASSES))])
    shares = [
        np.array([(kind[:, m] == c).mean() for c in range(len(CLASSES))]) for m in range(len(truth))
    ]
    true = classes(truth[:, 0], truth[:, 1], DELTA)
    figures = overlap_figures(a, b, DELTA)
    one = overlap_figures(truth[None, :, 0], truth[None, :, 1], DELTA)
    exact = {f: float(v[0]) for f, v in one.items()}
    if true_r is not None:
        figures, exact = figures | {"correlation": draws.R}, exact | {"correlation": true_r}
    inside: dict[str, list[bool]] = {}
    randomised: dict[str, list[bool]] = {}
    places: dict[str, float] = {}
    for name, values in figures.items():
        ends = [np.quantile(values, [(1 - x) / 2, (1 + x) / 2]) for x in LEVELS]
        inside[name] = [bool(lo - 1e-9 <= exact[name] <= hi + 1e-9) for lo, hi in ends]
        # Where draws tie with the truth (counts), its place among them is drawn at random: the
        # coverage of intervals of exactly the level, which a count cannot have.
        below = np.mean(values < exact[name] - 1e-9)
        place = below + rng.random() * np.mean(np.abs(values - exact[name]) <= 1e-9)
        randomised[name] = [bool(abs(place - 0.5) <= x / 2) for x in LEVELS]
        places[name] = float(place)
    return {
        "verdicts": [verdict(s, base) for s in shares],
        "truth": [NAMED[int(t)] for t in true],
        "inside": inside,
        "randomised": randomised,
        "places": places,
    }


def rates(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates of right and wrong verdicts over the mechanisms of all reviews."""
    said = np.array([v for f in found for v in f["verdicts"]])
    true = np.array([t for f in found for t in f["truth"]])
    out: dict[str, Any] = {"reviews": len(found), "mechanisms": len(said)}
    for name in ("shared", "distinct", "opposite", "neither"):
        called = said == name
        out[name] = {
            "called": float(called.mean()),
            "wrong": float((true[called] != name).mean()) if called.any() else None,
            "false": float(called[true != name].mean()),
            "found": float(called[true == name].mean()) if (true == name).any() else None,
        }
    silent = np.isin(said, ["undecided", "uninformative"])
    out["undecided"] = float((said == "undecided").mean())
    out["uninformative"] = float((said == "uninformative").mean())
    out["silent"] = float(silent.mean())
    for what in ("inside", "randomised"):
        out[what] = {
            f: [float(np.mean([x[what][f][i] for x in found])) for i in range(len(LEVELS))]
            for f in found[0][what]
        }
    out["p_uniform"] = {f: p_uniform([x["places"][f] for x in found]) for f in found[0]["places"]}
    return out


def p_uniform(places: list[float]) -> float:
    """p of the chi-squared test that places of the truth are uniform, in 10 bins."""
    n, bins = len(places), 10
    counts = np.histogram(places, bins, (0.0, 1.0))[0]
    return float(chdtrc(bins - 1, ((counts - n / bins) ** 2 / (n / bins)).sum()))


def scenario(
    k: int, bounds: float, from_prior: bool, known: bool, model: TwoArms
) -> Callable[[np.random.Generator], dict[str, Any]]:
    """One review of a scenario, simulated and judged."""

    def trial(rng: np.random.Generator) -> dict[str, Any]:
        truth, r, rows = simulate(k, bounds, rng, from_prior, known)
        return judge(model.draws(rows, M, N_DRAWS, rng), truth, r, rng)

    return trial


def tutorial(fixed: bool, model: TwoArms) -> Callable[[np.random.Generator], dict[str, Any]]:
    """One data set of the tutorial: what is found for each other condition."""

    def trial(rng: np.random.Generator) -> dict[str, Any]:
        return {
            other: judge(model.draws(rows, len(truth), N_DRAWS, rng), truth, r, rng)
            for other, truth, r, rows in made_up(rng, fixed)
        }

    return trial


def simulated(
    name: str, n: int, trial: Callable[[np.random.Generator], dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """The first n reviews of a scenario; those that its file does not hold yet are simulated."""
    path = folder / f"{name}.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    text = text[: text.rfind("\n") + 1]  # a run that was stopped may have left half a line
    path.write_text(text, encoding="utf-8")
    lines = text.splitlines()
    with path.open("a", encoding="utf-8") as file:
        for i in range(len(lines), n):
            found = trial(np.random.default_rng([zlib.crc32(name.encode()), i]))
            lines.append(json.dumps(found))
            file.write(lines[-1] + "\n")
            file.flush()
    return [json.loads(line) for line in lines[:n]]


def run(most: int | None, store: Path, folder: Path) -> dict[str, Any]:
    """All scenarios, stored one by one; no more than `most` reviews of each."""
    folder.mkdir(parents=True, exist_ok=True)
    model, pair = TwoArms(), TwoArms(ETA)
    main = {
        "calibration": (*TYPICAL, True, True),
        "estimated": (*TYPICAL, True, False),
        "typical": (*TYPICAL, False, False),
    }
    others = [(k, b, False, False) for b in BOUNDS for k in STUDIES if (k, b) != TYPICAL]
    out: dict[str, Any] = {"scenarios": [], "tutorial": {}}

    def keep(*words: object) -> None:
        store.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
        print(*words, f"{time.process_time():.0f} s", flush=True)

    def add(k: int, bounds: float, from_prior: bool, known: bool, n: int) -> None:
        name = f"k{k}_bounds{bounds:g}" + "_prior" * from_prior + "_known" * known
        trial = scenario(k, bounds, from_prior, known, model)
        facts = {"studies": k, "bounds": bounds, "from_prior": from_prior, "known": known}
        found = simulated(name, n if most is None else min(n, most), trial, folder)
        out["scenarios"].append({**facts, **rates(found)})
        keep(name)

    for kind, facts in main.items():
        add(*facts, REVIEWS[kind])
    for name, n in DATA_SETS.items():
        trial = tutorial(name == "fixed", pair)
        n = n if most is None else min(n, most)
        found = simulated(f"tutorial_{name}", n, trial, folder)
        by_other = {other: rates([f[other] for f in found]) for other in OTHERS.values()}
        out["tutorial"][name] = by_other
        keep("tutorial", name)
    for facts in others:
        add(*facts, REVIEWS["others"])
    return out


def main() -> None:
    """Simulate, or take the stored results, and write page and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, help="no more than so many reviews of a scenario")
    parser.add_argument("--stored", action="store_true", help="use benchmarks/calibration.json")
    parser.add_argument("--out", type=Path, help="write results here, not into docs")
    chosen = parser.parse_args()
    folder = chosen.out or ROOT / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "calibration.json"
    if chosen.stored:
        results = json.loads(store.read_text(encoding="utf-8"))
    else:
        lines = ROOT / "calibration" / "verdicts"
        results = run(chosen.most, store, lines)
    if chosen.out:
        draw(results, chosen.out / "overlap_coverage.svg")
        draw_tutorial(results, chosen.out / "own_review_coverage.svg")
        print(*tables(results).values(), tutorial_table(results), sep="\n\n")
        return
    draw(results, ROOT / "docs" / "img" / "overlap_coverage.svg")
    draw_tutorial(results, ROOT / "docs" / "img" / "own_review_coverage.svg")
    for name, body in tables(results).items():
        write_marked(ROOT / "docs" / "overlap.md", name, body)
    write_marked(ROOT / "docs" / "own_review.md", "tutorial", tutorial_table(results))
    print(f"written; a mechanism is called at probability {DECIDE}")


if __name__ == "__main__":
    main()
