"""Draw a forest plot in every format, then one from a table of ready-made effects.

    .venv/bin/python analyses/03_forest.py

Writes forest_pain_threshold.pdf, .svg and .png, and forest_own.pdf, into the current folder.
"""

import tempfile
from pathlib import Path

import nssi_meta as nm

DATA = "data/effects.csv"
OWN = """study,yi,sei
First 2011,0.42,0.18
Second 2015,0.55,0.21
Third 2019,-0.05,0.16
Fourth 2022,0.31,0.12
"""


def main() -> None:
    evidence = nm.read_effects(DATA)
    cell = evidence.select(mechanism="pain_threshold", condition="nssi", estimand="case_control")
    pool = nm.pool(cell)
    for ending in ("pdf", "svg", "png"):
        pool.forest(f"forest_pain_threshold.{ending}", title="Pain threshold", sort="effect")
        print(f"Written: forest_pain_threshold.{ending}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.csv"
        path.write_text(OWN, encoding="utf-8")
        own = nm.pool(nm.read_simple(path, "yi", sei="sei", study="study"))
    own.forest("forest_own.pdf", title="Four studies of our own")
    print("Written: forest_own.pdf")


if __name__ == "__main__":
    main()
