"""How often verdicts are wrong and intervals cover, over simulated reviews with known truth.

    python benchmarks/calibrate_verdicts.py            # simulates, rewrites docs/overlap.md
    python benchmarks/calibrate_verdicts.py --reviews 20 --out /somewhere   # a quick look

Each simulated review has two conditions and 12 mechanisms whose true means are drawn anew
(sigma 0.6, R 0.5, tau_0 0.25; in one scenario these are drawn from the model's prior, which tests
whether intervals are calibrated). Each cell has k studies with 30 people a group; part of the
studies print only whether p < .05. The posterior is that of `two_arms`; figures, classes and
verdicts are computed by the package's own functions.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from two_arms import MEANS, Draws, Rows, TwoArms

from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES
from nssi_meta.synthesis.overlap import DECIDE, verdict
from nssi_meta.synthesis.overlap_figures import CLASSES, FIGURES, classes, lkj, overlap_figures

Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
M, GROUP, DELTA = 12, 30, 0.2
SIGMA, R, TAU = 0.6, 0.5, 0.25
STUDIES = (1, 2, 4, 8)
BOUNDS = (0.0, 0.66)
TYPICAL = (2, 0.66)
N_DRAWS = 1500
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NAMED = {0: "shared", 1: "opposite", 2: "distinct", 3: "distinct", 4: "neither"}


def scales(from_prior: bool, rng: np.random.Generator) -> tuple[Floats, float, float]:
    """sigma (2,), R and tau_0 of a simulated review."""
    if not from_prior:
        return np.array([SIGMA, SIGMA]), R, TAU
    sigma = np.abs(rng.normal(0, PRIOR_SCALES["sigma"], 2))
    r = float(lkj(2, LKJ_ETA, 1, rng)[0, 0, 1])
    return sigma, r, float(abs(rng.normal(0, PRIOR_SCALES["tau_0"])))


def simulate(
    k: int, bounds: float, rng: np.random.Generator, from_prior: bool = False
) -> tuple[Floats, float, Rows]:
    """True means (M, 2), true R, and the rows that k studies a cell report."""
    sigma, r, tau_0 = scales(from_prior, rng)
    mu = np.full((M, 2), np.inf)
    while (out := np.abs(mu).max(axis=1) > MEANS[-1]).any():  # the grid's own range
        z = rng.standard_normal((int(out.sum()), 2))
        second = r * z[:, 0] + np.sqrt(1 - r**2) * z[:, 1]
        mu[out] = sigma * np.stack([z[:, 0], second], axis=1)
    tau = tau_0 * np.abs(rng.standard_normal(M))
    mechanism, arm = (a.ravel() for a in np.meshgrid(np.arange(M), [0, 1], indexing="ij"))
    mechanism, arm = np.repeat(mechanism, k), np.repeat(arm, k)
    theta = mu[mechanism, arm] + tau[mechanism] * rng.standard_normal(len(arm))
    v = 2 / GROUP + theta**2 / (4 * GROUP)
    y = theta + np.sqrt(v) * rng.standard_normal(len(arm))
    v = 2 / GROUP + y**2 / (4 * GROUP)
    df = 2 * GROUP - 2
    c = (1 - 3 / (4 * df - 1)) * stdtrit(df, 0.975) * np.sqrt(2 / GROUP)
    hidden = rng.random(len(y)) < bounds
    lower = np.where(y > c, c, np.where(y < -c, -np.inf, -c))
    upper = np.where(y > c, np.inf, np.where(y < -c, -c, c))
    v = np.where(hidden, 2 / GROUP + c**2 / (4 * GROUP), v)
    return mu, r, Rows(mechanism, arm, np.where(hidden, np.nan, y), v, lower, upper)


def judge(draws: Draws, truth: Floats, true_r: float, rng: np.random.Generator) -> dict[str, Any]:
    """Verdicts beside true classes, and whether intervals hold the true figures."""
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
    shares = [np.array([(kind[:, m] == c).mean() for c in range(len(CLASSES))]) for m in range(M)]
    true = classes(truth[:, 0], truth[:, 1], DELTA)
    figures = overlap_figures(a, b, DELTA) | {"correlation": draws.R}
    one = overlap_figures(truth[None, :, 0], truth[None, :, 1], DELTA)
    exact = {f: float(v[0]) for f, v in one.items()} | {"correlation": true_r}
    inside: dict[str, list[bool]] = {}
    randomised: dict[str, list[bool]] = {}
    for name, values in figures.items():
        ends = [np.quantile(values, [(1 - x) / 2, (1 + x) / 2]) for x in LEVELS]
        inside[name] = [bool(lo - 1e-9 <= exact[name] <= hi + 1e-9) for lo, hi in ends]
        # Where draws tie with the truth (counts), its place among them is drawn at random: the
        # coverage of intervals of exactly the level, which a count cannot have.
        below = np.mean(values < exact[name] - 1e-9)
        place = below + rng.random() * np.mean(np.abs(values - exact[name]) <= 1e-9)
        randomised[name] = [bool(abs(place - 0.5) <= x / 2) for x in LEVELS]
    return {
        "verdicts": [verdict(s, base) for s in shares],
        "truth": [NAMED[int(t)] for t in true],
        "inside": inside,
        "randomised": randomised,
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
            for f in (*FIGURES, "correlation")
        }
    return out


def run(reviews: int, typical: int, store: Path, seed: int = 11) -> list[dict[str, Any]]:
    """All scenarios, stored one by one; `typical` reviews of the typical one."""
    model = TwoArms()
    others = [(k, b, False) for b in BOUNDS for k in STUDIES if (k, b) != TYPICAL]
    out: list[dict[str, Any]] = []
    for k, bounds, from_prior in [(*TYPICAL, False), (*TYPICAL, True), *others]:
        rng = np.random.default_rng([seed, k, int(100 * bounds), from_prior])
        found = []
        for _ in range(typical if (k, bounds) == TYPICAL else reviews):
            truth, r, rows = simulate(k, bounds, rng, from_prior)
            found.append(judge(model.draws(rows, M, N_DRAWS, rng), truth, r, rng))
        out.append({"studies": k, "bounds": bounds, "from_prior": from_prior, **rates(found)})
        store.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
        print(k, bounds, from_prior, f"{time.process_time():.0f} s", out[-1]["shared"], flush=True)
    return out


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.0f}%"


def tables(results: list[dict[str, Any]]) -> dict[str, str]:
    """The Markdown blocks of docs/overlap.md."""
    names = (
        "studies a cell", "bounds", "called shared", "of these wrong", "false shared",
        "called distinct", "of these wrong", "false distinct", "no verdict",
    )  # fmt: skip
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    lines = []
    for r in sorted(results, key=lambda r: (r["bounds"], r["studies"])):
        if r["from_prior"]:
            continue
        cells = [str(r["studies"]), _percent(r["bounds"])]
        for name in ("shared", "distinct"):
            cells += [_percent(r[name][n]) for n in ("called", "wrong", "false")]
        lines.append("| " + " | ".join([*cells, _percent(r["silent"])]) + " |")
    t, p = _pick(results, False), _pick(results, True)
    cover = [
        "| figure | typical review, as printed | truth from the prior, as printed | randomised |",
        "|---|---|---|---|",
    ]
    for f in (*FIGURES, "correlation"):
        three = (t["inside"][f][-1], p["inside"][f][-1], p["randomised"][f][-1])
        cover.append(f"| {f} | {' | '.join(f'{100 * x:.1f}%' for x in three)} |")
    error = 100 * np.sqrt(0.95 * 0.05 / min(t["reviews"], p["reviews"]))
    words = (
        f"Both: {t['studies']} studies a cell, {_percent(t['bounds'])} of them bounds; "
        f"{t['reviews']} and {p['reviews']} simulated reviews (standard error of a coverage of "
        f"95%: {error:.1f} points or less)."
    )
    return {"verdicts": head + "\n".join(lines), "coverage": "\n".join(cover) + "\n\n" + words}


def _pick(results: list[dict[str, Any]], from_prior: bool) -> dict[str, Any]:
    """The typical scenario, with fixed scales or with scales from the prior."""
    return next(
        r
        for r in results
        if (r["studies"], r["bounds"]) == TYPICAL and r["from_prior"] == from_prior
    )


def write_blocks(page: Path, blocks: dict[str, str]) -> None:
    """Replace what stands between `<!-- name:begin -->` and `<!-- name:end -->`."""
    text = page.read_text(encoding="utf-8")
    for name, body in blocks.items():
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page} has no block {name}: add <!-- {name}:begin --> and :end")
        text = pattern.sub(lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text)
    page.write_text(text, encoding="utf-8")


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Coverage of the intervals against their level, truth drawn from the prior."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    t = _pick(results, True)
    figure = Figure(figsize=(85 / 25.4, 80 / 25.4))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.17, 0.15, 0.78, 0.8))
    level = np.array(LEVELS)
    band = 1.96 * np.sqrt(level * (1 - level) / t["reviews"])
    ax.fill_between(level, level - band, level + band, color="#e3e3e3", lw=0)
    ax.plot([0.45, 1], [0.45, 1], color="#5a5a5a", lw=0.7)
    marks = {"n_shared": "o", "jaccard": "s", "magnitude": "D", "correlation": "^"}
    for f, marker in marks.items():
        ax.plot(level, t["randomised"][f], marker=marker, ms=3.5, lw=0.8, label=f.replace("_", " "))
    ax.set_xlabel("level of the interval", fontsize=7)
    ax.set_ylabel(f"truth inside, of {t['reviews']} reviews", fontsize=7)
    ax.tick_params(labelsize=6.5)
    ax.legend(fontsize=6.5, frameon=False)
    ax.set_xlim(0.45, 1)
    ax.set_ylim(0.4, 1.02)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Simulate, or take the stored results, and write page and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reviews", type=int, default=60, help="reviews a scenario")
    parser.add_argument("--typical", type=int, default=250, help="reviews of the typical scenario")
    parser.add_argument("--stored", action="store_true", help="use benchmarks/calibration.json")
    parser.add_argument("--out", type=Path, help="write results here, not into docs")
    chosen = parser.parse_args()
    folder = chosen.out or ROOT / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "calibration.json"
    if chosen.stored:
        results = json.loads(store.read_text(encoding="utf-8"))
    else:
        results = run(chosen.reviews, chosen.typical, store)
    if chosen.out:
        draw(results, chosen.out / "overlap_coverage.svg")
        print(*tables(results).values(), sep="\n\n")
        return
    draw(results, ROOT / "docs" / "img" / "overlap_coverage.svg")
    write_blocks(ROOT / "docs" / "overlap.md", tables(results))
    print(f"written; a mechanism is called at probability {DECIDE}")


if __name__ == "__main__":
    main()
