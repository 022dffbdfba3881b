"""The joint posterior as a file: ArviZ schema, with log likelihood and log prior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from nssi_meta.models.blocks import RHO
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES

if TYPE_CHECKING:
    import xarray as xr

    from nssi_meta.evidence.read import Evidence
    from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]
_KEEP = ("mu", "tau", "omega", "sigma", "R", "tau_0")
_CHUNK = 500


def save_posterior(profiles: Profiles, path: Path, sha256: str) -> None:
    """Write the posterior as netCDF; `sha256` of the data goes into its attributes.

    Raises ValueError for a posterior under selective reporting: its likelihood is not that of the
    rows alone, which is what the file holds.
    """
    if "w" in profiles.posterior_data["posterior"]:
        raise ValueError(
            "a posterior under selective reporting cannot be saved; keep its tables, or fit "
            "without `selective`"
        )
    tree = posterior_tree(profiles)
    tree.attrs["data_sha256"] = sha256
    tree.attrs["converged"] = str(profiles.converged)
    tree.attrs["tails"] = profiles.tails
    tree.to_netcdf(path, engine="h5netcdf")


def load_posterior(
    path: Path, evidence: Evidence, *, rho: float = RHO, level: float = 0.95
) -> Profiles:
    """Profiles from a file that `save_posterior` wrote, without sampling.

    `evidence` must be what the file was made from (same table, same rows used). Raises ValueError
    when the file was made from other data or holds other mechanisms or conditions.
    """
    import xarray as xr

    from nssi_meta.inference.nuts import Fit
    from nssi_meta.synthesis.profiles import Profiles, joint_data

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        posterior = tree.load()
    if posterior.attrs.get("data_sha256") != evidence.sha256:
        raise ValueError(f"{path} was made from other data; run `nssi-meta run` again")
    data, index = joint_data(evidence, rho=rho)
    for name, wanted in (("mechanism", data.mechanisms), ("condition", data.conditions)):
        if tuple(np.asarray(posterior["posterior"][name]).tolist()) != wanted:
            raise ValueError(f"{path} holds other {name}s than the data; run `nssi-meta run` again")
    diagnostics = pd.DataFrame(columns=["quantity", "r_hat", "ess_bulk", "ess_tail", "ok"])
    problems = () if posterior.attrs.get("converged") == "True" else ("the run did not converge",)
    fit = Fit(posterior, diagnostics, {}, problems)
    tails = float(posterior.attrs.get("tails", np.inf))
    return Profiles(data, fit, index, evidence.mechanisms, evidence.conditions, level, tails)


def posterior_tree(profiles: Profiles) -> xr.DataTree:
    """DataTree with posterior, sample_stats, log_likelihood (one per block) and log_prior."""
    import xarray as xr

    source = profiles.posterior_data
    posterior = source["posterior"].dataset[list(_KEEP)]
    shape = posterior["omega"].shape
    blocks = _block_names(profiles)
    pointwise = block_log_likelihood(profiles).reshape(*shape, len(blocks))
    likelihood = xr.Dataset(
        {"evidence": (("chain", "draw", "block"), pointwise)},
        coords={**{d: posterior[d] for d in ("chain", "draw")}, "block": blocks},
    )
    prior = xr.Dataset(
        {name: (("chain", "draw"), values) for name, values in _log_prior(posterior).items()},
        coords={d: posterior[d] for d in ("chain", "draw")},
    )
    stats = source["sample_stats"].dataset
    scalar = [str(n) for n, v in stats.data_vars.items() if v.dims == ("chain", "draw")]
    tree: xr.DataTree = xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": stats[scalar],
            "log_likelihood": likelihood,
            "log_prior": prior,
        }
    )
    return tree


def _block_names(profiles: Profiles) -> list[str]:
    frame = profiles.data.frame
    return ["+".join(frame["effect_id"].iloc[rows]) for rows in profiles.data.layout.block_rows]


def block_log_likelihood(profiles: Profiles) -> Floats:
    """Log likelihood (S, blocks) of every draw, study effects integrated out."""
    data = profiles.data
    mu, tau, omega = (profiles.draws(n) for n in ("mu", "tau", "omega"))
    arms = np.concatenate([mu, np.zeros((*mu.shape[:2], 1))], axis=2)
    parts = []
    for i in range(0, len(mu), _CHUNK):
        part = slice(i, i + _CHUNK)
        mean = arms[part, data.mechanism, data.case] - arms[part, data.mechanism, data.comparator]
        parts.append(
            log_likelihood(data.layout, mean, tau[part][:, data.mechanism], omega[part][:, None])
        )
    return np.concatenate(parts)


def _log_prior(posterior: xr.Dataset) -> dict[str, Floats]:
    """Log prior density of the hyperparameters, by name (what power-scaling needs)."""

    def half_normal(x: Floats, scale: float) -> Floats:
        const = 0.5 * np.log(2 / np.pi) - np.log(scale)
        return np.asarray(const - 0.5 * (x / scale) ** 2)

    out = {
        name: half_normal(np.asarray(posterior[name]), scale)
        for name, scale in PRIOR_SCALES.items()
    }
    out["sigma"] = out["sigma"].sum(axis=-1)
    R = np.asarray(posterior["R"])
    out["R"] = (LKJ_ETA - 1) * np.linalg.slogdet(R)[1] - _log_lkj_constant(R.shape[-1])
    return out


def _log_lkj_constant(d: int) -> float:
    """Log of the LKJ density's normalising constant (Lewandowski et al. 2009, eq. 16-17)."""
    total = 0.0
    for k in range(1, d):
        beta = LKJ_ETA + (d - k - 1) / 2
        total += (2 * LKJ_ETA - 2 + d - k) * (d - k) * np.log(2)
        total += (d - k) * (2 * gammaln(beta) - gammaln(2 * beta))
    return float(total)
