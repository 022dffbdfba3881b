"""The tables of pools: one row a pool, one row an effect."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.flow import participants
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.conditions import finite_moments_of_mu
from nssi_meta.inference.densities import Density, interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.inference.shrinkage import (
    computed_by,
    integrated,
    shrunken_quantiles,
    shrunken_shortest,
)
from nssi_meta.shown import shown
from nssi_meta.synthesis.cells import CELL, DELTA, Cell, Options
from nssi_meta.synthesis.counts_cell import COUNTS, CountsCell
from nssi_meta.synthesis.inconsistency import inconsistency

Floats = NDArray[np.float64]

#: What a pool with tau prior `zero` is.
COMMON_EFFECT = "common-effect model: tau is 0, all studies share one mean effect"
#: A median effect this many SDs of the prior of mu away is one that the prior does not foresee.
FAR = 10.0
ROW_COLUMNS = [
    "effect_id", "study_id", "label", "measure", "stimulus", "year", "n_case", "n_control",
    "n_total", "kind", "bound", "confidence", "yi", "sei", "lower", "upper",
]  # fmt: skip


#: Columns of the `pools` table that a pool prints where Python shows it.
SHOWN = (
    *("mechanism", "condition", "estimand", "comparator", "k", "n_bounds"),
    *("mu_median", "mu_low", "mu_high", "pred_low", "pred_high", "tau_median", "p_positive"),
    "flags",
)


def pools_shown(table: pd.DataFrame, options: Options, problems: Sequence[str] = ()) -> str:
    """What pools print: `table` is the `pools` table, `problems` what did not converge."""
    pools = "1 pool" if len(table) == 1 else f"{len(table)} pools"
    return shown(
        f"{pools}, {options.level:.0%} {options.interval} credible intervals",
        table[[name for name in SHOWN if name in table]],
        *problems,
        ".summary() has every column, .rows the studies and their shrunken effects",
    )


def summarise(cell: Cell, options: Options) -> dict[str, Any]:
    """The `pools` table's row of one cell.

    `p_beyond` is P(|mu| > delta); `share_beyond` is the probability that the effect in a new
    setting exceeds delta in the direction of mu's median (the expected share of such settings).
    Both are nan where delta is a share of an SD that is not known.
    """
    post: ExactPosterior = cell.posterior
    rows = cell.rows
    mu, tau, new = post.mu, post.tau_density, post.prediction
    low, high = interval(mu, options.level, options.interval)
    tau_low, tau_high = interval(tau, options.level, options.interval, low=0.0)
    pred_low, pred_high = interval(new, options.level, options.interval)
    median = mu.quantile(0.5)
    delta = DELTA * cell.unit.scale if options.delta is None else options.delta
    above, below, beyond = np.nan, np.nan, np.nan
    if np.isfinite(delta):
        above, below = 1 - float(new.cdf(delta)), float(new.cdf(-delta))
        beyond = float(1 - mu.cdf(delta) + mu.cdf(-delta))
    mu_prior, tau_prior, omega_prior = cell.priors
    is_bound = rows["kind"] == "interval"
    moments = finite_moments_of_mu(cell.layout, mu_prior, tau_prior)
    return {
        **dict(zip(CELL, cell.key, strict=True)),
        "comparator": "/".join(sorted(map(str, rows["comparator"].unique()))),
        "scale": rows["scale"].iloc[0],
        "k": len(rows),
        "n_studies": rows["study_id"].nunique(),
        "n_bounds": int(is_bound.sum()),
        "n_assumed": int((is_bound & (rows["bound"] == "assumed")).sum()),
        "share_bounds": float(is_bound.mean()),
        "n_participants": _people(rows),
        "mu_median": median,
        "mu_mean": mu.mean if moments > 0 else np.nan,
        "mu_sd": mu.sd if moments > 1 else np.inf,
        "mu_low": low,
        "mu_high": high,
        "tau_median": tau.quantile(0.5),
        "tau_low": tau_low,
        "tau_high": tau_high,
        **inconsistency(cell, options),
        "omega_median": post.omega_density.quantile(0.5) if post.omega_density else np.nan,
        "pred_low": pred_low,
        "pred_high": pred_high,
        "p_positive": float(1 - mu.cdf(0.0)),
        "p_beyond": beyond,
        "share_beyond": above if median >= 0 else below,
        "level": options.level,
        "interval": options.interval,
        "engine": options.engine,
        "mu_prior": str(mu_prior),
        "tau_prior": str(tau_prior),
        "omega_prior": str(omega_prior) if post.omega_density else "",
        "flags": _flags(cell, moments, options),
    }


def _people(rows: pd.DataFrame) -> float:
    sizes = ["n_case", "n_control", "n_total"]
    if not set(sizes) <= set(rows.columns) or rows[sizes].isna().all(axis=None):
        return np.nan
    # Rows without a sample id are people of their study, not all the same people.
    sample = rows["sample_id"].where(rows["sample_id"] != "", "study " + rows["study_id"])
    return float(participants(rows.assign(sample_id=sample)))


def _flags(cell: Cell, moments: int, options: Options) -> str:
    """What a reader must know about a cell, in words separated by semicolons.

    `moments` tells how many of mean and SD of mu exist.
    """
    rows, flags = cell.rows, []
    if cell.priors[1].name == "zero":
        flags.append(COMMON_EFFECT)
    elif len(rows) == 1:
        flags.append("a single effect: between-study variation comes from the prior")
    elif (studies := rows["study_id"].nunique()) == 1:
        flags.append("a single study: between-study variation comes from the prior")
    elif studies == 2:  # one difference between them: it excludes next to no tau
        flags.append("two studies: between-study variation comes mostly from the prior")
    if (rows["kind"] == "interval").all():
        flags.append("only bounds: no study reports a size")
        if _one_sided(rows):
            flags.append("all bounds on one side: how large, the prior says")
    if _foreign(cell):
        flags.append("effects far from what the prior of mu foresees: is it in their unit?")
    if given := cell.given_note(options):
        flags.append(given)
    if options.delta is None and not cell.unit.known:
        flags.append("chances beyond delta left out: give delta, or the outcome's SDs for 0.2 SD")
    if moments < 2:
        what = "mean and no SD" if moments < 1 else "SD"
        flags.append(f"mu has no {what}: tails too heavy under these priors, read its median")
    if (rows["bound"] == "assumed").any():
        flags.append("some thresholds assumed to be .05")
    if not cell.converged:
        flags.append("did not converge: not a result")
    return "; ".join(flags)


def _foreign(cell: Cell) -> bool:
    """Whether a normal prior of mu lies far from the effects, and so decides where mu is."""
    prior, yi = cell.priors[0], cell.layout.y[np.isfinite(cell.layout.y)]
    if prior.name != "normal" or not yi.size:
        return False
    mean, sd = prior.params
    return bool(abs(np.median(yi) - mean) > FAR * sd)


def _one_sided(rows: pd.DataFrame) -> bool:
    """Whether every bound leaves the same side open: then nothing but the prior ends the effect."""
    above, below = (np.isinf(rows[end].to_numpy(dtype=float)) for end in ("upper", "lower"))
    return bool((above & ~below).all() or (below & ~above).all())


def labelled(
    table: pd.DataFrame, mechanisms: pd.DataFrame, conditions: pd.DataFrame
) -> pd.DataFrame:
    """Labels and systems beside the ids, in the review's own order."""
    label = dict(zip(mechanisms["mechanism"], mechanisms["label"], strict=True))
    system = dict(zip(mechanisms["mechanism"], mechanisms["system"], strict=True))
    condition = dict(zip(conditions["id"], conditions["label"], strict=True))
    table.insert(1, "label", [label.get(m, m) for m in table["mechanism"]])
    table.insert(2, "system", [system.get(m, "") for m in table["mechanism"]])
    table.insert(4, "condition_label", [condition.get(c, c) for c in table["condition"]])
    if not label:
        return table
    order = {m: i for i, m in enumerate(label)}, {c: i for i, c in enumerate(condition)}
    return table.sort_values(
        ["mechanism", "condition", "estimand"],
        key=lambda column: (
            column.map(order[0])
            if column.name == "mechanism" and order[0]
            else column.map(order[1])
            if column.name == "condition" and order[1]
            else column
        ),
        kind="stable",
    ).reset_index(drop=True)


