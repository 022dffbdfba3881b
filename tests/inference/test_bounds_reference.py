"""Bounds beside MetaNSUE, which imputes effects that are only said to be "not significant".

MetaNSUE (Radua et al. 2015; metansue 2.6) and the full likelihood start from the same
probabilities. The first test takes MetaNSUE's steps with our likelihood and our REML and must
reach its numbers; the others say in which direction a full likelihood departs, and by how much.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

from nssi_meta.evidence.bounds import critical_g
from nssi_meta.evidence.escalc_common import hedges_j
from nssi_meta.inference.densities import interval
from nssi_meta.inference.frequentist import rma
from nssi_meta.models.likelihood import log_likelihood


class Example:
    """Twelve two-group studies, five of them "not significant"; `theirs` is what metansue said."""

    def __init__(self, theirs):
        self.theirs = theirs
        self.n1, self.n2 = (np.array(theirs[n], dtype=float) for n in ("n1", "n2"))
        t = np.array([np.nan if x is None else x for x in theirs["t"]])
        self.g = hedges_j(self.n1 + self.n2 - 2) * t * np.sqrt(1 / self.n1 + 1 / self.n2)
        self.known = np.isfinite(t)
        self.c, self.at_c = critical_g(0.05, self.n1, self.n2)

    def vi(self, g):
        """Sampling variance of g (large sample)."""
        return 1 / self.n1 + 1 / self.n2 + g**2 / (2 * (self.n1 + self.n2))

    def rows(self):
        vi = np.where(self.known, self.vi(self.g), self.at_c)
        return [
            {"yi": y, "vi": v} if known else {"kind": "interval", "lower": -c, "upper": c, "vi": v}
            for y, v, c, known in zip(self.g, vi, self.c, self.known, strict=True)
        ]


@pytest.fixture(scope="module")
def example(reference):
    return Example(reference("metansue.json"))


def log_p(layout, mu, tau):
    """Our log likelihood of each study at one point."""
    one = np.ones((1, layout.k))
    return log_likelihood(layout, mu * one, tau * one, np.zeros((1, 1)))[0]


def imputed(example, layout, n, seed):
    """MetaNSUE's steps: (coefficient, standard error, tau2, I2), by our likelihood and REML.

    Its imputations are centred, on purpose, at the fixed-effect estimate without the study whose
    omission brings that nearest to 0; tau and I are averaged, not their squares.
    """
    each = np.arange(layout.k)
    centre = min(
        (
            optimize.minimize_scalar(
                lambda m, keep=each != i: -log_p(layout, m, 0.0)[keep].sum(),
                bounds=(-2, 2),
                method="bounded",
                options={"xatol": 1e-9},
            ).x
            for i in each
        ),
        key=abs,
    )
    tau = optimize.minimize_scalar(
        lambda t: -log_p(layout, centre, t).sum(), bounds=(0, 3), method="bounded"
    ).x
    rng = np.random.default_rng(seed)
    unknown = np.flatnonzero(~example.known)
    y, fits = np.tile(example.g, (n, 1)), []
    for i in unknown:
        x = np.linspace(-example.c[i], example.c[i], 1001)
        variance = 1 / example.n1[i] + 1 / example.n2[i] + tau**2
        density = np.exp(-((x - centre) ** 2) / (2 * variance))
        y[:, i] = np.interp(rng.random(n), np.cumsum(density) / density.sum(), x)
    for row in y:
        fit = rma(row, example.vi(row), method="REML")
        fits.append((fit.beta[0], fit.se[0], np.sqrt(fit.tau2), np.sqrt(fit.I2 / 100)))
    beta, se, spread, share = np.array(fits).T
    error = np.sqrt((se**2).mean() + (1 + 1 / n) * beta.var(ddof=1))
    return centre, beta.mean(), error, spread.mean() ** 2, share.mean() ** 2


def test_the_same_studies(example):
    known, theirs = example.known, example.theirs
    np.testing.assert_allclose(example.g[known], [y for y in theirs["known_y"] if y is not None])
    np.testing.assert_allclose(example.c, theirs["y_up"], rtol=1e-12)


def test_its_steps_with_our_likelihood_reach_its_numbers(example, layout_of):
    found = imputed(example, layout_of(example.rows()), 400, seed=5)
    theirs, spread = example.theirs, example.theirs["sd_over_seeds"]
    # four SDs over seeds, times sqrt(500/400 + 1/10) for our fewer imputations and its ten runs
    for value, what in zip(found[1:4], ("coef", "se", "tau2"), strict=True):
        assert value == pytest.approx(theirs[what], abs=4.7 * spread[what]), what
    assert found[4] == pytest.approx(theirs["I2"], abs=0.02)


def test_what_a_full_likelihood_changes(example, layout_of, fit):
    """Nearer to 0 than without the silent studies, and a wider interval than MetaNSUE's."""
    theirs, rows = example.theirs, example.rows()
    ours = fit(rows, "flat", "uniform(0,10)")
    alone = fit([r for r, known in zip(rows, example.known, strict=True) if known],
                "flat", "uniform(0,10)")  # fmt: skip
    zeros = rma(np.where(example.known, example.g, 0), example.vi(np.nan_to_num(example.g)))
    # leaving them out is too large, taking them as 0 too small; both differ by more than what
    # separates the two methods
    gap = abs(ours.mu.mean - theirs["coef"])
    assert gap < 0.1 * theirs["se"]
    assert alone.mu.mean - ours.mu.mean > 5 * gap
    assert ours.mu.mean - zeros.beta[0] > 5 * gap
    # MetaNSUE takes the tau of each imputation as known; the posterior integrates over tau ...
    assert 1.1 < ours.mu.sd / theirs["se"] < 1.4
    low, high = interval(ours.mu)
    assert low < theirs["coef"] - 1.96 * theirs["se"]
    assert high > theirs["coef"] + 1.96 * theirs["se"]
    # ... and with tau held at MetaNSUE's the standard errors are the same
    tau = np.sqrt(theirs["tau2"])
    held = fit(rows, "normal(0,100)", f"uniform({tau - 1e-4},{tau + 1e-4})")
    assert held.mu.sd == pytest.approx(theirs["se"], rel=0.02)
    assert abs(held.mu.mean - theirs["coef"]) < 0.1 * theirs["se"]


