"""Does the overlap hang on a choice? Fit the joint model again for each (a few minutes a fit).

.venv/bin/python analyses/05_overlap_variants.py

After each fit writes what tools/overlap_numbers.py fills docs/overlap.md with: overlap figures,
verdicts on mechanisms and on claims under each variant; and from the first fit what leaving one
mechanism out does to the overlap and to the contrasts between conditions.
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


def main() -> None:
    evidence = nm.read_effects(DATA)
    evidence.require_usable()
    listed = read_claims(DATA.with_name("claims.csv"), evidence)
    found: dict[str, list[pd.DataFrame]] = {"": [], "_mechanisms": [], "_claims": []}
    pools = nm.pool(evidence)
    for name, rows, profiles in fits(evidence, {BASE: Variant(), **VARIANTS}, progress=print):
        shared = nm.overlap(profiles)
        tables = {"": shared.figures, "_mechanisms": shared.mechanisms}
        if name in MODELS:
            tables["_claims"] = claims(listed, rows, profiles, pools=pools).table
        for part, table in tables.items():
            found[part].append(table.assign(variant=name, converged=profiles.converged))
            pd.concat(found[part]).to_csv(f"overlap_variants{part}.csv", index=False)
        if name == BASE:
            leave_one_out(profiles).to_csv("overlap_left_out.csv", index=False)
            contrasts_without_one(profiles).to_csv("overlap_contrasts_left_out.csv", index=False)
    table = pd.concat(found[""])
    table = table[table["figure"] == "magnitude"]
    words = [f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in table.itertuples()]
    wide = table.assign(words=words).pivot_table(
        index="variant", columns="other_label", values="words", aggfunc="first"
    )
    print(wide.reindex(dict.fromkeys(table["variant"])).to_string())


if __name__ == "__main__":
    main()
