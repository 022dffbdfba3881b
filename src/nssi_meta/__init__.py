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
    from nssi_meta.inference.batch import fit_many
    from nssi_meta.inference.compiled import refit
    from nssi_meta.inference.frequentist import rma
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.inference.pet_peese import pet_peese
    from nssi_meta.inference.rma_mv import rma_mv
    from nssi_meta.inference.robust import robust
    from nssi_meta.inference.selmodel import selmodel
    from nssi_meta.inference.small_study import ranktest, regtest, trimfill
    from nssi_meta.models.binomial import binomial_normal
    from nssi_meta.models.binomial_tables import count_tables
    from nssi_meta.models.bounded import bounded_regression
    from nssi_meta.models.horseshoe import horseshoe
    from nssi_meta.models.location_scale import location_scale
    from nssi_meta.models.regression import regression
    from nssi_meta.models.robust import robust_regression
    from nssi_meta.models.three_level import three_level
    from nssi_meta.pipeline import run
    from nssi_meta.synthesis.bias import robma
    from nssi_meta.synthesis.counts import pool_counts
    from nssi_meta.synthesis.external import external_check
    from nssi_meta.synthesis.leave_one_out import leave_one_out
    from nssi_meta.synthesis.model_comparison import compare_fits, compare_pools
    from nssi_meta.synthesis.model_rows import model_rows
    from nssi_meta.synthesis.overlap import overlap
    from nssi_meta.synthesis.pooled import pool
    from nssi_meta.synthesis.predictive import predictive
    from nssi_meta.synthesis.prior_sensitivity import pool_sensitivity
    from nssi_meta.synthesis.profiles import fit_profiles
    from nssi_meta.synthesis.regression import regress
    from nssi_meta.synthesis.reporting import adjusted_pools
    from nssi_meta.synthesis.rho_sweep import sweep_rho
    from nssi_meta.synthesis.sensitivity import sensitivity

_HOMES = {
    "Evidence": "evidence.read",
    "EvidenceError": "evidence.problems",
    "Settings": "inference.nuts",
    "adjusted_pools": "synthesis.reporting",
    "binomial_normal": "models.binomial",
    "bounded_regression": "models.bounded",
    "compare_fits": "synthesis.model_comparison",
    "compare_pools": "synthesis.model_comparison",
    "count_tables": "models.binomial_tables",
    "coverage": "evidence.flow",
    "escalc": "evidence.escalc",
    "external_check": "synthesis.external",
    "fit_many": "inference.batch",
    "fit_profiles": "synthesis.profiles",
    "flow": "evidence.flow",
    "horseshoe": "models.horseshoe",
    "leave_one_out": "synthesis.leave_one_out",
    "location_scale": "models.location_scale",
    "model_rows": "synthesis.model_rows",
    "overlap": "synthesis.overlap",
    "pet_peese": "inference.pet_peese",
    "pool": "synthesis.pooled",
    "pool_counts": "synthesis.counts",
    "pool_sensitivity": "synthesis.prior_sensitivity",
    "predictive": "synthesis.predictive",
    "ranktest": "inference.small_study",
    "read_effects": "evidence.read",
    "read_simple": "evidence.simple",
    "refit": "inference.compiled",
    "regress": "synthesis.regression",
    "regression": "models.regression",
    "regtest": "inference.small_study",
    "rma": "inference.frequentist",
    "rma_mv": "inference.rma_mv",
    "robma": "synthesis.bias",
    "robust": "inference.robust",
    "robust_regression": "models.robust",
    "run": "pipeline",
    "selmodel": "inference.selmodel",
    "sensitivity": "synthesis.sensitivity",
    "sweep_rho": "synthesis.rho_sweep",
    "three_level": "models.three_level",
    "trimfill": "inference.small_study",
    "vcalc": "evidence.vcalc",
}

__all__ = [
    "Evidence",
    "EvidenceError",
    "Settings",
    "adjusted_pools",
    "binomial_normal",
    "bounded_regression",
    "compare_fits",
    "compare_pools",
    "count_tables",
    "coverage",
    "escalc",
    "external_check",
    "fit_many",
    "fit_profiles",
    "flow",
    "horseshoe",
    "leave_one_out",
    "location_scale",
    "model_rows",
    "overlap",
    "pet_peese",
    "pool",
    "pool_counts",
    "pool_sensitivity",
    "predictive",
    "ranktest",
    "read_effects",
    "read_simple",
    "refit",
    "regress",
    "regression",
    "regtest",
    "rma",
    "rma_mv",
    "robma",
    "robust",
    "robust_regression",
    "run",
    "selmodel",
    "sensitivity",
    "sweep_rho",
    "three_level",
    "trimfill",
    "vcalc",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
