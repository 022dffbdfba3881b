"""Draw the gallery: docs/gallery.md and its pictures, from the shipped data.

    .venv/bin/python tools/gallery.py            # all
    .venv/bin/python tools/gallery.py --only funnel orchard

Each picture is drawn by the very lines that stand under it; those of the joint model read the
tables of a finished `nssi-meta run` in results/. Pictures are reduced to 32 colours,
which the eye does not see and which keeps the page light.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path
from typing import Any

from PIL import Image

from nssi_meta.figures import save

ROOT = Path(__file__).resolve().parent.parent
COLOURS = 32
DPI = 105
PREAMBLE = """\
import nssi_meta as nm
from nssi_meta import figures as fig

evidence = nm.read_effects("data/effects.csv")
pools = nm.pool(evidence)
cells, rows = pools.table, pools.rows
pain = [t[t["mechanism"] == "pain_threshold"] for t in (rows, cells)]
"""
#: Names under which an entry leaves what is shown, and its alternative text.
PICTURE, WORDS = "picture", "words"
ENTRIES: dict[str, tuple[str, str]] = {
    "forest": (
        "Forest plot",
        """\
picture = fig.forest(*pain, positive_means="higher threshold in cases")
words = fig.alt_forest(*pain)
""",
    ),
    "forest_jama": (
        "Forest plot as JAMA prints it",
        """\
sides = ("lower in cases", "higher in cases")
picture = fig.forest(*pain, layout="jama", favours=sides)
words = fig.alt_forest(*pain)
""",
    ),
    "forest_bmj": (
        "Odds ratios as the BMJ prints them",
        """\
gene = [t[t["mechanism"] == "drd2_a1_allele"] for t in (rows, cells)]
picture = fig.forest(*gene, layout="bmj", sort="effect")
words = fig.alt_forest(*gene)
""",
    ),
    "forest_revman": (
        "Forest plot as RevMan prints it",
        """\
picture = fig.forest(*pain, layout="revman", sort="precision")
words = fig.alt_forest(*pain)
""",
    ),
    "forest_minimal": (
        "Forest plot for a single column",
        """\
picture = fig.forest(*pain, layout="minimal", style=fig.SINGLE)
words = fig.alt_forest(*pain)
""",
    ),
    "forest_columns": (
        "Columns of one's own, threshold band, differences between blocks",
        """\
from statistics import NormalDist
import pandas as pd

mu = pain[1][pain[1]["estimand"] == "case_control"].set_index("condition")
gap = mu.loc["nssi", "mu_mean"] - mu.loc["depression", "mu_mean"]
sd = (mu.loc["nssi", "mu_sd"] ** 2 + mu.loc["depression", "mu_sd"] ** 2) ** 0.5
one = ("NSSI − depression", "case_control", "g", gap, gap - 1.96 * sd, gap + 1.96 * sd)
table = pd.DataFrame([(*one, 1 - NormalDist(gap, sd).cdf(0))], columns=fig.CONTRAST_COLUMNS)
columns = ["study", "year", "measure", "certainty", "n"]
picture = fig.forest(*pain, columns=columns, delta=0.2, contrasts=table)
words = fig.alt_forest(*pain)
""",
    ),
    "forest_half_eyes": (
        "Half-eyes, I² and the samples",
        """\
here = nm.pool(evidence.select("pain_threshold", estimand="case_control"))
picture = here.forest(densities=True, columns=["study", "sample", "n", "certainty"])
words = fig.alt_forest(here.rows, here.table)
""",
    ),
    "overview": (
        "Overview of all pools: one of its pages",
        """\
picture = fig.overview_pages(cells, delta=0.2)[1]
words = fig.alt_overview(fig.overview_parts(cells, delta=0.2)[1])
""",
    ),
    "evidence_map": (
        "Evidence map",
        """\
picture = fig.evidence_map(cells)
words = fig.alt_evidence_map(cells)
""",
    ),
    "orchard": (
        "Orchard",
        """\
here = [t[t["estimand"] == "case_control"] for t in pain]
effects = here[0].assign(group=here[0]["condition"])
groups = here[1].assign(group=here[1]["condition"], label=here[1]["condition_label"])
picture = fig.orchard(effects, groups, title="Pain threshold")
words = fig.alt_orchard(effects, groups)
""",
    ),
    "funnel": (
        "Contour funnel with bounds as bands",
        """\
trait = rows[(rows["mechanism"] == "trait_impulsivity") & (rows["scale"] == "g")]
pool = cells[(cells["mechanism"] == "trait_impulsivity") & (cells["condition"] == "addiction")]
mu = pool.loc[pool["scale"] == "g", "mu_median"].item()
table = trait[trait["condition"] == "addiction"]
picture = fig.funnel(table, mu=mu, title="Trait impulsivity in addiction")
words = fig.alt_funnel(table, mu=mu)
""",
    ),
    "profile_scatter": (
        "Two conditions, mechanism by mechanism",
        """\
