"""Figures inside the page: SVG text made safe to stand beside other SVG in one HTML document."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

_REFERENCE = re.compile(r"url\(\s*(['\"]?)#([^)'\"]+)\1\s*\)")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
# RDF metadata repeats title and date; scripts and foreign HTML have no place in a figure.
_DROPPED = {"metadata", "script", "foreignObject"}
_ID_LISTS = {"aria-labelledby", "aria-describedby"}


def inline(svg: str, prefix: str, label: str) -> str:
    """Return SVG text to be put into HTML as it stands.

    Every id, and every reference to one, gets `prefix`; style rules, which would hold for the
    whole page, are confined to the figure; namespaces, metadata and scripts are taken out. A
    figure without a <title> gets `label` as its accessible name.

    Raises
    ------
    ValueError
        The text is not an SVG document.
    """
    try:
        root = ET.fromstring(svg.encode("utf-8"))
    except ET.ParseError as error:
        raise ValueError(f"the figure {label!r} is not well-formed SVG: {error}") from error
    if _local(root.tag) != "svg":
        raise ValueError(f"the figure {label!r} is not SVG but <{_local(root.tag)}>")
    _clean(root, prefix)
    root.set("id", f"{prefix}svg")
    root.set("role", "img")
    if root.find("title") is None or "aria-labelledby" not in root.attrib:
        root.attrib.pop("aria-labelledby", None)
        root.set("aria-label", label)
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _clean(node: ET.Element, prefix: str) -> None:
    node.tag = _local(node.tag)
    node.attrib = {
        name: _refer(name, value, prefix)
        for key, value in node.attrib.items()
        if not (name := _local(key)).lower().startswith("on") and _harmless(name, value)
    }
    if node.tag == "style":
        node.text = _confine(node.text or "", f"#{prefix}svg")
    for child in list(node):
        if _local(child.tag) in _DROPPED:  # the parser has dropped comments
            node.remove(child)
        else:
            _clean(child, prefix)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _harmless(name: str, value: str) -> bool:
    """Keep links that stay inside the figure or are pictures; a page that works offline."""
    return name != "href" or value.startswith(("#", "data:image/"))


def _refer(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if name in _ID_LISTS:
        return " ".join(prefix + part for part in value.split())
    return _REFERENCE.sub(rf"url(#{prefix}\2)", value)


def _confine(css: str, root: str) -> str:
    rules = []
    for selectors, body in _RULE.findall(css):
        if "@" in selectors or "</" in body:
            continue  # fonts or media rules cannot be confined by a selector
        scoped = ", ".join(f"{root} {s.strip()}" for s in selectors.split(","))
        rules.append(f"{scoped}{{{body.strip()}}}")
    return " ".join(rules)
