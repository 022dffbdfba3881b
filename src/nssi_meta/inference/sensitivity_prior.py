"""Power-scaling sensitivity: the posterior's answer when prior or likelihood counts more or less.

Prior (or likelihood) raised to a power near 1, the distance of the new posterior from the old one
per doubling of the power (Kallioinen et al. 2024, Stat Comput 34:57). For pools the scaled
posterior is exact: given a quadrature node mu is normal, and a normal times a power of a normal is
one again; the nodes are reweighted. For draws ArviZ's `psense_summary` reweights them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.conditions import bound_priors
from nssi_meta.inference.densities import Density, NormalMixture, PanelDensity
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.models.blocks import Layout
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.models.priors import Prior

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

#: Powers between which the answer is measured, and the sensitivity that deserves a word.
ALPHAS = (0.99, 1.01)
THRESHOLD = 0.05
#: The distance is taken over the range that this many draws would span, as ArviZ takes it over the
#: range of the draws it has.
RANGE_OF = 4000
_POINTS = 2000
_CHUNK = 2_000_000
COLUMNS = ("quantity", "prior", "likelihood", "diagnosis")


@dataclass(frozen=True)
class _Factor:
    """log of prior or likelihood at each node (n,): `log` - precision (mu - centre)^2 / 2."""

    log: Floats
    centre: Floats
    precision: Floats


def power_scaling(
    layout: Layout,
    posterior: ExactPosterior,
    *,
    mu_prior: Prior,
    tau_prior: Prior,
    omega_prior: Prior | None = None,
    alphas: tuple[float, float] = ALPHAS,
) -> pd.DataFrame:
    """Sensitivity of mu, tau and omega of a pool to prior and likelihood.

    Layout and priors are those that `posterior` was fitted with; all priors are scaled together.
    Returns one row a quantity (`COLUMNS`). `diagnosis` is empty, "prior-data conflict" (both
    sensitivities above 0.05: they pull in different directions) or "strong prior or weak
    likelihood" (the prior's alone). Raises ValueError for powers that do not lie around 1.
    """
    tau, omega = bound_priors(layout, tau_prior, omega_prior)
    return _scaled(
        posterior,
        _prior(posterior, mu_prior, tau, omega),
        _likelihood(layout, posterior, mu_prior),
        alphas,
    )


def power_scaling_of_nodes(
    posterior: ExactPosterior,
    log_likelihood: Floats,
    *,
    mu_prior: Prior,
    tau_prior: Prior,
    alphas: tuple[float, float] = ALPHAS,
) -> pd.DataFrame:
    """The same for a posterior of any likelihood of mu and tau, given as its log at the nodes (n,).

    mu must be an axis of the posterior's quadrature.
    """
    zero = np.zeros_like(log_likelihood)
    tau = None if tau_prior.name == "zero" else tau_prior
    factor = _Factor(log_likelihood, zero, zero)
    return _scaled(posterior, _prior(posterior, mu_prior, tau, None), factor, alphas)


def _scaled(
    posterior: ExactPosterior, prior: _Factor, likelihood: _Factor, alphas: tuple[float, float]
) -> pd.DataFrame:
    low, high = alphas
    if not 0 < low < 1 < high < 2:
        raise ValueError(f"powers must lie on either side of 1, within (0, 2); got {low}, {high}")
    base = _marginals(posterior)
    table = {name: [0.0, 0.0] for name in base}
    for i, factor in enumerate((prior, likelihood)):
        scaled = [_marginals(_tilted(posterior, factor, alpha - 1)) for alpha in alphas]
        for name in base:
            near, far = (distance(base[name], s[name]) for s in scaled)
            table[name][i] = (far / np.log2(high) - near / np.log2(low)) / 2
    records = [(name, *pair, diagnose(*pair)) for name, pair in table.items()]
    return pd.DataFrame(records, columns=list(COLUMNS))


def diagnose(prior: float, likelihood: float) -> str:
    """What two sensitivities say (thresholds of Kallioinen et al. 2024, section 3)."""
    if prior < THRESHOLD:
        return ""
    return "prior-data conflict" if likelihood >= THRESHOLD else "strong prior or weak likelihood"


def power_scaling_of_draws(tree: xr.DataTree, names: Sequence[str]) -> pd.DataFrame:
    """The same table for draws, by ArviZ: of `names` in a tree with log_prior and log_likelihood.

    Quantities that never vary (a correlation of 1 with itself) are left out, and so is the second
    of two equal ones. Raises ValueError where the tree lacks one of the groups.
    """
    missing = {"posterior", "log_prior", "log_likelihood"} - set(tree.children)
    if missing:
        raise ValueError(f"the posterior has no group {', '.join(sorted(missing))}; save it anew")
    import logging

    from arviz_stats.psense import psense_summary

    # ArviZ says by its logger what the column `diagnosis` says.
    logger = logging.getLogger("arviz_stats.psense")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = psense_summary(tree, var_names=list(names), alphas=ALPHAS, round_to=12)
    finally:
        logger.setLevel(level)
    found = found.dropna().drop_duplicates(["prior", "likelihood"])
    records = [
        (str(name), float(a), float(b), diagnose(float(a), float(b)))
        for name, a, b in zip(found.index, found["prior"], found["likelihood"], strict=True)
    ]
    return pd.DataFrame(records, columns=list(COLUMNS))


def distance(old: Density, new: Density) -> float:
    """Cumulative Jensen-Shannon distance of two distributions, the larger of both directions.

    sqrt of (CJS(P, Q) + CJS(Q, P)) / int (P + Q), base 2, as in ArviZ and priorsense (Nguyen and
    Vreeken 2015), between the quantiles of `old` that `RANGE_OF` draws would reach.
    """
    low, high = (old.quantile(p) for p in (1 / (RANGE_OF + 1), RANGE_OF / (RANGE_OF + 1)))
    x = np.linspace(low, high, _POINTS)
    p, q = np.asarray(old.cdf(x)), np.asarray(new.cdf(x))
    return max(_cjs(p, q, x), _cjs(1 - p, 1 - q, x))


def _cjs(p: Floats, q: Floats, x: Floats) -> float:
    def relative(a: Floats) -> Floats:
        middle = (p + q) / 2
        ratio = np.where((a > 0) & (middle > 0), a / np.where(middle > 0, middle, 1.0), 1.0)
        return a * np.log2(ratio)

    # The linear terms of the two directions cancel in their sum.
    total = np.trapezoid(relative(p) + relative(q), x)
    return float(np.sqrt(max(total, 0.0) / np.trapezoid(p + q, x)))


def _prior(post: ExactPosterior, mu: Prior, tau: Prior | None, omega: Prior | None) -> _Factor:
    log = np.zeros_like(post.tau)
    for prior, values in ((tau, post.tau), (omega, post.omega)):
        if prior is not None:
            log = log + prior.logpdf(values)
    zero = np.zeros_like(log)
    if not _integrated(post):
        return _Factor(log + mu.logpdf(post.mu_mean), zero, zero)
    if mu.name != "normal":
        return _Factor(log, zero, zero)
    return _Factor(log, zero + mu.params[0], zero + mu.params[1] ** -2)


def _likelihood(layout: Layout, post: ExactPosterior, mu: Prior) -> _Factor:
    """The likelihood at the nodes; where mu is integrated it is normal in mu."""
    centre, precision = post.mu_mean, np.zeros_like(post.tau)
    if _integrated(post):
        whole, own = post.mu_sd**-2, 0.0 if mu.name == "flat" else mu.params[1] ** -2
        precision = np.maximum(whole - own, 1e-12 * whole)
        mean = 0.0 if mu.name == "flat" else mu.params[0]
        centre = (whole * post.mu_mean - own * mean) / precision
    log = np.zeros_like(post.tau)
    live = np.flatnonzero(post.weight > 1e-15 * post.weight.max())
    step = max(1, _CHUNK // (32 * layout.k))
    for i in range(0, live.size, step):
        at = live[i : i + step]
        shape = (len(at), layout.k)
        mean_at, tau_at = (np.broadcast_to(v[at, None], shape) for v in (centre, post.tau))
        value = log_likelihood(layout, mean_at, tau_at, post.omega[at, None])
        log[at] = value.sum(axis=-1)
    return _Factor(log, centre, precision)


def _integrated(post: ExactPosterior) -> bool:
    return isinstance(post.mu, NormalMixture)


def _tilted(post: ExactPosterior, factor: _Factor, power: float) -> ExactPosterior:
    """The posterior times `factor` to the `power`, on the same nodes."""
    var, precision = post.mu_sd**2, power * factor.precision
    shrink = 1 + var * precision
    gap2 = (post.mu_mean - factor.centre) ** 2
    log = power * factor.log - 0.5 * (np.log(shrink) + precision * gap2 / shrink)
    live = post.weight > 0
    log = np.where(live, log, log[live].max())
    weight = post.weight * np.exp(log - log[live].max())
    weight = weight / weight.sum()
    mean = (post.mu_mean + var * precision * factor.centre) / shrink
    sd = post.mu_sd / np.sqrt(shrink)
    omega = post.omega_density
    return replace(
        post,
        mu=NormalMixture.build(mean, sd, weight)
        if isinstance(post.mu, NormalMixture)
        else _reweighted(post.mu, post.mu_mean, post.weight, weight),
        tau_density=_reweighted(post.tau_density, post.tau, post.weight, weight),
        omega_density=None
        if omega is None
        else _reweighted(omega, post.omega, post.weight, weight),
    )


def _reweighted[D](density: D, nodes: Floats, old: Floats, new: Floats) -> D:
    """A marginal density whose nodes' probabilities went from `old` to `new`."""
    if not isinstance(density, PanelDensity):
        return density  # a point mass: nothing to move
    _, index = np.unique(nodes, return_inverse=True)
    before, after = (np.bincount(index, w) for w in (old, new))
    ratio = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return replace(density, values=density.values * ratio.reshape(density.values.shape))


def _marginals(post: ExactPosterior) -> dict[str, Density]:
    out: dict[str, Density] = {"mu": post.mu}
    if isinstance(post.tau_density, PanelDensity):
        out["tau"] = post.tau_density
    if post.omega_density is not None:
        out["omega"] = post.omega_density
    return out
