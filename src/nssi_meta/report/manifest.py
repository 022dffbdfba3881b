"""What a run was made with: versions, data, priors, seed and diagnostics, as one JSON document."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nssi_meta.version import __version__

if TYPE_CHECKING:
    from nssi_meta.evidence.read import Evidence

PACKAGE = "nssi-meta"
PACKAGES = ("pymc", "arviz", "nutpie", "numpy", "pandas", "scipy")
NOT_INSTALLED = "not installed"


def manifest(
    *,
    data: Mapping[str, Any],
    seed: int,
    priors: Mapping[str, Any],
    thresholds: Mapping[str, Any],
    level: float,
    interval: str,
    models: Mapping[str, Any],
    sampler: Mapping[str, Any],
    converged: bool | None,
    problems: Sequence[str] = (),
    conditions: pd.DataFrame | None = None,
    title: str = "",
    command: str = "",
    bias_model: str = "",
    created: datetime | None = None,
) -> dict[str, Any]:
    """Collect the facts of a run; the result holds nothing but what JSON can hold.

    Parameters
    ----------
    data
        path, sha256, rows, used: see `data_facts`.
    thresholds
        `delta`: the smallest effect that counts as altered; more by name, for instance the
        probabilities behind the verdicts.
    level, interval
        Of every interval: for instance 0.95 and `central`.
    models
        Engine or model per part of the run, by name.
    sampler
        divergences, e_bfmi_min, draws, chains, seed, attempts; empty if nothing was sampled.
    converged
        Of the joint model and of sampled pools; None if neither was sampled or only pools were
        and nothing failed.
    conditions
        The table conditions.csv: the report takes its words from it.
    command
        What to type to repeat the run.
    bias_model
        How selective reporting was corrected for; empty: it was not, and the report says so.
    created
        Time of the run, by default now; the only entry that differs between equal runs.

    Returns
    -------
    dict
        Keys as above, and `package`, `version`, `versions`, `created` (ISO 8601, UTC).
    """
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    facts = {
        "package": PACKAGE,
        "version": version(PACKAGE),
        "versions": versions(),
        "created": moment.isoformat(timespec="seconds"),
        "data": data,
        "seed": seed,
        "priors": priors,
        "thresholds": thresholds,
        "level": level,
        "interval": interval,
        "models": models,
        "sampler": sampler,
        "converged": converged,
        "problems": list(problems),
        "conditions": [] if conditions is None else conditions.to_dict("records"),
        "title": title,
        "command": command,
        "bias_model": bias_model,
    }
    plain: dict[str, Any] = _plain(facts)
    return plain


def data_facts(evidence: Evidence) -> dict[str, Any]:
    """Path, SHA-256 of the bytes, number of rows and of used rows of an evidence table.

    A path outside the working directory is reduced to the file's name: where a file lies on one
    machine means nothing on another.
    """
    path = evidence.path
    here = Path.cwd()
    if path.is_absolute():
        path = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
    return {
        "path": path.as_posix(),
        "sha256": evidence.sha256,
        "rows": len(evidence.rows),
        "used": len(evidence.used),
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of `packages`, read from their metadata without importing them."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def version(package: str) -> str:
    """Version of an installed package, or `not installed`."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return __version__ if package == PACKAGE else NOT_INSTALLED


def to_json(facts: Mapping[str, Any]) -> str:
    """Return the JSON text: keys sorted, the same facts give the same bytes."""
    return json.dumps(_plain(facts), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def write_manifest(facts: Mapping[str, Any], path: str | Path) -> Path:
    """Write the manifest as UTF-8 JSON with LF line ends and return its path."""
    path = Path(path)
    path.write_text(to_json(facts) + "\n", encoding="utf-8", newline="\n")
    return path


def _plain(value: Any) -> Any:
    """Turn numpy and pandas values into what JSON knows; a number that is none becomes null.

    Raises
    ------
    TypeError
        A value is of a kind that would not be the same text on each run.
    """
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a manifest cannot hold {type(value).__name__}: {value!r}")
