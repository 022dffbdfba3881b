"""How a result prints itself where Python shows it: a title, then tables and named numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: What a table of ready-made effects has in columns that only a review's table fills.
UNSAID = ("", "given")
#: Of a longer table the first and last rows are shown.
MOST_ROWS, WIDEST = 30, 40
DIGITS = ".4g"


def shown(title: str, *parts: pd.DataFrame | Mapping[str, Any] | str) -> str:
    """Lines for `__repr__`: tables without columns that are empty, numbers as name = value."""
    return "\n".join([title, *(_text(part) for part in parts)])


def _text(part: pd.DataFrame | Mapping[str, Any] | str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return ", ".join(f"{name} = {_number(x)}" for name, x in part.items() if x is not None)
    said = part.loc[:, [not (part[name].isna() | part[name].isin(UNSAID)).all() for name in part]]
    names = [str(name) for name in said]
    chances = [n for n in names if n.startswith("p_") or n.endswith("probability")]
    return said.to_string(
        index=False,
        formatters=dict.fromkeys(chances, _probability),
        float_format=lambda x: format(x, DIGITS),
        max_rows=MOST_ROWS,
        max_colwidth=WIDEST,
        na_rep="",
    )


def _probability(x: float) -> str:
    """A probability, none of which rounds to certainty."""
    if isnan(x):
        return ""
    if 0.9995 < x < 1:
        return "> 0.999"
    return "< 0.001" if 0 < x < 0.0005 else f"{x:.3f}"


def _number(x: Any) -> str:
    return format(x, DIGITS) if isinstance(x, float) else str(x)


def coefficients(fit: Any) -> pd.DataFrame:
    """A row for each coefficient of a frequentist fit."""
    import pandas as pd

    names = ("beta", "se", "zval", "pval", "ci_lb", "ci_ub")
    return pd.DataFrame({"": fit.names, **{name: getattr(fit, name) for name in names}})
