"""Checks of what a row reports against the kind of statistic that it says it reports."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from nssi_meta.evidence import vocabulary as vo
from nssi_meta.evidence.problems import Problem
from nssi_meta.evidence.sheet import Sheet


def estimands(sheet: Sheet) -> Iterator[Problem]:
    """The kind of statistic can express the estimand."""
    for kind in vo.STATISTICS.values():
        wrong = (sheet.cells["statistic"] == kind.name) & sheet.cells["estimand"].isin(
            set(vo.ESTIMANDS) - set(kind.estimands)
        )
        for line in sheet.cells.index[wrong]:
            estimand = sheet.cells.loc[line, "estimand"]
            fitting = [s.name for s in vo.STATISTICS.values() if estimand in s.estimands]
            yield Problem(
                sheet.file,
                int(line),
                "statistic",
                kind.name,
                f"statistic {kind.name} cannot express estimand {estimand}",
                ", ".join(fitting),
                f"set estimand to {' or '.join(kind.estimands)}, or choose another statistic",
            )


def required_cells(sheet: Sheet) -> Iterator[Problem]:
    """The cells that the kind of statistic needs are filled (sizes only where the row is used)."""
    used = sheet.cells["status"] == "use"
    absent: dict[str, list[int]] = {}
    for kind in vo.STATISTICS.values():
        of_kind = sheet.cells["statistic"] == kind.name
        needs = [(column, of_kind) for column in kind.required]
        if kind.sizes:
            for name in kind.estimands:
                rows = of_kind & used & (sheet.cells["estimand"] == name)
                needs += [(column, rows) for column in vo.ESTIMANDS[name].sizes]
        for column, rows in needs:
            empty = rows & ~sheet.filled(column)
            if column not in sheet.header:
                absent.setdefault(column, []).extend(sheet.cells.index[empty])
                continue
            what = f"{column} is empty, but statistic {kind.name} needs it"
            remedy = "fill it in, or choose the statistic that the paper really reports"
            if column in ("n_case", "n_control", "n_total"):
                remedy = "give the number of people, or set status to doubtful with a reason"
            limits = vo.RANGES[column].allowed()
            yield from sheet.flag(empty, column, what, limits, remedy)
    for column, lines in absent.items():
        if lines:
            shown = ", ".join(map(str, sorted(lines)))
            what = f"the column '{column}' is missing; lines that need it: {shown}"
            remedy = f"add a column named '{column}'"
            yield Problem(sheet.file, None, column, None, what, "", remedy)


def foreign_cells(sheet: Sheet) -> Iterator[Problem]:
    """No cell is filled that the kind of statistic does not use (which one would count?)."""
    for column in vo.STATISTIC_COLUMNS:
        users = [kind.name for kind in vo.STATISTICS.values() if column in kind.columns()]
        strangers = sheet.cells["statistic"].isin(set(vo.STATISTICS) - set(users))
        foreign = strangers & sheet.filled(column)
        of_ready_kind = sheet.cells["statistic"].isin(vo.READY_MADE_KINDS)
        both = foreign & (of_ready_kind != (column in vo.READY_MADE))
        for mask, what in (
            (both, "the row has both raw statistics and a ready-made effect"),
            (foreign & ~both, f"{column} does not belong to statistic {{statistic}}"),
        ):
            yield from sheet.flag(
                mask,
                column,
                f"{what} ({column} = {{{column}}})",
                "empty for statistic {statistic}",
                f"empty the cell, or set statistic to {' or '.join(users)}",
            )


def directions(sheet: Sheet) -> Iterator[Problem]:
    """`direction` is there where the sign is nowhere else, and agrees with the number."""
    direction = sheet.cells["direction"]
    for kind in vo.STATISTICS.values():
        of_kind = sheet.cells["statistic"] == kind.name
        if kind.direction == "sign":
            yield from sheet.flag(
                of_kind & direction.isin(["", "0"]),
                "direction",
                f"statistic {kind.name} needs a direction, but it is '{{direction}}'",
                "+ or -",
                "write + (cases higher) or - (cases lower); no difference: statistic ns",
            )
        elif kind.direction == "zero":
            yield from sheet.flag(
                of_kind & direction.isin(["", "+", "-"]),
                "direction",
                f"statistic {kind.name} goes with direction 0, but it is '{{direction}}'",
                "0",
                "write 0; where the sign is known choose "
                + ("statistic t" if kind.name == "t_abs" else "p_exact or p_threshold"),
            )
        elif kind.direction == "required":
            yield from sheet.flag(
                of_kind & (direction == ""),
                "direction",
                f"direction is empty, but {kind.name} has no sign of its own",
                "+, - or 0",
                "write + (cases higher), - (cases lower) or 0 (sign not reported)",
            )
        sign = _sign(sheet.values, kind)
        if sign is None:
            continue
        against = ((sign > 0) & (direction == "-")) | ((sign < 0) & (direction == "+"))
        shown = " and ".join(f"{c} = {{{c}}}" for c in kind.signed_by or kind.required)
        yield from sheet.flag(
            of_kind & against,
            "direction",
            f"direction is '{{direction}}' but {shown} says the opposite",
            "the sign of the statistic",
            "check in the paper which group is higher and change the one that is wrong",
        )


def intervals(sheet: Sheet) -> Iterator[Problem]:
    """Confidence intervals are complete, the right way round and contain their estimate."""
    low, high = sheet.values["ci_low"], sheet.values["ci_high"]
    for name, column in vo.INTERVAL_OF.items():
        of_kind = sheet.cells["statistic"] == name
        for one, other in (("ci_low", "ci_high"), ("ci_high", "ci_low")):
            # Where the interval is required an empty bound is reported there.
            if one not in vo.STATISTICS[name].required:
                yield from sheet.flag(
                    of_kind & ~sheet.filled(one) & sheet.filled(other),
                    one,
                    f"{one} is empty although {other} is {{{other}}}",
                    "both bounds or none",
                    "fill it in, or empty the other",
                )
        yield from sheet.flag(
            of_kind & (low >= high),
            "ci_low",
            "the interval is the wrong way round or empty: {ci_low} to {ci_high}",
            "ci_low < ci_high",
            "swap ci_low and ci_high if they were exchanged",
        )
        estimate = sheet.values[column]
        yield from sheet.flag(
            of_kind & (low < high) & ((estimate < low) | (estimate > high)),
            column,
            f"the interval {{ci_low}} to {{ci_high}} does not contain {column} = {{{column}}}",
            "ci_low <= estimate <= ci_high",
            "copy all three from the paper again; look for a lost minus sign or other units",
        )
    yield from sheet.flag(
        (sheet.cells["statistic"] == "or_ci") & (low <= 0),
        "ci_low",
        "the interval of an odds ratio cannot reach {ci_low}",
        "numbers above 0",
        "give the bounds of the odds ratio itself, not of its logarithm",
    )


def numbers_within_rows(sheet: Sheet) -> Iterator[Problem]:
    """Counts and sizes agree with each other; |t| is not negative."""
    values = sheet.values
    for group in ("case", "control"):
        yield from sheet.flag(
            values[f"events_{group}"] > values[f"total_{group}"],
            f"events_{group}",
            f"{{events_{group}}} events among {{total_{group}}}",
            f"at most total_{group}",
            "check which of the two is wrong, or whether they were exchanged",
        )
    sum_of_groups = values["n_case"] + values["n_control"]
    differs = values["n_total"].notna() & sum_of_groups.notna()
    yield from sheet.flag(
        differs & (values["n_total"] != sum_of_groups),
        "n_total",
        "n_total is {n_total}, but n_case + n_control is {n_case} + {n_control}",
        "the sum of both groups",
        "correct the one that is wrong, or leave n_total empty",
    )
    yield from sheet.flag(
        (sheet.cells["statistic"] == "t_abs") & (values["t"] < 0),
        "t",
        "t_abs is a size without sign, but t is {t}",
        "numbers of at least 0",
        "choose statistic t if the sign is known, otherwise drop the minus sign",
    )


def exchanged_variances(sheet: Sheet) -> Iterator[Problem]:
    """A standard error in `vi`, or a variance in `sei`, where the group sizes decide it.

    The large-sample variance of g, 1/n1 + 1/n2 + g^2/(2(n1+n2)) (Hedges and Olkin 1985), and of
    Fisher's z, 1/(n-3), say what to expect. An exchange is certain enough where the number is
    within 10% of the *other* quantity and off its own by a factor of three or more.
    """
    values = sheet.values
    n1, n2 = values["n_case"], values["n_control"]
    of_g = 1 / n1 + 1 / n2 + values["yi"] ** 2 / (2 * (n1 + n2))
    of_z = 1 / (values["n_total"] - 3).where(values["n_total"] > 3)
    estimand = sheet.cells["estimand"]
    variance = of_g.where(estimand == "case_control", of_z.where(estimand == "association"))
    error = np.sqrt(variance)
    decidable = error < 1 / 3
    for column, other, kind, expected in (
        ("vi", "sei", "yi_vi", error),
        ("sei", "vi", "yi_sei", variance),
    ):
        looks = decidable & ((values[column] / expected - 1).abs() < 0.1)
        yield from sheet.flag(
            looks & (sheet.cells["statistic"] == kind),
            column,
            f"{column} = {{{column}}} is what {other} would be with these sample sizes",
            f"{column} that fits n_case, n_control or n_total",
            f"if it is, move it to {other} and set statistic to yi_{other}; "
            "if not, correct the sample sizes",
        )


def _sign(values: pd.DataFrame, kind: vo.Statistic) -> pd.Series[float] | None:
    """A number whose sign is the sign of the effect, or None where the kind has no sign."""
    if kind.name == "counts":
        case = values["events_case"] / values["total_case"]
        return case - values["events_control"] / values["total_control"]
    if not kind.signed_by:
        return None
    first, *second = kind.signed_by
    if second:
        return values[first] - values[second[0]]
    return values[first] - (1 if first == "odds_ratio" else 0)
