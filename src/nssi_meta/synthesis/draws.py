"""A pool's posterior as draws: what an ArviZ function, or a colleague with other tools, reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.conditions import bound_priors
from nssi_meta.inference.effect_draws import effect_draws
from nssi_meta.models.block_grid import BlockGrid
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.marginal import in_chunks
from nssi_meta.synthesis.cells import Cell, Options
from nssi_meta.synthesis.counts_cell import CountsCell

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

CHAINS, DRAWS = 4, 1000
#: More rows would make draws by row larger than a computer's memory likes (160 MB each here).
MOST_ROWS = 5000


def draws_tree(cell: Cell, options: Options) -> xr.DataTree:
    """Joint draws of a cell's posterior as a DataTree, in 4 chains of 1,000 independent draws.

    Groups: `posterior` with mu, tau, omega (where it is in the model), prediction (the effect in a
    new setting) and theta (the true effect of each row, `effect_id`); `log_likelihood` with one
    value a study (rows of studies that share people count as one); `log_prior` with one value a
    parameter (up to a constant where the prior is improper). For more than `MOST_ROWS` rows theta
    and the log likelihood are left out.
    """
    import xarray as xr

    mu, tau, omega = cell.posterior.draws(CHAINS * DRAWS, options.seed)
    rng = np.random.default_rng([options.seed, 2])
    new = mu + np.hypot(tau, omega) * rng.standard_normal(len(mu))
    posterior: dict[str, Any] = {"mu": mu, "tau": tau, "prediction": new}
    if cell.posterior.omega_density is not None:
        posterior["omega"] = omega
    groups = {"/posterior": _dataset(posterior)}
    if len(cell.rows) <= MOST_ROWS:
        if isinstance(cell, CountsCell):
            theta = cell.effect_draws(mu, tau, options.seed)
        else:
            errors = partial(vcalc, rho=options.rho)
            theta = effect_draws(
                cell.rows, cell.layout, mu, tau, omega, errors, options.rho, options.seed
            )
        of_rows = {"effect_id": cell.rows["effect_id"].astype(str).tolist()}
        groups["/posterior"] = _dataset({**posterior, "theta": theta}, of_rows)
        groups["/log_likelihood"] = _dataset(*_by_study(cell, mu, tau, omega))
    groups["/log_prior"] = _dataset(_log_prior(cell, posterior))
    return xr.DataTree.from_dict(groups)


def _dataset(values: Mapping[str, Floats], names: Mapping[str, list[str]] | None = None) -> Any:
    """Draws (S,) or (S, m) by name as a data set; `names` of the one dimension of length m."""
    import xarray as xr

    coords: dict[str, Any] = {"chain": np.arange(CHAINS), "draw": np.arange(DRAWS)}
    own = {name: np.array(labels, dtype=object) for name, labels in (names or {}).items()}
    dims = ["chain", "draw", *own]
    shaped = {name: v.reshape(CHAINS, DRAWS, *v.shape[1:]) for name, v in values.items()}
    variables = {name: (dims[: value.ndim], value) for name, value in shaped.items()}
    return xr.Dataset(variables, {**coords, **own})


def _by_study(
    cell: Cell, mu: Floats, tau: Floats, omega: Floats
) -> tuple[dict[str, Floats], dict[str, list[str]]]:
    """Log likelihood (S, J) of the rows of each study, and the studies' names."""
    if isinstance(cell, CountsCell):
        return {"study": cell.log_likelihood(mu, tau)}, {"study_id": list(cell.rows["study_id"])}
    k = cell.layout.k

    def part(s: slice) -> Floats:
        mean, sd = (np.repeat(x[s][:, None], k, axis=1) for x in (mu, tau))
        return np.asarray(log_likelihood(cell.layout, mean, sd, omega[s][:, None]))

    value = in_chunks(part, len(mu), 4 * k)
    if (bounds := cell.layout.bound_blocks) is not None:
        # As the pool was integrated, sampling errors by sample included; the rest is far off.
        by_table = BlockGrid(cell.layout).at(mu, tau, omega)
        column = cell.layout.block_of_row[bounds.first]
        value[:, column] = np.where(np.isnan(by_table), value[:, column], by_table)
    study = cell.rows["study_id"].astype(str).to_numpy()
    blocks = cell.layout.block_rows
    called = [" + ".join(dict.fromkeys(study[rows])) for rows in blocks]
    names = list(dict.fromkeys(called[b] for b in np.argsort([rows[0] for rows in blocks])))
    where = {name: j for j, name in enumerate(names)}
    place = [where[name] for name in called]
    total = np.zeros((len(mu), len(names)))
    np.add.at(total.T, place, value.T)
    return {"study": total}, {"study_id": names}


def _log_prior(cell: Cell, draws: Mapping[str, Floats]) -> dict[str, Floats]:
    """Log prior density (S,) of each parameter that is not fixed."""
    mu, tau, omega = cell.priors
    of_tau, of_omega = bound_priors(cell.layout, tau, omega if "omega" in draws else None)
    priors = {"mu": mu, "tau": of_tau, "omega": of_omega}
    return {n: prior.logpdf(draws[n]) for n, prior in priors.items() if prior is not None}
