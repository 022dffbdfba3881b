"""Lines of text that are laid out once, not once more for every format and every measurement.

matplotlib asks FreeType for each glyph of each text twice per format, first to measure the text,
then to draw it; that takes two thirds of the time of a forest plot. Words recur within a figure
and between figures. Each is laid out once, without hinting, so that it can be scaled; spaces have
no kerning. What cannot be drawn so (several lines, a rotation) is left to matplotlib.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib import _text_helpers
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

try:  # in matplotlib since 3.11; before it all is as correct, only slower
    from matplotlib.ft2font import LoadFlags, RenderMode

    LAYS_OUT = hasattr(FT2Font, "_layout") and hasattr(FT2Font, "_render_glyph")
except ImportError:  # pragma: no cover
    LAYS_OUT = False

MEASURED = 100.0  # pt at which words are laid out
PARTS = 4  # a glyph is drawn at quarters of a pixel
SHARE = {"left": 0.0, "center": 0.5, "right": 1.0}
POINTS_PER_INCH = 72.0


class Glyph(NamedTuple):
    """One glyph of a word: places and kerning in points for a font of one point."""

    ft_object: FT2Font
    char: str
    glyph_index: int
    x: float
    y: float
    prev_kern: float


class Word(NamedTuple):
    """A word, or the spaces between two: glyphs, width, and what is said of missing glyphs."""

    glyphs: tuple[Glyph, ...]
    width: float
    warnings: tuple[str, ...]


@lru_cache(maxsize=64)
def font_of(families: tuple[str, ...], size: float, bold: bool) -> FontProperties:
    """The fonts to try in their order, at a size in points."""
    return FontProperties(family=list(families), size=size, weight="bold" if bold else "normal")


@lru_cache(maxsize=65536)
def _word(word: str, families: tuple[str, ...], weight: Any) -> Word:
    prop = FontProperties(family=list(families), size=MEASURED, weight=weight)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        width = text_to_path.get_text_width_height_descent(word, prop, False)[0]
        font: Any = text_to_path._get_font(prop)  # type: ignore[attr-defined]
        items = font._layout(word, LoadFlags.NO_HINTING)
    glyphs = tuple(
        Glyph(i.ft_object, i.char, i.glyph_index, *(v / MEASURED for v in (i.x, i.y, i.prev_kern)))
        for i in items
    )
    said = dict.fromkeys(str(item.message) for item in caught)
    return Word(glyphs, float(width) / MEASURED, tuple(said))


def lay_out(text: str, prop: FontProperties) -> tuple[list[Glyph], float]:
    """Glyphs and width of a line of text in points for a font of one point.

    Warns, as matplotlib does, of glyphs that no font has.
    """
    families, weight = tuple(prop.get_family()), prop.get_weight()
    glyphs: list[Glyph] = []
    x = 0.0
    for part in re.findall(r" +|[^ ]+", text):
        word = _word(part, families, weight)
        glyphs += [
            Glyph(font, char, i, at + x, y, kern) for font, char, i, at, y, kern in word.glyphs
        ]
        x += word.width
        for message in word.warnings:
            warnings.warn(message, UserWarning, stacklevel=2)
    return glyphs, x


@contextmanager
def _at_hand(glyphs: list[Glyph], size: float) -> Iterator[None]:
    """Give the PDF backend these glyphs where it asks for the layout of a text."""
    scaled = [
        Glyph(font, char, i, size * x, size * y, size * kern)
        for font, char, i, x, y, kern in glyphs
    ]
    helpers: Any = _text_helpers
    original = helpers.layout
    helpers.layout = lambda *args, **options: iter(scaled)
    try:
        yield
    finally:
        helpers.layout = original


class Words(Text):
    """One level line of text on its baseline, never clipped."""

    def set_clip_path(self, path: Any, transform: Any = None) -> None:
        """Words lie over everything: they have no clip path."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the text as `matplotlib.text.Text` does, from the layout that is at hand."""
        if not (LAYS_OUT and self._is_plain()):
            super().draw(renderer)
            return
        text, prop = self.get_text(), self.get_fontproperties()
        if not (self.get_visible() and text):
            return
        size = prop.get_size_in_points()
        glyphs, width = lay_out(text, prop)
        x, y = map(float, self.get_transform().transform(self.get_unitless_position()))
        pixels: Any = renderer.points_to_pixels(size)
        x -= SHARE[self.get_horizontalalignment()] * width * pixels
        if renderer.flipy():
            y = renderer.get_canvas_width_height()[1] - y
        renderer.open_group("text", self.get_gid())
        gc = renderer.new_gc()
        gc.set_foreground(to_rgba(self.get_color()), isRGBA=True)
        gc.set_alpha(self.get_alpha())  # type: ignore[arg-type]
        gc.set_url(self.get_url())
        if isinstance(renderer, RendererAgg):
            _blit(renderer, gc, x, y, glyphs, size)
        else:
            with _at_hand(glyphs, size):
                renderer.draw_text(gc, x, y, text, prop, 0.0, ismath=False, mtext=self)
        gc.restore()
        renderer.close_group("text")
        self.stale = False

    def _is_plain(self) -> bool:
        return (
            self.get_rotation() == 0.0
            and self.get_verticalalignment() == "baseline"
            and not (self.get_parse_math() or self.get_usetex() or self.get_wrap())
            and not (self.get_path_effects() or self.get_bbox_patch() or self.get_clip_on())
            and self.get_fontproperties().get_style() == "normal"
            and self.get_antialiased()
            and "\n" not in self.get_text()
        )


class Bitmap(NamedTuple):
    """Grey values of a glyph, and where they stand from its origin, in pixels (y upwards)."""

    pixels: np.ndarray
    left: int
    top: int


@lru_cache(maxsize=16384)
def _bitmap(font: Any, glyph: int, size: float, dpi: float, part: int) -> Bitmap:
    """Render a glyph whose origin is `part` quarters of a pixel right of a whole one."""
    font.set_size(size, dpi)
    font._set_transform(0x10000 * np.eye(2, dtype=int), [0x40 * part // PARTS, 0])
    drawn = font._render_glyph(glyph, LoadFlags.NO_HINTING, RenderMode.NORMAL)
    return Bitmap(np.array(drawn.buffer), drawn.left, drawn.top)


def _blit(
    renderer: RendererAgg, gc: Any, x: float, y: float, glyphs: list[Glyph], size: float
) -> None:
    """Copy the glyphs of a line to the canvas, on one row of pixels; `y` runs downwards."""
    unit = size * renderer.dpi / POINTS_PER_INCH
    bottom = int(renderer.height) - round(renderer.height - y)
    put = renderer._renderer.draw_text_image
    for g in glyphs:
        whole, part = divmod(round(PARTS * (x + g.x * unit)), PARTS)
        pixels, left, top = _bitmap(g.ft_object, g.glyph_index, size, renderer.dpi, part)
        row = bottom - round(g.y * unit) - top + pixels.shape[0]
        put(pixels, whole + left, row, 0, gc)
