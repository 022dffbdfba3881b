"""What a forest plot prints beside each mark: the text columns, and the table behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd

from .blocks import read_blocks
from .records import SCALES, Block, Cell, Interval, Sort, Study, interval
from .text import count, number, probability

ASSUMED_MARK = "†"
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Printed:
    """One line of the text columns; `value`, `low` and `high` are aligned on their decimals."""

    value: str = ""
    low: str = ""
    high: str = ""
    mark: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.value, self.low, self.high, self.mark) if part)


@dataclass(frozen=True)
class Form:
    """How numbers are printed: brackets, what stands between limits, logs as ratios."""

    opening: str = "["
    between: str = ","
    closing: str = "]"
    ratio: bool = False

    def show(self, value: float) -> str:
        """Print one number; a log ratio as its ratio, with two digits where it is small."""
        if not self.ratio:
            return number(value)
        ratio = math.exp(value) if value < MOST else math.inf
        return f"{ratio:.2g}" if 1e-12 < ratio < 0.095 else number(ratio)

    def limits(self, low: float, high: float) -> tuple[str, str]:
        """Print an interval in two parts, so that each can be aligned."""
        left = f"{self.opening}{self.show(low)}{self.between}"
        return left, f"{self.show(high)}{self.closing}"


PLAIN = Form()
MOST = 700.0  # exp of more is no floating-point number


def scale_words(scale: str, *, ratio: bool) -> tuple[str, str]:
    """(symbol, name) of a scale, or of its back-transformation."""
    if ratio and scale == "log_or":
        return "OR", "odds ratio, log axis"
    return SCALES.get(scale, (scale, scale))


def form_for(form: Form, scale: str, *, ratios: bool) -> Form:
    """The form of one scale: only log odds ratios have a ratio to print."""
    return replace(form, ratio=ratios and scale == "log_or")


def print_interval(x: Interval, form: Form = PLAIN) -> Printed:
    """Print `value [low, high]`, without the interval where it is missing."""
    if not (math.isfinite(x.low) and math.isfinite(x.high)):
        return Printed(form.show(x.value))
    return Printed(form.show(x.value), *form.limits(x.low, x.high))


def print_range(x: Interval, form: Form = PLAIN) -> Printed:
    """Print `[low, high]` alone (a prediction interval has no point)."""
    if not (math.isfinite(x.low) and math.isfinite(x.high)):
        return Printed()
    return Printed("", *form.limits(x.low, x.high))


def print_study(study: Study, scale: str, form: Form = PLAIN) -> Printed:
    """Print a study row: an estimate with interval, or the bound that was reported."""
    symbol = SCALES.get(scale, (scale, scale))[0]
    if study.kind == "exact":
        return print_interval(study.observed, form)
    if study.kind == "unsigned":
        line = print_interval(study.observed, form)
        if form.ratio:  # the sign of a log ratio is the choice of the group on top
            return Printed(f"{line.value} or 1/{line.value}", line.low, line.high)
        return Printed(f"|{symbol}| = {line.value}", line.low, line.high)
    mark = ASSUMED_MARK if study.assumed else ""
    low, high = study.lower, study.upper
    if math.isfinite(low) and math.isfinite(high):
        if math.isclose(-low, high) and not form.ratio:
            return Printed(f"|{symbol}| < {form.show(high)}", mark=mark)
        return Printed("", *form.limits(low, high), mark)
    if math.isfinite(low):
        return Printed(f"> {form.show(low)}", mark=mark)
    if math.isfinite(high):
        return Printed(f"< {form.show(high)}", mark=mark)
    return Printed("not reported", mark=mark)


def state_cell(block: Block) -> str:
    """Say what stands behind a pool: rows, studies, bounds, heterogeneity, probability."""
    cell = block.cell
    if cell is None:
        return "not pooled"
    parts = []
    if cell.k:
        parts.append(f"{count(cell.k, 'row')} from {count(cell.n_studies, 'study', 'studies')}")
    if cell.n_bounds:
        assumed = f" ({cell.n_assumed} assumed)" if cell.n_assumed else ""
        parts.append(f"{count(cell.n_bounds, 'bound')}{assumed}")
    if cell.tau.known:
        parts.append(f"τ {print_interval(cell.tau)}".replace(" ", NBSP))
    share = inconsistency(cell)
    if share.known:
        low, high = (f"{100 * x:.0f}" for x in (share.low, share.high))
        parts.append(f"I² {100 * share.value:.0f}% [{low}, {high}]".replace(" ", NBSP))
    if math.isfinite(cell.p_positive):
        parts.append(f"P(μ > 0) {probability(cell.p_positive)}".replace(" ", NBSP))
    return "; ".join(caution(cell) + parts if cell.k == 0 else parts + caution(cell))


def inconsistency(cell: Cell) -> Interval:
    """I², a share between 0 and 1, if the table `pools` has i2_median, i2_low and i2_high."""
    if "i2_median" not in cell.source:
        return Interval(math.nan, math.nan, math.nan)
    return interval(cell.source, "i2_median", "i2_low", "i2_high")


def caution(cell: Cell) -> list[str]:
    """Return the words that a reader of a thin or flagged pool needs."""
    words = []
    if cell.k == 0:
        words.append("no rows: predicted from other cells" if cell.mu.known else "no rows")
    elif cell.only_bounds:
        words.append("only bounds: no study reports a size")
    elif cell.k == 1:
        words.append("a single row: the prior weighs heavily")
    # The table's own flags may say the same: once is enough.
    return list(dict.fromkeys(words + [f for f in cell.flags.split("; ") if f]))


def forest_table(
    rows: pd.DataFrame, pools: pd.DataFrame, *, sort: Sort = "year", by: str = "condition"
) -> pd.DataFrame:
    """Return every line of the forest plot as data: full labels, numbers drawn, text printed.

    Columns: gid, condition, estimand, scale, line (study, pooled or prediction), label, measure,
    n, value, low, high, shrunk_median, shrunk_low, shrunk_high, printed.
    """
    lines: list[dict[str, object]] = []
    for block in read_blocks(rows, pools, sort, by):
        head = {"condition": block.title, "estimand": block.estimand, "scale": block.scale}
        lines.extend(head | _study_line(study, block.scale) for study in block.studies)
        if block.cell is not None:
            lines.extend(head | line for line in _pool_lines(block, block.cell))
    return pd.DataFrame(lines)


def _study_line(study: Study, scale: str) -> dict[str, object]:
    bounded = study.kind == "interval"
    return {
        "gid": study.key,
        "line": "study",
        "label": study.label,
        "measure": study.measure,
        "n": study.size,
        "value": study.observed.value,
        "low": study.lower if bounded else study.observed.low,
        "high": study.upper if bounded else study.observed.high,
        "shrunk_median": study.shrunk.value,
        "shrunk_low": study.shrunk.low,
        "shrunk_high": study.shrunk.high,
        "printed": str(print_study(study, scale)),
    }


def _pool_lines(block: Block, cell: Cell) -> list[dict[str, object]]:
    pooled = {
        "gid": f"diamond:{block.key}",
        "line": "pooled",
        "label": state_cell(block),
        "value": cell.mu.value,
        "low": cell.mu.low,
        "high": cell.mu.high,
        "printed": str(print_interval(cell.mu)),
    }
    new = {
        "gid": f"pi:{block.key}",
        "line": "prediction",
        "label": "new study",
        "low": cell.pred.low,
        "high": cell.pred.high,
        "printed": str(print_range(cell.pred)),
    }
    return [pooled, new] if cell.pred.known else [pooled]
