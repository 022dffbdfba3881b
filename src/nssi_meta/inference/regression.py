"""Meta-regression by quadrature: coefficients in closed form, tau (and omega) numerically.

y ~ N(X b, V + tau^2 G + omega^2 I), b_j ~ N(m_j, s_j^2) or flat. Given tau and omega the
coefficients are normal (Röver and Friede 2023, Res Synth Methods 14:887), so every linear
combination of them is a mixture of normals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.axes import heavy_sd_axis, tau_scale
from nssi_meta.inference.conditions import bound_priors
from nssi_meta.inference.densities import NormalMixture, PanelDensity
from nssi_meta.inference.linear_rows import LinearRows
from nssi_meta.inference.panels import tail_rule
from nssi_meta.inference.point_mass import PointMass
from nssi_meta.models.blocks import Layout
from nssi_meta.models.checked_rows import check_rows
from nssi_meta.models.priors import TAU_DEFAULT, Prior, PriorError

Floats = NDArray[np.float64]

#: Columns whose smallest singular value, at unit length, is below this count as collinear.
_COLLINEAR = 1e-9


@dataclass(frozen=True)
class Regression:
    """Posterior of a meta-regression.

    `names` (p,); `mean` (p,) and `covariance` (p, p) of the coefficients; `node_mean` (n, p),
    `node_covariance` (n, p, p), `tau`, `omega`, `weight` (n,) the joint posterior as a mixture.
    `log_evidence` is None where a prior is improper. `flat` (p,) tells the coefficients without a
    prior of their own, `between` (q, p) the combinations of them that studies alone can tell: mean
    and SD of x'b exist as far as those of omega and, where x touches these, of tau (`moments`).
    """

    names: tuple[str, ...]
    mean: Floats
    covariance: Floats
    tau_density: PanelDensity | PointMass
    omega_density: PanelDensity | None
    node_mean: Floats
    node_covariance: Floats
    tau: Floats
    omega: Floats
    weight: Floats
    log_evidence: float | None
    error: float
    flat: NDArray[np.bool_]
    between: Floats
    moments: tuple[int, int]

    def linear(self, x: Sequence[float] | Floats) -> NormalMixture:
        """Posterior of x'b: a coefficient, an estimated mean, or a contrast; `x` (p,)."""
        x = self._row(x)
        var = np.einsum("i,nij,j->n", x, self.node_covariance, x)
        # As a share of what x is, column by column.
        share = np.abs(self.between @ x) > 1e-9 * (np.abs(self.between) @ np.abs(x))
        exist = self.moments[0] if share.any() else 2, self.moments[1] if x[self.flat].any() else 2
        moments = min(exist)
        return NormalMixture.build(self.node_mean @ x, np.sqrt(var), self.weight, moments)

    def predict(self, x: Sequence[float] | Floats) -> NormalMixture:
        """Posterior of the effect in a new setting with moderators `x` (p,)."""
        x = self._row(x)
        var = np.einsum("i,nij,j->n", x, self.node_covariance, x)
        total = np.sqrt(var + self.tau**2 + self.omega**2)
        return NormalMixture.build(self.node_mean @ x, total, self.weight, min(self.moments))

    @property
    def coefficients(self) -> tuple[NormalMixture, ...]:
        """The marginal posterior of every coefficient, in the order of `names`."""
        return tuple(self.linear(row) for row in np.eye(len(self.names)))

    def _row(self, x: Sequence[float] | Floats) -> Floats:
        row = np.asarray(x, dtype=float)
        if row.shape != (len(self.names),) or not np.isfinite(row).all():
            raise ValueError(f"x needs {len(self.names)} finite numbers: {', '.join(self.names)}")
        return row


