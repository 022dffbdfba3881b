"""The page's variants: what is printed is what the tables say."""

from __future__ import annotations

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def numbers(script):
    return script("tools", "overlap_numbers")


@pytest.fixture
def found():
    rows = []
    for variant, shift, converged in (("as it is", 0.0, True), ("heavy tails", 0.3, False)):
        for other in ("Alpha", "Beta"):
            for figure, median in (("magnitude", 0.4), ("n_shared", 5.0)):
                move = shift if (other, figure) == ("Beta", "magnitude") else 0.0
                rows.append(
                    {"variant": variant, "other_label": other, "figure": figure,
                     "median": median + move, "low": median - 0.2, "high": median + 0.2,
                     "n_mechanisms": 9, "converged": converged,
                     "verdict": "uninformative" if move else "informative"}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_tables_hold_every_variant_and_say_what_failed(numbers, found):
    lines = numbers.wide(found, "magnitude").splitlines()
    assert lines[0] == "| Signed magnitude overlap | Alpha | Beta |"
    assert lines[2] == "| as it is | 0.40 [0.20, 0.60] | 0.40 [0.20, 0.60] |"
    assert lines[3] == "| heavy tails (did not converge) | 0.40 [0.20, 0.60] | 0.70 [0.20, 0.60] |"
    assert "5 [5, 5] of 9" in numbers.wide(found, "n_shared")


def test_the_largest_change_and_changed_verdicts_are_named(numbers, found):
    words = numbers.moved(found)
    assert words.startswith(
        "- *heavy tails*, largest changes: signed magnitude overlap of Beta from 0.40 to 0.70 "
        "(outside the interval of the main fit), shared mechanisms nowhere by a digit"
    )
    assert words.endswith("Verdicts that change: magnitude of Beta: uninformative.")


def test_the_mechanism_that_matters_most_is_named(numbers):
    row = {"other": "eating_disorder", "figure": "magnitude", "low": 0.1, "high": 0.5,
           "median_with_all": 0.4}  # fmt: skip
    table = pd.DataFrame(
        [row | {"label": "Grip", "median": 0.39}, row | {"label": "Reflex", "median": 0.3}]
    )
    words = numbers.left_out(table)
    assert words.startswith("- Eating disorder: without *Reflex* the magnitude overlap is 0.30")
    assert "Grip" not in words


@pytest.fixture
def by_mechanism():
    rows = []
    for variant, verdicts in (
        ("as it is", ("shared", "undecided", "neither")),
        ("heavy tails", ("undecided", "undecided", "neither")),
        ("with doubtful rows", ("shared", "shared", "neither")),
    ):
        for m, verdict in zip(("grip", "reflex", "pull"), verdicts, strict=True):
            rows.append({"variant": variant, "mechanism": m, "label": m.title(), "other": "beta",
                         "other_label": "Beta", "verdict": verdict})  # fmt: skip
    extra = rows[-1] | {"mechanism": "more", "label": "More", "verdict": "shared"}
    return pd.DataFrame([*rows, extra])


def test_verdicts_are_counted_and_changes_named(numbers, by_mechanism):
    """A mechanism that only one of the two analyses has is counted, but is no change."""
    lines = numbers.verdict_counts(by_mechanism).splitlines()
    assert lines[2] == "| as it is | 1 | 0 | 0 | 1 | 1 | 0 |  |"
    assert lines[3] == "| heavy tails | 0 | 0 | 0 | 1 | 2 | 0 | 1 |"
    assert lines[4] == "| with doubtful rows | 3 | 0 | 0 | 1 | 0 | 0 | 1 |"
    assert numbers.verdict_changes(by_mechanism).splitlines() == [
        "- *heavy tails*: shared → undecided: Grip (beta).",
        "- *with doubtful rows*: undecided → shared: Reflex (beta).",
    ]


def test_claims_that_change_are_named(numbers):
    found = pd.DataFrame(
        [{"variant": v, "claim_id": c, "statement": f"says {c}", "verdict": verdict}
         for v, c, verdict in (("as it is", "C1", "supported"), ("as it is", "C2", "open"),
                               ("heavy tails", "C1", "open"), ("heavy tails", "C2", "open"))]
    )  # fmt: skip
    assert numbers.claim_changes(found) == (
        "- *heavy tails*: 1 of 2. C1 (says C1): supported → open."
    )


def test_contrasts_name_the_mechanisms_that_matter(numbers):
    row = {"figure": "magnitude", "mechanisms": "common", "condition_label": "Alpha",
           "other_label": "Beta", "n_condition": 7, "p_more": 0.9, "lowest_p_more": 0.8,
           "highest_p_more": 0.95, "lowest_without": "grip_force",
           "highest_without": "reflex"}  # fmt: skip
    table = pd.DataFrame([row, row | {"mechanisms": "own"}])
    lines = numbers.contrasts(table, {"grip_force": "Grip force"}).splitlines()
    assert len(lines) == 3
    assert lines[2] == "| Alpha | Beta | 7 | 0.90 | 0.80, Grip force | 0.95, reflex |"
