"""What the model figure holds and where: stages in columns, systems and mechanisms in lines."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from .records import Record, as_text, require_columns

# fmt: off
MODEL_COLUMNS = (
    "stage", "system", "mechanism", "label", "condition", "condition_label", "role", "scale",
    "mu_median", "mu_low", "mu_high", "k", "n_bounds", "evidence", "p_shared", "p_opposite",
    "verdict",
)
STAGE_COLUMNS = (
    "other", "stage", "n_mechanisms", "n_shared_median", "n_shared_low", "n_shared_high",
)
# fmt: on
MOST_COLUMNS = 4
ROW, HEAD = 4.6, 4.0  # height in mm of a mechanism and of a system's name


@dataclass(frozen=True)
class Node:
    """One mechanism: its record in the index condition, and those of the others in order."""

    index: Record
    others: tuple[Record, ...]

    @property
    def key(self) -> str:
        """Name of the mechanism in gids."""
        return as_text(self.index["mechanism"])


@dataclass
class Stage:
    """A stage with its mechanisms by system, in the order of the table."""

    name: str
    systems: dict[str, list[Node]] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """All mechanisms of the stage."""
        return [node for nodes in self.systems.values() for node in nodes]

    @property
    def height(self) -> float:
        """Height in mm of its systems and mechanisms."""
        return ROW * len(self.nodes) + HEAD * len(self.systems)


@dataclass(frozen=True)
class Plan:
    """Columns of stages, left to right: the first of each is a link of the chain."""

    columns: tuple[tuple[Stage, ...], ...]
    others: tuple[str, ...]
    labels: dict[str, str]


def plan(table: pd.DataFrame) -> Plan:
    """Sort the table into stages and columns.

    The first `MOST_COLUMNS` stages, in the order of the table, are the chain. A further stage
    stands below the shortest column, without an arrow.

    Raises
    ------
    ValueError
        Nothing to draw, columns missing, or a mechanism without a row of the index condition.
    """
    require_columns(table, MODEL_COLUMNS, "model")
    if table.empty:
        raise ValueError("nothing to draw: the table `model` holds no row")
    stages: dict[str, Stage] = {}
    others: dict[str, str] = {}
    for name, group in table.groupby("mechanism", sort=False):
        records = group.to_dict("records")
        own = [r for r in records if r["role"] == "index"]
        if len(own) != 1:
            raise ValueError(f"the table `model` needs one row of the index condition for {name}")
        rest = tuple(r for r in records if r["role"] != "index")
        others |= {as_text(r["condition"]): as_text(r["condition_label"]) for r in rest}
        stage = stages.setdefault(as_text(own[0]["stage"]), Stage(as_text(own[0]["stage"])))
        stage.systems.setdefault(as_text(own[0]["system"]), []).append(Node(own[0], rest))
    listed = list(stages.values())
    columns = [[stage] for stage in listed[:MOST_COLUMNS]]
    for stage in listed[MOST_COLUMNS:]:
        min(columns, key=lambda column: sum(s.height for s in column)).append(stage)
    return Plan(tuple(tuple(column) for column in columns), tuple(others), others)
