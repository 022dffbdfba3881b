"""`pool --method`: the classical analysis of the same rows, exact ones only."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

#: Columns for people.
CLASSICAL_COLUMNS = {
    "mechanism": "Mechanism",
    "condition": "Condition",
    "estimand": "Estimand",
    "k": "k",
    "n_bounds": "Bounds out",
    "estimate": "Estimate",
    "ci_low": "Low",
    "ci_high": "High",
    "pred_low": "New low",
    "pred_high": "New high",
    "robust_se": "Robust SE",
    "robust_low": "Robust low",
    "robust_high": "Robust high",
    "tau2": "tau2",
    "I2": "I2 %",
    "H2": "H2",
    "Q": "Q",
    "Q_p": "p of Q",
    "note": "Note",
}
_BAYESIAN = (
    "mu_prior",
    "tau_prior",
    "omega_prior",
    "interval",
    "engine",
    "delta",
    "measure",
    "sd",
    "ni",
    "seed",
)


def check_words(method: str | None, test: str | None) -> None:
    """Refuse options of the other kind of analysis, rather than ignore them."""
    context = click.get_current_context()
    if method is None:
        if test is not None:
            raise click.UsageError("--test belongs to the classical analysis: name its --method")
        return
    given = [
        f"--{name.replace('_', '-')}"
        for name in _BAYESIAN
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--method is the classical analysis, which has no {', '.join(given)}; leave out one "
            "or the other"
        )


def show_mirror(
    source: Any, form: str, method: str, test: str | None, level: float, rho: float
) -> None:
    """Print the classical pools of `source` (evidence, or a frame of ready-made effects)."""
    from nssi_meta.synthesis.classical import classical_pools
    from nssi_meta.terminal import note as say
    from nssi_meta.terminal import show

    table = classical_pools(source, method, test, level, rho)
    table["note"] = [_in_options(note) for note in table["note"]]
    if table["estimate"].isna().all():
        notes = "; ".join(table["note"].unique())
        raise click.UsageError(f"{notes}. Without --method the Bayesian pool uses all rows")
    empty = table["estimate"].isna()
    bounds, unsigned = int(table["n_bounds"].sum()), int(table["n_unsigned"].sum())
    shown = table.dropna(axis=1, how="all") if form == "table" else table
    if form == "table":
        shown = shown[~empty]
    show(shown, form, CLASSICAL_COLUMNS)
    used = f"Exact rows only: {int(table['k'].sum())} used"
    say(f"{used}, left out {bounds} bounds and {unsigned} sizes without a sign.")
    if form == "table" and empty.any():
        say(
            f"{int(empty.sum())} of {len(table)} pools are not shown: they have too few exact rows "
            "for this method (--format csv says why)."
        )


def _in_options(note: str) -> str:
    """A remedy in the words of the command line."""
    return (
        note.replace("method='EE'", "--method ee --test z")
        .replace("test='adhoc'", "--test adhoc")
        .replace("test='z'", "--test z")
    )
