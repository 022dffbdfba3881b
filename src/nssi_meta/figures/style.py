"""Colours, sizes and fonts of every figure.

The palette is taken from Okabe and Ito (2008, "Color Universal Design"), darkened where a colour
carries text or thin lines. No meaning rests on colour alone: each role also has its own shape,
fill or dash, so that a greyscale print says the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from matplotlib import font_manager

INK = "#1c1c1c"  # text and observed estimates
QUIET = "#5a5a5a"  # secondary text: contrast 6.9 to 1 on white
RULE = "#b9b9b9"  # hairlines
BAND = "#eeeeee"  # areas behind the marks
SHRUNKEN = "#6f9fc8"
POOLED = "#1f4e79"
PREDICTION = "#d5e2ee"
BOUND = "#a04000"


@dataclass(frozen=True)
class Palette:
    """Colours of the marks of a forest plot."""

    observed: str = INK
    bound: str = BOUND
    shrunken: str = SHRUNKEN
    pooled: str = POOLED
    diamond: str = POOLED
    prediction: str = PREDICTION


PALETTE = Palette()

# One row a condition, in the order in which conditions appear: colour and marker.
CONDITION_MARKS: tuple[tuple[str, str], ...] = (
    ("#1c1c1c", "o"),
    ("#0072b2", "s"),
    ("#c25200", "D"),
    ("#00815f", "^"),
    ("#b05a8c", "v"),
    ("#7a6a00", "P"),
    ("#4b3fa0", "X"),
    ("#5a5a5a", "p"),
)

# Class of an overlap figure: fill, hatch, colour of the text on it.
CLASS_FILLS: dict[str, tuple[str, str, str]] = {
    "p_shared": ("#173f63", "", "#ffffff"),
    "p_index_only": ("#6f9fc8", "", INK),
    "p_other_only": ("#c9dcec", "", INK),
    "p_opposite": ("#e9a227", "////", INK),
    "p_neither": ("#f4f4f4", "", INK),
}

MM_PER_POINT = 25.4 / 72
MM_PER_INCH = 25.4

_BASE_FONT = "DejaVu Sans"  # ships with matplotlib: the same figure on every machine
_FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
)


@lru_cache(maxsize=8)
def font_families(first: str = _BASE_FONT) -> tuple[str, ...]:
    """Return the fonts to try, in order: `first`, DejaVu Sans, then installed fonts with CJK.

    Only installed names are returned, because matplotlib logs a warning per text for others.

    Raises
    ------
    ValueError
        `first` is not installed.
    """
    installed = set(font_manager.fontManager.get_font_names())
    if first not in installed:
        raise ValueError(
            f"the font {first!r} is not installed; leave it out to use {_BASE_FONT!r}, "
            "which comes with matplotlib"
        )
    wanted = (first, _BASE_FONT, *_FALLBACK_FONTS)
    return tuple(dict.fromkeys(name for name in wanted if name in installed))


@dataclass(frozen=True)
class Style:
    """Size of a figure: width in mm, font sizes in points, height of a line in mm."""

    width: float = 180.0
    size: float = 6.5
    row: float = 4.0
    margin: float = 3.0
    font: str = _BASE_FONT
    families: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if not 60.0 <= self.width <= 1000.0:
            raise ValueError(f"width is in millimetres, 60 to 1000; got {self.width!r}")
        if not 4.0 <= self.size <= 14.0:
            raise ValueError(f"size is in points, 4 to 14; got {self.size!r}")
        object.__setattr__(self, "families", font_families(self.font))

    @property
    def small(self) -> float:
        """Size of secondary text in points."""
        return self.size - 0.5

    @property
    def narrow(self) -> bool:
        """Whether secondary columns are left out for want of room."""
        return self.width < 120.0


DOUBLE = Style()
SINGLE = Style(width=85.0, size=6.0, row=3.8, margin=2.0)


def condition_marks(conditions: list[str]) -> dict[str, tuple[str, str]]:
    """Give each condition its colour and marker, in the order given.

    Raises
    ------
    ValueError
        More conditions than there are distinguishable marks.
    """
    if len(conditions) > len(CONDITION_MARKS):
        raise ValueError(
            f"{len(conditions)} conditions cannot be told apart in one figure; "
            f"select at most {len(CONDITION_MARKS)}"
        )
    return dict(zip(conditions, CONDITION_MARKS, strict=False))
