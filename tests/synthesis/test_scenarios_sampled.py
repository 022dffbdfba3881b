"""The reviews that sampled models are calibrated on, without sampling: designs, likelihoods."""

from __future__ import annotations

import numpy as np
import pytest

from nssi_meta.inference.replicate import as_reported, thresholds
from nssi_meta.models.profiles import profile_data, profiles_model
from nssi_meta.synthesis import scenarios_joint as joint
from nssi_meta.synthesis import scenarios_sampled as sampled
from nssi_meta.synthesis.scenarios import known_errors


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


@pytest.mark.slow
def test_one_compiled_model_has_the_density_of_every_data_set():
    # Mutable data and far ends in place of infinite ones change nothing: the model with data A and
    # the model with data B put in differ by what the numpy likelihood says.
    rng = np.random.default_rng(3)
    frame = joint.joint_design()
    frame = frame[~frame["study_id"].isin(["two bounds"])]  # no integral over f in numpy then
    start = frame.assign(lower=-thresholds(frame), upper=thresholds(frame))
    first = profile_data(start, joint.ARMS, "well", known_errors)

    def review():
        y = rng.normal(0.2, 0.6, len(frame))
        seen = as_reported(first.frame, y, thresholds(first.frame))
        ends = seen[["lower", "upper"]].to_numpy(dtype=float).clip(-joint.FAR, joint.FAR)
        return seen, np.nan_to_num(np.stack([seen["yi"].to_numpy(dtype=float), *ends.T]))

    a, b = review(), review()
    model = profiles_model(first, a[1])
    point = model.initial_point()
    logp = model.compile_fn(model.logp(), mode="FAST_COMPILE")
    values = []
    for _, observed in (a, b):
        model["observed"].set_value(observed)
        values.append(float(logp(point)))
    n_m, n_c = len(first.mechanisms), len(first.conditions)
    # The starting point of PyMC has z = 0, hence all means 0.
    tau = np.exp(point["tau_0_log__"]) * np.exp(point["z_tau_log__"])
    omega = np.exp(np.atleast_1d(point["omega_log__"]))
    draws = {"mu": np.zeros((1, n_m, n_c)), "tau": tau[None], "omega": omega}
    by_hand = [
        float(joint._log_likelihood(profile_data(s, joint.ARMS, "well", known_errors), draws).sum())
        for s, _ in (a, b)
    ]
    # log ndtr of PyTensor and of scipy agree to about 1e-8 a row.
    assert values[1] - values[0] == pytest.approx(by_hand[1] - by_hand[0], rel=1e-6)
