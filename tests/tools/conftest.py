"""What tests of scripts share: the scripts' folders are no packages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def script():
    """A function that imports a module of a folder, whose scripts import each other by name."""

    def imported(folder, name):
        sys.path.insert(0, str(ROOT / folder))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(ROOT / folder))

    return imported