def test_the_silent_studies_bound_the_spread(example, layout_of):
    """The most likely tau, mu integrated out, is MetaNSUE's REML up to a tenth."""
    layout = layout_of(example.rows())
    mu = np.linspace(-1, 2, 601)

    def restricted(tau):
        one = np.ones((mu.size, layout.k))
        each = log_likelihood(layout, mu[:, None] * one, tau * one, np.zeros((mu.size, 1)))
        total = each.sum(axis=1)
        return -(total.max() + np.log(np.exp(total - total.max()).sum()))

    best = optimize.minimize_scalar(restricted, bounds=(0, 2), method="bounded").x
    assert best == pytest.approx(np.sqrt(example.theirs["tau2"]), rel=0.1)


def test_the_documents_state_these_numbers(example, fit):
    rows = example.rows()
    page = Path(__file__).parents[2] / "docs" / "models" / "pool.md"
    part = page.read_text(encoding="utf-8").split("## Bounds beside MetaNSUE")[1].split("\n## ")[0]
    stated = dict(re.findall(r"^\| (.+?) \| ([\d.]+ \| [\d.]+ \| [\d.]+) \|$", part, flags=re.M))

    def classical(y, which):
        found = rma(y[which], example.vi(y)[which])
        return found.beta[0], found.se[0], np.sqrt(found.tau2)

    def bayes(*priors):
        found = fit(rows, *priors)
        return found.mu.mean, found.mu.sd, found.tau_density.quantile(0.5)

    theirs = example.theirs
    wanted = {
        "silent studies left out, REML": classical(example.g, example.known),
        "silent studies taken as 0, REML": classical(np.nan_to_num(example.g), example.n1 > 0),
        "MetaNSUE, mean of ten seeds": (theirs["coef"], theirs["se"], np.sqrt(theirs["tau2"])),
        "full likelihood, flat priors": bayes("flat", "uniform(0,10)"),
        "full likelihood, default priors": bayes(),
    }
    assert stated == {name: " | ".join(f"{v:.3f}" for v in row) for name, row in wanted.items()}