mu = cells[(cells["estimand"] == "case_control") & (cells["k"] > 0)].set_index("mechanism")
a, b = (mu[mu["condition"] == c] for c in ("nssi", "depression"))
both = a.join(b, lsuffix="_x", rsuffix="_y", how="inner").reset_index()
names = {"label_x": "label", "mu_mean_x": "x_mean", "mu_sd_x": "x_sd"}
names |= {"mu_mean_y": "y_mean", "mu_sd_y": "y_sd"}
table = both.rename(columns=names).assign(correlation=0.0)  # separate pools share nothing
picture = fig.profile_scatter(table, x_label="NSSI", y_label="depression")
words = fig.alt_profile_scatter(table, x_label="NSSI", y_label="depression")
""",
    ),
    "cumulative": (
        "Evidence as it came in",
        """\
import dataclasses as dc, pandas as pd

years = pain[0].query("condition == 'nssi' and estimand == 'case_control'").sort_values("year")
cell = evidence.select("pain_threshold", "nssi", "case_control")
own = cell.rows.set_index("effect_id").loc[years["effect_id"]].reset_index()
fits = [nm.pool(dc.replace(cell, rows=own[:n])).table for n in range(1, len(own) + 1)]
names = {f"mu_{x}": x for x in ("median", "low", "high")}
table = pd.concat(fits).rename(columns=names).assign(label=list(years["label"]))
picture, words = fig.cumulative(table), fig.alt_steps(table)
""",
    ),
    "leave_one_out": (
        "Without each study in turn",
        """\
left = years.drop_duplicates("study_id")
fits = [nm.pool(dc.replace(cell, rows=own[own["study_id"] != s])).table for s in left["study_id"]]
table = pd.concat(fits).rename(columns=names).assign(label=list(left["label"]))
whole = nm.pool(cell).table.rename(columns=names).assign(label="all")
picture = fig.leave_one_out(table, whole)
words = fig.alt_steps(table, what="left out")
""",
    ),
    "specification": (
        "Specification curve",
        """\
import itertools as it

taus = ["halfnormal(0.5)", "halfcauchy(0.5)"]
made = list(it.product(["normal(0,1)", "normal(0,0.5)"], taus, [0.3, 0.6, 0.9]))
fits = [nm.pool(cell, mu_prior=m, tau_prior=t, rho=r).table for m, t, r in made]
table = pd.concat(fits).rename(columns=names).assign(spec_id=[f"s{i}" for i in range(len(made))])
for i, choice in enumerate(("prior of μ", "prior of τ", "ρ")):
    table[f"choice_{choice}"] = [m[i] for m in made]
picture = fig.specification_curve(table, base="s1")  # `pools` has these
words = fig.alt_specification(table)
""",
    ),
    "bubble": (
        "A moderator: mean age",
        """\
import numpy as np

aged = evidence.select("trait_impulsivity", estimand="case_control").used
aged = aged[(aged["kind"] == "exact") & aged["mean_age"].notna()]
fit = nm.regress(aged, ["mean_age"])
grid = np.linspace(aged["mean_age"].min(), aged["mean_age"].max(), 40)
curve = pd.DataFrame([fit.estimate(mean_age=x) for x in grid]).assign(x=grid)
points, axis = aged.assign(x=aged["mean_age"]), {"moderator": "mean age (years)"}
picture = fig.bubble(points, curve, title="Trait impulsivity and age", **axis)
words = fig.alt_bubble(points, curve, **axis)
""",
    ),
    "calibration": (
        "Simulation-based calibration",
        """\
from nssi_meta.inference.calibration import ecdf_table, simulate
from nssi_meta.synthesis.scenarios import exact_scenarios

(scenario,) = [s for s in exact_scenarios() if s.name == "pool"]
table = ecdf_table(pd.DataFrame(simulate(scenario, 0, 200)))
picture = fig.calibration(table, title="200 simulated pools of exact effects")
words = fig.alt_calibration(table)
""",
    ),
    "external": (
        "Published pools beside ours",
        """\
from nssi_meta.synthesis.published import read_published

published = read_published("data/published_pools.csv")
table = nm.external_check(published, {"ours": cells}).table.query("scale == 'g'")
picture = fig.external(table, {"ours": "our pool"})
words = fig.alt_external(table, {"ours": "our pool"})
""",
    ),
    "overlap_matrix": (
        "Overlap matrix: how alike two conditions are",
        """\
from pathlib import Path

