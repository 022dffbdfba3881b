"""Priors by name: reading, densities against scipy, and posteriors that do not exist."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from nssi_meta.models.priors import (
    MU_DEFAULT,
    MU_FAMILIES,
    OMEGA_DEFAULT,
    TAU_DEFAULT,
    TAU_FAMILIES,
    Prior,
    PriorError,
    check_propriety,
    parse_prior,
)

PROPER = [
    ("mu", "normal(0.3,2)", stats.norm(0.3, 2)),
    ("mu", "student_t(3,-1,0.5)", stats.t(3, -1, 0.5)),
    ("tau", "halfnormal(0.5)", stats.halfnorm(scale=0.5)),
    ("tau", "halfcauchy(0.7)", stats.halfcauchy(scale=0.7)),
    ("tau", "exponential(0.4)", stats.expon(scale=0.4)),
    ("tau", "lognormal(-1.2,0.8)", stats.lognorm(0.8, scale=np.exp(-1.2))),
    ("tau", "invgamma(1,0.15)", stats.invgamma(1, scale=0.15)),
    ("tau", "uniform(0.2,3)", stats.uniform(0.2, 2.8)),
    # on tau squared: half of log tau^2 is log tau
    ("tau", "lognormal2(-3.95,1.34)", stats.lognorm(0.67, scale=np.exp(-3.95 / 2))),
    ("tau", "invgamma(1.5,0.15)", stats.invgamma(1.5, scale=0.15)),
]


@pytest.mark.parametrize(("role", "text", "oracle"), PROPER)
def test_log_density_is_that_of_scipy(role, text, oracle):
    x = np.concatenate([np.linspace(-4, 8, 241), [0.0, 0.2, 3.0, 1e-12, 50.0]])
    ours = parse_prior(text, role).logpdf(x)
    with np.errstate(divide="ignore", over="ignore"):
        theirs = oracle.logpdf(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_log_t_on_tau_squared():
    """P(tau^2 < x) is Student's t at (log x - meanlog) / scale; the density is its derivative."""
    prior = parse_prior("logt2(5,-3.44,2.59)", "tau")
    z = np.linspace(-6, 3, 19)
    tau = np.exp(z)
    # log tau is t with half the location and scale
    expected = stats.t(5, -1.72, 1.295).logpdf(z) - z
    np.testing.assert_allclose(prior.logpdf(tau), expected, rtol=1e-12)
    assert np.isneginf(prior.logpdf(np.array([0.0, -1.0]))).all()


def test_half_t_is_twice_the_upper_half_of_t():
    x = np.linspace(0, 30, 50)
    ours = parse_prior("halft(4,0.6)", "tau").logpdf(x)
    np.testing.assert_allclose(ours, np.log(2) + stats.t(4, 0, 0.6).logpdf(x), rtol=1e-13)
    assert np.isneginf(parse_prior("halft(4,0.6)", "tau").logpdf(np.array([-1e-9]))).all()


HALF_T = [("tau", "halft(4,1)"), ("tau", "logt2(5,-3.44,2.59)")]


@pytest.mark.parametrize(("role", "text"), [(r, t) for r, t, _ in PROPER] + HALF_T)
def test_proper_priors_integrate_to_one(role, text):
    prior = parse_prior(text, role)
    assert prior.proper

    def density(x):
        return float(np.exp(prior.logpdf(np.array(x))))

    if role == "mu":
        total = integrate.quad(density, -np.inf, np.inf)[0]
    else:
        cuts = [0.0, 0.2, 3.0, np.inf]
        total = sum(integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(cuts))
    assert total == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("role", ["mu", "tau"])
def test_improper_priors_are_zero_on_their_support(role):
    prior = parse_prior("flat", role)
    assert not prior.proper
    assert (prior.logpdf(np.array([0.0, 0.5, 1e9])) == 0).all()


def test_uniform_to_infinity_is_improper_and_starts_at_zero():
    prior = parse_prior("uniform(0,inf)", "tau")
    assert not prior.proper
    np.testing.assert_array_equal(prior.logpdf(np.array([0.0, 0.1, 1e8])), [0, 0, 0])
    with pytest.raises(PriorError, match="must start at 0"):
        parse_prior("uniform(0.1,inf)", "tau")


