"""What the tests of the verbs share: calling them, in this process or in one of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nssi_meta.cli import cli

Call = Callable[..., Result]


@pytest.fixture
def call() -> Call:
    """Call the command line; anything but a clean end with exit code `code` fails."""

    def run(*words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, [str(w) for w in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture
def pooled(call: Call) -> Callable[..., list[dict[str, Any]]]:
    """Call `pool`: its rows."""
    return lambda *words: json.loads(call("pool", *words, "--format", "json").stdout)


@pytest.fixture
def finished() -> Callable[[Path, Path], None]:
    """Write the manifest of a run, that converged, of a review's three files into a folder."""

    def write(folder: Path, review: Path) -> None:
        files = [review, *(review.with_name(n) for n in ("mechanisms.csv", "conditions.csv"))]
        facts = {
            "package": "nssi-meta", "converged": True,
            "hashes": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
            "options": {"threshold": 0.2, "seed": 20220701, "level": 0.95, "rho": 0.6,
                        "doubtful": False},
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(facts))

    return write


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the module in a shell of its own."""
    return lambda *words: subprocess.run(
        [sys.executable, "-m", "nssi_meta", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def imported_by() -> Callable[..., set[str]]:
    """Modules loaded after a command, in an interpreter of its own."""

    def modules(*words: object) -> set[str]:
        code = (
            "import sys\nfrom nssi_meta.cli import cli\n"
            f"try: cli({[str(w) for w in words]!r})\nexcept SystemExit: pass\n"
            "print(); print('MODULES', *sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
        )
        return set(done.stdout.split("MODULES")[1].split())

    return modules
