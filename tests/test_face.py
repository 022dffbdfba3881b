"""The public names: short, lazy, and costing nothing until used."""

from __future__ import annotations

import re
import subprocess
import sys

import pandas as pd
import pytest

import nssi_meta


def fresh(code: str) -> str:
    """Output of code in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_importing_costs_nothing():
    heavy = ("numpy", "pandas", "scipy", "pymc", "arviz", "matplotlib", "click", "rich")
    assert fresh(f"import nssi_meta, sys; print([m for m in {heavy} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("name", nssi_meta.__all__)
def test_every_public_name_is_there_and_told(name):
    thing = getattr(nssi_meta, name)
    assert thing.__name__ == name
    assert thing.__doc__
    assert name in dir(nssi_meta)


def test_every_home_is_public():
    assert set(nssi_meta._HOMES) == set(nssi_meta.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pol'"):
        nssi_meta.pol  # noqa: B018


def test_version_is_that_of_the_project():
    import tomllib
    from pathlib import Path

    project = tomllib.loads(
        (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    )["project"]
    if "version" in project:
        assert project["version"] == nssi_meta.__version__
    else:
        assert "version" in project["dynamic"]


def test_the_short_example(review, tmp_path):
    evidence = nssi_meta.read_effects(review)
    assert evidence.problems == ()
    pool = nssi_meta.pool(evidence.select(mechanism="grip", condition="gamma"))
    assert pool.summary()["k"].tolist() == [4]
    pool.forest(tmp_path / "grip.pdf")
    assert (tmp_path / "grip.pdf").read_bytes().startswith(b"%PDF")


def test_pooling_imports_neither_pymc_nor_arviz(review):
    code = (
        "import sys, nssi_meta as nm\n"
        f"nm.pool(nm.read_effects({str(review)!r}).select(mechanism='grip')).rows\n"
        "print([m for m in ('pymc', 'pytensor', 'arviz', 'nutpie', 'matplotlib')"
        " if m in sys.modules])"
    )
    assert fresh(code) == "[]"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: nssi_meta.read_effects(x), "read_simple"),
        (lambda x: nssi_meta.flow(x), "read_effects"),
        (lambda x: nssi_meta.coverage(x), "read_effects"),
        (lambda x: nssi_meta.sensitivity(x), "read_effects"),
        (lambda x: nssi_meta.fit_profiles(x), "read_effects"),
        (lambda x: nssi_meta.overlap(x), "fit_profiles"),
        (lambda x: nssi_meta.compare_pools([x, x]), "by name"),
        (lambda x: nssi_meta.compare_fits([x, x]), "by name"),
        (lambda x: nssi_meta.external_check(x, [x]), "by name"),
        (lambda x: nssi_meta.regress(x, "year"), "['year']"),
        (lambda x: nssi_meta.model_rows(x, "year", vi="vi"), "['year']"),
    ],
)
def test_an_argument_of_another_kind_is_refused_with_the_right_one(call, said):
    frame = pd.DataFrame({"yi": [0.1, 0.2, 0.4], "vi": [0.04] * 3, "year": [1, 2, 4]})
    with pytest.raises(TypeError, match=re.escape(said)):
        call(frame)