def test_every_family_is_covered_here():
    named = {t.split("(")[0] for _, t, _ in PROPER} | {"flat", "halft", "logt2", "zero"}
    from_data = {name for name, family in TAU_FAMILIES.items() if family.from_data}
    assert named | from_data == set(MU_FAMILIES) | set(TAU_FAMILIES)


def test_defaults_are_proper():
    assert parse_prior(MU_DEFAULT, "mu").proper
    assert parse_prior(TAU_DEFAULT, "tau").proper
    assert parse_prior(OMEGA_DEFAULT, "tau").proper


@pytest.mark.parametrize(
    ("role", "text"),
    [(r, t) for r, t, _ in PROPER]
    + [("tau", "uniform(0,inf)"), ("mu", "flat"), ("mu", "normal(0.123456789,1e-7)")],
)
def test_a_prior_is_read_back_from_its_own_text(role, text):
    prior = parse_prior(text, role)
    again = parse_prior(str(prior), role)
    assert again == prior
    assert parse_prior(f"  {text.upper().replace(',', ' , ')} ", role) == prior
    assert parse_prior(prior, role) is prior


@pytest.mark.parametrize(
    ("role", "text", "says"),
    [
        ("mu", "normal", r"needs 2 parameter\(s\): normal\(mean,sd\)"),
        ("mu", "normal(0)", "needs 2 parameter"),
        ("mu", "normal(0,1,2)", "needs 2 parameter"),
        ("mu", "flat(1)", "needs 0 parameter"),
        ("mu", "normal(0,0)", "sd must be above 0, got 0"),
        ("mu", "normal(0,-1)", "sd must be above 0, got -1"),
        ("mu", "normal(nan,1)", "mean must be finite"),
        ("mu", "normal(0,inf)", "sd must be finite"),
        ("mu", "normal(0,one)", "a parameter that is no number"),
        ("mu", "normal(0,,1)", "no number|parameter"),
        ("mu", "normal(0,1", "cannot be read; allowed: normal"),
        ("mu", "", "cannot be read"),
        ("mu", "normall(0,1)", r"is not known\. Did you mean normal\?"),
        ("mu", "halfnormal(1)", "is not known"),
        ("tau", "normal(0,1)", "is not known"),
        ("tau", "halfnormal(0)", "scale must be above 0"),
        ("tau", "halft(0,1)", "df must be above 0"),
        ("tau", "uniform(2,1)", "needs 0 <= low < high"),
        ("tau", "uniform(1,1)", "needs 0 <= low < high"),
        ("tau", "uniform(-1,1)", "needs 0 <= low < high"),
        ("tau", "uniform(-inf,1)", "needs 0 <= low < high"),
        ("tau", "uniform(0,nan)", "high must be finite"),
        ("tau", "logt2(2,0,1)", "df must be at least 3"),
        ("tau", "invgamma(0,1)", "shape must be above 0"),
        ("tau", "jeffreys(1)", "needs 0 parameter"),
        ("tau", "jefreys", "Did you mean jeffreys"),
        ("mu", "jeffreys", "is not known"),
        ("mu", "zero", "is not known"),
        ("tau", "rhodes2015(mental,pharma-pharma)", "Did you mean mental-health"),
        ("tau", "rhodes2015(pain)", r"rhodes2015\(outcome,comparison\[,area\]\)"),
        ("tau", "turner2015(pain,pharma)", "comparison 'pharma' is not known"),
        ("tau", "turner2015(pain,pharma-placebo,cancer)", "stands alone"),
        ("tau", "turner2012", r"needs its words: turner2012\(outcome,comparison\)"),
        ("tau", "turner2012(mortality,nonpharma)", "Did you mean all-cause-mortality"),
        ("tau", "turner2012(subjective,nonpharma-pharma)", "Did you mean pharma-pharma"),
    ],
)
def test_impossible_priors_are_refused_by_name(role, text, says):
    with pytest.raises(PriorError, match=says):
        parse_prior(text, role)


def test_a_prior_of_the_other_role_is_refused():
    with pytest.raises(PriorError):
        parse_prior(Prior("halfnormal", (0.5,), "tau"), "mu")


