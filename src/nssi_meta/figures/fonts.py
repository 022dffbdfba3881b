"""Cut the glyphs of a figure out of a font, quickly.

matplotlib subsets each font of each PDF with fontTools, which reads tables (substitution,
positioning, names) that the embedded font then lacks, and so takes longer than all drawing. A
PDF addresses glyphs by number. It is enough to keep the outlines that are used under their own
numbers, to blank the others, and to copy the metrics: bytes, no parsing.
Tables: https://learn.microsoft.com/typography/opentype/spec/otff.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

COPIED = ("head", "hhea", "maxp", "OS/2", "cvt ", "fpgm", "prep")
POST = struct.pack(">LLhhLLLLL", 0x30000, 0, -100, 50, 0, 0, 0, 0, 0)  # format 3: without names
COMPOSITE_MORE, WORDS, SCALE, TWO_SCALES, MATRIX = 0x20, 0x1, 0x8, 0x40, 0x80


@dataclass(frozen=True)
class Outlines:
    """The tables of a TrueType font that an embedded copy needs."""

    version: str
    copied: dict[str, bytes]
    glyf: bytes
    offsets: np.ndarray  # (glyphs + 1,) places in glyf
    metrics: np.ndarray  # (metrics, 2) advance and bearing, big endian
    bearings: np.ndarray  # (glyphs - metrics,) of glyphs that share the last advance

    def parts(self, glyph: int) -> list[int]:
        """Glyphs of which a composite glyph is made; none for a simple one."""
        start, stop = int(self.offsets[glyph]), int(self.offsets[glyph + 1])
        if stop - start < 10 or struct.unpack_from(">h", self.glyf, start)[0] >= 0:
            return []
        found, at, flags = [], start + 10, COMPOSITE_MORE
        while flags & COMPOSITE_MORE:
            flags, part = struct.unpack_from(">HH", self.glyf, at)
            found.append(part)
            at += 4 + (4 if flags & WORDS else 2)
            at += 2 if flags & SCALE else 4 if flags & TWO_SCALES else 8 if flags & MATRIX else 0
        return found


@lru_cache(maxsize=16)
def outlines(path: str, face: int = 0) -> Outlines | None:
    """Read a font file; None if it holds no TrueType outlines."""
    from fontTools.ttLib.sfnt import SFNTReader  # type: ignore[import-untyped]

    with open(path, "rb") as file:
        reader = SFNTReader(file, fontNumber=face)
        if not {"glyf", "loca", "hmtx", "head", "hhea", "maxp"} <= set(reader.keys()):
            return None
        long = struct.unpack_from(">h", reader["head"], 50)[0]
        offsets = np.frombuffer(reader["loca"], ">u4" if long else ">u2").astype(np.int64)
        n = struct.unpack_from(">H", reader["hhea"], 34)[0]
        copied = {tag: reader[tag] for tag in COPIED if tag in reader}
        head = copied["head"]
        copied["head"] = head[:50] + struct.pack(">h", 1) + head[52:]  # offsets are written long
        return Outlines(
            version=reader.sfntVersion,
            copied=copied,
            glyf=reader["glyf"],
            offsets=offsets if long else 2 * offsets,
            metrics=np.frombuffer(reader["hmtx"][: 4 * n], ">u2").reshape(n, 2),
            bearings=np.frombuffer(reader["hmtx"][4 * n :], ">u2"),
        )


def cut(font: Outlines, glyphs: Iterable[int]) -> bytes:
    """Return a font with the outlines of `glyphs` and of their parts, all numbers kept."""
    from fontTools.ttLib.sfnt import SFNTWriter

    kept, open_ = {0}, list(glyphs)
    while open_:
        glyph = open_.pop()
        if glyph not in kept:
            kept.add(glyph)
            open_ += font.parts(glyph)
    keep = np.zeros(len(font.offsets) - 1, dtype=bool)
    keep[list(kept)] = True
    lengths = np.where(keep, np.diff(font.offsets), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    glyf = b"".join(font.glyf[font.offsets[g] : font.offsets[g + 1]] for g in np.flatnonzero(keep))
    n = len(font.metrics)
    metrics = np.where(keep[:n, None], font.metrics, 0)
    metrics[-1] = font.metrics[-1]  # its advance holds for all glyphs after it
    bearings = np.where(keep[n:], font.bearings, 0)
    tables = {
        **font.copied,
        "post": POST,
        "glyf": glyf,
        "loca": offsets.astype(">u4").tobytes(),
        "hmtx": metrics.astype(">u2").tobytes() + bearings.astype(">u2").tobytes(),
    }
    file = io.BytesIO()
    writer = SFNTWriter(file, len(tables), sfntVersion=font.version)
    for tag in sorted(tables):
        writer[tag] = tables[tag]
    writer.close()
    return file.getvalue()


class _Cut:
    """What matplotlib expects of a subset: a font that saves itself, and where glyphs went."""

    def __init__(self, data: bytes, glyphs: Iterable[int]) -> None:
        self.data = data
        self.font = self
        self.glyph_index_map = {glyph: glyph for glyph in glyphs}

    def save(self, file: io.BytesIO, **options: Any) -> None:
        file.write(self.data)

    def __enter__(self) -> _Cut:
        return self

    def __exit__(self, *problem: object) -> None:
        return None


def _cutter(original: Callable[..., Any]) -> Callable[..., Any]:
    def subset(fontfile: Any, glyphs: Any) -> Any:
        numbers = list(glyphs)
        # matplotlib before 3.11 asks for characters instead: its own way stays
        if not all(isinstance(g, int) for g in numbers):
            return original(fontfile, glyphs)
        font = outlines(str(fontfile), int(getattr(fontfile, "face_index", 0)))
        return _Cut(cut(font, numbers), numbers) if font else original(fontfile, glyphs)

    return subset


@contextmanager
def quick_embedding() -> Iterator[None]:
    """Let the PDF backend embed fonts by `cut` while the block runs."""
    from matplotlib.backends import _backend_pdf_ps as backend

    original = getattr(backend, "get_glyphs_subset", None)
    if original is None:  # a matplotlib built otherwise: as correct, only slower
        yield
        return
    backend.get_glyphs_subset = _cutter(original)
    try:
        yield
    finally:
        backend.get_glyphs_subset = original
