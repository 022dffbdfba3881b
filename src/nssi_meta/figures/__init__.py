"""Figures: forest plot, overview, overlap; each from tables alone, each with its alt text."""

from .alt import alt_forest, alt_overlap_mechanisms, alt_overlap_summary, alt_overview
from .alt_model import alt_gap_map, alt_mechanism_model
from .forest import forest
from .gap_map import gap_map
from .mechanism_model import mechanism_model
from .overlap import overlap_mechanisms
from .overlap_summary import overlap_summary
from .overview import overview
from .printed import forest_table
from .save import save
from .style import DOUBLE, SINGLE, Style

__all__ = [
    "DOUBLE",
    "SINGLE",
    "Style",
    "alt_forest",
    "alt_gap_map",
    "alt_mechanism_model",
    "alt_overlap_mechanisms",
    "alt_overlap_summary",
    "alt_overview",
    "forest",
    "forest_table",
    "gap_map",
    "mechanism_model",
    "overlap_mechanisms",
    "overlap_summary",
    "overview",
    "save",
]
