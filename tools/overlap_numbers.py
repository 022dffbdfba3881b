"""Fill the variants of docs/overlap.md, so that none of its numbers is typed by hand.

    .venv/bin/python analyses/05_overlap_variants.py   # fits each variant, writes two tables
    .venv/bin/python tools/overlap_numbers.py          # tables between the markers

The coverage and the rates of verdicts come from benchmarks/calibrate_verdicts.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from bias_numbers import number, put

ROOT = Path(__file__).resolve().parent.parent
BASE = "as it is"
FIGURES = {"magnitude": "Signed magnitude overlap", "n_shared": "Shared mechanisms"}


def wide(found: pd.DataFrame, figure: str) -> str:
    """One figure under each variant: median and interval per condition, as a Markdown table."""
    table = found[found["figure"] == figure]
    others = list(dict.fromkeys(table["other_label"]))
    lines = [f"| {FIGURES[figure]} | {' | '.join(others)} |", "|---" * (len(others) + 1) + "|"]
    for variant, group in table.groupby("variant", sort=False):
        by = group.set_index("other_label")
        name = str(variant) if group["converged"].all() else f"{variant} (did not converge)"
        lines.append(f"| {name} | {' | '.join(_cell(by, o, figure) for o in others)} |")
    return "\n".join(lines)


def _cell(by: pd.DataFrame, other: str, figure: str) -> str:
    if other not in by.index:
        return "–"
    row = by.loc[other]
    digits = 0 if figure == "n_shared" else 2
    median, low, high = (number(float(row[c]), digits) for c in ("median", "low", "high"))
    of = f" of {int(row['n_mechanisms'])}" if figure == "n_shared" else ""
    return f"{median} [{low}, {high}]{of}"


def moved(found: pd.DataFrame) -> str:
    """Per variant, where each figure moves most, and whether the verdicts change."""
    keys = ["other_label", "figure"]
    base = found[found["variant"] == BASE].set_index(keys)
    lines = []
    for variant, group in found[found["variant"] != BASE].groupby("variant", sort=False):
        both = group.set_index(keys).join(base.add_suffix("_base"), how="inner")
        parts = [_largest(both.xs(f, level="figure"), f) for f in FIGURES]
        changed = both[both["verdict"] != both["verdict_base"]]
        words = "; ".join(f"{f} of {o}: {r['verdict']}" for (o, f), r in changed.iterrows())
        end = f"Verdicts that change: {words}." if words else "No verdict on a figure changes."
        lines.append(f"- *{variant}*, largest changes: {', '.join(parts)}. {end}")
    return "\n".join(lines)


def _largest(both: pd.DataFrame, figure: str) -> str:
    """Where a figure's median moves most, and whether it leaves the main fit's interval."""
    other = str((both["median"] - both["median_base"]).abs().idxmax())
    row = both.loc[other]
    was, now = (float(row[c]) for c in ("median_base", "median"))
    digits = 0 if figure == "n_shared" else 2
    inside = float(row["low_base"]) <= now <= float(row["high_base"])
    words = "" if inside else " (outside the interval of the main fit)"
    name = FIGURES[figure].lower()
    if number(was, digits) == number(now, digits):
        return f"{name} nowhere by a digit that is printed"
    of = ["", ""]
    if figure == "n_shared":
        of = [f" of {int(row[c])}" for c in ("n_mechanisms_base", "n_mechanisms")]
    first, then = number(was, digits) + of[0], number(now, digits) + of[1]
    return f"{name} of {other} from {first} to {then}{words}"


def left_out(table: pd.DataFrame) -> str:
    """The mechanism without which the magnitude overlap changes most, per condition."""
    names = dict(zip(table["other"], table["other"].str.replace("_", " "), strict=True))
    some = table[table["figure"] == "magnitude"]
    lines = []
    for other, group in some.groupby("other", sort=False):
        shift = (group["median"] - group["median_with_all"]).abs()
        row = group.loc[shift.idxmax()]
        lines.append(
            f"- {names[other].capitalize()}: without *{row['label']}* the magnitude overlap is "
            f"{number(float(row['median']))} [{number(float(row['low']))}, "
            f"{number(float(row['high']))}] instead of {number(float(row['median_with_all']))}; "
            "every other mechanism moves it less."
        )
    return "\n".join(lines)


def main() -> None:
    """Rewrite the blocks `variants` and `left_out`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=Path, default=Path("overlap_variants.csv"))
    parser.add_argument("--left-out", type=Path, default=Path("overlap_left_out.csv"))
    chosen = parser.parse_args()
    found, single = pd.read_csv(chosen.variants), pd.read_csv(chosen.left_out)
    page = ROOT / "docs" / "overlap.md"
    text = page.read_text(encoding="utf-8")
    body = "\n\n".join([*(wide(found, figure) for figure in FIGURES), moved(found)])
    text = put(text, "variants", body)
    page.write_text(put(text, "left_out", left_out(single)), encoding="utf-8")


if __name__ == "__main__":
    main()
