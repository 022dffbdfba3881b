"""Each layout, and figures with marks of their own, look as when somebody last looked at them.

Baselines are small grey pictures in `baseline/`. Pictures are compared tile by tile after
blurring, so that another version of FreeType, which moves edges by a fraction of a pixel, passes,
and a mark that has moved or gone does not. After a change that is meant, look at the pictures that
a failure leaves in pytest's folder, and write them anew with

    NSSI_META_WRITE_BASELINE=1 python -m pytest tests/figures/test_images.py
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from nssi_meta import figures
from nssi_meta.figures import LAYOUTS, forest
from nssi_meta.figures.save import render

BASELINE = Path(__file__).parent / "baseline"
DPI = 60
TILE = 24  # pixels: 10 mm
#: Root mean square of a tile's differences in grey levels of 255. Measured on these figures: text
#: drawn with hinting instead of without 23 to 25, a diamond moved by 0.1 (1 mm) 31, another label
#: 22. Versions of FreeType differ by less than hinting does, because figures are drawn without it.
TOLERANCE = 20.0


def picture(rows, pools, layout):
    """The figure in grey, small."""
    return grey(forest(rows, pools, layout=layout, delta=0.2, favours=("lower", "higher")))


def grey(fig):
    data = render(fig, "png", title="", alt_text="", dpi=DPI)
    return Image.open(io.BytesIO(data)).convert("L")


def distance(one, other):
    """Largest root mean square over tiles; infinite for pictures of different size."""
    if abs(one.width - other.width) > 1 or abs(one.height - other.height) > 1:
        return np.inf
    box = (0, 0, min(one.width, other.width), min(one.height, other.height))
    a, b = (
        np.asarray(im.crop(box).filter(ImageFilter.GaussianBlur(1.0)), dtype=float)
        for im in (one, other)
    )
    square = (a - b) ** 2
    rows = np.arange(0, square.shape[0], TILE)
    columns = np.arange(0, square.shape[1], TILE)
    sums = np.add.reduceat(np.add.reduceat(square, rows, axis=0), columns, axis=1)
    return float(np.sqrt(sums.max() / TILE**2))


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_layout_looks_as_it_did(layout, many_rows, tmp_path):
    drawn = picture(*many_rows(12), layout)
    compare(drawn, f"forest_{layout}.png", tmp_path)


def compare(drawn, name, tmp_path):
    path = BASELINE / name
    if os.environ.get("NSSI_META_WRITE_BASELINE"):
        BASELINE.mkdir(exist_ok=True)
        drawn.save(path, optimize=True)
    drawn.save(tmp_path / name)
    assert distance(drawn, Image.open(path)) < TOLERANCE


FAMILY = {
    "external": lambda m: figures.external(m.make_external(), {"naive": "a", "adjusted": "b"}),
    "gap_map": lambda m: figures.gap_map(m.gap_rows()),
    "mechanism_model": lambda m: figures.mechanism_model(m.model_rows(), m.stage_rows()),
    "orchard": lambda m: figures.orchard(
        m.make_effects().assign(group=lambda t: t["group"].str.slice(0, 3)),
        m.make_groups().assign(group=["nss", "dep", "eat"], label=["NSSI", "Low mood", "Eating"]),
    ),
    "overlap_matrix": lambda m: figures.overlap_matrix(m.make_correlations()),
    "specification": lambda m: figures.specification_curve(m.make_specifications(), base="s4"),
}


@pytest.mark.parametrize("name", list(FAMILY))
def test_figure_looks_as_it_did(name, made, tmp_path):
    compare(grey(FAMILY[name](made)), f"{name}.png", tmp_path)


def test_a_moved_mark_is_noticed(many_rows):
    rows, pools = many_rows(12)
    before = picture(rows, pools, "default")
    moved = pools.copy()
    moved.loc[0, ["mu_median", "mu_low", "mu_high"]] += 0.1
    assert distance(before, picture(rows, moved, "default")) > TOLERANCE
    longer = pd.concat([rows, rows.iloc[:1].assign(effect_id="new")])
    assert distance(before, picture(longer, pools, "default")) > TOLERANCE
