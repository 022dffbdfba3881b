"""Finished parts of a long computation as files, so that a run that was stopped goes on.

A part's file is named by the hash of all that its numbers depend on: another version, other rows or
other options never find it. It is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from nssi_meta.version import __version__


def name_of(rows: pd.DataFrame, options: Any) -> str:
    """Hash of the rows, the options (what json can write) and the package's version."""
    digest = hashlib.sha256(__version__.encode())
    digest.update(rows.to_csv(index=False).encode())
    digest.update(json.dumps(options, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


def read_part(folder: Path, name: str) -> Any | None:
    """The content of a finished part, None where it is missing or no json."""
    try:
        return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_part(folder: Path, name: str, content: Any) -> None:
    """Write a part beside its place and move it there when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{name}.{os.getpid()}.part"
    half.write_text(json.dumps(content), encoding="utf-8")
    half.replace(folder / f"{name}.json")
