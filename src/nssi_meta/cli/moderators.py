"""The verb `moderators`: what goes with larger effects of a mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nssi_meta.cli.options import DEFAULT_DATA, doubtful_option, format_option, plain_errors, select

_NAMES = ("stimulus", "female", "age", "age_group", "purity", "comparator", "certainty", "year")


@click.command()
@click.argument("mechanism")
@click.option("--data", default=DEFAULT_DATA, show_default=True, type=click.Path())
@click.option("--condition", "-c", multiple=True, help="Only this condition (repeatable).")
@click.option("--estimand", "-e", multiple=True, help="Only this estimand (repeatable).")
@click.option("--by", multiple=True, type=click.Choice(_NAMES),
              help="Only this moderator (repeatable; default: all).")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False), help="Folder for figures and their CSV.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processors.")
@doubtful_option
@format_option
@plain_errors
def moderators(mechanism: str, data: str, condition: tuple[str, ...], estimand: tuple[str, ...],
               by: tuple[str, ...], out: str | None, jobs: int, doubtful: bool,
               form: str) -> None:  # fmt: skip
    """Mean effects by level, contrasts and slopes of what studies differ in; bounds included.

    Low to High is of one line alone. "All low" to "All high" hold for all contrasts and slopes of
    the call together; csv and json also have those of each moderator (low_own, high_own).

    \b
    nssi-meta moderators amygdala_activation -c nssi --by stimulus --out results/moderators
    """  # noqa: D301 - click wants the backspace character
    chosen = {"mechanism": (mechanism,), "condition": condition, "estimand": estimand}
    evidence = select(data, chosen, None, doubtful)
    from nssi_meta.synthesis.moderators import drawable, every_line
    from nssi_meta.synthesis.moderators import moderators as fit
    from nssi_meta.terminal import MODERATOR_COLUMNS, progress, show

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
    show(table, form, MODERATOR_COLUMNS)
    if form == "table":
        click.echo(_how_many(table))


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
        f"{len(tried)} {noun} estimated{left}. {int(alone.sum())} exclude 0 between Low and High, "
        f"{int(jointly.sum())} between All low and All high, which hold all of them with a "
        "probability of at least 95%."
    )


def _draw(one: Any, folder: Path) -> Path:
    """A bubble plot of a number, an orchard of the levels of a category."""
    from nssi_meta.figures import alt_bubble, alt_orchard, bubble, orchard, save
    from nssi_meta.figures.records import SCALES

    stem = folder / "_".join([*one.key, one.moderator])
    scale = SCALES[str(one.effects["scale"].iloc[0])][1]
    title = f"{one.key[0]} in {one.key[1]} by {one.moderator}".replace("_", " ")
    if len(one.curve):
        figure = bubble(one.effects, one.curve, moderator=one.moderator, scale=scale, title=title)
        text = alt_bubble(one.effects, one.curve, moderator=one.moderator)
        table = one.effects[["effect_id", "x", "yi", "sei", "lower", "upper"]]
        one.curve.to_csv(stem.with_name(stem.name + "_curve.csv"), index=False)
    else:
        effects = one.effects.assign(group=one.effects["x"])
        figure = orchard(effects, one.levels, scale=scale, title=title)
        text = alt_orchard(effects, one.levels)
        table = one.levels
    save(figure, stem, title=title, alt_text=text, table=table)
    return stem
