"""Join the tables `rows` and `pools` into the blocks of a forest plot."""

from __future__ import annotations

import math
from typing import get_args

import pandas as pd

from .records import Block, Cell, Sort, Study, as_text, read_cells, read_studies, require_columns

#: Columns that hold the label of another.
LABELS = {"mechanism": ("mechanism_label", "label")}


def read_blocks(
    rows: pd.DataFrame, pools: pd.DataFrame, sort: Sort, by: str = "condition"
) -> list[Block]:
    """Join rows and pools into the blocks of one forest plot, in the order of `pools`.

    Rows and pools belong together where they agree in the column `by` and in their estimand.
    Sorting moves whole rows and only within their block; `system` sorts the blocks as well.

    Raises
    ------
    ValueError
        Nothing to draw, several mechanisms, an unknown `sort`, or bad tables.
    """
    if sort not in get_args(Sort):
        known = ", ".join(get_args(Sort))
        raise ValueError(f"sort is one of {known}; got {sort!r}")
    if rows.empty and pools.empty:
        raise ValueError("nothing to draw: the selection holds no row and no pooled cell")
    if not rows.empty:
        require_columns(rows, [by], "rows")
    if not pools.empty:
        require_columns(pools, [by], "pools")
    cells, studies = read_cells(pools, by), read_studies(rows)
    if by not in ("mechanism", "system"):
        _one_mechanism(rows, cells)
    labels = _labels(rows, pools, by)
    by_key: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        key = (as_text(cell.source[by]), cell.estimand)
        if key in by_key:
            raise ValueError(
                f"two pools belong to the block {key[0]} ({by}): {by_key[key].key} and {cell.key}; "
                "select one, or choose another column with `by`"
            )
        by_key[key] = cell
    found: dict[tuple[str, str], list[Study]] = {key: [] for key in by_key}
    scales = {key: cell.scale for key, cell in by_key.items()}
    for estimand, scale, study in studies:
        key = (as_text(study.source[by]), estimand)
        found.setdefault(key, []).append(study)
        if scales.setdefault(key, scale) != scale:
            raise ValueError(f"row {study.key} is on another scale ({scale}) than its pool")
    blocks = [
        Block(
            key=_name(by_key.get(key), members, key, by),
            title=labels.get(key[0], key[0].replace("_", " ")) or f"no {by}",
            estimand=key[1],
            scale=scales[key],
            studies=tuple(sorted(members, key=lambda s: _order(s, sort))),
            cell=by_key.get(key),
        )
        for key, members in found.items()
    ]
    return sorted(blocks, key=_system) if sort == "system" else blocks


def _one_mechanism(rows: pd.DataFrame, cells: list[Cell]) -> None:
    mechanisms = sorted({c.mechanism for c in cells} | {as_text(m) for m in rows["mechanism"]})
    if len(mechanisms) > 1:
        raise ValueError(
            f"a forest plot shows one mechanism; the tables hold {', '.join(mechanisms)}: "
            "select one, draw one figure for each, or make blocks of them with by='mechanism'"
        )


def _name(cell: Cell | None, studies: list[Study], key: tuple[str, str], by: str) -> str:
    """Name of a block in gids."""
    if cell is not None and by == "condition":
        return cell.key
    source = cell.source if cell is not None else studies[0].source
    return f"{as_text(source['mechanism'])}/{key[0]}/{key[1]}"


def _labels(rows: pd.DataFrame, pools: pd.DataFrame, by: str) -> dict[str, str]:
    """Label of each block; where both tables have one, that of the pools."""
    labels: dict[str, str] = {}
    for table in (rows, pools):
        for column in LABELS.get(by, (f"{by}_label",)):
            if column in table.columns and (column != "label" or table is pools):
                pairs = zip(table[by], table[column], strict=True)
                labels |= {as_text(k): as_text(name) for k, name in pairs if as_text(name)}
    return labels


def _system(block: Block) -> str:
    source = block.cell.source if block.cell else block.studies[0].source
    return as_text(source.get("system")).casefold()


def _order(study: Study, sort: Sort) -> tuple[float, str, str]:
    name = study.label.casefold()
    if sort == "study":
        return 0.0, name, study.key
    if sort == "system":
        system = as_text(study.source.get("system")).casefold()
        return 0.0, f"{system}|{_last(study.year):9.1f}|{name}", study.key
    value = {"year": study.year, "effect": study.place, "precision": study.spread}[sort]
    return _last(value), name, study.key


def _last(value: float) -> float:
    """A number to sort by that puts what is missing at the end."""
    return value if math.isfinite(value) else math.inf
