"""The verb `moderators`: what goes with larger effects of a mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nssi_meta.cli.options import (
    doubtful_option,
    format_option,
    one_mechanism,
    plain_errors,
    select,
    which_pools,
)

_NUMBERS = ("median", "low", "high", "low_all", "high_all")
#: What stands below the axis of a bubble plot.
_AXES = {"female": "Female (%)", "age": "Mean age (years)", "year": "Year of publication"}
_NAMES = ("stimulus", "female", "age", "age_group", "purity", "comparator", "certainty", "year")


@click.command()
@which_pools
@click.option("--by", multiple=True, type=click.Choice(_NAMES),
              help="Only this moderator (repeatable; default: all).")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False), help="Folder for figures and their CSV.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processors.")
@doubtful_option
@format_option
@plain_errors
def moderators(data: str, mechanism: tuple[str, ...], condition: tuple[str, ...],
               estimand: tuple[str, ...], by: tuple[str, ...], out: str | None, jobs: int,
               doubtful: bool, form: str) -> None:  # fmt: skip
    """Mean effects by level, contrasts and slopes of what studies differ in; bounds included.

    [Low, High] is of one line alone. "All together" holds for all contrasts and slopes of the
    call; csv and json also have the limits for those of each moderator (low_own, high_own).

    \b
    nssi-meta moderators amygdala_activation -c nssi --by stimulus --out results/moderators
    """  # noqa: D301 - click wants the backspace character
    name = one_mechanism(mechanism)
    chosen = {"mechanism": (name,), "condition": condition, "estimand": estimand}
    evidence = select(data, chosen, None, doubtful)
    from nssi_meta.synthesis.moderators import drawable, every_line
    from nssi_meta.synthesis.moderators import moderators as fit
    from nssi_meta.terminal import MODERATOR_COLUMNS, note, progress, show

    with progress() as tell:
        found = fit(
            evidence, list(by or _NAMES), n_jobs=jobs, progress=lambda d: tell("moderators", d)
        )
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for one in drawable(found):
            click.echo(f"Written: {_draw(one, folder)}.*", err=True)
        every_line(found).to_csv(folder / "moderators.csv", index=False)
    table = every_line(found)
    if form != "table":
        show(table, form, {})
        return
    for cell, part in table.groupby(["condition", "estimand"], sort=False):
        show(_for_people(part), form, MODERATOR_COLUMNS, title=", ".join(map(str, cell)))
    note(_how_many(table), err=False)


def _for_people(table: Any) -> Any:
    """Few columns, so that a line fits on a narrow screen."""
    name = table["name"].astype(str).str.replace("_", " ")
    words = table["moderator"].str.replace("_", " ") + ": " + name
    both = [[f"{a:.2f}" if a == a else "" for a in table[c]] for c in _NUMBERS]
    own = [f"{m} [{a}, {b}]" if m else "" for m, a, b in zip(*both[:3], strict=True)]
    joint = [f"[{a}, {b}]" if a else "" for a, b in zip(*both[3:], strict=True)]
    rests = [f"{k} ({n})" for k, n in zip(table["k"], table["n_bounds"], strict=True)]
    return table.assign(line=words, rests=rests, estimate=own, together=joint)


def _how_many(table: Any) -> str:
    """How many contrasts and slopes there were, and which of them stand when all are counted."""
    tried = table[table["n_all"].notna()]
    alone = (tried["low"] > 0) | (tried["high"] < 0)
    jointly = (tried["low_all"] > 0) | (tried["high_all"] < 0)
    few = int(table["note"].str.contains("too few studies").sum())
    left = f"; {few} more had too few studies" if few else ""
    if tried.empty:
        return f"No contrast or slope could be had{left}."
    noun = "contrast or slope was" if len(tried) == 1 else "contrasts and slopes were"
    return (
        f"{len(tried)} {noun} estimated{left}. {int(alone.sum())} exclude 0 by their own interval, "
        f"{int(jointly.sum())} by that which holds all of them together with a probability of 95%."
    )


def _draw(one: Any, folder: Path) -> Path:
    """A bubble plot of a number, an orchard of the levels of a category."""
    from nssi_meta.figures import alt_bubble, alt_orchard, bubble, orchard, save
    from nssi_meta.figures.records import SCALES

    stem = folder / "_".join([*one.key, one.moderator])
    scale = SCALES[str(one.effects["scale"].iloc[0])][1]
    title = f"{one.key[0]} in {one.key[1]} by {_AXES.get(one.moderator, one.moderator)}"
    title = title.replace("_", " ")
    if len(one.curve):
        axis = _AXES.get(one.moderator, one.moderator)
        figure = bubble(one.effects, one.curve, moderator=axis, scale=scale, title=title)
        text = alt_bubble(one.effects, one.curve, moderator=axis)
        table = one.effects[["effect_id", "x", "yi", "sei", "lower", "upper"]]
        one.curve.to_csv(stem.with_name(stem.name + "_curve.csv"), index=False)
    else:
        effects = one.effects.assign(group=one.effects["x"])
        figure = orchard(effects, one.levels, scale=scale, title=title)
        text = alt_orchard(effects, one.levels)
        table = one.levels
    save(figure, stem, title=title, alt_text=text, table=table)
    return stem
