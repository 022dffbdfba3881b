"""Your own review: other mechanisms, other conditions, other claims.

Draws a truth from the joint model's prior and a small made-up review from that truth, writes it
into the folder own_review/ (the four tables that any review brings), analyses it, and prints what
was found beside what is true. Nothing in the package knows these names: replace the tables by your
own. Fits the joint model once (about a minute).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nssi_meta as nm
from nssi_meta.evidence.bounds import critical_g
from nssi_meta.evidence.claims import read_claims
from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES
from nssi_meta.synthesis.claims import claims
from nssi_meta.synthesis.gaps import gaps
from nssi_meta.synthesis.overlap_figures import lkj, overlap_figures

Floats = NDArray[np.float64]

FOLDER = Path("own_review")
#: Studies a cell, people a group; the seed of a truth of some and some overlap.
STUDIES, GROUP, SEED = 3, 50, 30
#: The smallest difference that matters.
DELTA = 0.2

CONDITIONS = """id,label,short,people,role
tinnitus,Tinnitus,Tinnitus,people with tinnitus,index
insomnia,Insomnia,Insomnia,people with insomnia,comorbid
vertigo,Vertigo,Vertigo,people with vertigo,comorbid
hearing,Hearing controls,Controls,people without complaints,reference
"""
#: Conditions in the order of the truth's columns; the first is the index.
NAMES = ("tinnitus", "insomnia", "vertigo")
SYSTEMS = {
    "gating": "sensory",
    "gain": "sensory",
    "habituation": "sensory",
    "arousal": "arousal",
    "vigilance": "arousal",
    "balance": "motor",
    "reflex": "motor",
    "worry": "mood",
}
CLAIMS = """claim_id,kind,mechanism,condition,other_condition,expected,subset,statement
A,direction,worry,tinnitus,,+,,Worry is raised in tinnitus
B,shared,arousal,tinnitus,insomnia,-,,Arousal is lowered in both
C,opposite,worry,tinnitus,insomnia,+,,Worry is raised in tinnitus and lowered in insomnia
D,shared,vigilance,tinnitus,vertigo,+,,Vigilance is raised in both (false)
E,ranking,,tinnitus,vertigo,+,,Tinnitus overlaps most with vertigo
"""


@dataclass(frozen=True)
class Truth:
    """True means `mu` (mechanism, condition), the correlations of conditions behind them, SDs
    between studies (`tau`, one a mechanism) and within them.
    """

    mu: Floats
    R: Floats
    tau: Floats
    omega: float


def draw_truth(rng: np.random.Generator) -> Truth:
    """One draw from the joint model's prior (docs/models.md)."""
    n_m, n_c = len(SYSTEMS), len(NAMES)
    sigma = np.abs(rng.normal(0, PRIOR_SCALES["sigma"], n_c))
    R = lkj(n_c, LKJ_ETA, 1, rng)[0]
    mu = rng.standard_normal((n_m, n_c)) @ np.linalg.cholesky(R).T * sigma
    tau_0 = abs(rng.normal(0, PRIOR_SCALES["tau_0"]))
    tau = tau_0 * np.abs(rng.standard_normal(n_m))
    return Truth(mu, R, tau, abs(rng.normal(0, PRIOR_SCALES["omega"])))


def draw_studies(truth: Truth, rng: np.random.Generator) -> Floats:
    """Estimates g (mechanism, condition, study) of studies with `GROUP` people a group."""
    spread = np.hypot(truth.tau, truth.omega)[:, None, None]
    theta = truth.mu[:, :, None] + spread * rng.standard_normal((*truth.mu.shape, STUDIES))
    error = np.sqrt(2 / GROUP + theta**2 / (4 * GROUP))
    return np.asarray(theta + error * rng.standard_normal(theta.shape))


def write_review(folder: Path, truth: Truth, rng: np.random.Generator) -> Path:
    """Write the four tables; a third of the studies print only whether p < .05."""
    folder.mkdir(exist_ok=True)
    rows = []
    found = draw_studies(truth, rng)
    for i, mechanism in enumerate(SYSTEMS):
        for j, condition in enumerate(NAMES):
            for s, g in enumerate(found[i, j]):
                study = f"{mechanism}_{condition}_{s}"
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
    mechanisms = ["mechanism,label,system"] + [f"{m},{m.title()},{s}" for m, s in SYSTEMS.items()]
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
    if abs(g) > critical_g(0.05, np.array([GROUP]), np.array([GROUP]))[0][0]:
        return {"statistic": "p_threshold", "direction": sign, **bound}
    return {"statistic": "ns", "direction": "0", **bound}


def main() -> None:
    """Draw, write, analyse, compare with the truth."""
    rng = np.random.default_rng(SEED)
    truth = draw_truth(rng)
    path = write_review(FOLDER, truth, rng)
    evidence = nm.read_effects(path)
    evidence.require_usable()
    profiles = nm.fit_profiles(evidence)
    shared = nm.overlap(profiles, DELTA).figures.set_index(["other", "figure"])
    print("overlap with tinnitus: found (true)")
    for j, other in enumerate(NAMES[1:], start=1):
        figures = overlap_figures(truth.mu[None, :, 0], truth.mu[None, :, j], DELTA)
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
