"""One compile per model structure, reused for every data set in the process.

A structure's data are mutable nodes of its model. The first fit of a structure compiles it; later
fits with the same key, whatever their number of rows and studies, only swap the data. Between
processes the machine code is kept on disk (`compiling`).
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.compiling import compile_model, with_data
from nssi_meta.inference.nuts import (
    MORE_DRAWS,
    Fit,
    Progress,
    Reported,
    Settings,
    sample_compiled,
)
from nssi_meta.models.pool import implied_sds
from nssi_meta.models.structure import FIXED, Recipe, Structure, pack

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

#: For pools and regressions: fewer draws than `nuts.Settings`, since few quantities mix well.
SHORT = Settings(draws=1000, tune=500)
_COMPILED: dict[tuple[Hashable, ...], Any] = {}
_LOCK = threading.Lock()


def compiled_for(recipe: Recipe, progress: Progress | None = None) -> Any:
    """The compiled model holding the recipe's data; compiled at most once per process."""
    with _LOCK:
        if recipe.key not in _COMPILED:
            if progress is not None:
                progress("compiling the model")
            _COMPILED[recipe.key] = _compile(recipe)
        compiled = _COMPILED[recipe.key]
    return with_data(compiled, pack(recipe.values), recipe.coords)


def _compile(recipe: Recipe) -> Any:
    import pytensor

    # A tenth of the time goes into notes of where in the source each node was made. With numba's
    # fast arithmetic the last digits, and so the draws, would depend on which of the model's parts
    # another process had already compiled.
    with pytensor.config.change_flags(traceback__limit=0, numba__fastmath=False):
        return compile_model(recipe.model(), recipe.traced)


def sample(
    recipe: Recipe,
    reported: Reported,
    *,
    seed: int,
    settings: Settings | None = None,
    cores: int | None = None,
    progress: Progress | None = None,
    remedy: str = MORE_DRAWS,
) -> Fit:
    """`nuts.sample_compiled` of a model, compiled first if this process has not done so yet."""
    return sample_compiled(
        compiled_for(recipe, progress),
        reported,
        seed=seed,
        settings=settings,
        cores=cores,
        progress=progress,
        remedy=remedy,
    )


def refit(
    structure: Structure,
    *,
    seed: int,
    settings: Settings | None = None,
    cores: int | None = None,
    progress: Progress | None = None,
    remedy: str = MORE_DRAWS,
) -> Fit:
    """Sample a structure with its data; compiles only what this process has not compiled yet.

    Every quantity of the structure is checked, derived ones (estimated means, contrasts,
    predictions) included; look at `Fit.converged`. The returned DataTree has the groups
    `posterior` (all reported quantities), `sample_stats`, `log_likelihood` (one value a study)
    and `log_prior` (one a parameter). `settings` are `nm.Settings`; `remedy` ends the
    sentence about draws that are too few. Raises TypeError for what is no structure.
    """
    if not isinstance(structure, Structure):
        raise TypeError(
            f"refit takes what a model's function returns, not {type(structure).__name__}: "
            'rows = model_rows(frame, ["age"], vi="vi"), then refit(regression(**rows.exact), '
            "seed=1)"
        )

    def reported(posterior: xr.Dataset) -> Mapping[str, Floats]:
        return _named(structure, _quantities(structure, posterior, seed))

    fit = sample(
        structure,
        reported,
        seed=seed,
        settings=settings or settings_of(structure),
        cores=cores,
        progress=progress,
        remedy=remedy,
    )
    return replace(fit, posterior_data=_tree(structure, fit.posterior_data, seed))


def settings_of(structure: Structure) -> Settings:
    """What a structure is sampled under where nothing else is asked for."""
    return replace(SHORT, draws=structure.draws, target_accept=structure.target_accept)


def _draws(structure: Structure, posterior: xr.Dataset) -> dict[str, Floats]:
    """Draws of all chains, one after the other: (S, ...), with what follows from them."""
    arrays = {str(name): np.asarray(array) for name, array in posterior.data_vars.items()}
    flat = {name: a.reshape(-1, *a.shape[2:]) for name, a in arrays.items()}
    flat |= implied_sds(flat, structure.values[FIXED])
    return {**flat, **structure.extra(flat)}


def _quantities(structure: Structure, posterior: xr.Dataset, seed: int) -> dict[str, Floats]:
    """Reported quantities (chain, draw, ...); the seed makes a second call give the same."""
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    values = structure.quantities(_draws(structure, posterior), np.random.default_rng(seed))
    return {name: v.reshape(*shape, *v.shape[1:]) for name, v in values.items()}


def _named(structure: Structure, quantities: Mapping[str, Floats]) -> dict[str, Floats]:
    """Each scalar quantity under its own name (chain, draw)."""
    out = {}
    for name, value in quantities.items():
        if value.ndim == 2:
            out[name] = value
        else:
            columns = zip(structure.labels[name], np.moveaxis(value, 2, 0), strict=True)
            out |= {f"{name}[{label}]": column for label, column in columns}
    return out


def _tree(structure: Structure, tree: xr.DataTree, seed: int) -> xr.DataTree:
    import xarray as xr

    posterior = tree["posterior"].dataset
    axes = {a: posterior[a].values for a in ("chain", "draw")}
    shape = len(axes["chain"]), len(axes["draw"])

    def dataset(values: Mapping[str, Floats], labels: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
        variables, coords = {}, dict(axes)
        for name, value in values.items():
            dims = ["chain", "draw"]
            if value.ndim > 2:
                dims.append(f"{name}_label")
                coords[f"{name}_label"] = np.array(labels[name], dtype=object)
            variables[name] = (dims, value)
        return xr.Dataset(variables, coords)

    reported = _quantities(structure, posterior, seed)
    # What is drawn after sampling (the horseshoe's coefficients) is needed beside the parameters.
    drawn = {n: v.reshape(-1, *v.shape[2:]) for n, v in reported.items()}
    draws = {**_draws(structure, posterior), **drawn}
    studies = np.array(structure.studies, dtype=object)
    pointwise = structure.log_likelihood(draws).reshape(*shape, len(studies))
    likelihood = xr.Dataset(
        {"study": (["chain", "draw", "study_id"], pointwise)}, {**axes, "study_id": studies}
    )
    prior = {name: v.reshape(shape) for name, v in structure.log_prior(draws).items()}
    return xr.DataTree.from_dict(
        {
            "/posterior": dataset(reported, structure.labels),
            "/sample_stats": tree["sample_stats"].dataset,
            "/log_likelihood": likelihood,
            "/log_prior": dataset(prior, {}),
        }
    )
