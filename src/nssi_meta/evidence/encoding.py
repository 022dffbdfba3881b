"""Bytes to text: UTF-8 or a problem that says where it breaks off and what it looks like."""

from __future__ import annotations

import codecs
import re

from nssi_meta.evidence.problems import Problem

_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


def decode(data: bytes, file: str) -> tuple[str, list[Problem]]:
    """Text of a file, with a problem where it is not UTF-8.

    A byte-order mark is accepted. After a problem the text is read in the likely encoding, so
    that the rest of the file can be checked in the same go.
    """
    wide = _utf16(data)
    if wide:
        text = data.decode(wide, errors="replace")
        return text.lstrip("\ufeff"), [_problem(file, 1, None, "the file looks like UTF-16")]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02X}"
        codec, label = _guess(data)
        what = f"byte {error.start} ({byte}) is not UTF-8; the file looks like {label}"
        return data.decode(codec, errors="replace"), [_problem(file, line, byte, what)]


def _problem(file: str, line: int, value: str | None, what: str) -> Problem:
    remedy = "in the spreadsheet program save it as 'CSV UTF-8'"
    return Problem(file, line, None, value, what, "UTF-8", remedy)


def _utf16(data: bytes) -> str | None:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:1000]
    # Latin text in UTF-16 has a zero in every other byte; a CSV file has none.
    if head.count(b"\0") * 4 < len(head) or not head:
        return None
    return "utf-16-be" if head[0] == 0 else "utf-16-le"


def _guess(data: bytes) -> tuple[str, str]:
    """Codec and its name as people know it, for bytes that are not UTF-8."""
    runs = _HIGH_RUN.findall(data)
    paired = sum(len(run) for run in runs if len(run) % 2 == 0)
    # Chinese in GB 18030 is pairs of high bytes; an accent in a Western file stands alone.
    if paired > 0.8 * sum(map(len, runs)):
        try:
            data.decode("gb18030")
        except UnicodeDecodeError:
            pass
        else:
            return "gb18030", "GB 18030 (GBK)"
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1", "Latin-1"
    return "cp1252", "Windows-1252 (Latin-1)"
