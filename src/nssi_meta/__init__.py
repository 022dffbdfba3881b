"""Bayesian meta-analysis of a review's evidence base.

The names below are the whole public face; each is imported when first used, so that
``import nssi_meta`` costs nothing and PyMC is loaded only when a model is sampled.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nssi_meta.version import __version__ as __version__

if TYPE_CHECKING:
    from nssi_meta.evidence.escalc import escalc
    from nssi_meta.evidence.flow import coverage, flow
    from nssi_meta.evidence.problems import EvidenceError
    from nssi_meta.evidence.read import Evidence, read_effects
    from nssi_meta.evidence.simple import read_simple
    from nssi_meta.evidence.vcalc import vcalc
    from nssi_meta.pipeline import run
    from nssi_meta.synthesis.overlap import overlap
    from nssi_meta.synthesis.pooled import pool
    from nssi_meta.synthesis.profiles import fit_profiles

_HOMES = {
    "Evidence": "evidence.read",
    "EvidenceError": "evidence.problems",
    "coverage": "evidence.flow",
    "escalc": "evidence.escalc",
    "fit_profiles": "synthesis.profiles",
    "flow": "evidence.flow",
    "overlap": "synthesis.overlap",
    "pool": "synthesis.pooled",
    "read_effects": "evidence.read",
    "read_simple": "evidence.simple",
    "run": "pipeline",
    "vcalc": "evidence.vcalc",
}

__all__ = [
    "Evidence",
    "EvidenceError",
    "coverage",
    "escalc",
    "fit_profiles",
    "flow",
    "overlap",
    "pool",
    "read_effects",
    "read_simple",
    "run",
    "vcalc",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
