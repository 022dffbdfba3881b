"""Your own review: other mechanisms, other conditions, other claims.

Writes a small made-up review with known truth into the folder own_review/ (the four tables that any
review brings), analyses it, and prints what was found beside what is true. Nothing in the package
knows these names: replace the tables by your own. Fits the joint model once (about a minute).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import nssi_meta as nm
from nssi_meta.evidence.claims import read_claims
from nssi_meta.synthesis.claims import claims
from nssi_meta.synthesis.gaps import gaps
from nssi_meta.synthesis.overlap_figures import overlap_figures

FOLDER = Path("own_review")
STUDIES, GROUP, TAU = 3, 50, 0.15

CONDITIONS = """id,label,short,people,role
tinnitus,Tinnitus,Tinnitus,people with tinnitus,index
insomnia,Insomnia,Insomnia,people with insomnia,comorbid
vertigo,Vertigo,Vertigo,people with vertigo,comorbid
hearing,Hearing controls,Controls,people without complaints,reference
"""
#: Made-up true means (g): mechanism, system, tinnitus, insomnia, vertigo.
TRUTH = [
    ("gating", "sensory", 0.7, 0.6, 0.0),
    ("gain", "sensory", 0.8, 0.5, -0.6),
    ("habituation", "sensory", -0.6, -0.5, 0.0),
    ("arousal", "arousal", 0.5, 0.9, 0.6),
    ("vigilance", "arousal", 0.6, 0.7, 0.0),
    ("balance", "motor", 0.0, 0.0, -0.9),
    ("reflex", "motor", 0.0, 0.0, 0.7),
    ("worry", "mood", 0.5, 0.8, 0.5),
]
CLAIMS = """claim_id,kind,mechanism,condition,other_condition,expected,subset,statement
A,direction,gain,tinnitus,,+,,Central gain is raised in tinnitus
B,shared,gating,tinnitus,insomnia,+,,Gating is raised in both
C,opposite,gain,tinnitus,vertigo,+,,Gain is raised in tinnitus and lowered in vertigo
D,shared,reflex,tinnitus,vertigo,+,,Reflexes are raised in both (false)
E,ranking,,tinnitus,insomnia,+,,Tinnitus overlaps most with insomnia
"""


def write_review(folder: Path, seed: int = 8) -> Path:
    """Write the four tables; a third of the studies print only whether p < .05."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    rows = []
    for mechanism, _, *means in TRUTH:
        for condition, mean in zip(("tinnitus", "insomnia", "vertigo"), means, strict=True):
            for s in range(STUDIES):
                study = f"{mechanism}_{condition}_{s}"
                g = mean + TAU * rng.standard_normal() + np.sqrt(2 / GROUP) * rng.standard_normal()
                rows.append(
                    {"effect_id": f"e{len(rows):03d}", "study_id": study, "sample_id": study,
                     "control_id": f"{study}:c", "condition": condition, "comparator": "hearing",
                     "estimand": "case_control", "mechanism": mechanism, "measure": "task",
                     "n_case": GROUP, "n_control": GROUP, "status": "use",
                     "authors": "", "year": "", **as_printed(round(g, 3), only_p=s == 0)}
                )  # fmt: skip
    columns = list(dict.fromkeys(c for row in rows for c in row))
    with (folder / "effects.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    mechanisms = ["mechanism,label,system"] + [f"{m},{m.title()},{s}" for m, s, *_ in TRUTH]
    (folder / "mechanisms.csv").write_text("\n".join(mechanisms) + "\n", encoding="utf-8")
    (folder / "conditions.csv").write_text(CONDITIONS, encoding="utf-8")
    (folder / "claims.csv").write_text(CLAIMS, encoding="utf-8")
    return folder / "effects.csv"


def as_printed(g: float, *, only_p: bool) -> dict[str, object]:
    """The cells of a paper that prints g, or only whether its test was significant."""
    sign = "+" if g > 0 else "-"
    if not only_p:
        return {"statistic": "g", "g": g, "direction": sign}
    bound = {"p_bound": 0.05, "bound": "stated"}
    if abs(g) > 1.984 * np.sqrt(2 / GROUP):
        return {"statistic": "p_threshold", "direction": sign, **bound}
    return {"statistic": "ns", "direction": "0", **bound}


def main() -> None:
    """Write, analyse, compare with the truth."""
    path = write_review(FOLDER)
    evidence = nm.read_effects(path)
    evidence.require_usable()
    profiles = nm.fit_profiles(evidence)
    shared = nm.overlap(profiles).figures.set_index(["other", "figure"])
    true = np.array([means for _, _, *means in TRUTH])
    print("overlap with tinnitus: found (true)")
    for j, other in ((1, "insomnia"), (2, "vertigo")):
        figures = overlap_figures(true[None, :, 0], true[None, :, j], 0.2)
        for name, value in figures.items():
            row = shared.loc[(other, name)]
            print(f"  {other} {name}: {row['median']:.2f} [{row['low']:.2f}, {row['high']:.2f}] "
                  f"({value[0]:.2f})")  # fmt: skip
    found = claims(read_claims(path.with_name("claims.csv"), evidence), evidence, profiles)
    columns = ["claim_id", "statement", "probability", "bayes_factor", "verdict"]
    print(found.table[columns].round(2).to_string(index=False))
    next_study = gaps(profiles, evidence).head(3)
    print(next_study[["label", "condition_label", "gain_bits", "because"]].to_string(index=False))


if __name__ == "__main__":
    main()