@pytest.mark.parametrize(
    ("mu", "tau", "n_exact", "n_studies", "ok"),
    [
        ("flat", "halfnormal(0.5)", 0, 5, False),
        ("flat", "halfnormal(0.5)", 1, 5, True),
        ("normal(0,1)", "halfnormal(0.5)", 0, 1, True),
        ("flat", "uniform(0,inf)", 2, 2, False),
        ("flat", "uniform(0,inf)", 3, 2, False),
        ("flat", "flat", 3, 3, True),
        ("normal(0,1)", "flat", 1, 9, False),
        ("normal(0,1)", "flat", 2, 2, True),
        ("flat", "jeffreys", 1, 1, False),
        ("flat", "jeffreys", 2, 2, True),
        ("normal(0,1)", "jeffreys", 1, 1, True),
        ("normal(0,1)", "jeffreys", 0, 1, False),
        ("flat", "bergerdeely", 2, 2, True),
        ("flat", "dumouchel", 1, 1, True),
        ("flat", "zero", 1, 1, True),
        ("flat", "zero", 0, 1, False),
    ],
)
def test_propriety(mu, tau, n_exact, n_studies, ok):
    args = (parse_prior(mu, "mu"), parse_prior(tau, "tau"), n_exact, n_studies)
    if ok:
        check_propriety(*args)
    else:
        with pytest.raises(PriorError, match="use a proper prior such as"):
            check_propriety(*args)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("turner2015", "lognormal2(-2.56,1.74)"),
        ("rhodes2015", "logt2(5,-3.44,2.59)"),
        ("turner2015(all-cause-mortality,pharma-placebo)", "lognormal2(-3.95,1.34)"),
        ("turner2015(subjective,nonpharma-nonpharma)", "lognormal2(-2.26,1.45)"),
        ("turner2012(all-cause-mortality,pharma-placebo)", "lognormal2(-4.06,1.45)"),
        ("turner2012(semi-objective,nonpharma)", "lognormal2(-2.89,1.91)"),
        ("turner2012(subjective,pharma-pharma)", "lognormal2(-2.34,1.62)"),
        ("Rhodes2015(Mental-Health, pharma-placebo)", "logt2(5,-2.99,2.16)"),
        ("rhodes2015(resource-use,nonpharma,cancer)", "logt2(5,0.15,2.68)"),
        ("rhodes2015(subjective,pharma-pharma,respiratory)", "logt2(5,-4.94,2.59)"),
    ],
)
def test_presets_are_the_numbers_of_their_tables(text, same):
    assert parse_prior(text, "tau") == parse_prior(same, "tau")


@pytest.mark.parametrize(
    ("role", "text"),
    [(r, t) for r, t, _ in PROPER]
    + [("tau", t) for t in ("halft(4,0.6)", "logt2(5,-3.44,2.59)", "uniform(0,2)")],
)
@pytest.mark.parametrize("unit", [1 / 7, 29.6])
def test_a_scaled_prior_is_the_prior_of_the_scaled_value(role, text, unit):
    """p_scaled(s x) = p(x) / s: the change of variables; 1e-12 for the rounding of s x."""
    prior = parse_prior(text, role)
    x = np.linspace(0.25, 2.0, 8)
    np.testing.assert_allclose(
        prior.scaled(unit).logpdf(unit * x), prior.logpdf(x) - np.log(unit), rtol=1e-12, atol=1e-12
    )


def test_a_prior_has_no_scale_below_zero():
    with pytest.raises(PriorError, match="must be above 0 and finite"):
        parse_prior("normal(0,1)", "mu").scaled(0.0)


@pytest.mark.parametrize(
    ("text", "role", "names"),
    [
        ("normal(0,1e-320)", "mu", "sd = .* is out of range"),
        ("normal(1e308,1)", "mu", "mean = 1e\\+308 is out of range"),
        ("halfcauchy(1e-300)", "tau", "scale = 1e-300 is out of range"),
        ("halfcauchy(1e300)", "tau", "scale = 1e\\+300 is out of range"),
        ("lognormal(800,1)", "tau", "reaches beyond e\\^300"),
        ("lognormal(0,1e5)", "tau", "reaches beyond e\\^300"),
        ("lognormal2(700,1)", "tau", "reaches beyond e\\^300"),
    ],
)
def test_parameters_beyond_what_a_computer_holds_are_refused(text, role, names):
    """These gave a mean of tau of 1e149, missing probabilities, or numpy's warnings."""
    with pytest.raises(PriorError, match=names):
        parse_prior(text, role)