def fit_regression(
    layout: Layout,
    X: Floats,
    *,
    beta_prior: Sequence[Prior],
    tau_prior: Prior,
    omega_prior: Prior | None = None,
    names: Sequence[str] | None = None,
    n_studies: int | None = None,
) -> Regression:
    """Posterior of a meta-regression on exact rows.

    Parameters
    ----------
    layout
        Rows of `nssi_meta.models.blocks.layout`, all of them exact effects (k).
    X
        Design matrix (k, p), with a column of ones for an intercept.
    beta_prior
        A prior per coefficient: normal or flat.
    tau_prior, omega_prior
        As in `fit_exact`; `zero` leaves the component out.
    names
        The coefficients' names.

    Raises
    ------
    PriorError
        If a coefficient's prior is neither normal nor flat, or the posterior is improper.
    ValueError
        If X does not fit the rows, is collinear, or has no fewer flat coefficients than rows.
    FloatingPointError
        If quadrature does not resolve the posterior.
    """
    check_rows(layout)
    if not layout.gaussian:
        raise ValueError(
            "bounds and sizes without a sign cannot be integrated here: exact rows only"
        )
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or len(X) != layout.k or not X.shape[1] or not np.isfinite(X).all():
        raise ValueError(f"X must be finite with a row for each of the {layout.k} effects")
    labels = tuple(names or (f"b{j}" for j in range(X.shape[1])))
    mean, sd = _beta(beta_prior, labels)
    flat = int(np.isinf(sd).sum())
    if n_studies is None:
        n_studies = len(set(layout.block_of_row.tolist()))
    _check_design(X, sd, labels)
    between = _between(layout, X, np.isinf(sd))
    _check_propriety(tau_prior, len(between), n_studies)
    priors = bound_priors(layout, tau_prior, omega_prior)
    rows = LinearRows(layout, X, mean, sd)
    scale = tau_scale(replace(layout, y=rows.residual))
    sizes = (n_studies - len(between), layout.k - flat)
    falls = [np.inf if p is None else p.tail + n for p, n in zip(priors, sizes, strict=True)]
    # As far as a wide prior reaches, one of a coefficient may be as good as flat.
    all_of = _between(layout, X, np.ones(len(labels), dtype=bool))
    own = (n_studies - len(all_of), layout.k - len(labels))
    hyper = [
        heavy_sd_axis(p, layout, scale, fall, least)
        for p, fall, least in zip(priors, falls, own, strict=True)
        if p is not None
    ]

    def sds(x: Sequence[Floats]) -> tuple[Floats, Floats]:
        parts = [v.reshape([-1 if i == d else 1 for i in range(len(x))]) for d, v in enumerate(x)]
        zero = np.zeros([1] * max(len(x), 1))
        tau = parts.pop(0) if priors[0] is not None else zero
        return tau, parts.pop(0) if priors[1] is not None else zero

    def density(*x: Floats) -> Floats:
        tau, omega = sds(x)
        value = rows.at(tau, omega)[0]
        for prior, at in zip(priors, (tau, omega), strict=True):
            value = value + (prior.logpdf(at) if prior is not None else 0.0)
        return value

    proper = not flat and all(p is None or p.proper for p in priors)
    tau_density: PanelDensity | PointMass = PointMass()
    omega_density = None
    if hyper:
        grid = integrate(density, [a for a, _ in hyper], [e for _, e in hyper])
        tau, omega = np.broadcast_arrays(*sds(grid.x))
        weight, error, log_total = grid.weight.ravel(), grid.error, grid.log_integral
        if priors[0] is not None:
            tau_density = replace(grid.marginal(0), finite_moments=tail_rule(falls[0])[1])
        if priors[1] is not None:
            omega_density = replace(
                grid.marginal(len(hyper) - 1), finite_moments=tail_rule(falls[1])[1]
            )
    else:
        tau, omega = np.zeros(1), np.zeros(1)
        weight, error, log_total = np.ones(1), 0.0, float(density()[0])
    _, b, cov = rows.at(tau, omega)
    b, cov = b.reshape(-1, b.shape[-1]), cov.reshape(-1, *cov.shape[-2:])
    centre = weight @ b
    joint = np.einsum("n,nij->ij", weight, cov) + (b - centre).T @ (weight[:, None] * (b - centre))
    return Regression(
        labels, centre, joint, tau_density, omega_density, b, cov, tau.ravel(), omega.ravel(),
        weight, log_total if proper else None, error, np.isinf(sd), between,
        (tail_rule(falls[0])[1], tail_rule(falls[1])[1]),
    )  # fmt: skip


