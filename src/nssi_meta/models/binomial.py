"""The binomial-normal model: counts of events with their exact likelihood.

theta_i ~ N(mu, tau) is a study's log odds ratio; its likelihood, the control group's odds
integrated out, is that of `binomial_tables`. theta_i is integrated out too, by the trapezoidal rule
in t: theta = m_i + s_i sinh(t), where m_i and s_i are mean and SD of theta_i given mu and tau if
the table's likelihood were normal. NUTS sees mu and tau alone, however many studies there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nssi_meta.models.binomial_tables import (
    CELLS,
    MARGIN,
    REACH,
    SINH,
    STEP,
    WEIGHT,
    Tables,
    used_nodes,
)
from nssi_meta.models.marginal import in_chunks, log_sum
from nssi_meta.models.pool import prior_variable
from nssi_meta.models.priors import MU_DEFAULT, TAU_DEFAULT, Prior, check_propriety, parse_prior
from nssi_meta.models.structure import (
    FIXED,
    Draws,
    Floats,
    Structure,
    Values,
    data_nodes,
    prior_key,
    prior_values,
)


def binomial_normal(
    counts: Tables, mu_prior: str | Prior = MU_DEFAULT, tau_prior: str | Prior = TAU_DEFAULT
) -> Structure:
    """Pool log odds ratios of two-by-two tables with their exact binomial likelihood.

    `counts` come from `binomial_tables.count_tables`; mu and tau are on the log odds ratio scale.
    Raises ValueError for counts that are no such tables, `PriorError` for priors that cannot be
    used (under a flat one, tables with an empty cell do not count as studies).
    """
    if not isinstance(counts, Tables):
        raise ValueError(
            f"counts is of type {type(counts).__name__}, but must be what count_tables makes: "
            "binomial_normal(count_tables(events_t, n_t, events_c, n_c))"
        )
    mu, tau = parse_prior(mu_prior, "mu"), parse_prior(tau_prior, "tau")
    check_propriety(mu, tau, counts.n_full, counts.n_full)
    values = {
        "studies": {"centre": counts.centre, "scale": counts.scale},
        "cells": {"coef": counts.coef},
        FIXED: {**prior_values("mu", mu), **prior_values("tau", tau)},
    }

    def build(values: Values) -> Any:
        import pymc as pm

        from nssi_meta.models.evidence_op import integrated_tables

        with pm.Model() as model:
            data = data_nodes(values)
            mu_rv = prior_variable("mu", mu, data["mu_prior"])
            tau_rv = prior_variable("tau", tau, data["tau_prior"])
            pm.Potential("evidence", integrated_tables(data, mu_rv, tau_rv))
        return model

    def quantities(draws: Draws, rng: np.random.Generator) -> dict[str, Floats]:
        new = draws["mu"] + draws["tau"] * rng.standard_normal(len(draws["tau"]))
        return {"mu": draws["mu"], "tau": draws["tau"], "prediction": new}

    return Structure(
        key=("binomial", prior_key(mu), prior_key(tau)),
        values=values,
        build=build,
        extra=lambda draws: {},
        quantities=quantities,
        log_likelihood=lambda draws: study_log_likelihood(counts, draws["mu"], draws["tau"]),
        log_prior=lambda draws: {"mu": mu.logpdf(draws["mu"]), "tau": tau.logpdf(draws["tau"])},
        studies=counts.names,
    )


def study_log_likelihood(counts: Tables, mu: Floats, tau: Floats) -> Floats:
    """Log marginal likelihood of each table (S, k) at S values of mu and tau."""
    centre, scale = counts.centre[:, None], counts.scale[:, None]
    first = (np.arange(len(counts.names)) * CELLS)[:, None]

    def part(s: slice) -> Floats:
        m, t = mu[s, None, None], tau[s, None, None]
        whole = scale**2 + t**2
        # (m_i - mu) / tau and s_i / tau: tau = 0 is no problem.
        shift, shrink = t * (centre - m) / whole, scale / whole**0.5
        nodes = used_nodes(np.asarray((MARGIN + np.abs(shift)) / shrink).max())
        standard = shift + shrink * SINH[nodes]
        u = np.clip(np.arcsinh((m + t * standard - centre) / scale), -REACH, REACH)
        cell = np.clip(np.floor((u + REACH) / STEP), 0, CELLS - 1).astype(np.int64)
        f = u + REACH - cell * STEP
        at = first + cell
        value = counts.coef[3].take(at)
        for power in (2, 1, 0):
            value = value * f + counts.coef[power].take(at)
        density = log_sum(value - 0.5 * standard**2, WEIGHT[nodes])
        return np.asarray(density + np.log(shrink[..., 0]))

    return in_chunks(part, len(mu), 6 * len(counts.names) * 40)
