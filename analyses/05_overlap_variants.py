"""Does the overlap hang on a choice? Fit the joint model again for each (a few minutes a fit).

.venv/bin/python analyses/05_overlap_variants.py

Writes overlap_variants.csv (what tools/overlap_numbers.py fills docs/overlap.md with) after each
fit, and prints the magnitude overlap. The first fit also tells what leaving one mechanism out does.
"""

from pathlib import Path

import pandas as pd

import nssi_meta as nm
from nssi_meta.synthesis.overlap_depth import leave_one_out
from nssi_meta.synthesis.overlap_variants import VARIANTS, overlap_variants

DATA = "data/effects.csv"
TABLE = Path("overlap_variants.csv")
LEFT_OUT = Path("overlap_left_out.csv")


def main() -> None:
    evidence = nm.read_effects(DATA)
    evidence.require_usable()
    profiles = nm.fit_profiles(evidence, progress=print)
    leave_one_out(profiles).to_csv(LEFT_OUT, index=False)
    found = nm.overlap(profiles).figures.assign(converged=profiles.converged)
    found.insert(0, "variant", "as it is")
    for name in VARIANTS:
        found = pd.concat([found, overlap_variants(evidence, [name], progress=print)])
        found.to_csv(TABLE, index=False)
    table = found[found["figure"] == "magnitude"]
    words = [f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in table.itertuples()]
    wide = table.assign(words=words).pivot_table(
        index="variant", columns="other_label", values="words", aggfunc="first"
    )
    print(wide.reindex(dict.fromkeys(table["variant"])).to_string())


if __name__ == "__main__":
    main()
