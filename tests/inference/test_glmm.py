"""Binomial-normal models: the values in metafor's own tests, and quadrature done otherwise.

Data: central venous catheters and infections (Niel-Weise et al. 2007; metadat dat.nielweise2007).
"""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.glmm import rma_glmm, rma_logit

C = np.array([3, 3, 9, 7, 6, 4, 3, 2, 19, 2, 7, 1, 5, 11, 0, 1, 3, 1])
N2 = np.array([117, 35, 195, 136, 157, 139, 177, 39, 103, 122, 64, 58, 175, 180, 105, 262, 362, 69])
A = np.array([0, 1, 2, 0, 5, 1, 1, 1, 1, 1, 0, 0, 3, 6, 0, 0, 1, 4])
N1 = np.array([116, 44, 208, 130, 151, 98, 174, 74, 97, 113, 66, 70, 188, 187, 118, 252, 345, 64])
TABLES = (A, N1 - A, C, N2 - C)


def test_conditional_models_agree_with_metafor():
    exact = rma_glmm(*TABLES, "CM.EL")
    assert exact.beta == pytest.approx(-1.353158, abs=1e-6)  # five of its optimisers agree
    assert exact.tau2 == pytest.approx(0.6935, abs=5e-5)
    assert 0.1231 < exact.se**2 < 0.1234  # the range of those five
    assert exact.k == 17  # one table has no event
    near = rma_glmm(*TABLES, "CM.AL")
    assert (round(near.se, 4), round(np.sqrt(near.tau2), 4)) == (0.3386, 0.7750)
    assert near.beta == pytest.approx(-1.3027, abs=1e-4)  # seven quadrature points there


def test_unconditional_models_agree_with_metafor():
    fit = rma_glmm(*TABLES, "UM.FS")
    # Seven points (lme4) give -1.2370 and 0.3198, eleven (GLMMadaptive) -1.2368 and 0.3227.
    assert fit.beta == pytest.approx(-1.2368, abs=5e-4)
    assert fit.tau2 == pytest.approx(0.3198, abs=1e-3)
    assert rma_glmm(*TABLES, "UM.FS", "EE").beta == pytest.approx(-1.2286, abs=5e-5)
    for x, n, expected in ((C, N2, (-3.4964, 0.2570, 0.8124)), (A, N1, (-4.8121, 0.3555, 0.8265))):
        odds = rma_logit(x, n)
        np.testing.assert_allclose((odds.beta, odds.se, odds.tau2), expected, atol=1.5e-3)


def test_common_effect_of_two_age_groups():
    """Rothman et al. (2008), table 15-1, by the conditional likelihood."""
    fit = rma_glmm([8, 22], [98, 76], [5, 16], [115, 69], "CM.EL", "EE")
    assert round(fit.beta, 4) == 0.3381
    assert (round(fit.QE, 4), round(fit.QEp, 4)) == (0.3502, 0.5540)
    # metafor's numerical Hessian gives 0.3102; the information of an exponential family is exact.
    assert fit.se == pytest.approx(0.3102, abs=1e-3)


def test_likelihood_is_that_of_plain_quadrature():
    from scipy.special import expit, gammaln

    fit = rma_logit(C, N2)
    theta = fit.beta + np.sqrt(fit.tau2) * np.linspace(-9, 9, 4001)
    density = np.exp(-((theta - fit.beta) ** 2) / (2 * fit.tau2))
    density /= density.sum()

    def height(mean_shift, scale):
        p = expit(fit.beta + mean_shift + scale * (theta - fit.beta))
        choose = gammaln(N2 + 1) - gammaln(C + 1) - gammaln(N2 - C + 1)
        logs = choose[:, None] + C[:, None] * np.log(p) + (N2 - C)[:, None] * np.log1p(-p)
        return np.log(np.exp(logs) @ density).sum()

    top = height(0.0, 1.0)
    assert fit.logLik == pytest.approx(top, abs=1e-9)
    for shift, scale in ((1e-3, 1), (-1e-3, 1), (0, 1.001), (0, 0.999)):
        assert height(shift, scale) < top


