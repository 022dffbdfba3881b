"""Layouts of the forest plot: which columns, where the numbers stand, brackets and colours.

`jama`, `bmj` and `revman` follow what those journals print and what the R package meta draws
under these names (its `forest.meta` and `settings.meta`); `minimal` is for slides and narrow pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .printed import Form
from .style import INK, PALETTE, QUIET, RULE, Palette

WIDE = ("study", "measure", "n")


@dataclass(frozen=True)
class Layout:
    """One look of a forest plot; the options of `forest` override `columns`, `shrunken`, `ratios`.

    `numbers` says on which side of the plot the estimates are printed, `rules` which hairlines
    the header has: none, one below it, or one above as well.
    """

    name: str
    columns: tuple[str, ...] = WIDE
    numbers: str = "right"
    form: Form = field(default_factory=Form)
    palette: Palette = PALETTE
    by_scale: tuple[tuple[str, str], ...] = ()
    rules: int = 1
    rule: str = RULE
    shrunken: bool = True
    ratios: bool = False
    notes: bool = True
    pooled: str = "Pooled"

    def colours(self, scale: str) -> Palette:
        """Colours on one scale: some layouts colour squares by kind of effect."""
        color = dict(self.by_scale).get(scale)
        return self.palette if color is None else replace(self.palette, observed=color)


_TO = Form("(", " to", ")")
_BMJ = "#6b58a6"
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("default"),
        Layout(
            "jama",
            columns=("study", "n"),
            numbers="left",
            form=_TO,
            palette=Palette("#12307a", "#12307a", "#7d97c9", "#000000", "#add8e6", "#ffffff"),
            rules=2,
            rule=INK,
            shrunken=False,
            ratios=True,
        ),
        Layout(
            "bmj",
            columns=("study", "n"),
            form=_TO,
            palette=Palette(_BMJ, _BMJ, "#b9b0d8", _BMJ, _BMJ, "#e6e2f1"),
            rules=2,
            rule="#a7a9ac",
            shrunken=False,
            ratios=True,
        ),
        Layout(
            "revman",
            columns=("study", "n"),
            numbers="left",
            palette=Palette("#1d7a1d", "#1d7a1d", "#8fbf8f", "#000000", "#000000", "#ffffff"),
            by_scale=(("log_or", "#1f3fbf"), ("z", "#b01818")),
            rules=1,
            rule=INK,
            shrunken=False,
            ratios=True,
            pooled="Total",
        ),
        Layout(
            "minimal",
            columns=("study",),
            palette=Palette(INK, QUIET, "#9a9a9a", INK, INK, "#e4e4e4"),
            rules=0,
            shrunken=False,
            ratios=True,
            notes=False,
        ),
    )
}


def find_layout(name: str) -> Layout:
    """Return a layout by name.

    Raises
    ------
    ValueError
        No layout has this name.
    """
    if name not in LAYOUTS:
        raise ValueError(f"no layout is called {name!r}; known: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
