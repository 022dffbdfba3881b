"""Figures: forest plot, overview, overlap; each from tables alone, each with its alt text."""

from .alt import alt_forest, alt_overlap_mechanisms, alt_overlap_summary, alt_overview
from .external import external
from .forest import forest
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
    "alt_overlap_mechanisms",
    "alt_overlap_summary",
    "alt_overview",
    "external",
    "forest",
    "forest_table",
    "overlap_mechanisms",
    "overlap_summary",
    "overview",
    "save",
]
