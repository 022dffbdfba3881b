"""Fill the README from a finished run, so that none of its numbers is typed by hand.

    .venv/bin/python tools/readme_numbers.py results             # text between the markers
    .venv/bin/python tools/readme_numbers.py results --figures   # and the pictures in docs/img

Text between `<!-- NAME:begin -->` and `<!-- NAME:end -->` is replaced; everything else is left as
it is. Run it after `make run` when the data or a model has changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from marked import put

ROOT = Path(__file__).resolve().parent.parent
#: The forest plot that the README shows.
MECHANISM, ESTIMAND = "pain_threshold", "case_control"
#: Cells of the table: those of the index condition with at least this many studies.
MIN_STUDIES = 4
WEB_DPI = 120
FIGURES = {
    "n_shared": "Shared mechanisms",
    "jaccard": "Shared of all altered (Jaccard)",
    "magnitude": "Overlap of magnitudes",
    "correlation": "Correlation of the profiles",
}


class Run:
    """Tables and manifest of a results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "manifest.json"
        if not path.is_file():
            raise SystemExit(f"{folder} holds no finished run (no {path.name}): `make run` first")
        self.manifest = json.loads(path.read_text(encoding="utf-8"))
        if not self.manifest["converged"]:
            raise SystemExit(f"the run in {folder} did not converge: it is not a result")
        roles = {c["id"]: c["role"] for c in self.manifest["conditions"]}
        self.index = next(c for c, role in roles.items() if role == "index")
        self.short = {c["id"]: c["short"] for c in self.manifest["conditions"]}

    def table(self, name: str) -> pd.DataFrame:
        """One table of the run."""
        return pd.read_csv(self.folder / "tables" / f"{name}.csv")

    def picture(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows and pool of the forest plot that the README shows."""
        out = []
        for name in ("rows", "pools"):
            t = self.table(name)
            chosen = (t["mechanism"] == MECHANISM) & (t["estimand"] == ESTIMAND)
            out.append(t[chosen & (t["condition"] == self.index)])
        return out[0], out[1]


def number(value: float) -> str:
    """Two decimals and a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float) -> str:
    """An interval as it is printed."""
    return f"[{number(low)}, {number(high)}]"


def probability(value: float) -> str:
    """Two decimals, but never 0.00 or 1.00."""
    return "> 0.99" if value > 0.995 else "< 0.01" if value < 0.005 else number(value)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table: the first `left` columns to the left, the others to the right."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def evidence(run: Run) -> str:
    """What went in, in one sentence."""
    pools, data = run.table("pools"), run.manifest["data"]
    k, bounds = int(pools["k"].sum()), int(pools["n_bounds"].sum())
    out = pools["mu_low"] * pools["mu_high"] > 0
    return (
        f"The run shown here read {data['rows']} rows, used {data['used']} of them, and pooled {k} "
        f"in {len(pools)} cells (a cell is one mechanism in one condition on one kind of effect); "
        f"the others compare two conditions and inform the joint model only. {bounds} of the {k} "
        f"({bounds / k:.0%}) are bounds. In {int(out.sum())} cells the 95% interval of the mean "
        "excludes zero."
    )


def pool_table(run: Run) -> str:
    """Pools of the index condition on the main estimand with the most studies."""
    pools = run.table("pools")
    chosen = (pools["condition"] == run.index) & (pools["estimand"] == ESTIMAND)
    pools = pools[chosen & (pools["n_studies"] >= MIN_STUDIES)]
    pools = pools.sort_values("n_studies", ascending=False, kind="stable")
    rows = [
        (
            p.label,
            f"{p.n_studies}",
            f"{p.k}",
            f"{p.n_bounds}",
            f"{number(p.mu_median)} {interval(p.mu_low, p.mu_high)}",
            interval(p.pred_low, p.pred_high),
            number(p.tau_median),
            probability(p.p_positive),
        )
        for p in pools.itertuples()
    ]
    head = (
        "Mechanism",
        "Studies",
        "Effects",
        "Bounds",
        "g [95% CrI]",
        "New study",
        "τ",
        "P(μ > 0)",
    )
    note = (
        f"{run.short[run.index]} compared with healthy controls, every mechanism with at least "
        f"{MIN_STUDIES} studies, whatever was found."
    )
    return markdown(head, rows) + "\n\n" + note


