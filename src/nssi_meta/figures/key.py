"""The key and the notes under a forest plot: only what occurs in it is explained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from . import marks
from .forest_draw import Look
from .forest_plan import group_by_scale, panel_limits
from .legend import Draw, Entry
from .printed import ASSUMED_MARK, inconsistency
from .records import Block, Study, as_text
from .style import BAND, Palette
from .text import percent


def forest_key(blocks: list[Block], look: Look, *, has_contrasts: bool) -> list[Entry]:
    """List the entries that a forest plot needs, the same on each of its pages."""
    studies = [study for block in blocks for study in block.studies]
    bounds = [s for s in studies if s.kind == "interval"]
    opened = [s for s in bounds if math.isinf(s.lower) != math.isinf(s.upper)]
    closed = [s for s in bounds if math.isfinite(s.lower) and math.isfinite(s.upper)]
    cells = [block.cell for block in blocks if block.cell is not None and block.cell.mu.known]
    hollow = [c for c in cells if c.only_bounds or c.k == 0]
    p, shrunken = percent(look.level), look.has_shrunken
    paint = look.layout.palette if len({b.scale for b in blocks}) > 1 else None
    draw = _Marks(paint or look.layout.colours(blocks[0].scale))
    wanted = [
        (any(s.kind == "exact" for s in studies), f"estimate, {p} CI", draw.exact),
        (any(s.kind == "unsigned" for s in studies), "size known, sign not", draw.unsigned),
        (shrunken, f"shrunken estimate, {p} CrI", draw.shrunken),
        (any(not s.assumed for s in opened), "“p < α”: beyond the bracket", draw.open(False)),
        (any(s.assumed for s in opened), "“p < α”, α assumed", draw.open(True)),
        (any(not s.assumed for s in closed), "“not significant”: between", draw.closed(False)),
        (any(s.assumed for s in closed), "“not significant”, α assumed", draw.closed(True)),
        (len(cells) > len(hollow), f"pooled effect, {p} CrI", draw.diamond(False)),
        (bool(hollow), "pooled effect without any reported estimate", draw.diamond(True)),
        (any(c.pred.known for c in cells), f"{p} prediction interval", draw.prediction),
        (has_contrasts, f"difference between pools, {p} CrI", draw.contrast),
        (bool(cells and studies), "pooled median", draw.reference),
        (look.densities, "posterior density", draw.density),
        (look.delta > 0.0, _band_words(blocks, look), _band),
        (_leaves(blocks, shrunken), "continues beyond the axis", draw.beyond),
    ]
    return [Entry(words, mark) for needed, words, mark in wanted if needed]


def _leaves(blocks: list[Block], has_shrunken: bool) -> bool:
    limits = {
        scale: panel_limits(members, [], has_shrunken)
        for scale, members in group_by_scale(blocks).items()
    }
    return any(
        value < limits[block.scale][0] or value > limits[block.scale][1]
        for block in blocks
        for value in _extent(block, has_shrunken)
        if math.isfinite(value)
    )


def _extent(block: Block, has_shrunken: bool) -> Iterable[float]:
    for study in block.studies:
        yield from _reach(study)
        if has_shrunken:
            yield from (study.shrunk.low, study.shrunk.high)
    if block.cell is not None:
        yield from (block.cell.mu.low, block.cell.mu.high)
        yield from (block.cell.pred.low, block.cell.pred.high)


def _reach(study: Study) -> tuple[float, ...]:
    low, high = study.observed.low, study.observed.high
    if study.kind == "interval":
        return study.lower, study.upper
    return (low, high, -low, -high) if study.kind == "unsigned" else (low, high)


@dataclass(frozen=True)
class _Marks:
    """The marks of a key, in the colours of the figure."""

    look: Palette

    def exact(self, ax: Axes, x: float, y: float) -> None:
        marks.observed(ax, "key", x + 3.5, x, x + 7, y, look=self.look)

    def unsigned(self, ax: Axes, x: float, y: float) -> None:
        for at in (x + 1.5, x + 5.5):
            color = self.look.observed
            marks.point(ax, at, y, gid="key", marker="s", size=3.4, color=color, hollow=True)

    def shrunken(self, ax: Axes, x: float, y: float) -> None:
        marks.shrunken(ax, "key", x + 3.5, x + 0.5, x + 6.5, y, look=self.look)

    def open(self, assumed: bool) -> Draw:
        def draw(ax: Axes, x: float, y: float) -> None:
            unit = 6.5 / marks.ARROW
            marks.bound(ax, "key", x, math.inf, y, assumed=assumed, unit=unit, look=self.look)

        return draw

    def closed(self, assumed: bool) -> Draw:
        def draw(ax: Axes, x: float, y: float) -> None:
            marks.bound(ax, "key", x, x + 6.5, y, assumed=assumed, unit=1.0, look=self.look)

        return draw

    def diamond(self, hollow: bool) -> Draw:
        def draw(ax: Axes, x: float, y: float) -> None:
            marks.diamond(ax, "key", x + 3.5, x + 0.5, x + 6.5, y, hollow=hollow, look=self.look)

        return draw

    def prediction(self, ax: Axes, x: float, y: float) -> None:
        marks.prediction(ax, "key", x, x + 7, y, look=self.look)

    def contrast(self, ax: Axes, x: float, y: float) -> None:
        marks.contrast(ax, "key", x + 3.5, x, x + 7, y, look=self.look)

    def density(self, ax: Axes, x: float, y: float) -> None:
        xs = np.linspace(x, x + 7, 30)
        height = 2.0 * np.exp(-(((xs - x - 3.5) / 1.7) ** 2))
        marks.density(ax, "key", xs, height, y + 1.0, color=self.look.pooled)

    def reference(self, ax: Axes, x: float, y: float) -> None:
        color = self.look.pooled
        marks.upright(ax, x + 3.5, y - 1.5, y + 1.5, gid="key", color=color, dash=True)

    def beyond(self, ax: Axes, x: float, y: float) -> None:
        marks.point(ax, x + 3.5, y, gid="key", marker=">", size=3.0, color=self.look.observed)


def _band_words(blocks: list[Block], look: Look) -> str:
    if look.layout.ratios and all(b.scale == "log_or" for b in blocks):
        return f"odds ratios from {math.exp(-look.delta):.2f} to {math.exp(look.delta):.2f}"
    return f"effects within ±{look.delta:g}"


def _band(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Rectangle((x + 0.5, y - 1.3), 6.0, 2.6, color=BAND, linewidth=0))


def forest_notes(
    blocks: list[Block],
    pools: pd.DataFrame,
    look: Look,
    columns: Sequence[str],
    positive_means: str,
) -> list[str]:
    """Say in words what the marks cannot: sign, intervals, bounds, weights, priors."""
    notes = [f"Positive: {positive_means.rstrip('.')}."] if positive_means else []
    kinds = sorted({as_text(x) for x in pools["interval"]} - {""}) if "interval" in pools else []
    shape = f" ({', '.join(kinds)})" if kinds else ""
    p = percent(look.level)
    subject = "pooled and shrunken values are" if look.has_shrunken else "pooled values are"
    notes.append(
        f"CI: {p} confidence interval of the estimate as reported; CrI: {p} credible "
        f"interval{shape}; {subject} posterior medians."
    )
    if "n" in columns:
        notes.append("n: cases/comparison group, or all participants.")
    if "certainty" in columns:
        notes.append("Cert.: certainty of the row; H high, M medium, L low, ? not stated.")
    known = "tau_prior" in pools and (pools["tau_prior"] == "zero").all()
    notes.append(
        "Weight: share of the row in the pooled mean."
        if "weight" in columns
        else f"All squares have one size: with {'' if known else 'τ unknown and '}bounds beside "
        "estimates, no row has a fixed weight."
    )
    studies = [study for block in blocks for study in block.studies]
    if any(s.kind == "interval" and s.assumed for s in studies):
        notes.append(f"{ASSUMED_MARK} the source prints no α; the bound assumes one.")
    if any(s.kind == "unsigned" for s in studies):
        notes.append("| |: the interval is printed for the positive sign; the plot shows both.")
    if any(b.cell is not None and inconsistency(b.cell).known for b in blocks):
        notes.append(
            "I²: share of the variation between and within studies in the variance of an estimate."
        )
    if look.layout.ratios and any(b.scale == "log_or" for b in blocks):
        notes.append(
            "Odds ratios are back-transformed from logarithms; τ is that of the logarithm."
        )
    for column, symbol in (("mu_prior", "μ"), ("tau_prior", "τ"), ("omega_prior", "ω")):
        values = sorted({as_text(x) for x in pools[column]} - {""}) if column in pools else []
        if values == ["zero"]:
            model = "Common-effect model: " if column == "tau_prior" else ""
            notes.append(f"{model}{symbol} is 0 by its prior.")
        elif len(values) == 1:
            notes.append(f"Prior of {symbol}: {values[0]}.")
    return [" ".join(notes)]
