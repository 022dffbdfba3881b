"""Any reviewer's table of ready-made effects, with column names of the reviewer's own.

This path stays light (no pandera): pooling one file has to answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.cells import EMPTY, numbers, out_of_range, outside, too_far
from nssi_meta.evidence.problems import Problem
from nssi_meta.evidence.simple_checks import (
    absent,
    only_wanted,
    problems_of,
    sign_problems,
    texts_of,
    without_sign,
)
from nssi_meta.evidence.table import Table, frame_table, read_table
from nssi_meta.evidence.units import SD_COLUMNS

COLUMNS = (
    "effect_id",
    "study_id",
    "sample_id",
    "control_id",
    "mechanism",
    "condition",
    "comparator",
    "estimand",
    "scale",
    "kind",
    "yi",
    "vi",
    "sei",
    "lower",
    "upper",
    "label",
)
_SD = vo.Range(above=0, remedy="copy the standard deviation again, or leave the cell empty")
_BOUND = "for an effect: empty the cell and put the number in a column named by lower or upper"
GIVEN = "given"
"""Estimand and scale of effects that come ready-made: whatever the reviewer's file holds."""


def read_simple(
    source: str | Path | pd.DataFrame,
    yi: str,
    vi: str | None = None,
    sei: str | None = None,
    *,
    study: str | None = None,
    sample: str | None = None,
    mechanism: str | None = None,
    condition: str | None = None,
    comparator: str | None = None,
    label: str | None = None,
    lower: str | None = None,
    upper: str | None = None,
    unsigned: str | None = None,
    ni: str | None = None,
    sd: Sequence[str] = (),
) -> pd.DataFrame:
    """Read ready-made effects from a CSV file or a data frame.

    Parameters
    ----------
    source
        The file (UTF-8, comma-separated, with a header), or a frame: it is checked as the file of
        the same cells would be, a missing value being an empty cell.
    yi
        Name of the column with the effect sizes, on any scale.
    vi, sei
        Name of the column with the sampling variances, or of that with the standard errors:
        exactly one of the two, because the numbers alone do not tell which they are.
    study, sample, mechanism, condition, comparator, label
        Names of text columns. Without `study` every row is a study of its own; without `label`
        the study is the label.
    lower, upper
        Names of columns with bounds: a row with an empty effect and a bound says only that the
        estimate fell above `lower`, below `upper` or between both. Its vi or sei is that at the
        bound.
    unsigned
        Name of a column with yes or no (or True or False): yes where only the size of the effect is
        known, not its sign. An empty cell is no.
    ni
        Name of the column with the sample sizes (people in the row, all groups).
    sd
        Names of one or two columns with the outcome's SD (of the sample, or of each group), for
        priors on a raw scale: see `nssi_meta.evidence.units`.

    Returns
    -------
    DataFrame
        One row an effect, in the order of the source, with the columns `COLUMNS` (`kind` is
        exact, interval or unsigned, where `yi` is the size; `yi` is NaN for intervals, `lower` and
        `upper` for all others); with `ni`
        also n_total, with `sd` also sd_1 and sd_2.

    Raises
    ------
    ValueError
        If not exactly one of `vi` and `sei` is named, or more than two SD columns are.
    EvidenceError
        With every problem of the source: unknown columns, cells that are empty or no numbers,
        variances or errors that are not positive. A row is named by its line in the file, or by its
        label in the frame's index.
    """
    if (vi is None) == (sei is None):
        got = "neither" if vi is None else f"both (vi={vi!r}, sei={sei!r})"
        raise ValueError(
            f"name exactly one of vi (sampling variances) and sei (standard errors), not {got}: "
            "which of the two a column holds cannot be guessed"
        )
    if not isinstance(source, str | Path | pd.DataFrame):
        raise ValueError(
            f"source must be the path of a CSV file or a data frame, not {type(source).__name__}"
        )
    if len(sd) > len(SD_COLUMNS):
        raise ValueError(f"name one or two columns of SDs, not {len(sd)}: {', '.join(sd)}")
    texts = {
        "study": study,
        "sample": sample,
        "mechanism": mechanism,
        "condition": condition,
        "comparator": comparator,
        "label": label,
    }
    figures = {"yi": yi, "vi": vi, "sei": sei, "lower": lower, "upper": upper, "n_total": ni}
    figures.update(zip(SD_COLUMNS, [*sd, None, None], strict=False))
    asked = {**texts, **figures, "unsigned": unsigned}
    names = [name for name in asked.values() if name is not None]
    rows: Sequence[object] | None = None
    if isinstance(source, pd.DataFrame):
        table, rows = only_wanted(frame_table(source, names), names), source.index.tolist()
    else:
        table = only_wanted(read_table(source, names), names)
    found = [*table.problems, *absent(table, asked)]
    if table.frame.columns.empty or any(name not in table.frame for name in names):
        raise problems_of(found, names, rows)
    values, wrong = _figures(table, figures)
    found += wrong
    found += _gaps(table, values, figures)
    for role in ("study", "sample", "mechanism", "condition", "comparator"):
        if (name := texts[role]) is not None:
            found += texts_of(table, name, may_be_empty=role == "sample")
    if unsigned is not None:
        found += sign_problems(table, unsigned, values)
    if found:
        raise problems_of(found, names, rows)
    frame = _frame(table.frame, values, texts, rows)
    if unsigned is not None:
        mask = without_sign(table, unsigned).to_numpy()
        frame["kind"] = frame["kind"].mask(mask, "unsigned")
        frame["yi"] = frame["yi"].mask(mask, frame["yi"].abs())
    extra = [role for role in ("n_total", *SD_COLUMNS) if figures[role] is not None]
    return frame.assign(**{role: values[role].to_numpy() for role in extra})


