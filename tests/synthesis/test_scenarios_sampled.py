"""The reviews that sampled models are calibrated on, without sampling: designs, likelihoods."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.replicate import as_reported, thresholds
from nssi_meta.models.profiles import profiles_model
from nssi_meta.models.reporting import critical_values, reports
from nssi_meta.models.structure import pack
from nssi_meta.synthesis import scenarios_joint as joint
from nssi_meta.synthesis import scenarios_sampled as sampled


@pytest.mark.parametrize("scenario", sampled.sampled_scenarios(), ids=lambda s: s.name)
def test_the_truth_has_the_names_and_a_likelihood_of_the_structure(scenario):
    draw = scenario.trial.args[0]
    truth, structure = draw(np.random.default_rng(1))
    values = structure.log_likelihood(truth)
    assert values.shape == (1, len(structure.studies))
    assert np.isfinite(values).all()
    scalars = sampled._scalars(structure, truth)
    assert all(v.shape == (1,) for v in scalars.values())
    assert len(scalars) == sum(v.size for v in truth.values())


def test_the_joint_review_has_one_of_everything():
    frame = joint.joint_design()
    data = joint._data(frame.assign(lower=-thresholds(frame), upper=thresholds(frame)))
    layout = data.layout
    assert set(frame["kind"]) == {"exact", "interval", "unsigned"}
    assert layout.bound_blocks is not None
    assert layout.exact_blocks is not None
    # Two rows of one contrast, and two contrasts that share one arm.
    assert set(layout.exact_blocks.G[:, 0, 1].tolist()) == {1.0, 0.5}
    assert (data.comparator >= 0).sum() == 1
    cells = set(zip(frame["mechanism"], frame["condition"], strict=True))
    assert not cells & set(joint.EMPTY)


def test_reports_of_the_selective_review_are_its_independent_blocks():
    """What the model of selective reporting takes for independent is: a report is a block."""
    frame = joint.joint_design(selective=True)
    start = frame.assign(lower=-thresholds(frame), upper=thresholds(frame))
    found = reports(start)
    blocks = {tuple(b.tolist()) for b in joint._data(start).layout.block_rows}
    assert {tuple(b.tolist()) for b in found.null.block_rows} == blocks
    assert set(found.group.tolist()) == {0, 1}
    # significance as the data are printed and as the model counts it
    np.testing.assert_allclose(critical_values(start), thresholds(frame), rtol=1e-12)


def test_reports_are_kept_as_often_as_the_model_says():
    """Of 400 reviews of 17 reports: the share without a significant row is w p / (1 - (1 - w) p),
    p = 0.95 at a mean of 0 without spread. Standard error 0.006.
    """
    frame = joint.joint_design(selective=True).query("study_id not in ['pair', 'two bounds']")
    frame = frame[~frame["study_id"].isin(["mixed"])].reset_index(drop=True)
    start = frame.assign(lower=-thresholds(frame), upper=thresholds(frame))
    found, critical = reports(start), thresholds(frame)
    rng, sei = np.random.default_rng(1), np.sqrt(frame["vi"].to_numpy())

    def estimates(n):
        return sei * rng.standard_normal((n, len(frame)))

    for w in (0.0, 0.3, 1.0):
        kept = [joint.kept(estimates, found, critical, np.full(2, w), rng) for _ in range(400)]
        silent = (np.abs(kept) < critical).mean()
        assert silent == pytest.approx(0.95 * w / (1 - (1 - w) * 0.95), abs=0.02)


def test_the_likelihood_counts_how_reports_came_to_be_seen():
    """One more silent report at a mean of 0 and no spread: log w - log(1 - (1 - w) 0.95)."""
    frame = joint.joint_design(selective=True)
    start = frame.assign(lower=-thresholds(frame), upper=thresholds(frame))
    seen = as_reported(start, np.zeros(len(frame)), thresholds(frame))
    data, found = joint._data(seen), reports(seen)
    draws = {"mu": np.zeros((1, 6, 3)), "tau": np.zeros((1, 6)), "omega": np.zeros(1)}
    w = np.array([[0.4, 0.4]])
    added = joint._log_likelihood(data, found, draws | {"w": w})[0]
    added -= joint._log_likelihood(data, None, draws)[0]
    assert found.silent.all()
    alone = [len(b) == 1 for b in found.null.block_rows]
    each = np.log(0.4) - np.log(1 - 0.6 * 0.95)
    # three reports have two rows, both silent with a probability between 0.95^2 and 0.95
    low, high = np.log(0.4) - np.log(1 - 0.6 * 0.95**2), each
    rest = (added - each * sum(alone)) / 3
    assert low < rest < high


def test_heavy_tails_are_in_the_prior_that_is_drawn_from():
    rng = np.random.default_rng(3)
    heavy, normal = (
        np.array([joint.joint_prior(rng, joint.Options(tails=t))["mu"][0] for _ in range(4000)])
        for t in (4.0, np.inf)
    )
    # E|t_4 mixing| against 1: sqrt(2) Gamma(3/2) / Gamma(2) = 1.2533; standard error 0.02
    ratio = np.abs(heavy).mean() / np.abs(normal).mean()
    assert ratio == pytest.approx(1.2533, abs=0.07)


@pytest.mark.parametrize("selective", [False, True])
def test_one_compiled_model_has_the_density_of_every_data_set(selective):
    """The model with other estimates, or fewer rows, put in: its density is that data set's."""
    rng = np.random.default_rng(3)
    frame = joint.joint_design(selective)
    frame = frame[~frame["study_id"].isin(["two bounds"])]  # no integral over f in numpy then

    def review(rows):
        critical = thresholds(rows)
        start = joint._data(rows.assign(lower=-critical, upper=critical)).frame
        seen = as_reported(start, rng.normal(0.2, 0.6, len(start)), critical)
        return joint._data(seen), reports(seen) if selective else None

    fewer = frame[~frame["study_id"].isin(["m1alpha1", "m2beta2", "m3gamma2"])]
    reviews = [review(frame), review(frame), review(fewer)]
    recipes = [profiles_model(data, reports=found) for data, found in reviews]
    assert len({recipe.key for recipe in recipes}) == 1
    model = recipes[0].model()
    point = model.initial_point()
    logp = model.compile_fn(model.logp(), mode="FAST_COMPILE")
    theirs = []
    for recipe in recipes:
        for name, value in pack(recipe.values).items():
            model[name].set_value(value)
        theirs.append(float(logp(point)))
    n_m, n_c = len(joint.MECHANISMS), len(joint.ARMS)
    # The starting point of PyMC has z = 0, hence all means 0.
    tau = np.exp(point["tau_0_log__"]) * np.exp(point["z_tau_log__"])
    omega = np.exp(np.atleast_1d(point["omega_log__"]))
    draws = {"mu": np.zeros((1, n_m, n_c)), "tau": tau[None], "omega": omega}
    if selective:
        draws["w"] = 1 / (1 + np.exp(-point["w_logodds__"]))[None]
    by_hand = [float(joint._log_likelihood(*one, draws)[0]) for one in reviews]
    # log ndtr of PyTensor and of scipy agree to about 1e-8 a row.
    assert np.diff(theirs) == pytest.approx(np.diff(by_hand), rel=1e-6)
