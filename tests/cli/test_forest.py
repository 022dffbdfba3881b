"""The verb `forest`: files, options, columns."""

from __future__ import annotations

import pandas as pd
import pytest


@pytest.mark.parametrize(
    ("name", "start"), [("a.pdf", b"%PDF"), ("b.svg", b"<?xml"), ("c.v2.png", b"\x89PNG")]
)
def test_forest_writes_the_format_asked_for(review, tmp_path, name, start, call):
    done = call("forest", review, "reflex", "-o", tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert str(tmp_path / name) in done.stdout
    table = f"{name[:-4]}_data.csv"
    assert table in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {name, table}


def test_forest_accepts_an_ending_in_capitals(review, tmp_path, call):
    call("forest", review, "grip", "-o", tmp_path / "A.PDF")
    assert {p.name for p in tmp_path.iterdir()} == {"A.pdf", "A_data.csv"}


def test_forest_refuses_another_ending(review, tmp_path, call):
    text = call("forest", review, "grip", "-o", tmp_path / "a.docx", code=2).stderr
    assert ".pdf, .svg or .png" in text


def test_forest_options(review, tmp_path, call):
    for words in (["--sort", "effect"], ["--no-shrunken"], ["-c", "alpha"], ["--level", "0.8"]):
        call("forest", review, "grip", "-o", tmp_path / "a.svg", *words)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "Grip force" in text


def test_forest_shows_samples_densities_and_inconsistency(review, tmp_path, call):
    words = ("--columns", "study,sample,n", "--density", "-o", tmp_path / "a.svg")
    call("forest", review, "grip", *words)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ">Sample<" in text
    assert 'id="density:grip/alpha/case_control"' in text
    tau, share = text.find("τ\N{NO-BREAK SPACE}0."), text.find("I²\N{NO-BREAK SPACE}")
    assert 0 < tau < share  # how large the variation is comes before its share
    assert 'role="img"' in text  # with title and description
    assert "Forest plot of Grip force" in text


def test_forest_of_a_review_without_optional_columns(own_review, tmp_path, call):
    path = own_review.parent / "mechanisms.csv"
    pd.read_csv(path)[["mechanism", "label", "system"]].to_csv(path, index=False)
    call("forest", own_review, "grip", "-o", tmp_path / "a.svg")