def coefficient_bayes_factors(
    layout: Layout,
    X: Floats,
    *,
    beta_prior: Sequence[Prior],
    tau_prior: Prior,
    omega_prior: Prior | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, float]:
    """Natural log of BF10 of every coefficient against 0, and of `tau` against tau = 0.

    Raises `PriorError` when a prior is improper.
    """
    labels = tuple(names or (f"b{j}" for j in range(X.shape[1])))

    def log_p(keep: list[int], tau: Prior) -> float:
        if not keep:
            columns, priors = np.zeros((layout.k, 1)), [Prior("normal", (0.0, 1.0), "mu")]
        else:
            columns, priors = X[:, keep], [beta_prior[j] for j in keep]
        found = fit_regression(
            layout, columns, beta_prior=priors, tau_prior=tau, omega_prior=omega_prior
        ).log_evidence
        if found is None:
            raise PriorError("no Bayes factor exists under an improper prior; use normal priors")
        return found

    all_of = list(range(X.shape[1]))
    full = log_p(all_of, tau_prior)
    out = {labels[j]: full - log_p([i for i in all_of if i != j], tau_prior) for j in all_of}
    if tau_prior.name != "zero":
        out["tau"] = full - log_p(all_of, Prior("zero", (), "tau"))
    return out


def _beta(priors: Sequence[Prior], names: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Prior means and SDs (inf where flat)."""
    if len(priors) != len(names):
        raise ValueError(f"{len(names)} coefficients need as many priors, not {len(priors)}")
    for prior, name in zip(priors, names, strict=True):
        if prior.name not in ("normal", "flat"):
            raise PriorError(f"the prior of {name} must be normal(mean,sd) or flat, not {prior}")
    pairs = [(0.0, math.inf) if p.name == "flat" else p.params for p in priors]
    return np.array([m for m, _ in pairs]), np.array([s for _, s in pairs])


def _check_design(X: Floats, sd: Floats, names: tuple[str, ...]) -> None:
    """Refuse what leaves a flat coefficient undetermined, by name."""
    flat = np.isinf(sd)
    if flat.any() and len(X) <= int(flat.sum()):
        raise ValueError(
            f"{int(flat.sum())} coefficients with flat priors need more than {len(X)} effects: "
            "leave moderators out, or give the coefficients normal priors"
        )
    length = np.sqrt((X**2).sum(axis=0))
    empty = [n for n, is_zero, f in zip(names, length == 0, flat, strict=True) if is_zero and f]
    if empty:
        raise ValueError(f"{', '.join(empty)}: 0 in every row, so the data say nothing about it")
    # A flat coefficient is determined if its column is not spanned by the others; a normal prior
    # determines its own.
    rows = np.vstack([X / np.where(length > 0, length, 1.0), np.eye(len(sd))[~flat]])
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    if values[-1] < _COLLINEAR:
        tied = [n for n, w in zip(names, np.abs(right[-1]), strict=True) if w > 1e-6]
        raise ValueError(
            f"{', '.join(tied)} are collinear: any one follows from the others. Leave one out, or "
            "give them normal priors"
        )


def _between(layout: Layout, X: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Combinations c (q, p) of the chosen coefficients for which X c is the same within studies.

    As tau grows the rows' precision vanishes for what study effects span, and for nothing else:
    |X' Sigma^-1 X| falls as tau^-2q, and only these combinations of coefficients lose their hold.
    """
    columns = X[:, chosen]
    length = np.sqrt((columns**2).sum(axis=0))
    length = np.where(length > 0, length, 1.0)
    within = columns / length
    within[layout.single_exact] = 0.0
    if (blocks := layout.exact_blocks) is not None:
        for rows, mask, G in zip(blocks.rows, blocks.mask, blocks.G, strict=True):
            n = int(mask.sum())
            values, vectors = np.linalg.eigh(G[:n, :n])
            span = vectors[:, values > 1e-9]
            within[rows[:n]] -= span @ (span.T @ within[rows[:n]])
    _, values, right = np.linalg.svd(within)
    kept = np.concatenate([values, np.zeros(len(right) - len(values))]) < _COLLINEAR
    out = np.zeros((int(kept.sum()), X.shape[1]))
    out[:, chosen] = np.where(np.abs(right[kept]) > _COLLINEAR, right[kept], 0.0) / length
    return out


def _check_propriety(tau: Prior, between: int, n_studies: int) -> None:
    """As `check_propriety` of pools: flat coefficients that studies alone tell take places."""
    if tau.proper:
        return
    need = math.floor(1 - tau.tail + between) + 1
    if n_studies < need:
        raise PriorError(
            f"an improper prior on tau ({tau}) with {between} flat coefficients that differ "
            f"between studies alone needs at least {need} studies, here {n_studies}; use a proper "
            f"prior such as {TAU_DEFAULT}"
        )