def rows_table(
    cells: Sequence[Cell],
    table: pd.DataFrame,
    options: Options,
    probabilities: Sequence[float] = (),
) -> pd.DataFrame:
    """The `rows` table: reported effect with its interval or bound, and the shrunken effect.

    `shrunk_by` tells how that was computed: quadrature, nodes or draws (`computed_by`). With
    `probabilities`, quantiles of the shrunken effects in columns such as `shrunk_q2.5`. Of
    two-by-two tables mean and SD too, `shrunk_mean` and `shrunk_sd`, and the counts.
    """
    parts = []
    for cell in cells:
        rows = cell.reported() if isinstance(cell, CountsCell) else cell.rows
        # ready-made effects know no samples
        part = rows[[*CELL, "scale", *ROW_COLUMNS, *({"sample_id"} & set(rows.columns))]].copy()
        half = _normal_quantile(0.5 + options.level / 2) * rows["sei"].to_numpy(dtype=float)
        exact = (rows["kind"] == "exact").to_numpy()
        yi = rows["yi"].to_numpy(dtype=float)
        part["ci_low"] = np.where(exact, yi - half, np.nan)
        part["ci_high"] = np.where(exact, yi + half, np.nan)
        known = {}
        by: Any = "draws" if options.engine == "nuts" else "quadrature"
        if not isinstance(cell, CountsCell):
            known = integrated(cell.rows, cell.layout, cell.posterior)
            if options.engine != "nuts":
                by = computed_by(cell.layout, cell.posterior, known)
        shrunk = _shrunk(cell, options, known)
        part["shrunk_median"], part["shrunk_low"], part["shrunk_high"] = shrunk
        part["shrunk_by"] = by
        if isinstance(cell, CountsCell):
            part["shrunk_mean"] = [effect.mean for effect in cell.effects]
            part["shrunk_sd"] = [effect.sd for effect in cell.effects]
            part[COUNTS] = cell.rows[COUNTS]
        if probabilities:
            found = _shrunk_at(cell, options, known, probabilities)
            part[[f"shrunk_q{100 * p:g}" for p in probabilities]] = found
        parts.append(part)
    out = pd.concat(parts, ignore_index=True)
    keep = ["mechanism", "label", "system", "condition", "condition_label", "estimand"]
    names = table[keep].rename(columns={"label": "mechanism_label"})
    return out.merge(names, on=CELL, how="left", sort=False)


