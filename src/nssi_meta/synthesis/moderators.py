"""What goes with larger effects in one cell: levels of a category, contrasts, slopes; with bounds.

A slope enters by shifting every row (`slopes`), so that nothing has to be left out for being a
bound. A contrast is the slope of an indicator. Sizes without a sign cannot be shifted and are left
out of slopes and contrasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.catalogue import with_role
from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.vocabulary import COMPARATOR_WORDS
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.on_line import Line
from nssi_meta.shown import shown
from nssi_meta.synthesis.cells import CELL, Options
from nssi_meta.synthesis.pooled import comparable_rows, fit_cell
from nssi_meta.synthesis.slopes import described, jointly, means_along, slope

Floats = NDArray[np.float64]

#: Moderators by the name on the command line: column of the table, whether it is a number.
MODERATORS = {
    "stimulus": ("stimulus", False),
    "female": ("pct_female", True),
    "age": ("mean_age", True),
    "age_group": ("age_group", False),
    "purity": ("pure_sample", False),
    "comparator": ("comparator", False),
    "certainty": ("confidence", False),
    "year": ("year", True),
}
#: Words of the table that say that a category is not known.
UNKNOWN = ("", "na", "unclear")
#: Studies on each side of a contrast, and with different values for a slope.
FEWEST, FEWEST_SLOPE = 2, 3
#: Limits that hold together: with the other contrasts of the moderator, with all of the call.
TOGETHER = ("low_own", "high_own", "low_all", "high_all")
COLUMNS = [*CELL, "moderator", "what", "name", "k", "n_studies", "n_bounds", "median", "low",
           "high", *TOGETHER, "n_own", "n_all", "p_positive", "note"]  # fmt: skip


@dataclass(frozen=True)
class Moderated:
    """One moderator in one cell.

    `table` has `COLUMNS`: a row per level (its own pool), per contrast (level less the others;
    with two levels their difference) and for a number its slope per 10 units. `low` and `high` are
    of that line alone; `low_own` and `high_own` hold together for the `n_own` contrasts or slopes
    of this moderator and cell, `low_all` and `high_all` for all `n_all` of the call
    (`slopes.jointly`). `effects` are the rows, the moderator in `x`; `curve` the fitted mean over
    x, `levels` what `figures.orchard` draws; each is empty where it does not apply.
    """

    key: tuple[str, str, str]
    moderator: str
    table: pd.DataFrame
    effects: pd.DataFrame
    curve: pd.DataFrame
    levels: pd.DataFrame
    slopes: tuple[tuple[int, Line[ExactPosterior], float], ...] = ()

    def __repr__(self) -> str:
        return shown(f"{self.moderator} in {', '.join(filter(None, self.key))}", self.table)


def moderators(
    evidence: Evidence,
    by: list[str],
    *,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> list[Moderated]:
    """Every moderator of `by` in every cell of `evidence`.

    Parameters
    ----------
    evidence
        A selection: usually one mechanism.
    by
        Names from `MODERATORS`.
    n_jobs
        Threads; another joblib backend takes over where one is configured.
    progress
        Called with cell and moderator before it is fitted.
    **options
        mu_prior, tau_prior, omega_prior, rho, level, interval, as for `pool`.

    Raises
    ------
    ValueError
        An unknown moderator, or no rows; EvidenceError and PriorError as `pool`.
    """
    if wrong := [b for b in by if b not in MODERATORS]:
        raise ValueError(f"no moderator {wrong[0]!r}; there are {', '.join(MODERATORS)}")
    chosen = Options.given(**options)
    out = []
    for name in by:
        rows = _rows(evidence, name)
        for (mechanism, condition, estimand), part in rows.groupby(CELL, sort=False):
            key = str(mechanism), str(condition), str(estimand)
            if progress is not None:
                progress(f"{' / '.join(key)}, {name}")
            out.append(_moderated(key, part, name, chosen, n_jobs))
    if not out:
        raise ValueError("no rows to compare: every row of the selection is excluded")
    n_all = sum(len(one.slopes) for one in out)
    for one in out:
        _together(one, chosen.level, n_all)
    return out


def _together(one: Moderated, level: float, n_all: int) -> None:
    """Limits of contrasts and slopes that hold together, into the table."""
    table, n_own = one.table, len(one.slopes)
    for line, found, unit in one.slopes:
        limits = [end for n in (n_own, n_all) for end in jointly(found, level, unit, n)]
        table.loc[line, [*TOGETHER, "n_own", "n_all"]] = [*limits, n_own, n_all]


def _rows(evidence: Evidence, name: str) -> pd.DataFrame:
    """Comparable rows; where the comparator is the question, those compared with patients too."""
    if name != "comparator":
        return comparable_rows(evidence)
    words = evidence.rows["comparator"].isin(COMPARATOR_WORDS)
    named = list(evidence.rows.loc[~words, "comparator"].unique())
    doubtful = bool((evidence.used["status"] == "doubtful").any())
    used = evidence.select(comparator=named, doubtful=doubtful).used
    healthy = used["comparator"].isin(with_role(evidence.conditions, "reference"))
    return used.assign(comparator=np.where(healthy, "healthy", "clinical"))


def _moderated(
    key: tuple[str, str, str],
    rows: pd.DataFrame,
    name: str,
    options: Options,
    n_jobs: int,
) -> Moderated:
    column, is_number = MODERATORS[name]
    x = pd.to_numeric(rows[column], errors="coerce") if is_number else rows[column].astype(str)
    told = x.notna() if is_number else ~x.isin(UNKNOWN)
    part = rows[told].assign(x=x[told]).reset_index(drop=True)
    nothing = pd.DataFrame()
    lost = int((~told).sum())
    fit = _slope if is_number else _levels
    found = fit(part, options, n_jobs) if len(part) else ([_empty(name)], nothing, nothing)
    lines, curve, levels = found
    fitted = tuple((i, *line.pop("fit")) for i, line in enumerate(lines) if "fit" in line)
    table = pd.DataFrame(lines).assign(**dict(zip(CELL, key, strict=True)), moderator=name)
    table["note"] = [
        "; ".join(
            n for n in (note, f"not known in {lost} of {len(rows)} rows" if lost else "") if n
        )
        for note in table["note"]
    ]
    return Moderated(key, name, table.reindex(columns=COLUMNS), part, curve, levels, fitted)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _empty(name: str) -> dict[str, Any]:
    return {
        "what": "slope" if MODERATORS[name][1] else "level",
        "name": name,
        "k": 0,
        "n_studies": 0,
        "n_bounds": 0,
        "note": "too few studies: it is known of none",
    }


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "k": len(rows),
        "n_studies": int(rows["study_id"].nunique()),
        "n_bounds": int((rows["kind"] == "interval").sum()),
    }


def _levels(
    rows: pd.DataFrame, options: Options, n_jobs: int
) -> tuple[list[dict[str, Any]], pd.DataFrame, pd.DataFrame]:
    """The pool of every level, and every level against the others."""
    lines, drawn = [], []
    names = list(rows["x"].value_counts().index)
    for name in names:
        here = rows[rows["x"] == name]
        cell = fit_cell(tuple(here[CELL].iloc[0]), here, options.priors(), options)
        counts = _counts(here)
        low, high = interval(cell.posterior.mu, options.level, options.interval)
        new = interval(cell.posterior.prediction, options.level, options.interval)
        mean = {"median": cell.posterior.mu.quantile(0.5), "low": low, "high": high}
        sure = {"p_positive": cell.posterior.p_positive}
        note = "one study" if counts["n_studies"] == 1 else ""
        lines.append({"what": "level", "name": name, **counts, **mean, **sure, "note": note})
        shown = {f"mu_{end}": value for end, value in mean.items()}
        shown |= {"pred_low": new[0], "pred_high": new[1]}
        drawn.append({"group": name, "label": str(name).replace("_", " "), **shown})
    if len(names) == 1:
        lines[0]["note"] = _joined(lines[0]["note"], "the only level")
    for name in names if len(names) > 2 else names[:1] if len(names) == 2 else []:
        lines.append(_contrast(rows, name, names, options, n_jobs))
    return lines, pd.DataFrame(), pd.DataFrame(drawn)


def _contrast(
    rows: pd.DataFrame,
    name: str,
    names: list[str],
    options: Options,
    n_jobs: int,
) -> dict[str, Any]:
    """One level less the others: the slope of an indicator that is 1/2 and -1/2."""
    signed = rows[rows["kind"] != "unsigned"].reset_index(drop=True)
    here = signed["x"] == name
    other = next(n for n in names if n != name) if len(names) == 2 else "others"
    line = {"what": "contrast", "name": f"{name} - {other}", **_counts(signed), "note": ""}
    sides = [int(signed.loc[side, "study_id"].nunique()) for side in (here, ~here)]
    if min(sides) < FEWEST:
        return line | {"note": f"too few studies ({sides[0]} against {sides[1]})"}
    found = slope(signed, np.where(here, 0.5, -0.5), options, n_jobs)
    return line | described(found, options.level, 1.0) | {
        "note": _unsigned(rows), "fit": (found, 1.0)
    }  # fmt: skip


def _slope(
    rows: pd.DataFrame, options: Options, n_jobs: int
) -> tuple[list[dict[str, Any]], pd.DataFrame, pd.DataFrame]:
    """The slope per unit of a number, and the mean effect over its range."""
    signed = rows[rows["kind"] != "unsigned"].reset_index(drop=True)
    line = {"what": "slope", "name": "per 10", **_counts(signed), "note": ""}
    per_study = signed.groupby("study_id")["x"].mean()
    nothing = pd.DataFrame()
    if per_study.nunique() < FEWEST_SLOPE:
        note = f"too few studies (different values: {per_study.nunique()}, {FEWEST_SLOPE} needed)"
        return [line | {"note": note}], nothing, nothing
    x = signed["x"].to_numpy(dtype=float)
    centre, spread = float(x.mean()), float(x.std())
    found = slope(signed, (x - centre) / spread, options, n_jobs)
    line |= described(found, options.level, 10 / spread)
    line |= {"note": _unsigned(rows), "fit": (found, 10 / spread)}
    grid = np.linspace(x.min(), x.max(), 41)
    curve = pd.DataFrame(means_along(found, (grid - centre) / spread, options))
    curve.insert(0, "x", grid)
    return [line], curve, nothing


def _unsigned(rows: pd.DataFrame) -> str:
    n = int((rows["kind"] == "unsigned").sum())
    return f"{n} without sign left out" if n else ""


def every_line(found: list[Moderated]) -> pd.DataFrame:
    """All tables as one."""
    return pd.concat([m.table for m in found], ignore_index=True)


def drawable(found: list[Moderated]) -> Iterator[Moderated]:
    """Those with more than one level or with a slope."""
    yield from (m for m in found if len(m.curve) or len(m.levels) > 1)


__all__ = ["MODERATORS", "Moderated", "drawable", "every_line", "moderators"]
