"""What `calibrate_verdicts` found, as tables of the documentation and a figure."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from nssi_meta.synthesis.overlap_figures import FIGURES

#: Levels of the intervals whose coverage is counted.
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.0f}%"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown blocks of docs/overlap.md."""
    names = (
        "studies a cell", "bounds", "called shared", "of these wrong", "false shared",
        "called distinct", "of these wrong", "false distinct", "no verdict",
    )  # fmt: skip
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    lines = []
    for r in sorted(results["scenarios"], key=lambda r: (r["bounds"], r["studies"])):
        if r["from_prior"]:
            continue
        cells = [str(r["studies"]), _percent(r["bounds"])]
        for name in ("shared", "distinct"):
            cells += [_percent(r[name][n]) for n in ("called", "wrong", "false")]
        lines.append("| " + " | ".join([*cells, _percent(r["silent"])]) + " |")
    t, p, e = (_pick(results, *which) for which in ((False, False), (True, True), (True, False)))
    cover = [
        "| figure | typical review, as printed | calibration: as printed | randomised, 95% | "
        "randomised, 80% | p of uniform places | variances estimated, 95% |",
        "|---|---|---|---|---|---|---|",
    ]
    at80 = LEVELS.index(0.8)
    for f in (*FIGURES, "correlation"):
        shares = (
            t["inside"][f][-1], p["inside"][f][-1], p["randomised"][f][-1],
            p["randomised"][f][at80],
        )  # fmt: skip
        cells = [*(f"{100 * x:.1f}%" for x in shares), f"{p['p_uniform'][f]:.2f}"]
        cells.append(f"{100 * e['randomised'][f][-1]:.1f}%")
        cover.append(f"| {f} | {' | '.join(cells)} |")
    errors = (100 * np.sqrt(x * (1 - x) / p["reviews"]) for x in (0.95, 0.8))
    counts = ", ".join(str(x["reviews"]) for x in (t, p, e))
    words = (
        f"All: {t['studies']} studies a cell, {_percent(t['bounds'])} of them bounds. Simulated "
        f"reviews, typical, calibration, variances estimated: {counts}. Standard error of a "
        "coverage of 95% in the calibration: {:.1f} points, of 80%: {:.1f} points.".format(*errors)
    )
    return {
        "verdicts": head + "\n".join(lines),
        "coverage": "\n".join(cover) + "\n\n" + _prose(words),
    }


def tutorial_table(results: dict[str, Any]) -> str:
    """The Markdown block of docs/own_review.md."""
    lines = [
        "| truth | compared with tinnitus | n_shared | Jaccard | magnitude | correlation | "
        "called shared, wrong | called distinct, wrong | no verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    words = {"drawn": "drawn anew", "fixed": "the script's, fixed"}
    told = []
    for name, by_other in results["tutorial"].items():
        for other, r in by_other.items():
            cells = [words[name], other]
            for f in (*FIGURES, "correlation"):
                if f not in r["inside"]:
                    cells.append("–")
                    continue
                cells.append(
                    f"{100 * r['randomised'][f][-1]:.1f}% ({100 * r['inside'][f][-1]:.1f}%)"
                )
            for verdict in ("shared", "distinct"):
                cells.append(f"{_percent(r[verdict]['called'])}, {_percent(r[verdict]['wrong'])}")
            lines.append(f"| {' | '.join([*cells, _percent(r['silent'])])} |")
        n = next(iter(by_other.values()))["reviews"]
        error = 100 * np.sqrt(0.95 * 0.05 / n)
        told.append(f"{words[name]}: {n} simulated data sets, standard error {error:.1f} points")
    return "\n".join(lines) + "\n\n" + _prose(f"A coverage of 95%, {'; '.join(told)}.")


def _prose(words: str) -> str:
    return textwrap.fill(words, 118, break_long_words=False, break_on_hyphens=False)


def _pick(results: dict[str, Any], from_prior: bool, known: bool) -> dict[str, Any]:
    """The first scenario of this kind, which is the typical one."""
    kind = (from_prior, known)
    return next(r for r in results["scenarios"] if (r["from_prior"], r["known"]) == kind)


MARKS = {"n_shared": "o", "jaccard": "s", "magnitude": "D", "correlation": "^"}


def draw(results: dict[str, Any], path: Path) -> None:
    """Coverage of the intervals against their level, truth drawn from the prior."""
    _draw({"": _pick(results, True, True)}, path)


def draw_tutorial(results: dict[str, Any], path: Path) -> None:
    """The same for the tutorial's review, one panel a condition."""
    panels = results["tutorial"]["drawn"]
    _draw({f"tinnitus and {other}": r for other, r in panels.items()}, path)


def _draw(panels: dict[str, dict[str, Any]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(85 * len(panels) / 25.4, 80 / 25.4))
    FigureCanvasAgg(figure)
    level = np.array(LEVELS)
    for i, (title, t) in enumerate(panels.items()):
        ax = figure.add_axes(((0.17 + i) / len(panels), 0.15, 0.78 / len(panels), 0.78))
        band = 1.96 * np.sqrt(level * (1 - level) / t["reviews"])
        ax.fill_between(level, level - band, level + band, color="#e3e3e3", lw=0)
        ax.plot([0.45, 1], [0.45, 1], color="#5a5a5a", lw=0.7)
        for f, marker in MARKS.items():
            ax.plot(
                level, t["randomised"][f], marker=marker, ms=3.5, lw=0.8, label=f.replace("_", " ")
            )
        ax.set_title(title, fontsize=7.5)
        ax.set_xlabel("level of the interval", fontsize=7)
        ax.set_ylabel(f"truth inside, of {t['reviews']} reviews", fontsize=7)
        ax.tick_params(labelsize=6.5)
        ax.legend(fontsize=6.5, frameon=False)
        ax.set_xlim(0.45, 1)
        ax.set_ylim(0.4, 1.02)
    figure.savefig(path, metadata={"Date": None})