def _shrunk_at(
    cell: Cell, options: Options, known: Mapping[int, Density], p: Sequence[float]
) -> Floats:
    """Quantiles (k, len(p)) of every row's true effect."""
    if isinstance(cell, CountsCell):
        return cell.effect_quantiles(p)
    errors = partial(vcalc, rho=options.rho)
    return shrunken_quantiles(
        cell.rows, cell.layout, cell.posterior, errors, p, options.rho, options.seed, known
    )


def _shrunk(cell: Cell, options: Options, known: Mapping[int, Density]) -> tuple[Floats, ...]:
    """Median and interval of every row's true effect; `known` those that are integrated."""
    if options.interval == "central":
        tail = (1 - options.level) / 2
        return tuple(_shrunk_at(cell, options, known, (0.5, tail, 1 - tail)).T)
    if isinstance(cell, CountsCell):
        ends = cell.effect_intervals(options)
    else:
        errors = partial(vcalc, rho=options.rho)
        what = (cell.rows, cell.layout, cell.posterior, errors, options.level)
        ends = shrunken_shortest(*what, options.rho, options.seed, known)
    return _shrunk_at(cell, options, known, (0.5,))[:, 0], ends[:, 0], ends[:, 1]


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))


def study_labels(frame: pd.DataFrame) -> pd.Series[str]:
    """Labels such as "Hooley 2020"; the study id where the authors are unknown."""

    def label(authors: Any, year: Any, study: Any) -> str:
        first = re.split(r"[;,&]| et al| and ", str(authors or "").strip(), maxsplit=1)[0]
        words = [w for w in first.split() if not re.fullmatch(r"[A-Z]{1,3}|(?:[A-Z]\.-?)+", w)]
        surname = " ".join(words)
        # Curators' remarks such as "(authors not seen)" are no names.
        named = re.match(r"[^\W\d_]", surname) and not re.match(r"not |unknown", surname, re.I)
        when = "" if pd.isna(year) or year == "" else str(int(float(str(year))))
        return f"{surname} {when}".strip() if named and len(words) <= 3 else str(study)

    values = [
        label(a, y, s)
        for a, y, s in zip(frame["authors"], frame["year"], frame["study_id"], strict=True)
    ]
    return pd.Series(values, index=frame.index, dtype="object")
