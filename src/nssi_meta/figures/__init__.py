"""Figures for journals, each from tables alone, each with its alternative text."""

from .alt import alt_forest, alt_overlap_mechanisms, alt_overlap_summary, alt_overview
from .alt_model import alt_gap_map, alt_mechanism_model
from .bubble import alt_bubble, bubble
from .calibration import alt_calibration, calibration
from .contrasts import CONTRAST_COLUMNS
from .evidence_map import alt_evidence_map, evidence_map
from .external import alt_external, external
from .forest import forest, forest_pages
from .funnel import alt_funnel, funnel
from .gap_map import gap_map
from .layouts import LAYOUTS
from .mechanism_model import mechanism_model
from .orchard import alt_orchard, orchard
from .overlap import overlap_mechanisms, overlap_pages, overlap_parts
from .overlap_matrix import alt_overlap_matrix, overlap_matrix
from .overlap_summary import overlap_summary
from .overview import overview, overview_pages, overview_parts
from .predictive import alt_predictive, predictive
from .printed import forest_table
from .prior_posterior import alt_prior_posterior, prior_posterior
from .profile_scatter import alt_profile_scatter, profile_scatter
from .save import save, save_pages
from .specification import alt_specification, specification_curve
from .steps import alt_steps, cumulative, leave_one_out
from .style import DOUBLE, SINGLE, Style
from .subsets import alt_subset_plot, subset_plot

__all__ = [
    "CONTRAST_COLUMNS",
    "DOUBLE",
    "LAYOUTS",
    "SINGLE",
    "Style",
    "alt_bubble",
    "alt_calibration",
    "alt_evidence_map",
    "alt_external",
    "alt_forest",
    "alt_funnel",
    "alt_orchard",
    "alt_gap_map",
    "alt_mechanism_model",
    "alt_overlap_matrix",
    "alt_overlap_mechanisms",
    "alt_overlap_summary",
    "alt_overview",
    "alt_predictive",
    "alt_prior_posterior",
    "alt_profile_scatter",
    "alt_specification",
    "alt_steps",
    "alt_subset_plot",
    "bubble",
    "calibration",
    "cumulative",
    "evidence_map",
    "external",
    "forest",
    "forest_pages",
    "forest_table",
    "funnel",
    "leave_one_out",
    "orchard",
    "gap_map",
    "mechanism_model",
    "overlap_matrix",
    "overlap_mechanisms",
    "overlap_pages",
    "overlap_parts",
    "overlap_summary",
    "overview",
    "overview_pages",
    "overview_parts",
    "predictive",
    "prior_posterior",
    "profile_scatter",
    "save",
    "save_pages",
    "specification_curve",
    "subset_plot",
]