def overlap_table(run: Run) -> str:
    """Overlap figures of each other condition, beside the prior."""
    summary = run.table("overlap_summary")
    rows = []
    for label, part in summary.groupby("other_label", sort=False):
        by = part.set_index("figure")
        cells = [str(label), f"{by['n_mechanisms'].iloc[0]}", f"{by['share_bounds'].iloc[0]:.0%}"]
        for name in FIGURES:
            f = by.loc[name]
            if name == "n_shared":
                text = f"{f['median']:.0f} [{f['low']:.0f}, {f['high']:.0f}]"
                before = f"{f['prior_low']:.0f} to {f['prior_high']:.0f}"
            else:
                text = f"{number(f['median'])} {interval(f['low'], f['high'])}"
                before = f"{number(f['prior_low'])} to {number(f['prior_high'])}"
            cells.append(f"{text} (prior {before})")
        rows.append(cells)
    return markdown(("With", "Mechanisms", "Bounds", *FIGURES.values()), rows)


def forest(run: Run) -> str:
    """The forest plot with its alternative text."""
    rows, pools = run.picture()
    p = pools.iloc[0]
    alt = (
        f"Forest plot of {str(p['label']).lower()} in {run.short[run.index]}: {p['k']} effects "
        f"from {p['n_studies']} studies, {p['n_bounds']} of them bounds drawn as arrows; pooled "
        f"effect {number(p['mu_median'])}, 95% credible interval "
        f"{interval(p['mu_low'], p['mu_high'])}; "
        f"prediction for a new study {interval(p['pred_low'], p['pred_high'])}."
    )
    assert len(rows) == p["k"]
    return f"![{alt}](docs/img/forest_{MECHANISM}.png)"


def accuracy(run: Run) -> str:
    """How many reference numbers the tests compare with (tests/reference)."""
    reference = ROOT / "tests" / "reference"
    effects = pd.read_csv(reference / "escalc.csv", keep_default_na=False)
    conversions = json.loads((reference / "conversions.json").read_text(encoding="utf-8"))
    pools = json.loads((reference / "bayesmeta_exact.json").read_text(encoding="utf-8"))["sets"]
    n_pools = sum(len(s["results"]) for s in pools.values())
    rows = [
        (
            "effect sizes",
            f"metafor's `escalc`: {len(effects)} cases of {effects['measure'].nunique()} measures",
        ),
        ("conversions", f"metafor (and RoBMA): {len(conversions)} cases"),
        (
            "pools of exact effects",
            f"quadrature of bayesmeta's model: {n_pools} combinations of data set and priors "
            f"({len(pools)} data sets)",
        ),
    ]
    return "\n".join(f"- **{what}**: {text}" for what, text in rows)


BLOCKS: dict[str, Callable[[Run], str]] = {
    "evidence": evidence,
    "table": pool_table,
    "forest": forest,
    "overlap": overlap_table,
    "accuracy": accuracy,
}


def fill(text: str, run: Run) -> str:
    """The text with every block replaced; a block without its two markers is an error."""
    for name, make in BLOCKS.items():
        text = put(text, name, make(run))
    return text


def draw(run: Run, folder: Path) -> None:
    """The pictures of README and docs, at a resolution for screens."""
    from nssi_meta import figures as fig

    level = run.manifest["level"]
    rows, pools = run.picture()
    words = pd.read_csv(ROOT / "data" / "mechanisms.csv").set_index("mechanism")["positive_means"]
    delta, short = run.manifest["thresholds"]["delta"], run.short[run.index]
    label = str(pools["label"].iloc[0])
    picture = fig.forest(rows, pools, title=label, positive_means=words[MECHANISM], level=level)
    made = {
        f"forest_{MECHANISM}": picture,
        "overview": fig.overview_pages(run.table("pools"), delta=delta, estimand=ESTIMAND)[0],
        "overlap_summary": fig.overlap_summary(
            run.table("overlap_summary"), index_label=short, level=level
        ),
    }
    for name, figure in made.items():
        fig.save(figure, folder / name, ("png",), title=name, dpi=WEB_DPI)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("results", type=Path, help="folder of a finished run")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--figures", action="store_true", help="draw docs/img again as well")
    given = parser.parse_args(arguments)
    run = Run(given.results)
    text = given.readme.read_text(encoding="utf-8")
    given.readme.write_text(fill(text, run), encoding="utf-8")
    if given.figures:
        draw(run, given.readme.parent / "docs" / "img")
    return 0


if __name__ == "__main__":
    sys.exit(main())
