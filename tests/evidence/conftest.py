"""A tiny review of its own words: nothing in the package may know a mechanism or a condition."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

MECHANISMS = "mechanism,label,system\nreflex_speed,Reflex speed,motor\ngrip_force,Grip,motor\n"
CONDITIONS = (
    "id,label,role\nalpha,Alpha,index\nbeta_ill,Beta,comorbid\nwell,Well people,reference\n"
    "assorted,Assorted patients,mixed\n"
)

_GROUPS = {
    "condition": "alpha",
    "comparator": "well",
    "estimand": "case_control",
    "mechanism": "reflex_speed",
    "status": "use",
    "n_case": "20",
    "n_control": "30",
}
_PEOPLE = {
    "condition": "alpha",
    "comparator": "none",
    "estimand": "association",
    "mechanism": "grip_force",
    "status": "use",
    "n_total": "80",
}

# One row of each kind of statistic; row i stands in line i + 2 of the file.
GOOD_ROWS: dict[str, dict[str, str]] = {
    "means_sd": {
        **_GROUPS, "direction": "+",
        "mean_case": "5.5", "sd_case": "2", "mean_control": "4.5", "sd_control": "2.2",
    },
    "means_se": {
        **_GROUPS, "direction": "-",
        "mean_case": "4", "se_case": ".4", "mean_control": "4.5", "se_control": "0.4",
    },
    "t": {**_GROUPS, "t": "2.5", "df": "48", "direction": "+"},
    "t_abs": {**_GROUPS, "t": "0.9", "direction": "0"},
    "F": {**_GROUPS, "f": "4.2", "direction": "-"},
    "z": {**_GROUPS, "z": "-1.5", "direction": "-", "comparator": "beta_ill"},
    "p_exact": {**_GROUPS, "p": "0.03", "direction": "+", "condition": "beta_ill"},
    "p_threshold": {**_GROUPS, "p_bound": "0.05", "direction": "-", "bound": "stated"},
    "ns": {**_GROUPS, "p_bound": "0.05", "direction": "0", "bound": "assumed"},
    "d": {
        **_GROUPS, "d": "0.5", "ci_low": "-0.1", "ci_high": "1.1", "ci_level": "0.95",
        "direction": "+",
    },
    "g": {**_GROUPS, "g": "-0.5", "direction": "-"},
    "eta2": {**_GROUPS, "eta2": "0.06", "df": "48", "direction": "0"},
    "r": {**_PEOPLE, "r": "0.25", "direction": "+"},
    "beta_se": {**_PEOPLE, "beta": "0.2", "se": "0.1", "direction": "+"},
    "or_ci": {
        **_GROUPS, "estimand": "odds", "odds_ratio": "1.6", "ci_low": "1.1", "ci_high": "2.3",
        "ci_level": "0.95", "direction": "+",
    },
    "counts": {
        **_GROUPS, "estimand": "odds", "n_case": "", "n_control": "", "direction": "-",
        "events_case": "4", "total_case": "20", "events_control": "9", "total_control": "30",
    },
    "t_paired": {
        **_PEOPLE, "estimand": "within_person", "comparator": "within", "t": "-2.2",
        "r_within": "0.5", "direction": "-",
    },
    "prepost": {
        **_PEOPLE, "estimand": "within_person", "comparator": "within", "mean_case": "3",
        "mean_control": "2.5", "sd_control": "1.1", "r_within": "0.6", "direction": "+",
    },
    "yi_vi": {**_GROUPS, "yi": "0.4", "vi": "0.09", "direction": "+"},
    "yi_sei": {**_GROUPS, "yi": "-0.4", "sei": "0.3", "direction": "-"},
}  # fmt: skip


def good_rows() -> list[dict[str, str]]:
    """Fresh copies of the good rows, with ids."""
    rows = []
    for i, (statistic, row) in enumerate(GOOD_ROWS.items()):
        ids = {"effect_id": f"e{i}", "study_id": f"s{i // 2}", "sample_id": f"s{i // 2}-cases"}
        if row["comparator"] not in ("none", "within"):
            ids["control_id"] = f"s{i // 2}-controls"
        rows.append({**ids, "statistic": statistic, **row})
    return rows


@pytest.fixture
def write_review(tmp_path: Path) -> Callable[..., Path]:
    """Writer of a review into a fresh folder; answers the path of its effects table."""

    def write(
        rows: list[dict[str, str]] | None = None,
        *,
        header: list[str] | None = None,
        text: str | bytes | None = None,
        mechanisms: str | None = MECHANISMS,
        conditions: str | None = CONDITIONS,
    ) -> Path:
        path = tmp_path / "effects.csv"
        for name, content in (("mechanisms.csv", mechanisms), ("conditions.csv", conditions)):
            if content is not None:
                (tmp_path / name).write_text(content, encoding="utf-8")
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return path
        listed = good_rows() if rows is None else rows
        columns = header or list(dict.fromkeys(c for row in [*good_rows(), *listed] for c in row))
        if any(row.get("status", "use") != "use" for row in listed):
            columns = [*dict.fromkeys([*columns, "exclude_reason"])]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(listed)
        return path

    return write


@pytest.fixture
def rows_by_kind() -> dict[str, dict[str, str]]:
    """The good rows by their kind of statistic; change one, then write `list(_.values())`."""
    return {row["statistic"]: row for row in good_rows()}
