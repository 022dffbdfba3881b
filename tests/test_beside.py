"""What the main job draws in other processes: figures that fit on paper, each with its words."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from nssi_meta.beside import draw
from nssi_meta.figures.paging import PAGE_HEIGHT

SVG = "{http://www.w3.org/2000/svg}"
MM_PER_POINT = 25.4 / 72
N = 120


def bars() -> pd.DataFrame:
    """Classes of overlap of `N` mechanisms in two conditions: more than fit on a page."""
    rng = np.random.default_rng(1)
    classes = ["p_shared", "p_opposite", "p_index_only", "p_other_only", "p_neither"]
    tables = []
    for other in ("one", "two"):
        table = pd.DataFrame(rng.dirichlet(np.ones(5), N), columns=classes)
        table = table.assign(other=other, other_label=other, verdict="undecided", k_index=1)
        table["mechanism"] = [f"m{i}" for i in range(N)]
        table["label"] = [f"Mechanism {i}" for i in range(N)]
        tables.append(table.assign(system=[f"s{i // 15}" for i in range(N)], k_other=2))
    return pd.concat(tables, ignore_index=True)


def pools() -> pd.DataFrame:
    mu = np.linspace(-1.0, 1.0, N)
    return pd.DataFrame(
        {
            "mechanism": [f"m{i}" for i in range(N)],
            "label": [f"Mechanism {i}" for i in range(N)],
            "system": [f"s{i // 15}" for i in range(N)],
            "condition": "one", "condition_label": "One", "estimand": "case_control",
            "scale": "g", "k": 3, "n_studies": 3, "n_participants": 90, "n_bounds": 0,
            "n_assumed": 0,
            "mu_median": mu, "mu_low": mu - 0.5, "mu_high": mu + 0.5,
            "pred_low": mu - 1.0, "pred_high": mu + 1.0, "tau_median": 0.2, "tau_low": 0.0,
            "tau_high": 0.5, "p_positive": 0.5, "certainty": "low", "flags": "few",
            "level": 0.95,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "table", "options"),
    [
        ("overlap_mechanisms", bars(), {"index_label": "X", "delta": 0.2}),
        ("overview", pools(), {"delta": 0.2}),
    ],
)
def test_a_figure_longer_than_a_page_goes_on_on_another(tmp_path, kind, table, options):
    draw(kind, table, options, {}, tmp_path / kind, "A title")
    pages = sorted(tmp_path.glob("*.svg"))
    assert len(pages) > 1
    assert [p.name for p in pages] == [f"{kind}-{i}.svg" for i in range(1, len(pages) + 1)]
    assert {p.name for p in tmp_path.iterdir() if p.suffix != ".svg"} == {
        f"{kind}.pdf", f"{kind}.csv", *(p.with_suffix(".png").name for p in pages)
    }  # fmt: skip
    words = []
    for page in pages:
        root = ET.fromstring(page.read_text(encoding="utf-8"))
        tall = float(root.attrib["height"].removesuffix("pt")) * MM_PER_POINT
        assert tall < PAGE_HEIGHT + 0.01  # a file gives points with six decimals
        words.append(root.findtext(f"{SVG}desc"))
    assert len(set(words)) == len(words)  # each page tells what it shows itself
    if kind == "overlap_mechanisms":
        told = [{i for i in range(N) if f"Mechanism {i} " in text} for text in words]
        assert set().union(*told) == set(range(N))
        assert sum(map(len, told)) == N
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{kind}.csv"), table, check_dtype=False)