def _figures(table: Table, figures: Mapping[str, str | None]) -> tuple[pd.DataFrame, list[Problem]]:
    """The numbers by role (yi, vi, sei, lower, upper, ...), NaN where no column is named."""
    values, found = {}, []
    for role, name in figures.items():
        if name is None:
            values[role] = pd.Series(np.nan, index=table.frame.index)
            continue
        instead = _instead(role, figures)
        values[role], wrong = numbers(table.file, name, table.frame[name], instead, _BOUND)
        found += wrong
        limits = _SD if role in SD_COLUMNS else vo.RANGES.get(role, vo.Range())
        for line in values[role].index[outside(values[role], limits)]:
            cell = table.frame.loc[line, name]
            found.append(out_of_range(table.file, int(line), name, cell, limits))
        sizes = vo.SIZES.get(role, vo.SIZES["yi"])
        found += too_far(table.file, name, values[role], table.frame[name], sizes)
    return pd.DataFrame(values), found


def _instead(role: str, figures: Mapping[str, str | None]) -> str:
    """What to do where a number of this role is not known."""
    if role == "yi" and (figures["lower"] or figures["upper"]):
        return "leave the cell empty and give a bound, or delete the row"
    return "delete the row" if role in ("yi", "vi", "sei") else EMPTY


def _gaps(
    table: Table, values: pd.DataFrame, figures: Mapping[str, str | None]
) -> Iterator[Problem]:
    """Missing effects, variances and errors; bounds that contradict the effect or each other."""

    def filled(role: str) -> pd.Series[bool]:
        name = figures[role]
        if name is None:
            return pd.Series(False, index=table.frame.index)
        return table.frame[name].str.strip() != ""

    def flag(mask: pd.Series[bool], role: str, what: str, remedy: str) -> Iterator[Problem]:
        name = figures[role]
        for line in table.frame.index[mask]:
            value = table.frame.loc[line, name] if name else None
            yield Problem(table.file, int(line), name, value, what, "a number", remedy)

    bounded = filled("lower") | filled("upper")
    remedy = "fill it in, or delete the row"
    if figures["lower"] or figures["upper"]:
        remedy = "fill it in, or give a bound, or delete the row"
    yield from flag(~filled("yi") & ~bounded, "yi", "the effect is missing", remedy)
    spread = "vi" if figures["vi"] else "sei"
    long = "sampling variance" if spread == "vi" else "standard error"
    remedy = "fill it in, or delete the row"
    yield from flag(~filled(spread), spread, f"the {long} is missing", remedy)
    yield from flag(
        values["yi"].notna() & bounded,
        "yi",
        "the row has both an effect and a bound",
        "empty the bound, or the effect if only the bound is known",
    )
    # Comparisons with NaN are false: a bound that is open or no number is not compared.
    yield from flag(
        values["lower"] >= values["upper"],
        "lower",
        "the lower bound is not below the upper one",
        "swap them if they were exchanged",
    )


def _frame(
    cells: pd.DataFrame,
    values: pd.DataFrame,
    texts: Mapping[str, str | None],
    rows: Sequence[object] | None,
) -> pd.DataFrame:
    """The frame that the models read; `rows` names the rows where the lines do not."""
    called = cells.index.tolist() if rows is None else rows
    own = pd.Series([f"row {line}" for line in called], index=cells.index, dtype="str")

    def text(role: str, default: pd.Series[str] | str = "") -> pd.Series[str]:
        name = texts[role]
        return cells[name] if name else pd.Series(default, index=cells.index, dtype="str")

    study = text("study", own)
    label = text("label", study)
    interval = values["yi"].isna()
    frame = values.assign(
        effect_id=own,
        study_id=study,
        sample_id=text("sample"),
        control_id="",
        mechanism=text("mechanism"),
        condition=text("condition"),
        comparator=text("comparator"),
        estimand=GIVEN,
        scale=GIVEN,
        kind=pd.Series("exact", index=cells.index, dtype="str").mask(interval, "interval"),
        vi=values["vi"].fillna(values["sei"] ** 2),
        sei=values["sei"].fillna(np.sqrt(values["vi"])),
        lower=values["lower"].mask(interval & values["lower"].isna(), -np.inf),
        upper=values["upper"].mask(interval & values["upper"].isna(), np.inf),
        label=label.mask(label.str.strip() == "", study),
    )
    return frame[list(COLUMNS)].reset_index(drop=True)