def test_homogeneous_tables_have_no_heterogeneity():
    fit = rma_glmm(*(np.full(6, x) for x in (7, 93, 21, 79)), "CM.EL")
    assert fit.tau2 == 0.0
    assert pytest.approx(0, abs=1e-9) == fit.QE
    other = rma_glmm(*(np.full(6, x) for x in (21, 79, 7, 93)), "CM.EL")
    assert other.beta == pytest.approx(-fit.beta, rel=1e-7)


def test_bad_counts_are_named():
    with pytest.raises(ValueError, match=r"model = 'UM'.*\n.*ai\[0\] = -1 is below 0"):
        rma_glmm([-1, 2], [3, 4], [5, 6], [7, 8], "UM")
    with pytest.raises(ValueError, match="no finite odds"):
        rma_glmm([0, 0], [3, 4], [5, 6], [7, 8])
    with pytest.raises(ValueError, match="method='EE'"):
        rma_glmm([1], [3], [5], [7])
    with pytest.raises(ValueError, match=r"xi\[1\] = 9 is not between 0 and ni\[1\] = 8"):
        rma_logit([1, 9], [5, 8])


# metafor 3.8.1 (lme4, BiasedUrn) on the same tables: log-likelihood of one common effect, and twice
# what one effect a study adds to it.
METAFOR = {
    "UM.FS": (-55.99969096, 28.735906),
    "CM.EL": (-26.67446031, 28.609268),
    "CM.AL": (-26.19918330, 27.391731),
}


@pytest.mark.parametrize("model", METAFOR)
def test_tables_with_empty_cells_have_the_test_of_heterogeneity_that_metafor_has(model):
    """One effect a study is infinite where a cell is empty; its likelihood is not."""
    common, QE = METAFOR[model]
    equal, mixed = (rma_glmm(*TABLES, model, method) for method in ("EE", "ML"))
    assert equal.logLik == pytest.approx(common, abs=1e-8)
    assert pytest.approx(QE, abs=1e-6) == equal.QE  # printed to six digits
    assert mixed.QE == equal.QE


def test_log_likelihood_of_metafor_is_at_the_modes_not_integrated():
    """Under ML metafor takes lme4's deviance, which is given each study's most probable effect.

    Its ll of CM.AL is -17.97594600 (25 quadrature points), ours -24.794; half the deviance at the
    modes below the highest log-likelihood gives its number.
    """
    from scipy.special import expit, gammaln, xlogy

    equal, fit = (rma_glmm(*TABLES, "CM.AL", method) for method in ("EE", "ML"))
    told = A + C > 0
    a, n, offset = A[told], (A + C)[told], np.log(N1 / N2)[told]
    choose = gammaln(n + 1) - gammaln(a + 1) - gammaln(n - a + 1)
    highest = (choose + xlogy(a, a / n) + xlogy(n - a, 1 - a / n)).sum()
    assert highest == pytest.approx(equal.logLik + equal.QE / 2, abs=1e-9)

    def height(theta):
        eta = offset + theta
        return choose + a * eta - n * np.logaddexp(0, eta)

    mode = np.full(len(a), fit.beta)
    for _ in range(50):
        p = expit(offset + mode)
        slope = a - n * p - (mode - fit.beta) / fit.tau2
        mode += slope / (n * p * (1 - p) + 1 / fit.tau2)
    # Its estimates are good to 1e-5, its deviance to 1e-4.
    assert height(mode).sum() == pytest.approx(-17.97594600, abs=1e-3)
    z = np.linspace(-9, 9, 2001)
    shares = np.exp(-(z**2) / 2)
    theta = fit.beta + np.sqrt(fit.tau2) * z[:, None]
    integrated = np.log((shares / shares.sum()) @ np.exp(height(theta))).sum()
    assert fit.logLik == pytest.approx(integrated, abs=1e-9)
