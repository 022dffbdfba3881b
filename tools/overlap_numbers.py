"""Fill the variants of docs/overlap.md, so that none of its numbers is typed by hand.

    .venv/bin/python analyses/05_overlap_variants.py   # fits each variant, writes their tables
    .venv/bin/python tools/overlap_numbers.py          # tables between the markers

The coverage and the rates of verdicts come from benchmarks/calibrate_verdicts.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from bias_numbers import number
from marked import put, wrapped

from nssi_meta.synthesis.overlap_variants import BASE, changed_verdicts

ROOT = Path(__file__).resolve().parent.parent
#: Verdicts on a mechanism, in the order of the table.
VERDICTS = ("shared", "opposite", "distinct", "neither", "undecided", "uninformative")
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


def verdict_counts(found: pd.DataFrame) -> str:
    """How many mechanisms (in each other condition) get which verdict, by variant."""
    counts = pd.crosstab(found["variant"], found["verdict"])
    counts = counts.reindex(columns=list(VERDICTS), fill_value=0)
    changed = changed_verdicts(found, ["mechanism", "other"], BASE)
    both = changed[(changed["verdict"] != "") & (changed["before"] != "")]
    lines = [
        f"| Verdicts on mechanisms | {' | '.join(VERDICTS)} | changed |",
        "|---" * (len(VERDICTS) + 2) + "|",
    ]
    for variant in dict.fromkeys(found["variant"]):
        n = "" if variant == BASE else str(int((both["variant"] == variant).sum()))
        cells = [str(int(c)) for c in counts.loc[variant]]
        lines.append(f"| {variant} | {' | '.join([*cells, n])} |")
    return "\n".join(lines)


def verdict_changes(found: pd.DataFrame) -> str:
    """Every mechanism whose verdict is another one under a variant, by variant and change."""
    keys = ["mechanism", "other"]
    changed = changed_verdicts(found, keys, BASE)
    names = found.drop_duplicates(keys).set_index(keys)
    changed = changed[(changed["verdict"] != "") & (changed["before"] != "")]
    lines = []
    for variant in dict.fromkeys(found.loc[found["variant"] != BASE, "variant"]):
        parts = []
        mine = changed[changed["variant"] == variant]
        for (before, now), group in mine.groupby(["before", "verdict"], sort=True):
            who = []
            for condition, rows in group.groupby("other", sort=False):
                some = [names.loc[(m, condition), "label"] for m in rows["mechanism"]]
                label = names.loc[(rows["mechanism"].iloc[0], condition), "other_label"]
                who.append(f"{', '.join(map(str, some))} ({str(label).lower()})")
            parts.append(f"{before} → {now}: {'; '.join(who)}")
        words = ". ".join(parts) if parts else "no verdict on a mechanism changes"
        lines.append(f"- *{variant}*: {words}.")
    return "\n".join(lines)


def claim_changes(found: pd.DataFrame) -> str:
    """Claims whose verdict is another one under a variant of the model."""
    changed = changed_verdicts(found, ["claim_id"], BASE)
    said = found.drop_duplicates("claim_id").set_index("claim_id")["statement"]
    n = found["claim_id"].nunique()
    lines = []
    for variant in dict.fromkeys(found.loc[found["variant"] != BASE, "variant"]):
        mine = changed[changed["variant"] == variant]
        words = "; ".join(
            f"{r.claim_id} ({said[r.claim_id]}): {r.before} → {r.verdict}"
            for r in mine.itertuples()
        )
        lines.append(f"- *{variant}*: {len(mine)} of {n}{f'. {words}' if words else ''}.")
    return "\n".join(lines)


def contrasts(table: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """P(more overlap with one condition than with another), with all and without any one.

    `labels` of mechanisms; one that has none is printed as its id.
    """
    some = table[(table["figure"] == "magnitude") & (table["mechanisms"] == "common")]
    lines = [
        "| more overlap with | than with | mechanisms | P | lowest, without | highest, without |",
        "|---|---|---|---|---|---|",
    ]
    for r in some.to_dict("records"):
        ends = [
            f"{number(float(r[f'{e}_p_more']))}, {labels.get(r[f'{e}_without'], r[f'{e}_without'])}"
            for e in ("lowest", "highest")
        ]
        cells = [r["condition_label"], r["other_label"], str(int(r["n_condition"]))]
        lines.append(f"| {' | '.join([*cells, number(float(r['p_more'])), *ends])} |")
    return "\n".join(lines)


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
    """Rewrite the blocks of docs/overlap.md that hang on these tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(), help="where the tables lie")
    folder = parser.parse_args().folder
    found, mechanisms, claims, single, more = (
        pd.read_csv(folder / f"overlap_{name}.csv", keep_default_na=False, na_values=[""])
        for name in ("variants", "variants_mechanisms", "variants_claims", "left_out",
                     "contrasts_left_out")
    )  # fmt: skip
    labels = dict(zip(single["left_out"], single["label"], strict=True))
    figures = [*(wide(found, figure) for figure in FIGURES), moved(found)]
    blocks = {
        "variants": "\n\n".join([*figures, verdict_counts(mechanisms)]),
        "verdict_changes": verdict_changes(mechanisms),
        "claim_changes": claim_changes(claims),
        "left_out": left_out(single),
        "contrasts": contrasts(more, labels),
    }
    page = ROOT / "docs" / "overlap.md"
    text = page.read_text(encoding="utf-8")
    for name, body in blocks.items():
        text = put(text, name, wrapped(body))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
