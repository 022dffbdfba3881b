"""Fill docs/bias.md from the shipped data, so that none of its numbers is typed by hand.

    .venv/bin/python tools/bias_numbers.py            # tables between the markers, and the figure

The simulation's table comes from benchmarks/simulate_reporting.py. Run both after a change of the
data or the model; this one takes some minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from marked import put

ROOT = Path(__file__).resolve().parent.parent
WEB_DPI = 110
PICTURE = "![Published pools beside ours, naive and adjusted](img/external.png)"
#: Assumptions beside the default, in the order of the table.
SWEEP = {
    "w ~ Beta(1, 1), the default": {},
    "w ~ Beta(2, 2)": {"w": (2.0, 2.0)},
    "w ~ Beta(1, 4)": {"w": (1.0, 4.0)},
    "w ~ Beta(4, 1)": {"w": (4.0, 1.0)},
    "w = 1 (no selection), spreads learned": {"w": 1.0},
    "w = 0.5": {"w": 0.5},
    "w = 0.2": {"w": 0.2},
    "w = 0.05": {"w": 0.05},
    "w learned, spread 1 and tau 0.5 as in the naive pools": {"spread": 1.0, "tau": 0.5},
}


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) != 0 else text.lstrip("-")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table: the first `left` columns to the left, the others to the right."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def learned_table(learned: pd.DataFrame) -> str:
    """What the cells teach together."""
    words = {
        "w abstract": "w, read in an abstract",
        "w elsewhere": "w, read in a full text or a coding sheet",
        "spread": "spread of mean effects",
        "tau": "scale of tau",
    }
    rows = [
        (
            words[r.parameter],
            number(r.median),
            f"[{number(r.low)}, {number(r.high)}]",
            str(r.n_reports),
            str(r.n_null),
        )
        for r in learned.itertuples()
    ]
    head = ("", "Median", "95% interval", "Reports", "of which null")
    return markdown(head, rows)


def totals_table(totals: pd.DataFrame) -> str:
    """Coverage and excess of the external check."""
    rows = [
        (
            str(r.group) if first else "",
            str(r.pools),
            f"{r.covered} of {r.n}",
            f"{number(r.mean_excess)} ({number(r.se_excess)})",
            number(r.expected_excess),
            number(r.mean_width),
        )
        for first, r in _grouped(totals.rename(columns={"cells with": "group"}))
    ]
    head = ("Cells with", "Pools", "Published inside", "Mean excess (SE)", "expected", "Mean width")
    return markdown(head, rows, left=2)


def _grouped(table: pd.DataFrame) -> list[tuple[bool, object]]:
    out, before = [], None
    for r in table.itertuples():
        out.append((r.group != before, r))
        before = r.group
    return out


def sweep_table(results: dict[str, pd.DataFrame], learned: dict[str, pd.DataFrame]) -> str:
    """The default beside other assumptions, all on the published pools."""
    rows = []
    for name, totals in results.items():
        w = learned[name].set_index("parameter").loc["w abstract", "median"]
        every, many = totals.iloc[0], totals[totals["cells with"].str.contains("or more")]
        cells = [name, number(w), f"{every.covered} of {every.n}", number(every.mean_excess)]
        cells += [number(every.mean_width)]
        last = many.iloc[0] if len(many) else None
        cells += (
            ["", "", ""]
            if last is None
            else [
                f"{last.covered} of {last.n}",
                number(last.mean_excess),
                number(last.mean_width),
            ]
        )
        rows.append(cells)
    head = (
        "Assumption", "w in abstracts", "Inside", "Excess", "Width", "Inside, 8+ rows",
        "Excess, 8+", "Width, 8+",
    )  # fmt: skip
    return markdown(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    from nssi_meta import figures
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.external import external_check
    from nssi_meta.synthesis.pooled import pool
    from nssi_meta.synthesis.published import read_published
    from nssi_meta.synthesis.reporting import Selection, adjusted_pools

    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "effects.csv")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "bias.md")
    parser.add_argument("--tables", type=Path, help="also leave the tables here as CSV")
    given = parser.parse_args(arguments)
    evidence = read_effects(given.data)
    published = read_published(given.data.with_name("published_pools.csv"))
    start = time.process_time()
    naive = pool(evidence).table
    after = time.process_time()
    adjusted = adjusted_pools(evidence)
    print(f"naive {after - start:.0f} s, adjusted {time.process_time() - after:.0f} s")
    check = external_check(published, {"naive": naive, "adjusted": adjusted.table})
    print(adjusted.learned.to_string(), check.totals.to_string(), sep="\n", flush=True)
    results, learned = {}, {}
    for name, fields in SWEEP.items():
        other = adjusted.under(Selection(**fields)) if fields else adjusted
        results[name] = external_check(published, {"adjusted": other.table}).totals
        learned[name] = other.learned
    if given.tables is not None:
        given.tables.mkdir(parents=True, exist_ok=True)
        for name, table in (
            ("external", check.table),
            ("external_totals", check.totals),
            ("external_left_out", check.left_out),
            ("adjusted", adjusted.table),
            ("learned", adjusted.learned),
        ):
            table.to_csv(given.tables / f"{name}.csv", index=False)
    why = check.left_out["why_not"].str.replace(r"\(.*\)", "", regex=True).str.strip()
    reasons = "; ".join(f"{w} ({n})" for w, n in why.value_counts().items())
    text = given.page.read_text(encoding="utf-8")
    text = put(text, "learned", learned_table(adjusted.learned))
    n_cells = len(check.table.groupby(["mechanism", "condition", "estimand"]))
    intro = (
        f"{len(published)} published rows; {len(check.table)} are comparable, with {n_cells} of "
        f"our cells. Left out: {reasons}."
    )
    text = put(text, "external", "\n\n".join([intro, totals_table(check.totals), PICTURE]))
    text = put(text, "sweep", sweep_table(results, learned))
    given.page.write_text(text, encoding="utf-8")
    figure = figures.external(check.table, {"naive": "naive", "adjusted": "adjusted"})
    figure.savefig(given.page.parent / "img" / "external.png", dpi=WEB_DPI)
    return 0


if __name__ == "__main__":
    sys.exit(main())
