"""A small made-up review with known truth: 4 mechanisms x 3 conditions, in words of its own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MECHANISMS = """mechanism,label,system,positive_means
reflex,Reflex speed,motor,faster reflexes in cases
grip,Grip force,motor,stronger grip in cases
tremor,Tremor,motor,more tremor in cases
appetite,Appetite,drive,more appetite in cases
"""
CONDITIONS = """id,label,short,people,role
alpha,Alpha disorder,Alpha,people with alpha,index
beta,Beta disorder,Beta,people with beta,comorbid
gamma,Gamma disorder,Gamma,people with gamma,comorbid
well,Well people,Well,well people,reference
assorted,Assorted patients,Assorted,assorted patients,mixed
"""
NAMES = ("reflex", "grip", "tremor", "appetite")
ARMS = ("alpha", "beta", "gamma")
#: True means (mechanism, condition); between-study SD 0.1. The last cell is never studied.
TRUTH = np.array([[0.8, 0.7, -0.6], [-0.7, -0.6, 0.5], [0.6, 0.7, 0.0], [0.0, 0.1, 0.8]])
TAU, N_GROUP, N_STUDIES = 0.1, 60, 4
UNSTUDIED = ("appetite", "gamma")


def _row(study: str, mechanism: str, condition: str, comparator: str, **cells: Any) -> dict:
    return {
        "study_id": study, "sample_id": f"{study}-cases", "control_id": f"{study}-controls",
        "condition": condition, "comparator": comparator, "estimand": "case_control",
        "mechanism": mechanism, "measure": "task", "n_case": N_GROUP, "n_control": N_GROUP,
        "status": "use", "authors": f"{study.title()} A; Other B", "year": 2001,
    } | cells  # fmt: skip


def review_rows() -> list[dict[str, Any]]:
    """The rows: four exact studies a cell, and one of each special case (see their ids)."""
    rng = np.random.default_rng(20)
    rows = []
    for m, name in enumerate(NAMES):
        for c, arm in enumerate(ARMS):
            if (name, arm) == UNSTUDIED:
                continue
            for s in range(N_STUDIES):
                sd = np.hypot(TAU, np.sqrt(2 / N_GROUP))
                g = round(TRUTH[m, c] + sd * rng.standard_normal(), 4)
                sign = "+" if g > 0 else "-"
                study = f"{name}{arm}{s}"
                rows.append(_row(study, name, arm, "well", statistic="g", g=g, direction=sign))
    bound = {"statistic": "p_threshold", "p_bound": 0.05, "direction": "+", "bound": "stated"}
    silent = {"statistic": "ns", "p_bound": 0.05, "direction": "0", "bound": "assumed"}
    plain = {"statistic": "g", "g": 0.1, "direction": "+"}
    rows += [
        _row("onebound", "reflex", "alpha", "well", **bound),
        # one study, two bounds on one contrast, the same people
        _row("twobounds", "reflex", "alpha", "well", **bound),
        _row("twobounds", "reflex", "alpha", "well", **silent, measure="other task"),
        # patients compared with patients
        _row("contrast", "reflex", "alpha", "beta", **plain),
        _row("contrast2", "grip", "alpha", "beta", statistic="g", g=-0.1, direction="-"),
        _row("mixed", "reflex", "alpha", "assorted", **plain),
        _row("maybe", "tremor", "beta", "well", **plain,
             status="doubtful", exclude_reason="numbers read off a figure"),
        _row("twice", "tremor", "beta", "well", **plain,
             status="duplicate", exclude_reason="same as tremorbeta0"),
        _row("people", "tremor", "alpha", "none", statistic="r", r=0.3, direction="+",
             estimand="association", n_case="", n_control="", n_total=80, control_id=""),
    ]  # fmt: skip
    return [{"effect_id": f"e{i:03d}"} | row for i, row in enumerate(rows)]


def write_review(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write effects.csv and its two vocabularies; return the path of the effects."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = review_rows() if rows is None else rows
    columns = list(dict.fromkeys(c for row in [*review_rows(), *rows] for c in row))
    with (folder / "effects.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "mechanisms.csv").write_text(MECHANISMS, encoding="utf-8")
    (folder / "conditions.csv").write_text(CONDITIONS, encoding="utf-8")
    return folder / "effects.csv"


@pytest.fixture(scope="session")
def review(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """effects.csv of the made-up review; read it, do not change it."""
    return write_review(tmp_path_factory.mktemp("review"))


@pytest.fixture
def own_review(review: Path, tmp_path: Path) -> Path:
    """A copy of the review that a test may change."""
    shutil.copytree(review.parent, tmp_path / "data")
    return tmp_path / "data" / review.name


@pytest.fixture
def write_rows(tmp_path: Path) -> Any:
    """Writer of a review with rows of the test's own."""
    return lambda rows: write_review(tmp_path / "data", rows)


@pytest.fixture(scope="session")
def truth() -> Any:
    """True mean of (mechanism, condition)."""
    return lambda m, c: float(TRUTH[NAMES.index(m), ARMS.index(c)])


@pytest.fixture(scope="session")
def joint(review: Path) -> Any:
    """The joint model fitted to the review: sampled once for all tests.

    Its problems are emptied: a single divergent transition of this short run must not decide
    what the tests of tables and folders see. How well it mixed is tested by itself.
    """
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.synthesis.profiles import fit_profiles

    settings = Settings(draws=1000, tune=1000, chains=2, target_accept=0.98)
    profiles = fit_profiles(read_effects(review), seed=3, settings=settings)
    return replace(profiles, fit=replace(profiles.fit, problems=()))


@pytest.fixture
def in_process() -> Iterator[None]:
    """Jobs run in this process, where they can be replaced."""
    import joblib

    with joblib.parallel_config(backend="sequential"):
        yield


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch, in_process: None) -> None:
    """A run draws nothing."""
    from nssi_meta import beside

    monkeypatch.setattr(beside, "draw_forest", lambda *a: None)
    monkeypatch.setattr(beside, "draw", lambda *a: None)


@pytest.fixture
def sampled_before(monkeypatch: pytest.MonkeyPatch, joint: Any) -> list[dict[str, Any]]:
    """The joint model as fitted once for all tests; keeps the options it was asked with."""
    asked: list[dict[str, Any]] = []

    def fit_profiles(evidence: Any, **options: Any) -> Any:
        asked.append(options)
        return replace(joint, level=options["level"])

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", fit_profiles)
    return asked
