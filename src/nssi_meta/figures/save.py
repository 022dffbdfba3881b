"""Write a figure to files: vector formats first, each complete or not there at all."""

from __future__ import annotations

import io
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from .fonts import quick_embedding

FORMATS = ("pdf", "svg", "png")
RC: Any = {  # names are literal types in some versions of matplotlib, not in others
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "none",  # text stays text: searchable, read aloud
    "svg.hashsalt": "nssi-meta",  # ids that do not change between runs
    "path.simplify": False,
    # hinting widens text by up to a tenth at screen resolutions: columns would touch
    "text.hinting": "no_hinting",
}


def save(
    fig: Figure,
    stem: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    title: str = "",
    alt_text: str = "",
    dpi: int = 300,
    table: pd.DataFrame | None = None,
) -> list[Path]:
    """Write `stem.pdf`, `stem.svg`, ... and return their paths.

    All formats are rendered before any is written, and each file is replaced in one step, so that
    a failure leaves the last good files untouched. Files carry no time stamp: the same figure
    gives the same bytes. `table`, the numbers drawn, is put beside it as `stem.csv`. `title` and
    `alt_text` become <title> and <desc> of the svg and the
    metadata of pdf and png.

    Raises
    ------
    ValueError
        A format is unknown.

    Warns
    -----
    UserWarning
        No installed font holds some characters of the figure; they are named.
    """
    _check_formats(formats)
    stem = Path(stem)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = {k: render(fig, k, title=title, alt_text=alt_text, dpi=dpi) for k in formats}
    _report(caught)
    if table is not None:
        content["csv"] = _csv(table)
    stem.parent.mkdir(parents=True, exist_ok=True)
    return [_replace(stem.parent / f"{stem.name}.{kind}", data) for kind, data in content.items()]


def save_pages(
    figures: Sequence[Figure],
    stem: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    title: str = "",
    alt_text: str | Sequence[str] = "",
    dpi: int = 300,
    table: pd.DataFrame | None = None,
) -> list[Path]:
    """Write the pages of a long figure: one pdf of all, and `stem-1.svg`, `stem-2.svg`, ....

    `alt_text` is one text for all pages, or one for each; the pdf gets them all. A single page is
    written as `save` does. Warnings and further metadata are those of `save`, and so are errors.

    Raises
    ------
    ValueError
        As `save`; or the alternative texts are not as many as the pages.
    """
    texts = [alt_text] * len(figures) if isinstance(alt_text, str) else list(alt_text)
    if len(texts) != len(figures):
        raise ValueError(f"{len(figures)} pages, but {len(texts)} alternative texts: one for each")
    if len(figures) == 1:
        return save(figures[0], stem, formats, title=title, alt_text=texts[0], dpi=dpi, table=table)
    _check_formats(formats)
    stem = Path(stem)
    content: dict[str, bytes] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for kind in formats:
            if kind == "pdf":
                words = " ".join(dict.fromkeys(texts))
                content[f"{stem.name}.pdf"] = _render_pdf(figures, title, words)
                continue
            for i, (fig, text) in enumerate(zip(figures, texts, strict=True), 1):
                part = f"{title} ({i} of {len(figures)})" if title else ""
                data = render(fig, kind, title=part, alt_text=text, dpi=dpi)
                content[f"{stem.name}-{i}.{kind}"] = data
    _report(caught)
    if table is not None:
        content[f"{stem.name}.csv"] = _csv(table)
    stem.parent.mkdir(parents=True, exist_ok=True)
    return [_replace(stem.parent / name, data) for name, data in content.items()]


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _render_pdf(figures: Sequence[Figure], title: str, alt_text: str) -> bytes:
    from matplotlib.backends.backend_pdf import PdfPages  # loads fontTools: only when needed

    buffer = io.BytesIO()
    about = _metadata("pdf", title, alt_text)
    with mpl.rc_context(RC), quick_embedding(), PdfPages(buffer, metadata=about) as pdf:
        for fig in figures:
            pdf.savefig(fig)
    return buffer.getvalue()


def _check_formats(formats: Sequence[str]) -> None:
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise ValueError(f"unknown format {', '.join(unknown)}; known: {', '.join(FORMATS)}")


def render(fig: Figure, kind: str, *, title: str, alt_text: str, dpi: int = 300) -> bytes:
    """Return the bytes of one format."""
    buffer = io.BytesIO()
    # level 3 packs flat areas with text as small as level 6 does, in half the time
    more: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if kind == "png" else {}
    with mpl.rc_context(RC), quick_embedding() if kind == "pdf" else nullcontext():
        about = _metadata(kind, title, alt_text)
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=about, **more)
    data = buffer.getvalue()
    return _describe_svg(data, title, alt_text) if kind == "svg" else data


def _metadata(kind: str, title: str, alt_text: str) -> dict[str, str | None]:
    if kind == "pdf":
        about = {"Title": title, "Subject": alt_text}
        return {**{k: v for k, v in about.items() if v}, "CreationDate": None}
    if kind == "svg":
        return {"Date": None}
    # a png chunk must be Latin-1 unless it is iTXt, which matplotlib does not write
    texts = {"Title": title, "Description": alt_text}
    return {k: v.encode("latin-1", "replace").decode("latin-1") for k, v in texts.items() if v}


def _describe_svg(data: bytes, title: str, alt_text: str) -> bytes:
    """Put <title> and <desc> where screen readers look for them."""
    text = data.decode("utf-8")
    start = re.search(r"<svg\b[^>]*>", text)
    if start is None or not (title or alt_text):
        return data
    head = start.group(0)[:-1] + ' role="img" aria-labelledby="figure-title figure-desc">'
    about = (
        f'\n <title id="figure-title">{escape(title)}</title>'
        f'\n <desc id="figure-desc">{escape(alt_text)}</desc>'
    )
    return (text[: start.start()] + head + about + text[start.end() :]).encode("utf-8")


def _report(caught: list[warnings.WarningMessage]) -> None:
    """Pass warnings on, those about missing glyphs as one sentence."""
    missing = []
    for item in caught:
        code = re.match(r"Glyph (\d+) ", str(item.message))
        if code:
            missing.append(chr(int(code.group(1))))
        else:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    if missing:
        letters = "".join(dict.fromkeys(missing))
        warnings.warn(
            f"no installed font can draw {letters!r}: they show as boxes. Install a font that "
            "holds them (for Chinese, Japanese and Korean: Noto Sans CJK)",
            UserWarning,
            stacklevel=3,
        )


def _replace(path: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path
