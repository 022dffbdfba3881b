"""Does the overlap hang on a choice? Fit the joint model again for each (a few minutes a fit).

.venv/bin/python analyses/05_overlap_variants.py

After each fit writes what tools/overlap_numbers.py fills docs/overlap.md with: overlap figures,
verdicts on mechanisms and on claims under each variant; and from the first fit what leaving one
mechanism out does to the overlap and to the contrasts between conditions. Variants that the tables
hold already are not fitted again, so a run that was stopped goes on: remove the tables after a
change of data or model.
"""

from pathlib import Path

import pandas as pd

import nssi_meta as nm
from nssi_meta.evidence.claims import read_claims
from nssi_meta.synthesis.claims import claims
from nssi_meta.synthesis.overlap_depth import contrasts_without_one, leave_one_out
from nssi_meta.synthesis.overlap_variants import BASE, VARIANTS, Variant, fits

DATA = Path("data/effects.csv")
#: Variants of the model, not of the rows: claims are judged anew under these.
MODELS = (BASE, "heavy tails", "selective reporting")


def path_of(part: str) -> Path:
    """The table of overlap figures (""), or of verdicts on mechanisms or claims."""
    return Path(f"overlap_variants{part}.csv")


def kept(part: str) -> list[pd.DataFrame]:
    """What an earlier run left of a table, one frame a variant."""
    if not path_of(part).is_file():
        return []
    table = pd.read_csv(path_of(part), keep_default_na=False, na_values=[""])
    return [group for _, group in table.groupby("variant", sort=False)]


def main() -> None:
    """Fit what is missing, write the tables, print the magnitude overlap."""
    evidence = nm.read_effects(DATA)
    evidence.require_usable()
    listed = read_claims(DATA.with_name("claims.csv"), evidence)
    found = {part: kept(part) for part in ("_mechanisms", "_claims", "")}
    done = {name for table in found[""] for name in table["variant"]}
    wanted = {n: v for n, v in {BASE: Variant(), **VARIANTS}.items() if n not in done}
    pools = nm.pool(evidence)
    for name, rows, profiles in fits(evidence, wanted, progress=print):
        shared = nm.overlap(profiles)
        tables = {"_mechanisms": shared.mechanisms}
        if name in MODELS:
            tables["_claims"] = claims(listed, rows, profiles, pools=pools).table
        if name == BASE:
            leave_one_out(profiles).to_csv("overlap_left_out.csv", index=False)
            contrasts_without_one(profiles).to_csv("overlap_contrasts_left_out.csv", index=False)
        tables[""] = shared.figures  # last: a variant in this table is done
        for part, table in tables.items():
            others = [t for t in found[part] if (t["variant"] != name).all()]
            found[part] = [*others, table.assign(variant=name, converged=profiles.converged)]
            pd.concat(found[part]).to_csv(path_of(part), index=False)
    table = pd.concat(found[""])
    table = table[table["figure"] == "magnitude"]
    words = [f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in table.itertuples()]
    wide = table.assign(words=words).pivot_table(
        index="variant", columns="other_label", values="words", aggfunc="first"
    )
    print(wide.reindex(dict.fromkeys(table["variant"])).to_string())


if __name__ == "__main__":
    main()