# tables of the joint model, as `nssi-meta run` leaves them
results = {p.stem: pd.read_csv(p) for p in Path("results/tables").glob("*.csv")}
table = results["correlations"]
names = {"labels": dict(zip(evidence.conditions["id"], evidence.conditions["label"]))}
picture = fig.overlap_matrix(table, **names)
words = fig.alt_overlap_matrix(table, **names)
""",
    ),
    "overlap_mechanisms": (
        "Class probabilities by mechanism",
        """\
bars = results["overlap_mechanisms"]
picture = fig.overlap_mechanisms(bars, delta=0.2)
words = fig.alt_overlap_mechanisms(bars)
""",
    ),
    "overlap_summary": (
        "Overlap in all, beside its prior",
        """\
table = results["overlap_summary"]
picture, words = fig.overlap_summary(table), fig.alt_overlap_summary(table)
""",
    ),
    "mechanism_model": (
        "The review's model with its evidence",
        """\
model, stages = results["model"], results["overlap_stages"]
picture = fig.mechanism_model(model, stages, delta=0.2)
words = fig.alt_mechanism_model(model)
""",
    ),
    "gap_map": (
        "Map of gaps",
        """\
gaps = results["gaps"]
order = list(evidence.conditions["id"])
picture, words = fig.gap_map(gaps, order=order, most=25), fig.alt_gap_map(gaps)
""",
    ),
    "predictive": (
        "Predictive checks: drawn reviews beside the observed one",
        """\
from nssi_meta.synthesis.diagnose import diagnose

chosen = {"mechanism": "pain_threshold", "condition": "nssi", "estimand": "case_control"}
one = nm.pool(evidence.select(**chosen))
found = diagnose(one)
picture = fig.predictive(found.predictive, found.drawn, title="Pain threshold in NSSI")
words = fig.alt_predictive(found.predictive)
""",
    ),
    "subset_plot": (
        "Subsets of the studies (GOSH)",
        """\
from nssi_meta.synthesis.influence import subsets

table = subsets(one)
picture = fig.subset_plot(table, title="Pain threshold in NSSI: subsets of its studies")
words = fig.alt_subset_plot(table)
""",
    ),
    "prior_posterior": (
        "Prior and posterior",
        """\
x = np.linspace(-3, 3, 201)
normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
ours = [c for c in pools.cells if c.key[0] == "pain_threshold" and c.key[2] == "case_control"]
label = dict(zip(evidence.conditions["id"], evidence.conditions["label"]))
mu = {f"μ, {label[c.key[1]]}": c.posterior.mu.pdf(x) for c in ours}
parts = [pd.DataFrame({"x": x, "posterior": y}).assign(label=n) for n, y in mu.items()]
table = pd.concat(parts).assign(prior=np.tile(normal, len(mu)), quantity=lambda t: t["label"])
picture = fig.prior_posterior(table, title="Pain threshold: what the data taught")
words = fig.alt_prior_posterior(table)
""",
    ),
}


def draw(only: list[str], folder: Path) -> dict[str, str]:
    """Run the entries in order; return the alternative text of each that was saved."""
    space: dict[str, Any] = {}
    exec(PREAMBLE, space)
    texts = {}
    for name, (title, code) in ENTRIES.items():
        exec(code, space)
        texts[name] = space[WORDS]
        if not only or name in only:
            (path,) = save(space[PICTURE], folder / name, ["png"], title=title, dpi=DPI)
            reduce(path)
    return texts


def reduce(path: Path) -> None:
    """Write a png anew with few colours."""
    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def page(texts: dict[str, str]) -> str:
    """The text of docs/gallery.md."""
    parts = [
        "# Gallery",
        "Every figure from the shipped data, with the lines that drew it. All begin with these:",
        f"```python slow\n{PREAMBLE}```",
        'To keep one: `fig.save(picture, "name", title="...", alt_text=words, table=...)` writes '
        "pdf, svg, png and the numbers as csv. Figures with a line a study or mechanism have pages "
        "of at most 24 cm as well (`forest_pages`, `overview_pages`, `overlap_pages`; "
        "`fig.save_pages` keeps them). This page is made by `tools/gallery.py`.",
    ]
    for name, (title, code) in ENTRIES.items():
        alt = texts[name].replace("[", "(").replace("]", ")")
        parts += [f"## {title}", f"![{alt}](img/gallery/{name}.png)", f"```python slow\n{code}```"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Draw, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], choices=list(ENTRIES), metavar="NAME")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    if not Path("results/tables").is_dir():
        parser.error("results/tables is missing: run `nssi-meta run` first")
    texts = draw(arguments.only, ROOT / "docs" / "img" / "gallery")
    (ROOT / "docs" / "gallery.md").write_text(page(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
