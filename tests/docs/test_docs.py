"""What the documents promise: commands, code, modules, links, worked examples."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

import nssi_meta
from nssi_meta.cli import cli
from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.effects import derive

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "data" / "README.md"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
ANALYSES = sorted((ROOT / "analyses").glob("*.py"))


def blocks(language):
    """(page, code) of every block whose fence says exactly this."""
    return [
        (page.relative_to(ROOT), code)
        for page in PAGES
        for kind, code in FENCE.findall(page.read_text(encoding="utf-8"))
        if kind == language
    ]


def commands():
    """Every `nssi-meta ...` of a block or of code within a line, as words."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for _, code in FENCE.findall(text) for line in code.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        for line in lines:
            match = re.match(r"\s*(?:\.venv/bin/)?nssi-meta\s+(\S.*)", line)
            if match:
                found[match[1].split("#")[0].strip()] = page.name
    return sorted(found)


def test_the_documents_show_commands():
    assert {line.split()[0] for line in commands()} >= {"run", "check", "pool", "forest", "overlap"}


@pytest.mark.parametrize("line", commands())
def test_commands_exist_with_their_options(line):
    """Parsed as the command line would, without running them; an unknown option raises."""
    verb, *words = shlex.split(line)
    if verb.startswith("-"):
        assert verb in ("--help", "--version")
        return
    assert verb in cli.commands
    command = cli.commands[verb]
    with click.Context(command, info_name=verb) as context:
        command.parse_args(context, words)


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_the_readme_names_every_verb(verb):
    assert f"nssi-meta {verb}" in README


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = {
        word
        for page in PAGES
        for word in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), flags=re.MULTILINE)
    }
    assert {"run", "test", "env", "lint"} <= named <= targets
    head = README.split("```")[1]
    assert "make run" in head
    assert "make test" in head


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the data, as a reader at the root of the repository would have it."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    shutil.copytree(ROOT / "docs" / "models", tmp_path / "docs" / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "code"), blocks("python"), ids=lambda v: str(v)[:20])
def test_python_blocks_run(page, code, workplace, capsys):
    exec(compile(code, str(page), "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "code"),
    [b for kind in ("python slow", "python sampled") for b in blocks(kind)],
    ids=lambda v: str(v)[:20],
)
def test_slow_python_blocks_compile_and_name_what_exists(page, code):
    compile(code, str(page), "exec")
    assert set(re.findall(r"\bnm\.(\w+)", code)) <= set(nssi_meta.__all__)


def test_architecture_names_every_module_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    part = text.split("## Modules\n")[1].split("\n## ")[0]
    stated = set()
    for paragraph in part.strip().split("\n\n"):
        title = re.match(r"\*\*`?(\w+)`?\.\*\*", paragraph)
        folder = "" if title[1] == "Top" else f"{title[1]}/"
        # the names before each colon; what stands behind it is explanation
        body = paragraph[title.end() :]
        for names in re.findall(r"(?:^|\.|\n)\s*((?:`\w+`(?:,\s+)?)+):", body):
            stated |= {folder + name for name in re.findall(r"`(\w+)`", names)}
    source = ROOT / "src" / "nssi_meta"
    there = {p.relative_to(source).with_suffix("").as_posix() for p in source.rglob("*.py")}
    there = {name for name in there if not name.endswith("/__init__")}
    assert stated == there


def test_architecture_has_the_floors_of_the_contract():
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split('type = "layers"')[1]
    layers = re.findall(r'^    "(.*)",$', contract.split("]")[0], flags=re.MULTILINE)
    floors = [[m.strip().removeprefix("nssi_meta.") for m in line.split(":")] for line in layers]
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", text.split("## Modules")[0], flags=re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == floors


@pytest.mark.parametrize("script", ANALYSES, ids=lambda p: p.stem)
def test_analyses_compile_and_wait_to_be_started(script):
    text = script.read_text(encoding="utf-8")
    compile(text, script.name, "exec")
    assert 'if __name__ == "__main__":' in text
    assert set(re.findall(r"\bnm\.(\w+)", text)) <= set(nssi_meta.__all__)


@pytest.mark.parametrize(
    ("name", "says", "files"),
    [
        ("01_pool", "Pain threshold", ()),
        ("03_forest", "forest_own.pdf", ("forest_pain_threshold.svg", "forest_own.pdf")),
    ],
)
def test_analyses_run(name, says, files, workplace):
    script = ROOT / "analyses" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    for file in files:
        assert (workplace / file).stat().st_size > 1000


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def examples():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    part = text.split("<!-- examples:begin -->")[1].split("<!-- examples:end -->")[0]
    table = [[c.strip() for c in line.strip("|").split("|")] for line in part.strip().splitlines()]
    return [(row[0].strip("`"), row[1], row[3], row[4]) for row in table[2:]]


@pytest.mark.parametrize(("kind", "estimand", "cells", "derived"), examples())
def test_worked_examples(kind, estimand, cells, derived):
    words = ("direction", "bound")
    columns = {c for s in vo.STATISTICS.values() for c in s.columns()}
    row = dict.fromkeys([*columns, "n_case", "n_control", "n_total"], np.nan)
    row |= {"statistic": kind, "direction": "+", "bound": ""}
    row["estimand"] = "case_control" if estimand == "any" else estimand
    for cell in cells.split():
        name, value = cell.split("=")
        row[name] = value if name in words else float(value)
    found = derive(pd.DataFrame([row])).iloc[0]
    for cell in derived.split():
        name, value = cell.split("=")
        # printed with three decimals
        assert found[name] == pytest.approx(float(value), abs=5.001e-4), name


def test_every_kind_of_statistic_has_a_worked_example():
    assert {kind for kind, *_ in examples()} == set(vo.STATISTICS)


@pytest.fixture(scope="module")
def numbers():
    path = ROOT / "tools" / "readme_numbers.py"
    spec = importlib.util.spec_from_file_location("readme_numbers", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as for a script that is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


@pytest.fixture
def results(tmp_path):
    """A small results folder: one pool, one condition to overlap with."""
    conditions = [
        {"id": "ill", "role": "index", "short": "Ill", "label": "Ill", "people": "people"},
        {"id": "well", "role": "reference", "short": "Well", "label": "Well", "people": "people"},
    ]
    facts = {"converged": True, "data": {"rows": 12, "used": 9}, "conditions": conditions}
    (tmp_path / "tables").mkdir()
    (tmp_path / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")
    cell = {"mechanism": "pain_threshold", "estimand": "case_control", "condition": "ill"}
    pool = cell | {
        "label": "Pain threshold", "k": 2, "n_studies": 5, "n_bounds": 1, "mu_median": 0.5,
        "mu_low": -0.1234, "mu_high": 1.1, "pred_low": -1.0, "pred_high": 2.0, "tau_median": 0.3,
        "p_positive": 0.999,
    }  # fmt: skip
    summary = [
        {"other": "o", "other_label": "Other", "figure": f, "median": 4.0, "low": 1.0, "high": 6.0,
         "prior_low": 0.0, "prior_high": 5.0, "n_mechanisms": 7, "share_bounds": 0.5}
        for f in ("n_shared", "jaccard", "magnitude", "correlation")
    ]  # fmt: skip
    for name, table in {"pools": [pool], "rows": [cell, cell], "overlap_summary": summary}.items():
        pd.DataFrame(table).to_csv(tmp_path / "tables" / f"{name}.csv", index=False)
    return tmp_path


def test_readme_numbers_fills_every_block_and_nothing_else(numbers, results):
    page = results / "README.md"
    page.write_text(README, encoding="utf-8")
    assert numbers.main([str(results), "--readme", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert (
        "| Pain threshold | 5 | 2 | 1 | 0.50 [−0.12, 1.10] | [−1.00, 2.00] | 0.30 | > 0.99 |"
        in text
    )
    assert "read 12 rows, used 9 of them, and pooled 2 in 1 cells" in text
    assert "4 [1, 6] (prior 0 to 5)" in text
    blank = re.compile(r"(<!-- (\w+):begin -->\n).*?(<!-- \2:end -->)", flags=re.DOTALL)
    assert blank.sub(r"\1\3", text) == blank.sub(r"\1\3", README)
    numbers.main([str(results), "--readme", str(page)])
    assert page.read_text(encoding="utf-8") == text


def test_readme_numbers_refuses(numbers, results):
    page = results / "README.md"
    page.write_text(README.replace("<!-- table:end -->", ""), encoding="utf-8")
    with pytest.raises(SystemExit, match="table:begin"):
        numbers.main([str(results), "--readme", str(page)])
    manifest = results / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace("true", "false"), encoding="utf-8")
    with pytest.raises(SystemExit, match="did not converge"):
        numbers.main([str(results), "--readme", str(page)])
    manifest.unlink()
    with pytest.raises(SystemExit, match="no finished run"):
        numbers.main([str(results), "--readme", str(page)])


def test_the_accuracy_stated_is_that_of_the_tests():
    """Its tolerances are the constants of the test modules, its counts those of the files."""
    stated = " ".join(README.split("## Tests and accuracy")[1].split("\n## ")[0].split())
    assert "agree to 1e-10 (relative)" in stated
    assert "to 1e-10 of a posterior SD" in stated
    for name, constant in (
        ("evidence/test_escalc.py", "RTOL"),
        ("evidence/test_convert.py", "RTOL"),
        ("inference/test_exact_reference.py", "TOLERANCE"),
    ):
        source = (ROOT / "tests" / name).read_text(encoding="utf-8")
        value = re.search(rf"^{constant} = (\S+)", source, flags=re.MULTILINE)
        assert float(value[1]) == 1e-10, name
    cases = pd.read_csv(ROOT / "tests" / "reference" / "escalc.csv", keep_default_na=False)
    assert f"{len(cases)} cases of {cases['measure'].nunique()} measures" in stated
