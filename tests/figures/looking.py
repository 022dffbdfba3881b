"""What stands in a drawn figure: its named artists, and texts that touch something."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from nssi_meta.figures.save import RC

SLACK = 1.0  # one pixel of 300 in an inch: anti-aliasing


def gather(fig: Figure) -> dict[str, Artist]:
    """Every artist that carries a gid. Names are unique (ids of the svg)."""
    found: dict[str, Artist] = {}
    for artist in fig.findobj(lambda a: a.get_gid() is not None):
        gid = artist.get_gid()
        assert gid not in found, f"two artists are called {gid}"
        found[gid] = artist
    return found


def read_xs(artist: Artist) -> list[float]:
    """Horizontal data coordinates of a line or polygon."""
    if isinstance(artist, Line2D):
        return [float(x) for x in artist.get_xdata()]
    assert isinstance(artist, Patch)
    box = artist.get_path().vertices
    return [float(x) for x in artist.get_patch_transform().transform(box)[:, 0]]


def visible_texts(fig: Figure) -> list[tuple[str, Bbox]]:
    """(text, box in pixels) of all texts of a figure, drawn first so that ticks exist."""
    with mpl.rc_context(RC):  # as `save` draws it
        return _visible_texts(fig)


def _visible_texts(fig: Figure) -> list[tuple[str, Bbox]]:
    fig.draw_without_rendering()
    renderer = fig.canvas.get_renderer()
    texts = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip()]
    # a tick label lives in two parents: keep one of each; hidden tick labels have no axes position
    shown = {id(t): t for t in texts if t.get_alpha() != 0}
    return [(t.get_text(), t.get_window_extent(renderer)) for t in shown.values()]


def touching(boxes: np.ndarray, box: np.ndarray) -> list[int]:
    """Indices of the boxes (rows x0, y0, x1, y1) that overlap `box` by more than SLACK."""
    beside = (boxes[:, 0] < box[2] - SLACK) & (boxes[:, 2] > box[0] + SLACK)
    level = (boxes[:, 1] < box[3] - SLACK) & (boxes[:, 3] > box[1] + SLACK)
    return [int(i) for i in np.flatnonzero(beside & level)]


def find_collisions(fig: Figure, dpi: float = 300) -> list[str]:
    """Texts that touch each other or leave the figure, drawn at `dpi`."""
    fig.set_dpi(dpi)
    texts = visible_texts(fig)
    width, height = fig.bbox.width, fig.bbox.height
    boxes = np.array([[b.x0, b.y0, b.x1, b.y1] for _, b in texts])
    found = [
        f"{name!r} leaves the figure"
        for (name, _), (x0, y0, x1, y1) in zip(texts, boxes, strict=True)
        if x0 < -SLACK or y0 < -SLACK or x1 > width + SLACK or y1 > height + SLACK
    ]
    for i, (name, _) in enumerate(texts):
        later = touching(boxes[i + 1 :], boxes[i])
        found += [f"{name!r} touches {texts[i + 1 + j][0]!r}" for j in later]
    return found


def find_struck(fig: Figure) -> list[str]:
    """Texts that a mark of a panel runs through."""
    texts = visible_texts(fig)
    boxes = np.array([[b.x0, b.y0, b.x1, b.y1] for _, b in texts])
    found = []
    for ax in fig.axes[1:]:
        clip = ax.get_window_extent()
        for artist in [*ax.lines, *ax.patches]:
            gid = str(artist.get_gid())
            box = Bbox.intersection(artist.get_window_extent(), clip)
            if box is None or gid == "band":
                continue
            found += [f"{gid} strikes {texts[i][0]!r}" for i in touching(boxes, box.extents)]
    return found
